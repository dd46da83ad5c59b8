//! One map's keys in order: a B-tree of three levels.
//!
//! ```text
//!   BTreeMap of branches ─▶ branch: up to 63 leaves ─▶ leaf: up to 63 entries ─▶ entry: a key and its versions
//! ```
//! The standard library's `BTreeMap` on top grows without limit, and has one bound for some two thousand keys, so it stays
//! in the processor's caches. Below it, branches and leaves find their way by `heads`.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use coco_types::Seqno;

use crate::branch::{BRANCH_LEAVES_MAX, Branch};
use crate::cell::Cell;
use crate::entry::{Entry, Record};
use crate::interval::Interval;
use crate::leaf::{LEAF_ENTRIES_MAX, Leaf};
use crate::prune::Write;
use crate::separator::Separator;
use crate::spares::Spares;

/// Keys to preload, and then to write or prune under one hold of a map's lock: what they touch fits the first cache, and no
/// reader waits for a large write set.
pub(crate) const KEYS_PER_LOCK: usize = 32;
/// Entries examined under one hold of a map's lock, visible or not.
const PAGE_EXAMINED_MAX: usize = 1024;

pub(crate) struct Index {
    /// By lower bound. The first one's is the empty key, and is always present.
    branches: BTreeMap<Separator, Branch>,
    last_write: Seqno,
    size: Size,
    spares: Spares,
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

/// Part of a scan.
pub(crate) struct Page {
    pub cells: Vec<Cell>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<Cell>,
}

impl Index {
    pub fn new() -> Self {
        let leaf = Leaf::new(&[], None, Vec::new());
        let branch = Branch::new(vec![Separator::LEAST], vec![leaf], None);
        Self {
            branches: BTreeMap::from([(Separator::LEAST, branch)]),
            last_write: Seqno::ZERO,
            size: Size::default(),
            spares: Spares::default(),
        }
    }

    pub fn size(&self) -> Size {
        self.size
    }

    /// No version above this one was written.
    pub fn last_write(&self) -> Seqno {
        self.last_write
    }

    pub fn entry(&self, key: &[u8]) -> Option<&Entry> {
        let leaf = self.leaf(key);
        leaf.entries().get(leaf.position(key).ok()?)
    }

    /// The record of `key` that a reader at `version` sees, unless it is a removal.
    pub fn record(&self, key: &[u8], version: Seqno) -> Option<&Record> {
        self.entry(key)?.at(version).filter(|record| record.cell.has_value())
    }

    /// Has the processor fetch what writing or pruning these keys touches, and gives the entries. One key by itself waits for
    /// memory at every level of the tree; many keys, taken level by level, wait together.
    pub fn preload(&self, keys: &[&[u8]]) -> Vec<&Entry> {
        let leaves: Vec<_> = keys.iter().map(|key| self.leaf(key)).collect();
        let entries: Vec<_> = leaves.iter().zip(keys).filter_map(|(leaf, key)| leaf.candidate(key)).collect();
        entries.iter().for_each(|entry| entry.newest().cell.touch());
        entries
    }

    /// Writes the next version of a key. `None`: there was nothing to remove.
    pub fn write(&mut self, key: &[u8], version: Seqno, value: Option<&[u8]>) -> Option<Write> {
        let leaf = leaf_mut(&mut self.branches, key);
        let position = leaf.position(key);
        let previous = position.ok().map(|at| leaf.entries()[at].newest());
        let superseded = previous.map(|record| record.version);
        let had_value = previous.is_some_and(|record| record.cell.has_value());
        if value.is_none() && !had_value {
            return None;
        }
        let cell = self.spares.cell(key, value);
        let length = cell.length();
        match position {
            Ok(at) => {
                leaf.entry_mut(at).supersede(version, cell);
                self.size.older += 1;
            }
            Err(at) => {
                leaf.insert(at, Entry::new(version, cell));
                let entries = leaf.entries().len();
                if entries > LEAF_ENTRIES_MAX {
                    self.split(key, at + 1 == entries);
                }
                self.size.entries += 1;
            }
        }
        self.size.bytes += length;
        self.size.keys = self.size.keys + usize::from(value.is_some()) - usize::from(had_value);
        self.last_write = self.last_write.max(version);
        Some(Write { key: Box::from(key), superseded })
    }

    /// Makes `value` the only version of a key: for filling a new index.
    pub fn overwrite(&mut self, key: &[u8], version: Seqno, value: &[u8]) {
        let written = self.write(key, version, Some(value));
        if let Some(superseded) = written.and_then(|written| written.superseded) {
            self.drop_superseded(key, superseded);
        }
    }

    /// Takes back what `version`, the newest, wrote to `key`.
    pub fn withdraw(&mut self, key: &[u8], version: Seqno) {
        let leaf = leaf_mut(&mut self.branches, key);
        let at = leaf.position(key).expect("an uncommitted write is never pruned");
        let entry = leaf.entry_mut(at);
        if let Some(withdrawn) = entry.withdraw(version) {
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

    /// Drops this superseded version of `key`, if it is still there.
    pub fn drop_superseded(&mut self, key: &[u8], version: Seqno) {
        let leaf = leaf_mut(&mut self.branches, key);
        let Ok(at) = leaf.position(key) else { return };
        let entry = leaf.entry_mut(at);
        let Some(record) = entry.drop_superseded(version) else { return };
        let lone_removal = entry.is_lone_removal();
        self.size.older -= 1;
        self.size.bytes -= record.cell.length();
        self.spares.keep(record.cell);
        if lone_removal {
            self.remove_entry(key);
        }
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

    /// The same from the interval's end on: the page's cells go down, and `next` is where the rest of the interval ends, not included.
    pub fn page_back(&self, interval: &Interval, version: Seqno, limit: usize) -> Page {
        let mut page = Page { cells: Vec::with_capacity(limit), next: None };
        let mut last: Option<&Entry> = None;
        for (examined, entry) in self.entries_back(interval).enumerate() {
            if page.cells.len() == limit || examined == PAGE_EXAMINED_MAX {
                page.next = last.map(|last| last.newest().cell.clone());
                break;
            }
            let record = entry.at(version).filter(|record| record.cell.has_value());
            page.cells.extend(record.map(|record| record.cell.clone()));
            last = Some(entry);
        }
        page
    }

    fn entries_back<'a>(&'a self, interval: &'a Interval) -> impl Iterator<Item = &'a Entry> {
        let end = interval.end.as_deref();
        let branches = match end {
            Some(end) => self.branches.range::<[u8], _>((Unbounded, Included(end))),
            None => self.branches.range::<[u8], _>(..),
        };
        let leaves = branches.rev().enumerate().flat_map(move |(at, (_, branch))| {
            // The end is in the last branch, or behind it.
            let upto = end.filter(|_| at == 0).map_or(branch.leaves().len(), |end| branch.position(end) + 1);
            branch.leaves()[..upto].iter().rev()
        });
        let entries = leaves.flat_map(|leaf| leaf.entries().iter().rev());
        let within = entries.skip_while(|entry| !interval.ends_after(entry.key()));
        within.take_while(|entry| entry.key() >= &interval.start[..])
    }

    pub fn entries<'a>(&'a self, interval: &'a Interval) -> impl Iterator<Item = &'a Entry> {
        let (bound, branch) = self.branch(&interval.start);
        let at = branch.position(&interval.start);
        let first = &branch.leaves()[at];
        let from = first.position(&interval.start).unwrap_or_else(|at| at);
        let later_branches = self.branches.range::<[u8], _>((Excluded(bound.as_bytes()), Unbounded));
        let later_leaves = branch.leaves()[at + 1..].iter().chain(later_branches.flat_map(|(_, later)| later.leaves()));
        let entries = first.entries()[from..].iter().chain(later_leaves.flat_map(Leaf::entries));
        entries.take_while(|entry| interval.ends_after(entry.key()))
    }

    fn leaf(&self, key: &[u8]) -> &Leaf {
        let (_, branch) = self.branch(key);
        &branch.leaves()[branch.position(key)]
    }

    fn branch(&self, key: &[u8]) -> (&Separator, &Branch) {
        let up_to_key = self.branches.range::<[u8], _>((Unbounded, Included(key)));
        up_to_key.into_iter().next_back().expect("the first branch starts at the empty key")
    }

    /// The upper bound of the branch that `key` belongs to.
    fn upper_bound(&self, key: &[u8]) -> Option<Separator> {
        self.branches.range::<[u8], _>((Excluded(key), Unbounded)).next().map(|(bound, _)| bound.clone())
    }

    /// Splits the leaf that `key` belongs to, and its branch if that has too many leaves then.
    fn split(&mut self, key: &[u8], appended: bool) {
        let upper = self.upper_bound(key);
        let upper_bytes = upper.as_ref().map(Separator::as_bytes);
        let branch = branch_mut(&mut self.branches, key);
        // Keys that arrive in order (a restored snapshot, a queue) leave full leaves and branches behind.
        let cut = |length: usize| if appended && upper.is_none() { length - 1 } else { length / 2 };
        let at = branch.position(key);
        branch.split_leaf(at, cut(branch.leaves()[at].entries().len()), upper_bytes);
        if branch.leaves().len() > BRANCH_LEAVES_MAX {
            let (bound, right) = branch.split(cut(branch.leaves().len()), upper_bytes);
            self.branches.insert(bound, right);
        }
    }

    fn remove_entry(&mut self, key: &[u8]) {
        let upper = self.upper_bound(key);
        let branch = branch_mut(&mut self.branches, key);
        let at = branch.position(key);
        let leaf = branch.leaf_mut(at);
        let entry = leaf.remove(leaf.position(key).expect("the caller found it there"));
        if leaf.entries().len() < LEAF_ENTRIES_MAX / 4 {
            branch.join_leaf(at, upper.as_ref().map(Separator::as_bytes));
            if branch.is_empty() {
                self.drop_branch(key, upper);
            }
        }
        self.size.entries -= 1;
        self.size.keys -= usize::from(entry.newest().cell.has_value());
        self.size.bytes -= entry.newest().cell.length();
    }

    /// Drops the empty branch that `key` belongs to. The next one, or without one the last, takes over its bounds.
    fn drop_branch(&mut self, key: &[u8], upper: Option<Separator>) {
        let lower = self.branch(key).0.clone();
        if let Some(next) = upper.and_then(|upper| self.branches.remove(&upper)) {
            let upper = self.upper_bound(key);
            self.branches.insert(lower.clone(), next.set_bounds(lower, upper.as_ref().map(Separator::as_bytes)));
        } else if self.branches.len() > 1 {
            self.branches.remove(&lower);
            let (lower, last) = self.branches.pop_last().expect("more than one branch was there");
            self.branches.insert(lower.clone(), last.set_bounds(lower, None));
        }
    }
}

fn leaf_mut<'a>(branches: &'a mut BTreeMap<Separator, Branch>, key: &[u8]) -> &'a mut Leaf {
    let branch = branch_mut(branches, key);
    branch.leaf_mut(branch.position(key))
}

fn branch_mut<'a>(branches: &'a mut BTreeMap<Separator, Branch>, key: &[u8]) -> &'a mut Branch {
    let up_to_key = branches.range_mut::<[u8], _>((Unbounded, Included(key)));
    up_to_key.into_iter().next_back().expect("the first branch starts at the empty key").1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order of arrival and departure that leaves and branches are split and joined by.
    fn fill_and_drain(keys: &[Vec<u8>], drain: impl Iterator<Item = usize>) {
        let mut index = Index::new();
        for key in keys {
            let _ = index.write(key, Seqno(1), Some(key));
        }
        let mut left: std::collections::BTreeSet<_> = keys.iter().cloned().collect();
        assert_eq!(index.size().keys, left.len());
        for (done, at) in drain.enumerate() {
            let key = &keys[at];
            let _ = index.write(key, Seqno(2), None);
            index.drop_superseded(key, Seqno(1));
            left.remove(key);
            assert!(index.entry(key).is_none());
            if done.is_multiple_of(997) {
                assert!(left.iter().all(|key| index.entry(key).is_some()));
                assert!(index.entries(&Interval::whole()).map(Entry::key).eq(left.iter().map(Vec::as_slice)));
            }
        }
        assert_eq!((index.size().entries, index.size().bytes, index.size().older), (0, 0, 0));
        assert_eq!(index.branches.len(), 1, "emptied branches are dropped");
    }

    fn ordered(count: u32) -> Vec<Vec<u8>> {
        (0..count).map(|n| [b"one-long-prefix-for-all-of-these-keys".as_slice(), &n.to_be_bytes()].concat()).collect()
    }

    fn shuffled(count: u32) -> Vec<Vec<u8>> {
        (0..count).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes().to_vec()).collect()
    }

    #[test]
    fn a_queue_grows_at_its_end_and_shrinks_at_its_front() {
        fill_and_drain(&ordered(12_000), 0..12_000);
    }

    #[test]
    fn a_stack_grows_and_shrinks_at_its_end() {
        fill_and_drain(&ordered(12_000), (0..12_000).rev());
    }

    #[test]
    fn keys_come_and_go_in_any_order() {
        fill_and_drain(&shuffled(12_000), (0..12_000).map(|n| (n * 7919) % 12_000));
    }

    #[test]
    fn keys_that_differ_only_in_length_are_told_apart() {
        let zeros: Vec<_> = (0..300).map(|length| vec![0; length]).collect();
        fill_and_drain(&zeros, 0..300);
    }
}
