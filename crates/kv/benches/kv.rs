//! The store beside `imbl::OrdMap` and `BTreeMap`: `cargo bench -p coco-kv`.
//!
//! One million keys of 32 bytes to values of 100. Each contestant runs in a process of its own, so that its memory is what that
//! process has resident beyond the keys that all of them are given. The budget (DESIGN: state in memory): 1.5 us a write in
//! batches of 1,000 while a snapshot is kept, 1 us a read at a snapshot, three times the data in memory.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coco_kv::{Snapshot, Store};
use coco_types::{MapName, Seqno, WriteSet};

/// The one that the `coco` binary uses; all contestants have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 1_000_000;
const KEY_BYTES: usize = 32;
const VALUE_BYTES: usize = 100;
const BATCH: usize = 1_000;
const UPDATES: usize = 1_000_000;
const READS: usize = 1_000_000;
const TRANSACTION: usize = 8;

const MAP: MapName = MapName::from_static("bench.map-17");

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    match arguments.next().as_deref() {
        Some("kv") => contest(Kv::new()),
        Some("imbl") => contest(Imbl::default()),
        Some("btree") => contest(Plain::default()),
        Some("others") => others(),
        _ => {
            println!(
                "{:<22} {:>12} {:>12} {:>12} {:>14} {:>12} {:>12}",
                "", "insert ns", "update ns", "get ns", "absent get ns", "scan ns/key", "memory/data"
            );
            for contestant in ["kv", "imbl", "btree", "others"] {
                let binary = std::env::current_exe().expect("a running program has a path");
                let status = Command::new(binary).arg(contestant).status().expect("it starts again");
                assert!(status.success(), "{contestant} failed");
            }
        }
    }
}

trait Contestant {
    const NAME: &'static str;
    /// Writes one batch, and keeps a snapshot of it in place of the last one.
    fn write(&mut self, batch: &[(Bytes, Bytes)]);
    fn get(&self, key: &[u8]) -> Option<Bytes>;
    fn scan(&self) -> usize;
}

struct Kv {
    store: Store,
    kept: Snapshot,
}

impl Kv {
    fn new() -> Self {
        let store = Store::new();
        let mut tx = store.begin();
        for other in 0..40 {
            tx.put(&MapName::new(format!("bench.map-{other:02}-other")), &b"key"[..], &b"value"[..]);
        }
        store.apply(store.newest().next(), &tx.into_parts().0).expect("in order");
        let kept = store.snapshot();
        Self { store, kept }
    }
}

impl Contestant for Kv {
    const NAME: &'static str = "coco-kv";

    fn write(&mut self, batch: &[(Bytes, Bytes)]) {
        let mut tx = self.store.begin();
        for (key, value) in batch {
            tx.put(&MAP, key.clone(), value.clone());
        }
        let (writes, _) = tx.into_parts();
        let version = self.store.newest().next();
        self.store.apply(version, &writes).expect("in order");
        self.store.commit(version);
        self.kept = self.store.snapshot();
    }

    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.kept.get(&MAP, key)
    }

    fn scan(&self) -> usize {
        self.kept.iter(&MAP).map(|(key, value)| key.len() + value.len()).sum()
    }
}

#[derive(Default)]
struct Imbl {
    map: imbl::OrdMap<Bytes, Bytes>,
    kept: imbl::OrdMap<Bytes, Bytes>,
}

impl Contestant for Imbl {
    const NAME: &'static str = "imbl::OrdMap";

    fn write(&mut self, batch: &[(Bytes, Bytes)]) {
        for (key, value) in batch {
            self.map.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        }
        self.kept = self.map.clone();
    }

    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.kept.get(key).cloned()
    }

    fn scan(&self) -> usize {
        self.kept.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

/// No snapshots at all: the floor.
#[derive(Default)]
struct Plain(BTreeMap<Bytes, Bytes>);

impl Contestant for Plain {
    const NAME: &'static str = "BTreeMap, no snapshot";

    fn write(&mut self, batch: &[(Bytes, Bytes)]) {
        for (key, value) in batch {
            self.0.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        }
    }

    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key).cloned()
    }

    fn scan(&self) -> usize {
        self.0.iter().map(|(key, value)| key.len() + value.len()).sum()
    }
}

fn contest<C: Contestant>(mut contestant: C) {
    let keys = Keys::new();
    let before = resident_bytes();
    let insert = nanoseconds(KEYS, || {
        for batch in 0..KEYS / BATCH {
            contestant.write(&keys.batch(|n| batch * BATCH + n));
        }
    });
    let memory = resident_bytes().saturating_sub(before) as f64 / (KEYS * (KEY_BYTES + VALUE_BYTES)) as f64;
    let mut random = Random(7);
    let update = nanoseconds(UPDATES, || {
        for _ in 0..UPDATES / BATCH {
            contestant.write(&keys.batch(|_| random.below(KEYS)));
        }
    });
    let get = nanoseconds(READS, || {
        for _ in 0..READS {
            assert!(black_box(contestant.get(keys.key(random.below(KEYS)))).is_some());
        }
    });
    let absent = nanoseconds(READS, || {
        for _ in 0..READS {
            assert!(black_box(contestant.get(&random.key())).is_none());
        }
    });
    let scan = nanoseconds(KEYS, || assert_eq!(contestant.scan(), KEYS * (KEY_BYTES + VALUE_BYTES)));
    println!("{:<22} {insert:>12.0} {update:>12.0} {get:>12.0} {absent:>14.0} {scan:>12.0} {memory:>12.2}", C::NAME);
}

/// What only the store does.
fn others() {
    let keys = Keys::new();
    let mut kv = Kv::new();
    for batch in 0..KEYS / BATCH {
        kv.write(&keys.batch(|n| batch * BATCH + n));
    }
    let told = kv.store.memory_bytes() as f64 / (KEYS * (KEY_BYTES + VALUE_BYTES)) as f64;
    println!("\nmemory_bytes() tells {told:.2} times the data");
    let mut random = Random(11);
    let small = small_transactions(&kv.store, &keys, &mut random);
    println!("transaction of {TRANSACTION} gets and {TRANSACTION} puts, committed by 200: {small:.0} ns");

    let (alone, together) = (followed(&keys, one_by_one), followed(&keys, in_one_piece));
    println!("somebody else's transfer: {alone:.0} ns by itself, {together:.0} ns as one of {BATCH}");

    let old = kv.store.snapshot();
    let with_old = small_transactions(&kv.store, &keys, &mut random);
    println!("the same beside a long-lived snapshot:                {with_old:.0} ns");
    let kept = kv.store.older_versions();
    drop(old);
    let start = processor_time();
    let mut commits = 0;
    while kv.store.older_versions() > 0 {
        kv.kept = kv.store.snapshot();
        kv.store.commit(kv.store.newest());
        commits += 1;
    }
    println!(
        "letting {kept} versions go after it: {commits} commits of {:?}",
        (processor_time() - start) / commits.max(1)
    );
}

/// What others have executed: batches of transfers between two hundred accounts, each of which writes a sender, a recipient and the fee's.
/// Nanoseconds a transfer.
fn followed(keys: &Keys, follow: impl Fn(&Store, &[(Seqno, &WriteSet)])) -> f64 {
    const BATCHES: usize = 200;
    let store = Store::new();
    let mut random = Random(5);
    let transfer = |random: &mut Random| {
        let mut writes = WriteSet::new();
        for at in [random.below(100), 100 + random.below(100), 200] {
            writes.insert(&MAP, keys.shared(at), Some(keys.value()));
        }
        writes
    };
    let batches: Vec<Vec<WriteSet>> =
        (0..BATCHES).map(|_| (0..BATCH).map(|_| transfer(&mut random)).collect()).collect();
    nanoseconds(BATCHES * BATCH, || {
        for batch in &batches {
            let first = store.newest().next().0;
            let run: Vec<_> = (first..).map(Seqno).zip(batch).collect();
            follow(&store, &run);
        }
    })
}

fn one_by_one(store: &Store, run: &[(Seqno, &WriteSet)]) {
    for (version, writes) in run {
        store.apply(*version, writes).expect("in order");
    }
    store.commit(store.newest());
}

fn in_one_piece(store: &Store, run: &[(Seqno, &WriteSet)]) {
    store.follow(run).expect("in order");
}

/// Nanoseconds a transaction.
fn small_transactions(store: &Store, keys: &Keys, random: &mut Random) -> f64 {
    let count = UPDATES / TRANSACTION;
    nanoseconds(count, || {
        let mut kept = store.snapshot();
        for number in 0..count {
            let mut tx = store.begin();
            for _ in 0..TRANSACTION {
                let key = keys.shared(random.below(KEYS));
                black_box(tx.get(&MAP, &key));
                tx.put(&MAP, key, keys.value());
            }
            let (writes, _) = tx.into_parts();
            let version = store.newest().next();
            store.apply(version, &writes).expect("in order");
            if number % 200 == 199 {
                store.commit(version);
                kept = store.snapshot();
            }
        }
        store.commit(store.newest());
        drop(kept);
    })
}

/// The keys, in one buffer, as they would come from the network.
struct Keys {
    all: Bytes,
    value: Bytes,
}

impl Keys {
    fn new() -> Self {
        let mut random = Random(3);
        let all = (0..KEYS).flat_map(|_| random.key()).collect::<Vec<u8>>();
        Self { all: Bytes::from(all), value: Bytes::from(vec![0x5a; VALUE_BYTES]) }
    }

    fn key(&self, at: usize) -> &[u8] {
        &self.all[at * KEY_BYTES..(at + 1) * KEY_BYTES]
    }

    fn shared(&self, at: usize) -> Bytes {
        self.all.slice(at * KEY_BYTES..(at + 1) * KEY_BYTES)
    }

    fn value(&self) -> Bytes {
        self.value.clone()
    }

    fn batch(&self, mut at: impl FnMut(usize) -> usize) -> Vec<(Bytes, Bytes)> {
        (0..BATCH).map(|n| (self.shared(at(n)), self.value())).collect()
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn key(&mut self) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        for part in key.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_be_bytes());
        }
        key
    }
}

fn nanoseconds(operations: usize, run: impl FnOnce()) -> f64 {
    let start = processor_time();
    run();
    (processor_time() - start).as_nanos() as f64 / operations as f64
}

/// Time on a processor, so that other programs on the machine count as little as possible; wall time where it is not told.
fn processor_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let elapsed = START.elapsed();
    let scheduled = std::fs::read_to_string("/proc/self/schedstat").ok();
    let on_processor = scheduled.and_then(|text| text.split_whitespace().next()?.parse().ok());
    on_processor.map_or(elapsed, Duration::from_nanos)
}

/// Linux only; elsewhere the memory column reads 0.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<usize>().ok());
    resident.unwrap_or(0) * 4096
}
