//! What a transaction has read, for optimistic concurrency.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;
use coco_types::{MapName, Seqno};

use crate::snapshot::Snapshot;

/// The keys (present or absent) and ranges that a transaction has read, and the snapshot it read them on.
///
/// Holds that snapshot: while it lives, a removal that it would have to notice is not pruned.
#[derive(Debug)]
pub struct ReadSet {
    base: Snapshot,
    tracked: bool,
    maps: BTreeMap<MapName, MapReads>,
}

#[derive(Debug, Default)]
pub(crate) struct MapReads {
    pub keys: BTreeSet<Bytes>,
    pub scans: Vec<Scanned>,
}

/// How far a scan came: from `start` to `end`, whether keys were found there or not.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub start: Bytes,
    pub end: Bound<Bytes>,
}

impl ReadSet {
    pub(crate) fn new(base: Snapshot, tracked: bool) -> Self {
        Self { base, tracked, maps: BTreeMap::new() }
    }

    pub fn base_version(&self) -> Seqno {
        self.base.version()
    }

    /// Nothing was read, or reads were not tracked.
    pub fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    pub(crate) fn base(&self) -> &Snapshot {
        &self.base
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked
    }

    pub(crate) fn maps(&self) -> impl Iterator<Item = (&MapName, &MapReads)> {
        self.maps.iter()
    }

    pub(crate) fn record_key(&mut self, map: &MapName, key: &[u8]) {
        if self.tracked {
            let keys = &mut self.of_map(map).keys;
            if !keys.contains(key) {
                keys.insert(Bytes::copy_from_slice(key));
            }
        }
    }

    /// Starts a scan that has read nothing yet. `None` if reads are not tracked.
    pub(crate) fn record_scan(&mut self, map: &MapName, start: &Bytes) -> Option<&mut Scanned> {
        if !self.tracked {
            return None;
        }
        let scans = &mut self.of_map(map).scans;
        scans.push(Scanned { start: start.clone(), end: Bound::Excluded(start.clone()) });
        scans.last_mut()
    }

    fn of_map(&mut self, map: &MapName) -> &mut MapReads {
        if !self.maps.contains_key(map) {
            self.maps.insert(map.clone(), MapReads::default());
        }
        self.maps.get_mut(map).expect("inserted above when absent")
    }
}
