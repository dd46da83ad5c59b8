//! What one ledger transaction writes.

use std::collections::BTreeMap;
use std::collections::btree_map;

use bytes::Bytes;

use crate::MapName;

/// The writes to one map: key to new value, `None` for a removal. Ordered by key bytes.
pub type MapWrites = BTreeMap<Bytes, Option<Bytes>>;

/// Everything one transaction writes, ordered by map name and then by key, so that its encoding is deterministic.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WriteSet {
    maps: BTreeMap<MapName, MapWrites>,
}

impl WriteSet {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`, or removes it with `None`. The last write of a key wins.
    pub fn insert(&mut self, map: &MapName, key: Bytes, value: Option<Bytes>) {
        self.map_mut(map).insert(key, value);
    }

    /// The writes to one map, created empty if there are none yet.
    pub fn map_mut(&mut self, map: &MapName) -> &mut MapWrites {
        if !self.maps.contains_key(map) {
            self.maps.insert(map.clone(), MapWrites::new());
        }
        self.maps.get_mut(map).expect("inserted above when absent")
    }

    /// `None`: this key is not written. `Some(None)`: it is removed.
    pub fn get(&self, map: &MapName, key: &[u8]) -> Option<Option<&Bytes>> {
        Some(self.maps.get(map)?.get(key)?.as_ref())
    }

    pub fn map(&self, map: &MapName) -> Option<&MapWrites> {
        self.maps.get(map)
    }

    pub fn iter(&self) -> btree_map::Iter<'_, MapName, MapWrites> {
        self.maps.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.maps.values().all(BTreeMap::is_empty)
    }

    /// The number of keys written or removed.
    pub fn len(&self) -> usize {
        self.maps.values().map(BTreeMap::len).sum()
    }

    /// The bytes of all names, keys and values: what limits are measured against.
    pub fn bytes(&self) -> usize {
        let of_map = |writes: &MapWrites| -> usize {
            writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum()
        };
        self.maps.iter().map(|(name, writes)| name.as_str().len() + of_map(writes)).sum()
    }
}

impl IntoIterator for WriteSet {
    type Item = (MapName, MapWrites);
    type IntoIter = btree_map::IntoIter<MapName, MapWrites>;

    fn into_iter(self) -> Self::IntoIter {
        self.maps.into_iter()
    }
}

impl<'a> IntoIterator for &'a WriteSet {
    type Item = (&'a MapName, &'a MapWrites);
    type IntoIter = btree_map::Iter<'a, MapName, MapWrites>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<(MapName, MapWrites)> for WriteSet {
    fn from_iter<I: IntoIterator<Item = (MapName, MapWrites)>>(maps: I) -> Self {
        Self { maps: maps.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: MapName = MapName::from_static("records");

    #[test]
    fn the_last_write_of_a_key_wins_and_a_removal_is_a_write() {
        let mut writes = WriteSet::new();
        writes.insert(&MAP, Bytes::from_static(b"k"), Some(Bytes::from_static(b"1")));
        writes.insert(&MAP, Bytes::from_static(b"k"), None);
        assert_eq!(writes.get(&MAP, b"k"), Some(None));
        assert_eq!(writes.get(&MAP, b"other"), None);
        assert_eq!(writes.len(), 1);
    }
}
