//! Bindings of ledgers' identities on this node: statements here, changes on the primary.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_crypto::{decode_pem, sha256};
use coco_governance::{Network, ServiceInfo};
use coco_protocol::bindings::{self, Binding, SUBJECT_KIND, Statement};
use coco_protocol::{
    ApiError, Caller, Context, Earlier, Idempotent, Identity, Outcome, Protocol, Rejection, RejectionReason, Reply,
    Subject, Submitted, answer_to,
};
use coco_rpc::channel::NoAnswer;
use coco_rpc::endpoints::{IdentityApi, Proof, Wanted};
use coco_types::limits::BINDING_STATEMENT_S;
use coco_types::{Digest, TxId};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::events::ExecutorEvent;
use crate::executor::SystemCommand;
use crate::handle::{Shared, newest_committed, submit_here};
use crate::wire;

const FORWARD_TIMEOUT: Duration = Duration::from_secs(15);

/// See the module's text.
pub struct Identities {
    pub shared: Arc<Shared>,
    pub protocols: Vec<Arc<dyn Protocol>>,
}

/// What both keys have proved to want, on its way to the primary.
#[derive(Serialize, Deserialize)]
pub enum Change {
    Bind(Statement),
    Unbind { principal: Identity, ledger: String, identity: String },
}

pub type ChangeReply = Box<dyn FnOnce(Submitted) + Send>;

impl Identities {
    fn protocol(&self, ledger: &str) -> Result<&Arc<dyn Protocol>, ApiError> {
        let hosted = self.protocols.iter().find(|protocol| protocol.name() == ledger);
        let hosted = hosted.filter(|_| self.shared.visible.hosts(ledger));
        hosted.ok_or_else(|| {
            ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", format!("there is no ledger {ledger}"))
        })
    }

    fn canonical(&self, ledger: &str, identity: &str) -> Result<String, ApiError> {
        bindings::check_names(ledger, identity)?;
        self.protocol(ledger)?.identity(identity).ok_or_else(|| {
            let message = format!("the ledger {ledger} has no identities of that form");
            ApiError::new(StatusCode::BAD_REQUEST, "InvalidInput", message)
        })
    }

    fn stated(
        &self,
        principal: &Identity,
        (ledger, identity): (&str, &str),
        as_of: TxId,
        until_s: u64,
    ) -> Result<Statement, ApiError> {
        let mut state = self.shared.visible.state();
        let service = ServiceInfo::read(&mut state).ok().flatten();
        let service = service.and_then(|info| decode_pem("CERTIFICATE", &info.cert).ok());
        let network = Network::read(&mut state).ok().flatten();
        let (Some(service), Some(network)) = (service, network) else {
            let message = "the node does not know its network yet";
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "NodeCannotHandleRequest", message));
        };
        Ok(Statement {
            service: sha256(&service),
            network: network.name,
            ledger: ledger.to_owned(),
            identity: self.canonical(ledger, identity)?,
            principal: principal.clone(),
            as_of,
            until_s,
        })
    }

    fn change(&self, change: Change, key: Option<Idempotent>, reply: Reply) {
        let reply: ChangeReply = Box::new(move |end| reply(answer_to(Some(end))));
        let Some(primary) = self.shared.remote_primary() else { return change_here(&self.shared, change, key, reply) };
        let body = serde_json::to_vec(&change).expect("a change has only string keys");
        let shared = self.shared.clone();
        let answered = move |body: Result<Bytes, NoAnswer>| {
            let ends = body.map(|body| wire::decode_answers(body).ok().and_then(|ends| ends.into_iter().next()));
            let end = match ends {
                Ok(Some(end)) => end,
                Err(NoAnswer::NotSent) => Submitted::Unavailable,
                Ok(None) | Err(NoAnswer::Lost) => Submitted::Unknown(None),
            };
            // The next statement that is asked for here must be as of this change.
            shared.once_readable(newest_committed(std::slice::from_ref(&end)), || reply(end));
        };
        let body = wire::encode_key(key, &body);
        self.shared.peers.request(primary, wire::kind::BIND, body, FORWARD_TIMEOUT, Box::new(answered));
    }
}

/// The primary's part of what another node forwarded.
pub fn forwarded(shared: &Shared, body: Bytes, respond: Box<dyn FnOnce(Bytes) + Send>) {
    let parsed = wire::decode_key(body).ok().and_then(|(key, body)| Some((key, serde_json::from_slice(&body).ok()?)));
    // A peer that sends anything else is dropped without an answer.
    let Some((key, change)) = parsed else { return };
    change_here(shared, change, key, Box::new(move |end| respond(wire::encode_answers(&[end]))));
}

fn change_here(shared: &Shared, change: Change, key: Option<Idempotent>, reply: ChangeReply) {
    let command: SystemCommand = Box::new(move |tx, context: &Context<'_>| {
        match key.map_or(Earlier::None, |key| key.earlier_in(tx, context.now_ms)) {
            Earlier::Same(..) => return Ok(Outcome::default()),
            Earlier::Other => return Err(Idempotent::reused()),
            Earlier::None => {}
        }
        let now_s = context.now_ms / 1000;
        match &change {
            Change::Bind(statement) => bindings::bind(tx, statement, context.txid, now_s)?,
            Change::Unbind { principal, ledger, identity } => {
                if !bindings::unbind(tx, principal, ledger, identity, context.txid, now_s) {
                    return Err(Rejection::new(
                        RejectionReason::Refused,
                        404,
                        "this identity is not bound to the caller",
                    ));
                }
            }
        }
        if let Some(key) = key {
            key.keep(tx, context.txid, b"", context.now_ms);
        }
        Ok(Outcome::default())
    });
    let done = move |ends: Vec<Submitted>| reply(ends.into_iter().next().unwrap_or(Submitted::Unavailable));
    submit_here(shared, ExecutorEvent::System { command, reply: Box::new(done) });
}

impl IdentityApi for Identities {
    fn bindings(&self, caller: &Caller, of: &[Identity]) -> (TxId, Vec<Binding>) {
        let (txid, state) = self.shared.visible.current();
        let reader = self.shared.reader(caller);
        let mut shown = Vec::new();
        for principal in of {
            let party: Digest = bindings::principal_digest(principal);
            for binding in bindings::of(&state, principal) {
                let subject = Subject {
                    ledger: &binding.ledger,
                    kind: SUBJECT_KIND,
                    name: binding.identity.as_bytes(),
                    parties: &[party.as_bytes()],
                };
                shown.extend(reader.disclose(&subject, ()).map(|()| binding.clone()));
            }
        }
        (txid, shown)
    }

    fn statement(&self, principal: &Identity, wanted: Wanted) -> Result<Statement, ApiError> {
        let until_s = (self.shared.clock)() / 1000 + BINDING_STATEMENT_S / 2;
        self.stated(principal, (&wanted.ledger, &wanted.identity), self.shared.visible.txid(), until_s)
    }

    fn restated(&self, principal: &Identity, proof: &Proof) -> Result<Statement, ApiError> {
        self.stated(principal, (&proof.ledger, &proof.identity), proof.as_of, proof.until)
    }

    fn bind(&self, statement: Statement, signature: &str, key: Option<Idempotent>, reply: Reply) {
        let proved = self.protocol(&statement.ledger).and_then(|protocol| {
            let proved = protocol.prove_identity(&statement.identity, &statement.text(), signature);
            proved.map_err(|rejection| ApiError::new(StatusCode::FORBIDDEN, "AuthorizationFailed", rejection.message))
        });
        match proved {
            Ok(()) => self.change(Change::Bind(statement), key, reply),
            Err(error) => reply(error.into_response()),
        }
    }

    fn unbind(&self, principal: &Identity, wanted: Wanted, key: Option<Idempotent>, reply: Reply) {
        let Wanted { ledger, identity } = wanted;
        match self.canonical(&ledger, &identity) {
            Ok(identity) => {
                self.change(Change::Unbind { principal: principal.clone(), ledger, identity }, key, reply);
            }
            Err(error) => reply(error.into_response()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use coco_types::{Seqno, View};

    use super::*;
    use crate::events::ReplicaEvent;
    use crate::fixture::Backup;

    #[test]
    fn a_caller_that_a_lagging_backup_bound_is_told_once_the_binding_can_be_read_there() {
        let (before, txid) = (TxId::new(View(1), Seqno(5)), TxId::new(View(1), Seqno(9)));
        let bound = Submitted::Committed { txid, response: Bytes::new() };
        let backup = Backup::new(before, wire::encode_answers(&[bound]));
        let identities = Identities { shared: backup.shared.clone(), protocols: Vec::new() };
        let (tell, told) = mpsc::channel();
        let change = Change::Unbind {
            principal: Identity::Member("a".to_owned()),
            ledger: "ethereum".to_owned(),
            identity: "0x00".to_owned(),
        };
        identities.change(change, None, Box::new(move |response| tell.send(response.status()).unwrap()));
        let Ok(ReplicaEvent::ReadUpTo { seqno, reply }) = backup.replica.try_recv() else {
            panic!("nothing is awaited")
        };
        assert_eq!(seqno, txid.seqno);
        assert!(told.try_recv().is_err());
        reply(true);
        assert_eq!(told.recv().unwrap(), StatusCode::NO_CONTENT);
    }
}
