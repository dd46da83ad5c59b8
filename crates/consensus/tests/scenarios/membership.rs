//! Changing who votes: t6, t9, t10, swaps, and the guards before a change.

use coco_consensus::{Consensus, Guards, MembershipChange, MembershipRefused, NotPrimary, Role, TransferRefused};
use coco_types::ReplicaId;

use coco_replicas::network::{Faults, Network, id, ids};

const SEEDS: u64 = 8;

fn swap(promote: &[u64], remove: &[u64]) -> MembershipChange {
    MembershipChange::Joint { promote: ids(promote), remove: ids(remove) }
}

/// What a reconciler does: leaves a joint configuration that it finds, handing over first if it must.
fn drive(network: &mut Network) {
    let Some(primary) = network.primary() else { return };
    let core = network.core(primary);
    if !core.ready_to_lead() || !core.membership().is_joint() {
        return;
    }
    if core.leave_joint() == Err(MembershipRefused::HandOverFirst) {
        let stay: Vec<ReplicaId> = core.membership().voters.iter().copied().collect();
        let reachable =
            core.progress().into_iter().filter(|peer| stay.contains(&peer.id)).max_by_key(|peer| peer.matched);
        let _ = core.transfer(reachable.unwrap().id);
    }
    network.collect(primary);
}

#[track_caller]
fn leave(network: &mut Network) {
    let left = network.run_until(400, |network| {
        drive(network);
        network.primary().is_some_and(|primary| {
            let core = network.core(primary);
            core.ready_to_lead() && !core.membership().is_joint()
        })
    });
    assert!(left, "the joint configuration is not left");
}

fn with_learner(seed: u64, learner: u64) -> Network {
    let mut network = Network::new(3, seed);
    network.commit(b"before");
    network.join_learner(learner, 3);
    network.change(&MembershipChange::AddLearner(id(learner)));
    network.settle();
    network
}

#[test]
fn a_swap_replaces_a_dead_voter_and_the_log_goes_on() {
    for seed in 0..SEEDS {
        let mut network = with_learner(seed, 4);
        let dead = network.primary().unwrap() % 3 + 1;
        network.stop(dead);
        network.change(&swap(&[4], &[dead]));
        leave(&mut network);
        network.commit(b"after");
        let primary = network.primary().unwrap();
        let expected: Vec<u64> = (1..=4).filter(|id| *id != dead).collect();
        assert_eq!(network.core(primary).membership().voters, ids(&expected));
        assert!(network.core(primary).membership().voters_outgoing.is_empty());
    }
}

#[test]
fn a_new_primary_leaves_the_joint_configuration_that_it_finds() {
    for seed in 0..SEEDS {
        let mut network = with_learner(seed, 4);
        network.elect_this(1);
        network.change(&swap(&[4], &[3]));
        network.settle();
        network.isolate(1);
        let elected = network.run_until(200, |network| network.primary().is_some_and(|primary| primary != 1));
        assert!(elected);
        leave(&mut network);
        network.heal();
        network.commit(b"after");
        network.settle();
        assert_eq!(network.core(1).membership().voters, ids(&[1, 2, 4]));
    }
}

#[test]
fn t6_no_premature_retirement() {
    for seed in 0..SEEDS {
        let mut network = Network::new(3, seed);
        network.commit(b"before");
        network.faults = Faults { loss: 3, duplication: 5, delay_max: 2 };
        for (joiner, leaver) in [(4, 1), (5, 2)] {
            network.join_learner(joiner, 3);
            network.change(&MembershipChange::AddLearner(id(joiner)));
            network.settle();
            network.propose_change(&swap(&[joiner], &[leaver]));
            // The primary dies in the middle.
            let at = network.random.below(6);
            network.run(at);
            if let Some(primary) = network.primary() {
                network.crash(primary);
                let recovered = network.run_until(300, |network| network.primary().is_some());
                network.restart(primary);
                assert!(recovered || network.run_until(300, |network| network.primary().is_some()));
            }
            network.elect();
            if !network.core(joiner).membership().voters.contains(&id(joiner)) {
                // The change was lost with its primary, or is still on its way.
                network.run(40);
            }
            leave(&mut network);
            network.settle();
        }
        network.faults = Faults::default();
        network.commit(b"after");
    }
}

#[test]
fn a_removed_replica_still_votes_so_that_the_others_can_finish() {
    for seed in 0..SEEDS {
        let mut network = Network::new(3, seed);
        network.commit(b"before");
        for learner in [4, 5] {
            network.join_learner(learner, 3);
            network.change(&MembershipChange::AddLearner(id(learner)));
            network.settle();
        }
        network.elect_this(3);
        network.change(&swap(&[4, 5], &[1, 2]));
        network.settle();
        // 4 and 5 store the leave but do not hear that it is committed; then the primary dies.
        let slot = network.core(3).leave_joint().unwrap();
        network.collect(3);
        let stored =
            network.run_until(20, |network| [4, 5].into_iter().all(|id| network.core(id).last_index() >= slot.index));
        assert!(stored);
        network.cut.extend([(3, 4), (3, 5)]);
        let removed = network.run_until(40, |network| network.core(1).role() == Role::Removed);
        network.stop(3);
        network.heal();
        let elected = network.run_until(300, |network| network.primary().is_some());
        assert!(elected, "removed (applied there: {removed}) replicas must help the others to elect");
        leave(&mut network);
        network.commit(b"after");
    }
}

/// 3 leads and is voted out. Returns whether the others go on.
fn remove_the_primary(seed: u64, guards: &Guards) -> bool {
    let mut network = Network::with_guards(3, seed, guards);
    network.commit(b"before");
    network.join_learner(4, 3);
    network.change(&MembershipChange::AddLearner(id(4)));
    network.settle();
    network.elect_this(3);
    network.change(&swap(&[4], &[3]));
    network.settle();
    let left = network.run_until(300, |network| {
        drive(network);
        network.running().into_iter().any(|id| !network.core(id).membership().is_joint())
    });
    assert!(left);
    // Progress within a bounded time, by somebody who is a member.
    network.run_until(60, |network| {
        let Some(primary) = network.primary() else { return false };
        let member = network.core(primary).membership().voters.contains(&id(primary));
        member && network.core(primary).ready_to_lead() && network.propose(primary, b"after").is_some()
    })
}

#[test]
fn t9_leader_removes_itself() {
    for seed in 0..SEEDS {
        assert!(remove_the_primary(seed, &Guards::default()), "seed {seed}: nobody leads");
        // Without handing over: it still steps down once it applies its removal.
        let no_hand_over = Guards { hand_over_before_leaving: false, ..Guards::default() };
        assert!(remove_the_primary(seed, &no_hand_over), "seed {seed}: the removed primary stays");
    }
    let off = Guards {
        hand_over_before_leaving: false,
        step_down_when_removed: false,
        refuse_removed: false,
        ..Guards::default()
    };
    assert!(!remove_the_primary(0, &off), "the test would not notice that the guards are missing");
}

#[test]
fn a_primary_that_is_voted_out_hands_over_first() {
    let mut network = with_learner(1, 4);
    network.elect_this(3);
    network.change(&swap(&[4], &[3]));
    network.settle();
    assert_eq!(network.core(3).leave_joint(), Err(MembershipRefused::HandOverFirst));
    assert_eq!(network.core(3).transfer(id(3)), Err(TransferRefused::Own));
    network.core(3).transfer(id(4)).unwrap();
    network.collect(3);
    assert!(network.core(3).slot().is_err());
    assert!(network.run_until(40, |network| network.primary() == Some(4)));
    leave(&mut network);
    network.commit(b"after");
    network.run(20);
    assert_eq!(network.core(3).role(), Role::Removed);
}

/// {1,2,3} becomes {1,2,4} while 2 is cut off; then 1 dies and 2 heals. Whether 2 and 4 elect a primary.
fn stale_replica_meets_a_new_one(seed: u64, guards: &Guards) -> bool {
    let mut network = Network::with_guards(3, seed, guards);
    network.commit(b"before");
    network.join_learner(4, 3);
    network.change(&MembershipChange::AddLearner(id(4)));
    network.settle();
    network.elect_this(1);
    network.isolate(2);
    // What 2 knows must be older than 4's existence.
    network.commit(b"meanwhile");
    network.change(&swap(&[4], &[3]));
    leave(&mut network);
    network.run(20);
    network.stop(1);
    network.stop(3);
    network.heal();
    network.run_until(600, |network| network.primary().is_some())
}

#[test]
fn t10_stale_config_accepts_new_peer() {
    for seed in 0..SEEDS {
        assert!(stale_replica_meets_a_new_one(seed, &Guards::default()), "seed {seed}");
    }
}

#[test]
fn t10_notices_a_replica_that_drops_strangers() {
    // 2 must not even know 4 as a learner.
    let mut network = Network::with_guards(3, 5, &Guards { accept_strangers: false, ..Guards::default() });
    network.elect_this(1);
    network.settle();
    network.isolate(2);
    network.join(4, coco_consensus::StartPoint::genesis([1, 2, 3].map(ReplicaId)), &Guards::default());
    network.isolate(2);
    network.change(&MembershipChange::AddLearner(id(4)));
    assert!(network.run_until(100, |network| {
        network.core(1).progress().iter().any(|peer| peer.id == id(4) && peer.matched >= 2)
    }));
    network.change(&swap(&[4], &[3]));
    leave(&mut network);
    network.stop(1);
    network.stop(3);
    network.heal();
    assert!(!network.run_until(600, |network| network.primary().is_some()));
    // With the guard, the same network goes on.
    network.stop(2);
    network.replicas.get_mut(&2).unwrap().guards = Guards::default();
    network.restart(2);
    assert!(network.run_until(600, |network| network.primary().is_some()));
}

#[test]
fn only_sound_changes_are_proposed() {
    let mut network = with_learner(2, 4);
    network.elect_this(1);
    let core = network.core(1);
    let refusals = [
        (MembershipChange::AddLearner(id(2)), MembershipRefused::Known(id(2))),
        (MembershipChange::AddLearner(id(0)), MembershipRefused::Known(id(0))),
        (MembershipChange::RemoveLearner(id(2)), MembershipRefused::NotLearner(id(2))),
        (swap(&[9], &[3]), MembershipRefused::NotLearner(id(9))),
        (swap(&[4], &[9]), MembershipRefused::NotVoter(id(9))),
        (swap(&[], &[]), MembershipRefused::Empty),
        (swap(&[], &[1, 2, 3]), MembershipRefused::NoVoters),
    ];
    let last = core.last_index();
    for (change, refusal) in refusals {
        assert_eq!(core.propose_membership(&change), Err(refusal));
    }
    assert_eq!(core.leave_joint(), Err(MembershipRefused::NotJoint));
    assert_eq!(core.last_index(), last, "a refused change appends nothing");
    core.propose_membership(&swap(&[4], &[3])).unwrap();
    assert_eq!(core.propose_membership(&MembershipChange::AddLearner(id(5))), Err(MembershipRefused::Pending));
    network.collect(1);
    network.settle();
    let core = network.core(1);
    assert_eq!(core.propose_membership(&MembershipChange::AddLearner(id(5))), Err(MembershipRefused::Joint));
    assert_eq!(
        network.core(2).propose_membership(&MembershipChange::AddLearner(id(5))),
        Err(MembershipRefused::NotPrimary(NotPrimary::Backup { primary: Some(id(1)) }))
    );
}

#[test]
fn a_learner_that_lags_is_not_promoted() {
    let mut network = Network::new(3, 3);
    network.elect_this(1);
    network.change(&MembershipChange::AddLearner(id(4)));
    network.settle();
    let refused = network.core(1).propose_membership(&swap(&[4], &[3]));
    assert!(matches!(refused, Err(MembershipRefused::Behind { .. })));
    network.join_learner(4, 3);
    let caught_up = network.run_until(100, |network| {
        let committed = network.core(1).committed();
        network
            .core(1)
            .progress()
            .iter()
            .any(|peer| peer.id == id(4) && peer.matched == committed && peer.recent_active)
    });
    assert!(caught_up);
    network.core(1).propose_membership(&swap(&[4], &[3])).unwrap();
}

#[test]
fn a_removed_replica_is_not_heard_any_more_and_never_returns() {
    let mut network = with_learner(4, 4);
    network.elect_this(1);
    network.isolate(3);
    network.change(&swap(&[4], &[3]));
    leave(&mut network);
    network.heal();
    network.refused.clear();
    network.run(60);
    assert!(network.refused.iter().any(|(_, refused)| *refused == coco_consensus::Refused::Removed));
    assert_eq!(network.primary(), Some(1));
    let known = MembershipRefused::Known(id(3));
    assert_eq!(network.core(1).propose_membership(&MembershipChange::AddLearner(id(3))), Err(known.clone()));
    network.stop(1);
    network.restart(1);
    network.elect_this(1);
    assert_eq!(network.core(1).propose_membership(&MembershipChange::AddLearner(id(3))), Err(known));
}

#[test]
fn a_transfer_to_a_dead_replica_ends_by_itself() {
    let mut network = Network::new(3, 6);
    network.elect_this(1);
    network.settle();
    network.stop(2);
    network.core(1).transfer(id(2)).unwrap();
    assert_eq!(network.core(1).slot(), Err(NotPrimary::Transferring { to: id(2) }));
    assert_eq!(
        network.core(1).transfer(id(9)),
        Err(TransferRefused::NotPrimary(NotPrimary::Transferring { to: id(2) }))
    );
    network.run(12);
    assert_eq!(network.primary(), Some(1));
    assert!(network.core(1).slot().is_ok());
    assert_eq!(network.core(1).transfer(id(9)), Err(TransferRefused::NotVoter(id(9))));
    network.commit(b"after");
}

#[test]
fn a_replica_behind_the_start_of_its_peers_logs_is_named() {
    let mut network = Network::new(1, 7);
    network.commit(b"one");
    network.commit(b"two");
    let core: &Consensus = network.view_of(1).unwrap();
    let (index, view) = (core.committed(), core.view());
    let seqno = core.seqno_at(index).unwrap();
    network.change(&MembershipChange::AddLearner(id(2)));
    network.settle();
    // 2 has a snapshot up to `index`: its ledger holds the same chunks.
    let ledger = network.replicas[&1].ledger.clone();
    let membership = coco_consensus::Membership { voters: ids(&[1]), ..Default::default() };
    let start = coco_consensus::StartPoint { index, view, seqno, membership };
    network.join_with_ledger(2, start, &ledger);
    network.commit(b"three");
    network.settle();
    network.change(&swap(&[2], &[]));
    leave(&mut network);
    network.elect_this(2);
    // 3 begins at genesis, which 2 does not have.
    network.join_learner(3, 1);
    network.change(&MembershipChange::AddLearner(id(3)));
    network.run(30);
    assert!(network.replicas[&2].needs_snapshot.contains(&id(3)));
    network.commit(b"four");
    // A log that starts in the middle reopens.
    network.stop(2);
    network.restart(2);
    network.elect_this(2);
    network.commit(b"five");
    network.settle();
}
