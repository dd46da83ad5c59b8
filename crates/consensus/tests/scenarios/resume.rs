//! Coming back without a majority alive, although a disk was rolled back.

use std::collections::BTreeSet;
use std::sync::Arc;

use coco_consensus::{
    Consensus, Error, Membership, MembershipChange, Resume, ResumeEntry, ResumeState, Resumption, durable_seqno,
};
use coco_disk::MemoryDisk;
use coco_types::View;

use coco_replicas::batches::{FileBatches, seal};
use coco_replicas::network::{Network, id, ids};
use coco_replicas::resume::exchange as resume;

fn open(network: &Network, id: u64) -> Resume {
    network.resting(id)
}

#[test]
fn a_resumed_replica_votes_anew_in_a_higher_view() {
    let mut network = Network::new(3, 1);
    network.elect_this(1);
    network.commit(b"one");
    network.settle();
    for id in 1..=3 {
        network.stop(id);
    }
    let before = open(&network, 2).state();
    assert_eq!(before.vote, Some(id(1)));
    assert!(resume(&network, &[1, 2, 3], true, || false));
    for id in 1..=3 {
        network.replicas[&id].disk.crash(|_| None);
        let state = open(&network, id).state();
        assert_eq!((state.view, state.vote), (View(before.view.0 + 1), None));
        assert_eq!((state.last_view, state.last_index), (before.last_view, before.last_index));
        let closed = open(&network, id).written();
        network.restart(id);
        assert_eq!(network.core(id).written(), closed);
    }
    network.commit(b"two");
    network.settle();
}

#[test]
fn resumed_replicas_know_what_was_committed_only_when_an_entry_of_the_new_view_is() {
    let mut network = Network::new(3, 5);
    network.elect_this(1);
    let last = network.commit(b"told");
    network.settle();
    assert!((1..=3).all(|id| network.core(id).has_applied_of_this_view()));
    (1..=3).for_each(|id| network.stop(id));
    assert!(resume(&network, &[1, 2, 3], true, || false));
    for id in 1..=3 {
        network.replicas[&id].disk.crash(|_| None);
        network.restart(id);
        network.replicas.get_mut(&id).unwrap().sync_ticks = 3;
    }
    let mut early = false;
    let all_know = network.run_until(200, |network| {
        for number in 1..=3 {
            let core = network.core(number);
            let knows = core.has_applied_of_this_view();
            assert!(!knows || core.committed() >= last, "{number} would tell that less is committed");
            early |= core.primary() == Some(id(number)) && !knows;
        }
        (1..=3).all(|number| network.core(number).has_applied_of_this_view())
    });
    assert!(all_know);
    assert!(early, "a primary is elected before it knows");
}

#[test]
fn the_quorum_of_a_resume_counts_both_sides_and_the_tolerated_rollbacks() {
    let three = Membership { voters: ids(&[1, 2, 3]), ..Membership::default() };
    assert!(three.may_resume(&ids(&[1, 2]), 0));
    assert!(!three.may_resume(&ids(&[1]), 0));
    assert!(!three.may_resume(&ids(&[1, 2]), 1));
    assert!(three.may_resume(&ids(&[1, 2, 3]), 1));
    let five = Membership { voters: ids(&[1, 2, 3, 4, 5]), ..Membership::default() };
    assert!(five.may_resume(&ids(&[1, 2, 3, 4]), 1));
    assert!(!five.may_resume(&ids(&[1, 2, 3, 4]), 2));
    assert!(!five.may_resume(&ids(&[1, 2, 3, 4, 5]), usize::MAX));
    let joint = Membership { voters_outgoing: ids(&[1, 2, 4]), ..three };
    assert!(!joint.may_resume(&ids(&[3, 2]), 0));
    assert!(joint.may_resume(&ids(&[1, 2]), 0));
    assert!(!Membership::default().may_resume(&BTreeSet::new(), 0));
}

#[test]
fn a_copy_that_would_touch_committed_entries_or_leave_a_gap_is_refused() {
    let mut network = Network::new(1, 2);
    for number in 0..40_u64 {
        network.commit(&number.to_le_bytes());
    }
    network.stop(1);
    let mut log = open(&network, 1);
    let state = log.state();
    assert!(state.commit > 1);
    let empty = |view| vec![ResumeEntry::Empty { view }];
    assert!(matches!(log.replace_tail(0, empty(View(1))), Err(Error::ResumeConflict { index: 1, .. })));
    let last = state.last_index;
    assert!(matches!(log.replace_tail(last + 1, empty(View(9))), Err(Error::ResumeGap { .. })));
    assert!(matches!(log.replace_tail(last, empty(View(0))), Err(Error::ResumeGap { .. })));
    let membership = vec![ResumeEntry::Membership { view: View(9), change: b"\xff"[..].into() }];
    assert!(matches!(log.replace_tail(last, membership), Err(Error::ResumeGap { .. })));
    let gap = seal(View(9), coco_types::Seqno(77), &[b"gap"]);
    let batch = vec![ResumeEntry::Batch { view: View(9), bytes: gap }];
    assert!(matches!(log.replace_tail(last, batch), Err(Error::ResumeGap { .. })));
    assert!(matches!(log.adopt(state.view), Err(Error::ViewNotHigher { .. })));
    drop(log.close());
}

#[test]
fn a_network_resumes_in_the_middle_of_a_swap() {
    for seed in 0..8 {
        let mut network = Network::new(3, seed);
        network.elect_this(1);
        network.join_learner(4, 3);
        network.change(&MembershipChange::AddLearner(id(4)));
        network.settle();
        network.change(&MembershipChange::Joint { promote: ids(&[4]), remove: ids(&[3]) });
        let ticks = network.random.below(3);
        network.run(ticks);
        for id in 1..=4 {
            network.crash(id);
        }
        // Whoever has applied the change asks for a quorum of both sides.
        let joint = open(&network, 1).state().membership;
        assert!(!joint.may_resume(&ids(&[3, 4]), 0));
        assert!(joint.may_resume(&ids(&[1, 2]), 0));
        assert!(resume(&network, &[1, 2, 4], true, || false));
        for id in [1, 2, 4] {
            network.restart(id);
        }
        network.elect_this(2);
        let left = network.run_until(100, |network| {
            let Some(primary) = network.primary() else { return false };
            let _ = network.core(primary).leave_joint();
            network.collect(primary);
            let core = network.core(primary);
            !core.membership().is_joint() && core.membership().voters == ids(&[1, 2, 4])
        });
        assert!(left, "seed {seed}");
        network.commit(b"after");
    }
}

#[test]
fn a_copied_log_with_two_membership_entries_says_that_the_first_is_committed() {
    let mut network = Network::new(3, 8);
    network.elect_this(3);
    network.commit(b"one");
    network.settle();
    network.isolate(1);
    network.join_learner(4, 3);
    network.change(&MembershipChange::AddLearner(id(4)));
    network.run(40);
    network.change(&MembershipChange::Joint { promote: ids(&[4]), remove: ids(&[1]) });
    network.run(40);
    network.core(3).leave_joint().unwrap();
    network.collect(3);
    network.run(40);
    assert_eq!(network.core(3).membership().voters, ids(&[2, 3, 4]));
    for id in 1..=4 {
        network.stop(id);
    }
    // Replica 1 heard of none of it. It is given all of it, and nobody's word that any of it is committed.
    assert!(resume(&network, &[1, 2, 3, 4], true, || false));
    let state = open(&network, 1).state();
    let changes: Vec<u64> = state.changes.iter().map(|(index, _)| *index).collect();
    let [_, joint, left] = changes.as_slice() else { panic!("{changes:?}") };
    assert!((*joint..*left).contains(&state.commit), "it may not campaign two configurations behind: {state:?}");
}

/// Two primaries in one view: each was elected in a configuration of its own, two steps apart.
#[test]
fn seeds_that_elected_two_primaries_after_a_resume_keep_every_promise() {
    for seed in [61_954, 64_035] {
        if let Err(failure) = coco_replicas::chaos::run(seed, &coco_replicas::chaos::Options::SHORT) {
            panic!("seed {seed}: {}", failure.why);
        }
    }
}

#[test]
fn a_resume_that_was_cut_short_does_not_run() {
    let mut network = Network::new(1, 5);
    network.commit(b"one");
    network.stop(1);
    let mut log = open(&network, 1);
    let last = log.state().last_index;
    log.replace_tail(last, vec![ResumeEntry::Empty { view: View(9) }]).unwrap();
    let common = log.state();
    assert_eq!((common.last_view, common.last_index), (View(9), last + 1));
    assert!(matches!(log.adopt(View(8)), Err(Error::ViewNotHigher { .. })));
    // As far as the disk got.
    let disk = network.replicas[&1].disk.clone();
    log.replace_tail(last, vec![ResumeEntry::Empty { view: View(9) }]).unwrap();
    let batches = Box::new(FileBatches::open(disk.clone()));
    let opened = Consensus::open(coco_replicas::network::config(1), Arc::new(disk), batches, Box::new(|| 0));
    assert!(matches!(opened, Err(Error::ResumeUnfinished)));
}

#[test]
fn a_replica_that_claims_a_view_out_of_reach_leads_nobody_there() {
    const LAST: View = View((1 << 31) - 1);
    let mut network = Network::new(1, 5);
    network.commit(b"one");
    network.stop(1);
    let mut log = open(&network, 1);
    let honest = log.state();
    for claimed in [LAST, View(u64::MAX)] {
        let in_vote = ResumeState { view: claimed, ..honest.clone() };
        let in_log = ResumeState { last_view: claimed, ..honest.clone() };
        for state in [in_vote, in_log] {
            assert!(!state.in_reach_of(honest.view));
            assert_eq!(Resumption::of(&[state], 0), None);
        }
        assert!(matches!(log.adopt(claimed), Err(Error::ViewOutOfReach { .. })));
        let entries = vec![ResumeEntry::Empty { view: claimed }];
        assert!(matches!(log.replace_tail(honest.last_index, entries), Err(Error::ResumeGap { .. })));
    }
    assert!(honest.in_reach_of(honest.view) && honest.in_reach_of(View(0)));
    log.adopt(Resumption::of(&[honest], 0).unwrap().view).unwrap();
}

#[test]
fn logs_without_a_common_entry_are_told_apart() {
    let mut network = Network::new(1, 3);
    network.commit(b"one");
    network.stop(1);
    let log = open(&network, 1);
    let mut other = log.state();
    assert_eq!(log.common_with(&other), Some(other.last_index));
    other.runs[0].view = View(7);
    assert_eq!(log.common_with(&other), None);
    other.runs.clear();
    assert_eq!(log.common_with(&other), None);
}

#[test]
fn a_rolled_back_disk_is_an_image_and_opens() {
    let mut network = Network::new(1, 4);
    network.commit(b"one");
    let image: MemoryDisk = network.replicas[&1].disk.image();
    network.commit(b"two");
    network.stop(1);
    let now = open(&network, 1).state().last_index;
    network.replicas.get_mut(&1).unwrap().disk = image;
    assert!(open(&network, 1).state().last_index < now);
}

#[test]
fn configurations_that_only_the_best_log_knows_count_too() {
    let mut network = Network::new(3, 6);
    network.elect_this(1);
    network.commit(b"one");
    network.settle();
    network.join_learner(4, 3);
    network.change(&MembershipChange::AddLearner(id(4)));
    network.settle();
    for id in 1..=4 {
        network.crash(id);
    }
    let mut states: Vec<ResumeState> = [1, 2, 3].map(|id| open(&network, id).state()).into();
    assert_eq!(Resumption::of(&states, 1).map(|all| all.voters), Some(ids(&[1, 2, 3])));
    assert_eq!(Resumption::of(&states[..2], 1), None);
    let view = states[0].view;
    assert_eq!(Resumption::of(&states[..2], 0).map(|all| (all.best, all.view)), Some((id(1), View(view.0 + 1))));
    let two = Resumption::of(&states[..2], 0).unwrap();
    assert!(two.elects(&ids(&[2, 3])) && !two.elects(&ids(&[2, 4])));
    // A change whose commit nobody here knows of: its configuration may have decided things that replica 4 knows.
    let joint = Membership { voters: ids(&[1, 4, 5]), voters_outgoing: ids(&[1, 2, 3]), ..Membership::default() };
    let last = states[0].last_index;
    states[0].last_index = last + 1;
    states[0].changes.push((last + 1, joint));
    assert_eq!(Resumption::of(&states, 0), None);
    states.push(ResumeState { id: id(4), ..states[1].clone() });
    assert_eq!(Resumption::of(&states, 0).map(|all| all.voters), Some(ids(&[1, 2, 3, 4, 5])));
    // Once it is known to be committed, what it replaced counts no more; what it is still counts.
    states[1].commit = last + 1;
    states[0].changes.push((last + 2, Membership { voters: ids(&[4]), ..Membership::default() }));
    assert_eq!(Resumption::of(&states[..3], 0), None);
}

#[test]
fn a_fresh_replica_takes_over_the_log_and_no_vote() {
    let mut network = Network::new(3, 7);
    network.elect_this(1);
    network.commit(b"one");
    network.settle();
    network.stop(2);
    let mut log = open(&network, 2);
    let before = log.state();
    assert!(before.vote.is_some());
    log.hand_to_fresh_replica().unwrap();
    network.replicas[&2].disk.crash(|_| None);
    let after = open(&network, 2).state();
    assert_eq!(after, ResumeState { vote: None, ..before });
    let disk = network.replicas[&2].disk.clone();
    let batches = Box::new(FileBatches::open(disk.clone()));
    let fresh = Consensus::open(coco_replicas::network::config(7), Arc::new(disk), batches, Box::new(|| 0)).unwrap();
    assert_eq!(fresh.role(), coco_consensus::Role::Learner);
}

#[test]
fn the_log_tells_what_of_the_ledger_was_durable() {
    let mut network = Network::new(1, 8);
    assert_eq!(durable_seqno(&MemoryDisk::new()).unwrap(), None);
    let mut known = coco_types::Seqno::ZERO;
    for number in 0..5_u64 {
        network.commit(&number.to_le_bytes());
        let durable = durable_seqno(&network.replicas[&1].disk).unwrap().unwrap();
        assert!(durable >= known, "{durable} after {known}");
        known = durable;
    }
    network.stop(1);
    let held = FileBatches::open(network.replicas[&1].disk.clone());
    assert!(known.0 > 0 && known <= coco_consensus::BatchStore::last(&held));
}
