//! Iteration over a snapshot, a page at a time.
//!
//! The map's lock is held for one page only, and a page shares the stored values instead of copying them, so a scan of
//! the largest map neither stops the writer nor needs memory. The first pages are small: most scans want few keys.

use std::sync::Arc;
use std::vec;

use bytes::Bytes;

use crate::cell::Cell;
use crate::interval::Interval;
use crate::map::Map;
use crate::snapshot::Snapshot;

const FIRST_PAGE_RECORDS: usize = 8;
const PAGE_RECORDS_MAX: usize = 256;

/// Keys and values of one map in key order. Owns its snapshot.
pub struct Scan {
    snapshot: Snapshot,
    map: Option<Arc<Map>>,
    /// What is still to be read; `None` when nothing is.
    rest: Option<Interval>,
    page: vec::IntoIter<Cell>,
    page_records: usize,
}

/// The same from the greatest key down.
pub struct ScanBack(Scan);

impl ScanBack {
    pub(crate) fn new(snapshot: Snapshot, map: Option<Arc<Map>>, interval: Interval) -> Self {
        Self(Scan::new(snapshot, map, interval))
    }
}

impl Scan {
    pub(crate) fn new(snapshot: Snapshot, map: Option<Arc<Map>>, interval: Interval) -> Self {
        let rest = Some(interval).filter(|interval| !interval.is_empty());
        Self { snapshot, map, rest, page: Vec::new().into_iter(), page_records: FIRST_PAGE_RECORDS }
    }
}

impl Iterator for Scan {
    type Item = (Bytes, Bytes);

    fn next(&mut self) -> Option<(Bytes, Bytes)> {
        loop {
            if let Some(cell) = self.page.next() {
                return Some(row(&cell));
            }
            let interval = self.rest.take()?;
            let page = self.map.as_ref()?.index.read().page(&interval, self.snapshot.version(), self.page_records);
            self.page_records = (self.page_records * 4).min(PAGE_RECORDS_MAX);
            self.rest = page.next.map(|next| Interval { start: next.key_bytes(), end: interval.end });
            self.page = page.cells.into_iter();
        }
    }
}

impl Iterator for ScanBack {
    type Item = (Bytes, Bytes);

    fn next(&mut self) -> Option<(Bytes, Bytes)> {
        let scan = &mut self.0;
        loop {
            if let Some(cell) = scan.page.next() {
                return Some(row(&cell));
            }
            let interval = scan.rest.take()?;
            let page = scan.map.as_ref()?.index.read().page_back(&interval, scan.snapshot.version(), scan.page_records);
            scan.page_records = (scan.page_records * 4).min(PAGE_RECORDS_MAX);
            scan.rest = page.next.map(|next| Interval { start: interval.start, end: Some(next.key_bytes()) });
            scan.page = page.cells.into_iter();
        }
    }
}

fn row(cell: &Cell) -> (Bytes, Bytes) {
    (cell.key_bytes(), cell.value_bytes().expect("a page has no removals"))
}
