//! Admitting others: the service's side of the join path, on whichever node is asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_attestation::node_extension;
use coco_crypto::{Certificate, SystemCrypto, sha256};
use coco_governance::attestation::{self, VerifiedApplicant};
use coco_governance::secrets::{self, Vault};
use coco_governance::{AWAITS_VOTE, Applicant, NodeRow, ServiceInfo, Standing};
use coco_kv::Tx;
use coco_protocol::{ApiError, Outcome, Rejection, RejectionReason, Submitted};
use coco_rpc::channel::NoAnswer;
use coco_types::limits;
use http::StatusCode;

use crate::events::ExecutorEvent;
use crate::executor::SystemCommand;
use crate::handle::{Shared, submit_here};
use crate::identity::ServiceSecrets;
use crate::join::{self, Challenge, JoinAnswer, JoinError};
use crate::shell::places::Places;
use crate::shell::{credentials, entrance};
use crate::wire;

/// Issues challenges and admits nodes whose evidence the policy accepts.
pub struct Admission {
    shared: Arc<Shared>,
    /// The network may have given itself others since.
    began_with: ServiceSecrets,
    vault: Vault,
    /// On their way to the primary: by their kind, and by whether their evidence is genuine by what is committed here.
    under_way: Places<(u16, bool)>,
}

/// What a join request led to: the answer's JSON, or why not in words.
pub type JoinReply = Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>;

const FORWARD_TIMEOUT: Duration = Duration::from_secs(15);

impl Admission {
    pub fn new(shared: Arc<Shared>, began_with: ServiceSecrets, vault: Vault) -> Self {
        Self { shared, began_with, vault, under_way: Places::new(limits::ADMISSIONS_UNDER_WAY_MAX) }
    }

    /// As of the newest committed state.
    pub fn service(&self) -> Result<ServiceSecrets, String> {
        credentials::service(&mut self.shared.visible.state(), &self.vault, &self.began_with)
    }

    pub fn challenge(&self) -> Result<Challenge, String> {
        let nonce = join::challenge(&SystemCrypto, &self.service()?.key, (self.shared.clock)());
        Ok(Challenge { nonce, takes_certificate_signing_request: true })
    }

    /// Admits here if this is the primary, else asks the primary.
    pub fn join(self: &Arc<Self>, body: Bytes, reply: JoinReply) {
        if self.shared.is_primary() {
            self.join_here(&body, reply)
        } else {
            self.forward(wire::kind::JOIN, body, reply)
        }
    }

    /// Takes fresh evidence of a node of the network, here or on the primary.
    pub fn renew(&self, body: Bytes, reply: JoinReply) {
        if self.shared.is_primary() {
            self.renew_here(&body, reply)
        } else {
            self.forward(wire::kind::RENEW, body, reply)
        }
    }

    /// Anybody may ask, and everything else goes the same way: few may be under way, and what is not genuine takes no places of what is.
    fn forward(&self, kind: u16, body: Bytes, reply: JoinReply) {
        let Some(primary) = self.shared.standing.read().primary else {
            return reply(Err(refused("there is no primary just now: try again")));
        };
        let is_genuine = match self.is_genuine(&body) {
            Ok(is_genuine) => is_genuine,
            Err(rejection) => return reply(Err(rejection)),
        };
        let Some(place) = self.under_way.take((kind, is_genuine)) else { return reply(Err(busy())) };
        let answer = move |body: Result<Bytes, NoAnswer>| {
            drop(place);
            reply(match body {
                Ok(body) => wire::decode_result(body).unwrap_or_else(|error| Err(refused(error.to_string()))),
                Err(_) => Err(refused("the primary does not answer: try again")),
            });
        };
        self.shared.peers.request(primary, kind, body, FORWARD_TIMEOUT, Box::new(answer));
    }

    /// By what is committed here: the primary may know a newer service, newer collateral and a better time. What cannot be read goes no further.
    fn is_genuine(&self, body: &[u8]) -> Result<bool, Rejection> {
        let service = self.service().map_err(refused)?;
        match self.verified(body, &service) {
            Ok(_) => Ok(true),
            Err(error @ JoinError::Malformed(_)) => Err(refused(error.to_string())),
            Err(JoinError::StaleChallenge | JoinError::Refused(_)) => Ok(false),
        }
    }

    /// The primary's part of what another node forwarded.
    pub fn forwarded(self: &Arc<Self>, kind: u16, body: &[u8], reply: JoinReply) {
        if kind == wire::kind::JOIN { self.join_here(body, reply) } else { self.renew_here(body, reply) }
    }

    /// The primary's part.
    fn join_here(self: &Arc<Self>, body: &[u8], reply: JoinReply) {
        let judged = self.service().and_then(|service| Ok((self.judge(body, &service)?, service)));
        let ((applicant, verified, certificate), service) = match judged {
            Ok(judged) => judged,
            Err(error) => return reply(Err(refused(error))),
        };
        let this = self.clone();
        let exchange_key = applicant.exchange_key.clone();
        let pem = certificate.to_pem();
        let issuer = service.certificate.to_pem();
        let command = admit_command(applicant, verified, (pem.clone(), issuer), self.vault.clone());
        let done = move |answers: Vec<Submitted>| {
            reply(match answers.into_iter().next() {
                Some(Submitted::Committed { response, .. }) => {
                    this.answer(&response, &exchange_key, pem).map_err(refused)
                }
                Some(Submitted::Rejected(rejection)) => Err(rejection),
                _ => Err(refused("the primary changed meanwhile: try again")),
            });
        };
        submit_here(&self.shared, ExecutorEvent::System { command, reply: Box::new(done) });
    }

    /// The primary's part.
    fn renew_here(&self, body: &[u8], reply: JoinReply) {
        let judged = self.service().and_then(|service| {
            let (applicant, verified) = self.verified(body, &service).map_err(|error| error.to_string())?;
            Ok((applicant, verified, service.certificate.to_pem()))
        });
        let (applicant, verified, issuer) = match judged {
            Ok(judged) => judged,
            Err(error) => return reply(Err(refused(error))),
        };
        let command: SystemCommand = Box::new(move |tx, _| {
            check_service(tx, &issuer)?;
            attestation::renew(tx, &applicant, &verified).map_err(|error| refused(error.to_string()))?;
            let response = serde_json::json!({ "renewed": applicant.public_key.node_id() }).to_string();
            Ok(Outcome { claims: None, response: response.into() })
        });
        let done = move |answers: Vec<Submitted>| {
            reply(match answers.into_iter().next() {
                Some(Submitted::Committed { response, .. }) => Ok(response),
                Some(Submitted::Rejected(rejection)) => Err(rejection),
                _ => Err(refused("the primary changed meanwhile: try again")),
            });
        };
        submit_here(&self.shared, ExecutorEvent::System { command, reply: Box::new(done) });
    }

    /// Everything that needs no ledger transaction: the challenge, the evidence, whether the place is free.
    fn judge(
        &self,
        body: &[u8],
        service: &ServiceSecrets,
    ) -> Result<(Applicant, VerifiedApplicant, Certificate), String> {
        let (applicant, verified) = self.verified(body, service).map_err(|error| error.to_string())?;
        self.check_place(&applicant)?;
        let bound = attestation::bound_facts(&applicant, sha256(&service.certificate.public_key().spki_der()));
        let certificate = entrance::certify(
            service,
            &applicant.public_key,
            applicant.index,
            &applicant.addresses,
            (self.shared.clock)() / 1000,
            node_extension(&applicant.evidence, &bound),
        );
        Ok((applicant, verified, certificate.map_err(|error| error.to_string())?))
    }

    /// The request's fields, with its challenge and its evidence checked.
    fn verified(&self, body: &[u8], service: &ServiceSecrets) -> Result<(Applicant, VerifiedApplicant), JoinError> {
        let now_ms = (self.shared.clock)();
        let applicant = join::applicant(body, &service.key, now_ms)?;
        let (mut state, service_key) = (self.shared.visible.state(), service.certificate.public_key());
        let verified = attestation::verify_applicant(&mut state, &applicant, service_key, now_ms / 1000);
        let verified = verified.map_err(|error| JoinError::Refused(error.to_string()))?;
        Ok((applicant, verified))
    }

    /// A place whose node still answers is not given away.
    fn check_place(&self, applicant: &Applicant) -> Result<(), String> {
        let nodes =
            coco_governance::current_nodes(&mut self.shared.visible.state()).map_err(|error| error.to_string())?;
        let holder = nodes.iter().rfind(|node| node.info.index == applicant.index);
        let standing = self.shared.standing.read();
        let answers = holder.is_some_and(|node| {
            node.info.replica == self.shared.replica_id || standing.answering.contains(&node.info.replica)
        });
        if answers { Err(format!("node {} is still answering: stop it first", applicant.index)) } else { Ok(()) }
    }

    fn answer(&self, standing: &[u8], exchange_key: &[u8], certificate: String) -> Result<Bytes, String> {
        let standing: Standing = serde_json::from_slice(standing).map_err(|error| error.to_string())?;
        if standing.pending {
            return Err(format!("the evidence is accepted, and {AWAITS_VOTE}"));
        }
        let nodes =
            coco_governance::current_nodes(&mut self.shared.visible.state()).map_err(|error| error.to_string())?;
        // What is sealed and not committed may still be dropped.
        let mut epochs = self.shared.ledger.keys();
        epochs.truncate_after(self.shared.visible.txid().seqno.next());
        let service = ServiceSecrets { epochs, ..self.service()? };
        let peer = |node: &NodeRow| (node.info.replica, node.info.addresses);
        let answer = JoinAnswer {
            replica: standing.replica,
            certificate,
            secrets: hex::encode(&*service.to_bytes()),
            peers: nodes.iter().filter(|node| node.info.replica != standing.replica).map(peer).collect(),
        };
        let sealed = join::seal_answer(&SystemCrypto, exchange_key, &answer).map_err(|error| error.to_string())?;
        serde_json::to_vec(&sealed).map(Bytes::from).map_err(|error| error.to_string())
    }
}

fn admit_command(
    applicant: Applicant,
    verified: VerifiedApplicant,
    (certificate_pem, issuer_pem): (String, String),
    vault: Vault,
) -> SystemCommand {
    Box::new(move |tx, context| {
        check_service(tx, &issuer_pem)?;
        let standing = coco_governance::admit(tx, &applicant, &verified, &certificate_pem, context.now_ms)
            .map_err(|error| refused(error.to_string()))?;
        if !standing.pending {
            secrets::wrap_for_joiner(tx, &vault, applicant.public_key.node_id(), &applicant.exchange_key)
                .map_err(|error| refused(error.to_string()))?;
        }
        let response = serde_json::to_vec(&standing).map_err(|error| refused(error.to_string()))?;
        Ok(Outcome { claims: None, response: response.into() })
    })
}

/// What was issued or checked under a certificate counts only while it is still the service's.
fn check_service(tx: &mut Tx, certificate_pem: &str) -> Result<(), Rejection> {
    let service = ServiceInfo::read(tx).ok().flatten();
    if service.is_some_and(|service| service.cert.trim() == certificate_pem.trim()) {
        return Ok(());
    }
    Err(refused("the service's certificate has just changed: try again"))
}

fn refused(why: impl Into<String>) -> Rejection {
    Rejection::new(RejectionReason::Refused, 0, why)
}

/// Too many are asking.
pub fn busy() -> Rejection {
    Rejection::new(RejectionReason::Busy, 0, ApiError::busy().message)
}

/// As the HTTP API says it.
pub fn api_error(rejection: Rejection) -> ApiError {
    match rejection.reason {
        RejectionReason::Busy => rejection.into(),
        _ => ApiError::new(StatusCode::FORBIDDEN, "NotAdmitted", rejection.message),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use coco_attestation::platforms::virtual_tee::VirtualTee;
    use coco_crypto::{Curve, ExchangeKey, SeededCrypto, SigningKey};
    use coco_governance::{Addresses, NodeRole};
    use coco_types::{Digest, Seqno, TxId, View};

    use super::*;
    use crate::fixture::{self, Backup};

    #[test]
    fn a_backup_passes_on_what_the_primary_may_accept_and_genuine_requests_have_places_of_their_own() {
        let crypto = SeededCrypto::new(1);
        let identity = fixture::identity(&crypto);
        let passed_on: Result<Bytes, Rejection> = Ok(Bytes::from_static(b"the primary's answer"));
        let backup = Backup::of(&identity, TxId::new(View(1), Seqno(3)), wire::encode_result(&passed_on));
        let admission = Admission::new(backup.shared.clone(), identity.service.copy(), identity.vault());
        let admission = Arc::new(admission);
        let join = |body: &[u8]| {
            let (tell, told) = mpsc::channel();
            let reply = Box::new(move |result: Result<Bytes, Rejection>| tell.send(result).unwrap());
            admission.join(Bytes::copy_from_slice(body), reply);
            told.try_recv().expect("answered at once")
        };
        let [node_key, service] = [SigningKey::generate(&crypto, Curve::P384), identity.service.copy().key];
        let exchange = ExchangeKey::generate(&crypto);
        let tee = VirtualTee::running(Digest([7; 32]));
        let address = ([127, 0, 0, 1], 8000).into();
        let place =
            join::Place { index: 1, addresses: Addresses { api: address, peers: address }, role: NodeRole::Reader };
        let request = |nonce: Digest| {
            let (key, service) = (node_key.public_key(), service.public_key());
            let request = join::request(&tee, key, exchange.public(), service, place, Digest::ZERO, nonce);
            serde_json::to_vec(&request.unwrap()).unwrap()
        };
        let genuine = request(admission.challenge().unwrap().nonce);
        let of_other_service = request(Digest::ZERO);
        assert_eq!(join(&genuine), passed_on);
        assert_eq!(join(&of_other_service), passed_on, "the primary may know that service");
        let unreadable = join(b"{}").unwrap_err();
        assert!(unreadable.message.starts_with("malformed join request"), "{unreadable}");
        assert_eq!(api_error(unreadable).status, StatusCode::FORBIDDEN);
        let flood = || admission.under_way.take((wire::kind::JOIN, false));
        let flood: Vec<_> = std::iter::from_fn(flood).collect();
        assert_eq!(flood.len(), limits::ADMISSIONS_UNDER_WAY_MAX);
        assert_eq!(api_error(join(&of_other_service).unwrap_err()), ApiError::busy());
        assert_eq!(join(&genuine), passed_on);
        drop(flood);
        assert_eq!(join(&of_other_service), passed_on);
    }
}
