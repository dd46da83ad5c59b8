//! The memory that a contract and the node exchange bytes in, and the names for what is in it: pointers, and lists of them.
//!
//! Nothing in it is ever freed: an execution has one, and its end is the heap's.

use std::collections::BTreeMap;

use crate::limits::CONTRACT_POINTERS_MAX;

/// See the module's text. What it names is in the memory that it is used with.
#[derive(Default)]
pub struct Heap {
    /// Where something begins, to how long it is.
    lengths: BTreeMap<u32, u32>,
    /// By their first pointer.
    lists: BTreeMap<u32, Vec<u32>>,
    listed: usize,
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeapError {
    #[error("the contract's memory is full")]
    Full,
    #[error("the contract made more than {CONTRACT_POINTERS_MAX} pointers")]
    TooMany,
    #[error("the contract used a pointer that leads nowhere")]
    Nowhere,
}

impl Heap {
    pub fn write(&mut self, memory: &mut [u8], bytes: &[u8]) -> Result<u32, HeapError> {
        let at = self.reserve(bytes.len())?;
        let place = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or(HeapError::Full)?.copy_from_slice(bytes);
        Ok(at)
    }

    /// Zeroed.
    pub fn allocate(&mut self, memory: &mut [u8], length: u32) -> Result<u32, HeapError> {
        let at = self.reserve(length as usize)?;
        let place = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..length as usize));
        place.ok_or(HeapError::Full)?.fill(0);
        Ok(at)
    }

    pub fn read<'a>(&self, memory: &'a [u8], at: u32) -> Result<&'a [u8], HeapError> {
        let length = self.length(at).ok_or(HeapError::Nowhere)?;
        memory.get(at as usize..).and_then(|rest| rest.get(..length as usize)).ok_or(HeapError::Nowhere)
    }

    pub fn length(&self, at: u32) -> Option<u32> {
        self.lengths.get(&at).copied()
    }

    pub fn list(&self, first: u32) -> Option<&[u32]> {
        self.lists.get(&first).map(Vec::as_slice)
    }

    pub fn begin_list(&mut self, first: u32) -> Result<(), HeapError> {
        self.count_listed()?;
        self.lists.insert(first, vec![first]);
        Ok(())
    }

    pub fn append(&mut self, first: u32, at: u32) -> Result<(), HeapError> {
        self.count_listed()?;
        self.lists.get_mut(&first).ok_or(HeapError::Nowhere)?.push(at);
        Ok(())
    }

    /// Several pieces and the list of them; of none, an empty piece.
    pub fn write_list(&mut self, memory: &mut [u8], pieces: &[&[u8]]) -> Result<u32, HeapError> {
        let Some((head, rest)) = pieces.split_first() else { return self.write(memory, &[]) };
        let first = self.write(memory, head)?;
        self.begin_list(first)?;
        for piece in rest {
            let at = self.write(memory, piece)?;
            self.append(first, at)?;
        }
        Ok(first)
    }

    /// Nothing takes a place too, so that each pointer is another.
    fn reserve(&mut self, length: usize) -> Result<u32, HeapError> {
        if self.lengths.len() >= CONTRACT_POINTERS_MAX {
            return Err(HeapError::TooMany);
        }
        let length = u32::try_from(length).map_err(|_| HeapError::Full)?;
        let at = self.next;
        self.next = at.checked_add(length.max(1)).ok_or(HeapError::Full)?;
        self.lengths.insert(at, length);
        Ok(at)
    }

    fn count_listed(&mut self) -> Result<(), HeapError> {
        self.listed += 1;
        if self.listed > CONTRACT_POINTERS_MAX { Err(HeapError::TooMany) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let (mut heap, mut memory) = (Heap::default(), [7; 8]);
        let (empty, abc) = (heap.write(&mut memory, b"").unwrap(), heap.write(&mut memory, b"abc").unwrap());
        assert_ne!(empty, abc);
        assert_eq!((heap.read(&memory, empty), heap.read(&memory, abc)), (Ok(&b""[..]), Ok(&b"abc"[..])));
        assert_eq!(heap.read(&memory, abc + 1), Err(HeapError::Nowhere));
        assert_eq!(heap.allocate(&mut memory, 5), Err(HeapError::Full));
        assert_eq!(heap.allocate(&mut memory, u32::MAX), Err(HeapError::Full));
    }

    #[test]
    fn lists_are_named_by_their_first_pointer_and_bounded() {
        let (mut heap, mut memory) = (Heap::default(), [0; 64]);
        let first = heap.write_list(&mut memory, &[b"a", b"bc"]).unwrap();
        let texts: Vec<_> = heap.list(first).unwrap().iter().map(|at| heap.read(&memory, *at).unwrap()).collect();
        assert_eq!(texts, [&b"a"[..], b"bc"]);
        assert_eq!(heap.append(99, first), Err(HeapError::Nowhere));
        let made = (0..CONTRACT_POINTERS_MAX).map_while(|_| heap.append(first, first).ok()).count();
        assert!(made < CONTRACT_POINTERS_MAX && heap.append(first, first) == Err(HeapError::TooMany));
        let none = heap.write_list(&mut memory, &[]).unwrap();
        assert!(heap.list(none).is_none() && heap.length(none) == Some(0));
    }
}
