//! Governance on this node: the thread that evaluates, and the way to the primary's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use coco_crypto::ForeignCertificate;
use coco_crypto::cose::{self, Sign1};
use coco_governance::{Code, Message, Operation, Refusal, Request};
use coco_governance::{certificates, secrets, tables};
use coco_kv::Snapshot;
use coco_protocol::{
    Caller, Earlier, Gate, Idempotent, Outcome, Rejection, RejectionReason, Submitted, TransactionStatus,
};
use coco_rpc::channel::NoAnswer;
use coco_rpc::endpoints::{GovApi, Governed, Listener, Past};
use coco_types::{Digest, Seqno, TxId, limits};
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::events::{ExecutorEvent, ReplicaEvent};
use crate::executor::SystemCommand;
use crate::governor::{Effect, Evaluation, Governor};
use crate::handle::{Shared, ask_replica, submit_here};
use crate::shell::mailbox::Mailbox;
use crate::shell::places::Places;
use crate::wire;

/// Requests that may wait for the governor; beyond it they are refused.
pub const QUEUE_MAX: usize = 256;
/// How often a request is evaluated again because the state changed under it.
const ATTEMPTS_MAX: usize = 16;
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether there is anything to wait for at all.
const IDLE: Duration = Duration::from_secs(1);

pub type GovernedReply = Box<dyn FnOnce(Governed) + Send>;

/// Wakes the governor.
pub enum GovernorEvent {
    Handle { request: Request, key: Option<Idempotent>, reply: GovernedReply },
    Simulate { proposal: Bytes, reply: GovernedReply },
    Shutdown,
}

impl GovernorEvent {
    /// Answers whoever waits for it that it was not taken.
    fn refuse(self) {
        if let Self::Handle { reply, .. } | Self::Simulate { reply, .. } = self {
            reply(Governed::Unavailable);
        }
    }
}

/// The governance API of this node.
pub struct Governance {
    pub shared: Arc<Shared>,
    pub governor: Sender<GovernorEvent>,
    /// Keys of requests that wait for the governor, or for their commit.
    pub running: Running,
    /// Of requests that this node has under way, by who has signed them: whoever floods the governor leaves the members their places.
    pub places: Places<Option<String>>,
}

/// See [`Governance::running`].
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<BTreeSet<Digest>>>);

/// A request on its way to the primary.
#[derive(Serialize, Deserialize)]
struct Forwarded {
    operation: Operation,
    /// Base64.
    message: String,
    #[serde(default)]
    key: Option<Idempotent>,
}

/// Until the node shuts down.
pub fn run_governor(governor: &Governor, shared: &Arc<Shared>, events: &Mailbox<GovernorEvent>) {
    loop {
        match events.wait(IDLE) {
            Ok(GovernorEvent::Handle { request, key, reply }) => handle(governor, shared, &request, key, reply),
            Ok(GovernorEvent::Simulate { proposal, reply }) => simulate(governor, shared, &proposal, reply),
            Err(RecvTimeoutError::Timeout) => {
                end_epoch(governor, shared);
                renew_certificates(governor, shared);
            }
            Ok(GovernorEvent::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    std::iter::from_fn(|| events.next()).for_each(GovernorEvent::refuse);
}

fn handle(governor: &Governor, shared: &Arc<Shared>, request: &Request, key: Option<Idempotent>, reply: GovernedReply) {
    let reply = Arc::new(Mutex::new(Some(reply)));
    for _ in 0..ATTEMPTS_MAX {
        if !shared.is_primary() {
            break;
        }
        let (newest, earlier) = governor.earlier(key);
        match earlier {
            Earlier::None => {}
            Earlier::Same(txid, response) => {
                let body = serde_json::from_slice(&response).unwrap_or_default();
                return once_sure(shared, newest, &reply, move |_| Governed::Done { txid, body });
            }
            Earlier::Other => return answer(&reply, refused(Code::IdempotencyKeyReused, Idempotent::reused())),
        }
        let effect = match governor.evaluate(request) {
            Evaluation::Refused { base, refusal } => {
                return once_sure(shared, base, &reply, move |_| Governed::Refused(refusal));
            }
            Evaluation::Unchanged { base, body } => {
                return once_sure(shared, base, &reply, move |txid| Governed::Done { txid, body });
            }
            Evaluation::Changed(effect) => effect,
        };
        if execute(governor, shared, effect, key, &reply) {
            return;
        }
    }
    answer(&reply, Governed::Unavailable);
}

/// Members may limit how long a ledger secret is used, and one may be owed since somebody was removed. Looked at while there is nothing else
/// to do.
fn end_epoch(governor: &Governor, shared: &Arc<Shared>) {
    let due = |state: &mut dyn coco_governance::Read| secrets::is_due(state, (governor.clock)());
    if !shared.is_primary() || !matches!(due(&mut shared.visible.state()), Ok(true)) {
        return;
    }
    let vault = governor.vault.clone();
    let command: SystemCommand = Box::new(move |tx, context| {
        let refused = |error: coco_governance::Error| Rejection::new(RejectionReason::Invalid, 0, error.to_string());
        // Another one may have begun meanwhile.
        if secrets::is_due(tx, context.now_ms).map_err(refused)? {
            secrets::rekey(tx, &vault, context.txid, context.now_ms).map_err(refused)?;
        }
        Ok(Outcome::default())
    });
    let reply = Box::new(|answers: Vec<Submitted>| {
        tracing::info!(?answers, "the ledger secret was too old, or a new one was owed")
    });
    submit_here(shared, ExecutorEvent::System { command, reply });
}

/// Nodes' certificates end some day, and nobody may be there to vote for new ones.
fn renew_certificates(governor: &Governor, shared: &Arc<Shared>) {
    let now_s = (governor.clock)() / 1000;
    if !shared.is_primary() || !matches!(certificates::are_ending(&mut shared.visible.state(), now_s), Ok(true)) {
        return;
    }
    let vault = governor.vault.clone();
    let command: SystemCommand = Box::new(move |tx, context| {
        let refused = |error: coco_governance::Error| Rejection::new(RejectionReason::Invalid, 0, error.to_string());
        certificates::renew_ending(tx, &vault, context.now_ms / 1000).map_err(refused)?;
        Ok(Outcome::default())
    });
    let reply = Box::new(|answers: Vec<Submitted>| tracing::info!(?answers, "certificates of nodes were about to end"));
    submit_here(shared, ExecutorEvent::System { command, reply });
}

type Waiting = Arc<Mutex<Option<GovernedReply>>>;

/// Whoever comes first answers.
fn answer(reply: &Waiting, governed: Governed) {
    let waiting = reply.lock().take();
    if let Some(reply) = waiting {
        reply(governed);
    }
}

/// Hands the effect to the executor and waits until it was checked there: the next request sees its writes. `false`: evaluate again.
fn execute(
    governor: &Governor,
    shared: &Arc<Shared>,
    effect: Effect,
    key: Option<Idempotent>,
    reply: &Waiting,
) -> bool {
    let (checked_at, checked) = bounded(1);
    let (store, vault, ledger) = (governor.store.clone(), governor.vault.clone(), governor.ledger.clone());
    let protocols = governor.protocols.clone();
    let command = effect.command(store, vault, ledger, protocols, key, move |result| {
        // Nobody waits any more when the node stops.
        let _ = checked_at.send(result);
    });
    let waiting = reply.clone();
    let done = move |answers: Vec<Submitted>| match answers.into_iter().next() {
        Some(Submitted::Committed { txid, response }) => {
            let body = serde_json::from_slice(&response).unwrap_or_default();
            answer(&waiting, Governed::Done { txid, body });
        }
        Some(Submitted::Unknown(txid)) => answer(&waiting, Governed::Unknown(txid)),
        Some(Submitted::Rejected(rejection)) if rejection.reason == RejectionReason::Invalid => {
            answer(&waiting, Governed::Refused(Refusal::new(Code::InternalError, rejection.message)));
        }
        // Outdated: it is evaluated again.
        Some(Submitted::Rejected(_)) => {}
        _ => answer(&waiting, Governed::Unavailable),
    };
    submit_here(shared, ExecutorEvent::First { command, reply: Box::new(done) });
    // A command that is dropped unexecuted is answered by whoever dropped it.
    !matches!(checked.recv(), Ok(Err(_)))
}

/// What was found on an uncommitted version is said once that is committed. Another primary may commit something else at its place: what
/// was found then rests on nothing.
fn once_sure(
    shared: &Arc<Shared>,
    base: Snapshot,
    reply: &Waiting,
    governed: impl FnOnce(TxId) -> Governed + Send + 'static,
) {
    once_committed(shared, base.version(), reply, move |txid| {
        if base.still_stands() { governed(txid) } else { Governed::Unknown(None) }
    });
}

fn once_committed(
    shared: &Arc<Shared>,
    base: Seqno,
    reply: &Waiting,
    governed: impl FnOnce(TxId) -> Governed + Send + 'static,
) {
    if shared.visible.txid().seqno >= base {
        return answer(reply, governed(shared.visible.txid()));
    }
    let (visible, reply) = (shared.visible.clone(), reply.clone());
    let reached = move |reached: bool| {
        answer(&reply, if reached { governed(visible.txid()) } else { Governed::Unknown(None) });
    };
    ask_replica(&shared.replica, ReplicaEvent::ReadUpTo { seqno: base, reply: Box::new(reached) });
}

fn simulate(governor: &Governor, shared: &Arc<Shared>, proposal: &[u8], reply: GovernedReply) {
    let simulated = match std::str::from_utf8(proposal) {
        Ok(text) => governor.simulate(text),
        Err(_) => Err(Refusal::new(Code::InvalidInput, "the proposal is not UTF-8 text")),
    };
    reply(match simulated {
        Ok(body) => Governed::Done { txid: shared.visible.txid(), body: Some(body) },
        Err(refusal) => Governed::Refused(refusal),
    });
}

impl Governance {
    /// The primary's part of a request that another node forwarded.
    pub fn forwarded(&self, body: &[u8], respond: Box<dyn FnOnce(Bytes) + Send>) {
        let forwarded: Result<Forwarded, _> = serde_json::from_slice(body);
        let message = forwarded.as_ref().ok().and_then(|forwarded| BASE64.decode(&forwarded.message).ok());
        // A peer that sends anything else is dropped without an answer.
        let (Ok(Forwarded { operation, key, .. }), Some(message)) = (forwarded, message) else { return };
        let reply = move |governed: Governed| {
            respond(serde_json::to_vec(&governed).expect("an answer has only string keys").into());
        };
        self.handle_once(Request { operation, message: message.into() }, key, Box::new(reply));
    }

    /// One request of a key at a time.
    fn handle_once(&self, request: Request, key: Option<Idempotent>, reply: GovernedReply) {
        let Some(known) = key.map(|key| key.key) else {
            return self.submit(GovernorEvent::Handle { request, key, reply });
        };
        if !self.running.0.lock().insert(known) {
            return reply(refused(Code::IdempotencyKeyInUse, Idempotent::in_use()));
        }
        let ended = Ended { running: self.running.clone(), key: known };
        let reply = move |governed| {
            drop(ended);
            reply(governed);
        };
        self.submit(GovernorEvent::Handle { request, key, reply: Box::new(reply) });
    }

    fn submit(&self, event: GovernorEvent) {
        if let Err(error) = self.governor.try_send(event) {
            error.into_inner().refuse();
        }
    }
}

impl Governance {
    /// Whether this transaction is one of this ledger: somebody may come with what another network told it.
    fn is_ours(&self, txid: TxId) -> bool {
        self.shared.ledger.view_of(txid.seqno).is_none_or(|view| view == txid.view)
    }

    /// What is told to somebody who has missed what lies before `since`, and has to look for it in ledger files.
    fn gap(&self, since: Seqno) -> Past {
        let (at, kept) = self.shared.visible.bulletin().since(since);
        let until = self.shared.ledger.view_of(since).map(|view| TxId::new(view, since));
        Past { at, news: kept.unwrap_or_default(), gap_until: Some(until.unwrap_or(at)) }
    }
}

/// However a request ends, its key is free again.
struct Ended {
    running: Running,
    key: Digest,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.running.0.lock().remove(&self.key);
    }
}

/// The id of whoever has signed it, if that is known by what is committed here. Refuses nothing: the governor judges by a newer state.
fn signer(state: &Snapshot, message: &[u8]) -> Option<String> {
    let claims = Message::decode(message).ok()?;
    let id = claims.key_id.as_bytes();
    let certificate = state.get(&tables::MEMBER_CERTS, id).or_else(|| state.get(&tables::USER_CERTS, id))?;
    let certificate = ForeignCertificate::from_pem(std::str::from_utf8(&certificate).ok()?).ok()?;
    let sign1 = Sign1::decode(message).ok()?;
    let signed = cose::to_be_signed(sign1.protected, &claims.payload);
    certificate.key().verify(cose::scheme(claims.algorithm)?, &signed, sign1.signature).ok()?;
    Some(claims.key_id)
}

fn refused(code: Code, rejection: Rejection) -> Governed {
    Governed::Refused(Refusal::new(code, rejection.message))
}

impl GovApi for Governance {
    fn state(&self, _caller: &Caller) -> (TxId, Snapshot) {
        self.shared.visible.current()
    }

    fn gate(&self) -> &dyn Gate {
        &*self.shared.gate
    }

    fn created(&self, _caller: &Caller) -> Option<TxId> {
        self.shared.ledger.view_of(Seqno(1)).map(|view| TxId::new(view, Seqno(1)))
    }

    fn transaction_status(&self, _caller: &Caller, txid: TxId) -> TransactionStatus {
        self.shared.transaction_status(txid)
    }

    fn govern(&self, _caller: &Caller, request: Request, key: Option<Idempotent>, reply: GovernedReply) {
        let signer = signer(&self.shared.visible.state(), &request.message);
        let Some(place) = self.places.take(signer) else { return reply(Governed::Unavailable) };
        let reply: GovernedReply = Box::new(move |governed| {
            drop(place);
            reply(governed);
        });
        let Some(primary) = self.shared.remote_primary() else {
            return self.handle_once(request, key, reply);
        };
        let forwarded = Forwarded { operation: request.operation, message: BASE64.encode(&request.message), key };
        let body = serde_json::to_vec(&forwarded).expect("a request has only string keys");
        let shared = self.shared.clone();
        let answered = move |body: Result<Bytes, NoAnswer>| {
            let governed = match body {
                Ok(body) => serde_json::from_slice(&body).unwrap_or(Governed::Unknown(None)),
                Err(NoAnswer::NotSent) => Governed::Unavailable,
                Err(NoAnswer::Lost) => Governed::Unknown(None),
            };
            let written = if let Governed::Done { txid, .. } = &governed { Some(txid.seqno) } else { None };
            shared.once_readable(written, || reply(governed));
        };
        self.shared.peers.request(primary, wire::kind::GOVERN, body.into(), FORWARD_TIMEOUT, Box::new(answered));
    }

    fn news_since(&self, after: Option<TxId>) -> Past {
        let bulletin = self.shared.visible.bulletin();
        let now = |at| Past { at, news: Vec::new(), gap_until: None };
        let Some(after) = after else { return now(self.shared.visible.bulletin().at()) };
        let (at, kept) = bulletin.since(after.seqno);
        if after.seqno >= at.seqno {
            // This node is behind the one that told it.
            return now(after);
        }
        match kept {
            Ok(news) if self.is_ours(after) => Past { at, news, gap_until: None },
            Ok(_) => self.gap(at.seqno),
            Err(since) => {
                let is_near = since.0 - after.seqno.0 <= limits::NEWS_READ_AGAIN_MAX;
                let again = is_near && self.is_ours(after) && self.shared.ledger.first_seqno() <= Some(after.seqno);
                let again = again.then(|| self.shared.ledger.news(after.seqno, since));
                let (Some(Ok(Some(mut news))), (at, Ok(rest))) = (again, bulletin.since(since)) else {
                    return self.gap(since);
                };
                news.extend(rest);
                Past { at, news, gap_until: None }
            }
        }
    }

    fn follow(&self, at: TxId, listener: Listener) -> Box<dyn Send> {
        Box::new(self.shared.visible.bulletin().follow(at, listener))
    }

    fn simulate(&self, _caller: &Caller, proposal: Bytes, reply: GovernedReply) {
        self.submit(GovernorEvent::Simulate { proposal, reply });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use coco_crypto::{Curve, SeededCrypto, SigningKey, Validity, self_signed_certificate};
    use coco_governance::Draft;
    use coco_kv::Store;
    use coco_types::View;

    use super::*;
    use crate::fixture::Backup;

    fn governance(backup: &Backup) -> Governance {
        let (governor, _) = bounded(1);
        let places = Places::new(limits::GOVERNANCE_REQUESTS_OF_ONE_MAX);
        Governance { shared: backup.shared.clone(), governor, running: Running::default(), places }
    }

    #[test]
    fn a_request_counts_as_a_members_only_if_its_signature_verifies() {
        let crypto = SeededCrypto::new(1);
        let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
        let [key, other] = [(); 2].map(|()| SigningKey::generate(&crypto, Curve::P384));
        let certificate = self_signed_certificate(&crypto, &key, "member", &[], validity, &[]).unwrap();
        let id = certificate.fingerprint().to_string();
        let row = (tables::MEMBER_CERTS, Bytes::from(id.clone()), Bytes::from(certificate.to_pem()));
        let state = Store::restore(Seqno(1), [row]).snapshot();
        let draft = Draft {
            key_id: id.clone(),
            kind: "proposal".to_owned(),
            proposal_id: None,
            created_at: 1,
            payload: b"{}".to_vec(),
        };
        assert_eq!(signer(&state, &draft.sign(&crypto, &key)), Some(id));
        assert_eq!(signer(&state, &draft.sign(&crypto, &other)), None, "somebody else's signature");
        assert_eq!(signer(&Store::new().snapshot(), &draft.sign(&crypto, &key)), None, "nobody knows this member");
        assert_eq!(signer(&state, b"no message"), None);
    }

    #[test]
    fn requests_that_nobody_known_has_signed_share_few_places() {
        let refused = Governed::Refused(Refusal::new(Code::InvalidAuthenticationInfo, "no"));
        let backup = Backup::new(TxId::new(View(1), Seqno(5)), serde_json::to_vec(&refused).unwrap().into());
        let governance = governance(&backup);
        let ask = || {
            let (tell, told) = mpsc::channel();
            let request = Request { operation: Operation::Propose, message: Bytes::from_static(b"no message") };
            let reply = Box::new(move |governed: Governed| tell.send(governed).unwrap());
            governance.govern(&Caller::Anonymous, request, None, reply);
            told.try_recv().expect("answered at once")
        };
        assert_eq!(ask(), refused);
        let flood: Vec<_> = std::iter::from_fn(|| governance.places.take(None)).collect();
        assert_eq!(flood.len(), limits::GOVERNANCE_REQUESTS_OF_ONE_MAX);
        assert_eq!(ask(), Governed::Unavailable);
        assert!(governance.places.take(Some("a member".to_owned())).is_some());
        drop(flood);
        assert_eq!(ask(), refused);
    }

    /// What is said of something that was found on an uncommitted version, once another primary's is committed, or that one.
    fn said_of_found(is_dropped: bool) -> Governed {
        let backup = Backup::new(TxId::new(View(2), Seqno(5)), Bytes::new());
        let store = coco_kv::Store::restore(Seqno(5), []);
        store.apply(Seqno(6), &coco_types::WriteSet::new()).unwrap();
        let base = store.newest_snapshot();
        if is_dropped {
            store.rollback();
            store.apply(Seqno(6), &coco_types::WriteSet::new()).unwrap();
        }
        store.commit(Seqno(6));
        let (tell, told) = mpsc::channel();
        let reply: GovernedReply = Box::new(move |governed| tell.send(governed).unwrap());
        let done = |txid| Governed::Done { txid, body: None };
        once_sure(&backup.shared, base, &Arc::new(Mutex::new(Some(reply))), done);
        let Ok(ReplicaEvent::ReadUpTo { seqno: Seqno(6), reply }) = backup.replica.try_recv() else {
            panic!("nothing is awaited")
        };
        assert!(told.try_recv().is_err());
        reply(true);
        told.recv().unwrap()
    }

    #[test]
    fn what_was_found_on_a_version_that_was_dropped_is_not_said_of_the_one_in_its_place() {
        assert!(matches!(said_of_found(false), Governed::Done { .. }));
        assert!(matches!(said_of_found(true), Governed::Unknown(None)));
    }

    #[test]
    fn a_member_who_asks_a_lagging_backup_is_answered_once_the_change_can_be_read_there() {
        let (before, txid) = (TxId::new(View(1), Seqno(5)), TxId::new(View(1), Seqno(9)));
        let done = serde_json::to_vec(&Governed::Done { txid, body: None }).unwrap();
        let backup = Backup::new(before, done.into());
        let governance = governance(&backup);
        let (tell, told) = mpsc::channel();
        let request = Request { operation: Operation::Propose, message: Bytes::new() };
        governance.govern(&Caller::Anonymous, request, None, Box::new(move |governed| tell.send(governed).unwrap()));
        let Ok(ReplicaEvent::ReadUpTo { seqno, reply }) = backup.replica.try_recv() else {
            panic!("nothing is awaited")
        };
        assert_eq!(seqno, txid.seqno);
        assert!(told.try_recv().is_err());
        reply(true);
        assert!(matches!(told.recv().unwrap(), Governed::Done { .. }));
    }
}
