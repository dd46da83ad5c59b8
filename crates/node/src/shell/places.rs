//! Places for requests under way, equally few for each kind of request: a flood of one kind leaves the others theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// See the module's text.
pub struct Places<K> {
    of_one_max: usize,
    taken: Taken<K>,
}

/// Free again once it is dropped.
pub struct Place<K: Ord> {
    kind: K,
    taken: Taken<K>,
}

type Taken<K> = Arc<Mutex<BTreeMap<K, usize>>>;

impl<K: Ord + Clone> Places<K> {
    /// At least one for each kind.
    pub fn new(of_one_max: usize) -> Self {
        Self { of_one_max, taken: Arc::default() }
    }

    /// `None`: this kind has all of its own.
    pub fn take(&self, kind: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock();
        let count = taken.get(&kind).copied().unwrap_or(0);
        if count >= self.of_one_max {
            return None;
        }
        taken.insert(kind.clone(), count + 1);
        Some(Place { kind, taken: Arc::clone(&self.taken) })
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.kind) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.kind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_takes_no_more_than_its_own_places_and_each_is_free_again_once_it_is_left() {
        let places = Places::new(2);
        let mut flood: Vec<_> = (0..9).filter_map(|_| places.take("flood")).collect();
        assert_eq!(flood.len(), 2);
        let other = places.take("other");
        assert!(other.is_some());
        drop(flood.pop());
        assert!(places.take("flood").is_some());
        drop((flood, other));
        assert!(places.taken.lock().is_empty());
    }
}
