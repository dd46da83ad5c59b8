//! The store: versions applied, committed, rolled back.
//!
//! Locks, in the order in which they may be taken: `pruner`, `writer`, `state`, one map's index. `state` is held for a few
//! instructions only. Pruning runs outside `writer`, so that committing a large batch does not stop the executor.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use coco_types::{MapName, Retention, Seqno, WriteSet};
use parking_lot::Mutex;

use crate::entry::Entry;
use crate::error::{Conflict, Error};
use crate::index::{Index, KEYS_PER_LOCK, Size};
use crate::interval::Interval;
use crate::map::{Map, Maps};
use crate::prune::{Pruner, Touched};
use crate::read_set::{MapReads, ReadSet, Scanned};
use crate::snapshot::{Pin, Snapshot};
use crate::tx::Tx;

/// All maps at every version that somebody can still see. A cheap handle: clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    writer: Mutex<Writer>,
    pruner: Mutex<Pruner>,
}

#[derive(Default)]
struct State {
    newest: Seqno,
    committed: Seqno,
    rollbacks: u64,
    maps: Arc<Maps>,
    /// How many pins each version has.
    live: BTreeMap<Seqno, usize>,
}

#[derive(Default)]
struct Writer {
    /// What the versions above the committed one wrote, ascending by version.
    uncommitted: VecDeque<Touched>,
}

impl Store {
    pub fn new() -> Self {
        Self { shared: Arc::default() }
    }

    /// A store at the committed version `version`, as a ledger snapshot describes it. Records may come in any order; the last
    /// of a key wins. `history:` maps are skipped.
    pub fn restore(version: Seqno, records: impl IntoIterator<Item = (MapName, Bytes, Bytes)>) -> Self {
        let store = Self::new();
        let mut current: Option<Arc<Map>> = None;
        for (name, key, value) in records {
            if name.retention() == Retention::History {
                continue;
            }
            let map = match current.take().filter(|map| map.name == name) {
                Some(map) => map,
                None => store.shared.map_or_new(&name),
            };
            map.index.write().overwrite(&key, version, &value);
            current = Some(map);
        }
        let mut state = store.shared.state.lock();
        state.newest = version;
        state.committed = version;
        drop(state);
        store
    }

    /// The version of the newest applied write set; 0 while there is none.
    pub fn newest(&self) -> Seqno {
        self.shared.state.lock().newest
    }

    /// The last committed version.
    pub fn committed(&self) -> Seqno {
        self.shared.state.lock().committed
    }

    /// A transaction on the newest version, uncommitted ones included, that does not track what it reads: for the primary, which
    /// executes one transaction after the other.
    pub fn begin(&self) -> Tx {
        Tx::new(self.newest_snapshot(), false)
    }

    /// A transaction on a snapshot that tracks what it reads: keys, absent keys, scanned ranges.
    pub fn begin_tracked(&self, at: &Snapshot) -> Tx {
        Tx::new(at.clone(), true)
    }

    /// The committed version: the only one that anything outside the primary's executor may read.
    pub fn snapshot(&self) -> Snapshot {
        self.pin(|state| state.committed)
    }

    /// The newest version, uncommitted ones included. Only for the primary's own execution: what is read here may be rolled back
    /// and must not leave the node. Meaningless after a rollback.
    pub fn newest_snapshot(&self) -> Snapshot {
        self.pin(|state| state.newest)
    }

    /// Whether what was read still holds at the newest version.
    pub fn validate(&self, reads: &ReadSet) -> Result<(), Conflict> {
        let base = reads.base_version();
        let pin = reads.base().pin();
        let (newest, rollbacks, maps) = {
            let state = self.shared.state.lock();
            (state.newest, state.rollbacks, Arc::clone(&state.maps))
        };
        let rolled_back = pin.uncommitted_since.is_some_and(|then| then != rollbacks);
        if rolled_back || !Arc::ptr_eq(&pin.shared, &self.shared) {
            return Err(Conflict::RolledBack { base });
        }
        if newest == base {
            return Ok(());
        }
        if !reads.is_tracked() {
            return Err(Conflict::Untracked { base });
        }
        for (name, map_reads) in reads.maps() {
            let Some(map) = maps.find(name) else { continue };
            if has_changed(&map.index.read(), map_reads, base) {
                return Err(Conflict::Changed { map: name.clone(), base });
            }
        }
        Ok(())
    }

    /// Makes `writes` the next version. `history:` maps are skipped: they live in the history store.
    pub fn apply(&self, version: Seqno, writes: &WriteSet) -> Result<(), Error> {
        let mut writer = self.shared.writer.lock();
        let expected = self.newest().next();
        if version != expected {
            return Err(Error::OutOfOrder { expected, given: version });
        }
        for (name, map_writes) in writes {
            if name.retention() == Retention::History || map_writes.is_empty() {
                continue;
            }
            let writes = map_writes.iter().map(|(key, value)| (key, (version, value)));
            writer.uncommitted.extend(self.shared.write(name, version, writes));
        }
        self.shared.state.lock().newest = version;
        Ok(())
    }

    /// Makes write sets that are committed already the next versions, all in one piece: for whoever follows what somebody else has
    /// executed. A key that several of them write is written once, as the last of them left it and under its version; nobody ever sees
    /// what lies between. Nothing may be uncommitted.
    pub fn follow(&self, run: &[(Seqno, &WriteSet)]) -> Result<(), Error> {
        let Some((last, _)) = run.last() else { return Ok(()) };
        let mut pruner = self.shared.pruner.lock();
        let (superseding, live): (Vec<Touched>, Vec<Seqno>);
        {
            let _writer = self.shared.writer.lock();
            for (expected, (given, _)) in (self.committed().0 + 1..).map(Seqno).zip(run) {
                if *given != expected || self.newest() >= expected {
                    return Err(Error::OutOfOrder { expected, given: *given });
                }
            }
            superseding = newest_writes(run)
                .into_iter()
                .filter_map(|(name, writes)| self.shared.write(name, *last, writes))
                .collect();
            let mut state = self.shared.state.lock();
            (state.newest, state.committed) = (*last, *last);
            live = state.live.keys().copied().collect();
        }
        pruner.run(superseding, &live);
        Ok(())
    }

    /// Commits all versions up to this one, and drops what no snapshot can see any more. Committing a version again only
    /// does the latter; what dropped snapshots kept goes a part with each commit.
    ///
    /// # Panics
    /// If `version` was never applied: consensus would have committed what this node has not executed.
    pub fn commit(&self, version: Seqno) {
        let mut pruner = self.shared.pruner.lock();
        let mut superseding = Vec::new();
        let live: Vec<Seqno>;
        {
            let mut writer = self.shared.writer.lock();
            let committed = {
                let mut state = self.shared.state.lock();
                assert!(version <= state.newest, "version {version} is committed but only {} applied", state.newest);
                state.committed = state.committed.max(version);
                live = state.live.keys().copied().collect();
                state.committed
            };
            while let Some(touched) = writer.uncommitted.pop_front_if(|touched| touched.version <= committed) {
                superseding.push(touched);
            }
        }
        pruner.run(superseding, &live);
    }

    /// Drops every version above the committed one, and gives that.
    pub fn rollback(&self) -> Seqno {
        let mut writer = self.shared.writer.lock();
        let committed = {
            let mut state = self.shared.state.lock();
            state.newest = state.committed;
            state.rollbacks += 1;
            state.committed
        };
        while let Some(touched) = writer.uncommitted.pop_back() {
            for writes in touched.writes.rchunks(KEYS_PER_LOCK) {
                let mut index = touched.map.index.write();
                writes.iter().rev().for_each(|write| index.withdraw(&write.key, touched.version));
            }
        }
        committed
    }

    /// Keys that have a value at the newest version, over all maps.
    pub fn len(&self) -> usize {
        self.sizes().map(|(_, size)| size.keys).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys that have a value at the newest version, by map in name order.
    pub fn key_counts(&self) -> Vec<(MapName, usize)> {
        self.sizes().map(|(name, size)| (name, size.keys)).collect()
    }

    /// Versions kept for snapshots or because they are not committed yet, beside the newest of each key.
    pub fn older_versions(&self) -> usize {
        self.sizes().map(|(_, size)| size.older).sum()
    }

    /// Versions that snapshots and transactions keep alive.
    pub fn live_snapshots(&self) -> usize {
        self.shared.state.lock().live.len()
    }

    /// About how much memory the maps take: keys and values exactly, the structure around them by estimate.
    pub fn memory_bytes(&self) -> usize {
        /// An entry and its head in a leaf three quarters full; two reference counts and the allocator's rounding.
        const PER_ENTRY: usize = (size_of::<Entry>() + 8) * 4 / 3 + 28;
        /// A record in a list of its own; two reference counts and the allocator's rounding.
        const PER_OLDER: usize = 96 + 28;
        self.sizes().map(|(_, size)| size.bytes + size.entries * PER_ENTRY + size.older * PER_OLDER).sum()
    }

    fn sizes(&self) -> impl Iterator<Item = (MapName, Size)> {
        let maps = Arc::clone(&self.shared.state.lock().maps);
        let sizes: Vec<_> = maps.iter().map(|map| (map.name.clone(), map.index.read().size())).collect();
        sizes.into_iter()
    }

    fn pin(&self, version: impl FnOnce(&State) -> Seqno) -> Snapshot {
        let mut state = self.shared.state.lock();
        let version = version(&state);
        *state.live.entry(version).or_default() += 1;
        let uncommitted_since = (version > state.committed).then_some(state.rollbacks);
        let maps = Arc::clone(&state.maps);
        drop(state);
        Snapshot::new(Pin { shared: Arc::clone(&self.shared), maps, version, uncommitted_since })
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// Writes to a map; `None` if it is not there and has nothing to lose. Readers do not see `newest`, the version that is made, yet.
    fn write<'a>(
        &self,
        name: &MapName,
        newest: Seqno,
        writes: impl IntoIterator<Item = (&'a Bytes, (Seqno, &'a Option<Bytes>))>,
    ) -> Option<Touched> {
        let mut rest = writes.into_iter().peekable();
        let mut map = self.map(name);
        let mut touched = Vec::with_capacity(rest.size_hint().0);
        // New keys are not compared with others, so there is less to wait for; they mostly come together.
        let mut expects_updates = true;
        while rest.peek().is_some() {
            let some: Vec<_> = rest.by_ref().take(KEYS_PER_LOCK).collect();
            if map.is_none() && some.iter().any(|(_, (_, value))| value.is_some()) {
                map = Some(self.map_or_new(name));
            }
            let Some(map) = &map else { continue };
            if expects_updates {
                let keys: Vec<&[u8]> = some.iter().map(|(key, _)| &***key).collect();
                map.index.read().preload(&keys);
            }
            let from = touched.len();
            let mut index = map.index.write();
            touched
                .extend(some.iter().filter_map(|(key, (version, value))| index.write(key, *version, value.as_deref())));
            expects_updates = touched[from..].iter().any(|write| write.superseded.is_some());
        }
        Some(Touched { version: newest, map: map?, writes: touched })
    }

    fn map(&self, name: &MapName) -> Option<Arc<Map>> {
        self.state.lock().maps.find(name).cloned()
    }

    /// Only the writer calls this.
    fn map_or_new(&self, name: &MapName) -> Arc<Map> {
        let mut state = self.state.lock();
        if let Some(map) = state.maps.find(name) {
            return Arc::clone(map);
        }
        let (maps, map) = state.maps.with_new(name);
        state.maps = Arc::new(maps);
        map
    }

    pub fn rollbacks(&self) -> u64 {
        self.state.lock().rollbacks
    }

    pub fn unpin(&self, version: Seqno) {
        let mut state = self.state.lock();
        let pins = state.live.get_mut(&version).expect("a pinned version is registered");
        *pins -= 1;
        if *pins == 0 {
            state.live.remove(&version);
        }
    }
}

/// The last write to each key, with its version.
fn newest_writes<'a>(run: &[(Seqno, &'a WriteSet)]) -> BTreeMap<&'a MapName, NewestWrites<'a>> {
    let mut newest: BTreeMap<&MapName, NewestWrites<'a>> = BTreeMap::new();
    for (version, writes) in run {
        for (name, map_writes) in *writes {
            if name.retention() != Retention::History {
                newest.entry(name).or_default().extend(map_writes.iter().map(|(key, value)| (key, (*version, value))));
            }
        }
    }
    newest
}

type NewestWrites<'a> = BTreeMap<&'a Bytes, (Seqno, &'a Option<Bytes>)>;

fn has_changed(index: &Index, reads: &MapReads, base: Seqno) -> bool {
    let is_newer = |entry: &Entry| entry.newest().version > base;
    index.last_write() > base
        && (reads.keys.iter().any(|key| index.entry(key).is_some_and(is_newer))
            || reads.scans.iter().any(|scan| index.entries(&interval(scan)).any(is_newer)))
}

fn interval(scanned: &Scanned) -> Interval {
    Interval::new((std::ops::Bound::Included(&*scanned.start), scanned.end.as_ref().map(|key| &**key)))
}
