//! The state as it was after an older block.
//!
//! A row had then what the first block that changed it afterwards replaced; if none did, it has that today. The index names that
//! block; where it does not reach yet, the newest blocks' records are read once and kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::{Address, B256};
use bytes::Bytes;
use coco_protocol::{HistoryError, Reader};
use coco_types::MapName;
use parking_lot::Mutex;

use super::{ACCOUNT, BLOCK, META, META_HEAD, RECENT, ReadState, STORAGE, UNDO, Undo};
use crate::block::BlockRecord;
use crate::developer::patched_rows;
use crate::index::{Index, IndexView, Tag};

/// Rows that were looked up, and are remembered.
const ROWS_MAX: usize = 1 << 16;
/// No row decodes from this: what cannot be read must not look as if it were absent.
const UNREADABLE: Bytes = Bytes::from_static(&[0xff; 33]);

/// The state after block `number`.
pub struct HistoricState {
    reader: Reader,
    index: Arc<Index>,
    /// Blocks below this are indexed.
    indexed: u64,
    number: u64,
    header: Bytes,
    /// What blocks behind those that are indexed replaced.
    newest: BTreeMap<Bytes, Option<Bytes>>,
    found: Mutex<BTreeMap<Bytes, Option<Bytes>>>,
}

/// Why an older state cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoricError {
    #[error("block {0} is not in the history")]
    Missing(u64),
    #[error("{blocks} blocks are not indexed yet, more than {max}")]
    NotIndexed { blocks: u64, max: u64 },
    #[error(transparent)]
    Store(#[from] HistoryError),
}

impl HistoricState {
    /// `head` is the newest block of the reader's state; at most `blocks_max` blocks that are not indexed are read.
    pub fn new(
        reader: Reader,
        index: Arc<Index>,
        head: u64,
        number: u64,
        blocks_max: u64,
    ) -> Result<Self, HistoricError> {
        if number > head {
            return Err(HistoricError::Missing(number));
        }
        let indexed = index.next(&reader, |number| hash(&reader, number))?.min(head + 1);
        let first = indexed.max(number + 1);
        let blocks = (head + 1).saturating_sub(first);
        if blocks > blocks_max {
            return Err(HistoricError::NotIndexed { blocks, max: blocks_max });
        }
        // What was changed on top of the newest block belongs to no block yet.
        let mut newest = patched_rows(reader.state());
        for later in (first..=head).rev() {
            let undo = undo(&reader, later)?;
            newest.extend(undo.rows().map(|(key, value)| (key.clone(), value.clone())));
        }
        let record = reader.record(&BLOCK, &number.to_be_bytes())?.ok_or(HistoricError::Missing(number))?;
        let header = BlockRecord::decode(record).ok_or(HistoricError::Missing(number))?.header_rlp();
        Ok(Self { reader, index, indexed, number, header, newest, found: Mutex::default() })
    }

    /// Every row that is not today what it was, with what it was; `check` may end it.
    pub fn replaced<E: From<HistoricError> + From<HistoryError>>(
        &self,
        rows_max: usize,
        check: impl Fn() -> Result<(), E>,
        too_many: impl Fn() -> E,
    ) -> Result<BTreeMap<Bytes, Option<Bytes>>, E> {
        let mut first_changes: BTreeMap<Tag, u64> = BTreeMap::new();
        self.view().rows_since(self.number + 1, |tag, block| {
            first_changes.entry(tag).or_insert(block);
            if first_changes.len() > rows_max { Err(too_many()) } else { check() }
        })?;
        let mut by_block: BTreeMap<u64, Vec<Tag>> = BTreeMap::new();
        first_changes.into_iter().for_each(|(tag, block)| by_block.entry(block).or_default().push(tag));
        let mut replaced = self.newest.clone();
        // Two rows that share a tag are both taken where either changed first; the earlier block is right for each.
        for (block, mut tags) in by_block.into_iter().rev() {
            check()?;
            tags.sort_unstable();
            let undo = undo(&self.reader, block)?;
            let of_block = undo.rows().filter(|(key, _)| tags.binary_search(&Tag::row(key)).is_ok());
            replaced.extend(of_block.map(|(key, before)| (key.clone(), before.clone())));
        }
        Ok(replaced)
    }

    fn view(&self) -> IndexView<'_> {
        self.index.view(&self.reader, self.indexed)
    }

    /// What the row was, if an indexed block changed it since.
    fn indexed_row(&self, key: &[u8]) -> Result<Option<Option<Bytes>>, HistoricError> {
        let (view, tag) = (self.view(), Tag::row(key));
        let mut from = self.number + 1;
        while let Some(block) = view.first(tag, from)? {
            let record = self.reader.record(&UNDO, &block.to_be_bytes())?.ok_or(HistoricError::Missing(block))?;
            let found = Undo::find(&record, key).ok_or(HistoricError::Missing(block))?;
            if found.is_some() {
                return Ok(found);
            }
            from = block + 1;
        }
        Ok(None)
    }

    fn row(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoricError> {
        if let Some(row) = self.found.lock().get(key) {
            return Ok(row.clone());
        }
        let row = match self.indexed_row(key)? {
            Some(before) => before,
            None => match self.newest.get(key) {
                Some(before) => before.clone(),
                None => self.reader.state().get(map, key),
            },
        };
        let mut found = self.found.lock();
        if found.len() >= ROWS_MAX {
            found.clear();
        }
        found.insert(Bytes::copy_from_slice(key), row.clone());
        Ok(row)
    }

    fn slots(&self, address: &[u8]) -> Result<BTreeMap<Bytes, Bytes>, HistoricError> {
        let mut rows: BTreeMap<Bytes, Bytes> = self.reader.state().prefix(&STORAGE, address).collect();
        let mut put_back = |key: &Bytes, before: &Option<Bytes>| match before {
            Some(before) => drop(rows.insert(key.clone(), before.clone())),
            None => drop(rows.remove(key)),
        };
        let is_slot = |key: &Bytes| key.len() == 52 && key.starts_with(address);
        self.newest.iter().filter(|(key, _)| is_slot(key)).for_each(|(key, before)| put_back(key, before));
        let tag = Tag::slots_of(&Address::from_slice(address));
        let (view, mut blocks, mut from) = (self.view(), Vec::new(), self.number + 1);
        while let Some(some) = view.some(&[vec![tag]], &mut from)? {
            blocks.extend(some);
        }
        for block in blocks.into_iter().rev() {
            let undo = undo(&self.reader, block)?;
            undo.rows().filter(|(key, _)| is_slot(key)).for_each(|(key, before)| put_back(key, before));
        }
        Ok(rows)
    }

    fn block_hash(&self, key: &[u8]) -> Option<Bytes> {
        let number = u64::from_be_bytes(key.try_into().ok()?);
        if number > self.number || self.number - number >= 256 {
            return None;
        }
        hash(&self.reader, number).map(|hash| Bytes::copy_from_slice(hash.as_slice()))
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
        if *map != ACCOUNT && *map != STORAGE {
            return self.reader.state().get(map, key);
        }
        self.row(map, key).unwrap_or(Some(UNREADABLE))
    }

    /// Only of an account's slots: nothing else is asked for.
    fn with_prefix(&self, map: &MapName, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        if *map != STORAGE || prefix.len() != 20 {
            return Vec::new();
        }
        let unreadable = (Bytes::copy_from_slice(&[prefix, &[0; 32]].concat()), UNREADABLE);
        self.slots(prefix).map_or_else(|_| vec![unreadable], |rows| rows.into_iter().collect())
    }
}

/// A block's hash in the reader's chain.
fn hash(reader: &Reader, number: u64) -> Option<B256> {
    if let Some(hash) = reader.state().get(&RECENT, &number.to_be_bytes()) {
        return B256::try_from(&hash[..]).ok();
    }
    let record = reader.record(&BLOCK, &number.to_be_bytes()).ok()??;
    let header: Header = BlockRecord::decode(record)?.header()?;
    Some(header.hash_slow())
}

fn undo(reader: &Reader, number: u64) -> Result<Undo, HistoricError> {
    let record = reader.record(&UNDO, &number.to_be_bytes())?.ok_or(HistoricError::Missing(number))?;
    Undo::decode(&record).ok_or(HistoricError::Missing(number))
}
