//! Protocol bugs that others had, as regression tests: t1 to t5, t7 and t8. Each runs over several seeds; the invariants
//! are checked in every state.

use bytes::Bytes;
use coco_consensus::{Guards, MembershipChange, ReadOutcome, Role};
use coco_types::View;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use crate::network::{Faults, Network, id, ids};

const SEEDS: u64 = 8;

fn shaky() -> Faults {
    Faults { loss: 5, duplication: 10, delay_max: 3 }
}

#[test]
fn t1_election_quorum_per_configuration() {
    for seed in 0..SEEDS {
        let mut network = Network::new(3, seed);
        network.commit(b"before");
        for learner in [4, 5] {
            network.join_learner(learner, 3);
            network.change(&MembershipChange::AddLearner(id(learner)));
            network.settle();
        }
        network.change(&MembershipChange::Joint { promote: ids(&[4, 5]), remove: ids(&[1, 2]) });
        network.settle();
        assert!(network.core(3).membership().is_joint());
        // 3, 4 and 5 are three of five and a majority of the new set, but only one of the old.
        let reached = network.core(3).committed();
        for (left, right) in [(1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5)] {
            network.cut.extend([(left, right), (right, left)]);
        }
        network.run(40);
        let view = network.core(3).view();
        network.run(200);
        let elected = network.running().into_iter().filter(|id| network.core(*id).role() == Role::Primary).count();
        assert_eq!(elected, 0, "neither side may elect");
        assert!(network.running().into_iter().all(|id| network.core(id).committed() <= reached + 1));
        assert!(network.core(3).view() <= View(view.0 + 1), "pre-votes do not raise the view");
        network.heal();
        network.faults = shaky();
        network.commit(b"after");
    }
}

#[test]
fn t2_no_commit_of_previous_view_alone() {
    // Raft paper, figure 8. The invariant is in `check_primary`.
    for seed in 0..SEEDS {
        let mut network = Network::new(5, seed);
        network.elect_this(1);
        network.settle();
        for other in [3, 4, 5] {
            network.cut.extend([(1, other)]);
        }
        let old = network.propose(1, b"old view").unwrap();
        network.step();
        network.stop(1);
        assert_eq!(network.core(2).last_index(), old);
        network.heal();
        network.isolate(2);
        network.elect_this(5);
        network.isolate(5);
        network.propose(5, b"never sent");
        network.stop(5);
        network.heal();
        network.restart(1);
        network.isolate(4);
        network.elect_this(1);
        network.run(20);
        let core = network.core(1);
        assert_eq!(core.view_at(core.committed()), Some(core.view()));
        network.heal();
        network.restart(5);
        network.commit(b"after");
        network.settle();
    }
}

#[test]
fn t3_no_commit_on_negative_ack() {
    for seed in 0..SEEDS {
        let mut network = Network::new(3, seed);
        network.elect_this(1);
        network.settle();
        network.isolate(3);
        network.commit(b"one");
        network.isolate(2);
        let open = network.propose(1, b"two").unwrap();
        let committed = network.core(1).committed();
        let view = network.core(1).view();
        for round in 0..20 {
            for (index, hint) in [(open, open), (open, open - 1), (open - 1, open - 1), (open, 0)] {
                let mut nack = response(2 + round % 2, 1, view);
                nack.index = index;
                nack.reject = true;
                nack.reject_hint = hint.min(index);
                nack.log_term = view.0;
                let _ = network.core(1).step(id(nack.from), &nack.write_to_bytes().unwrap());
                network.collect(1);
                assert_eq!(network.core(1).committed(), committed);
            }
        }
        network.heal();
        network.faults = shaky();
        network.commit(b"three");
    }
}

#[test]
fn t4_no_truncation_without_conflict() {
    for seed in 0..SEEDS {
        let mut network = Network::new(3, seed);
        network.elect_this(1);
        network.commit(b"one");
        network.settle();
        let (index, view) = (network.core(1).last_index(), network.core(1).view());
        let mut early = append(1, 2, view, index, network.core(1).view_at(index).unwrap());
        early.commit = index;
        for payload in [b"two".as_slice(), b"three", b"four"] {
            network.commit(payload);
        }
        network.settle();
        // Agrees with the log and ends before it: nothing may be cut.
        let last = network.core(2).last_index();
        for _ in 0..3 {
            network.inject(1, 2, Bytes::from(early.write_to_bytes().unwrap()));
            network.step();
        }
        assert_eq!(network.core(2).last_index(), last);
        // A stale refusal of the old primary's time reaches a new one.
        network.elect_this(3);
        let mut nack = response(2, 3, view);
        nack.index = last;
        nack.reject = true;
        nack.reject_hint = index;
        network.inject(2, 3, Bytes::from(nack.write_to_bytes().unwrap()));
        network.faults = shaky();
        network.commit(b"five");
        network.settle();
    }
}

#[test]
fn t5_ack_bounded_by_received_range() {
    // The invariant is in `Invariants::sent`.
    for seed in 0..SEEDS {
        let mut network = Network::new(3, seed);
        network.elect_this(1);
        network.commit(b"common");
        network.settle();
        let common = network.core(1).last_index();
        network.isolate(1);
        for _ in 0..5 {
            network.propose(1, b"longer, and never committed").unwrap();
        }
        network.elect_this(2);
        let view = network.core(2).view();
        network.heal();
        // Short and empty, but matching: covers only the common part.
        let probe = append(2, 1, view, common, network.core(2).view_at(common).unwrap());
        network.inject(2, 1, Bytes::from(probe.write_to_bytes().unwrap()));
        network.step();
        network.commit(b"after");
        network.settle();
        assert_eq!(network.core(1).last_index(), network.view_of(2).unwrap().last_index());
    }
}

#[test]
fn t7_read_only_stale_leader() {
    for seed in 0..SEEDS {
        let mut network = Network::new(3, seed);
        network.elect_this(1);
        network.settle();
        network.core(1).read_index(1).unwrap();
        network.run(5);
        assert!(matches!(network.replicas[&1].reads[..], [ReadOutcome::Confirmed { token: 1, .. }]));
        network.isolate(1);
        network.cut.extend([(2, 1), (3, 1)]);
        // Asked while it still believes to lead; the others have elected another by the time that it notices.
        network.core(1).read_index(2).unwrap();
        network.collect(1);
        let elected = network.run_until(100, |network| network.primary().is_some_and(|primary| primary != 1));
        assert!(elected);
        network.heal();
        network.commit(b"newer");
        network.run(30);
        assert_eq!(network.replicas[&1].reads[1..], [ReadOutcome::Lost { token: 2 }]);
        if network.core(1).role() != Role::Primary {
            assert!(network.core(1).read_index(3).is_err());
        }
    }
}

/// One voter and a learner; the disk is slow while the voter leads again, and the power fails. Returns what was violated.
fn single_voter_crashes(seed: u64, guards: &Guards) -> Option<String> {
    let mut network = Network::with_guards(1, seed, guards);
    network.invariants.expect_violation = true;
    network.join_learner(2, 1);
    network.elect_this(1);
    network.change(&MembershipChange::AddLearner(id(2)));
    network.settle();
    for round in 0..6 {
        network.stop(1);
        network.restart(1);
        network.replicas.get_mut(&1).unwrap().sync_ticks = 6;
        let leads = network.run_until(60, |network| network.core(1).role() == Role::Primary);
        assert!(leads);
        network.propose(1, format!("round {round} of {seed}").as_bytes());
        let ticks = network.random.below(4);
        network.run(ticks);
        network.crash_with(1, |_| None);
        network.restart(1);
        network.replicas.get_mut(&1).unwrap().sync_ticks = 0;
        network.elect_this(1);
        network.propose(1, b"other");
        network.run(30);
    }
    network.invariants.violation.clone()
}

#[test]
fn t8_single_voter_term_durable() {
    for seed in 0..SEEDS {
        assert_eq!(single_voter_crashes(seed, &Guards::default()), None);
    }
    let off = Guards { hold_until_term_durable: false, ..Guards::default() };
    let noticed = (0..SEEDS).filter(|seed| single_voter_crashes(*seed, &off).is_some()).count();
    assert!(noticed > 0, "the test would not notice that the guard is missing");
}

fn response(from: u64, to: u64, view: View) -> Message {
    message(MessageType::MsgAppendResponse, from, to, view)
}

fn append(from: u64, to: u64, view: View, index: u64, index_view: View) -> Message {
    let mut message = message(MessageType::MsgAppend, from, to, view);
    message.index = index;
    message.log_term = index_view.0;
    message
}

fn message(kind: MessageType, from: u64, to: u64, view: View) -> Message {
    let mut message = Message { from, to, term: view.0, ..Message::default() };
    message.set_msg_type(kind);
    message
}
