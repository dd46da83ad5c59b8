//! Proposing, reading and catching up in ordinary service.

use bytes::Bytes;
use coco_consensus::{EntryKind, Guards, NotPrimary, ReadOutcome, Refused, Role, Slot};
use coco_types::{Seqno, View};

use coco_replicas::batches::{FORGED, seal};
use coco_replicas::network::{Faults, Network, id};

#[test]
fn the_slot_is_exactly_where_the_proposal_lands() {
    // Finding 1: 100 proposals between two outputs, and each index and view as foretold.
    let mut network = Network::new(3, 1);
    network.elect_this(1);
    let core = network.core(1);
    let mut before = core.seqno_at(core.last_index()).unwrap();
    let mut slots = Vec::new();
    for _ in 0..100 {
        let slot = core.slot().unwrap();
        core.propose(slot, seal(slot.view, before, &[b"a", b"b"])).unwrap();
        before = Seqno(before.0 + 2);
        slots.push(slot);
    }
    network.collect(1);
    network.settle();
    for (position, slot) in slots.into_iter().enumerate() {
        let core = network.core(2);
        assert_eq!(core.view_at(slot.index), Some(slot.view));
        let Some(EntryKind::Batch(span)) = core.kind_at(slot.index) else { panic!("not a batch") };
        assert_eq!((span.first.0, span.view), (position as u64 * 2 + 1, slot.view));
    }
}

#[test]
fn only_the_primary_has_a_slot() {
    let mut network = Network::new(3, 2);
    assert_eq!(network.core(1).slot(), Err(NotPrimary::Backup { primary: None }));
    network.elect_this(1);
    network.settle();
    assert_eq!(network.core(2).slot(), Err(NotPrimary::Backup { primary: Some(id(1)) }));
    let slot = Slot { index: 99, view: View(1) };
    // The crate would forward it and say that all is well.
    assert!(network.core(2).propose(slot, Bytes::from_static(b"batch")).is_err());
    network.collect(2);
    assert_eq!(network.primary(), Some(1));
}

#[test]
fn a_batch_that_misses_its_slot_ends_the_view() {
    for attempt in 0..3 {
        let mut network = Network::new(3, 3);
        network.elect_this(1);
        network.settle();
        let core = network.core(1);
        let slot = core.slot().unwrap();
        let before = core.seqno_at(slot.index - 1).unwrap();
        let (offered, batch) = match attempt {
            0 => (Slot { index: slot.index + 1, ..slot }, seal(slot.view, before, &[b"lost"])),
            1 => (slot, seal(View(slot.view.0 + 1), before, &[b"another view"])),
            _ => (slot, Bytes::from_static(b"no batch at all")),
        };
        let last = core.last_index();
        let lost = core.propose(offered, batch).unwrap_err();
        assert_eq!(lost.slot, offered);
        assert_eq!(core.role(), Role::Backup);
        assert_eq!(core.last_index(), last, "nothing was appended");
        network.collect(1);
        network.commit(b"after");
        assert!(network.view_of(1).unwrap().view() > slot.view, "the view is dead");
    }
}

#[test]
fn a_sole_voter_that_stepped_down_waits_for_its_disk_before_it_leads_again() {
    // The crate asserts that all is durable when a sole voter elects itself.
    let mut network = Network::new(1, 4);
    network.elect_this(1);
    network.replicas.get_mut(&1).unwrap().sync_ticks = 60;
    network.propose(1, b"not durable yet").unwrap();
    let slot = network.core(1).slot().unwrap();
    let wrong = Slot { index: slot.index + 7, ..slot };
    network.core(1).propose(wrong, Bytes::new()).unwrap_err();
    network.collect(1);
    network.core(1).campaign();
    network.run(50);
    assert_eq!(network.core(1).role(), Role::Backup);
    network.commit(b"after");
}

#[test]
fn a_new_primary_is_ready_once_an_entry_of_its_own_view_is_applied() {
    // Finding 3.
    let mut network = Network::new(3, 5);
    network.elect_this(1);
    network.settle();
    let committed = network.core(1).committed();
    assert_eq!(network.core(1).kind_at(committed), Some(EntryKind::Empty));
    for other in [2, 3] {
        network.replicas.get_mut(&other).unwrap().sync_ticks = 5;
    }
    network.isolate(1);
    let leads = network.run_until(200, |network| {
        network.running().into_iter().any(|id| id != 1 && network.core(id).role() == Role::Primary)
    });
    assert!(leads);
    let primary = network.primary().unwrap();
    assert!(!network.core(primary).ready_to_lead(), "its first entry cannot be committed yet");
    assert!(network.run_until(60, |network| network.core(primary).ready_to_lead()));
}

#[test]
fn a_read_is_repeated_until_it_is_answered() {
    // Finding 8: before the first commit of a term the crate drops the question without a trace.
    let mut network = Network::new(3, 6);
    network.elect_this(1);
    network.settle();
    for other in [2, 3] {
        network.replicas.get_mut(&other).unwrap().sync_ticks = 6;
    }
    network.isolate(1);
    let leads = network.run_until(200, |network| network.primary().is_some_and(|primary| primary != 1));
    assert!(leads);
    let primary = network.primary().unwrap();
    assert!(!network.core(primary).ready_to_lead());
    for token in 0..5 {
        network.core(primary).read_index(token).unwrap();
    }
    network.run(60);
    let reads = &network.replicas[&primary].reads;
    let own = network.view_of(primary).unwrap();
    for token in 0..5 {
        let answer = reads.iter().find_map(|read| match read {
            ReadOutcome::Confirmed { token: answered, index } if *answered == token => Some(*index),
            _ => None,
        });
        let index = answer.expect("every read is answered");
        assert_eq!(own.view_at(index), Some(own.view()), "it reads what its own view committed");
    }
    assert_eq!(reads.len(), 5, "each read is answered once");
}

#[test]
fn a_sole_voter_answers_reads_at_once() {
    let mut network = Network::new(1, 7);
    let index = network.commit(b"one");
    network.core(1).read_index(5).unwrap();
    network.collect(1);
    assert_eq!(network.replicas[&1].reads, [ReadOutcome::Confirmed { token: 5, index }]);
}

#[test]
fn slow_disks_cost_no_elections_while_heartbeats_are_answered_early() {
    // Finding 2. Without the guard the same disks never let anybody lead for long.
    let committed_with = |guards: &Guards| {
        let mut network = Network::with_guards(3, 8, guards);
        network.elect_this(1);
        network.settle();
        let view = network.core(1).view();
        for replica in network.replicas.values_mut() {
            replica.sync_ticks = 14;
        }
        let before = network.invariants.committed.len();
        for tick in 0..300_u64 {
            if let Some(primary) = network.primary() {
                network.propose(primary, &tick.to_le_bytes());
            }
            network.step();
        }
        let views = network.running().into_iter().map(|id| network.core(id).view()).max().unwrap();
        (network.invariants.committed.len() - before, views.0 - view.0)
    };
    let (committed, elections) = committed_with(&Guards::default());
    assert_eq!(elections, 0);
    assert!(committed > 100, "{committed}");
    let off = Guards { answer_heartbeats_early: false, ..Guards::default() };
    let (committed_off, elections_off) = committed_with(&off);
    assert!(
        elections_off > 0 && committed_off < committed / 2,
        "the test would not notice: {committed_off} {elections_off}"
    );
}

#[test]
fn the_primarys_disk_may_be_stuck_while_the_backups_commit() {
    // Finding 2: the commit index does not need the primary's own sync, but its own committed entries wait for it.
    let mut network = Network::new(3, 9);
    network.elect_this(1);
    network.settle();
    let before = network.core(1).applied_index();
    network.replicas.get_mut(&1).unwrap().sync_ticks = u64::MAX;
    let index = network.propose(1, b"stuck here").unwrap();
    network.run(10);
    assert!(network.core(2).applied_index() >= index);
    assert_eq!(network.core(1).committed(), index);
    assert_eq!(network.core(1).applied_index(), before);
}

#[test]
fn steady_replication_never_reads_a_batch_back() {
    // Finding 9: every copy of a payload shows.
    let mut network = Network::new(3, 14);
    network.elect_this(1);
    network.settle();
    for _ in 0..200 {
        network.propose(1, &[5; 1000]).unwrap();
        network.step();
    }
    network.settle();
    for id in 1..=3 {
        assert_eq!(network.replicas[&id].ledger.reads(), 0, "committing and sending need no disk");
    }
}

#[test]
fn a_backup_that_was_away_catches_up_from_the_disk() {
    let mut network = Network::new(3, 10);
    network.elect_this(1);
    network.isolate(3);
    let payload = vec![7; 300 << 10];
    for _ in 0..12 {
        network.commit(&payload);
    }
    // Nothing is cached any more.
    network.stop(1);
    network.restart(1);
    network.elect_this(1);
    network.heal();
    network.faults = Faults { loss: 5, duplication: 5, delay_max: 2 };
    network.settle();
    assert_eq!(network.core(3).committed(), network.view_of(1).unwrap().committed());
}

#[test]
fn batches_larger_than_a_message_and_many_in_flight_arrive() {
    let mut network = Network::new(3, 11);
    network.elect_this(1);
    network.settle();
    network.faults = Faults { loss: 0, duplication: 0, delay_max: 3 };
    for size in [3 << 20, 10, 1 << 20, 5 << 20, 1] {
        network.propose(1, &vec![1; size]).unwrap();
    }
    for _ in 0..200 {
        network.propose(1, b"small").unwrap();
    }
    network.settle();
}

#[test]
fn a_view_whose_primary_a_majority_distrusts_ends() {
    let mut network = Network::new(3, 13);
    network.elect_this(1);
    network.settle();
    network.core(1).distrust_primary();
    network.core(2).distrust_primary();
    network.run(60);
    assert_eq!(network.primary(), Some(1), "one replica alone deposes nobody");
    assert!(network.refused.contains(&(2, Refused::Distrusted)));
    let view = network.core(1).view();
    network.core(3).distrust_primary();
    assert!(
        network
            .run_until(200, |network| { network.primary().is_some_and(|primary| network.core(primary).view() > view) })
    );
    network.commit(b"after");
    network.settle();
}

#[test]
fn a_batch_that_signs_another_root_enters_no_other_log() {
    let mut network = Network::new(3, 17);
    network.elect_this(1);
    network.settle();
    let before = network.core(2).last_index();
    let view = network.core(1).view();
    network.propose(1, FORGED).unwrap();
    network.run(30);
    let refused = |id| network.refused.iter().any(|(by, why)| *by == id && matches!(why, Refused::Root { .. }));
    assert!(refused(2) && refused(3));
    assert_eq!([2, 3].map(|id| network.core(id).last_index()), [before, before]);
    for id in [2, 3] {
        network.core(id).distrust_primary();
    }
    let elected = |network: &mut Network| {
        network.primary().is_some_and(|primary| primary != 1 && network.core(primary).view() > view)
    };
    assert!(network.run_until(200, elected));
    network.commit(b"after");
    network.settle();
}

#[test]
fn a_sole_voter_that_would_not_wait_for_its_disk_panics() {
    let result = std::panic::catch_unwind(|| {
        let guards = Guards { sole_voter_waits_for_disk: false, ..Guards::default() };
        let mut network = Network::with_guards(1, 4, &guards);
        network.elect_this(1);
        network.replicas.get_mut(&1).unwrap().sync_ticks = 60;
        network.propose(1, b"not durable yet").unwrap();
        network.core(1).propose(Slot { index: 99, view: View(1) }, Bytes::new()).unwrap_err();
        network.run(50);
    });
    assert!(result.is_err(), "the test above would not notice that the guard is missing");
}

#[test]
fn a_quiet_network_stays_with_its_primary() {
    let mut network = Network::new(3, 12);
    let primary = network.elect();
    let view = network.core(primary).view();
    network.run(500);
    assert_eq!((network.primary(), network.core(primary).view()), (Some(primary), view));
    assert!(network.refused.is_empty(), "correct replicas refuse nothing of each other: {:?}", network.refused);
}
