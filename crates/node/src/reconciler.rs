//! Trust and membership: governance says what *should* be, the consensus's configuration what *is*. This compares the two and names
//! one step at a time. Membership entries carry no authority of their own.

use std::collections::BTreeSet;

use coco_consensus::{Consensus, Membership, MembershipChange, PeerProgress};
use coco_governance::{NodeRole, NodeRow, NodeStatus};
use coco_types::{NodeId, ReplicaId};

/// One step towards what governance wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    Change(MembershipChange),
    LeaveJoint,
    /// This primary is to be removed: it hands over before the change is left.
    HandOver(ReplicaId),
    /// A node that was replaced or retired has left the consensus.
    Gone(NodeId),
}

/// What the primary should do next, given every node that ever was; `None` if all is as it should be, or must wait. A joiner that
/// is silent for `patience_ticks` has failed.
///
/// A primary whose own ledger is not `whole` yet lets nobody go that gives its place to another and still answers: it may be the last that
/// holds the earliest chunks. Who was voted out goes as soon as a majority of those that remain answers: before, nothing could be committed.
pub fn next_step(
    consensus: &Consensus,
    own: ReplicaId,
    nodes: &[NodeRow],
    patience_ticks: u64,
    whole: bool,
) -> Option<Step> {
    let membership = consensus.membership();
    let peers = consensus.progress();
    if membership.is_joint() {
        if !membership.voters.contains(&own) {
            return Some(Step::HandOver(heir(consensus)?));
        }
        let going = membership.voters_outgoing.difference(&membership.voters).copied().collect();
        return (whole || !must_stay(&going, &peers, nodes)).then_some(Step::LeaveJoint);
    }
    let step = failed_joiner(membership, &peers, nodes, patience_ticks).or_else(|| plan(membership, &peers, nodes));
    step.filter(|step| match step {
        Step::Change(MembershipChange::Joint { promote, remove }) => {
            let voters = membership.voters.difference(remove).chain(promote).copied().collect();
            majority_answers(own, &voters, &peers, &swapped(nodes)) && (whole || !must_stay(remove, &peers, nodes))
        }
        _ => true,
    })
}

/// Whoever came back as another replica does not count, however short ago it was heard: nobody casts its votes any more. Those that merely crash resume
/// with the rest; it does not.
fn majority_answers(
    own: ReplicaId,
    voters: &BTreeSet<ReplicaId>,
    peers: &[PeerProgress],
    swapped: &BTreeSet<ReplicaId>,
) -> bool {
    // A new primary counts its silence from its election on.
    let answering = |peer: &PeerProgress| peer.matched > 0 && peer.recent_active && !swapped.contains(&peer.id);
    let answers = |id: ReplicaId| id == own || peers.iter().any(|peer| peer.id == id && answering(peer));
    voters.iter().filter(|id| answers(**id)).count() > voters.len() / 2
}

/// Who has come back as another replica. If that one was never heard of and is given up, the answer to its admission was lost, and whoever asked for it
/// has come back otherwise.
fn swapped(nodes: &[NodeRow]) -> BTreeSet<ReplicaId> {
    let trusted = nodes.iter().filter(|node| node.info.status == NodeStatus::Trusted);
    let before: BTreeSet<NodeId> = trusted.filter_map(|node| node.info.swaps).collect();
    nodes.iter().filter(|node| before.contains(&node.id)).map(|node| node.info.replica).collect()
}

/// Whether one of these gives its place to another and still answers.
fn must_stay(going: &BTreeSet<ReplicaId>, peers: &[PeerProgress], nodes: &[NodeRow]) -> bool {
    let answers = |id: ReplicaId| peers.iter().any(|peer| peer.id == id && peer.recent_active);
    let trusted = |node: &&NodeRow| node.info.status == NodeStatus::Trusted;
    nodes.iter().filter(trusted).any(|node| going.contains(&node.info.replica) && answers(node.info.replica))
}

/// Admitted in the place of a voter that still answers, and never heard of since: whoever asked for it has gone, and its key with it.
fn failed_joiner(membership: &Membership, peers: &[PeerProgress], nodes: &[NodeRow], patience: u64) -> Option<Step> {
    let peer = |replica| peers.iter().find(|peer| peer.id == replica);
    let answers = |replica| peer(replica).is_none_or(|peer| peer.recent_active);
    let place_is_kept = |joiner: &NodeRow| {
        let mut replaced = replaced_by(joiner, nodes);
        replaced.extend(joiner.info.swaps);
        let mut voters = nodes.iter().filter(|node| membership.voters.contains(&node.info.replica));
        voters.any(|node| replaced.contains(&node.id) && answers(node.info.replica))
    };
    let failed = |node: &&NodeRow| {
        let silent = peer(node.info.replica).is_some_and(|peer| peer.silent_ticks >= patience);
        let joins = node.info.status == NodeStatus::Trusted && membership.learners.contains(&node.info.replica);
        joins && silent && place_is_kept(node)
    };
    nodes.iter().find(failed).map(|node| Step::Gone(node.id))
}

/// The voter that has most of the log and answers: who should lead next.
pub fn heir(consensus: &Consensus) -> Option<ReplicaId> {
    let voters = &consensus.membership().voters;
    let peers = consensus.progress();
    let live = peers.iter().filter(|peer| voters.contains(&peer.id) && peer.recent_active);
    live.max_by_key(|peer| (peer.matched, std::cmp::Reverse(peer.id))).map(|peer| peer.id)
}

fn plan(membership: &Membership, peers: &[PeerProgress], nodes: &[NodeRow]) -> Option<Step> {
    let is_voter = |node: &&NodeRow| membership.voters.contains(&node.info.replica);
    // A reader is in its place as soon as it listens.
    let listens =
        |node: &&NodeRow| node.info.role == NodeRole::Reader && membership.learners.contains(&node.info.replica);
    let in_place = |node: &&NodeRow| is_voter(node) || listens(node);
    let replaced: BTreeSet<NodeId> = nodes.iter().filter(in_place).flat_map(|node| replaced_by(node, nodes)).collect();
    let must_leave = |node: &&NodeRow| match node.info.status {
        NodeStatus::Pending => false,
        NodeStatus::Trusted => replaced.contains(&node.id),
        NodeStatus::Retired => !node.info.retired_committed,
    };
    if let Some(gone) = nodes.iter().filter(must_leave).find(|node| !membership.contains(node.info.replica)) {
        return Some(Step::Gone(gone.id));
    }
    let stays = |node: &&NodeRow| node.info.status == NodeStatus::Trusted && !replaced.contains(&node.id);
    let wanted: BTreeSet<ReplicaId> = nodes.iter().filter(stays).map(|node| node.info.replica).collect();
    if let Some(stranger) = membership.learners.iter().find(|id| !wanted.contains(id)) {
        return Some(Step::Change(MembershipChange::RemoveLearner(*stranger)));
    }
    if let Some(newcomer) = wanted.iter().find(|id| !membership.contains(**id)) {
        return Some(Step::Change(MembershipChange::AddLearner(*newcomer)));
    }
    let swapped = swapped(nodes);
    let votes =
        |node: &&NodeRow| stays(node) && node.info.role == NodeRole::Voter && !swapped.contains(&node.info.replica);
    let voting: BTreeSet<ReplicaId> = nodes.iter().filter(votes).map(|node| node.info.replica).collect();
    let promote = caught_up_learner(membership, peers, &voting);
    let mut remove: BTreeSet<ReplicaId> = membership.voters.difference(&wanted).copied().collect();
    if let Some(taker) = nodes.iter().find(|node| Some(node.info.replica) == promote) {
        let taken = replaced_by(taker, nodes);
        remove.extend(nodes.iter().filter(is_voter).filter(|node| taken.contains(&node.id)).map(|n| n.info.replica));
    }
    let remaining = membership.voters.difference(&remove).count() + usize::from(promote.is_some());
    if (promote.is_none() && remove.is_empty()) || remaining == 0 {
        return None;
    }
    Some(Step::Change(MembershipChange::Joint { promote: promote.into_iter().collect(), remove }))
}

/// Whose place a node takes: another's, and through it that of all before. A joiner may have been admitted and never have started;
/// the next one at its place then takes its place, and with it the one it was to take.
fn replaced_by(taker: &NodeRow, nodes: &[NodeRow]) -> BTreeSet<NodeId> {
    let mut replaced = BTreeSet::new();
    let mut next = taker.info.replaces;
    while let Some(id) = next.filter(|id| replaced.insert(*id)) {
        next = nodes.iter().find(|node| node.id == id).and_then(|node| node.info.replaces);
    }
    replaced
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

#[cfg(test)]
mod tests {
    use coco_attestation::platforms::virtual_tee::VirtualTee;
    use coco_attestation::{EvidenceSource, ReportData};
    use coco_governance::{Addresses, NodeInfo};
    use coco_types::Digest;

    use super::*;

    #[test]
    fn a_joiner_is_first_a_learner_and_then_takes_the_place_of_the_node_it_replaces_in_one_change() {
        let nodes = [node(1, None), node(2, None), node(3, None), node(4, Some(1))];
        assert_eq!(step(&[1, 2, 3], &[], &nodes), Some(Step::Change(MembershipChange::AddLearner(ReplicaId(4)))));
        assert_eq!(step(&[1, 2, 3], &[4], &nodes), Some(joint(&[4], &[1])));
        assert_eq!(step(&[2, 3, 4], &[], &nodes), Some(Step::Gone(nodes[0].id)));
    }

    #[test]
    fn a_node_takes_the_places_of_joiners_that_never_started_too() {
        let nodes = [node(1, None), node(2, None), node(3, None), node(4, Some(1)), node(5, Some(4))];
        assert_eq!(
            plan(&membership(&[1, 2, 3], &[4, 5]), &[peer(4, false), peer(5, true)], &nodes),
            Some(joint(&[5], &[1]))
        );
        assert_eq!(step(&[2, 3, 5], &[4], &nodes), Some(Step::Gone(nodes[0].id)));
        let nodes = [retired(1, true), node(2, None), node(3, None), node(4, Some(1)), node(5, Some(4))];
        assert_eq!(step(&[2, 3, 5], &[4], &nodes), Some(Step::Change(MembershipChange::RemoveLearner(ReplicaId(4)))));
        assert_eq!(step(&[2, 3, 5], &[], &nodes), Some(Step::Gone(nodes[3].id)));
    }

    #[test]
    fn a_reader_stays_a_learner_and_takes_the_place_of_the_one_before_it() {
        let reader = |replica, replaces| {
            let node = node(replica, replaces);
            NodeRow { info: NodeInfo { role: NodeRole::Reader, ..node.info }, ..node }
        };
        let nodes = [node(1, None), node(2, None), node(3, None), reader(4, None)];
        assert_eq!(step(&[1, 2, 3], &[], &nodes), Some(Step::Change(MembershipChange::AddLearner(ReplicaId(4)))));
        assert_eq!(step(&[1, 2, 3], &[4], &nodes), None);
        let nodes = [node(1, None), node(2, None), node(3, None), reader(4, None), reader(5, Some(4))];
        assert_eq!(step(&[1, 2, 3], &[4], &nodes), Some(Step::Change(MembershipChange::AddLearner(ReplicaId(5)))));
        assert_eq!(
            step(&[1, 2, 3], &[4, 5], &nodes),
            Some(Step::Change(MembershipChange::RemoveLearner(ReplicaId(4))))
        );
        assert_eq!(step(&[1, 2, 3], &[5], &nodes), Some(Step::Gone(nodes[3].id)));
    }

    #[test]
    fn a_joiner_that_never_comes_gives_the_place_back_to_a_voter_that_answers() {
        let nodes = [node(1, None), node(2, None), node(3, None), node(4, Some(1))];
        let silent = PeerProgress { silent_ticks: 100, ..peer(4, false) };
        let members = membership(&[1, 2, 3], &[4]);
        let failed = |peers: &[PeerProgress], patience| failed_joiner(&members, peers, &nodes, patience);
        assert_eq!(failed(&[silent, peer(1, true)], 100), Some(Step::Gone(nodes[3].id)));
        assert_eq!(failed(&[silent, peer(1, true)], 101), None);
        assert_eq!(failed(&[silent, peer(1, false)], 100), None, "whoever held the place is silent too");
    }

    #[test]
    fn a_retired_node_leaves_and_is_then_marked_as_gone_once() {
        let nodes = [retired(1, false), node(2, None), node(3, None)];
        assert_eq!(step(&[1, 2, 3], &[], &nodes), Some(joint(&[], &[1])));
        assert_eq!(step(&[2, 3], &[], &nodes), Some(Step::Gone(nodes[0].id)));
        assert_eq!(step(&[2, 3], &[], &[retired(1, true), node(2, None), node(3, None)]), None);
    }

    #[test]
    fn who_gives_its_place_away_stays_while_it_answers_and_who_was_voted_out_does_not() {
        let nodes = [node(1, None), retired(2, false), node(3, None), node(4, Some(1))];
        let stays = |going: &[u64], peers: &[PeerProgress]| must_stay(&set(going), peers, &nodes);
        assert!(stays(&[1], &[peer(1, true), peer(3, true)]));
        assert!(!stays(&[1], &[peer(1, false), peer(3, true)]), "it is silent: nothing can be had from it");
        assert!(!stays(&[2], &[peer(2, true)]), "it was voted out");
        assert!(!stays(&[], &[peer(1, true)]));
    }

    #[test]
    fn nobody_goes_while_too_few_of_those_that_remain_answer() {
        let remaining =
            |voters: &[u64], peers: &[PeerProgress]| majority_answers(ReplicaId(3), &set(voters), peers, &set(&[]));
        assert!(!remaining(&[1, 3], &[peer(1, false), peer(2, true)]), "of two voters one is silent");
        assert!(remaining(&[1, 3], &[peer(1, true)]));
        assert!(!remaining(&[1, 3], &[PeerProgress { matched: 0, ..peer(1, true) }]), "nothing was heard of it yet");
        assert!(remaining(&[3], &[peer(1, false)]) && remaining(&[1, 2, 3], &[peer(1, false), peer(2, true)]));
    }

    #[test]
    fn who_came_back_as_another_replica_counts_no_more_and_gets_no_vote() {
        let peers = [peer(1, true), peer(2, true)];
        assert!(!majority_answers(ReplicaId(3), &set(&[1, 3]), &peers, &set(&[1])), "heard of a moment ago");
        assert!(majority_answers(ReplicaId(3), &set(&[1, 2, 3]), &peers, &set(&[1])));

        let mut nodes = [node(1, None), node(2, None), node(3, None), node(4, Some(1)), node(5, Some(4))];
        assert_eq!(plan(&membership(&[1, 2, 3], &[4, 5]), &[peer(4, true)], &nodes), Some(joint(&[4], &[1])));
        nodes[4].info.swaps = Some(nodes[3].id);
        assert_eq!(swapped(&nodes), set(&[4]));
        assert_eq!(plan(&membership(&[1, 2, 3], &[4, 5]), &[peer(4, true)], &nodes), None);
        nodes[4].info.status = NodeStatus::Retired;
        assert_eq!(swapped(&nodes), set(&[]), "it came back otherwise");
    }

    #[test]
    fn the_last_voter_stays_whatever_governance_says() {
        assert_eq!(step(&[1], &[], &[retired(1, false)]), None);
    }

    fn step(voters: &[u64], learners: &[u64], nodes: &[NodeRow]) -> Option<Step> {
        let peers: Vec<_> = learners.iter().map(|id| peer(*id, true)).collect();
        plan(&membership(voters, learners), &peers, nodes)
    }

    fn joint(promote: &[u64], remove: &[u64]) -> Step {
        Step::Change(MembershipChange::Joint { promote: set(promote), remove: set(remove) })
    }

    fn membership(voters: &[u64], learners: &[u64]) -> Membership {
        Membership { voters: set(voters), learners: set(learners), ..Membership::default() }
    }

    fn set(ids: &[u64]) -> BTreeSet<ReplicaId> {
        ids.iter().copied().map(ReplicaId).collect()
    }

    fn peer(id: u64, recent_active: bool) -> PeerProgress {
        PeerProgress { id: ReplicaId(id), matched: 100, committed: 100, silent_ticks: 0, recent_active }
    }

    fn node(replica: u64, replaces: Option<u64>) -> NodeRow {
        let address = ([127, 0, 0, 1], 8000).into();
        let evidence = VirtualTee::running(Digest::ZERO).evidence(&ReportData([0; 64]));
        let info = NodeInfo {
            status: NodeStatus::Trusted,
            public_key: String::new(),
            replica: ReplicaId(replica),
            index: 0,
            addresses: Addresses { api: address, peers: address },
            encryption_pub_key: String::new(),
            certificate_signing_request: None,
            quote_info: evidence.expect("virtual evidence is always to be had"),
            replaces: replaces.map(node_id),
            swaps: None,
            retired_committed: false,
            role: Default::default(),
            admitted_ms: 0,
            owner: None,
            node_data: Default::default(),
        };
        NodeRow { id: node_id(replica), info }
    }

    fn retired(replica: u64, retired_committed: bool) -> NodeRow {
        let node = node(replica, None);
        NodeRow { info: NodeInfo { status: NodeStatus::Retired, retired_committed, ..node.info }, ..node }
    }

    fn node_id(replica: u64) -> NodeId {
        NodeId(Digest([u8::try_from(replica).expect("small"); 32]))
    }
}
