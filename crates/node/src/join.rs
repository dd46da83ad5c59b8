//! Joining: the messages, the challenge, and the secrets on their way to an attested node.
//!
//! ```text
//!   joiner                                    any node ──(forwards)──▶ primary
//!     │ POST /node/join:challenge  ─────────────▶│  nonce
//!     │ evidence over (node key, exchange key, service, config, nonce)
//!     │ POST /node/join ────────────────────────▶│  verify ─▶ appraise and write the node's row (a ledger transaction)
//!     │◀──── replica id, certificate, service secrets sealed to the exchange key ── once committed
//! ```
//!
//! Challenges are stateless: a nonce carries its expiry and a code under a key of the service, so that any node can check it. A node
//! key joins once, so a replayed request is refused by what it wrote.

use coco_attestation::{Binding, Evidence, EvidenceSource};
use coco_crypto::{
    Crypto, Domain, EXCHANGE_KEY_BYTES, ExchangeKey, PublicKey, SigningKey, SymmetricKey, constant_time_eq,
    hkdf_sha256, hmac_sha256, sha256,
};
use coco_governance::{Addresses, Applicant, NodeRole, Swap, certificates};
use coco_types::{Digest, NodeId, ReplicaId};
use serde::{Deserialize, Serialize};

/// A challenge is good for this long.
const CHALLENGE_MS: u64 = 60_000;
const CHALLENGE_DOMAIN: Domain = Domain::new("coco.join.challenge.v1");
/// What the sealed answer is bound to.
const ANSWER_CONTEXT: &[u8] = b"coco.join.answer.v1";

/// The answer of `POST /node/join:challenge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    pub nonce: Digest,
    /// Whether [`JoinRequest::certificate_signing_request`] is known here: older nodes refuse a request with a field that they do not know.
    #[serde(default)]
    pub takes_certificate_signing_request: bool,
}

/// `POST /node/join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The node's public key in PEM.
    pub public_key: String,
    /// X25519, hex.
    pub exchange_key: String,
    pub index: u32,
    pub addresses: Addresses,
    pub config: Digest,
    pub nonce: Digest,
    pub evidence: Evidence,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swaps: Option<SwapClaim>,
    #[serde(default)]
    pub role: NodeRole,
    /// PKCS #10, PEM, for the key and the addresses above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_signing_request: Option<String>,
}

/// [`Swap`] as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapClaim {
    /// The node that it was until now, and whose folder it keeps.
    pub node: NodeId,
    /// By that node's key, over [`Swap::statement`]: DER, hex.
    pub signature: String,
}

impl SwapClaim {
    pub fn new(crypto: &dyn Crypto, before: &SigningKey, new_key: &PublicKey, nonce: &Digest) -> Self {
        let signature = before.sign(crypto, &Swap::statement(new_key, &nonce.0));
        Self { node: before.public_key().node_id(), signature: hex::encode(signature.der()) }
    }
}

/// What a joining node says about itself besides its keys.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub index: u32,
    pub addresses: Addresses,
    pub role: NodeRole,
}

/// The answer: a [`JoinAnswer`] sealed to the exchange key, hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedJoinAnswer {
    pub sealed: String,
}

/// What an admitted node needs to take part.
#[derive(Serialize, Deserialize)]
pub struct JoinAnswer {
    pub replica: ReplicaId,
    /// The node's certificate, endorsed by the service, in PEM.
    pub certificate: String,
    /// [`crate::identity::ServiceSecrets`] in their own form, hex.
    pub secrets: String,
    /// Where the others listen.
    pub peers: Vec<(ReplicaId, Addresses)>,
}

impl Drop for JoinAnswer {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secrets);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("malformed join request: {0}")]
    Malformed(String),
    #[error("the challenge has expired or is not of this service: ask for a new one")]
    StaleChallenge,
    #[error("{0}")]
    Refused(String),
}

/// A fresh challenge: expiry (8 bytes), randomness (8), code (16).
pub fn challenge(crypto: &dyn Crypto, service: &SigningKey, now_ms: u64) -> Digest {
    let mut nonce = [0; 32];
    nonce[..8].copy_from_slice(&(now_ms + CHALLENGE_MS).to_le_bytes());
    crypto.fill(&mut nonce[8..16]);
    let code = challenge_code(service, &nonce[..16]);
    nonce[16..].copy_from_slice(&code);
    Digest(nonce)
}

fn check_challenge(service: &SigningKey, nonce: &Digest, now_ms: u64) -> Result<(), JoinError> {
    let (open, code) = nonce.0.split_at(16);
    let expiry = open.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let genuine = constant_time_eq(&challenge_code(service, open), code);
    if genuine && expiry >= now_ms { Ok(()) } else { Err(JoinError::StaleChallenge) }
}

/// Under a key that every node of the service has.
fn challenge_code(service: &SigningKey, open: &[u8]) -> [u8; 16] {
    let secret = SymmetricKey::from_bytes(sha256(&service.to_pkcs8_der()).0);
    let key = hkdf_sha256(&secret, CHALLENGE_DOMAIN, &[]);
    let code = hmac_sha256(key.expose(), open);
    *code.0.first_chunk().expect("16 of 32 bytes")
}

/// The joiner's side: a request with fresh evidence.
pub fn request(
    source: &dyn EvidenceSource,
    node_key: &PublicKey,
    exchange_key: &[u8],
    service: &PublicKey,
    place: Place,
    config: Digest,
    nonce: Digest,
) -> Result<JoinRequest, JoinError> {
    let binding = Binding {
        node_key,
        exchange_key,
        service: Some(sha256(&service.spki_der())),
        config,
        tee: source.kind(),
        nonce: Some(nonce.0),
    };
    let evidence = source.evidence(&binding.report_data()).map_err(|error| JoinError::Refused(error.to_string()))?;
    let Place { index, addresses, role } = place;
    Ok(JoinRequest {
        public_key: node_key.to_pem(),
        exchange_key: hex::encode(exchange_key),
        index,
        addresses,
        config,
        nonce,
        evidence,
        swaps: None,
        role,
        certificate_signing_request: None,
    })
}

/// The service's side: the request's fields, with the challenge checked. The evidence is not verified yet.
pub fn applicant(body: &[u8], service: &SigningKey, now_ms: u64) -> Result<Applicant, JoinError> {
    let request: JoinRequest = serde_json::from_slice(body).map_err(|error| JoinError::Malformed(error.to_string()))?;
    check_challenge(service, &request.nonce, now_ms)?;
    let malformed = |error: &dyn std::fmt::Display| JoinError::Malformed(error.to_string());
    let exchange_key = hex::decode(&request.exchange_key).map_err(|error| malformed(&error))?;
    // Whoever cannot be answered must not be admitted: the place would be given to nobody.
    if exchange_key.len() != EXCHANGE_KEY_BYTES {
        return Err(malformed(&format!("an exchange key has {EXCHANGE_KEY_BYTES} bytes")));
    }
    let swap = |claim: SwapClaim| {
        let signature = hex::decode(&claim.signature).map_err(|error| malformed(&error))?;
        Ok(Swap { node: claim.node, signature })
    };
    let public_key = PublicKey::from_pem(&request.public_key).map_err(|error| malformed(&error))?;
    let is_own = |text: &String| certificates::is_request_of(text, &public_key, request.index, &request.addresses);
    if !request.certificate_signing_request.as_ref().is_none_or(is_own) {
        return Err(malformed(&"the certificate signing request is not for this node's key and addresses"));
    }
    Ok(Applicant {
        public_key,
        exchange_key,
        index: request.index,
        addresses: request.addresses,
        config: request.config,
        nonce: request.nonce.0,
        evidence: request.evidence,
        swaps: request.swaps.map(swap).transpose()?,
        role: request.role,
        certificate_signing_request: request.certificate_signing_request,
    })
}

pub fn seal_answer(
    crypto: &dyn Crypto,
    exchange_key: &[u8],
    answer: &JoinAnswer,
) -> Result<SealedJoinAnswer, JoinError> {
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(answer).expect("an answer has only string keys"));
    let sealed = coco_crypto::seal_to(crypto, exchange_key, ANSWER_CONTEXT, &plain);
    let sealed = sealed.map_err(|error| JoinError::Malformed(error.to_string()))?;
    Ok(SealedJoinAnswer { sealed: hex::encode(sealed) })
}

pub fn open_answer(exchange: &ExchangeKey, body: &[u8]) -> Result<JoinAnswer, JoinError> {
    let answer: SealedJoinAnswer =
        serde_json::from_slice(body).map_err(|error| JoinError::Malformed(error.to_string()))?;
    let sealed = hex::decode(&answer.sealed).map_err(|error| JoinError::Malformed(error.to_string()))?;
    let plain = exchange.open(ANSWER_CONTEXT, &sealed).map_err(|error| JoinError::Malformed(error.to_string()))?;
    let plain = zeroize::Zeroizing::new(plain);
    serde_json::from_slice(&plain)
        .map_err(|_| JoinError::Malformed("the sealed answer is of an unknown form".to_owned()))
}

#[cfg(test)]
mod tests {
    use coco_attestation::platforms::virtual_tee::VirtualTee;
    use coco_crypto::{Curve, SeededCrypto, SigningKey};

    use super::*;

    #[test]
    fn a_challenge_is_good_once_issued_by_this_service_and_until_it_expires() {
        let crypto = SeededCrypto::new(1);
        let [secret, other] = [(); 2].map(|()| SigningKey::generate(&crypto, Curve::P384));
        let nonce = challenge(&crypto, &secret, 1_000);
        assert_eq!(check_challenge(&secret, &nonce, 61_000), Ok(()));
        assert_eq!(check_challenge(&secret, &nonce, 61_001), Err(JoinError::StaleChallenge));
        assert_eq!(check_challenge(&other, &nonce, 1_000), Err(JoinError::StaleChallenge));
        let mut later = nonce;
        later.0[3] ^= 1;
        assert_eq!(check_challenge(&secret, &later, 1_000), Err(JoinError::StaleChallenge));
    }

    #[test]
    fn a_request_survives_the_wire_and_its_evidence_covers_it() {
        let crypto = SeededCrypto::new(1);
        let [node_key, service] = [(); 2].map(|()| SigningKey::generate(&crypto, Curve::P384));
        let exchange = ExchangeKey::generate(&crypto);
        let addresses = Addresses { api: "127.0.0.1:8000".parse().unwrap(), peers: "127.0.0.1:8100".parse().unwrap() };
        let tee = VirtualTee::running(Digest([7; 32]));
        let nonce = challenge(&crypto, &service, 0);
        let place = Place { index: 1, addresses, role: NodeRole::Reader };
        let request =
            request(&tee, node_key.public_key(), exchange.public(), service.public_key(), place, Digest::ZERO, nonce)
                .unwrap();
        let applicant = applicant(&serde_json::to_vec(&request).unwrap(), &service, 0).unwrap();
        let mut state = coco_kv::Store::new().snapshot();
        let mut verify = |service: &SigningKey| {
            coco_governance::attestation::verify_applicant(&mut state, &applicant, service.public_key(), 0)
        };
        assert_eq!(verify(&service).unwrap().evidence().claims().measurement(), tee.measurement.to_string());
        assert!(verify(&node_key).is_err());
        let signed = |key, index| certificates::request(&crypto, key, index, &addresses).unwrap();
        let asks = |text: String| {
            let request = JoinRequest { certificate_signing_request: Some(text), ..request.clone() };
            super::applicant(&serde_json::to_vec(&request).unwrap(), &service, 0)
        };
        let own = signed(&node_key, 1);
        assert_eq!(asks(own.clone()).unwrap().certificate_signing_request, Some(own));
        for refused in [signed(&service, 1), signed(&node_key, 2), String::new(), "a".repeat(1 << 16)] {
            assert!(matches!(asks(refused), Err(JoinError::Malformed(_))));
        }
        let unanswerable = JoinRequest { exchange_key: "ab".to_owned(), ..request };
        let unanswerable = serde_json::to_vec(&unanswerable).unwrap();
        assert!(matches!(super::applicant(&unanswerable, &service, 0), Err(JoinError::Malformed(_))));
    }

    #[test]
    fn only_the_joiner_opens_its_answer() {
        let crypto = SeededCrypto::new(1);
        let [exchange, other] = [(); 2].map(|()| ExchangeKey::generate(&crypto));
        let answer = JoinAnswer {
            replica: ReplicaId(2),
            certificate: String::new(),
            secrets: "ab".to_owned(),
            peers: Vec::new(),
        };
        let sealed = serde_json::to_vec(&seal_answer(&crypto, exchange.public(), &answer).unwrap()).unwrap();
        assert_eq!(open_answer(&exchange, &sealed).unwrap().replica, ReplicaId(2));
        assert!(open_answer(&other, &sealed).is_err());
    }
}
