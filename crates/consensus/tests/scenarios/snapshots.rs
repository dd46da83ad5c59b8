//! What is forgotten below a snapshot, and how a replica that lacks it comes back.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use coco_consensus::{Consensus, LOG_FILE, MembershipChange, MembershipRefused, Refused, SnapshotMark, StartPoint};
use coco_disk::Disk;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use coco_replicas::batches::{FileBatches, LEDGER_FILE};
use coco_replicas::network::{Network, id, ids};

const NOTE: &[u8] = b"where to fetch it";

/// A place in a replica's log.
fn place(network: &mut Network, of: u64, index: u64) -> StartPoint {
    let core = network.core(of);
    let (view, seqno) = (core.view_at(index).unwrap(), core.seqno_at(index).unwrap());
    StartPoint { index, view, seqno, membership: core.membership().clone() }
}

/// Every running replica has a snapshot at `index` and cuts its log there.
fn cut_at(network: &mut Network, index: u64) {
    for id in network.running() {
        let start = place(network, id, index);
        network.core(id).set_snapshot(SnapshotMark { start: start.clone(), note: Bytes::from_static(NOTE) });
        assert!(network.core(id).compact(start).unwrap());
        network.collect(id);
    }
}

/// Three replicas, the third cut off and behind the beginning of the others' logs.
fn one_left_behind() -> (Network, u64) {
    let mut network = Network::new(3, 4);
    network.honest = true;
    network.elect_this(2);
    network.elect_this(1);
    network.commit(b"known to all");
    network.settle();
    network.isolate(3);
    for at in 0..20 {
        network.commit(format!("missed {at}").as_bytes());
    }
    let index = network.core(1).applied_index() - 4;
    assert!(network.run_until(100, |network| network.core(2).applied_index() > index));
    network.stop(3);
    cut_at(&mut network, index);
    network.restart(3);
    (network, index)
}

/// What the node does with an offer: it fetches the state, stops, and begins anew.
fn install(network: &mut Network, to: u64, from: u64, start: StartPoint) {
    network.stop(to);
    let disk = network.replicas[&to].disk.clone();
    let ledger = network.replicas[&from].ledger.clone();
    disk.truncate(LEDGER_FILE, 0).unwrap();
    ledger.copy_to(&disk);
    let arc: Arc<dyn Disk> = Arc::new(disk.clone());
    let batches = || Box::new(FileBatches::open(disk.clone()));
    assert!(!Consensus::holds(&arc, batches(), &start).unwrap());
    Consensus::install(&arc, batches(), id(to), start.clone(), &BTreeSet::new()).unwrap();
    assert!(Consensus::holds(&arc, batches(), &start).unwrap());
    network.restart(to);
}

#[test]
fn a_backup_behind_the_beginning_of_the_log_is_offered_a_snapshot_and_then_gets_the_rest() {
    let (mut network, index) = one_left_behind();
    assert!(network.replicas[&3].offered.is_none());
    network.heal();
    assert!(network.run_until(200, |network| network.replicas[&3].offered.is_some()));
    let offered = network.replicas[&3].offered.clone().unwrap();
    assert_eq!((offered.from, offered.index, &offered.note[..]), (id(1), index, NOTE));
    assert_eq!(Some(offered.view), network.core(1).view_at(index));
    let view = network.core(3).view();
    let start = place(&mut network, 1, index);
    install(&mut network, 3, 1, start);
    assert_eq!(network.core(3).view(), view, "the term that it promised stays");
    assert_eq!((network.core(3).applied_index(), network.core(3).committed()), (index, index));
    network.settle();
    network.isolate(2);
    network.commit(b"with the vote of the one that came back");
}

/// Seed 100070 of the whole network: the power failed while such a voter was needed for a resume, and it could not copy any log.
#[test]
fn a_learner_that_lacks_what_the_log_has_forgotten_is_not_promoted_however_few_entries_that_are() {
    let mut network = Network::new(3, 5);
    network.elect_this(1);
    network.join_learner(4, 3);
    network.change(&MembershipChange::AddLearner(id(4)));
    network.settle();
    network.isolate(4);
    for at in 0..6 {
        network.commit(format!("missed {at}").as_bytes());
    }
    let index = network.core(1).applied_index();
    assert!(network.run_until(100, |network| [2, 3].iter().all(|id| network.core(*id).applied_index() >= index)));
    network.stop(4);
    let promote = MembershipChange::Joint { promote: ids(&[4]), remove: ids(&[3]) };
    cut_at(&mut network, index);
    let refused = network.core(1).propose_membership(&promote);
    assert!(matches!(refused, Err(MembershipRefused::Behind { entries: 1..=64, .. })), "{refused:?}");
}

#[test]
fn an_offer_that_was_lost_is_made_again_and_one_that_is_not_needed_any_more_is_not() {
    let (mut network, index) = one_left_behind();
    network.muted.insert((1, MessageType::MsgSnapshot as i32));
    network.heal();
    network.run(60);
    assert!(network.replicas[&3].offered.is_none());
    network.muted.clear();
    assert!(network.run_until(60, |network| network.replicas[&3].offered.is_some()));
    let start = place(&mut network, 1, index);
    install(&mut network, 3, 1, start);
    network.replicas.get_mut(&3).unwrap().offered = None;
    // The primary still takes it to lack everything; the answer to the next offer tells it better.
    network.settle();
    network.run(60);
    assert!(network.replicas[&3].offered.is_none());
}

#[test]
fn a_new_primary_that_has_cut_its_log_too_goes_on_with_a_replica_at_the_snapshot() {
    let (mut network, index) = one_left_behind();
    network.heal();
    let start = place(&mut network, 2, index);
    install(&mut network, 3, 2, start);
    network.isolate(1);
    network.elect_this(2);
    network.commit(b"without the first");
    network.heal();
    network.settle();
}

#[test]
fn a_joiner_with_an_empty_log_is_offered_a_snapshot_too() {
    let (mut network, index) = one_left_behind();
    let start = place(&mut network, 1, index);
    network.stop(3);
    network.join_learner(4, 3);
    network.change(&coco_consensus::MembershipChange::AddLearner(id(4)));
    assert!(network.run_until(200, |network| network.replicas[&4].offered.is_some()));
    // It is not in the configuration that the snapshot holds: that it joined comes with the rest of the log.
    assert!(!start.membership.contains(id(4)));
    install(&mut network, 4, 1, start);
    let caught_up =
        network.run_until(200, |network| network.core(4).applied_index() == network.core(1).applied_index());
    assert!(caught_up && network.core(4).membership().learners.contains(&id(4)));
}

#[test]
fn a_cut_log_is_the_old_one_or_the_new_one_after_a_crash_and_goes_on() {
    let mut network = Network::new(1, 2);
    for at in 0..12 {
        network.commit(format!("batch {at}").as_bytes());
    }
    let last = network.core(1).last_index();
    let before = network.replicas[&1].disk.len(LOG_FILE).unwrap();
    cut_at(&mut network, last - 3);
    assert!(network.replicas[&1].disk.len(LOG_FILE).unwrap() < before);
    assert!(network.core(1).view_at(last - 4).is_none() && network.core(1).view_at(last - 3).is_some());
    for _ in 0..2 {
        network.crash(1);
        network.restart(1);
        assert_eq!(network.core(1).last_index(), last);
        assert!(network.core(1).view_at(last - 4).is_none());
    }
    network.commit(b"and on");
    assert!(!{
        let start = place(&mut network, 1, last - 3);
        network.core(1).compact(start).unwrap()
    });
}

#[test]
fn a_batch_that_was_not_on_disk_when_the_log_was_cut_may_be_lost_in_a_crash_without_being_taken_for_damage() {
    let mut network = Network::new(1, 3);
    for at in 0..6 {
        network.commit(format!("batch {at}").as_bytes());
    }
    let durable = network.core(1).last_index();
    network.replicas.get_mut(&1).unwrap().sync_ticks = u64::MAX;
    network.propose(1, b"never synced").unwrap();
    cut_at(&mut network, durable - 2);
    // The log's own file was synced with the cut; the ledger's was not.
    network.crash_with(1, |_| None);
    network.replicas.get_mut(&1).unwrap().sync_ticks = 0;
    network.restart(1);
    assert_eq!(network.core(1).last_index(), durable);
    network.commit(b"and on");
}

#[test]
fn a_malformed_offer_is_refused() {
    let (mut network, index) = one_left_behind();
    network.honest = false;
    let start = place(&mut network, 1, index);
    let view = network.core(1).view();
    let good = || {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgSnapshot);
        (message.from, message.to, message.term) = (1, 3, view.0);
        let snapshot = message.mut_snapshot();
        snapshot.set_data([&7_u64.to_le_bytes()[..], NOTE].concat().into());
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (start.index, start.view.0);
        metadata.mut_conf_state().set_voters(vec![1, 2, 3]);
        message
    };
    let spoil: [&dyn Fn(&mut Message); 8] = [
        &|message| message.mut_snapshot().set_data(Bytes::from_static(b"short")),
        &|message| message.mut_snapshot().set_data(vec![1; 4096].into()),
        &|message| message.mut_snapshot().mut_metadata().index = 0,
        &|message| message.mut_snapshot().mut_metadata().index = u64::MAX,
        &|message| message.mut_snapshot().mut_metadata().term = 0,
        &|message| message.mut_snapshot().mut_metadata().mut_conf_state().set_voters(Vec::new()),
        &|message| message.mut_snapshot().mut_metadata().mut_conf_state().set_learners(vec![1]),
        &|message| message.clear_snapshot(),
    ];
    for spoil in spoil {
        let mut message = good();
        spoil(&mut message);
        let refused = network.core(3).step(id(1), &message.write_to_bytes().unwrap());
        assert_eq!(refused, Err(Refused::Range { field: "snapshot" }));
    }
    assert_eq!(network.core(3).step(id(1), &good().write_to_bytes().unwrap()), Ok(()));
    network.collect(3);
    assert!(network.replicas[&3].offered.is_some());
    // An old primary's offer changes nothing.
    network.replicas.get_mut(&3).unwrap().offered = None;
    let mut old = good();
    old.term = view.0 - 1;
    assert_eq!(network.core(3).step(id(1), &old.write_to_bytes().unwrap()), Ok(()));
    network.collect(3);
    assert!(network.replicas[&3].offered.is_none());
    assert_eq!(network.core(3).membership().voters, ids(&[1, 2, 3]));
}
