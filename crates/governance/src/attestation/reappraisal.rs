//! Judging nodes again: when policy, anchors or collateral change, when a deadline passes, and when a node brings fresh evidence.
//!
//! ```text
//!   trusted ──fails──▶ at risk (deadline = now + voted grace) ──fresh evidence, or policy changed back──▶ trusted
//!                         └──deadline──▶ retired; or overdue, if too few nodes would be left: that needs a vote
//! ```
//!
//! Verification is slow and happens before ([`verify_all`]); one transaction then applies it ([`apply`]), and refuses if what it leaned on
//! has changed. Certificates that came with evidence are judged at the time of admission, revocation and TCB now.

use std::collections::BTreeSet;

use coco_attestation::{Moment, Peer, Reason, VerifiedEvidence, appraise, verify};
use coco_crypto::PublicKey;
use coco_kv::Tx;
use coco_types::{Digest, NodeId, ReplicaId, WriteSet};

use super::appraisal::{Appraisal, AppraisalState, VerifiedApplicant, bound_facts, peers};
use super::policy::{APPRAISALS, basis, policy, trust};
use crate::Error;
use crate::admission::{Applicant, current_nodes, retire};
use crate::rows::{NodeRole, NodeRow, NodeStatus};
use crate::tables::Read;

/// Every trusted node's stored evidence, verified anew.
pub struct Verified {
    at: u64,
    basis: Digest,
    answering: BTreeSet<ReplicaId>,
    nodes: Vec<(NodeId, Result<VerifiedEvidence, String>)>,
}

/// What changed, for logs and metrics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reappraised {
    pub restored: Vec<NodeId>,
    pub at_risk: Vec<NodeId>,
    pub retired: Vec<NodeId>,
    /// Past their deadline, and kept because too few would be left.
    pub overdue: Vec<NodeId>,
}

impl Reappraised {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the ledger's policy, anchors and collateral are, in one value: when it changes, nodes are judged again.
pub fn current_basis(state: &mut dyn Read) -> Result<Digest, Error> {
    Ok(basis(&policy(state)?, &trust(state)?))
}

/// The earliest time at which a node's standing may change by itself, Unix seconds.
pub fn next_deadline(state: &mut dyn Read) -> Result<Option<u64>, Error> {
    let age_max = policy(state)?.network.evidence_age_max_s;
    let mut next: Option<u64> = None;
    for node in current_nodes(state)? {
        let Some(appraisal) = Appraisal::read(state, node.id)? else { continue };
        let due = match appraisal.state {
            AppraisalState::AtRisk { deadline, .. } => Some(deadline),
            AppraisalState::Trusted => age_max.map(|age| appraisal.at.saturating_add(age).saturating_add(1)),
            _ => None,
        };
        next = next.into_iter().chain(due).min();
    }
    Ok(next)
}

/// Whether a node should bring fresh evidence by itself: because it fails, or because its evidence is past two thirds of its life.
pub fn renewal_due(state: &mut dyn Read, node: NodeId, at: u64) -> Result<bool, Error> {
    let Some(appraisal) = Appraisal::read(state, node)? else { return Ok(false) };
    Ok(match appraisal.state {
        AppraisalState::Trusted => {
            let life_s = policy(state)?.network.evidence_age_max_s;
            life_s.is_some_and(|life| at.saturating_sub(appraisal.at) > life / 3 * 2)
        }
        AppraisalState::AtRisk { .. } | AppraisalState::Overdue { .. } => true,
        AppraisalState::Retired { .. } => false,
    })
}

/// Verifies every trusted node's stored evidence at `at`, ledger time in Unix seconds. `answering`: the replicas that the primary hears of,
/// itself among them; a majority of them must stay whoever is retired.
pub fn verify_all(state: &mut dyn Read, at: u64, answering: BTreeSet<ReplicaId>) -> Result<Verified, Error> {
    let (policy, trust) = (policy(state)?, trust(state)?);
    let mut nodes = Vec::new();
    for node in current_nodes(state)? {
        let Some(appraisal) = Appraisal::read(state, node.id)? else { continue };
        let moment = Moment { evidence: appraisal.at, collateral: at };
        let verified = match PublicKey::from_pem(&node.info.public_key) {
            Ok(key) => {
                let expected = appraisal.bound.binding(&key, node.info.quote_info.kind).report_data();
                verify(&node.info.quote_info, &expected, &trust, moment).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        nodes.push((node.id, verified));
    }
    Ok(Verified { at, basis: basis(&policy, &trust), answering, nodes })
}

/// Whether anything would follow from the verification: a transaction that writes nothing is not worth its place in the ledger.
pub fn would_change(state: &mut dyn Read, verified: &Verified) -> Result<bool, Error> {
    Ok(!judge(state, verified)?.is_empty())
}

/// Writes what follows from the verification.
pub fn apply(tx: &mut Tx, verified: &Verified) -> Result<Reappraised, Error> {
    let mut changes = Reappraised::default();
    for (id, appraisal) in judge(tx, verified)? {
        match &appraisal.state {
            AppraisalState::Trusted => changes.restored.push(id),
            AppraisalState::AtRisk { .. } => changes.at_risk.push(id),
            AppraisalState::Overdue { .. } => changes.overdue.push(id),
            AppraisalState::Retired { .. } => {
                retire(tx, id)?;
                changes.retired.push(id);
            }
        }
        appraisal.write(tx, id);
    }
    Ok(changes)
}

/// When a transaction says that it found nodes at risk, or retired them: by its primary's clock, Unix seconds.
pub fn judged_at(writes: &WriteSet) -> impl Iterator<Item = u64> {
    let rows = writes.map(&APPRAISALS).into_iter().flatten();
    let judgements = rows.filter_map(|(_, row)| serde_json::from_slice::<Appraisal>(row.as_ref()?).ok());
    judgements.filter_map(|appraisal| match appraisal.state {
        AppraisalState::AtRisk { since, .. } => Some(since),
        AppraisalState::Retired { at, .. } => Some(at),
        // That one needs a vote; this one takes nothing from anybody.
        AppraisalState::Overdue { .. } | AppraisalState::Trusted => None,
    })
}

/// The nodes whose standing changes. They are judged in the order in which they joined, each beside those that passed before it, so
/// that a diversity rule that became stricter meets the newest.
fn judge(state: &mut dyn Read, verified: &Verified) -> Result<Vec<(NodeId, Appraisal)>, Error> {
    let (policy, trust) = (policy(state)?, trust(state)?);
    if basis(&policy, &trust) != verified.basis {
        return Err(Error::NotAdmitted("the policy changed meanwhile: judge again".to_owned()));
    }
    let at = verified.at;
    let mut quorum = Quorum::of(&current_nodes(state)?, policy.network.minimum_nodes, &verified.answering);
    let mut passed: Vec<Peer> = Vec::new();
    let mut changed = Vec::new();
    for (id, evidence) in &verified.nodes {
        let node = NodeRow::read(state, *id)?.filter(|node| node.info.status == NodeStatus::Trusted);
        let (Some(node), Some(mut appraisal)) = (node, Appraisal::read(state, *id)?) else { continue };
        let mut reasons = match evidence {
            Ok(evidence) => appraise(evidence, &policy, &passed, at).reasons,
            Err(error) => vec![Reason::NoLongerGenuine(error.clone())],
        };
        let age_s = at.saturating_sub(appraisal.at);
        if let Some(limit_s) = policy.network.evidence_age_max_s.filter(|limit| age_s > *limit) {
            reasons.push(Reason::EvidenceTooOld { age_s, limit_s });
        }
        let reasons: Vec<String> = reasons.iter().map(Reason::to_string).collect();
        if reasons.is_empty() {
            let hardware_id = appraisal.hardware_id.clone();
            passed.push(Peer { node: *id, kind: appraisal.kind, hardware_id });
        }
        let next = appraisal.state.next(reasons, at, policy.network.grace_s, quorum.without(&node));
        if next == appraisal.state {
            continue;
        }
        if matches!(next, AppraisalState::Retired { .. }) {
            quorum.lose(&node);
        }
        appraisal.state = next;
        changed.push((*id, appraisal));
    }
    Ok(changed)
}

/// What re-appraisal must leave: the voted number of nodes, a majority of those that voted before, and more than half of the voters left
/// that answer. The last is what keeps a network alive that has lost a node already: without it, retiring one that answers could leave
/// too few that do.
struct Quorum {
    nodes: usize,
    nodes_min: usize,
    voters: BTreeSet<ReplicaId>,
    voters_min: usize,
    answering: BTreeSet<ReplicaId>,
}

/// Whether a node that must go may go by itself.
enum Leave {
    Now,
    /// Once more of the others answer: they may just be restarting.
    Later,
    /// Too few would be left whoever answers.
    ByVote,
}

impl Quorum {
    fn of(nodes: &[NodeRow], nodes_min: u32, answering: &BTreeSet<ReplicaId>) -> Self {
        let votes = |node: &&NodeRow| node.info.role == NodeRole::Voter;
        let voters: BTreeSet<ReplicaId> = nodes.iter().filter(votes).map(|node| node.info.replica).collect();
        Self {
            nodes: nodes.len(),
            nodes_min: usize::try_from(nodes_min).unwrap_or(usize::MAX),
            voters_min: voters.len() / 2 + 1,
            voters,
            answering: answering.clone(),
        }
    }

    fn without(&self, node: &NodeRow) -> Leave {
        let reads = node.info.role == NodeRole::Reader;
        let left: Vec<&ReplicaId> = self.voters.iter().filter(|id| **id != node.info.replica).collect();
        let answering = left.iter().filter(|id| self.answering.contains(**id)).count();
        if self.nodes <= self.nodes_min || left.len() < self.voters_min && !reads {
            Leave::ByVote
        } else if reads || answering > left.len() / 2 {
            Leave::Now
        } else {
            Leave::Later
        }
    }

    fn lose(&mut self, node: &NodeRow) {
        self.nodes -= 1;
        self.voters.remove(&node.info.replica);
    }
}

/// Takes fresh evidence of a node that is in the network: it must be genuine, the node's own, and acceptable now.
pub fn renew(tx: &mut Tx, applicant: &Applicant, verified: &VerifiedApplicant) -> Result<(), Error> {
    let id = applicant.public_key.node_id();
    let mut node = NodeRow::read(tx, id)?.ok_or(Error::UnknownNode(id))?;
    if node.info.status != NodeStatus::Trusted {
        return Err(Error::NotAdmitted(format!("node {id} is not in the network any more")));
    }
    // Secrets are wrapped for the key in its row: that one must be in the hands of what the evidence describes.
    if hex::encode(&applicant.exchange_key) != node.info.encryption_pub_key {
        return Err(Error::NotAdmitted(format!("the evidence of node {id} covers another exchange key than its own")));
    }
    let (policy, trust) = (policy(tx)?, trust(tx)?);
    if basis(&policy, &trust) != verified.basis {
        return Err(Error::NotAdmitted("the policy changed meanwhile: try again".to_owned()));
    }
    let peers = peers(tx, &[Some(id)])?;
    let decision = appraise(&verified.evidence, &policy, &peers, verified.at);
    if !decision.accepted() {
        return Err(Error::NotAdmitted(decision.to_string()));
    }
    node.info.quote_info = applicant.evidence.clone();
    node.write(tx);
    let bound = bound_facts(applicant, verified.service);
    Appraisal::of(&verified.evidence, &decision, bound, verified.basis, verified.at).write(tx, id);
    Ok(())
}

impl AppraisalState {
    /// Where a node stands after a judgement. Whoever is retired or waits for a vote stays so until fresh evidence passes.
    fn next(&self, reasons: Vec<String>, at: u64, grace_s: u64, leave: Leave) -> Self {
        if reasons.is_empty() {
            return Self::Trusted;
        }
        let (since, deadline) = match self {
            Self::Trusted => (at, at.saturating_add(grace_s)),
            Self::AtRisk { since, deadline, .. } => (*since, *deadline),
            Self::Overdue { .. } | Self::Retired { .. } => return self.clone(),
        };
        match (at >= deadline, leave) {
            (true, Leave::Now) => Self::Retired { at, reasons },
            (true, Leave::ByVote) => Self::Overdue { since, reasons },
            // The reasons that it first failed for stay: they may name a time, which would make a new row at every look.
            _ if matches!(self, Self::AtRisk { .. }) => self.clone(),
            _ => Self::AtRisk { since, deadline, reasons },
        }
    }
}
