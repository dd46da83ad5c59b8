//! Sealing a batch on the primary and judging it on a backup.

mod fixture;

use std::sync::Arc;

use bytes::Bytes;
use coco_crypto::{Curve, SigningKey};
use coco_disk::MemoryDisk;
use coco_ledger::tables::{COMMITTED, COSE_SIGNATURES, K0, SIGNATURES, TREE};
use coco_ledger::{Batch, Closing, Error, MerkleTree, Primary, SignatureTransaction, SignatureVerifier};
use coco_types::{Digest, MapName, ReplicaId, Seqno, TxId, View, WriteSet};
use fixture::Service;

fn closing(service: &Service) -> Closing<'_> {
    Closing {
        signer: &service.signer,
        issued_at: fixture::NOW,
        committed: service.committed,
        node_certificate: None,
        new_view: false,
        chunk_ends: false,
    }
}

/// The tree of a backup that holds the genesis batch of `service`.
fn backup_tree(service: &Service) -> MerkleTree {
    let mut tree = MerkleTree::create(Arc::new(MemoryDisk::new())).unwrap();
    let genesis = service.files.reader().read(Seqno(1), Seqno(2)).unwrap();
    Batch::parse(&genesis).unwrap().verify(&mut tree, &service.verifier()).unwrap();
    tree
}

#[test]
fn a_backup_accepts_a_primarys_batch_and_opens_the_same_writes() {
    let mut service = Service::new(1);
    let mut tree = backup_tree(&service);
    let sealed = service.batch_of(3, true);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let verified = batch.verify(&mut tree, &service.verifier()).unwrap();
    assert_eq!((verified.first, verified.last, verified.root), (sealed.first, sealed.last, sealed.root));
    assert_eq!(tree.root(), service.tree.root());
    let opened = batch.open(&service.keys, service.primary.replica).unwrap();
    assert_eq!(opened.len(), 4);
    for (txid, writes) in &opened[..3] {
        assert_eq!(writes, &fixture::writes(txid.seqno.0));
    }
    assert_eq!(batch.entries().len(), 4);
    assert_eq!(batch.signature().frontier.leaves(), sealed.last.seqno.0);
}

#[test]
fn a_batch_signs_its_root_on_the_ledger_that_it_was_sealed_for_and_on_no_other() {
    let mut service = Service::new(1);
    let mut tree = backup_tree(&service);
    let sealed = service.batch_of(3, true);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let mut frontier = tree.reader().frontier(sealed.first.0).unwrap();
    assert!(batch.signs_its_root(&mut frontier));
    assert_eq!(&frontier, service.tree.frontier());
    tree.truncate(sealed.first.0 - 1).unwrap();
    tree.append(Digest([7; 32]));
    tree.flush().unwrap();
    assert!(!batch.signs_its_root(&mut tree.reader().frontier(sealed.first.0).unwrap()));
}

#[test]
fn every_flipped_byte_of_a_batch_is_refused_and_leaves_the_tree_as_it_was() {
    let mut service = Service::new(1);
    let tree = backup_tree(&service);
    let sealed = service.batch_of(1, false);
    for at in 0..sealed.bytes.len() {
        let mut changed = sealed.bytes.clone();
        changed[at] ^= 0x04;
        let mut backup = MerkleTree::import(Arc::new(MemoryDisk::new()), tree.frontier().clone()).unwrap();
        let before = backup.root();
        let accepted = Batch::parse(&changed).and_then(|batch| {
            batch.verify(&mut backup, &service.verifier())?;
            batch.open(&service.keys, service.primary.replica)
        });
        // The signature transaction's own bytes beside its rows are bound by its seal, checked by `open`.
        assert!(accepted.is_err(), "byte {at}");
        if Batch::parse(&changed).is_ok_and(|batch| batch.verify(&mut backup, &service.verifier()).is_err()) {
            assert!(backup.root() == before || backup.leaves() > tree.leaves());
        }
    }
}

#[test]
fn truncated_extended_and_reordered_batches_are_refused() {
    let mut service = Service::new(1);
    let one = service.batch_of(2, false).bytes;
    let two = service.batch_of(2, false).bytes;
    for len in 0..one.len() {
        assert!(Batch::parse(&one[..len]).is_err(), "{len} bytes");
    }
    assert!(Batch::parse(&[&one[..], &[1]].concat()).is_err());
    assert!(Batch::parse(&[&two[..], &one].concat()).is_err());
    let entries = Batch::parse(&one).unwrap().entries().iter().map(|entry| entry.raw().to_vec()).collect::<Vec<_>>();
    assert!(matches!(
        Batch::parse(&[&entries[1][..], &entries[0], &entries[2]].concat()),
        Err(Error::NotContiguous { .. })
    ));
    assert!(matches!(
        Batch::parse(&entries[..2].concat()),
        Err(Error::MalformedBatch { why: "it does not end with a signature transaction", .. })
    ));
}

#[test]
fn two_batches_passed_as_one_are_refused() {
    let mut service = Service::new(1);
    let mut tree = backup_tree(&service);
    let one = service.batch_of(1, false).bytes;
    let two = service.batch_of(1, false).bytes;
    let both = [&one[..], &two].concat();
    let batch = Batch::parse(&both).unwrap();
    batch.verify(&mut tree, &service.verifier()).unwrap();
    assert!(matches!(
        batch.open(&service.keys, service.primary.replica),
        Err(Error::MalformedBatch { why: "a signature transaction within it", .. })
    ));
}

#[test]
fn a_chunk_does_not_end_within_a_batch_nor_a_batch_span_views() {
    let mut service = Service::new(1);
    let one = service.batch_of(1, true).bytes;
    let two = service.batch_of(1, false).bytes;
    assert!(matches!(
        Batch::parse(&[&one[..], &two].concat()),
        Err(Error::MalformedBatch { why: "a chunk that ends within the batch", .. })
    ));
    let next_view = service.new_view(9).bytes;
    assert!(matches!(
        Batch::parse(&[&two[..], &next_view].concat()),
        Err(Error::MalformedBatch { why: "two views", .. })
    ));
}

#[test]
fn signatures_of_others_do_not_count() {
    let mut service = Service::new(1);
    let mut tree = backup_tree(&service);
    let sealed = service.batch_of(1, false);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let stranger = SigningKey::generate(service.crypto.as_ref(), Curve::P384);
    let other_service = SignatureVerifier { service: stranger.public_key(), ..service.verifier() };
    assert!(matches!(batch.verify(&mut tree, &other_service), Err(Error::ServiceSignature { .. })));
    let stranger = SigningKey::generate(service.crypto.as_ref(), Curve::P256);
    let other_node = SignatureVerifier { node: stranger.public_key(), ..service.verifier() };
    assert!(matches!(batch.verify(&mut tree, &other_node), Err(Error::NodeSignature { .. })));
    batch.verify(&mut tree, &service.verifier()).unwrap();
    assert!(matches!(batch.verify(&mut tree, &service.verifier()), Err(Error::NotContiguous { .. })));
}

#[test]
fn a_batch_over_another_history_is_refused() {
    let mut service = Service::new(1);
    let mut fork = Service::new(1);
    service.batch_of(1, false);
    fork.batch(&[(fixture::writes(77), Digest::ZERO)], false);
    let sealed = service.batch_of(1, false);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    assert!(matches!(batch.verify(&mut fork.tree, &service.verifier()), Err(Error::RootMismatch { .. })));
}

#[test]
fn a_batch_opens_only_under_its_own_primary_and_secret() {
    let mut service = Service::new(1);
    let sealed = service.batch_of(1, false);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    assert!(matches!(batch.open(&service.keys, ReplicaId(8)), Err(Error::NotAuthentic { .. })));
    assert!(matches!(batch.open(&Service::new(2).keys, service.primary.replica), Err(Error::NotAuthentic { .. })));
}

#[test]
fn a_views_first_batch_names_its_primary_and_holds_nothing_else() {
    let mut service = Service::new(1);
    let sealed = service.new_view(9);
    let primary = Primary { view: View(3), replica: ReplicaId(9) };
    assert_eq!(Batch::parse(&sealed.bytes).unwrap().primary(), Some(primary));
    assert_eq!(Batch::parse(&service.batch_of(1, false).bytes).unwrap().primary(), None);
    let mut sealer = service.sealer();
    sealer.add(&fixture::writes(1), Digest::ZERO).unwrap();
    let refused = sealer.finish(&mut service.tree, &Closing { new_view: true, ..closing(&Service::new(1)) });
    assert!(matches!(refused, Err(Error::MalformedBatch { .. })));
}

#[test]
fn a_genesis_batch_may_name_its_primary_in_its_signature() {
    let mut service = Service::new(1);
    service.tree = MerkleTree::create(Arc::new(MemoryDisk::new())).unwrap();
    service.committed = TxId::default();
    let sealed = service.seal(&[(fixture::writes(1), Digest::ZERO)], false, true);
    assert_eq!(Batch::parse(&sealed.bytes).unwrap().primary(), Some(service.primary));
}

#[test]
fn a_sealer_that_is_dropped_or_fails_leaves_no_trace() {
    let mut service = Service::new(1);
    let (root, leaves) = (service.tree.root(), service.tree.leaves());
    let mut sealer = service.sealer();
    sealer.add(&fixture::writes(1), Digest::ZERO).unwrap();
    assert_eq!((sealer.len(), sealer.is_empty(), sealer.sealed_bytes() > 0), (1, false, true));
    drop(sealer);
    let late = service.sealer();
    service.batch_of(1, false);
    let refused = late.finish(&mut service.tree, &closing(&Service::new(1)));
    assert!(matches!(refused, Err(Error::NotContiguous { .. })));
    service.tree.truncate(leaves).unwrap();
    assert_eq!(service.tree.root(), root);
}

#[test]
fn a_transaction_cannot_write_a_signature_of_its_own() {
    let service = Service::new(1);
    let mut forged = WriteSet::new();
    forged.insert(&COSE_SIGNATURES, Bytes::from_static(&K0), Some(Bytes::from_static(b"\"\"")));
    assert!(matches!(service.sealer().add(&forged, Digest::ZERO), Err(Error::MalformedBatch { .. })));
}

#[test]
fn half_filled_or_contradictory_signature_rows_are_refused() {
    let mut service = Service::new(1);
    let sealed = service.batch_of(1, false);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let rows = batch.entries().last().unwrap().public_writes().unwrap();
    let txid = sealed.last;
    assert!(SignatureTransaction::from_writes(txid, &rows).unwrap().is_some());
    let refused = |map: &MapName, value: Option<&str>| {
        let mut rows = rows.clone();
        rows.insert(map, Bytes::from_static(&K0), value.map(|value| Bytes::copy_from_slice(value.as_bytes())));
        let result = SignatureTransaction::from_writes(txid, &rows);
        assert!(matches!(result, Err(Error::MalformedSignature { .. })), "{map} {value:?}");
    };
    for map in [SIGNATURES, TREE, COMMITTED] {
        refused(&map, None);
        refused(&map, Some("nonsense"));
    }
    refused(&COSE_SIGNATURES, Some("\"%\""));
    refused(&COMMITTED, Some(&format!("\"{txid}\"")));
    let other = TxId::new(txid.view, txid.seqno.next());
    assert!(matches!(SignatureTransaction::from_writes(other, &rows), Err(Error::MalformedSignature { .. })));
}
