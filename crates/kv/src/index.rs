//! One map's keys in order: a B-tree of leaves.
//!
//! The upper levels are the standard library's `BTreeMap`, from the least key a leaf may hold to the leaf. It has one key for
//! some fifty of ours, so it stays in the processor's caches; a lookup then costs little more than one leaf. A leaf is
//! joined with the next when both have become small.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use coco_types::Seqno;

use crate::entry::{Entry, Key, Record, Released, Value};
use crate::interval::Interval;
use crate::leaf::{LEAF_ENTRIES_MAX, Leaf};

/// Entries examined under one hold of a map's lock, visible or not.
const PAGE_EXAMINED_MAX: usize = 1024;

pub(crate) struct Index {
    /// By the least key that a leaf may hold; the first is the empty key, always present.
    leaves: BTreeMap<Key, Leaf>,
    last_write: Seqno,
    size: Size,
}

/// What an index holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Size {
    /// Keys that have a value at the newest version.
    pub keys: usize,
    /// Keys with any version at all, removed ones included.
    pub entries: usize,
    /// Versions below the newest of their key.
    pub older: usize,
    /// Bytes of all keys, and of the values of all versions.
    pub bytes: usize,
}

/// A write that the index took.
pub(crate) struct Written {
    pub key: Key,
    /// It stands above an earlier version, which can go once this one is committed.
    pub supersedes: bool,
}

/// Part of a scan.
pub(crate) struct Page {
    pub records: Vec<(Key, Value)>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<Key>,
}

impl Index {
    pub fn new() -> Self {
        let first = Leaf::new(&[], None, Vec::new());
        Self { leaves: BTreeMap::from([(Key::from([]), first)]), last_write: Seqno::ZERO, size: Size::default() }
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// No version above this one was written.
    pub fn last_write(&self) -> Seqno {
        self.last_write
    }

    pub fn entry(&self, key: &[u8]) -> Option<&Entry> {
        let (_, leaf) = self.leaf(key);
        leaf.entries().get(leaf.position(key).ok()?)
    }

    /// The record of `key` that a reader at `version` sees, unless it is a removal.
    pub fn record(&self, key: &[u8], version: Seqno) -> Option<(&Record, &Value)> {
        let record = self.entry(key)?.at(version)?;
        Some((record, record.value.as_ref()?))
    }

    /// Writes the next version of a key. `None`: there was nothing to remove.
    pub fn write(&mut self, key: &[u8], version: Seqno, value: Option<&[u8]>) -> Option<Written> {
        let leaf = self.leaf_mut(key);
        let position = leaf.position(key);
        let at = match position {
            Ok(at) => {
                let entry = leaf.entry_mut(at);
                let had_value = entry.newest().value.is_some();
                if !had_value && value.is_none() {
                    return None;
                }
                entry.supersede(version, value.map(Value::from));
                let key = entry.key().clone();
                self.size.older += 1;
                self.size.bytes += value.map_or(0, <[u8]>::len);
                self.size.keys = self.size.keys + usize::from(value.is_some()) - usize::from(had_value);
                self.last_write = version;
                return Some(Written { key, supersedes: true });
            }
            Err(at) => at,
        };
        let value = value?;
        let stored = Key::from(key);
        leaf.insert(at, Entry::new(stored.clone(), version, Value::from(value)));
        let length = leaf.entries().len();
        if length > LEAF_ENTRIES_MAX {
            self.split(key, at + 1 == length);
        }
        self.size.keys += 1;
        self.size.entries += 1;
        self.size.bytes += key.len() + value.len();
        self.last_write = version;
        Some(Written { key: stored, supersedes: false })
    }

    /// Makes `value` the only version of a key: for filling a new index.
    pub fn overwrite(&mut self, key: &[u8], version: Seqno, value: &[u8]) {
        if self.write(key, version, Some(value)).is_some_and(|written| written.supersedes) {
            let _ = self.release(key, version, &[]);
        }
    }

    /// Takes back what `version`, the newest, wrote to `key`.
    pub fn withdraw(&mut self, key: &[u8], version: Seqno) {
        let leaf = self.leaf_mut(key);
        let at = leaf.position(key).expect("an uncommitted write is never pruned");
        let entry = leaf.entry_mut(at);
        let had_value = entry.newest().value.is_some();
        if let Ok(withdrawn) = entry.withdraw(version) {
            let has_value = entry.newest().value.is_some();
            let lone_removal = entry.is_lone_removal();
            self.size.older -= 1;
            self.size.bytes -= withdrawn.value.map_or(0, |value| value.len());
            self.size.keys = self.size.keys + usize::from(has_value) - usize::from(had_value);
            if lone_removal {
                self.remove_entry(key);
            }
        } else {
            self.remove_entry(key);
        }
    }

    /// Drops the version of `key` that the committed version `by` superseded, unless one of the `live` snapshots sees it:
    /// then gives the newest that does.
    pub fn release(&mut self, key: &[u8], by: Seqno, live: &[Seqno]) -> Option<Seqno> {
        let leaf = self.leaf_mut(key);
        let entry = leaf.entry_mut(leaf.position(key).ok()?);
        match entry.release(by, live) {
            Released::SeenBy(snapshot) => return Some(snapshot),
            Released::Dropped(bytes) => {
                let lone_removal = entry.is_lone_removal();
                self.size.older -= usize::from(bytes.is_some());
                self.size.bytes -= bytes.unwrap_or(0);
                if lone_removal {
                    self.remove_entry(key);
                }
            }
        }
        None
    }

    /// The records of `interval` that a reader at `version` sees, at most `limit` of them.
    pub fn page(&self, interval: &Interval, version: Seqno, limit: usize) -> Page {
        let mut page = Page { records: Vec::with_capacity(limit), next: None };
        for (examined, entry) in self.entries(interval).enumerate() {
            if page.records.len() == limit || examined == PAGE_EXAMINED_MAX {
                page.next = Some(entry.key().clone());
                break;
            }
            if let Some(value) = entry.at(version).and_then(|record| record.value.as_ref()) {
                page.records.push((entry.key().clone(), value.clone()));
            }
        }
        page
    }

    pub fn entries<'a>(&'a self, interval: &'a Interval) -> impl Iterator<Item = &'a Entry> {
        let (separator, first) = self.leaf(&interval.start);
        let from = first.position(&interval.start).unwrap_or_else(|at| at);
        let rest = self.leaves.range::<[u8], _>((Excluded(&**separator), Unbounded));
        let rest = rest.flat_map(|(_, leaf)| leaf.entries());
        first.entries()[from..].iter().chain(rest).take_while(|entry| interval.ends_after(entry.key()))
    }

    fn leaf(&self, key: &[u8]) -> (&Key, &Leaf) {
        let up_to_key = self.leaves.range::<[u8], _>((Unbounded, Included(key)));
        up_to_key.into_iter().next_back().expect("the first leaf starts at the empty key")
    }

    fn leaf_mut(&mut self, key: &[u8]) -> &mut Leaf {
        let up_to_key = self.leaves.range_mut::<[u8], _>((Unbounded, Included(key)));
        up_to_key.into_iter().next_back().expect("the first leaf starts at the empty key").1
    }

    /// The least key of the leaf after the one that holds `key`.
    fn separator_after(&self, key: &[u8]) -> Option<Key> {
        self.leaves.range::<[u8], _>((Excluded(key), Unbounded)).next().map(|(separator, _)| separator.clone())
    }

    fn split(&mut self, key: &[u8], appended: bool) {
        let upper = self.separator_after(key);
        let lower = self.leaf(key).0.clone();
        let leaf = self.leaf_mut(key);
        let length = leaf.entries().len();
        // Keys that arrive in order (a restored snapshot, a queue) leave full leaves behind.
        let at = if appended && upper.is_none() { length - 1 } else { length / 2 };
        let (separator, right) = leaf.split(at, &lower, upper.as_deref());
        self.leaves.insert(separator, right);
    }

    fn remove_entry(&mut self, key: &[u8]) {
        let leaf = self.leaf_mut(key);
        let entry = leaf.remove(leaf.position(key).expect("the caller found it there"));
        let length = leaf.entries().len();
        self.size.entries -= 1;
        self.size.keys -= usize::from(entry.newest().value.is_some());
        self.size.bytes -= key.len() + entry.newest().value.as_ref().map_or(0, |value| value.len());
        if length < LEAF_ENTRIES_MAX / 4 {
            self.join(key, length);
        }
    }

    /// Joins the small leaf that `key` belongs to with the next, or drops it if it is empty and the last.
    fn join(&mut self, key: &[u8], length: usize) {
        let Some(next_separator) = self.separator_after(key) else {
            if length == 0 {
                self.drop_last_leaf();
            }
            return;
        };
        let next_length = self.leaf(&next_separator).1.entries().len();
        // A half-full result does not split again at once; an empty leaf costs nothing to join.
        let fits = if length == 0 { LEAF_ENTRIES_MAX } else { LEAF_ENTRIES_MAX / 2 };
        if length + next_length > fits {
            return;
        }
        let next = self.leaves.remove(&next_separator).expect("the separator was just found");
        let lower = self.leaf(key).0.clone();
        let upper = self.separator_after(key);
        self.leaf_mut(key).absorb(next, &lower, upper.as_deref());
    }

    fn drop_last_leaf(&mut self) {
        if self.leaves.len() == 1 {
            return;
        }
        self.leaves.pop_last();
        let mut last = self.leaves.last_entry().expect("more than one leaf was there");
        let lower = last.key().clone();
        last.get_mut().set_bounds(&lower, None);
    }
}
