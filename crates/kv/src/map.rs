//! One named map, and the list of all of them.

use std::sync::Arc;

use coco_types::MapName;
use parking_lot::RwLock;

use crate::index::Index;

pub(crate) struct Map {
    pub name: MapName,
    pub index: RwLock<Index>,
}

/// All maps, by name. Replaced as a whole when a map is added, so that a snapshot finds its maps without a lock.
/// A map that is added later holds nothing that an earlier snapshot could see.
#[derive(Clone, Default)]
pub(crate) struct Maps(Vec<Arc<Map>>);

impl Maps {
    pub fn find(&self, name: &MapName) -> Option<&Arc<Map>> {
        self.position(name).ok().map(|at| &self.0[at])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Map>> {
        self.0.iter()
    }

    /// This list with one more map, which it must not have yet.
    pub fn with_new(&self, name: &MapName) -> (Self, Arc<Map>) {
        let at = self.position(name).expect_err("maps have different names");
        let map = Arc::new(Map { name: name.clone(), index: RwLock::new(Index::new()) });
        let mut maps = Vec::with_capacity(self.0.len() + 1);
        maps.extend_from_slice(&self.0[..at]);
        maps.push(Arc::clone(&map));
        maps.extend_from_slice(&self.0[at..]);
        (Self(maps), map)
    }

    fn position(&self, name: &MapName) -> Result<usize, usize> {
        self.0.binary_search_by(|map| map.name.cmp(name))
    }
}
