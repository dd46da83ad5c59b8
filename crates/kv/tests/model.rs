//! Random histories of the store against a model that keeps every version as a whole map.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use coco_kv::{Conflict, ReadSet, Snapshot, Store, Tx};
use coco_types::{MapName, Seqno};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

const MAPS: [MapName; 2] = [MapName::from_static("private"), MapName::from_static("public:open")];

type State = BTreeMap<(usize, Vec<u8>), Vec<u8>>;
type Read = (Bound<Vec<u8>>, Bound<Vec<u8>>);

#[derive(Clone, Debug)]
enum Write {
    Put(usize, Vec<u8>, Vec<u8>),
    Remove(usize, Vec<u8>),
    /// Nested; kept or failed.
    Nested(Vec<Write>, bool),
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<Write>),
    /// Commits this share (of 255) of the uncommitted versions.
    Commit(u8),
    Rollback,
    TakeSnapshot {
        newest: bool,
    },
    DropSnapshot(usize),
    Get(usize, usize, Vec<u8>),
    Range(usize, usize, Read),
    Prefix(usize, usize, Vec<u8>),
    /// Starts a tracked transaction on a snapshot, reading these.
    Track(usize, Vec<(usize, Vec<u8>)>, Vec<(usize, Read, usize)>),
    /// Validates a tracked transaction.
    Validate(usize),
}

/// The store as it ought to be.
struct Model {
    /// By version, 0 first.
    versions: Vec<State>,
    committed: usize,
    rollbacks: usize,
}

struct Taken {
    snapshot: Snapshot,
    state: State,
    uncommitted_since: Option<usize>,
}

struct Tracked {
    reads: ReadSet,
    base: usize,
    uncommitted_since: Option<usize>,
    /// Everything read, as a question about a state and the versions of what it holds.
    points: Vec<(usize, Vec<u8>)>,
    scans: Vec<(usize, Vec<u8>, Bound<Vec<u8>>)>,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Few enough to meet often, with shared prefixes, zero bytes and 255s, and enough to split leaves.
    prop_oneof![
        3 => vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..5),
        1 => (0u8..4).prop_map(|n| [b"a-long-shared-prefix".to_vec(), vec![n]].concat()),
        2 => any::<u8>().prop_map(|n| vec![7, n]),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let leaf = prop_oneof![
        3 => (0..2usize, key(), vec(any::<u8>(), 0..4)).prop_map(|(map, key, value)| Write::Put(map, key, value)),
        2 => (0..2usize, key()).prop_map(|(map, key)| Write::Remove(map, key)),
    ];
    leaf.prop_recursive(2, 12, 6, |inner| {
        (vec(inner, 0..6), any::<bool>()).prop_map(|(writes, kept)| Write::Nested(writes, kept))
    })
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)]
}

fn step() -> impl Strategy<Value = Step> {
    let map = || 0..2usize;
    let pick = || any::<usize>();
    prop_oneof![
        8 => vec(write(), 0..24).prop_map(Step::Apply),
        4 => any::<u8>().prop_map(Step::Commit),
        1 => Just(Step::Rollback),
        3 => any::<bool>().prop_map(|newest| Step::TakeSnapshot { newest }),
        3 => pick().prop_map(Step::DropSnapshot),
        3 => (pick(), map(), key()).prop_map(|(at, map, key)| Step::Get(at, map, key)),
        3 => (pick(), map(), (bound(), bound())).prop_map(|(at, map, range)| Step::Range(at, map, range)),
        2 => (pick(), map(), key()).prop_map(|(at, map, prefix)| Step::Prefix(at, map, prefix)),
        3 => (pick(), vec((map(), key()), 0..3), vec((map(), (bound(), bound()), 0..6usize), 0..2))
            .prop_map(|(at, points, scans)| Step::Track(at, points, scans)),
        4 => pick().prop_map(Step::Validate),
    ]
}

fn write_into(state: &mut State, tx: &mut Tx, writes: &[Write]) {
    for write in writes {
        match write {
            Write::Put(map, key, value) => {
                state.insert((*map, key.clone()), value.clone());
                tx.put(&MAPS[*map], key.clone(), value.clone());
            }
            Write::Remove(map, key) => {
                state.remove(&(*map, key.clone()));
                tx.remove(&MAPS[*map], key);
            }
            Write::Nested(writes, kept) => {
                let before = state.clone();
                let outcome = tx.nested(|tx| {
                    write_into(state, tx, writes);
                    if *kept { Ok(()) } else { Err(()) }
                });
                assert_eq!(outcome.is_ok(), *kept);
                if !kept {
                    *state = before;
                }
            }
        }
    }
}

fn in_range(state: &State, map: usize, range: &Read) -> Vec<(Bytes, Bytes)> {
    use std::ops::RangeBounds;
    let of_map = state.iter().filter(|((of, key), _)| *of == map && range.contains(key));
    of_map.map(|((_, key), value)| (Bytes::from(key.clone()), Bytes::from(value.clone()))).collect()
}

fn borrowed(range: &Read) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (range.0.as_ref().map(Vec::as_slice), range.1.as_ref().map(Vec::as_slice))
}

fn prefixed(state: &State, map: usize, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
    let everything = in_range(state, map, &(Bound::Unbounded, Bound::Unbounded));
    everything.into_iter().filter(|(key, _)| key.starts_with(prefix)).collect()
}

/// A store, its model, and what is held of both.
struct World {
    store: Store,
    model: Model,
    snapshots: Vec<Taken>,
    tracked: Vec<Tracked>,
}

impl World {
    fn new() -> Self {
        let model = Model { versions: vec![State::new()], committed: 0, rollbacks: 0 };
        Self { store: Store::new(), model, snapshots: Vec::new(), tracked: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Apply(writes) => self.apply(writes),
            Step::Commit(share) => {
                let newest = self.model.versions.len() - 1;
                self.model.committed += (newest - self.model.committed) * usize::from(*share) / 255;
                self.store.commit(Seqno(self.model.committed as u64));
            }
            Step::Rollback => {
                self.model.versions.truncate(self.model.committed + 1);
                self.model.rollbacks += 1;
                assert_eq!(self.store.rollback(), Seqno(self.model.committed as u64));
            }
            Step::TakeSnapshot { newest } => self.take_snapshot(*newest),
            Step::DropSnapshot(at) => {
                if !self.snapshots.is_empty() {
                    self.snapshots.swap_remove(at % self.snapshots.len());
                }
            }
            Step::Get(at, map, key) => {
                let Some(taken) = self.readable(*at) else { return };
                let expected = taken.state.get(&(*map, key.clone())).map(Vec::as_slice);
                assert_eq!(taken.snapshot.get(&MAPS[*map], key).as_deref(), expected);
            }
            Step::Range(at, map, range) => {
                let Some(taken) = self.readable(*at) else { return };
                let found: Vec<_> = taken.snapshot.range(&MAPS[*map], borrowed(range)).collect();
                let expected = in_range(&taken.state, *map, range);
                assert_eq!(found, expected);
                assert!(taken.snapshot.range_back(&MAPS[*map], borrowed(range)).eq(expected.into_iter().rev()));
            }
            Step::Prefix(at, map, prefix) => {
                let Some(taken) = self.readable(*at) else { return };
                let found: Vec<_> = taken.snapshot.prefix(&MAPS[*map], prefix).collect();
                assert_eq!(found, prefixed(&taken.state, *map, prefix));
            }
            Step::Track(at, points, scans) => self.track(*at, points, scans),
            Step::Validate(at) => self.validate(*at),
        }
        assert_eq!(self.store.newest(), Seqno(self.model.versions.len() as u64 - 1));
        assert_eq!(self.store.committed(), Seqno(self.model.committed as u64));
        assert_eq!(self.store.len(), self.model.versions.last().unwrap().len());
    }

    fn apply(&mut self, writes: &[Write]) {
        let mut tx = self.store.begin();
        let mut state = self.model.versions.last().unwrap().clone();
        write_into(&mut state, &mut tx, writes);
        for (map, name) in MAPS.iter().enumerate() {
            let all = in_range(&state, map, &(Bound::Unbounded, Bound::Unbounded));
            assert!(tx.range(name, ..).eq(all.iter().cloned()));
            for (key, value) in all {
                assert_eq!(tx.get(name, &key), Some(value));
            }
        }
        assert_eq!(tx.write_bytes(), tx.writes().bytes());
        assert!(tx.writes().iter().all(|(_, writes)| !writes.is_empty()));
        let (writes, reads) = tx.into_parts();
        assert_eq!(self.store.validate(&reads), Ok(()));
        self.store.apply(self.store.newest().next(), &writes).unwrap();
        self.model.versions.push(state);
    }

    fn take_snapshot(&mut self, newest: bool) {
        let snapshot = if newest { self.store.newest_snapshot() } else { self.store.snapshot() };
        let version = snapshot.version().0 as usize;
        assert_eq!(version, if newest { self.model.versions.len() - 1 } else { self.model.committed });
        let uncommitted_since = (version > self.model.committed).then_some(self.model.rollbacks);
        self.snapshots.push(Taken { snapshot, state: self.model.versions[version].clone(), uncommitted_since });
    }

    /// A snapshot that no rollback has made meaningless.
    fn readable(&self, at: usize) -> Option<&Taken> {
        let taken = self.snapshots.get(at.checked_rem(self.snapshots.len())?)?;
        taken.uncommitted_since.is_none_or(|then| then == self.model.rollbacks).then_some(taken)
    }

    fn track(&mut self, at: usize, points: &[(usize, Vec<u8>)], scans: &[(usize, Read, usize)]) {
        let Some(taken) = self.readable(at) else { return };
        let mut tx = self.store.begin_tracked(&taken.snapshot);
        for (map, key) in points {
            let expected = taken.state.get(&(*map, key.clone())).map(Vec::as_slice);
            assert_eq!(tx.get(&MAPS[*map], key).as_deref(), expected);
        }
        let mut scanned = Vec::new();
        for (map, range, limit) in scans {
            let mut expected = in_range(&taken.state, *map, range);
            let stopped = expected.len() >= *limit;
            expected.truncate(*limit);
            let found: Vec<_> = tx.range(&MAPS[*map], borrowed(range)).take(*limit).collect();
            assert_eq!(found, expected);
            let start = match &range.0 {
                Bound::Included(key) => key.clone(),
                Bound::Excluded(key) => [key.as_slice(), &[0]].concat(),
                Bound::Unbounded => Vec::new(),
            };
            let end = match expected.last() {
                Some((last, _)) if stopped => Bound::Included(last.to_vec()),
                None if stopped => Bound::Excluded(start.clone()),
                _ => range.1.clone(),
            };
            scanned.push((*map, start, end));
        }
        let (_, reads) = tx.into_parts();
        let (base, uncommitted_since) = (taken.snapshot.version().0 as usize, taken.uncommitted_since);
        self.tracked.push(Tracked { reads, base, uncommitted_since, points: points.to_vec(), scans: scanned });
    }

    fn validate(&mut self, at: usize) {
        let Some(at) = at.checked_rem(self.tracked.len()) else { return };
        let tracked = self.tracked.swap_remove(at);
        let outcome = self.store.validate(&tracked.reads);
        if tracked.uncommitted_since.is_some_and(|then| then != self.model.rollbacks) {
            assert!(matches!(outcome, Err(Conflict::RolledBack { .. })));
            return;
        }
        let view = |state: &State| -> Vec<_> {
            let points = tracked.points.iter().map(|(map, key)| {
                let value = state.get(&(*map, key.clone())).cloned();
                vec![(Bytes::from(key.clone()), Bytes::from(value.map_or(vec![0], |value| [vec![1], value].concat())))]
            });
            let scans = tracked
                .scans
                .iter()
                .map(|(map, start, end)| in_range(state, *map, &(Bound::Included(start.clone()), end.clone())));
            points.chain(scans).collect()
        };
        let since = &self.model.versions[tracked.base..];
        let untouched = since.iter().all(|state| view(state) == view(&since[0]));
        if outcome.is_ok() {
            assert_eq!(view(since.last().unwrap()), view(&since[0]), "a conflict was missed");
        } else {
            // A write of the same value, or of a key that is gone again, may count as a change; nothing else.
            assert!(!untouched || self.rewritten(&tracked), "a conflict was invented");
        }
    }

    /// Whether a version since the base wrote, without a visible change, within what was read. The model does not know
    /// versions of keys, so it asks the store.
    fn rewritten(&self, tracked: &Tracked) -> bool {
        let newest = self.store.newest_snapshot();
        let newer = |map: usize, key: &[u8]| {
            newest.written_at(&MAPS[map], key).is_some_and(|version| version.0 as usize > tracked.base)
        };
        let state = self.model.versions.last().unwrap();
        tracked.points.iter().any(|(map, key)| newer(*map, key))
            || tracked.scans.iter().any(|(map, start, end)| {
                let found = in_range(state, *map, &(Bound::Included(start.clone()), end.clone()));
                found.iter().any(|(key, _)| newer(*map, key))
            })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_reads_as_in_the_model_and_leaves_no_garbage(steps in vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.snapshots.clear();
        world.tracked.clear();
        world.store.commit(world.store.newest());
        assert_eq!(world.store.older_versions(), 0);
        assert_eq!(world.store.live_snapshots(), 0);
        let state = world.model.versions.last().unwrap();
        let snapshot = world.store.snapshot();
        let names: Vec<_> = (0..2).filter(|map| state.keys().any(|(of, _)| of == map)).map(|map| MAPS[map].clone()).collect();
        assert_eq!(snapshot.maps(), names);
        let records = names.iter().flat_map(|name| snapshot.iter(name).map(|(key, value)| (name.clone(), key, value)));
        let restored = Store::restore(snapshot.version(), records);
        for (map, name) in MAPS.iter().enumerate() {
            let all = in_range(state, map, &(Bound::Unbounded, Bound::Unbounded));
            assert!(snapshot.iter(name).eq(all.iter().cloned()));
            assert!(restored.snapshot().iter(name).eq(all.iter().cloned()));
        }
        assert_eq!(world.store.memory_bytes(), restored.memory_bytes());
    }
}
