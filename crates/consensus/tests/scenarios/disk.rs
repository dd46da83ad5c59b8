//! What a crash or a rotten disk may leave, and what opening makes of it.

use std::sync::Arc;

use coco_consensus::{Consensus, Error, Guards, LOG_FILE, Membership, StartPoint};
use coco_disk::{Disk, MemoryDisk};
use coco_types::ReplicaId;

use coco_replicas::batches::{FileBatches, LEDGER_FILE};
use coco_replicas::network::{Network, Random, config, id, ids};

fn open(disk: &MemoryDisk) -> Result<Consensus, Error> {
    let mut random = Random(1);
    let batches = Box::new(FileBatches::open(disk.clone()));
    Consensus::open(config(1), Arc::new(disk.clone()), batches, Box::new(move || random.draw()))
}

/// A sole voter with five committed batches, stopped.
fn stopped() -> (Network, u64) {
    let mut network = Network::new(1, 1);
    let mut last = 0;
    for payload in [b"one".as_slice(), b"two", b"three", b"four", b"five"] {
        last = network.commit(payload);
    }
    network.stop(1);
    (network, last)
}

#[test]
fn a_reopened_log_is_the_same_log() {
    let (mut network, last) = stopped();
    network.restart(1);
    assert_eq!(network.core(1).last_index(), last);
    assert!(network.core(1).applied_index() <= last);
    network.commit(b"six");
}

#[test]
fn a_second_log_is_not_created_over_the_first() {
    let (network, _) = stopped();
    let disk = network.replicas[&1].disk.clone();
    let batches = Box::new(FileBatches::open(disk.clone()));
    let created = Consensus::create(config(1), StartPoint::genesis([id(1)]), Arc::new(disk), batches, Box::new(|| 0));
    assert!(matches!(created, Err(Error::Exists)));
}

#[test]
fn a_torn_tail_is_cut_wherever_the_write_stopped() {
    let mut network = Network::new(1, 1);
    network.commit(b"kept");
    let kept = network.core(1).last_index();
    let durable = network.replicas[&1].disk.len(LOG_FILE).unwrap();
    network.replicas.get_mut(&1).unwrap().sync_ticks = u64::MAX;
    network.propose(1, b"torn");
    let written = network.replicas[&1].disk.len(LOG_FILE).unwrap();
    assert!(written > durable);
    for len in durable..=written {
        let disk = network.replicas[&1].disk.image();
        disk.truncate(LOG_FILE, len).unwrap();
        let expected = if len == written { kept + 1 } else { kept };
        assert_eq!(open(&disk).unwrap().last_index(), expected, "cut at {len}");
    }
}

#[test]
fn a_hole_in_the_unsynced_tail_is_cut() {
    let mut network = Network::new(1, 1);
    network.commit(b"kept");
    let kept = network.core(1).last_index();
    network.replicas.get_mut(&1).unwrap().sync_ticks = u64::MAX;
    for _ in 0..3 {
        network.propose(1, b"unsynced");
    }
    // The last write of each file survives, those before do not: a hole of zeros, then a good record.
    let mut asked = 0;
    network.crash_with(1, |len| {
        asked += 1;
        (asked % 3 == 0).then_some(len)
    });
    network.restart(1);
    assert_eq!(network.core(1).last_index(), kept);
    network.replicas.get_mut(&1).unwrap().sync_ticks = 0;
    network.commit(b"after");
}

#[test]
fn damage_to_durable_records_names_its_offset() {
    let (network, _) = stopped();
    let pristine = &network.replicas[&1].disk;
    let len = pristine.len(LOG_FILE).unwrap();
    let mut found = 0;
    for offset in (0..len / 2).step_by(7) {
        let disk = pristine.image();
        disk.flip(LOG_FILE, offset, 0x10).unwrap();
        match open(&disk) {
            Err(Error::Corrupt { offset: named, .. }) => {
                assert!(named <= offset, "{named} is behind the damage at {offset}");
                found += 1;
            }
            Ok(_) => panic!("damage at {offset} was not noticed"),
            Err(error) => panic!("damage at {offset}: {error}"),
        }
    }
    assert!(found > 10);
}

#[test]
fn a_durable_entry_whose_batch_rotted_is_an_error_and_an_unsynced_one_is_cut() {
    let mut network = Network::new(3, 2);
    network.elect_this(1);
    network.commit(b"applied");
    network.settle();
    network.isolate(1);
    // Durable here, committed nowhere: the record's batch must be there.
    network.propose(1, b"rotten").unwrap();
    network.step();
    network.propose(1, b"another, to say that the first is durable").unwrap();
    network.step();
    let disk = network.replicas[&1].disk.image();
    assert!(open(&disk.image()).is_ok());
    let rotten = network.replicas[&1].ledger.offset_of(b"rotten");
    disk.flip(LEDGER_FILE, rotten, 1).unwrap();
    assert!(matches!(open(&disk), Err(Error::Corrupt { .. })));
    // The newest one may be unsynced as far as the disk can tell.
    let last = network.core(1).last_index();
    let disk = network.replicas[&1].disk.image();
    let newest = network.replicas[&1].ledger.offset_of(b"another");
    disk.flip(LEDGER_FILE, newest, 1).unwrap();
    assert_eq!(open(&disk).unwrap().last_index(), last - 1);
}

#[test]
fn a_ledger_that_lost_applied_transactions_is_an_error() {
    let mut network = Network::new(1, 1);
    for number in 0..40_u64 {
        network.commit(&number.to_le_bytes());
    }
    network.stop(1);
    let disk = network.replicas[&1].disk.image();
    disk.truncate(LEDGER_FILE, 0).unwrap();
    assert!(matches!(open(&disk), Err(Error::LedgerBehind { .. })));
}

#[test]
fn transactions_that_the_log_does_not_know_are_cut() {
    let (mut network, last) = stopped();
    let known = network.replicas[&1].ledger.clone();
    let before = coco_consensus::BatchStore::last(&known);
    network.replicas.get_mut(&1).unwrap().ledger.append_unknown();
    network.restart(1);
    let core = network.core(1);
    assert_eq!(core.last_index(), last);
    assert_eq!(core.seqno_at(last), Some(before));
    network.commit(b"after");
}

#[test]
fn a_failed_disk_ends_the_replica() {
    let mut network = Network::new(1, 3);
    network.commit(b"one");
    let disk = network.replicas[&1].disk.clone();
    disk.fail_writes(true);
    let core = network.core(1);
    let slot = core.slot().unwrap();
    let before = core.seqno_at(slot.index - 1).unwrap();
    core.propose(slot, coco_replicas::batches::seal(slot.view, before, &[b"lost"])).unwrap();
    assert!(matches!(core.take_output(), Err(Error::Disk(_))));
    assert!(matches!(core.take_output(), Err(Error::Failed)));
    assert_eq!(core.slot(), Err(coco_consensus::NotPrimary::Failed));
    core.tick();
    core.persisted(9);
    core.applied(9);
    core.campaign();
    assert_eq!(core.step(id(2), b""), Err(coco_consensus::Refused::Stopped));
    disk.fail_writes(false);
    network.stop(1);
    network.restart(1);
    network.commit(b"two");
}

#[test]
fn a_file_that_is_no_log_is_refused() {
    let disk = MemoryDisk::new();
    assert!(matches!(open(&disk), Err(Error::Disk(_))));
    for content in [b"".as_slice(), b"coco-raft-log-1\n", b"something else entirely"] {
        let disk = MemoryDisk::new();
        disk.write(LOG_FILE, 0, content).unwrap();
        assert!(matches!(open(&disk), Err(Error::Corrupt { .. })));
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let disk = MemoryDisk::new();
    let batches = Box::new(FileBatches::open(disk.clone()));
    let bad = coco_consensus::Config { heartbeat_ticks: 20, ..config(1) };
    let created = Consensus::create(bad, StartPoint::genesis([ReplicaId(1)]), Arc::new(disk), batches, Box::new(|| 0));
    assert!(matches!(created, Err(Error::Config(_))));
    // A learner that votes, and nobody at all: the crate would panic.
    for (voters, learners) in [(vec![1, 2], vec![2]), (vec![], vec![1]), (vec![0], vec![])] {
        let disk = MemoryDisk::new();
        let batches = Box::new(FileBatches::open(disk.clone()));
        let membership = Membership { voters: ids(&voters), learners: ids(&learners), ..Membership::default() };
        let start = StartPoint { membership, ..StartPoint::genesis([]) };
        let created = Consensus::create(config(1), start, Arc::new(disk), batches, Box::new(|| 0));
        assert!(matches!(created, Err(Error::Config(_))));
    }
}

#[test]
fn a_conflicting_tail_that_crashes_in_the_middle_of_its_replacement_reopens() {
    // The replaced batch has the same length as the old one, so only the content tells them apart.
    for seed in 0..40 {
        let mut network = Network::with_guards(3, seed, &Guards::default());
        network.elect_this(1);
        network.commit(b"common");
        network.settle();
        network.isolate(1);
        for _ in 0..3 {
            network.propose(1, b"old content").unwrap();
            network.step();
        }
        network.elect_this(2);
        for _ in 0..4 {
            network.propose(2, b"new content").unwrap();
        }
        network.replicas.get_mut(&1).unwrap().sync_ticks = 30;
        network.heal();
        let ticks = network.random.below(12);
        network.run(ticks);
        network.crash(1);
        network.restart(1);
        network.replicas.get_mut(&1).unwrap().sync_ticks = 0;
        network.commit(b"after");
        network.settle();
    }
}
