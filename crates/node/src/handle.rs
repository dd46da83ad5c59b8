//! A node as its protocols' services see it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_attestation::{Evidence, VerifiedEvidence};
use coco_governance::attestation::{meets, verify_program};
use coco_governance::tables;
use coco_protocol::{
    Admitted, Attested, Caller, ChannelBinding, Earlier, Gate, Idempotent, LedgerHandle, NodeStatus, Outcome,
    PastTransaction, Reader, Rejection, RejectionReason, Submitted, TransactionStatus, Until,
};
use coco_rpc::channel::{Answer, NoAnswer};
use coco_rpc::{Aside, Job};
use coco_types::{ReplicaId, Seqno, TxId, View};
use crossbeam_channel::{Sender, TrySendError};
use parking_lot::{Mutex, RwLock};

use crate::comeback::Plan;
use crate::entitlement::Places;
use crate::events::{ExecutorEvent, ReplicaEvent};
use crate::executor::SystemCommand;
use crate::front::Visible;
use crate::history::NodeHistory;
use crate::ledger::NodeLedger;
use crate::wire::{self, Question};

/// How long a forwarded submission may take until the peer is taken to be unreachable.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a follower may take to remember something, until the next one is asked.
const ENTRUST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a protocol's own message to the primary may take: whoever waits for it is a program of some client.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);

/// The way to other nodes. Real sockets in a node, the simulated network in the simulator.
pub trait Peers: Send + Sync {
    /// Consensus messages: may be lost, never blocks.
    fn send(&self, to: ReplicaId, message: Bytes);
    /// A question to one peer.
    fn request(&self, to: ReplicaId, kind: u16, body: Bytes, timeout: Duration, reply: Answer);
    /// Where the others are now.
    fn connect(&self, peers: &BTreeMap<ReplicaId, SocketAddr>);
}

/// What the replica last said about the consensus.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub view: View,
    pub primary: Option<ReplicaId>,
    pub is_primary: bool,
    pub voters: BTreeSet<ReplicaId>,
    /// Votes; a reader listens.
    pub in_place: bool,
    /// Replicas that the primary has heard of lately; empty on a backup.
    pub answering: BTreeSet<ReplicaId>,
    /// Index of each replica's node in the network.
    pub index_of: BTreeMap<ReplicaId, u32>,
    /// Each replica's node, and how it stands by the committed rows.
    pub places: Places,
    /// Applied what is committed, of which it knows all that others were told before this view.
    pub caught_up: bool,
}

/// What the node's machines and its servers share.
pub struct Shared {
    pub replica_id: ReplicaId,
    pub index: u32,
    pub visible: Arc<Visible>,
    pub history: Arc<NodeHistory>,
    pub ledger: Arc<NodeLedger>,
    pub gate: Arc<dyn Gate>,
    pub standing: RwLock<Standing>,
    /// Requests of outsiders: never to be waited for.
    pub executor: Sender<ExecutorEvent>,
    pub replica: Sender<ReplicaEvent>,
    pub peers: Arc<dyn Peers>,
    /// How this replica came back, if by a resume.
    pub resumed: Option<Plan>,
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// One hosted ledger's view of the node.
pub struct Handle {
    pub shared: Arc<Shared>,
    pub ledger: usize,
    /// Where what follows from an answer is computed.
    pub aside: Aside,
}

impl Shared {
    /// The certificate in a receipt is that of the node that signed, which need not be this one.
    pub fn name_signer(&self, receipt: &mut serde_json::Value) {
        let signer = receipt["node_id"].as_str().unwrap_or_default().to_owned();
        if let Some(certificate) = self.visible.state().get(&tables::NODE_CERTS, signer.as_bytes()) {
            receipt["cert"] = String::from_utf8_lossy(&certificate).into();
        }
    }

    /// Where the primary is, if it is not here.
    pub fn remote_primary(&self) -> Option<ReplicaId> {
        let standing = self.standing.read();
        standing.primary.filter(|_| !standing.is_primary)
    }

    pub fn is_primary(&self) -> bool {
        self.standing.read().is_primary
    }

    /// What this caller may read of this node's committed state.
    pub fn reader(&self, caller: &Caller) -> Reader {
        Reader::new(caller.clone(), self.visible.state(), self.history.clone(), self.gate.clone())
    }

    /// Where a transaction stands, as far as this node knows.
    pub fn transaction_status(&self, txid: TxId) -> TransactionStatus {
        let visible = self.visible.txid();
        if txid.seqno <= visible.seqno {
            return match self.ledger.view_of(txid.seqno) {
                Some(view) if view == txid.view => TransactionStatus::Committed,
                Some(_) => TransactionStatus::Invalid,
                None => TransactionStatus::Unknown,
            };
        }
        let view = self.standing.read().view;
        if txid.view < visible.view {
            TransactionStatus::Invalid
        } else if txid.view <= view && txid.seqno <= self.ledger.last_seqno() {
            TransactionStatus::Pending
        } else {
            TransactionStatus::Unknown
        }
    }

    /// Whoever wrote through this node finds the write when asking it next: what another node committed is told once it can be read
    /// here, or after all if that takes too long.
    pub fn once_readable(&self, seqno: Option<Seqno>, tell: impl FnOnce() + Send + 'static) {
        match seqno.filter(|seqno| self.visible.txid().seqno < *seqno) {
            Some(seqno) => ask_replica(&self.replica, ReplicaEvent::ReadUpTo { seqno, reply: Box::new(|_| tell()) }),
            None => tell(),
        }
    }

    pub fn status(&self) -> NodeStatus {
        let standing = self.standing.read();
        let index = |id: &ReplicaId| standing.index_of.get(id).copied();
        NodeStatus {
            node: self.index,
            is_primary: standing.is_primary,
            view: standing.view,
            primary: standing.primary.as_ref().and_then(index),
            committed: self.visible.txid(),
            peers: u32::try_from(standing.voters.iter().filter(|id| **id != self.replica_id).count())
                .unwrap_or(u32::MAX),
            caught_up: standing.caught_up && standing.primary.is_some(),
        }
    }
}

impl LedgerHandle for Handle {
    fn submit(&self, admitted: Vec<Admitted>, until: Until, reply: Box<dyn FnOnce(Vec<Submitted>) + Send>) {
        let count = admitted.len();
        if !self.shared.visible.is_open() {
            return reply(vec![Submitted::Rejected(not_open()); count]);
        }
        if let Some(primary) = self.shared.remote_primary() {
            let body = wire::encode_submissions(self.ledger, until, &admitted);
            let shared = self.shared.clone();
            let answer = move |body: Result<Bytes, NoAnswer>| {
                let answers = body.map(|body| wire::decode_answers(body).ok().filter(|all| all.len() == count));
                let answers = match answers {
                    Ok(Some(answers)) => answers,
                    Err(NoAnswer::NotSent) => vec![Submitted::Unavailable; count],
                    // The primary may have executed them all the same.
                    Ok(None) | Err(NoAnswer::Lost) => vec![Submitted::Unknown(None); count],
                };
                shared.once_readable(newest_committed(&answers), || reply(answers));
            };
            return self.shared.peers.request(primary, wire::kind::SUBMIT, body, FORWARD_TIMEOUT, Box::new(answer));
        }
        submit_here(&self.shared, ExecutorEvent::Submit { ledger: self.ledger, admitted, until, reply });
    }

    fn aside(&self, job: Job) {
        if let Err(job) = self.aside.run(job) {
            job();
        }
    }

    fn ask_primary(&self, _caller: &Caller, question: Bytes, reply: Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>) {
        let question = Question { ledger: self.ledger, question };
        let reply = replying_aside(self.aside.clone(), reply);
        if let Some(primary) = self.shared.remote_primary() {
            let answer = move |body: Result<Bytes, NoAnswer>| {
                let result = body.ok().and_then(|body| wire::decode_result(body).ok());
                reply(result.unwrap_or_else(|| Err(unavailable())));
            };
            let body = wire::encode_question(&question);
            return self.shared.peers.request(primary, wire::kind::ASK, body, FORWARD_TIMEOUT, Box::new(answer));
        }
        submit_here(&self.shared, ExecutorEvent::Ask { question, reply });
    }

    fn relay(&self, message: Bytes, reply: Box<dyn FnOnce(Option<Bytes>) + Send>) {
        let Some(primary) = self.shared.remote_primary() else { return reply(None) };
        let body = wire::encode_question(&Question { ledger: self.ledger, question: message });
        let answer = move |body: Result<Bytes, NoAnswer>| reply(body.ok());
        self.shared.peers.request(primary, wire::kind::RELAY, body, RELAY_TIMEOUT, Box::new(answer));
    }

    fn entrust(&self, admitted: Vec<Admitted>, reply: Box<dyn FnOnce(bool) + Send>) {
        let shared = &self.shared;
        let followers: Vec<ReplicaId> = {
            let standing = shared.standing.read();
            let heard = standing.voters.intersection(&standing.answering);
            heard.filter(|id| standing.is_primary && **id != shared.replica_id).copied().collect()
        };
        let body = wire::encode_submissions(self.ledger, Until::Accepted, &admitted);
        entrust_to(shared.peers.clone(), followers, body, reply);
    }

    fn claim(&self, key: Idempotent, reply: Box<dyn FnOnce(Result<(), Rejection>) + Send>) {
        let Some(primary) = self.shared.remote_primary() else { return claim_here(&self.shared, key, reply) };
        let answer = move |body: Result<Bytes, NoAnswer>| {
            let result = body.ok().and_then(|body| wire::decode_result(body).ok());
            reply(result.unwrap_or_else(|| Err(unavailable())).map(drop));
        };
        let body = wire::encode_key(Some(key), b"");
        self.shared.peers.request(primary, wire::kind::CLAIM, body, FORWARD_TIMEOUT, Box::new(answer));
    }

    fn reader(&self, caller: &Caller) -> Reader {
        self.shared.reader(caller)
    }

    fn linearizable(&self, reply: Box<dyn FnOnce(bool) + Send>) {
        ask_replica(&self.shared.replica, ReplicaEvent::Linearizable { reply });
    }

    fn attest(&self, evidence: &[u8], binding: &ChannelBinding) -> Result<Arc<dyn Attested>, String> {
        let evidence: Evidence = serde_json::from_slice(evidence).map_err(|error| error.to_string())?;
        let clock = Arc::clone(&self.shared.clock);
        let verified = verify_program(&mut self.shared.visible.state(), &evidence, &binding.0, clock() / 1000);
        let verified = verified.map_err(|error| error.to_string())?;
        Ok(Arc::new(Program { verified, clock }))
    }

    fn transaction_status(&self, txid: TxId) -> TransactionStatus {
        self.shared.transaction_status(txid)
    }

    fn view_of(&self, seqno: Seqno) -> Option<View> {
        let shared = &self.shared;
        (seqno <= shared.visible.txid().seqno).then(|| shared.ledger.view_of(seqno)).flatten()
    }

    fn past(&self, _caller: &Caller, txid: TxId) -> Option<PastTransaction> {
        let committed = self.shared.transaction_status(txid) == TransactionStatus::Committed;
        let past = committed.then(|| self.shared.ledger.past(txid));
        let past = past?.inspect_err(|error| tracing::info!(%txid, %error, "a past transaction cannot be read here"));
        let (writes, mut receipt) = past.ok()??;
        self.shared.name_signer(&mut receipt);
        Some(PastTransaction { receipt, writes: Arc::new(writes) })
    }

    fn receipt(&self, _caller: &Caller, txid: TxId, reply: Box<dyn FnOnce(Option<Bytes>) + Send>) {
        let committed = self.shared.transaction_status(txid) == TransactionStatus::Committed;
        let receipt = committed.then(|| self.shared.ledger.receipt(txid).ok().flatten()).flatten();
        reply(receipt.map(|receipt| receipt.cose));
    }

    fn status(&self) -> NodeStatus {
        self.shared.status()
    }

    fn now_ms(&self) -> u64 {
        (self.shared.clock)()
    }
}

/// Has an answer's consequences computed by the workers: neither the executor nor the channel to another node, on whose threads answers
/// arrive, waits for them.
fn replying_aside(
    aside: Aside,
    reply: Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>,
) -> Box<dyn FnOnce(Result<Bytes, Rejection>) + Send> {
    Box::new(move |answer| {
        let waiting = Arc::new(Mutex::new(Some(reply)));
        let there = waiting.clone();
        let job = move || {
            let reply = there.lock().take();
            if let Some(reply) = reply {
                reply(answer);
            }
        };
        if aside.run(Box::new(job)).is_err() {
            let reply = waiting.lock().take();
            let busy = "this node has too much to compute just now: try again";
            reply.into_iter().for_each(|reply| reply(Err(Rejection::new(RejectionReason::Busy, -32005, busy))));
        }
    })
}

/// Has the last of these nodes remember submissions or, if it does not answer, the one before it.
fn entrust_to(peers: Arc<dyn Peers>, mut nodes: Vec<ReplicaId>, body: Bytes, reply: Box<dyn FnOnce(bool) + Send>) {
    let Some(node) = nodes.pop() else { return reply(false) };
    let (others, again) = (peers.clone(), body.clone());
    let answered = move |answer: Result<Bytes, NoAnswer>| match answer {
        Ok(_) => reply(true),
        Err(_) => entrust_to(others, nodes, again, reply),
    };
    peers.request(node, wire::kind::ENTRUST, body, ENTRUST_TIMEOUT, Box::new(answered));
}

/// A program whose evidence is genuine, judged anew whenever it matters.
struct Program {
    verified: VerifiedEvidence,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Attested for Program {
    fn describe(&self) -> String {
        let claims = self.verified.claims();
        format!("{} {}", claims.kind, claims.measurement())
    }

    fn meets(&self, policy: &serde_json::Value) -> Result<(), String> {
        meets(&self.verified, policy, (self.clock)() / 1000)
    }
}

/// The primary's part of [`LedgerHandle::claim`].
pub fn claim_here(shared: &Shared, key: Idempotent, reply: Box<dyn FnOnce(Result<(), Rejection>) + Send>) {
    let command: SystemCommand = Box::new(move |tx, context| match key.earlier_in(tx, context.now_ms) {
        Earlier::Other => Err(Idempotent::reused()),
        Earlier::Same(..) => Ok(Outcome::default()),
        Earlier::None => {
            key.check_room(tx, context.now_ms)?;
            key.keep(tx, context.txid, b"", context.now_ms);
            Ok(Outcome::default())
        }
    });
    let done = move |answers: Vec<Submitted>| {
        reply(match answers.into_iter().next() {
            Some(Submitted::Committed { .. }) => Ok(()),
            Some(Submitted::Rejected(rejection)) => Err(rejection),
            _ => Err(unavailable()),
        });
    };
    submit_here(shared, ExecutorEvent::System { command, reply: Box::new(done) });
}

/// The newest of what was written.
pub fn newest_committed(answers: &[Submitted]) -> Option<Seqno> {
    let committed = answers.iter().filter_map(|answer| match answer {
        Submitted::Committed { txid, .. } => Some(txid.seqno),
        _ => None,
    });
    committed.max()
}

/// Hands an event with a reply to the executor, or answers "busy" itself.
pub fn submit_here(shared: &Shared, event: ExecutorEvent) {
    if let Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) = shared.executor.try_send(event) {
        event.refuse();
    }
}

/// Hands an event with a reply to the replica, or refuses it itself.
pub fn ask_replica(replica: &Sender<ReplicaEvent>, event: ReplicaEvent) {
    if let Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) = replica.try_send(event) {
        event.refuse();
    }
}

fn not_open() -> Rejection {
    let message = "the service is not open yet: its members have not voted to open it";
    Rejection::new(RejectionReason::Refused, -32000, message)
}

pub fn unavailable() -> Rejection {
    Rejection::new(RejectionReason::Busy, -32005, "there is no primary just now: try again")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::fixture::Backup;

    const BEFORE: TxId = TxId { view: View(1), seqno: Seqno(5) };
    const WRITTEN: TxId = TxId { view: View(1), seqno: Seqno(9) };

    /// What a backup that lags answers whoever wrote through it, and what it waits for.
    fn written_through(visible: TxId) -> (mpsc::Receiver<Vec<Submitted>>, Backup) {
        let committed = Submitted::Committed { txid: WRITTEN, response: Bytes::new() };
        let backup = Backup::new(visible, wire::encode_answers(&[committed]));
        let (tell, told) = mpsc::channel();
        let raw = Bytes::from_static(b"a write");
        let decoded = Arc::new(());
        let write = Admitted { id: raw.clone(), raw, finding: Bytes::new(), caller: Caller::Anonymous, decoded };
        let handle = Handle { shared: backup.shared.clone(), ledger: 0, aside: Aside::default() };
        handle.submit(vec![write], Until::Committed, Box::new(move |answers| tell.send(answers).unwrap()));
        (told, backup)
    }

    fn is_committed(answers: &[Submitted]) -> bool {
        matches!(answers, [Submitted::Committed { txid, .. }] if *txid == WRITTEN)
    }

    #[test]
    fn who_writes_through_a_lagging_backup_is_told_once_the_write_can_be_read_there() {
        let (told, backup) = written_through(BEFORE);
        let Ok(ReplicaEvent::ReadUpTo { seqno, reply }) = backup.replica.try_recv() else {
            panic!("nothing is awaited")
        };
        assert_eq!(seqno, WRITTEN.seqno);
        assert!(told.try_recv().is_err());
        reply(true);
        assert!(is_committed(&told.recv().unwrap()));
    }

    #[test]
    fn a_backup_that_is_cut_off_tells_of_the_write_all_the_same() {
        let (told, backup) = written_through(BEFORE);
        backup.replica.try_recv().map(ReplicaEvent::refuse).unwrap();
        assert!(is_committed(&told.recv().unwrap()));
    }

    #[test]
    fn a_backup_that_is_ahead_of_the_answer_waits_for_nothing() {
        let (told, backup) = written_through(WRITTEN);
        assert!(backup.replica.try_recv().is_err());
        assert!(is_committed(&told.recv().unwrap()));
    }
}
