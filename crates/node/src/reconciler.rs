//! Trust and membership: governance says what *should* be, the consensus's configuration what *is*. This compares the two and names
//! one step at a time. Membership entries carry no authority of their own.

use std::collections::BTreeSet;

use coco_consensus::{Consensus, Membership, MembershipChange, PeerProgress};
use coco_governance::NodeRow;
use coco_types::{NodeId, ReplicaId};

/// One step towards what governance wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    Change(MembershipChange),
    LeaveJoint,
    /// This primary is to be removed: it hands over before the change is left.
    HandOver(ReplicaId),
    /// A replaced node has left the consensus.
    Gone(NodeId),
}

/// What the primary should do next; `None` if all is as it should be, or must wait.
pub fn next_step(consensus: &Consensus, own: ReplicaId, trusted: &[NodeRow]) -> Option<Step> {
    let membership = consensus.membership();
    if membership.is_joint() {
        let leaving = !membership.voters.contains(&own);
        return Some(if leaving { Step::HandOver(heir(consensus)?) } else { Step::LeaveJoint });
    }
    plan(membership, &consensus.progress(), trusted)
}

/// The voter that has most of the log and answers: who should lead next.
pub fn heir(consensus: &Consensus) -> Option<ReplicaId> {
    let voters = &consensus.membership().voters;
    let peers = consensus.progress();
    let live = peers.iter().filter(|peer| voters.contains(&peer.id) && peer.recent_active);
    live.max_by_key(|peer| (peer.matched, std::cmp::Reverse(peer.id))).map(|peer| peer.id)
}

fn plan(membership: &Membership, peers: &[PeerProgress], trusted: &[NodeRow]) -> Option<Step> {
    let replaced = replaced_by_voters(membership, trusted);
    if let Some(gone) = replaced.iter().find(|node| !membership.contains(node.info.replica)) {
        return Some(Step::Gone(gone.id));
    }
    let wanted: BTreeSet<ReplicaId> = trusted.iter().map(|node| node.info.replica).collect();
    if let Some(stranger) = membership.learners.iter().find(|id| !wanted.contains(id)) {
        return Some(Step::Change(MembershipChange::RemoveLearner(*stranger)));
    }
    if let Some(newcomer) = wanted.iter().find(|id| !membership.contains(**id) && !is_replaced(**id, &replaced)) {
        return Some(Step::Change(MembershipChange::AddLearner(*newcomer)));
    }
    let promote = caught_up_learner(membership, peers, &wanted);
    let mut remove: BTreeSet<ReplicaId> = membership.voters.difference(&wanted).copied().collect();
    remove.extend(promote.and_then(|id| place_taken(id, trusted)).filter(|id| membership.voters.contains(id)));
    remove.extend(replaced.iter().map(|node| node.info.replica).filter(|id| membership.voters.contains(id)));
    let remaining = membership.voters.difference(&remove).count() + usize::from(promote.is_some());
    if (promote.is_none() && remove.is_empty()) || remaining == 0 {
        return None;
    }
    Some(Step::Change(MembershipChange::Joint { promote: promote.into_iter().collect(), remove }))
}

/// Trusted nodes whose place a voter has taken.
fn replaced_by_voters<'a>(membership: &Membership, trusted: &'a [NodeRow]) -> Vec<&'a NodeRow> {
    let takers = trusted.iter().filter(|node| membership.voters.contains(&node.info.replica));
    let taken: BTreeSet<NodeId> = takers.filter_map(|node| node.info.replaces).collect();
    trusted.iter().filter(|node| taken.contains(&node.id)).collect()
}

fn is_replaced(id: ReplicaId, replaced: &[&NodeRow]) -> bool {
    replaced.iter().any(|node| node.info.replica == id)
}

fn place_taken(taker: ReplicaId, trusted: &[NodeRow]) -> Option<ReplicaId> {
    let replaces = trusted.iter().find(|node| node.info.replica == taker)?.info.replaces?;
    trusted.iter().find(|node| node.id == replaces).map(|node| node.info.replica)
}

/// One at a time: each voter more raises the number that must answer.
fn caught_up_learner(
    membership: &Membership,
    peers: &[PeerProgress],
    wanted: &BTreeSet<ReplicaId>,
) -> Option<ReplicaId> {
    let newest = peers.iter().map(|peer| peer.matched).max()?;
    let ready = |peer: &&PeerProgress| {
        membership.learners.contains(&peer.id)
            && wanted.contains(&peer.id)
            && peer.recent_active
            && peer.matched + LEARNER_LAG_MAX >= newest
    };
    peers.iter().find(ready).map(|peer| peer.id)
}

/// A learner may vote once it lacks no more entries than this.
const LEARNER_LAG_MAX: u64 = 64;
