//! Snapshot files: what is read is what was written, and nothing else is read.

mod fixture;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use coco_crypto::SeededCrypto;
use coco_disk::{Disk, MemoryDisk};
use coco_ledger::{
    EntryKeys, Error, SnapshotHead, SnapshotName, SnapshotPlace, SnapshotReader, SnapshotWriter, check_snapshot,
};
use coco_types::{MapName, ReplicaId};
use fixture::Service;

type Record = (MapName, Bytes, Bytes);

fn head(service: &Service) -> SnapshotHead {
    let txid = service.files.last_txid();
    let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect::<BTreeSet<_>>();
    SnapshotHead {
        place: SnapshotPlace { index: 9, txid },
        primary: service.primary.replica,
        membership: [ids(&[1, 2, 4]), ids(&[1, 2, 3]), ids(&[]), ids(&[])],
        removed: ids(&[5]),
        signature: service.files.reader().read(txid.seqno, txid.seqno).unwrap(),
    }
}

fn records(value_bytes: usize) -> Vec<Record> {
    let maps = [MapName::from_static("accounts"), MapName::from_static("public:x")];
    let key = |key: u8| Bytes::from(vec![key; 3]);
    let value = |value: u8| Bytes::from(vec![value; value_bytes]);
    maps.into_iter().flat_map(|map| (0..4).map(move |at| (map.clone(), key(at), value(at)))).collect()
}

/// A disk with one snapshot.
fn written(service: &Service, records: &[Record]) -> (MemoryDisk, String) {
    let disk = MemoryDisk::new();
    let crypto = SeededCrypto::new(3);
    let mut writer = SnapshotWriter::create(Arc::new(disk.clone()), &service.keys, &crypto, &head(service)).unwrap();
    for (map, key, value) in records {
        writer.add(map, key, value).unwrap();
    }
    let (name, bytes) = writer.finish().unwrap();
    assert_eq!(disk.len(&name.to_string()).unwrap(), bytes);
    (disk, name.to_string())
}

fn read(disk: &MemoryDisk, name: &str, keys: &EntryKeys) -> Result<(SnapshotHead, Vec<Record>), Error> {
    let mut reader = SnapshotReader::open(Arc::new(disk.clone()), name, keys)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    Ok((reader.head().clone(), records))
}

fn service() -> Service {
    let mut service = Service::new(1);
    service.batch_of(3, true);
    service
}

#[test]
fn a_snapshot_gives_back_what_was_written_and_continues_the_signed_tree() {
    let service = service();
    // The large ones take several pieces, and a record crosses from one into the next.
    for value_bytes in [0, 5, 700_000] {
        let records = records(value_bytes);
        let (disk, name) = written(&service, &records);
        let (head, found) = read(&disk, &name, &service.keys).unwrap();
        assert_eq!((&head, found), (&self::head(&service), records));
        assert_eq!(head.frontier().unwrap(), *service.tree.frontier());
        head.verify(&service.service_certificate.public_key().into()).unwrap();
        assert!(head.verify(&Service::new(2).service_certificate.public_key().into()).is_err());
        let disk: Arc<dyn Disk> = Arc::new(disk);
        assert_eq!(check_snapshot(&disk, &name).unwrap(), head.place);
    }
}

#[test]
fn a_truncated_extended_or_altered_snapshot_is_refused() {
    let service = service();
    let (disk, name) = written(&service, &records(20));
    let bytes = disk.read_all(&name).unwrap();
    let opens = |bytes: &[u8]| {
        let disk = MemoryDisk::new();
        disk.write("s", 0, bytes).unwrap();
        let checked = check_snapshot(&(Arc::new(disk.clone()) as Arc<dyn Disk>), "s").is_ok();
        (checked, read(&disk, "s", &service.keys).is_ok())
    };
    assert_eq!(opens(&bytes), (true, true));
    for len in 0..bytes.len() {
        assert_eq!(opens(&bytes[..len]), (false, false), "{len}");
    }
    assert_eq!(opens(&[&bytes[..], &[0]].concat()), (false, false));
    for at in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[at] ^= 0x10;
        assert_eq!(opens(&altered), (false, false), "byte {at}");
    }
}

#[test]
fn pieces_in_another_order_are_refused_even_with_a_right_digest() {
    let service = service();
    let (disk, name) = written(&service, &records(700_000));
    let mut bytes = disk.read_all(&name).unwrap();
    let piece = (1 << 20) + 20;
    let (first, second) = (56, 56 + piece);
    let one = bytes[first..first + piece].to_vec();
    bytes.copy_within(second..second + piece, first);
    bytes[second..second + piece].copy_from_slice(&one);
    let content = bytes.len() - 32;
    let digest = coco_crypto::sha256(&bytes[..content]);
    bytes[content..].copy_from_slice(digest.as_bytes());
    let disk = MemoryDisk::new();
    disk.write("s", 0, &bytes).unwrap();
    assert!(check_snapshot(&(Arc::new(disk.clone()) as Arc<dyn Disk>), "s").is_ok());
    assert!(matches!(read(&disk, "s", &service.keys), Err(Error::MalformedSnapshot { .. })));
}

#[test]
fn records_out_of_order_are_refused() {
    let service = service();
    let mut swapped = records(1);
    swapped.swap(0, 1);
    let mut doubled = records(1);
    doubled[1] = doubled[0].clone();
    let mut maps = records(1);
    maps.rotate_left(4);
    for records in [swapped, doubled, maps] {
        let (disk, name) = written(&service, &records);
        assert!(matches!(read(&disk, &name, &service.keys), Err(Error::MalformedSnapshot { .. })));
    }
}

#[test]
fn another_networks_secret_does_not_open_it() {
    let service = service();
    let (disk, name) = written(&service, &records(1));
    assert!(read(&disk, &name, &Service::new(2).keys).is_err());
    assert!(matches!(read(&disk, &name, &EntryKeys::new()), Err(Error::NoSecret { .. })));
}

#[test]
fn a_snapshot_has_no_name_before_it_is_durable() {
    let service = service();
    let disk = MemoryDisk::new();
    let crypto = SeededCrypto::new(3);
    let mut writer = SnapshotWriter::create(Arc::new(disk.clone()), &service.keys, &crypto, &head(&service)).unwrap();
    for (map, key, value) in records(700_000) {
        writer.add(&map, &key, &value).unwrap();
        assert!(disk.names().unwrap().iter().all(|name| SnapshotName::parse(name).is_none()));
    }
    writer.finish().unwrap();
    disk.crash(|_| None);
    let name = SnapshotName(service.files.last_txid().seqno).to_string();
    assert_eq!(read(&disk, &name, &service.keys).unwrap().1, records(700_000));
}
