//! What a block replaced.

use std::collections::BTreeMap;

use alloy_rlp::{Decodable, Encodable, Header};
use bytes::Bytes;

/// Account and storage rows as they were before the block, by their keys: 20 bytes name an account, 52 a slot.
/// `None` for rows that did not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undo {
    rows: BTreeMap<Bytes, Option<Bytes>>,
    bytes: usize,
}

impl Undo {
    /// Remembers what a row was, unless the block changed it before.
    pub fn note(&mut self, key: &Bytes, before: Option<Bytes>) {
        if !self.rows.contains_key(key) {
            self.bytes += key.len() + before.as_ref().map_or(0, Bytes::len);
            self.rows.insert(key.clone(), before);
        }
    }

    /// Adds what came after this.
    pub fn append(&mut self, later: Self) {
        for (key, before) in later.rows {
            self.note(&key, before);
        }
    }

    /// Keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn rows(&self) -> impl Iterator<Item = (&Bytes, &Option<Bytes>)> {
        self.rows.iter()
    }

    /// An RLP list of key, value, key, value…; an absent row has an empty value, since no value is empty.
    pub fn encode(&self) -> Bytes {
        let empty = Bytes::new();
        let strings = || self.rows.iter().flat_map(|(key, value)| [key, value.as_ref().unwrap_or(&empty)]);
        let header = Header { list: true, payload_length: strings().map(|string| string[..].length()).sum() };
        let mut out = Vec::with_capacity(header.length_with_payload());
        header.encode(&mut out);
        strings().for_each(|string| string[..].encode(&mut out));
        out.into()
    }

    /// What a row was, if the record tells of it, without decoding the others; `None` if the record is damaged.
    pub fn find(mut record: &[u8], key: &[u8]) -> Option<Option<Option<Bytes>>> {
        let mut fields = Header::decode_bytes(&mut record, true).ok()?;
        while !fields.is_empty() {
            let found = Header::decode_bytes(&mut fields, false).ok()?;
            let value = Header::decode_bytes(&mut fields, false).ok()?;
            if found == key {
                return Some(Some((!value.is_empty()).then(|| Bytes::copy_from_slice(value))));
            }
        }
        Some(None)
    }

    pub fn decode(mut record: &[u8]) -> Option<Self> {
        let mut fields = Header::decode_bytes(&mut record, true).ok()?;
        let mut undo = Self::default();
        while !fields.is_empty() {
            let key = Bytes::decode(&mut fields).ok()?;
            let value = Bytes::decode(&mut fields).ok()?;
            undo.note(&key, (!value.is_empty()).then_some(value));
        }
        record.is_empty().then_some(undo)
    }
}
