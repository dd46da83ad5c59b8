//! One map's keys in order: a B-tree of leaves.
//!
//! The upper levels are the standard library's `BTreeMap`, from a leaf's lower bound to the leaf. It has one bound for some
//! fifty keys, so it stays in the processor's caches; a lookup then costs little more than one leaf. A leaf is joined with
//! the next when both have become small.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use coco_types::Seqno;

use crate::cell::Cell;
use crate::entry::{Entry, Record, Released};
use crate::interval::Interval;
use crate::leaf::{LEAF_ENTRIES_MAX, Leaf};
use crate::separator::Separator;

/// Entries examined under one hold of a map's lock, visible or not.
const PAGE_EXAMINED_MAX: usize = 1024;

pub(crate) struct Index {
    /// By lower bound. The first leaf's is the empty key, and is always present.
    leaves: BTreeMap<Separator, Leaf>,
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
    /// Bytes of key and value of all versions.
    pub bytes: usize,
}

/// A write that the index took.
pub(crate) struct Written {
    pub cell: Cell,
    /// It stands above an earlier version, which can go once this one is committed.
    pub supersedes: bool,
}

/// Part of a scan.
pub(crate) struct Page {
    pub cells: Vec<Cell>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<Cell>,
}

impl Index {
    pub fn new() -> Self {
        let first = Leaf::new(&[], None, Vec::new());
        Self { leaves: BTreeMap::from([(Separator::LEAST, first)]), last_write: Seqno::ZERO, size: Size::default() }
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
    pub fn record(&self, key: &[u8], version: Seqno) -> Option<&Record> {
        self.entry(key)?.at(version).filter(|record| record.cell.has_value())
    }

    /// Writes the next version of a key. `None`: there was nothing to remove.
    pub fn write(&mut self, key: &[u8], version: Seqno, value: Option<&[u8]>) -> Option<Written> {
        let leaf = self.leaf_mut(key);
        let position = leaf.position(key);
        let had_value = position.is_ok_and(|at| leaf.entries()[at].newest().cell.has_value());
        if value.is_none() && !had_value {
            return None;
        }
        let cell = Cell::new(key, value);
        match position {
            Ok(at) => {
                leaf.entry_mut(at).supersede(version, cell.clone());
                self.size.older += 1;
            }
            Err(at) => {
                leaf.insert(at, Entry::new(version, cell.clone()));
                let length = leaf.entries().len();
                if length > LEAF_ENTRIES_MAX {
                    self.split(key, at + 1 == length);
                }
                self.size.entries += 1;
            }
        }
        self.size.bytes += cell.length();
        self.size.keys = self.size.keys + usize::from(value.is_some()) - usize::from(had_value);
        self.last_write = version;
        Some(Written { cell, supersedes: position.is_ok() })
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
        if let Ok(withdrawn) = entry.withdraw(version) {
            let has_value = entry.newest().cell.has_value();
            let lone_removal = entry.is_lone_removal();
            self.size.older -= 1;
            self.size.bytes -= withdrawn.cell.length();
            self.size.keys = self.size.keys + usize::from(has_value) - usize::from(withdrawn.cell.has_value());
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
            Released::Nothing => {}
            Released::Dropped(record) => {
                let lone_removal = entry.is_lone_removal();
                self.size.older -= 1;
                self.size.bytes -= record.cell.length();
                if lone_removal {
                    self.remove_entry(key);
                }
            }
        }
        None
    }

    /// The records of `interval` that a reader at `version` sees, at most `limit` of them.
    pub fn page(&self, interval: &Interval, version: Seqno, limit: usize) -> Page {
        let mut page = Page { cells: Vec::with_capacity(limit), next: None };
        for (examined, entry) in self.entries(interval).enumerate() {
            if page.cells.len() == limit || examined == PAGE_EXAMINED_MAX {
                page.next = Some(entry.newest().cell.clone());
                break;
            }
            let record = entry.at(version).filter(|record| record.cell.has_value());
            page.cells.extend(record.map(|record| record.cell.clone()));
        }
        page
    }

    pub fn entries<'a>(&'a self, interval: &'a Interval) -> impl Iterator<Item = &'a Entry> {
        let (separator, first) = self.leaf(&interval.start);
        let from = first.position(&interval.start).unwrap_or_else(|at| at);
        let rest = self.leaves.range::<[u8], _>((Excluded(separator.as_bytes()), Unbounded));
        let rest = rest.flat_map(|(_, leaf)| leaf.entries());
        first.entries()[from..].iter().chain(rest).take_while(|entry| interval.ends_after(entry.key()))
    }

    fn leaf(&self, key: &[u8]) -> (&Separator, &Leaf) {
        let up_to_key = self.leaves.range::<[u8], _>((Unbounded, Included(key)));
        up_to_key.into_iter().next_back().expect("the first leaf starts at the empty key")
    }

    fn leaf_mut(&mut self, key: &[u8]) -> &mut Leaf {
        let up_to_key = self.leaves.range_mut::<[u8], _>((Unbounded, Included(key)));
        up_to_key.into_iter().next_back().expect("the first leaf starts at the empty key").1
    }

    /// The upper bound of the leaf that `key` belongs to.
    fn upper_bound(&self, key: &[u8]) -> Option<Separator> {
        self.leaves.range::<[u8], _>((Excluded(key), Unbounded)).next().map(|(separator, _)| separator.clone())
    }

    fn split(&mut self, key: &[u8], appended: bool) {
        let upper = self.upper_bound(key);
        let lower = self.leaf(key).0.clone();
        let leaf = self.leaf_mut(key);
        let length = leaf.entries().len();
        // Keys that arrive in order (a restored snapshot, a queue) leave full leaves behind.
        let at = if appended && upper.is_none() { length - 1 } else { length / 2 };
        let (separator, right) = leaf.split(at, lower.as_bytes(), upper.as_ref().map(Separator::as_bytes));
        self.leaves.insert(separator, right);
    }

    fn remove_entry(&mut self, key: &[u8]) {
        let leaf = self.leaf_mut(key);
        let entry = leaf.remove(leaf.position(key).expect("the caller found it there"));
        let length = leaf.entries().len();
        self.size.entries -= 1;
        self.size.keys -= usize::from(entry.newest().cell.has_value());
        self.size.bytes -= entry.newest().cell.length();
        if length < LEAF_ENTRIES_MAX / 4 {
            self.join(key, length);
        }
    }

    /// Joins the small leaf that `key` belongs to with the next, or drops it if it is empty and the last.
    fn join(&mut self, key: &[u8], length: usize) {
        let Some(next_bound) = self.upper_bound(key) else {
            if length == 0 {
                self.drop_last_leaf();
            }
            return;
        };
        let next_length = self.leaf(next_bound.as_bytes()).1.entries().len();
        // A half-full result does not split again at once; an empty leaf costs nothing to join.
        let fits = if length == 0 { LEAF_ENTRIES_MAX } else { LEAF_ENTRIES_MAX / 2 };
        if length + next_length > fits {
            return;
        }
        let next = self.leaves.remove(&next_bound).expect("the bound was just found");
        let lower = self.leaf(key).0.clone();
        let upper = self.upper_bound(key);
        self.leaf_mut(key).absorb(next, lower.as_bytes(), upper.as_ref().map(Separator::as_bytes));
    }

    fn drop_last_leaf(&mut self) {
        if self.leaves.len() == 1 {
            return;
        }
        self.leaves.pop_last();
        let mut last = self.leaves.last_entry().expect("more than one leaf was there");
        let lower = last.key().clone();
        last.get_mut().set_bounds(lower.as_bytes(), None);
    }
}
