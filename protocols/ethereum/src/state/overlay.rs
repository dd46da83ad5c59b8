//! Changes that are never written: simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use alloy_primitives::Address;
use bytes::Bytes;
use coco_types::{MapName, WriteSet};

use super::{ReadState, STORAGE, State};

/// A state that can be changed freely, on top of one that cannot. Cloning copies the changes.
#[derive(Clone)]
pub struct Overlay {
    base: Arc<dyn ReadState>,
    changes: WriteSet,
    /// Accounts of whose storage only the changes count. What is below may be large: it is not read to be removed.
    emptied: BTreeSet<Address>,
}

impl Overlay {
    pub fn new(base: Arc<dyn ReadState>) -> Self {
        Self { base, changes: WriteSet::new(), emptied: BTreeSet::new() }
    }

    /// Removes every slot of an account.
    pub fn empty_storage(&mut self, address: &Address) {
        self.emptied.insert(*address);
        let changed: Vec<Bytes> = self.changed(&STORAGE, address.as_slice()).map(|(key, _)| key.clone()).collect();
        let changes = self.changes.map_mut(&STORAGE);
        changed.iter().for_each(|key| drop(changes.remove(key)));
    }

    fn changed<'a>(&'a self, map: &MapName, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let changes = self.changes.map(map).into_iter().flat_map(move |changes| changes.range::<[u8], _>(from));
        changes.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Whether a key, or a prefix of keys, is of a storage that was emptied.
    fn is_emptied(&self, map: &MapName, key: &[u8]) -> bool {
        let of_emptied = |address: &[u8; 20]| self.emptied.contains(&Address::from(*address));
        !self.emptied.is_empty() && *map == STORAGE && key.first_chunk::<20>().is_some_and(of_emptied)
    }
}

impl ReadState for Overlay {
    fn value(&self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        match self.changes.get(map, key) {
            Some(change) => change.cloned(),
            None if self.is_emptied(map, key) => None,
            None => self.base.value(map, key),
        }
    }

    fn with_prefix(&self, map: &MapName, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let below = if self.is_emptied(map, prefix) { Vec::new() } else { self.base.with_prefix(map, prefix) };
        let below = below.into_iter().filter(|(key, _)| !self.is_emptied(map, key));
        let mut rows: BTreeMap<Bytes, Bytes> = below.collect();
        for (key, value) in self.changed(map, prefix) {
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

#[cfg(test)]
mod tests {
    use super::*;

    use alloy_primitives::U256;

    use crate::state::storage_key;

    fn row(account: u8, slot: u64, value: u8) -> (Bytes, Bytes) {
        (storage_key(&Address::repeat_byte(account), U256::from(slot)), Bytes::copy_from_slice(&[value]))
    }

    #[test]
    fn of_a_storage_that_was_emptied_only_what_is_set_later_is_left() {
        let mut below = Overlay::new(Arc::new(coco_kv::Store::new().snapshot()));
        for (key, value) in [row(1, 1, 1), row(2, 1, 1), row(2, 2, 2), row(3, 1, 1)] {
            below.set(&STORAGE, key, Some(value));
        }
        let mut overlay = Overlay::new(Arc::new(below));
        overlay.set(&STORAGE, row(2, 3, 3).0, Some(row(2, 3, 3).1));
        let untouched = overlay.clone();
        overlay.empty_storage(&Address::repeat_byte(2));
        for slot in 1..=3 {
            assert_eq!(ReadState::value(&overlay, &STORAGE, &row(2, slot, 0).0), None);
        }
        assert!(ReadState::with_prefix(&overlay, &STORAGE, &[2; 20]).is_empty());
        let (key, value) = row(2, 2, 9);
        overlay.set(&STORAGE, key.clone(), Some(value.clone()));
        assert_eq!(ReadState::value(&overlay, &STORAGE, &key), Some(value));
        assert_eq!(ReadState::with_prefix(&overlay, &STORAGE, &[2; 20]), [row(2, 2, 9)]);
        assert_eq!(ReadState::with_prefix(&overlay, &STORAGE, &[]), [row(1, 1, 1), row(2, 2, 9), row(3, 1, 1)]);
        assert_eq!(ReadState::with_prefix(&untouched, &STORAGE, &[2; 20]).len(), 3, "a copy is of its own");
    }
}
