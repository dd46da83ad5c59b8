//! Verifying folders offline.

mod fixture;

use bytes::Bytes;
use coco_crypto::{Crypto, SeededCrypto, SymmetricKey};
use coco_disk::{Disk, MemoryDisk};
use coco_ledger::tables::{NODES_INFO, SERVICE_INFO, SIGNATURES};
use coco_ledger::{Damage, EntryKeys, Error, FolderReport, VerifyOptions, transactions, verify_folder};
use coco_types::{Digest, Seqno, WriteSet};
use fixture::Service;
use std::sync::Arc;

fn verify(disk: &MemoryDisk, options: &VerifyOptions) -> Result<FolderReport, Damage> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    verify_folder(&disk, options, &mut |_| ())
}

fn service() -> Service {
    let mut service = Service::new(1);
    service.batch_of(3, true);
    service.new_view(8);
    service.batch_of(2, true);
    service.batch_of(1, false);
    service.commit();
    service
}

#[test]
fn a_whole_folder_verifies_with_and_without_secrets() {
    let service = service();
    let without = verify(&service.disk, &VerifyOptions::default()).unwrap();
    assert_eq!((without.chunks, without.transactions, without.signatures), (3, 12, 5));
    assert_eq!((without.last.to_string(), without.signed.to_string()), ("3.12".to_owned(), "3.12".to_owned()));
    assert_eq!(without.committed.to_string(), "3.10");
    assert_eq!(without.opened, 0);
    assert_eq!(without.services, [("2.1".parse().unwrap(), service.service_certificate.clone())]);
    let service_key = service.service_certificate.public_key().clone();
    let options =
        VerifyOptions { service: Some((&service_key).into()), keys: service.keys.clone(), ..VerifyOptions::default() };
    assert_eq!(verify(&service.disk, &options).unwrap().opened, 12);
}

#[test]
fn a_folder_that_begins_later_is_verified_from_its_first_signature_or_its_snapshot_under_the_service_that_is_named() {
    let service = service();
    let late = service.disk.image();
    late.remove("ledger_1-6.committed").unwrap();
    let pinned = Some(service.service_certificate.public_key().clone());
    let options = VerifyOptions {
        service: pinned.as_ref().map(Into::into),
        keys: service.keys.clone(),
        ..VerifyOptions::default()
    };
    let unnamed = verify(&late, &VerifyOptions::default()).unwrap_err();
    assert!(matches!(*unnamed.source, Error::ServiceSignature { .. }));
    let other = Some(Service::new(2).service_certificate.public_key().clone());
    assert!(
        verify(&late, &VerifyOptions { service: other.as_ref().map(Into::into), ..VerifyOptions::default() }).is_err()
    );
    let report = verify(&late, &options).unwrap();
    assert_eq!((report.from, report.transactions), (Some("3.7".parse().unwrap()), 6));
    let signature = service.files.reader().read(Seqno(6), Seqno(6)).unwrap();
    coco_ledger::LedgerFiles::begin_after(&late, &signature, coco_types::ReplicaId(1)).unwrap();
    let report = verify(&late, &options).unwrap();
    assert_eq!(report.from, Some("2.6".parse().unwrap()));
    // What lies before the snapshot does not count until it is all there.
    late.write("ledger_1-6.committed", 0, &service.disk.read_all("ledger_1-6.committed").unwrap()).unwrap();
    assert_eq!(verify(&late, &options).unwrap().transactions, 6);
    for at in (8..late.len("ledger_7-10.committed").unwrap()).step_by(13) {
        let image = late.image();
        image.flip("ledger_7-10.committed", at, 1).unwrap();
        assert!(verify(&image, &options).is_err(), "byte {at}");
    }
}

#[test]
fn another_service_or_secret_than_expected_is_refused() {
    let (service, other) = (service(), Service::new(2));
    let pinned = Some(other.service_certificate.public_key().clone());
    let refused =
        verify(&service.disk, &VerifyOptions { service: pinned.as_ref().map(Into::into), ..VerifyOptions::default() });
    assert!(matches!(*refused.unwrap_err().source, Error::ServiceSignature { .. }));
    let refused = verify(&service.disk, &VerifyOptions { keys: other.keys, ..VerifyOptions::default() });
    assert!(matches!(*refused.unwrap_err().source, Error::NotAuthentic { .. }));
    let mut later = EntryKeys::new();
    later.add_epoch(Seqno(8), &SymmetricKey::from_bytes([1; 32]));
    let refused = verify(&service.disk, &VerifyOptions { keys: later, ..VerifyOptions::default() });
    assert_eq!(refused.unwrap_err().after.seqno, Seqno(7));
}

#[test]
fn every_flipped_byte_of_every_chunk_is_found() {
    let mut service = Service::new(1);
    service.batch_of(1, true);
    service.batch_of(1, false);
    service.commit();
    let options = VerifyOptions { keys: service.keys.clone(), ..VerifyOptions::default() };
    for (name, bytes) in service.chunk_bytes() {
        for offset in 0..bytes.len() as u64 {
            service.disk.flip(&name, offset, 0x20).unwrap();
            assert!(verify(&service.disk, &options).is_err(), "{name}, byte {offset}");
            service.disk.flip(&name, offset, 0x20).unwrap();
        }
    }
    verify(&service.disk, &options).unwrap();
}

/// The last signature is covered by no other: some of its own bytes only whoever has the secrets can tell from others.
#[test]
fn a_thousand_bits_flipped_at_random_places_are_each_found_and_named_no_later_than_at_the_next_signature() {
    let mut service = Service::new(5);
    (0..24).for_each(|batch| drop(service.batch_of(batch % 5 + 1, batch % 8 == 7)));
    service.batch_of(2, false);
    service.commit();
    let chunks = service.chunk_bytes();
    assert_eq!(chunks.len(), 4);
    let entries: Vec<_> = transactions(service.folder(), EntryKeys::new()).unwrap().map(Result::unwrap).collect();
    let with_secrets = VerifyOptions { keys: service.keys.clone(), ..VerifyOptions::default() };
    let mut random = Random(SeededCrypto::new(9));
    for _ in 0..1_000 {
        let (name, bytes) = &chunks[random.below(chunks.len())];
        let (offset, mask) = (random.below(bytes.len()) as u64, 1 << random.below(8));
        let hit = entries.iter().position(|entry| {
            entry.file == *name && (entry.offset..entry.offset + entry.entry_bytes as u64).contains(&offset)
        });
        let in_last = hit == Some(entries.len() - 1);
        let options = if in_last { &with_secrets } else { &VerifyOptions::default() };
        service.disk.flip(name, offset, mask).unwrap();
        let damage = verify(&service.disk, options).unwrap_err();
        service.disk.flip(name, offset, mask).unwrap();
        let Some(hit) = hit else {
            assert_eq!(damage.file, *name, "byte {offset}, of a header or a position table");
            continue;
        };
        let covering = entries[hit + 1..].iter().find(|entry| entry.public.map(&SIGNATURES).is_some());
        let covering = covering.unwrap_or(&entries[hit]);
        assert!([name, &covering.file].contains(&&damage.file), "{name}, byte {offset}: {damage}");
        let named = entries[hit].txid.seqno.0 - 1..covering.txid.seqno.0;
        assert!(named.contains(&damage.after.seqno.0), "{name}, byte {offset}, in {named:?}: {damage}");
    }
    verify(&service.disk, &VerifyOptions::default()).unwrap();
}

struct Random(SeededCrypto);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes) as usize % bound
    }
}

#[test]
fn damage_is_reported_with_its_place() {
    let service = service();
    let file = "ledger_7-10.committed";
    let offset = transactions(service.folder(), EntryKeys::new()).unwrap();
    let offset = offset.map(Result::unwrap).find(|transaction| transaction.txid.seqno == Seqno(8)).unwrap().offset;
    service.disk.flip(file, offset, 0xff).unwrap();
    let damage = verify(&service.disk, &VerifyOptions::default()).unwrap_err();
    assert_eq!((damage.file.as_str(), damage.offset, damage.after.to_string()), (file, offset, "3.7".to_owned()));
}

#[test]
fn cut_extended_missing_and_misnamed_chunks_are_found() {
    let service = service();
    let refused = |change: &dyn Fn(&MemoryDisk)| {
        let image = service.disk.image();
        change(&image);
        assert!(verify(&image, &VerifyOptions::default()).is_err());
    };
    let file = "ledger_7-10.committed";
    let len = service.disk.len(file).unwrap();
    refused(&|disk| disk.remove(file).unwrap());
    refused(&|disk| disk.rename(file, "ledger_7-11.committed").unwrap());
    refused(&|disk| disk.rename(file, "ledger_7-9.committed").unwrap());
    refused(&|disk| disk.rename(file, "ledger_7").unwrap());
    refused(&|disk| disk.truncate(file, len - 4).unwrap());
    refused(&|disk| disk.truncate(file, 7).unwrap());
    refused(&|disk| disk.write(file, len, &[0; 4]).unwrap());
    refused(&|disk| disk.remove("ledger_1-6.committed").unwrap());
    let open = disk_len(&service.disk, "ledger_11");
    refused(&|disk| disk.truncate("ledger_11", open - 1).unwrap());
    refused(&|disk| disk.write("ledger_11", open, &[1]).unwrap());
}

#[test]
fn a_chunk_that_has_its_table_and_not_yet_its_name_is_read_while_its_node_writes() {
    let service = service();
    service.disk.rename("ledger_7-10.committed", "ledger_7").unwrap();
    let live = VerifyOptions { torn_tail_allowed: true, ..VerifyOptions::default() };
    assert_eq!(verify(&service.disk, &live).unwrap().chunks, 3);
    assert!(verify(&service.disk, &VerifyOptions::default()).is_err(), "no node writes: it is damaged");
    // A crash may keep a part of the header or of the table from the disk: the entries tell where they end.
    service.disk.flip("ledger_7", 0, 1).unwrap();
    service.disk.write("ledger_7", 1, &[0xff; 7]).unwrap();
    service.disk.truncate("ledger_7", disk_len(&service.disk, "ledger_7") - 3).unwrap();
    let report = verify(&service.disk, &live).unwrap();
    assert_eq!((report.chunks, report.torn), (3, None));
    assert_eq!(transactions(service.folder(), EntryKeys::new()).unwrap().map(Result::unwrap).count(), 12);
}

fn disk_len(disk: &MemoryDisk, name: &str) -> u64 {
    disk.len(name).unwrap()
}

#[test]
fn a_torn_tail_is_reported_where_it_is_allowed() {
    let service = service();
    let len = disk_len(&service.disk, "ledger_11");
    service.disk.truncate("ledger_11", len - 1).unwrap();
    let options = VerifyOptions { torn_tail_allowed: true, ..VerifyOptions::default() };
    let report = verify(&service.disk, &options).unwrap();
    assert_eq!((report.signed.seqno, report.last.seqno), (Seqno(10), Seqno(11)));
    assert_eq!(report.torn.unwrap().0, "ledger_11");
}

#[test]
fn a_chunk_whose_completion_a_crash_interrupted_ends_where_its_last_entry_says() {
    let service = service();
    let live = VerifyOptions { torn_tail_allowed: true, ..VerifyOptions::default() };
    let whole = verify(&service.disk, &live).unwrap();
    service.disk.rename("ledger_7-10.committed", "ledger_7").unwrap();
    // The table came to the disk, the header that says where it is did not.
    service.disk.write("ledger_7", 0, &[0; 8]).unwrap();
    let report = verify(&service.disk, &live).unwrap();
    assert_eq!((report.signed, report.last, &report.torn), (whole.signed, whole.last, &None));
    assert!(verify(&service.disk, &VerifyOptions::default()).is_err(), "no node writes: it is damaged");
    assert_eq!(transactions(service.folder(), EntryKeys::new()).unwrap().map(Result::unwrap).count(), 12);
}

#[test]
fn what_is_behind_a_torn_chunk_was_not_synced_either_but_what_is_complete_was() {
    let service = service();
    let live = VerifyOptions { torn_tail_allowed: true, ..VerifyOptions::default() };
    service.disk.rename("ledger_7-10.committed", "ledger_7").unwrap();
    service.disk.write("ledger_7", 0, &[0; 8]).unwrap();
    let len = disk_len(&service.disk, "ledger_7");
    for cut in [64, len / 2, len - 64] {
        service.disk.truncate("ledger_7", len - cut).unwrap();
        let report = verify(&service.disk, &live).unwrap();
        assert!(report.signed.seqno >= Seqno(6) && report.last.seqno < Seqno(10), "{report:?}");
        assert_eq!(report.torn.unwrap().0, "ledger_7");
    }
    let service = self::service();
    let first = "ledger_1-6.committed";
    service.disk.rename(first, "ledger_1").unwrap();
    service.disk.write("ledger_1", 0, &[0; 8]).unwrap();
    service.disk.truncate("ledger_1", disk_len(&service.disk, "ledger_1") / 2).unwrap();
    assert!(verify(&service.disk, &live).is_err(), "a complete chunk is behind it");
}

#[test]
fn a_node_that_is_not_trusted_any_more_may_not_sign() {
    let mut service = Service::new(1);
    let mut pending = WriteSet::new();
    let node = Bytes::from(service.signer.node_id.to_string());
    pending.insert(&NODES_INFO, node, Some(Bytes::from_static(br#"{"status":"Pending"}"#)));
    service.batch(&[(pending, Digest::ZERO)], false);
    let damage = verify(&service.disk, &VerifyOptions::default()).unwrap_err();
    assert!(matches!(*damage.source, Error::NodeSignature { why: "the node is not trusted", .. }));
}

#[test]
fn malformed_governance_rows_are_found() {
    let mut service = Service::new(1);
    let mut rows = WriteSet::new();
    let key = Bytes::from_static(&coco_ledger::tables::K0);
    rows.insert(&SERVICE_INFO, key, Some(Bytes::from_static(b"{}")));
    service.batch(&[(rows, Digest::ZERO)], false);
    let damage = verify(&service.disk, &VerifyOptions::default()).unwrap_err();
    assert!(matches!(*damage.source, Error::MalformedSignature { why: "service info", .. }));
}

#[test]
fn a_view_without_a_named_primary_is_found() {
    let mut service = Service::new(1);
    service.primary.view.0 += 1;
    service.batch_of(1, false);
    let damage = verify(&service.disk, &VerifyOptions::default()).unwrap_err();
    assert!(matches!(*damage.source, Error::UnknownPrimary { view: 3 }));
}

#[test]
fn transactions_are_shown_in_order_with_what_can_be_opened() {
    let service = service();
    let closed: Vec<_> = transactions(service.folder(), EntryKeys::new()).unwrap().map(Result::unwrap).collect();
    assert_eq!(closed.iter().map(|it| it.txid.seqno.0).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
    assert!(closed.iter().all(|transaction| transaction.private.is_none()));
    let opened: Vec<_> = transactions(service.folder(), service.keys.clone()).unwrap().map(Result::unwrap).collect();
    let private = opened[2].private.as_ref().unwrap();
    assert_eq!(private.get(&fixture::PRIVATE_MAP, b"key-3").flatten().unwrap(), fixture::CANARY);
    assert!(opened[2].public.map(&fixture::PUBLIC_MAP).is_some());
    assert!(opened[2].sealed_bytes > 0 && closed[2].write_set_digest == opened[2].write_set_digest);
}

#[test]
fn showing_stops_at_the_first_damage() {
    let service = service();
    let len = disk_len(&service.disk, "ledger_11");
    service.disk.truncate("ledger_11", len - 1).unwrap();
    let shown: Vec<_> = transactions(service.folder(), EntryKeys::new()).unwrap().collect();
    assert_eq!(shown.len(), 12);
    assert!(shown.last().unwrap().is_err());
}

#[test]
fn private_values_appear_nowhere_on_the_disk() {
    let service = service();
    for name in service.disk.names().unwrap() {
        let bytes = service.disk.read_all(&name).unwrap();
        assert!(!bytes.windows(fixture::CANARY.len()).any(|window| window == fixture::CANARY), "{name}");
    }
}
