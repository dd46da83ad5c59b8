//! A transaction: reads a snapshot, collects writes. Nothing reaches the store until its write set is applied.
//!
//! Nested transactions and savepoints share one journal of what each write replaced; going back replays it from its end.
//! A key enters it once between two marks, so that writing one key over and over does not keep every value it had.
//! Reads of a nested transaction that failed stay in the read set: the outcome depended on them.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut, RangeBounds};

use bytes::Bytes;
use coco_types::{MapName, Seqno, WriteSet};

use crate::interval::Interval;
use crate::read_set::ReadSet;
use crate::snapshot::Snapshot;
use crate::tx_scan::TxScan;

/// A transaction in the making. Reads see its own writes, then its base version.
///
/// Writes to `history:` maps are kept in the write set and can be read back here; records that are already committed are
/// the history store's to read.
pub struct Tx {
    reads: ReadSet,
    writes: WriteSet,
    write_bytes: usize,
    journal: Vec<Replaced>,
    /// The keys that entered the journal since the last moment somebody may go back to.
    journaled: BTreeSet<(MapName, Bytes)>,
    /// Nested transactions that are open.
    nesting: usize,
    /// A savepoint was handed out: the journal is kept to the end.
    has_savepoint: bool,
}

/// A moment in a transaction that it can go back to. Belongs to the transaction that made it; going back to an earlier
/// one, or the failure of the nested transaction that it was made in, ends it.
#[derive(Clone, Copy, Debug)]
pub struct Savepoint {
    journal_length: usize,
}

/// What a write replaced in the write set: `None` if the key was not written yet.
struct Replaced {
    map: MapName,
    key: Bytes,
    write: Option<Option<Bytes>>,
}

impl Tx {
    pub(crate) fn new(base: Snapshot, tracked: bool) -> Self {
        Self {
            reads: ReadSet::new(base, tracked),
            writes: WriteSet::new(),
            write_bytes: 0,
            journal: Vec::new(),
            journaled: BTreeSet::new(),
            nesting: 0,
            has_savepoint: false,
        }
    }

    pub fn base_version(&self) -> Seqno {
        self.reads.base_version()
    }

    /// What the transaction was begun on. Reads of it are not tracked.
    pub fn base(&self) -> &Snapshot {
        self.reads.base()
    }

    pub fn get(&mut self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        if let Some(own) = self.writes.get(map, key) {
            return own.cloned();
        }
        self.reads.record_key(map, key);
        self.reads.base().get(map, key)
    }

    /// The version that wrote the value of `key` at the base version; own writes do not count.
    pub fn written_at(&mut self, map: &MapName, key: &[u8]) -> Option<Seqno> {
        self.reads.record_key(map, key);
        self.reads.base().written_at(map, key)
    }

    pub fn put(&mut self, map: &MapName, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.write(map, key.into(), Some(value.into()));
    }

    pub fn remove(&mut self, map: &MapName, key: impl AsRef<[u8]>) {
        self.write(map, Bytes::copy_from_slice(key.as_ref()), None);
    }

    /// The keys and values within these bounds, own writes included, in key order. Bounds in the wrong order hold nothing.
    /// What counts as read is what the iterator was asked for, not the rest of the range.
    pub fn range<'a>(&mut self, map: &MapName, bounds: impl RangeBounds<&'a [u8]>) -> TxScan<'_> {
        self.scan(map, Interval::new(bounds))
    }

    /// The keys that start with `prefix` and their values; otherwise as [`Tx::range`].
    pub fn prefix(&mut self, map: &MapName, prefix: &[u8]) -> TxScan<'_> {
        self.scan(map, Interval::prefix(prefix))
    }

    /// Runs `f` as a transaction within this one: if it fails, or panics, none of its writes remain.
    pub fn nested<T, E>(&mut self, f: impl FnOnce(&mut Tx) -> Result<T, E>) -> Result<T, E> {
        let mut nested = Nested::begin(self);
        let value = f(&mut nested)?;
        nested.keep = true;
        Ok(value)
    }

    pub fn savepoint(&mut self) -> Savepoint {
        self.has_savepoint = true;
        self.mark()
    }

    /// Takes back every write since the savepoint, which stays usable.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        self.journaled.clear();
        while self.journal.len() > savepoint.journal_length {
            if let Some(replaced) = self.journal.pop() {
                self.restore(replaced);
            }
        }
    }

    pub fn writes(&self) -> &WriteSet {
        &self.writes
    }

    /// [`WriteSet::bytes`] of the writes so far, without counting them again.
    pub fn write_bytes(&self) -> usize {
        self.write_bytes
    }

    pub fn into_parts(self) -> (WriteSet, ReadSet) {
        (self.writes, self.reads)
    }

    fn mark(&mut self) -> Savepoint {
        self.journaled.clear();
        Savepoint { journal_length: self.journal.len() }
    }

    fn scan(&mut self, map: &MapName, interval: Interval) -> TxScan<'_> {
        let base = self.reads.base().scan(map, interval.clone());
        TxScan::new(base, self.writes.map(map), self.reads.record_scan(map, &interval.start), interval)
    }

    fn write(&mut self, map: &MapName, key: Bytes, value: Option<Bytes>) {
        let writes = self.writes.map_mut(map);
        if writes.is_empty() {
            self.write_bytes += map.as_str().len();
        }
        let value_bytes = value.as_ref().map_or(0, Bytes::len);
        let is_journaling = self.nesting > 0 || self.has_savepoint;
        let journaled = (is_journaling && self.journaled.insert((map.clone(), key.clone()))).then(|| key.clone());
        let key_bytes = key.len();
        let replaced = writes.insert(key, value);
        self.write_bytes += value_bytes;
        match &replaced {
            Some(previous) => self.write_bytes -= previous.as_ref().map_or(0, Bytes::len),
            None => self.write_bytes += key_bytes,
        }
        if let Some(key) = journaled {
            self.journal.push(Replaced { map: map.clone(), key, write: replaced });
        }
    }

    fn restore(&mut self, replaced: Replaced) {
        let Replaced { map, key, write } = replaced;
        let writes = self.writes.map_mut(&map);
        let withdrawn = match write {
            Some(previous) => {
                self.write_bytes += previous.as_ref().map_or(0, Bytes::len);
                writes.insert(key, previous)
            }
            None => {
                self.write_bytes -= key.len();
                writes.remove(&key)
            }
        };
        self.write_bytes -= withdrawn.flatten().map_or(0, |value| value.len());
        if writes.is_empty() {
            // A map without writes must not appear in the ledger entry.
            self.write_bytes -= map.as_str().len();
            let maps = std::mem::take(&mut self.writes);
            self.writes = maps.into_iter().filter(|(_, writes)| !writes.is_empty()).collect();
        }
    }
}

/// A nested transaction that is open. Dropped without `keep`, also by a panic, it takes its writes back.
struct Nested<'a> {
    tx: &'a mut Tx,
    from: Savepoint,
    keep: bool,
}

impl<'a> Nested<'a> {
    fn begin(tx: &'a mut Tx) -> Self {
        tx.nesting += 1;
        let from = tx.mark();
        Self { tx, from, keep: false }
    }
}

impl Deref for Nested<'_> {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        self.tx
    }
}

impl DerefMut for Nested<'_> {
    fn deref_mut(&mut self) -> &mut Tx {
        self.tx
    }
}

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        if !self.keep {
            self.tx.rollback_to(self.from);
        }
        self.tx.nesting -= 1;
        self.tx.journaled.clear();
        if self.tx.nesting == 0 && !self.tx.has_savepoint {
            self.tx.journal.clear();
        }
    }
}
