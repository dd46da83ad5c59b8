//! A key and its value in one allocation of exactly their size.
//!
//! One allocation, because a lookup that has compared the key then has the value at hand, and memory holds one reference
//! count and one rounding by the allocator instead of two.

use std::iter::repeat_n;
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
        let value = value.unwrap_or_default();
        let mut data: Arc<[u8]> = repeat_n(0, key.len() + value.len()).collect();
        let (key_part, value_part) = Arc::get_mut(&mut data).expect("nobody shares it yet").split_at_mut(key.len());
        key_part.copy_from_slice(key);
        value_part.copy_from_slice(value);
        Self { data, key_length, has_value }
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
