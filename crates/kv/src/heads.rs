//! The heads of a run of sorted byte strings: four bytes of each as a number.
//!
//! A lookup compares heads first, and then one whole string or a few, so that it touches a few neighbouring cache lines instead
//! of a string per comparison. A head starts after the prefix that every string between the run's bounds must share;
//! otherwise all the keys below one contract's address would have the same head. Among equal heads whole strings are compared, so
//! no choice of keys is worse than an ordinary binary search.

use std::ops::Range;

use crate::separator::shared_prefix;

/// A run holds fewer strings than this.
pub(crate) const HEADS: usize = 64;

pub(crate) struct Heads {
    /// The length of the prefix that the run's bounds share, and so every string between them.
    skip: u32,
    length: u32,
    /// Ascending; those not in use are the greatest number.
    heads: [u32; HEADS],
}

impl Heads {
    /// `lower` is the least string that may enter, `upper` the least that may not (`None`: no bound).
    pub fn new<'a>(lower: &[u8], upper: Option<&[u8]>, strings: impl Iterator<Item = &'a [u8]>) -> Self {
        let skip = upper.map_or(0, |upper| shared_prefix(lower, upper)) as u32;
        let mut heads = Self { skip, length: 0, heads: [u32::MAX; HEADS] };
        for string in strings {
            heads.heads[heads.length as usize] = heads.head(string);
            heads.length += 1;
        }
        heads
    }

    /// Where the strings are that only a whole comparison tells from this one. Those before are less, those after greater.
    pub fn candidates(&self, string: &[u8]) -> Range<usize> {
        let head = self.head(string);
        // Counting all of them is faster than a binary search: the processor fetches and compares many at a time.
        let from = self.heads.iter().map(|other| u32::from(*other < head)).sum::<u32>() as usize;
        let same = self.heads[from..self.length as usize].iter().take_while(|other| **other == head).count();
        from..from + same
    }

    pub fn insert(&mut self, at: usize, string: &[u8]) {
        let head = self.head(string);
        self.heads.copy_within(at..self.length as usize, at + 1);
        self.heads[at] = head;
        self.length += 1;
    }

    pub fn remove(&mut self, at: usize) {
        self.heads.copy_within(at + 1..self.length as usize, at);
        self.length -= 1;
        self.heads[self.length as usize] = u32::MAX;
    }

    fn head(&self, string: &[u8]) -> u32 {
        let rest = string.get(self.skip as usize..).unwrap_or_default();
        if let Some(first) = rest.first_chunk() {
            return u32::from_be_bytes(*first);
        }
        let mut padded = [0; 4];
        padded[..rest.len()].copy_from_slice(rest);
        u32::from_be_bytes(padded)
    }
}
