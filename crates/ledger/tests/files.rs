//! Chunk files over a disk that crashes, rots and fills up.

mod fixture;

use std::sync::Arc;

use coco_crypto::SymmetricKey;
use coco_disk::{Disk, MemoryDisk};
use coco_ledger::{Batch, CheckedChunk, ChunkName, Earlier, EntryKeys, Error, LedgerFiles, MerkleTree};
use coco_types::{Digest, Seqno, TxId};
use fixture::Service;

fn open(disk: &MemoryDisk, durable: Seqno) -> Result<LedgerFiles, Error> {
    LedgerFiles::open(Arc::new(disk.clone()), durable).map(|(files, ..)| files)
}

fn names(service: &Service) -> Vec<String> {
    service.chunk_bytes().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_torn_last_write_is_cut_back_to_the_synced_batch_at_every_byte() {
    let mut service = Service::new(1);
    service.batch_of(2, false);
    service.files.sync().unwrap();
    let synced = service.files.last_txid();
    let before = service.disk.image();
    let unsynced = service.batch_of(2, false).bytes;
    let whole = service.files.last_txid();
    for survived in 0..=unsynced.len() {
        let disk = before.image();
        open(&disk, Seqno::ZERO).unwrap().append(&unsynced).unwrap();
        disk.crash(|len| (len == unsynced.len()).then_some(survived));
        let opened = LedgerFiles::open(Arc::new(disk.clone()), synced.seqno);
        let (mut files, mut tree, report) = opened.unwrap();
        let expected = if survived == unsynced.len() { whole } else { synced };
        assert_eq!(report.last, expected, "{survived} bytes survived");
        assert_eq!(report.cut.is_some(), survived > 0 && survived < unsynced.len());
        if expected == synced {
            files.append(&unsynced).unwrap();
            Batch::parse(&unsynced).unwrap().entries().iter().for_each(|entry| tree.append(entry.leaf_digest()));
        }
        assert_eq!(tree.root(), service.tree.root());
        assert_eq!(disk.read_all("ledger_1").unwrap(), service.disk.read_all("ledger_1").unwrap());
    }
}

#[test]
fn a_torn_chunk_takes_the_chunks_behind_it_along() {
    let mut service = Service::new(1);
    service.files.sync().unwrap();
    let first = service.batch_of(1, true);
    service.batch_of(1, true);
    service.batch_of(1, false);
    service.disk.sync_names().unwrap();
    service.disk.crash(|len| Some(if len == first.bytes.len() { len - 1 } else { len }));
    let report = service.reopen(Seqno(2));
    assert_eq!(report.last.seqno, Seqno(2));
    assert_eq!(report.cut.unwrap().file, "ledger_1");
    assert_eq!(names(&service), ["ledger_1"]);
    assert_eq!(service.tree.leaves(), 3);
}

#[test]
fn damage_that_was_durable_is_an_error_naming_file_and_offset() {
    let mut service = Service::new(1);
    let sealed = service.batch_of(2, false);
    service.files.sync().unwrap();
    // The last signature transaction is covered by no later root: opening checks its rows, verification its seal.
    let signature = Batch::parse(&sealed.bytes).unwrap().entries().last().unwrap().raw().len() as u64;
    let covered = service.disk.len("ledger_1").unwrap() - signature;
    // The header of an open chunk has no meaning and is restored.
    for offset in 8..covered {
        let image = service.disk.image();
        image.flip("ledger_1", offset, 0x10).unwrap();
        match open(&image, sealed.last.seqno) {
            Err(Error::Damaged { file, offset: at, .. }) => assert!(file == "ledger_1" && at <= covered),
            other => panic!("byte {offset}: {:?}", other.err()),
        }
    }
}

#[test]
fn synced_entries_that_are_missing_are_an_error() {
    let mut service = Service::new(1);
    service.batch_of(1, true);
    let last = service.batch_of(1, false).last.seqno;
    service.files.sync().unwrap();
    service.disk.remove("ledger_5").unwrap();
    assert!(matches!(open(&service.disk, last), Err(Error::Damaged { after: Seqno(4), .. })));
    assert!(open(&service.disk, Seqno(4)).is_ok());
}

#[test]
fn a_rolled_back_tail_leaves_no_trace_across_chunks() {
    let mut plain = Service::new(1);
    let mut rolled_back = Service::new(1);
    for service in [&mut plain, &mut rolled_back] {
        service.batch_of(2, true);
        service.batch_of(1, false);
    }
    let keep = rolled_back.files.last_txid();
    rolled_back.batch_of(3, true);
    rolled_back.batch_of(1, true);
    rolled_back.batch_of(1, false);
    rolled_back.files.truncate_after(keep.seqno).unwrap();
    rolled_back.tree.truncate(keep.seqno.0 + 1).unwrap();
    rolled_back.committed = keep;
    assert_eq!(rolled_back.files.last_txid(), keep);
    for service in [&mut plain, &mut rolled_back] {
        service.batch_of(2, true);
        service.commit();
    }
    assert_eq!(plain.chunk_bytes(), rolled_back.chunk_bytes());
    assert_eq!(plain.tree.root(), rolled_back.tree.root());
}

#[test]
fn a_rollback_to_a_chunks_end_or_to_nothing_is_possible() {
    let mut service = Service::new(1);
    service.batch_of(1, true);
    let end = service.files.last_txid();
    service.batch_of(1, false);
    service.files.truncate_after(end.seqno).unwrap();
    assert_eq!(names(&service), ["ledger_1"]);
    service.tree.truncate(end.seqno.0 + 1).unwrap();
    service.batch_of(1, false);
    assert_eq!(names(&service), ["ledger_1", "ledger_5"]);
    service.files.truncate_after(Seqno::ZERO).unwrap();
    assert_eq!(service.files.last_txid(), TxId::default());
    assert!(names(&service).is_empty());
}

#[test]
fn what_is_committed_cannot_be_cut_off() {
    let mut service = Service::new(1);
    service.batch_of(1, false);
    service.files.set_committed(Seqno(4)).unwrap();
    assert!(matches!(service.files.truncate_after(Seqno(3)), Err(Error::Committed { seqno: Seqno(4) })));
}

#[test]
fn chunks_complete_only_when_wholly_committed_and_synced() {
    let mut service = Service::new(1);
    service.batch_of(2, true);
    service.batch_of(1, false);
    service.files.set_committed(Seqno(4)).unwrap();
    service.files.sync().unwrap();
    assert_eq!(names(&service), ["ledger_1", "ledger_6"]);
    service.files.set_committed(Seqno(5)).unwrap();
    assert_eq!(names(&service), ["ledger_1", "ledger_6"]);
    service.files.sync().unwrap();
    assert_eq!(names(&service), ["ledger_1-5.committed", "ledger_6"]);
}

#[test]
fn an_interrupted_completion_is_undone_and_done_again() {
    let reference = {
        let mut service = Service::new(1);
        service.batch_of(2, true);
        service.commit();
        service.chunk_bytes()
    };
    for survived in [Some(0), Some(3), Some(usize::MAX)] {
        let mut service = Service::new(1);
        service.batch_of(2, true);
        service.files.sync().unwrap();
        service.files.set_committed(Seqno(5)).unwrap();
        service.disk.crash(|len| survived.map(|survived| survived.min(len)));
        let report = service.reopen(Seqno(5));
        assert_eq!((report.last.seqno, report.cut), (Seqno(5), None));
        service.commit();
        assert_eq!(service.chunk_bytes(), reference);
    }
}

#[test]
fn two_nodes_with_other_habits_of_syncing_have_the_same_chunks() {
    let mut primary = Service::new(1);
    let mut backup = open(&MemoryDisk::new(), Seqno::ZERO).unwrap();
    let disk = MemoryDisk::new();
    let mut also = LedgerFiles::open(Arc::new(disk.clone()), Seqno::ZERO).unwrap().0;
    let genesis = primary.files.reader().read(Seqno(1), Seqno(2)).unwrap();
    also.append(&genesis).unwrap();
    backup.append(&genesis).unwrap();
    let mut catch_up = Vec::new();
    for round in 0..6 {
        let sealed = primary.batch_of(round, round % 2 == 1);
        primary.commit();
        backup.append(&sealed.bytes).unwrap();
        catch_up.extend_from_slice(&sealed.bytes);
    }
    // All batches at once, as a peer that catches up receives them.
    also.append(&catch_up).unwrap();
    also.set_committed(primary.committed.seqno).unwrap();
    also.sync().unwrap();
    assert_eq!(backup.last_txid(), also.last_txid());
    for (name, bytes) in primary.chunk_bytes() {
        assert_eq!(disk.read_all(&name).unwrap(), bytes, "{name}");
    }
}

#[test]
fn a_reader_gives_any_range_across_open_and_committed_chunks() {
    let mut service = Service::new(1);
    let mut all = service.files.reader().read(Seqno(1), Seqno(2)).unwrap();
    for round in 0..5 {
        all.extend_from_slice(&service.batch_of(2, round % 2 == 0).bytes);
        if round == 2 {
            service.commit();
        }
    }
    let reader = service.files.reader();
    let last = service.files.last_txid().seqno;
    assert_eq!(reader.first_seqno(), Some(Seqno(1)));
    assert_eq!(reader.read(Seqno(1), last).unwrap(), all);
    let singles: Vec<u8> = (1..=last.0).flat_map(|at| reader.read(Seqno(at), Seqno(at)).unwrap()).collect();
    assert_eq!(singles, all);
    assert!(matches!(reader.read(Seqno(1), last.next()), Err(Error::NotHeld { .. })));
    assert!(matches!(reader.read(Seqno(0), Seqno(0)), Err(Error::NotHeld { .. })));
    assert!(matches!(reader.txid(last.next()), Err(Error::NotHeld { .. })));
    assert_eq!(reader.txid(last).unwrap(), service.files.last_txid());
}

#[test]
fn a_bounded_read_gives_whole_entries_and_at_least_one() {
    let mut service = Service::new(1);
    for round in 0..4 {
        service.batch_of(5, round % 2 == 0);
    }
    service.commit();
    let reader = service.files.reader();
    let last = service.files.last_txid().seqno;
    for bytes_max in [0, 1, 700, 5_000, u64::MAX] {
        let (mut read, mut next) = (Vec::new(), Seqno(1));
        while next <= last {
            let (bytes, until) = reader.read_up_to(next, bytes_max).unwrap();
            assert!(bytes.len() as u64 <= bytes_max || until == next);
            read.extend_from_slice(&bytes);
            next = until.next();
        }
        assert_eq!(read, reader.read(Seqno(1), last).unwrap());
    }
    assert!(matches!(reader.read_up_to(last.next(), 1), Err(Error::NotHeld { .. })));
}

#[test]
fn a_reopened_ledger_goes_on_with_the_same_bytes() {
    let mut plain = Service::new(1);
    let mut reopened = Service::new(1);
    for round in 0..6 {
        plain.batch_of(round, round % 3 == 1);
        reopened.batch_of(round, round % 3 == 1);
        if round == 3 {
            reopened.commit();
            plain.commit();
        }
        reopened.reopen(Seqno::ZERO);
    }
    plain.commit();
    reopened.commit();
    assert_eq!(plain.chunk_bytes(), reopened.chunk_bytes());
    assert_eq!(plain.tree.root(), reopened.tree.root());
}

#[test]
fn a_lost_or_short_tree_file_is_built_again_from_the_entries() {
    let mut service = Service::new(1);
    for _ in 0..4 {
        service.batch_of(3, true);
    }
    service.commit();
    let root = service.tree.root();
    assert!(!service.reopen(Seqno::ZERO).tree_rebuilt);
    service.disk.truncate("merkle.ignored", 100).unwrap();
    assert!(service.reopen(Seqno::ZERO).tree_rebuilt);
    service.disk.remove("merkle.ignored").unwrap();
    assert!(service.reopen(Seqno::ZERO).tree_rebuilt);
    assert_eq!(service.tree.root(), root);
    assert_eq!(service.receipt(3).root(), service.receipt(3).signature.frontier.root());
}

#[test]
fn a_tree_file_with_a_wrong_node_is_built_again_and_no_chunk_is_blamed() {
    for (count, open_chunk) in [(3, true), (3, false), (4, true), (4, false)] {
        let mut service = Service::new(1);
        service.batch_of(count, true);
        let committed = service.files.last_txid().seqno;
        service.commit();
        if open_chunk {
            service.batch_of(2, false);
            service.files.sync().unwrap();
        }
        let (root, last) = (service.tree.root(), service.files.last_txid().seqno);
        let leaves = committed.0 + 1;
        let mut wrong_leaves = 0;
        let nodes = 2 * leaves - u64::from(leaves.count_ones());
        for node in 0..nodes {
            let image = service.disk.image();
            image.flip("merkle.ignored", node * 32 + 7, 1).unwrap();
            match LedgerFiles::open(Arc::new(image), last) {
                Ok((_, tree, _)) => assert_eq!(tree.root(), root, "node {node} of {leaves} leaves"),
                // Nothing signs the last leaf yet: the entry itself may be what is wrong.
                Err(Error::Damaged { why, .. }) if !open_chunk => {
                    assert!(node == nodes - 1 && why.contains("Merkle tree's file"), "node {node}: {why}");
                    wrong_leaves += 1;
                }
                Err(error) => panic!("node {node} of {leaves} leaves: {error}"),
            }
        }
        assert_eq!(wrong_leaves, u64::from(!open_chunk && !leaves.is_multiple_of(2)));
    }
}

#[test]
fn a_committed_chunk_that_does_not_give_its_root_makes_no_tree() {
    let mut service = Service::new(1);
    service.batch_of(2, true);
    service.batch_of(2, true);
    service.commit();
    service.disk.remove("merkle.ignored").unwrap();
    service.disk.flip("ledger_1-5.committed", 30, 1).unwrap();
    let opened = open(&service.disk, Seqno::ZERO).err();
    assert!(matches!(opened, Some(Error::Damaged { file, .. }) if file == "ledger_1-5.committed"));
}

#[test]
fn a_full_disk_refuses_a_batch_and_takes_it_later() {
    let mut service = Service::new(1);
    let before = service.files.last_txid();
    let sealed = service.seal(&[(fixture::writes(3), Digest::ZERO)], true, false);
    service.disk.set_bytes_max(Some(100));
    assert!(matches!(service.files.append(&sealed.bytes), Err(Error::Disk { .. })));
    assert_eq!(service.files.last_txid(), before);
    service.disk.set_bytes_max(None);
    service.files.append(&sealed.bytes).unwrap();
    let next = service.seal(&[], false, false);
    service.disk.fail_writes(true);
    assert!(matches!(service.files.append(&next.bytes), Err(Error::Disk { .. })));
    service.disk.fail_writes(false);
    assert_eq!(service.files.append(&next.bytes).unwrap(), next.last);
    assert_eq!(names(&service), ["ledger_1", "ledger_5"]);
}

#[test]
fn a_failed_sync_is_reported_and_a_removed_file_is_not_missed() {
    let mut service = Service::new(1);
    service.disk.fail_syncs(true);
    assert!(matches!(service.files.sync(), Err(Error::Disk { .. })));
    service.disk.fail_syncs(false);
    service.batch_of(1, true);
    service.batch_of(1, false);
    let unsynced = service.files.take_unsynced();
    service.files.truncate_after(Seqno(4)).unwrap();
    unsynced.sync(&service.disk).unwrap();
    service.files.synced(&unsynced).unwrap();
    assert_eq!(service.files.last_txid().seqno, Seqno(4));
}

#[test]
fn batches_that_do_not_continue_the_ledger_are_refused() {
    let mut service = Service::new(1);
    let first = service.batch_of(1, false);
    let second = service.batch_of(1, false);
    assert!(matches!(service.files.append(&second.bytes), Err(Error::NotContiguous { .. })));
    let mut fresh = open(&MemoryDisk::new(), Seqno::ZERO).unwrap();
    assert!(matches!(fresh.append(&first.bytes), Err(Error::NotContiguous { .. })));
    assert!(matches!(service.files.append(&[1, 2, 3]), Err(Error::MalformedEntry { .. })));
    let mut stale = Service::new(1);
    stale.new_view(9);
    assert!(matches!(
        stale.files.append(&second.bytes[..]),
        Err(Error::NotContiguous { .. } | Error::ViewDecreased { .. })
    ));
    let mut later = Service::new(1);
    later.new_view(9);
    let reader = service.files.reader();
    let old_view = reader.read(Seqno(4), Seqno(4)).unwrap();
    assert!(matches!(later.files.append(&old_view), Err(Error::ViewDecreased { .. })));
}

/// A service with three chunks, and a disk whose ledger begins behind the second one.
fn begun_behind_a_snapshot() -> (Service, MemoryDisk) {
    let mut origin = Service::new(1);
    origin.batch_of(2, true);
    origin.batch_of(4, true);
    let at = origin.files.last_txid();
    let signature = origin.files.reader().read(at.seqno, at.seqno).unwrap();
    let disk = MemoryDisk::new();
    // What an earlier life of the replica left: a chunk that was never committed, and a tree of other leaves.
    disk.write("ledger_1", 0, &[0; 40]).unwrap();
    disk.write("merkle.ignored", 0, &[7; 4000]).unwrap();
    LedgerFiles::begin_after(&disk, &signature, coco_types::ReplicaId(1)).unwrap();
    let (mut files, mut tree, _) = LedgerFiles::open(Arc::new(disk.clone()), Seqno::ZERO).unwrap();
    assert_eq!((files.last_txid(), tree.root()), (at, origin.tree.root()));
    let sealed = origin.batch_of(3, true);
    Batch::parse(&sealed.bytes).unwrap().verify(&mut tree, &origin.verifier()).unwrap();
    files.append(&sealed.bytes).unwrap();
    files.set_committed(sealed.last.seqno).unwrap();
    files.sync().unwrap();
    origin.commit();
    (origin, disk)
}

#[test]
fn a_ledger_that_begins_at_a_snapshot_continues_the_one_it_was_taken_from() {
    let (origin, disk) = begun_behind_a_snapshot();
    for tree_lost in [false, true] {
        if tree_lost {
            disk.remove("merkle.ignored").unwrap();
        }
        let (files, tree, report) = LedgerFiles::open(Arc::new(disk.clone()), origin.files.last_txid().seqno).unwrap();
        assert_eq!((report.last, tree.root()), (origin.files.last_txid(), origin.tree.root()));
        assert_eq!(files.reader().first_seqno(), Some(files.reader().base().seqno.next()));
    }
    let chunk = disk.names().unwrap().into_iter().find(|name| name.ends_with(".committed")).unwrap();
    assert_eq!(disk.read_all(&chunk).unwrap(), origin.disk.read_all(&chunk).unwrap());
    // The chunk that follows is of the same view, and the one that names its primary is not here.
    let primary = LedgerFiles::base_primary(&disk).unwrap().unwrap();
    assert_eq!((primary.view, primary.replica), (origin.files.last_txid().view, coco_types::ReplicaId(1)));
    let base = disk.read_all("base.ignored").unwrap();
    disk.replace("base.ignored", &base[..base.len() - 1]).unwrap();
    assert!(matches!(LedgerFiles::base_primary(&disk), Err(Error::Damaged { .. })));
    // As early builds wrote it.
    disk.replace("base.ignored", &base[..base.len() - 8]).unwrap();
    assert_eq!(LedgerFiles::base_primary(&disk).unwrap().map(|one| one.replica), None);
    let not_a_signature = origin.files.reader().read(Seqno(1), Seqno(1)).unwrap();
    assert!(LedgerFiles::begin_after(&MemoryDisk::new(), &not_a_signature, coco_types::ReplicaId(1)).is_err());
}

#[test]
fn open_chunks_of_a_log_that_lost_are_gone_once_the_ledger_begins_behind_a_snapshot() {
    let mut origin = Service::new(1);
    origin.batch_of(2, true);
    origin.commit();
    let cut_off = origin.disk.image();
    origin.new_view(8);
    origin.batch_of(9, true);
    let at = origin.files.last_txid();
    let signature = origin.files.reader().read(at.seqno, at.seqno).unwrap();
    // What a cut-off primary went on with.
    let mut other = Service::new(1);
    other.batch_of(2, true);
    other.batch_of(at.seqno.0 - 5, true);
    other.batch_of(1, false);
    let before = "ledger_6".to_owned();
    let behind = format!("ledger_{}", at.seqno.0 + 2);
    assert_eq!(names(&other), ["ledger_1".to_owned(), behind.clone(), before.clone()]);
    for name in [&before, &behind] {
        cut_off.write(name, 0, &other.disk.read_all(name).unwrap()).unwrap();
    }
    let begin = |disk: &MemoryDisk| LedgerFiles::begin_after(disk, &signature, coco_types::ReplicaId(8)).unwrap();
    // After a crash in between it is done again.
    for gone in [vec![], vec![&before], vec![&behind], vec![&before, &behind]] {
        let disk = cut_off.image();
        gone.into_iter().for_each(|name| disk.remove(name).unwrap());
        begin(&disk);
        disk.crash(|_| None);
        let (_, tree, report) = LedgerFiles::open(Arc::new(disk.clone()), at.seqno).unwrap();
        assert_eq!((report.last, tree.root(), report.cut), (at, origin.tree.root(), None));
        assert!(disk.exists("ledger_1-5.committed").unwrap());
    }
    let committed_behind = ChunkName::committed(at.seqno.next(), at.seqno.next()).to_string();
    cut_off.write(&committed_behind, 0, &[0; 8]).unwrap();
    begin(&cut_off);
    assert!([&before, &behind].into_iter().all(|name| cut_off.exists(name).unwrap()), "opening says what is wrong");
}

/// Checks what has arrived and opens its seals.
fn open_chunk(origin: &Service, earlier: &Earlier, name: ChunkName) -> Result<CheckedChunk, Error> {
    let checked = earlier.check(name, "arriving")?;
    earlier.batches(&checked, &mut |batch| batch.open(&origin.keys, origin.primary.replica).map(|_| ()))?;
    Ok(checked)
}

#[test]
fn earlier_chunks_are_checked_as_they_come_and_make_the_ledger_whole() {
    let (origin, disk) = begun_behind_a_snapshot();
    let (mut files, tree, _) = LedgerFiles::open(Arc::new(disk.clone()), Seqno::ZERO).unwrap();
    let service = || origin.service_certificate.public_key().clone();
    let mut earlier = Earlier::open(Arc::new(disk.clone()), (&service()).into()).unwrap().unwrap();
    assert!(files.adopt(&earlier).is_err());
    while earlier.next().is_some() {
        let names = origin.disk.names().unwrap();
        let mut names = names.iter().filter_map(|name| ChunkName::parse(name));
        let name = names.find(|name| Some(name.first) == earlier.next()).unwrap();
        let bytes = origin.disk.read_all(&name.to_string()).unwrap();
        for at in (0..bytes.len()).step_by(7) {
            disk.write("arriving", 0, &bytes).unwrap();
            disk.flip("arriving", at as u64, 1).unwrap();
            assert!(open_chunk(&origin, &earlier, name).is_err(), "byte {at}");
        }
        disk.write("arriving", 0, &bytes).unwrap();
        let checked = open_chunk(&origin, &earlier, name).unwrap();
        earlier.accept(checked).unwrap();
    }
    files.adopt(&earlier).unwrap();
    let end = origin.files.last_txid().seqno;
    assert_eq!(files.reader().read(Seqno(1), end).unwrap(), origin.files.reader().read(Seqno(1), end).unwrap());
    for seqno in 1..end.0 {
        assert_eq!(tree.reader().path(seqno, end.0).unwrap(), origin.tree.reader().path(seqno, end.0).unwrap());
    }
    assert!(Earlier::open(Arc::new(disk.clone()), (&service()).into()).unwrap().is_none());
    let (files, ..) = LedgerFiles::open(Arc::new(disk.clone()), end).unwrap();
    assert_eq!(files.reader().first_seqno(), Some(Seqno(1)));
}

#[test]
fn a_ledger_whose_old_chunks_were_taken_out_goes_on_and_is_whole_again_once_they_are_back() {
    let mut origin = Service::new(1);
    for _ in 0..3 {
        origin.batch_of(2, true);
    }
    origin.commit();
    let (last, root) = (origin.files.last_txid(), origin.tree.root());
    let archive: Arc<dyn coco_disk::Disk> = Arc::new(origin.disk.image());
    let folder = origin.disk.image();
    let chunks: Vec<_> = folder.names().unwrap().iter().filter_map(|name| ChunkName::parse(name)).collect();
    let end = chunks.iter().filter_map(|chunk| chunk.last).min().unwrap();
    let first = ChunkName::committed(Seqno(1), end).to_string();
    assert!(matches!(LedgerFiles::retain_after(&folder, &archive, last.seqno.next()), Err(Error::NotHeld { .. })));
    let behind = LedgerFiles::retain_after(&folder, &archive, end).unwrap();
    assert_eq!(behind.seqno, end);
    // Whoever was interrupted between this and taking the file out has lost nothing.
    assert_eq!(LedgerFiles::begins_behind(&folder).unwrap(), None);
    folder.remove(&first).unwrap();
    for tree_lost in [false, true] {
        if tree_lost {
            folder.remove("merkle.ignored").unwrap();
        }
        let (files, tree, report) = LedgerFiles::open(Arc::new(folder.clone()), last.seqno).unwrap();
        assert_eq!((report.last, tree.root(), files.reader().base()), (last, root, behind));
        assert!(matches!(files.reader().read(end, end), Err(Error::NotHeld { .. })));
        assert_eq!(
            files.reader().read(end.next(), last.seqno).unwrap(),
            origin.files.reader().read(end.next(), last.seqno).unwrap()
        );
    }
    let primary = LedgerFiles::base_primary(&folder).unwrap().unwrap();
    assert_eq!(primary.replica, origin.primary.replica);
    assert!(!LedgerFiles::awaits_earlier(&folder).unwrap());
    let service = (&origin.service_certificate.public_key().clone()).into();
    assert!(Earlier::open(Arc::new(folder.clone()), service).unwrap().is_none(), "nobody fetches it again");
    folder.write(&first, 0, &archive.read_all(&first).unwrap()).unwrap();
    let (files, tree, _) = LedgerFiles::open(Arc::new(folder.clone()), last.seqno).unwrap();
    assert_eq!((files.reader().base(), tree.root()), (TxId::default(), root));
    assert_eq!(
        files.reader().read(Seqno(1), last.seqno).unwrap(),
        origin.files.reader().read(Seqno(1), last.seqno).unwrap()
    );
}

#[test]
fn a_chunk_that_is_taken_out_while_it_is_read_is_not_held_any_more() {
    let mut origin = Service::new(1);
    origin.batch_of(2, true);
    origin.batch_of(2, true);
    origin.commit();
    let reader = origin.files.reader();
    let name = origin.disk.names().unwrap().into_iter().find(|name| name.starts_with("ledger_1-")).unwrap();
    origin.disk.remove(&name).unwrap();
    assert!(matches!(reader.read(Seqno(1), Seqno(1)), Err(Error::NotHeld { seqno: Seqno(1) })));
    assert!(matches!(reader.txid(Seqno(2)), Err(Error::NotHeld { .. })));
}

#[test]
fn damaged_committed_chunks_and_gaps_are_errors() {
    let mut service = Service::new(1);
    service.batch_of(2, true);
    service.batch_of(2, true);
    service.batch_of(2, true);
    service.commit();
    let damaged = |change: &dyn Fn(&MemoryDisk)| {
        let image = service.disk.image();
        change(&image);
        open(&image, Seqno::ZERO).err().expect("damage is an error")
    };
    let file = "ledger_6-8.committed";
    let len = service.disk.len(file).unwrap();
    assert!(matches!(damaged(&|disk| disk.flip(file, 0, 1).unwrap()), Error::Damaged { .. }));
    assert!(matches!(damaged(&|disk| disk.flip(file, len - 3, 1).unwrap()), Error::Damaged { .. }));
    assert!(matches!(damaged(&|disk| disk.truncate(file, len - 1).unwrap()), Error::Damaged { .. }));
    assert!(matches!(damaged(&|disk| disk.truncate(file, 4).unwrap()), Error::Damaged { .. }));
    assert!(matches!(damaged(&|disk| disk.remove(file).unwrap()), Error::NotContiguous { .. }));
}

#[test]
fn a_tree_truncates_with_its_ledger_even_when_flushed() {
    let mut service = Service::new(1);
    let before = service.tree.root();
    let leaves = service.tree.leaves();
    service.batch_of(5, false);
    service.tree.truncate(leaves).unwrap();
    assert_eq!(service.tree.root(), before);
    let reopened = MerkleTree::open(service.folder(), leaves).unwrap().unwrap();
    assert_eq!(reopened.root(), before);
}

#[test]
fn without_the_epochs_secret_nothing_is_sealed() {
    let mut service = Service::new(1);
    service.keys = EntryKeys::new();
    service.keys.add_epoch(Seqno(100), &SymmetricKey::from_bytes([1; 32]));
    assert!(matches!(
        service.sealer().add(&fixture::writes(1), Digest::ZERO),
        Err(Error::NoSecret { seqno: Seqno(3) })
    ));
}
