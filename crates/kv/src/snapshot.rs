//! A version of the whole store that stays readable.

use std::ops::RangeBounds;
use std::sync::Arc;

use bytes::Bytes;
use coco_types::{MapName, Seqno};

use crate::interval::Interval;
use crate::map::Maps;
use crate::scan::{Scan, ScanBack};
use crate::store::Shared;
use crate::tx::Tx;

/// The store as it is at one version, whatever is written later. Cheap to clone; keeps its version alive until dropped.
///
/// One on an uncommitted version ([`Store::newest_snapshot`](crate::Store::newest_snapshot)) reads garbage after a rollback;
/// [`Store::validate`](crate::Store::validate) then refuses what was read on it.
#[derive(Clone)]
pub struct Snapshot {
    pin: Arc<Pin>,
}

/// Keeps one version alive.
pub(crate) struct Pin {
    pub shared: Arc<Shared>,
    pub maps: Arc<Maps>,
    pub version: Seqno,
    /// Rollbacks before this snapshot, if its version was not committed: another one makes it meaningless.
    pub uncommitted_since: Option<u64>,
}

impl Snapshot {
    pub(crate) fn new(pin: Pin) -> Self {
        Self { pin: Arc::new(pin) }
    }

    pub(crate) fn pin(&self) -> &Pin {
        &self.pin
    }

    pub fn version(&self) -> Seqno {
        self.pin.version
    }

    /// A transaction that reads this version. What is written to it can be read in it, and goes nowhere.
    pub fn begin(&self) -> Tx {
        Tx::new(self.clone(), false)
    }

    /// Whether its version was not dropped by a rollback. Said of a version that is committed by now, it is the one that was read here.
    pub fn still_stands(&self) -> bool {
        self.pin.uncommitted_since.is_none_or(|then| then == self.pin.shared.rollbacks())
    }

    pub fn get(&self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        let index = self.pin.maps.find(map)?.index.read();
        index.record(key, self.pin.version).and_then(|record| record.cell.value_bytes())
    }

    /// The version that wrote the value that this snapshot has. After [`Store::restore`](crate::Store::restore) it is the
    /// restored version for every key that was not written since.
    pub fn written_at(&self, map: &MapName, key: &[u8]) -> Option<Seqno> {
        let index = self.pin.maps.find(map)?.index.read();
        index.record(key, self.pin.version).map(|record| record.version)
    }

    /// The keys and values within these bounds, in key order. Bounds in the wrong order hold nothing.
    pub fn range<'a>(&self, map: &MapName, bounds: impl RangeBounds<&'a [u8]>) -> Scan {
        self.scan(map, Interval::new(bounds))
    }

    /// The same, from the greatest key down.
    pub fn range_back<'a>(&self, map: &MapName, bounds: impl RangeBounds<&'a [u8]>) -> ScanBack {
        ScanBack::new(self.clone(), self.pin.maps.find(map).cloned(), Interval::new(bounds))
    }

    /// The keys that start with `prefix` and their values, in key order.
    pub fn prefix(&self, map: &MapName, prefix: &[u8]) -> Scan {
        self.scan(map, Interval::prefix(prefix))
    }

    /// A whole map, in key order.
    pub fn iter(&self, map: &MapName) -> Scan {
        self.scan(map, Interval::whole())
    }

    /// The maps that hold anything at this version, in name order.
    pub fn maps(&self) -> Vec<MapName> {
        let all = self.pin.maps.iter().map(|map| &map.name);
        all.filter(|name| self.iter(name).next().is_some()).cloned().collect()
    }

    pub(crate) fn scan(&self, map: &MapName, interval: Interval) -> Scan {
        Scan::new(self.clone(), self.pin.maps.find(map).cloned(), interval)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({})", self.pin.version)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.shared.unpin(self.version);
    }
}
