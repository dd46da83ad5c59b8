//! Looking things up, and having them indexed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use alloy_primitives::B256;
use coco_protocol::{DerivedHistory, History, HistoryError};
use parking_lot::Mutex;

use super::build::Indexer;
use super::page::{self, Runs};
use super::segment::{Header, Segment, damaged};
use super::{Directory, INDEX, PROGRESS, Progress, Tag, directory_key};
use crate::chain::Chain;

/// Headers of segments that are remembered.
const HEADERS_MAX: usize = 1 << 16;

/// The index of one node: its maker, and what all readers share.
#[derive(Default)]
pub struct Index {
    indexer: Indexer,
    headers: Mutex<BTreeMap<Segment, Header>>,
}

/// The index as one reader sees it.
#[derive(Clone, Copy)]
pub struct IndexView<'a> {
    index: &'a Index,
    history: &'a dyn History,
    next: u64,
}

impl Index {
    /// Does a piece of work; whether there is more.
    pub fn step(&self, chain: &Chain, history: &mut dyn DerivedHistory) -> Result<bool, HistoryError> {
        if let Some(number) = chain.take_went_back() {
            self.headers.lock().clear();
            self.indexer.go_back(number, history)?;
            return Ok(true);
        }
        match chain.committed_number() {
            Some(head) => self.indexer.step(head, history),
            None => Ok(false),
        }
    }

    /// Blocks below this are indexed. `hash` tells a block's hash in the reader's chain: what was indexed of another one does not count.
    pub fn next(&self, history: &dyn History, hash: impl FnOnce(u64) -> Option<B256>) -> Result<u64, HistoryError> {
        let stored = history.record(&INDEX, PROGRESS)?.and_then(|record| Progress::decode(&record)).unwrap_or_default();
        let fits = stored.next > 0 && hash(stored.next - 1) == Some(stored.last);
        Ok(if fits { stored.next } else { 0 })
    }

    /// With what [`Index::next`] told.
    pub fn view<'a>(&'a self, history: &'a dyn History, next: u64) -> IndexView<'a> {
        IndexView { index: self, history, next }
    }

    fn header(&self, segment: Segment, history: &dyn History) -> Result<Header, HistoryError> {
        if let Some(header) = self.headers.lock().get(&segment) {
            return Ok(*header);
        }
        let header = segment.header(history)?.ok_or_else(|| damaged(&segment))?;
        let mut headers = self.headers.lock();
        if headers.len() >= HEADERS_MAX {
            headers.clear();
        }
        headers.insert(segment, header);
        Ok(header)
    }
}

impl IndexView<'_> {
    /// The first indexed block at or above `from` that has this tag, or has another one that looks the same.
    pub fn first(&self, tag: Tag, mut from: u64) -> Result<Option<u64>, HistoryError> {
        while let Some(segment) = Segment::holding(from, self.next) {
            let runs = self.runs(segment, tag)?;
            if let Some(block) = blocks(&runs, segment, from..=u64::MAX).next() {
                return Ok(Some(block));
            }
            from = segment.end();
        }
        Ok(None)
    }

    /// The indexed blocks from `*from` on that have a tag of each of the groups, as far as one segment tells; `from` moves behind it.
    /// `None` at the end of what is indexed.
    pub fn some(&self, groups: &[Vec<Tag>], from: &mut u64) -> Result<Option<Vec<u64>>, HistoryError> {
        let Some(segment) = Segment::holding(*from, self.next) else { return Ok(None) };
        let mut in_all: Option<Runs> = None;
        for group in groups {
            let mut in_one = Vec::new();
            for tag in group {
                in_one.extend(self.runs(segment, *tag)?);
            }
            let in_one = united(in_one);
            in_all = Some(match in_all {
                None => in_one,
                Some(before) => shared(&before, &in_one),
            });
        }
        let found = blocks(&in_all.unwrap_or_default(), segment, *from..=u64::MAX).collect();
        *from = segment.end();
        Ok(Some(found))
    }

    /// Where in a block's record something lies, if it is large. A directory may be that of a block which was there before the chain went
    /// back: it tells its block's hash.
    pub fn directory(&self, number: u64) -> Result<Option<Directory>, HistoryError> {
        if number >= self.next {
            return Ok(None);
        }
        Ok(self.history.record(&INDEX, &directory_key(number))?.and_then(Directory::decode))
    }

    /// The same backwards: the indexed blocks below `*before`, newest first.
    pub fn some_before(&self, group: &[Tag], before: &mut u64) -> Result<Option<Vec<u64>>, HistoryError> {
        let Some(last) = before.checked_sub(1) else { return Ok(None) };
        let Some(segment) = Segment::holding(last, self.next) else { return Ok(None) };
        let mut runs = Runs::new();
        for tag in group {
            runs.extend(self.runs(segment, *tag)?);
        }
        *before = segment.first();
        Ok(Some(blocks(&united(runs), segment, 0..=last).rev().collect()))
    }

    /// Calls back with each row that changed in an indexed block at or above `from`, and the first such block; in no order, and where
    /// segments meet more than once, earlier blocks first.
    pub fn rows_since<E: From<HistoryError>>(
        &self,
        mut from: u64,
        mut visit: impl FnMut(Tag, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(segment) = Segment::holding(from, self.next) {
            for number in 0..1u32 << self.index.header(segment, self.history)?.bits {
                let mut visited = Ok(());
                let page = segment.page(self.history, number)?;
                let whole = page::each(&page, |tag, runs| {
                    if let Some(block) = blocks(&runs, segment, from..=u64::MAX).next().filter(|_| tag.is_row())
                        && visited.is_ok()
                    {
                        visited = visit(tag, block);
                    }
                });
                whole.ok_or_else(|| damaged(&segment))?;
                visited?;
            }
            from = segment.end();
        }
        Ok(())
    }

    fn runs(&self, segment: Segment, tag: Tag) -> Result<Runs, HistoryError> {
        let header = self.index.header(segment, self.history)?;
        let page = segment.page(self.history, header.page_of(tag))?;
        page::find(&page, tag).ok_or_else(|| damaged(&segment))
    }
}

/// The blocks of runs that lie within a range.
fn blocks(runs: &Runs, segment: Segment, within: RangeInclusive<u64>) -> impl DoubleEndedIterator<Item = u64> {
    let first = segment.first();
    let (from, to) = (*within.start(), *within.end());
    let range = move |(start, count): &(u32, u32)| {
        let start = first + u64::from(*start);
        start.max(from)..(start + u64::from(*count)).min(to.saturating_add(1))
    };
    runs.iter().flat_map(range)
}

/// The blocks that are in some of these runs.
fn united(mut runs: Runs) -> Runs {
    runs.sort_unstable();
    let mut all = Runs::new();
    runs.into_iter().for_each(|run| page::push(&mut all, run));
    all
}

/// The blocks that are in both.
fn shared(a: &Runs, b: &Runs) -> Runs {
    let mut both = Runs::new();
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some((a_first, a_count)), Some((b_first, b_count))) = (a.peek(), b.peek()) {
        let (a_end, b_end) = (a_first + a_count, b_first + b_count);
        let (first, end) = ((*a_first).max(*b_first), a_end.min(b_end));
        if first < end {
            page::push(&mut both, (first, end - first));
        }
        if a_end <= b_end {
            a.next();
        } else {
            b.next();
        }
    }
    both
}
