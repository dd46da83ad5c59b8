//! The judgement of one node, at admission and kept for ever after.

use coco_attestation::{BoundFacts, Decision, Evidence, Peer, TeeKind, VerifiedEvidence, appraise, verify};
use coco_crypto::{PublicKey, sha256};
use coco_kv::Tx;
use coco_types::{Digest, NodeId};
use serde::{Deserialize, Serialize};

use super::policy::{APPRAISALS, basis, policy, trust};
use crate::Error;
use crate::admission::{Applicant, current_nodes};
use crate::tables::{self, Read};

/// A row: what a node was judged from, and how. With the node's row and the ledger before it, all that the judgement needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appraisal {
    /// Ledger time of the verification, Unix seconds.
    pub at: u64,
    pub kind: TeeKind,
    pub bound: BoundFacts,
    pub hardware_id: Option<String>,
    pub measurement: String,
    /// SHA-256 over policy, anchors and collateral as they stood.
    pub basis: Digest,
    pub state: AppraisalState,
    /// Each check in words.
    pub explanation: Vec<String>,
}

/// How a node stands with the policy in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum AppraisalState {
    Trusted,
    /// Fails now; retired unless fresh evidence passes before the deadline (ledger time, Unix seconds).
    AtRisk {
        since: u64,
        deadline: u64,
        reasons: Vec<String>,
    },
    /// Past its deadline, and kept because the network would not survive its retirement: needs a vote.
    Overdue {
        since: u64,
        reasons: Vec<String>,
    },
    Retired {
        at: u64,
        reasons: Vec<String>,
    },
}

/// An applicant whose evidence is genuine and is about it. What it was verified with is remembered: admission refuses if that changed.
#[derive(Clone, Debug)]
pub struct VerifiedApplicant {
    pub(super) evidence: VerifiedEvidence,
    pub(super) at: u64,
    pub(super) basis: Digest,
    pub(super) service: Digest,
}

impl VerifiedApplicant {
    pub fn evidence(&self) -> &VerifiedEvidence {
        &self.evidence
    }
}

impl Appraisal {
    pub fn read(state: &mut dyn Read, node: NodeId) -> Result<Option<Self>, Error> {
        tables::read(state, &APPRAISALS, node.to_string().as_bytes())
    }

    pub(crate) fn write(&self, tx: &mut Tx, node: NodeId) {
        tables::write(tx, &APPRAISALS, node.to_string().as_bytes(), self);
    }

    /// A node's first judgement, or its next after fresh evidence.
    pub(crate) fn of(
        verified: &VerifiedEvidence,
        decision: &Decision,
        bound: BoundFacts,
        basis: Digest,
        at: u64,
    ) -> Self {
        let claims = verified.claims();
        Self {
            at,
            kind: claims.kind,
            bound,
            hardware_id: claims.hardware_id.clone(),
            measurement: claims.measurement(),
            basis,
            state: AppraisalState::Trusted,
            explanation: decision.explain(),
        }
    }
}

/// Verifies the applicant's evidence for this service and challenge, with what the ledger knows, at `at` (Unix seconds). Pure, and too
/// slow for the executor: run it before.
pub fn verify_applicant(
    state: &mut dyn Read,
    applicant: &Applicant,
    service: &PublicKey,
    at: u64,
) -> Result<VerifiedApplicant, Error> {
    let (policy, trust) = (policy(state)?, trust(state)?);
    let service = sha256(&service.spki_der());
    let bound = bound_facts(applicant, service);
    let expected = bound.binding(&applicant.public_key, applicant.evidence.kind).report_data();
    let evidence =
        verify(&applicant.evidence, &expected, &trust, at).map_err(|error| Error::NotAdmitted(error.to_string()))?;
    Ok(VerifiedApplicant { evidence, at, basis: basis(&policy, &trust), service })
}

/// Appraises a verified applicant by the policy in force and keeps the judgement. `replaced` does not count as a peer.
pub(crate) fn admit_appraised(
    tx: &mut Tx,
    applicant: &Applicant,
    verified: &VerifiedApplicant,
    replaced: Option<NodeId>,
) -> Result<(), Error> {
    let (policy, trust) = (policy(tx)?, trust(tx)?);
    if basis(&policy, &trust) != verified.basis {
        return Err(Error::NotAdmitted("the policy changed meanwhile: try again".to_owned()));
    }
    let peers = peers(tx, &[replaced])?;
    let decision = appraise(&verified.evidence, &policy, &peers, verified.at);
    if !decision.accepted() {
        return Err(Error::NotAdmitted(decision.to_string()));
    }
    let bound = bound_facts(applicant, verified.service);
    let appraisal = Appraisal::of(&verified.evidence, &decision, bound, verified.basis, verified.at);
    appraisal.write(tx, applicant.public_key.node_id());
    Ok(())
}

/// The trusted nodes but `without`, as diversity rules see them.
pub(crate) fn peers(state: &mut dyn Read, without: &[Option<NodeId>]) -> Result<Vec<Peer>, Error> {
    let nodes = current_nodes(state)?;
    let mut peers = Vec::with_capacity(nodes.len());
    for node in nodes.into_iter().filter(|node| !without.contains(&Some(node.id))) {
        let hardware_id = Appraisal::read(state, node.id)?.and_then(|appraisal| appraisal.hardware_id);
        peers.push(Peer { node: node.id, kind: node.info.quote_info.kind, hardware_id });
    }
    Ok(peers)
}

/// What the applicant says its evidence covers besides its key.
pub fn bound_facts(applicant: &Applicant, service: Digest) -> BoundFacts {
    BoundFacts {
        exchange_key: applicant.exchange_key.clone(),
        service: Some(service),
        config: applicant.config,
        nonce: Some(Digest(applicant.nonce)),
    }
}

/// What a founder writes about itself: nobody judges it but those who read the ledger.
pub(crate) fn founder(
    state: &mut dyn Read,
    evidence: &Evidence,
    node_key: &PublicKey,
    bound: BoundFacts,
    at: u64,
) -> Result<Appraisal, Error> {
    let (policy, trust) = (policy(state)?, trust(state)?);
    let expected = bound.binding(node_key, evidence.kind).report_data();
    let refused = |error: String| Error::Founding(format!("the first node's own evidence: {error}"));
    let verified = verify(evidence, &expected, &trust, at).map_err(|error| refused(error.to_string()))?;
    let decision = appraise(&verified, &policy, &[], at);
    if !decision.accepted() {
        return Err(refused(decision.to_string()));
    }
    Ok(Appraisal::of(&verified, &decision, bound, basis(&policy, &trust), at))
}
