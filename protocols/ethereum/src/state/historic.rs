//! The state as it was after an older block.

use std::collections::BTreeMap;

use alloy_consensus::Header;
use bytes::Bytes;
use coco_protocol::Reader;
use coco_types::MapName;

use super::{ACCOUNT, BLOCK, META, META_HEAD, RECENT, ReadState, STORAGE, UNDO, Undo};
use crate::block::BlockRecord;
use crate::developer::patched_rows;

/// The state after block `number`: today's, with what later blocks replaced put back. Its cost grows with the blocks between.
pub struct HistoricState {
    reader: Reader,
    number: u64,
    header: Bytes,
    replaced: BTreeMap<Bytes, Option<Bytes>>,
}

/// Why an older state cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoricError {
    #[error("block {0} is not in the history")]
    Missing(u64),
    #[error("state of block {number} is {blocks} blocks old, more than {max}")]
    TooOld { number: u64, blocks: u64, max: u64 },
    #[error(transparent)]
    Store(#[from] coco_protocol::HistoryError),
}

impl HistoricState {
    /// `head` is the newest block of the reader's state; `blocks_max` bounds the work.
    pub fn new(reader: Reader, head: u64, number: u64, blocks_max: u64) -> Result<Self, HistoricError> {
        let blocks = head.checked_sub(number).ok_or(HistoricError::Missing(number))?;
        if blocks > blocks_max {
            return Err(HistoricError::TooOld { number, blocks, max: blocks_max });
        }
        // What was changed on top of the newest block belongs to no block yet.
        let mut replaced = patched_rows(reader.state());
        for later in (number + 1..=head).rev() {
            let record = reader.record(&UNDO, &later.to_be_bytes())?.ok_or(HistoricError::Missing(later))?;
            let undo = Undo::decode(&record).ok_or(HistoricError::Missing(later))?;
            replaced.extend(undo.rows().map(|(key, value)| (key.clone(), value.clone())));
        }
        let record = reader.record(&BLOCK, &number.to_be_bytes())?.ok_or(HistoricError::Missing(number))?;
        let header = BlockRecord::decode(record).ok_or(HistoricError::Missing(number))?.header_rlp();
        Ok(Self { reader, number, header, replaced })
    }

    fn block_hash(&self, key: &[u8]) -> Option<Bytes> {
        let number = u64::from_be_bytes(key.try_into().ok()?);
        if number > self.number || self.number - number >= 256 {
            return None;
        }
        self.reader.state().get(&RECENT, key).or_else(|| {
            let record = self.reader.record(&BLOCK, key).ok()??;
            let header: Header = BlockRecord::decode(record)?.header()?;
            Some(Bytes::copy_from_slice(header.hash_slow().as_slice()))
        })
    }
}

impl ReadState for HistoricState {
    fn value(&self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        if *map == RECENT {
            return self.block_hash(key);
        }
        if *map == META && key == META_HEAD {
            return Some(self.header.clone());
        }
        let changes = *map == ACCOUNT || *map == STORAGE;
        match self.replaced.get(key).filter(|_| changes) {
            Some(before) => before.clone(),
            None => self.reader.state().get(map, key),
        }
    }

    fn with_prefix(&self, map: &MapName, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let mut rows: BTreeMap<Bytes, Bytes> = self.reader.state().prefix(map, prefix).collect();
        let key_bytes = if *map == STORAGE { 52 } else { 20 };
        for (key, before) in self.replaced.iter().filter(|(key, _)| key.len() == key_bytes && key.starts_with(prefix)) {
            match before {
                Some(before) => drop(rows.insert(key.clone(), before.clone())),
                None => drop(rows.remove(key)),
            }
        }
        rows.into_iter().collect()
    }
}
