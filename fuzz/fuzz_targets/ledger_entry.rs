//! Ledger entries and batches of them, as a host's disk or a primary gives them; and signature transactions whose rows agree with each
//! other, so that what is behind that check is reached.
#![no_main]

use std::cell::OnceCell;
use std::hint::black_box;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use coco_disk::MemoryDisk;
use coco_fuzz::edit;
use coco_fuzz::service::{Service, writes};
use coco_ledger::tables::{COMMITTED, COSE_SIGNATURES, K0, SIGNATURES, TREE};
use coco_ledger::{Batch, Entry, Frontier, MerkleTree, NodeSignature, Primary, SignatureTransaction};
use coco_types::{Digest, MapName, Seqno, TxId, View, WriteSet};
use libfuzzer_sys::fuzz_target;

/// What an input begins with that is not entries: those begin with their version, which is 1.
const EDITS: u8 = 0xee;
const ROWS: u8 = 0xef;
/// Of the tree behind the genesis: leaf 0 and two transactions.
const LEAVES: u64 = 3;

thread_local! {
    static GENUINE: OnceCell<(Service, Vec<u8>)> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    GENUINE.with(|genuine| {
        let (service, batch) = genuine.get_or_init(genuine_batch);
        match bytes.split_first() {
            Some((&EDITS, edits)) => {
                let mut bytes = batch.clone();
                edit(&mut bytes, edits);
                judge(service, &bytes);
            }
            Some((&ROWS, rows)) => signature(service, rows),
            _ => judge(service, bytes),
        }
    });
});

/// A service, and a batch of it that nobody has taken yet.
fn genuine_batch() -> (Service, Vec<u8>) {
    let mut service = Service::new(1);
    let transactions: Vec<_> = (3..6).map(|at| (writes(at), Digest::ZERO)).collect();
    let batch = service.seal(&transactions, true, false).bytes;
    service.tree.truncate(LEAVES).expect("the tree was as long before");
    (service, batch)
}

fn judge(service: &Service, bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok((entry, after)) = Entry::split_first(rest) {
        assert!(after.len() < rest.len(), "an entry has a length");
        // Whatever it says, it must not panic.
        if let Ok(writes) = entry.public_writes() {
            black_box(SignatureTransaction::from_writes(entry.txid(), &writes).is_ok());
            black_box(Primary::from_writes(entry.txid(), &writes).is_ok());
        }
        black_box(entry.leaf_digest());
        rest = after;
    }
    let Ok(batch) = Batch::parse(bytes) else { return };
    assert!(rest.is_empty(), "a batch is whole entries");
    assert!(batch.first() <= batch.last().seqno, "a batch has an end");
    black_box(batch.signature().issued_at());
    black_box(batch.signs_its_root(&mut Frontier::new()));
    let mut tree = MerkleTree::import(Arc::new(MemoryDisk::new()), service.tree.frontier().clone());
    let tree = tree.as_mut().expect("a tree begins with any frontier");
    if batch.verify(tree, &service.verifier()).is_err() {
        assert_eq!(tree.leaves(), LEAVES, "what is refused leaves the tree as it was");
    }
    black_box(batch.open(&service.keys, service.primary.replica).is_ok());
}

/// Rows, each behind its length in two bytes: the tree, the service's signature, what is committed, the node's signature and certificate.
fn signature(service: &Service, mut rest: &[u8]) {
    let mut row = || {
        let (length, behind) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (row, behind) = behind.split_at(length.min(behind.len()));
        rest = behind;
        Some(row)
    };
    let [Some(tree), Some(cose), Some(committed), Some(sig), Some(cert)] = [(); 5].map(|()| row()) else { return };
    let Ok(frontier) = Frontier::decode(tree) else { return };
    let txid = TxId::new(View(2), Seqno(frontier.leaves()));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let node = NodeSignature {
        node: service.signer.node_id,
        seqno: txid.seqno,
        view: txid.view,
        root: frontier.root(),
        sig: text(sig),
        cert: (!cert.is_empty()).then(|| text(cert)),
        commit_seqno: 0,
        commit_view: 0,
        hashed_nonce: Digest::ZERO,
    };
    let mut writes = WriteSet::new();
    let mut insert = |map: &MapName, row: Vec<u8>| writes.insert(map, Bytes::from_static(&K0), Some(row.into()));
    insert(&TREE, tree.to_vec());
    insert(&COSE_SIGNATURES, serde_json::to_vec(&BASE64.encode(cose)).expect("a text has a JSON form"));
    insert(&COMMITTED, committed.to_vec());
    insert(&SIGNATURES, serde_json::to_vec(&node).expect("a node's signature has a JSON form"));
    let Ok(Some(signature)) = SignatureTransaction::from_writes(txid, &writes) else { return };
    black_box(signature.issued_at());
    let root = frontier.root();
    black_box(service.verifier().verify(&signature, &root).is_ok());
    black_box(signature.verify_service(service.service_certificate.public_key(), &root).is_ok());
}
