//! Cells that nobody sees any more, kept for the next writes of their size.
//!
//! An allocator groups blocks by address. Updates of random keys give it one block back in each of thousands of groups, and
//! then want one from each: every time it visits a group that no cache holds. A cell pruned a moment ago is at hand.

use std::collections::BTreeMap;

use crate::cell::Cell;

/// The spares of one map: more than a large batch supersedes, half a megabyte at most.
const SPARES_MAX: usize = 2048;
/// Longer cells are few, and allocating one costs little beside filling it.
const SPARE_BYTES_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Spares {
    by_length: BTreeMap<usize, Vec<Cell>>,
    count: usize,
}

impl Spares {
    /// A cell as [`Cell::new`] makes it.
    pub fn cell(&mut self, key: &[u8], value: Option<&[u8]>) -> Cell {
        let length = key.len() + value.map_or(0, <[u8]>::len);
        let spare = self.by_length.get_mut(&length).and_then(Vec::pop);
        self.count -= usize::from(spare.is_some());
        spare.and_then(|spare| spare.overwritten(key, value)).unwrap_or_else(|| Cell::new(key, value))
    }

    pub fn keep(&mut self, cell: Cell) {
        if cell.length() > SPARE_BYTES_MAX {
            return;
        }
        if self.count == SPARES_MAX {
            // Full of lengths that writes no longer have.
            self.by_length.clear();
            self.count = 0;
        }
        self.by_length.entry(cell.length()).or_default().push(cell);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_is_written_over_unless_somebody_still_reads_it() {
        let mut spares = Spares::default();
        let read = Cell::new(b"key", Some(b"old"));
        spares.keep(Cell::new(b"key", Some(b"old")));
        spares.keep(read.clone());
        for _ in 0..2 {
            let cell = spares.cell(b"longer", None);
            assert_eq!((cell.key(), cell.value_bytes()), (&b"longer"[..], None));
        }
        assert_eq!(read.value_bytes().as_deref(), Some(&b"old"[..]));
        assert_eq!(spares.count, 0);
    }

    #[test]
    fn there_are_never_too_many_spares() {
        let mut spares = Spares::default();
        for length in 0..3 * SPARES_MAX {
            spares.keep(Cell::new(&vec![0; length % (2 * SPARE_BYTES_MAX)], None));
            assert!(spares.count <= SPARES_MAX);
            assert_eq!(spares.count, spares.by_length.values().map(Vec::len).sum());
        }
    }
}
