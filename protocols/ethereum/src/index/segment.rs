//! Segments: where their parts are, and merging.
//!
//! | key | value |
//! |---|---|
//! | level, number | bits (1 byte), bytes of all pages (8 bytes) |
//! | level, number, page (4 bytes) | [`super::page`]; absent if it would be empty |

use bytes::Bytes;
use coco_protocol::{DerivedHistory, History, HistoryError};

use super::page::{self, Entries};
use super::{FANOUT, INDEX, LEVEL_MAX, Tag};

/// What a page should be like, bytes.
const PAGE_BYTES: u64 = 8 << 10;
/// No segment has more pages than two to the power of this.
const BITS_MAX: u8 = 24;

/// A segment's name: blocks `number * 16^level` and on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    pub level: u8,
    pub number: u64,
}

/// What is known of a segment that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// There are two to the power of so many pages.
    pub bits: u8,
    bytes: u64,
}

impl Segment {
    /// Number of blocks in a segment of this level.
    pub fn blocks(level: u8) -> u64 {
        FANOUT.pow(u32::from(level))
    }

    /// The largest segment that holds this block, if all blocks below `next` are indexed; there is one if it is below.
    pub fn holding(block: u64, next: u64) -> Option<Self> {
        let segment = |level| Self { level, number: block / Self::blocks(level) };
        (1..=LEVEL_MAX).rev().map(segment).find(|segment| segment.end() <= next)
    }

    pub fn first(&self) -> u64 {
        self.number * Self::blocks(self.level)
    }

    /// The block behind its last.
    pub fn end(&self) -> u64 {
        self.first().saturating_add(Self::blocks(self.level))
    }

    /// The segment that it will be merged into.
    pub fn parent(&self) -> Option<Self> {
        (self.level < LEVEL_MAX).then_some(Self { level: self.level + 1, number: self.number / FANOUT })
    }

    fn children(&self) -> impl Iterator<Item = Self> {
        let (level, first) = (self.level - 1, self.number * FANOUT);
        (first..first + FANOUT).map(move |number| Self { level, number })
    }

    fn key(&self) -> Vec<u8> {
        [&[self.level], &self.number.to_be_bytes()[..]].concat()
    }

    fn page_key(&self, page: u32) -> Vec<u8> {
        [&self.key()[..], &page.to_be_bytes()].concat()
    }

    pub fn header(&self, history: &dyn History) -> Result<Option<Header>, HistoryError> {
        Ok(history.record(&INDEX, &self.key())?.and_then(|record| Header::decode(&record)))
    }

    pub fn page(&self, history: &dyn History, page: u32) -> Result<Bytes, HistoryError> {
        Ok(history.record(&INDEX, &self.page_key(page))?.unwrap_or_default())
    }

    /// An empty page is not written. Where the chain went back an old one may stay, of which whoever reads it finds nothing in the blocks.
    fn keep_page(&self, page: u32, entries: &Entries, history: &mut dyn DerivedHistory) {
        if !entries.is_empty() {
            history.keep(&INDEX, self.page_key(page).into(), page::encode(entries).into());
        }
    }

    /// A segment with pages of its own, from its blocks' tags.
    pub fn keep(&self, entries: Entries, history: &mut dyn DerivedHistory) {
        let bytes = page::encode(&entries).len() as u64;
        let header = Header::for_bytes(bytes);
        let mut pages: Vec<Entries> = vec![Entries::new(); 1 << header.bits];
        for (tag, runs) in entries {
            pages[header.page_of(tag) as usize].insert(tag, runs);
        }
        for (page, entries) in (0u32..).zip(&pages) {
            self.keep_page(page, entries, history);
        }
        history.keep(&INDEX, self.key().into(), header.encode());
    }
}

impl Header {
    fn for_bytes(bytes: u64) -> Self {
        let pages = bytes.div_ceil(PAGE_BYTES).next_power_of_two();
        Self { bits: (pages.trailing_zeros() as u8).min(BITS_MAX), bytes }
    }

    pub fn page_of(&self, tag: Tag) -> u32 {
        (tag.0 >> 32 >> (32 - u32::from(self.bits))) as u32
    }

    fn encode(&self) -> Bytes {
        [&[self.bits], &self.bytes.to_be_bytes()[..]].concat().into()
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (bits, bytes) = record.split_first()?;
        let bytes = u64::from_be_bytes(bytes.try_into().ok()?);
        (*bits <= BITS_MAX).then_some(Self { bits: *bits, bytes })
    }
}

/// A merge that is going on: it makes one page after the other.
pub(super) struct Merge {
    into: Segment,
    header: Header,
    next: u32,
    parts: Vec<Part>,
}

/// One of the segments that are merged, with the page of it that was read last.
struct Part {
    segment: Segment,
    header: Header,
    page: Option<(u32, Entries)>,
}

impl Merge {
    pub fn begin(into: Segment, history: &dyn History) -> Result<Self, HistoryError> {
        let mut parts = Vec::new();
        for segment in into.children() {
            let header = segment.header(history)?.ok_or_else(|| damaged(&segment))?;
            parts.push(Part { segment, header, page: None });
        }
        let header = Header::for_bytes(parts.iter().map(|part| part.header.bytes).sum());
        Ok(Self { into, header, next: 0, parts })
    }

    /// Makes so many pages; whether the segment is complete.
    pub fn step(&mut self, pages: u32, history: &mut dyn DerivedHistory) -> Result<bool, HistoryError> {
        let last = 1u32 << self.header.bits;
        for page in self.next..last.min(self.next.saturating_add(pages)) {
            let mut merged = Entries::new();
            for part in &mut self.parts {
                let offset = u32::try_from(part.segment.first() - self.into.first()).unwrap_or(u32::MAX);
                // A part has no more pages than the whole, so that a page of the whole lies within one of the part's.
                let of_part = page >> (self.header.bits - part.header.bits);
                for (tag, runs) in part.entries(of_part, history)? {
                    if self.header.page_of(*tag) == page {
                        let all = merged.entry(*tag).or_default();
                        runs.iter().for_each(|(first, blocks)| page::push(all, (first + offset, *blocks)));
                    }
                }
            }
            self.into.keep_page(page, &merged, history);
            self.next = page + 1;
        }
        if self.next < last {
            return Ok(false);
        }
        history.keep(&INDEX, self.into.key().into(), self.header.encode());
        Ok(true)
    }
}

impl Part {
    fn entries(&mut self, page: u32, history: &dyn History) -> Result<&Entries, HistoryError> {
        if self.page.as_ref().is_none_or(|(number, _)| *number != page) {
            let record = self.segment.page(history, page)?;
            let mut entries = Entries::new();
            let whole = page::each(&record, |tag, runs| drop(entries.insert(tag, runs)));
            whole.ok_or_else(|| damaged(&self.segment))?;
            self.page = Some((page, entries));
        }
        Ok(&self.page.as_ref().expect("it was read above").1)
    }
}

pub(super) fn damaged(segment: &Segment) -> HistoryError {
    HistoryError(format!("the index is damaged at {segment:?}"))
}
