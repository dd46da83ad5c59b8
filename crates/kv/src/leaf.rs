//! A run of neighbouring keys: the lowest level of the ordered index.

use crate::entry::Entry;
use crate::heads::{HEADS, Heads};
use crate::separator::Separator;

/// A fuller leaf is split.
pub(crate) const LEAF_ENTRIES_MAX: usize = HEADS - 1;

pub(crate) struct Leaf {
    heads: Heads,
    entries: Vec<Entry>,
}

impl Leaf {
    pub fn new(lower: &[u8], upper: Option<&[u8]>, entries: Vec<Entry>) -> Self {
        let heads = Heads::new(lower, upper, entries.iter().map(Entry::key));
        Self { heads, entries }
    }

    pub fn set_bounds(&mut self, lower: &[u8], upper: Option<&[u8]>) {
        self.heads = Heads::new(lower, upper, self.entries.iter().map(Entry::key));
    }

    /// Where `key` is, or where it would be inserted.
    pub fn position(&self, key: &[u8]) -> Result<usize, usize> {
        let candidates = self.heads.candidates(key);
        let from = candidates.start;
        match self.entries[candidates].binary_search_by(|entry| entry.key().cmp(key)) {
            Ok(at) => Ok(from + at),
            Err(at) => Err(from + at),
        }
    }

    /// An entry that a search for `key` compares with it; none if the heads tell that it is absent.
    pub fn candidate(&self, key: &[u8]) -> Option<&Entry> {
        self.entries[self.heads.candidates(key)].first()
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn entry_mut(&mut self, at: usize) -> &mut Entry {
        &mut self.entries[at]
    }

    /// The leaf must be split if it then holds more than [`LEAF_ENTRIES_MAX`].
    pub fn insert(&mut self, at: usize, entry: Entry) {
        self.heads.insert(at, entry.key());
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

    /// Takes over all entries of the leaf that follows; the bounds are those of both.
    pub fn absorb(&mut self, next: Self, lower: &[u8], upper: Option<&[u8]>) {
        self.entries.extend(next.entries);
        self.set_bounds(lower, upper);
    }
}
