//! Ids of everything committed, batches and transactions: what is here cannot be committed again.
//!
//! Each block has a row with what it added, eight bytes an id, in order; and every node keeps all of them together in one sorted set, from the
//! rows of committed blocks. What the primary has executed above these is looked up in the rows themselves, as they are gone with it if
//! the lead is lost.
//!
//! They stay in memory, some 25 bytes an id, and are not looked up in the history on disk: what a host removed from there could be committed
//! again. Eight bytes of a hash are enough where a coincidence makes a batch invalid that could be sent again.

use std::collections::BTreeSet;

use bytes::Bytes;
use coco_crypto::sha256;
use coco_kv::Snapshot;
use coco_types::WriteSet;

use crate::tables::{IDS, number_key, read_number};

/// See the module's text: of committed blocks.
#[derive(Default)]
pub struct Ids {
    known: BTreeSet<u64>,
    /// Blocks that are in it.
    blocks: u64,
}

/// Ids of a block that is being filled.
#[derive(Default)]
pub struct OpenIds(BTreeSet<u64>);

impl Ids {
    /// Whether an id is among these, or in a row of a later block.
    pub fn contains(&self, id: &str, row: impl FnMut(&[u8]) -> Option<Bytes>) -> bool {
        let short = short(id);
        self.known.contains(&short) || self.later(row).any(|ids| holds(&ids, short))
    }

    /// What a committed transaction adds.
    pub fn follow(&mut self, writes: &WriteSet) {
        for (number, ids) in writes.map(&IDS).into_iter().flatten() {
            if let (Some(number), Some(ids)) = (read_number(number), ids) {
                self.add(number, ids);
            }
        }
    }

    /// Everything that is in a state, of which nothing is dropped any more.
    pub fn rebuild(&mut self, state: &Snapshot) {
        if self.blocks > 0 && state.get(&IDS, &number_key(self.blocks - 1)).is_none() {
            *self = Self::default();
        }
        for (number, ids) in state.iter(&IDS) {
            if let Some(number) = read_number(&number) {
                self.add(number, &ids);
            }
        }
    }

    /// Rows come in order; those that are known come again.
    fn add(&mut self, number: u64, ids: &Bytes) {
        if number >= self.blocks {
            self.known.extend(shorts(ids));
            self.blocks = number + 1;
        }
    }

    fn later(&self, mut row: impl FnMut(&[u8]) -> Option<Bytes>) -> impl Iterator<Item = Bytes> {
        (self.blocks..).map_while(move |number| row(&number_key(number)))
    }
}

impl OpenIds {
    pub fn insert(&mut self, id: &str) {
        self.0.insert(short(id));
    }

    pub fn contains(&self, id: &str) -> bool {
        self.0.contains(&short(id))
    }

    /// The block's row.
    pub fn row(&self) -> Bytes {
        self.0.iter().flat_map(|short| short.to_be_bytes()).collect()
    }
}

fn short(id: &str) -> u64 {
    let hash = sha256(id.as_bytes());
    u64::from_be_bytes(*hash.0.first_chunk().expect("a hash has 32 bytes"))
}

fn shorts(row: &[u8]) -> impl Iterator<Item = u64> {
    row.as_chunks::<8>().0.iter().map(|short| u64::from_be_bytes(*short))
}

/// A row is sorted.
fn holds(row: &[u8], short: u64) -> bool {
    let (ids, _) = row.as_chunks::<8>();
    ids.binary_search(&short.to_be_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use coco_kv::Store;
    use coco_types::Seqno;

    use super::*;

    fn row(ids: &[&str]) -> Bytes {
        let mut open = OpenIds::default();
        ids.iter().for_each(|id| open.insert(id));
        open.row()
    }

    fn write(store: &Store, number: u64, ids: &[&str]) -> WriteSet {
        let mut writes = WriteSet::new();
        writes.insert(&IDS, number_key(number), Some(row(ids)));
        store.apply(Seqno(number + 1), &writes).unwrap();
        writes
    }

    #[test]
    fn committed_ids_and_those_above_them_are_known_until_they_are_dropped() {
        let (store, mut ids) = (Store::new(), Ids::default());
        ids.follow(&write(&store, 0, &["a", "b"]));
        store.commit(Seqno(1));
        write(&store, 1, &["c"]);
        write(&store, 2, &["d"]);
        let newest = store.newest_snapshot();
        let known = |ids: &Ids, state: &Snapshot| {
            ["a", "b", "c", "d", "e"].map(|id| ids.contains(id, |number| state.get(&IDS, number)))
        };
        assert_eq!(known(&ids, &newest), [true, true, true, true, false]);
        store.rollback();
        assert_eq!(known(&ids, &store.newest_snapshot()), [true, true, false, false, false]);
        let mut later = Ids::default();
        later.rebuild(&store.snapshot());
        assert_eq!(known(&later, &store.snapshot()), [true, true, false, false, false]);
        later.rebuild(&Store::new().snapshot());
        assert_eq!(known(&later, &Store::new().snapshot()), [false; 5], "another chain");
    }
}
