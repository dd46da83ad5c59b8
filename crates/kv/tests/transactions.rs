//! What one transaction promises: its own view, nesting, limits, and conflicts found when it read something that changed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use coco_kv::{Conflict, Error, ReadSet, Snapshot, Store, Tx};
use coco_types::{MapName, Seqno, WriteSet};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

const MAP: MapName = MapName::from_static("map");
const OTHER: MapName = MapName::from_static("public:other");
const HISTORY: MapName = MapName::from_static("history:blocks");

type Step = fn(&mut Tx);

/// Executes and applies one transaction.
fn apply(store: &Store, f: impl FnOnce(&mut Tx)) -> Seqno {
    let mut tx = store.begin();
    f(&mut tx);
    let version = store.newest().next();
    store.apply(version, &tx.into_parts().0).expect("the next version");
    version
}

fn put(tx: &mut Tx, key: &'static str, value: &'static str) {
    tx.put(&MAP, key, value);
}

fn committed(keys: &[&'static str]) -> Store {
    let store = Store::new();
    let version = apply(&store, |tx| keys.iter().for_each(|key| put(tx, key, "old")));
    store.commit(version);
    store
}

fn tracked(store: &Store, at: &Snapshot, f: impl FnOnce(&mut Tx)) -> ReadSet {
    let mut tx = store.begin_tracked(at);
    f(&mut tx);
    tx.into_parts().1
}

fn keys(records: impl Iterator<Item = (Bytes, Bytes)>) -> Vec<String> {
    records.map(|(key, _)| String::from_utf8(key.to_vec()).expect("keys here are text")).collect()
}

fn bounds<'a>(from: &'a str, to: &'a str) -> std::ops::Range<&'a [u8]> {
    from.as_bytes()..to.as_bytes()
}

#[test]
fn a_transaction_reads_its_own_writes_over_its_base() {
    let store = committed(&["a", "b", "c", "d"]);
    let mut tx = store.begin();
    put(&mut tx, "b", "new");
    put(&mut tx, "bb", "new");
    tx.remove(&MAP, "c");
    assert_eq!(tx.get(&MAP, b"b").as_deref(), Some(&b"new"[..]));
    assert_eq!(tx.get(&MAP, b"c"), None);
    assert_eq!(keys(tx.range(&MAP, ..)), ["a", "b", "bb", "d"]);
    assert_eq!(keys(tx.range(&MAP, bounds("b", "d"))), ["b", "bb"]);
    assert_eq!(keys(tx.prefix(&MAP, b"b")), ["b", "bb"]);
    assert_eq!(keys(tx.range(&MAP, bounds("d", "b"))), [""; 0]);
    assert_eq!(keys(store.newest_snapshot().iter(&MAP)), ["a", "b", "c", "d"], "nothing is written before apply");
}

#[test]
fn a_failed_nested_transaction_leaves_no_write() {
    let store = committed(&["a"]);
    let mut tx = store.begin();
    put(&mut tx, "kept", "1");
    let before = tx.writes().clone();
    let outcome: Result<(), &str> = tx.nested(|tx| {
        put(tx, "kept", "2");
        tx.remove(&MAP, "a");
        tx.put(&OTHER, "k", "v");
        tx.nested(|tx| {
            put(tx, "inner", "kept by its own transaction");
            Ok::<_, &str>(())
        })?;
        Err("rejected")
    });
    assert_eq!(outcome, Err("rejected"));
    assert_eq!(tx.writes(), &before);
    assert!(tx.writes().map(&OTHER).is_none(), "no empty map reaches the ledger");
    assert_eq!(tx.write_bytes(), tx.writes().bytes());
}

#[test]
fn a_failed_leg_does_not_undo_the_one_before_it() {
    let mut tx = committed(&[]).begin();
    let first: Result<u8, ()> = tx.nested(|tx| {
        put(tx, "k", "first");
        Ok(7)
    });
    let second: Result<(), ()> = tx.nested(|tx| {
        put(tx, "k", "second");
        Err(())
    });
    assert_eq!((first, second), (Ok(7), Err(())));
    assert_eq!(tx.get(&MAP, b"k").as_deref(), Some(&b"first"[..]));
}

#[test]
fn a_nested_transaction_that_panics_leaves_no_write() {
    let mut tx = committed(&[]).begin();
    put(&mut tx, "k", "before");
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        tx.nested(|tx| -> Result<(), ()> {
            put(tx, "k", "guest");
            panic!("a guest program failed");
        })
    }));
    assert!(unwound.is_err());
    assert_eq!(tx.get(&MAP, b"k").as_deref(), Some(&b"before"[..]));
}

#[test]
fn a_savepoint_can_be_gone_back_to_more_than_once() {
    let mut tx = committed(&["a"]).begin();
    put(&mut tx, "a", "1");
    let outer = tx.savepoint();
    put(&mut tx, "a", "2");
    let inner = tx.savepoint();
    for _ in 0..2 {
        put(&mut tx, "a", "3");
        put(&mut tx, "a", "4");
        put(&mut tx, "b", "3");
        tx.rollback_to(inner);
        assert_eq!(tx.get(&MAP, b"a").as_deref(), Some(&b"2"[..]));
        assert_eq!(tx.get(&MAP, b"b"), None);
    }
    tx.rollback_to(outer);
    assert_eq!(tx.get(&MAP, b"a").as_deref(), Some(&b"1"[..]));
    assert_eq!(tx.write_bytes(), tx.writes().bytes());
}

#[test]
fn history_records_are_in_the_write_set_but_never_in_the_store() {
    let store = committed(&[]);
    let mut tx = store.begin();
    tx.put(&HISTORY, "1", "block");
    assert_eq!(tx.get(&HISTORY, b"1").as_deref(), Some(&b"block"[..]));
    assert_eq!(keys(tx.range(&HISTORY, ..)), ["1"]);
    let (writes, _) = tx.into_parts();
    assert_eq!(writes.len(), 1);
    store.apply(store.newest().next(), &writes).expect("the next version");
    store.commit(store.newest());
    assert_eq!(store.snapshot().get(&HISTORY, b"1"), None);
    let restored = Store::restore(Seqno(9), [(HISTORY, Bytes::from_static(b"1"), Bytes::new())]);
    assert!(restored.is_empty());
}

#[test]
fn versions_are_applied_in_order_or_not_at_all() {
    let store = committed(&["a"]);
    let mut writes = WriteSet::new();
    writes.insert(&MAP, Bytes::from_static(b"x"), Some(Bytes::new()));
    for given in [0, 1, 3] {
        let given = Seqno(given);
        assert_eq!(store.apply(given, &writes), Err(Error::OutOfOrder { expected: Seqno(2), given }));
    }
    assert_eq!(store.newest_snapshot().get(&MAP, b"x"), None);
    assert_eq!(store.newest(), Seqno(1));
}

#[test]
#[should_panic(expected = "version 2 is committed but only 1 applied")]
fn committing_what_was_never_applied_is_a_broken_invariant() {
    committed(&["a"]).commit(Seqno(2));
}

#[test]
fn uncommitted_versions_are_seen_by_the_primary_only_and_can_be_dropped() {
    let store = committed(&["a"]);
    apply(&store, |tx| put(tx, "a", "new"));
    apply(&store, |tx| {
        tx.remove(&MAP, "a");
        put(tx, "b", "new");
    });
    assert_eq!(store.snapshot().get(&MAP, b"a").as_deref(), Some(&b"old"[..]));
    assert_eq!(keys(store.begin().range(&MAP, ..)), ["b"]);
    assert_eq!(store.rollback(), Seqno(1));
    assert_eq!(keys(store.begin().range(&MAP, ..)), ["a"]);
    assert_eq!((store.len(), store.older_versions()), (1, 0));
    assert_eq!(store.begin().written_at(&MAP, b"a"), Some(Seqno(1)));
}

#[test]
fn a_change_of_anything_read_is_a_conflict() {
    let read: [(&str, Step); 5] = [
        ("a value", |tx| drop(tx.get(&MAP, b"b"))),
        ("an absent key", |tx| drop(tx.get(&MAP, b"bb"))),
        ("a range", |tx| assert_eq!(tx.range(&MAP, bounds("b", "c")).count(), 1)),
        ("a prefix", |tx| drop(tx.prefix(&MAP, b"b").next())),
        ("a version", |tx| assert_eq!(tx.written_at(&MAP, b"b"), Some(Seqno(1)))),
    ];
    for (what, read) in read {
        let store = committed(&["a", "b", "c"]);
        let reads = tracked(&store, &store.snapshot(), read);
        apply(&store, |tx| put(tx, "a", "outside"));
        apply(&store, |tx| tx.put(&OTHER, "b", "outside"));
        assert_eq!(store.validate(&reads), Ok(()), "{what}");
        apply(&store, |tx| if what == "an absent key" { put(tx, "bb", "new") } else { put(tx, "b", "new") });
        let changed = Conflict::Changed { map: MAP, base: Seqno(1) };
        assert_eq!(store.validate(&reads), Err(changed), "{what}");
    }
}

#[test]
fn a_key_that_appears_in_or_leaves_a_scanned_range_is_a_conflict_beyond_it_is_not() {
    let store = committed(&["a", "b", "c", "d"]);
    let first_two = |tx: &mut Tx| assert_eq!(tx.range(&MAP, ..).take(2).count(), 2);
    let write: [(Step, bool); 4] = [
        (|tx| put(tx, "aa", "new"), true),
        (|tx| tx.remove(&MAP, "a"), true),
        (|tx| put(tx, "bb", "new"), false),
        (|tx| tx.remove(&MAP, "c"), false),
    ];
    for (write, conflicts) in write {
        let reads = tracked(&store, &store.snapshot(), first_two);
        let version = apply(&store, write);
        assert_eq!(store.validate(&reads).is_err(), conflicts, "version {version}");
        store.rollback();
    }
}

#[test]
fn a_committed_removal_is_noticed_as_long_as_somebody_may_have_read_the_key() {
    let store = committed(&["a"]);
    let reads = tracked(&store, &store.snapshot(), |tx| drop(tx.get(&MAP, b"a")));
    let removed = apply(&store, |tx| tx.remove(&MAP, "a"));
    store.commit(removed);
    assert!(store.validate(&reads).is_err());
    drop(reads);
    store.commit(removed);
    assert_eq!((store.len(), store.older_versions()), (0, 0));
    assert_eq!(store.snapshot().maps(), []);
}

#[test]
fn reads_of_a_failed_nested_transaction_still_count() {
    let store = committed(&["a"]);
    let reads = tracked(&store, &store.snapshot(), |tx| {
        let _ = tx.nested(|tx| if tx.get(&MAP, b"a").is_some() { Err(()) } else { Ok(()) });
    });
    apply(&store, |tx| tx.remove(&MAP, "a"));
    assert!(store.validate(&reads).is_err());
}

#[test]
fn reads_on_a_version_that_was_rolled_back_or_of_another_store_never_hold() {
    let store = committed(&["a"]);
    apply(&store, |tx| put(tx, "a", "uncommitted"));
    let reads = tracked(&store, &store.newest_snapshot(), |tx| drop(tx.get(&MAP, b"a")));
    let settled = tracked(&store, &store.snapshot(), |tx| drop(tx.get(&MAP, b"a")));
    store.rollback();
    assert_eq!(store.validate(&settled), Ok(()), "a committed version is never rolled back");
    apply(&store, |tx| put(tx, "b", "another version 2"));
    assert_eq!(store.validate(&reads), Err(Conflict::RolledBack { base: Seqno(2) }));
    assert_eq!(committed(&["a"]).validate(&settled), Err(Conflict::RolledBack { base: Seqno(1) }));
}

#[test]
fn reads_that_were_not_tracked_hold_only_at_their_own_version() {
    let store = committed(&["a"]);
    let (_, reads) = store.begin().into_parts();
    assert_eq!(store.validate(&reads), Ok(()));
    apply(&store, |tx| put(tx, "b", "new"));
    assert_eq!(store.validate(&reads), Err(Conflict::Untracked { base: Seqno(1) }));
}

#[test]
fn a_long_lived_snapshot_costs_one_version_of_each_key_it_sees() {
    let store = committed(&["hot", "cold"]);
    let old = store.snapshot();
    for _ in 0..500 {
        let version = apply(&store, |tx| put(tx, "hot", "new"));
        store.commit(version);
    }
    assert_eq!(store.older_versions(), 1);
    assert_eq!(old.get(&MAP, b"hot").as_deref(), Some(&b"old"[..]));
    let middle = store.snapshot();
    store.commit(apply(&store, |tx| put(tx, "hot", "newer")));
    drop(old);
    store.commit(store.newest());
    assert_eq!(store.older_versions(), 1, "the version of the other snapshot stays");
    assert_eq!(middle.get(&MAP, b"hot").as_deref(), Some(&b"new"[..]));
    drop(middle);
    store.commit(store.newest());
    assert_eq!(store.older_versions(), 0);
}

#[test]
fn letting_an_old_snapshot_go_is_spread_over_many_commits() {
    let store = Store::new();
    let all = |tx: &mut Tx| (0..20_000u32).for_each(|n| tx.put(&MAP, n.to_be_bytes().to_vec(), "value"));
    store.commit(apply(&store, all));
    let old = store.snapshot();
    store.commit(apply(&store, all));
    assert_eq!(store.older_versions(), 20_000);
    drop(old);
    let mut commits = 0;
    while store.older_versions() > 0 {
        let before = store.older_versions();
        store.commit(store.newest());
        assert!((1..10_000).contains(&(before - store.older_versions())));
        commits += 1;
    }
    assert!(commits > 2);
}

#[test]
fn the_store_does_not_keep_the_buffer_that_a_write_came_from() {
    struct Buffer(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let buffer = Arc::new(vec![7; 4096]);
    let watch: Weak<Vec<u8>> = Arc::downgrade(&buffer);
    let received = Bytes::from_owner(Buffer(buffer));
    let store = Store::new();
    apply(&store, |tx| tx.put(&MAP, received.slice(..8), received.slice(8..2048)));
    drop(received);
    assert!(watch.upgrade().is_none());
    assert_eq!(store.newest_snapshot().get(&MAP, &[7; 8]).map(|value| value.len()), Some(2040));
}

#[test]
fn removing_from_a_map_that_is_not_there_does_not_make_it() {
    let store = committed(&["a"]);
    apply(&store, |tx| tx.remove(&OTHER, "k"));
    assert_eq!(store.key_counts(), [(MAP, 1)]);
}

#[test]
fn counts_are_told_by_map() {
    let store = committed(&["a", "b"]);
    apply(&store, |tx| {
        tx.remove(&MAP, "a");
        tx.put(&OTHER, "k", "v");
    });
    assert_eq!(store.key_counts(), [(MAP, 1), (OTHER, 1)]);
    assert_eq!(store.len(), 2);
    assert!(store.memory_bytes() > 0);
}

proptest! {
    #[test]
    fn following_a_run_in_one_piece_ends_where_applying_it_one_by_one_does(
        before in vec((0u8..6, option::of(any::<u8>())), 0..8),
        run in vec(vec((0u8..6, option::of(any::<u8>())), 0..4), 1..8),
        keep in any::<bool>(),
    ) {
        let write_set = |writes: &[(u8, Option<u8>)]| {
            let mut set = WriteSet::new();
            for (key, value) in writes {
                set.insert(&MAP, vec![*key].into(), value.map(|value| vec![value].into()));
            }
            set
        };
        let (one_by_one, in_one_piece) = (Store::new(), Store::new());
        for store in [&one_by_one, &in_one_piece] {
            store.apply(Seqno(1), &write_set(&before)).unwrap();
            store.commit(Seqno(1));
        }
        let snapshots = keep.then(|| (one_by_one.snapshot(), in_one_piece.snapshot()));
        let sets: Vec<_> = run.iter().map(|writes| write_set(writes)).collect();
        let run: Vec<_> = (2..).map(Seqno).zip(&sets).collect();
        for (version, writes) in &run {
            one_by_one.apply(*version, writes).unwrap();
        }
        one_by_one.commit(one_by_one.newest());
        in_one_piece.follow(&run).unwrap();
        let seen = |store: &Store| {
            let snapshot = store.snapshot();
            let rows: Vec<_> = snapshot.iter(&MAP).map(|(key, value)| (snapshot.written_at(&MAP, &key), key, value)).collect();
            (store.newest(), store.committed(), store.len(), store.older_versions(), rows)
        };
        prop_assert_eq!(seen(&one_by_one), seen(&in_one_piece));
        if let Some((one, other)) = snapshots {
            prop_assert!(one.iter(&MAP).eq(other.iter(&MAP)));
        }
        one_by_one.rollback();
        in_one_piece.rollback();
        prop_assert_eq!(seen(&one_by_one), seen(&in_one_piece));
    }
}

#[test]
fn only_the_next_versions_can_be_followed_and_only_when_nothing_is_uncommitted() {
    let store = committed(&["a"]);
    let nothing = WriteSet::new();
    let out_of_order = |expected, given| Err(Error::OutOfOrder { expected: Seqno(expected), given: Seqno(given) });
    assert_eq!(store.follow(&[(Seqno(3), &nothing)]), out_of_order(2, 3));
    assert_eq!(store.follow(&[(Seqno(2), &nothing), (Seqno(4), &nothing)]), out_of_order(3, 4));
    apply(&store, |tx| put(tx, "a", "new"));
    assert_eq!(store.follow(&[(Seqno(2), &nothing)]), out_of_order(2, 2));
    assert_eq!(store.follow(&[]), Ok(()));
}
