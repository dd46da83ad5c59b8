//! What a transaction and a batch cost: `cargo bench -p coco-ledger`. The signatures here are the backend's, as on a node.

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coco_crypto::{Curve, SigningKey, SystemCrypto};
use coco_disk::MemoryDisk;
use coco_ledger::{Batch, Closing, LedgerFiles, MerkleTree, SealedBatch, verify_receipt};
use coco_types::{Digest, MapName, Seqno, WriteSet};
use fixture::Service;

const TRANSACTIONS: u64 = 10_000;
const ROUNDS: u32 = 10;

fn main() {
    let mut service = Service::new(1);
    service.signer.crypto = Arc::new(SystemCrypto);
    let transactions: Vec<WriteSet> = (0..TRANSACTIONS).map(small_writes).collect();
    let sealed = sealing(&mut service, &transactions);
    println!("batch of {TRANSACTIONS}: {} bytes", sealed.bytes.len());
    closing(&mut service);
    backup(&service, &sealed);
    receipts(&mut service, &sealed);
    signatures();
}

/// Two private writes and a public one.
fn small_writes(of: u64) -> WriteSet {
    let mut writes = WriteSet::new();
    let accounts = MapName::from_static("ethereum.account");
    let key = |salt: u64| Bytes::from((of * 2 + salt).to_be_bytes().repeat(3)[..20].to_vec());
    writes.insert(&accounts, key(0), Some(Bytes::from(vec![1; 48])));
    writes.insert(&accounts, key(1), Some(Bytes::from(vec![2; 48])));
    writes.insert(&MapName::from_static("public:index"), key(2), Some(Bytes::from(vec![3; 8])));
    writes
}

fn sealing(service: &mut Service, transactions: &[WriteSet]) -> SealedBatch {
    let leaves = service.tree.leaves();
    let mut sealed = None;
    let spent = fastest(|| {
        service.tree.truncate(leaves).unwrap();
        let start = Instant::now();
        let mut sealer = service.sealer();
        for writes in transactions {
            sealer.add(black_box(writes), Digest::ZERO).unwrap();
        }
        let added = start.elapsed();
        sealed = Some(finish(service, sealer));
        added
    });
    report("seal, a transaction", spent, TRANSACTIONS);
    sealed.expect("at least one round")
}

fn finish(service: &mut Service, sealer: coco_ledger::BatchSealer) -> SealedBatch {
    let closing = Closing {
        signer: &service.signer,
        issued_at: fixture::NOW,
        committed: service.committed,
        node_certificate: None,
        new_view: false,
        chunk_ends: false,
    };
    sealer.finish(&mut service.tree, &closing).unwrap()
}

fn closing(service: &mut Service) {
    let leaves = service.tree.leaves();
    let spent = fastest(|| {
        service.tree.truncate(leaves).unwrap();
        let sealer = service.sealer();
        let start = Instant::now();
        black_box(finish(service, sealer));
        start.elapsed()
    });
    service.tree.truncate(leaves).unwrap();
    report("close a batch: two signatures", spent, 1);
}

fn backup(service: &Service, sealed: &SealedBatch) {
    let parse = fastest(|| timed(|| Batch::parse(&sealed.bytes).unwrap()));
    report("backup: parse, a transaction", parse, TRANSACTIONS);
    let batch = Batch::parse(&sealed.bytes).unwrap();
    let genesis = service.files.reader().read(Seqno(1), Seqno(2)).unwrap();
    let verify = fastest(|| {
        let mut tree = MerkleTree::create(Arc::new(MemoryDisk::new())).unwrap();
        Batch::parse(&genesis).unwrap().verify(&mut tree, &service.verifier()).unwrap();
        timed(|| batch.verify(&mut tree, &service.verifier()).unwrap())
    });
    report("backup: verify, a transaction", verify, TRANSACTIONS);
    let open = fastest(|| timed(|| batch.open(&service.keys, service.primary.replica).unwrap()));
    report("backup: open, a transaction", open, TRANSACTIONS);
    let append = fastest(|| {
        let disk = Arc::new(MemoryDisk::new());
        let mut files = LedgerFiles::open(disk, Seqno::ZERO).unwrap().0;
        files.append(&genesis).unwrap();
        timed(|| files.append(&sealed.bytes).unwrap())
    });
    report("append to the files, a transaction", append, TRANSACTIONS);
}

fn receipts(service: &mut Service, sealed: &SealedBatch) {
    service.files.append(&sealed.bytes).unwrap();
    let signature = service.files.reader().signature_from(sealed.last.seqno).unwrap().unwrap();
    let txid = service.files.reader().txid(Seqno(100)).unwrap();
    let collect = || {
        let (reader, tree) = (service.files.reader(), service.tree.reader());
        coco_ledger::receipt::Receipt::collect(&reader, &tree, &service.keys, txid, signature.clone()).unwrap()
    };
    report("collect a receipt", fastest(|| timed(collect)), 1);
    let receipt = collect().to_cose().unwrap();
    let key = service.service_certificate.public_key();
    report("verify a receipt", fastest(|| timed(|| verify_receipt(&receipt, key, None).unwrap())), 1);
}

fn signatures() {
    for curve in [Curve::P256, Curve::P384] {
        let key = SigningKey::generate(&SystemCrypto, curve);
        report(&format!("sign with {curve:?}"), fastest(|| timed(|| key.sign(&SystemCrypto, b"message"))), 1);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn fastest(mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().expect("at least one round")
}

fn report(what: &str, spent: Duration, count: u64) {
    println!("{what:>40}: {:8.2} us", spent.as_secs_f64() * 1e6 / count as f64);
}
