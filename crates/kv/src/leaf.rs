//! A run of neighbouring keys: what the ordered index is made of.
//!
//! Beside the entries stand their *heads*: four bytes of each key as a number, so that a lookup touches a few cache lines of
//! heads and then one key, instead of a key per comparison. A head starts after the prefix that every key between the
//! leaf's bounds must share; otherwise the many keys below one contract's address would all have the same head.
//! Equal heads fall back to comparing keys, so no choice of keys is worse than an ordinary binary search.

use crate::entry::Entry;
use crate::separator::{Separator, shared_prefix};

/// A fuller leaf is split.
pub(crate) const LEAF_ENTRIES_MAX: usize = 64;

pub(crate) struct Leaf {
    /// The length of the prefix that the leaf's bounds share, and so every key between them.
    skip: usize,
    heads: Vec<u32>,
    entries: Vec<Entry>,
}

impl Leaf {
    /// `lower` is the least key that may enter, `upper` the least that may not (`None`: no bound).
    pub fn new(lower: &[u8], upper: Option<&[u8]>, entries: Vec<Entry>) -> Self {
        let mut leaf = Self { skip: 0, heads: Vec::with_capacity(entries.capacity()), entries };
        leaf.set_bounds(lower, upper);
        leaf
    }

    pub fn set_bounds(&mut self, lower: &[u8], upper: Option<&[u8]>) {
        self.skip = upper.map_or(0, |upper| shared_prefix(lower, upper));
        self.heads.clear();
        self.heads.extend(self.entries.iter().map(|entry| head(entry.key(), self.skip)));
    }

    /// Where `key` is, or where it would be inserted.
    pub fn position(&self, key: &[u8]) -> Result<usize, usize> {
        let head = head(key, self.skip);
        // Counting all of them is faster than a binary search: the processor fetches and compares several at a time.
        let from = self.heads.iter().map(|other| u32::from(*other < head)).sum::<u32>() as usize;
        let same = self.heads[from..].iter().take_while(|other| **other == head).count();
        match self.entries[from..from + same].binary_search_by(|entry| entry.key().cmp(key)) {
            Ok(at) => Ok(from + at),
            Err(at) => Err(from + at),
        }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn entry_mut(&mut self, at: usize) -> &mut Entry {
        &mut self.entries[at]
    }

    pub fn insert(&mut self, at: usize, entry: Entry) {
        self.heads.insert(at, head(entry.key(), self.skip));
        self.entries.insert(at, entry);
    }

    pub fn remove(&mut self, at: usize) -> Entry {
        self.heads.remove(at);
        self.entries.remove(at)
    }

    /// Cuts the leaf, with these bounds, before entry `at`; gives the right part and what separates the two.
    pub fn split(&mut self, at: usize, lower: &[u8], upper: Option<&[u8]>) -> (Separator, Self) {
        let right = self.entries.split_off(at);
        let separator = Separator::between(self.entries[at - 1].key(), right[0].key());
        self.set_bounds(lower, Some(separator.as_bytes()));
        let right = Self::new(separator.as_bytes(), upper, right);
        (separator, right)
    }

    /// Takes over all entries of the leaf that follows, and its upper bound.
    pub fn absorb(&mut self, next: Self, lower: &[u8], upper: Option<&[u8]>) {
        self.entries.extend(next.entries);
        self.set_bounds(lower, upper);
    }
}

fn head(key: &[u8], skip: usize) -> u32 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(first) = rest.first_chunk() {
        return u32::from_be_bytes(*first);
    }
    let mut padded = [0; 4];
    padded[..rest.len()].copy_from_slice(rest);
    u32::from_be_bytes(padded)
}
