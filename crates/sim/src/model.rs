//! The state as a plain map: what every node's store must show. Its digest follows each write, so that comparing states costs
//! no more than what was written.

use std::collections::BTreeMap;

use bytes::Bytes;
use coco_crypto::{Sha256, sha256_of};
use coco_kv::Snapshot;
use coco_types::{Digest, MapName, Retention, WriteSet};

/// See the module's text.
#[derive(Default)]
pub struct Model {
    rows: BTreeMap<(MapName, Bytes), Bytes>,
    sum: Sum,
}

/// The exclusive or of all rows' digests: independent of their order. Nobody forges here, so its weakness does not matter.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Sum([u8; 32]);

impl Model {
    pub fn apply(&mut self, writes: &WriteSet) {
        for (map, key, value) in live_rows(writes) {
            let place = (map.clone(), key.clone());
            let before = match value {
                Some(value) => self.rows.insert(place, value.clone()),
                None => self.rows.remove(&place),
            };
            for row in [before.as_ref(), value].into_iter().flatten() {
                self.sum.flip(map, key, row);
            }
        }
    }

    pub fn sum(&self) -> Sum {
        self.sum
    }

    /// A row that a store shows otherwise than it was written here.
    pub fn differs(&self, state: &Snapshot, writes: &WriteSet) -> Option<String> {
        let wrong = |(map, key, _): &(&MapName, &Bytes, _)| {
            state.get(map, key).as_ref() != self.rows.get(&((*map).clone(), (*key).clone()))
        };
        live_rows(writes).find(wrong).map(|(map, key, _)| format!("{map} at {key:?}"))
    }
}

impl Sum {
    /// Of a whole store.
    pub fn of(state: &Snapshot) -> Self {
        let mut sum = Self::default();
        for map in state.maps() {
            for (key, value) in state.iter(&map) {
                sum.flip(&map, &key, &value);
            }
        }
        sum
    }

    fn flip(&mut self, map: &MapName, key: &[u8], value: &[u8]) {
        let name = map.as_str().as_bytes();
        let (name_len, key_len) = ((name.len() as u64).to_le_bytes(), (key.len() as u64).to_le_bytes());
        let row = sha256_of(&[&name_len, name, &key_len, key, value]);
        for (byte, other) in self.0.iter_mut().zip(row.as_bytes()) {
            *byte ^= other;
        }
    }
}

/// What a transaction wrote, history included.
pub fn digest(writes: &WriteSet) -> Digest {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for (map, rows) in writes {
        put(map.as_str().as_bytes());
        for (key, value) in rows {
            put(key);
            put(&[u8::from(value.is_some())]);
            put(value.as_deref().unwrap_or_default());
        }
    }
    hash.finish()
}

fn live_rows(writes: &WriteSet) -> impl Iterator<Item = (&MapName, &Bytes, Option<&Bytes>)> {
    let live = writes.iter().filter(|(map, _)| map.retention() == Retention::Live);
    live.flat_map(|(map, rows)| rows.iter().map(move |(key, value)| (map, key, value.as_ref())))
}
