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
use coco_protocol::{Outcome, Rejection, RejectionReason, Submitted};
use coco_rpc::channel::NoAnswer;

use crate::events::ExecutorEvent;
use crate::executor::SystemCommand;
use crate::handle::{Shared, submit_here};
use crate::identity::ServiceSecrets;
use crate::join::{self, Challenge, JoinAnswer};
use crate::shell::{credentials, entrance};
use crate::wire;

/// Issues challenges and admits nodes whose evidence the policy accepts.
pub struct Admission {
    shared: Arc<Shared>,
    /// The network may have given itself others since.
    began_with: ServiceSecrets,
    vault: Vault,
}

/// What a join request led to: the answer's JSON, or why not in words.
pub type JoinReply = Box<dyn FnOnce(Result<Bytes, String>) + Send>;

const FORWARD_TIMEOUT: Duration = Duration::from_secs(15);

impl Admission {
    pub fn new(shared: Arc<Shared>, began_with: ServiceSecrets, vault: Vault) -> Self {
        Self { shared, began_with, vault }
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

    fn forward(&self, kind: u16, body: Bytes, reply: JoinReply) {
        let Some(primary) = self.shared.standing.read().primary else {
            return reply(Err("there is no primary just now: try again".to_owned()));
        };
        let answer = move |body: Result<Bytes, NoAnswer>| {
            let result = body.map_err(|_| "the primary does not answer: try again".to_owned());
            reply(result.and_then(|body| match wire::decode_result(body) {
                Ok(result) => result.map_err(|rejection| rejection.message),
                Err(error) => Err(error.to_string()),
            }));
        };
        self.shared.peers.request(primary, kind, body, FORWARD_TIMEOUT, Box::new(answer));
    }

    /// The primary's part.
    pub fn join_here(self: &Arc<Self>, body: &[u8], reply: JoinReply) {
        let judged = self.service().and_then(|service| Ok((self.judge(body, &service)?, service)));
        let ((applicant, verified, certificate), service) = match judged {
            Ok(judged) => judged,
            Err(error) => return reply(Err(error)),
        };
        let this = self.clone();
        let exchange_key = applicant.exchange_key.clone();
        let pem = certificate.to_pem();
        let issuer = service.certificate.to_pem();
        let command = admit_command(applicant, verified, (pem.clone(), issuer), self.vault.clone());
        let done = move |answers: Vec<Submitted>| {
            reply(match answers.into_iter().next() {
                Some(Submitted::Committed { response, .. }) => this.answer(&response, &exchange_key, pem),
                Some(Submitted::Rejected(rejection)) => Err(rejection.message),
                _ => Err("the primary changed meanwhile: try again".to_owned()),
            });
        };
        submit_here(&self.shared, ExecutorEvent::System { command, reply: Box::new(done) });
    }

    /// The primary's part.
    pub fn renew_here(&self, body: &[u8], reply: JoinReply) {
        let now_ms = (self.shared.clock)();
        let judged = self.service().and_then(|service| {
            let applicant = join::applicant(body, &service.key, now_ms).map_err(|error| error.to_string())?;
            let service_key = service.certificate.public_key();
            let state = &mut self.shared.visible.state();
            let verified = attestation::verify_applicant(state, &applicant, service_key, now_ms / 1000);
            verified
                .map(|verified| (applicant, verified, service.certificate.to_pem()))
                .map_err(|error| error.to_string())
        });
        let (applicant, verified, issuer) = match judged {
            Ok(judged) => judged,
            Err(error) => return reply(Err(error)),
        };
        let command: SystemCommand = Box::new(move |tx, _| {
            check_service(tx, &issuer)?;
            attestation::renew(tx, &applicant, &verified)
                .map_err(|error| Rejection::new(RejectionReason::Refused, 0, error.to_string()))?;
            let response = serde_json::json!({ "renewed": applicant.public_key.node_id() }).to_string();
            Ok(Outcome { claims: None, response: response.into() })
        });
        let done = move |answers: Vec<Submitted>| {
            reply(match answers.into_iter().next() {
                Some(Submitted::Committed { response, .. }) => Ok(response),
                Some(Submitted::Rejected(rejection)) => Err(rejection.message),
                _ => Err("the primary changed meanwhile: try again".to_owned()),
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
        let now_ms = (self.shared.clock)();
        let applicant = join::applicant(body, &service.key, now_ms).map_err(|error| error.to_string())?;
        let service_key = service.certificate.public_key();
        let state = &mut self.shared.visible.state();
        let verified = attestation::verify_applicant(state, &applicant, service_key, now_ms / 1000)
            .map_err(|error| error.to_string())?;
        self.check_place(&applicant)?;
        let bound = attestation::bound_facts(&applicant, sha256(&service_key.spki_der()));
        let certificate = entrance::certify(
            service,
            &applicant.public_key,
            applicant.index,
            &applicant.addresses,
            now_ms / 1000,
            node_extension(&applicant.evidence, &bound),
        );
        Ok((applicant, verified, certificate.map_err(|error| error.to_string())?))
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
        let refused = |error: String| Rejection::new(RejectionReason::Refused, 0, error);
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
    Err(Rejection::new(RejectionReason::Refused, 0, "the service's certificate has just changed: try again"))
}
