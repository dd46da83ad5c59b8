//! For applications: whether a node that one talks to runs what one accepts.
//!
//! Transport is the caller's: fetch `/node/attestations/self?nonce=` over TLS, keep the certificate that the node presented, and judge both here
//! by one's own [`Rules`]. Rules about nodes together are left out: a single node is judged alone.

use coco_crypto::Certificate;
use serde::{Deserialize, Serialize};

use crate::cmw::CmwError;
use crate::{
    Claims, Decision, Evidence, Moment, Policy, ReportData, Rules, VerifyError, appraise, certificate,
    fresh_report_data, verify,
};

/// The part of the answer of `/node/attestations/self` that counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeAnswer {
    /// In PEM.
    pub certificate: String,
    pub evidence: Evidence,
}

/// Evidence that is genuine and is about this node, and whether the rules accept what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub claims: Claims,
    pub decision: Decision,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("the node's certificate: {0}")]
    Certificate(#[from] coco_crypto::Error),
    #[error("the evidence is about another key than this connection's")]
    OtherKey,
    #[error("the certificate carries no evidence")]
    NoEvidence,
    #[error(transparent)]
    Cmw(#[from] CmwError),
    #[error("the rules' collateral: {0}")]
    Collateral(VerifyError),
    #[error("the evidence is not genuine: {0}")]
    NotGenuine(VerifyError),
}

/// Judges a node by its fresh answer. `presented`: what it showed to TLS; `nonce`: what it was asked with; `at`: the caller's clock, Unix seconds.
pub fn verify_node(
    answer: &NodeAnswer,
    presented: &Certificate,
    nonce: &[u8],
    rules: &Rules,
    at: u64,
) -> Result<Verdict, ClientError> {
    // Evidence binds this certificate's text; the connection must be with whoever holds its key.
    if Certificate::from_pem(&answer.certificate)?.public_key() != presented.public_key() {
        return Err(ClientError::OtherKey);
    }
    judge(&answer.evidence, &fresh_report_data(&answer.certificate, nonce), rules, at.into())
}

/// Judges a node by the evidence in its certificate: that of its admission, not fresh. Give as `at.evidence` when that was: a Nitro document lives
/// three hours.
pub fn verify_certificate(node: &Certificate, rules: &Rules, at: impl Into<Moment>) -> Result<Verdict, ClientError> {
    let (evidence, bound) = certificate::evidence_in(node)?.ok_or(ClientError::NoEvidence)?;
    let expected = bound.binding(node.public_key(), evidence.kind).report_data();
    judge(&evidence, &expected, rules, at.into())
}

fn judge(evidence: &Evidence, expected: &ReportData, rules: &Rules, at: Moment) -> Result<Verdict, ClientError> {
    let trust = rules.trust().map_err(ClientError::Collateral)?;
    let verified = verify(evidence, expected, &trust, at).map_err(ClientError::NotGenuine)?;
    let alone = Policy { network: Default::default(), ..rules.policy.clone() };
    let decision = appraise(&verified, &alone, &[], at.collateral);
    Ok(Verdict { claims: verified.claims().clone(), decision })
}

#[cfg(test)]
mod tests {
    use coco_crypto::{Curve, SeededCrypto, SigningKey, Validity, self_signed_certificate};
    use coco_types::Digest;

    use super::*;
    use crate::platforms::virtual_tee::VirtualTee;
    use crate::{BoundFacts, EvidenceSource, TeeKind};

    const TEE: VirtualTee = VirtualTee::running(Digest([7; 32]));

    fn node(seed: u64, evidence: bool) -> Certificate {
        let crypto = SeededCrypto::new(seed);
        let key = SigningKey::generate(&crypto, Curve::P256);
        let bound = BoundFacts { exchange_key: vec![1; 32], service: None, config: Digest::ZERO, nonce: None };
        let made = TEE.evidence(&bound.binding(key.public_key(), TeeKind::Virtual).report_data()).unwrap();
        let extensions: Vec<_> = certificate::node_extension(&made, &bound).into_iter().filter(|_| evidence).collect();
        let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
        self_signed_certificate(&crypto, &key, "node", &[], validity, &extensions).unwrap()
    }

    fn rules(measurement: Digest) -> Rules {
        Rules { policy: Policy::for_virtual([measurement]), ..Rules::default() }
    }

    #[test]
    fn a_fresh_answer_is_judged_for_its_nonce_its_connection_and_by_the_caller_s_rules() {
        let node = node(1, false);
        let certificate = node.to_pem();
        let evidence = TEE.evidence(&fresh_report_data(&certificate, b"nonce")).unwrap();
        let answer = NodeAnswer { certificate, evidence };
        let judged = |presented: &Certificate, nonce: &[u8], measurement| {
            verify_node(&answer, presented, nonce, &rules(measurement), 0)
        };
        assert!(judged(&node, b"nonce", TEE.measurement).unwrap().decision.accepted());
        assert!(!judged(&node, b"nonce", Digest([8; 32])).unwrap().decision.accepted());
        let replayed = judged(&node, b"other", TEE.measurement);
        assert_eq!(replayed, Err(ClientError::NotGenuine(VerifyError::ReportDataMismatch)));
        assert_eq!(judged(&self::node(2, false), b"nonce", TEE.measurement), Err(ClientError::OtherKey));
    }

    #[test]
    fn a_certificate_s_evidence_is_about_its_own_key() {
        let certified = node(1, true);
        assert!(verify_certificate(&certified, &rules(TEE.measurement), 0).unwrap().decision.accepted());
        assert_eq!(verify_certificate(&node(1, false), &rules(TEE.measurement), 0), Err(ClientError::NoEvidence));
        let crypto = SeededCrypto::new(9);
        let stolen = coco_crypto::Extension {
            oid: crate::cmw::EXTENSION_OID.to_vec(),
            content: certified.extension(&crate::cmw::EXTENSION_OID).unwrap(),
        };
        let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
        let other = SigningKey::generate(&crypto, Curve::P256);
        let other = self_signed_certificate(&crypto, &other, "other", &[], validity, &[stolen]).unwrap();
        let refused = verify_certificate(&other, &rules(TEE.measurement), 0);
        assert_eq!(refused, Err(ClientError::NotGenuine(VerifyError::ReportDataMismatch)));
    }
}
