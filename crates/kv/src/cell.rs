//! A key and its value in one allocation of exactly their size.
//!
//! One allocation, because a lookup that has compared the key then has the value at hand, and memory holds one reference
//! count and one rounding by the allocator instead of two.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;

/// Keys and values up to this size are copied out, larger ones shared: below it a copy costs less than a shared owner.
const COPIED_BYTES_MAX: usize = 256;

/// What one version wrote to one key. Clones share it.
#[derive(Clone)]
pub(crate) struct Cell {
    /// The key, then the value.
    data: Arc<[u8]>,
    key_length: u32,
    /// Without a value it is a removal.
    has_value: bool,
}

impl Cell {
    pub fn new(key: &[u8], value: Option<&[u8]>) -> Self {
        let key_length = u32::try_from(key.len()).expect("a write set is smaller than 4 GiB");
        let has_value = value.is_some();
        let data = Arc::from([key, value.unwrap_or_default()].concat());
        Self { data, key_length, has_value }
    }

    /// This cell with another content of the same length. `None` if somebody shares it.
    pub fn overwritten(mut self, key: &[u8], value: Option<&[u8]>) -> Option<Self> {
        let (key_part, value_part) = Arc::get_mut(&mut self.data)?.split_at_mut(key.len());
        key_part.copy_from_slice(key);
        value_part.copy_from_slice(value.unwrap_or_default());
        self.key_length = u32::try_from(key.len()).expect("a write set is smaller than 4 GiB");
        self.has_value = value.is_some();
        Some(self)
    }

    /// Has the processor fetch it from memory.
    pub fn touch(&self) {
        black_box((self.data.first().copied(), self.data.last().copied()));
    }

    pub fn key(&self) -> &[u8] {
        &self.data[..self.key_length as usize]
    }

    pub fn has_value(&self) -> bool {
        self.has_value
    }

    /// Of key and value together.
    pub fn length(&self) -> usize {
        self.data.len()
    }

    pub fn key_bytes(&self) -> Bytes {
        self.part(0, self.key_length as usize)
    }

    /// `None` for a removal.
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.has_value.then(|| self.part(self.key_length as usize, self.data.len()))
    }

    fn part(&self, from: usize, to: usize) -> Bytes {
        if to - from <= COPIED_BYTES_MAX {
            Bytes::copy_from_slice(&self.data[from..to])
        } else {
            Bytes::from_owner(Arc::clone(&self.data)).slice(from..to)
        }
    }
}
