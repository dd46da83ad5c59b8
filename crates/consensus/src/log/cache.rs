//! The newest batches' bytes, bounded.

use std::collections::BTreeMap;

use bytes::Bytes;

pub(super) struct Cache {
    batches: BTreeMap<u64, Bytes>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { batches: BTreeMap::new(), bytes: 0, bytes_max }
    }

    pub(super) fn get(&self, index: u64) -> Option<Bytes> {
        self.batches.get(&index).cloned()
    }

    /// Keeps a batch and drops the oldest ones that no longer fit.
    pub(super) fn insert(&mut self, index: u64, batch: Bytes) {
        self.bytes += batch.len();
        self.batches.insert(index, batch);
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.batches.pop_first() else { break };
            self.bytes -= oldest.len();
        }
    }

    pub(super) fn truncate_from(&mut self, index: u64) {
        let dropped = self.batches.split_off(&index);
        self.bytes -= dropped.values().map(Bytes::len).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_the_newest_batches_within_its_bound() {
        let mut cache = Cache::new(10);
        for index in 1..=4 {
            cache.insert(index, Bytes::from(vec![0; 4]));
        }
        assert!(cache.get(2).is_none());
        assert!(cache.get(3).is_some());
        cache.truncate_from(3);
        assert!(cache.get(3).is_none());
        assert_eq!(cache.bytes, 0);
    }
}
