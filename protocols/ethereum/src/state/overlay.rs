//! Changes that are never written: simulation.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coco_types::{MapName, WriteSet};

use super::{ReadState, State};

/// A state that can be changed freely, on top of one that cannot. Cloning copies the changes.
#[derive(Clone)]
pub struct Overlay {
    base: Arc<dyn ReadState>,
    changes: WriteSet,
}

impl Overlay {
    pub fn new(base: Arc<dyn ReadState>) -> Self {
        Self { base, changes: WriteSet::new() }
    }
}

impl ReadState for Overlay {
    fn value(&self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        match self.changes.get(map, key) {
            Some(change) => change.cloned(),
            None => self.base.value(map, key),
        }
    }

    fn with_prefix(&self, map: &MapName, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let mut rows: BTreeMap<Bytes, Bytes> = self.base.with_prefix(map, prefix).into_iter().collect();
        let changes = self.changes.map(map).into_iter().flatten();
        for (key, value) in changes.filter(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => drop(rows.insert(key.clone(), value.clone())),
                None => drop(rows.remove(key)),
            }
        }
        rows.into_iter().collect()
    }
}

impl State for Overlay {
    fn value(&mut self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        ReadState::value(self, map, key)
    }

    fn with_prefix(&mut self, map: &MapName, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        ReadState::with_prefix(self, map, prefix)
    }

    fn set(&mut self, map: &MapName, key: Bytes, value: Option<Bytes>) {
        self.changes.insert(map, key, value);
    }

    /// Simulation is bounded by gas and time; nothing of it goes into the ledger.
    fn written_bytes(&self) -> usize {
        0
    }
}
