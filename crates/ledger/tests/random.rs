//! Random operations and random bytes: what no one thought of.

mod fixture;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use coco_crypto::AeadKey;
use coco_crypto::SymmetricKey;
use coco_disk::MemoryDisk;
use coco_ledger::{
    Batch, ChunkName, Claims, Entry, Frontier, LedgerFiles, MerkleTree, SealedBatch, SignatureTransaction,
    verify_receipt,
};
use coco_types::{Digest, MapName, Seqno, TxId, WriteSet};
use fixture::Service;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

/// Batches of one to three transactions, some of which end a chunk, after the genesis batch.
static HISTORY: LazyLock<(Vec<u8>, Vec<SealedBatch>)> = LazyLock::new(|| {
    let mut service = Service::new(1);
    let genesis = service.files.reader().read(Seqno(1), Seqno(2)).unwrap();
    let batches = (0..12).map(|at| service.batch_of(at % 3 + 1, at % 4 == 3)).collect();
    (genesis, batches)
});

#[derive(Clone, Debug)]
enum Operation {
    Append,
    RollBack(Index),
    Commit(Index),
    Sync,
    /// Each unsynced change survives as the bits say, whole or not at all, but the last one in part.
    Crash(u64, Index),
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => Just(Operation::Append),
        1 => any::<Index>().prop_map(Operation::RollBack),
        1 => any::<Index>().prop_map(Operation::Commit),
        2 => Just(Operation::Sync),
        1 => (any::<u64>(), any::<Index>()).prop_map(|(bits, cut)| Operation::Crash(bits, cut)),
        1 => Just(Operation::Restart),
    ]
}

/// The files beside a plain list of batches.
struct Model {
    disk: MemoryDisk,
    files: LedgerFiles,
    tree: MerkleTree,
    /// Batches of `HISTORY` in the files, the genesis batch aside.
    appended: usize,
    committed: usize,
    durable: usize,
}

impl Model {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let (files, tree, _) = LedgerFiles::open(Arc::new(disk.clone()), Seqno::ZERO).unwrap();
        let mut model = Self { disk, files, tree, appended: 0, committed: 0, durable: 0 };
        model.append(&HISTORY.0);
        model.files.sync().unwrap();
        model
    }

    fn append(&mut self, bytes: &[u8]) {
        let batch = Batch::parse(bytes).unwrap();
        batch.entries().iter().for_each(|entry| self.tree.append(entry.leaf_digest()));
        self.tree.flush().unwrap();
        self.files.append(bytes).unwrap();
    }

    fn last_of(appended: usize) -> Seqno {
        appended.checked_sub(1).map_or(Seqno(2), |at| HISTORY.1[at].last.seqno)
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append if self.appended < HISTORY.1.len() => {
                self.append(&HISTORY.1[self.appended].bytes);
                self.appended += 1;
            }
            Operation::Append => (),
            Operation::RollBack(to) => {
                self.appended = self.committed + to.index(self.appended - self.committed + 1);
                self.files.truncate_after(Self::last_of(self.appended)).unwrap();
                self.tree.truncate(Self::last_of(self.appended).0 + 1).unwrap();
                // A cut that is not synced may be undone by a crash; what is cut is durable no more.
                self.durable = self.durable.min(self.appended);
            }
            Operation::Commit(to) => {
                // Nothing is committed before it is durable on this node or another; the worst case is another.
                self.committed += to.index(self.durable.max(self.committed) - self.committed + 1);
                self.files.set_committed(Self::last_of(self.committed)).unwrap();
            }
            Operation::Sync => {
                self.files.sync().unwrap();
                self.durable = self.appended;
            }
            Operation::Crash(bits, cut) => self.crash(*bits, *cut),
            Operation::Restart => self.reopen(),
        }
    }

    fn crash(&mut self, bits: u64, cut: Index) {
        let mut at = 0;
        self.disk.crash(|len| {
            at += 1;
            match bits >> (at % 32) & 3 {
                0 => None,
                1 => Some(if len == 0 { 0 } else { cut.index(len) }),
                _ => Some(len),
            }
        });
        self.reopen();
    }

    fn reopen(&mut self) {
        let opened = LedgerFiles::open(Arc::new(self.disk.clone()), Self::last_of(self.durable)).unwrap();
        (self.files, self.tree) = (opened.0, opened.1);
        let last = opened.2.last.seqno;
        let appended = (0..=HISTORY.1.len()).find(|appended| Self::last_of(*appended) == last);
        self.appended = appended.expect("the ledger ends with a batch");
        assert!(self.appended >= self.durable);
        self.durable = self.appended;
        // Committed chunks are not completed again before the node learns anew what is committed.
        self.committed = self.committed.min(self.durable);
    }

    fn check(&self) {
        let last = Self::last_of(self.appended);
        assert_eq!(self.files.last_txid().seqno, last);
        assert_eq!(self.tree.leaves(), last.0 + 1);
        let expected: Vec<u8> = HISTORY.1[..self.appended].iter().flat_map(|batch| batch.bytes.clone()).collect();
        let read = self.files.reader().read(Seqno(1), last).unwrap();
        assert!(read == [&HISTORY.0[..], &expected].concat());
        if let Some(batch) = HISTORY.1.get(self.appended) {
            assert_eq!(Batch::parse(&batch.bytes).unwrap().first(), last.next());
        }
    }
}

/// Bytes with a few of them changed, cut, or random from the start.
fn mangled(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let len = bytes.len();
    let original = bytes.clone();
    prop_oneof![
        vec((any::<Index>(), any::<u8>()), 1..6).prop_map(move |changes| {
            let mut changed = original.clone();
            changes.into_iter().for_each(|(at, byte)| changed[at.index(len)] = byte);
            changed
        }),
        (any::<Index>(), vec(any::<u8>(), 0..40)).prop_map(move |(at, tail)| [&bytes[..at.index(len)], &tail].concat()),
        vec(any::<u8>(), 0..200),
    ]
}

fn any_writes() -> impl Strategy<Value = WriteSet> {
    let names = prop_oneof![Just("public:a"), Just("public:b"), Just("private"), Just("history:x"), Just("")];
    let key = vec(any::<u8>(), 0..8).prop_map(Bytes::from);
    let value = proptest::option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from));
    btree_map(names.prop_map(MapName::from_static), btree_map(key, value, 1..6), 0..5)
        .prop_map(|maps| maps.into_iter().collect())
}

static RECEIPT: LazyLock<(Service, Vec<u8>)> = LazyLock::new(|| {
    let mut service = Service::new(1);
    service.batch_with_claims(false);
    let receipt = service.receipt(3).to_cose().unwrap();
    (service, receipt)
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_and_tree_agree_with_a_plain_list_whatever_happens(operations in vec(operation(), 1..60)) {
        let mut model = Model::new();
        for operation in &operations {
            model.apply(operation);
            model.check();
        }
    }

    #[test]
    fn any_writes_survive_sealing_and_opening(transactions in vec(any_writes(), 0..4)) {
        let service = &RECEIPT.0;
        let mut tree = MerkleTree::import(Arc::new(MemoryDisk::new()), service.tree.frontier().clone()).unwrap();
        let mut sealer = service.sealer();
        transactions.iter().for_each(|writes| { sealer.add(writes, Digest([5; 32])).unwrap(); });
        let closing = coco_ledger::Closing {
            signer: &service.signer,
            issued_at: 0,
            committed: TxId::default(),
            node_certificate: None,
            new_view: false,
            chunk_ends: false,
        };
        let sealed = sealer.finish(&mut tree, &closing).unwrap();
        let opened = Batch::parse(&sealed.bytes).unwrap().open(&service.keys, service.primary.replica).unwrap();
        for (writes, (_, opened)) in transactions.iter().zip(&opened) {
            prop_assert_eq!(writes, opened);
        }
    }

    #[test]
    fn mangled_batches_never_panic_and_never_verify(bytes in mangled(HISTORY.1[1].bytes.clone())) {
        let service = &RECEIPT.0;
        if let Ok(batch) = Batch::parse(&bytes) {
            let key = AeadKey::new(&SymmetricKey::from_bytes([1; 32]));
            for entry in batch.entries() {
                let _ = entry.public_writes();
                prop_assert!(entry.open(&key).is_err());
            }
            let opened = batch.open(&service.keys, service.primary.replica);
            prop_assert!(opened.is_err() || bytes == HISTORY.1[1].bytes);
        }
        let _ = Entry::split_first(&bytes);
    }

    #[test]
    fn mangled_receipts_never_panic_and_never_verify(bytes in mangled(RECEIPT.1.clone())) {
        let key = RECEIPT.0.service_certificate.public_key();
        prop_assert!(verify_receipt(&bytes, key, None).is_err() || bytes == RECEIPT.1);
    }

    #[test]
    fn small_decoders_never_panic(bytes in vec(any::<u8>(), 0..300), text in "\\PC{0,40}") {
        let _ = Frontier::decode(&bytes);
        let _ = Claims::decode(&bytes);
        let _ = ChunkName::parse(&text);
        let _ = ChunkName::parse(&format!("ledger_{text}"));
        let mut writes = WriteSet::new();
        for map in [coco_ledger::tables::COSE_SIGNATURES, coco_ledger::tables::SIGNATURES, coco_ledger::tables::TREE] {
            writes.insert(&map, Bytes::from_static(&coco_ledger::tables::K0), Some(Bytes::from(bytes.clone())));
        }
        let _ = SignatureTransaction::from_writes(TxId::default(), &writes);
    }
}
