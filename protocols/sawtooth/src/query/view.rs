//! The chain at one moment, for one caller. Everything that leaves goes through the disclosure gate here, and through what the members have
//! decided about namespaces: of what a caller may not read there is no value, no transaction, no receipt and no event.
//!
//! A view is made for one request, and counts what it reads for it: records are large, and a few bytes of a request could name very many.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{Reader, Subject};
use coco_types::MapName;
use prost::Message as _;

use crate::NAME;
use crate::address::{Address, is_id};
use crate::chain::{Chain, read_head};
use crate::events::{BlockEvents, WholeBatch, WholeBlock};
use crate::governed::Governed;
use crate::limits::{
    ANSWER_BYTES_MAX, BRIEF_READ_BYTES_MAX, LIST_BLOCKS_MAX, READ_BYTES_MAX, RECORD_READ_BYTES, SUBMISSION_BATCHES_MAX,
};
use crate::messages::client::{
    BatchStatus, GetRequest, GetResponse, ReceiptGetRequest, ReceiptGetResponse, batch_status, status,
};
use crate::messages::ledger::{Batch, Block, BlockHeader, StateChange, TransactionHeader, TransactionReceipt};
use crate::tables::{
    BATCH, BLOCK, BLOCK_BY_ID, BatchRecord, INVALID, META, META_HEAD, TRANSACTION, id_key, number_key, read_number,
};

/// See the module's text.
pub struct View {
    pub(super) reader: Reader,
    pub(super) governed: Arc<Governed>,
    chain: Arc<Chain>,
    /// Bytes of the records that were read.
    read: Cell<usize>,
    pub(super) allowed: Allowed,
    is_brief: bool,
}

/// What one request may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub read_bytes_max: usize,
    pub list_blocks_max: usize,
}

/// What a list or a get is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Block,
    Batch,
    Transaction,
}

/// Something with an id, and where it is.
pub(super) struct Item {
    pub id: String,
    pub bytes: Bytes,
}

impl View {
    pub fn new(reader: Reader, chain: Arc<Chain>) -> Self {
        let (governed, allowed) = (chain.governed(), Allowed::default());
        Self { reader, governed, chain, read: Cell::new(0), allowed, is_brief: false }
    }

    /// For a thread that others wait for: see [`View::is_cut_short`].
    #[must_use]
    pub fn briefly(mut self) -> Self {
        self.allowed.read_bytes_max = BRIEF_READ_BYTES_MAX;
        self.is_brief = true;
        self
    }

    /// It proves to take long: what was found is no answer, and to be asked for where nobody waits.
    pub fn is_cut_short(&self) -> bool {
        self.is_brief && self.has_read_enough()
    }

    /// This request has had its share.
    pub fn has_read_enough(&self) -> bool {
        self.read.get() > self.allowed.read_bytes_max
    }

    /// The newest block; nothing before genesis.
    pub fn head(&self) -> Option<(BlockHeader, String)> {
        read_head(&self.reader.state().get(&META, META_HEAD)?).ok()
    }

    /// One block, batch or transaction by its id.
    pub fn get(&self, kind: Kind, request: &GetRequest) -> GetResponse {
        if !is_id(&request.id) {
            return GetResponse { status: status::INVALID_ID, item: None };
        }
        found(self.item(kind, &request.id).map(|item| item.bytes))
    }

    pub fn block_by_number(&self, number: u64) -> GetResponse {
        found(self.block_item(number).map(|item| item.bytes))
    }

    /// The block that holds a batch or a transaction.
    pub fn block_of(&self, kind: Kind, request: &GetRequest) -> GetResponse {
        if !is_id(&request.id) {
            return GetResponse { status: status::INVALID_ID, item: None };
        }
        // Whoever may not see the thing does not learn where it is.
        let visible = self.placed_item(kind, &request.id);
        found(visible.and_then(|(number, _)| self.block_item(number)).map(|item| item.bytes))
    }

    /// All or nothing: "internal error" if it is too much at once. Each is told once, in the order in which they are asked for.
    pub fn receipts(&self, request: &ReceiptGetRequest) -> ReceiptGetResponse {
        let failed = |status| ReceiptGetResponse { status, receipts: Vec::new() };
        let ids = distinct(&request.transaction_ids);
        if ids.len() > SUBMISSION_BATCHES_MAX {
            return failed(status::INTERNAL_ERROR);
        }
        let place = |id: &&String| if self.is_cut_short() { None } else { self.place_of_transaction(id) };
        let Some(places) = ids.iter().map(place).collect::<Option<Vec<_>>>() else {
            return failed(status::NO_RESOURCE);
        };
        // A batch is read once for all of its transactions.
        let mut of_batches: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, (batch, _)) in places.iter().enumerate() {
            of_batches.entry(batch).or_default().push(place);
        }
        let (mut found, mut bytes) = (BTreeMap::new(), 0);
        for (batch, wanted) in of_batches {
            let Some(record) = self.batch_record(batch) else { return failed(status::NO_RESOURCE) };
            for place in wanted {
                let (Some(id), Some((_, index))) = (ids.get(place), places.get(place)) else { continue };
                let Some(receipt) = self.receipt(id, &record, *index) else { return failed(status::NO_RESOURCE) };
                bytes += receipt.encoded_len();
                if bytes > ANSWER_BYTES_MAX || self.has_read_enough() {
                    return failed(status::INTERNAL_ERROR);
                }
                found.insert(place, receipt);
            }
        }
        let status = if found.is_empty() { status::NO_RESOURCE } else { status::OK };
        ReceiptGetResponse { status, receipts: found.into_values().collect() }
    }

    /// Committed or invalid; nothing if neither is known here. Whoever handed a batch in knows its id, also where nobody else may read it.
    pub fn decided(&self, batch_id: &str) -> Option<BatchStatus> {
        if self.in_a_block(batch_id) == Some(Kind::Batch) {
            let status = batch_status::COMMITTED;
            return Some(BatchStatus { batch_id: batch_id.to_owned(), status, invalid_transactions: Vec::new() });
        }
        self.found_invalid(batch_id)
    }

    /// What it is that is in a block under this id, without reading it: a batch or a transaction.
    pub(super) fn in_a_block(&self, id: &str) -> Option<Kind> {
        if !self.chain.is_committed(self.reader.state(), id) {
            return None;
        }
        match self.record(&TRANSACTION, &id_key(id)) {
            Some(_) => Some(Kind::Transaction),
            None => self.disclose("batch", id.as_bytes(), Kind::Batch),
        }
    }

    /// What is known of a batch that was found invalid.
    pub fn found_invalid(&self, batch_id: &str) -> Option<BatchStatus> {
        let row = self.reader.state().get(&INVALID, &id_key(batch_id))?;
        self.disclose("batch", batch_id.as_bytes(), BatchStatus::decode(row).ok()?)
    }

    /// A committed block with what this caller may see of its receipts.
    pub fn block_events(&self, number: u64) -> Option<BlockEvents> {
        self.shown(&self.whole_block(number)?)
    }

    /// All of a committed block, whoever asks: for [`View::shown`].
    pub fn whole_block(&self, number: u64) -> Option<WholeBlock> {
        let before = self.read.get();
        let (header, id) = read_head(&self.block_record(number)?).ok()?;
        let mut batches = Vec::new();
        for id in &header.batch_ids {
            let BatchRecord { batch, receipts, .. } = self.any_batch_record(id)?;
            let receipts: Result<_, _> = receipts.into_iter().map(TransactionReceipt::decode).collect();
            batches.push(WholeBatch { id: id.clone(), batch, receipts: receipts.ok()? });
        }
        Some(WholeBlock { id, header, batches, bytes: self.read.get() - before })
    }

    /// Without the changes and receipts that this caller may not see.
    pub fn shown(&self, block: &WholeBlock) -> Option<BlockEvents> {
        let may_read = |batch: &&WholeBatch| self.may_see_batch(&batch.id, &batch.batch);
        let receipts = block.batches.iter().filter(may_read).flat_map(|batch| &batch.receipts);
        let receipts = receipts.filter(|receipt| self.may("receipt", receipt.transaction_id.as_bytes()));
        let receipts = receipts.map(|receipt| {
            let mut receipt = receipt.clone();
            receipt.state_changes.retain(|change| self.may_see_change(change));
            receipt
        });
        let (id, header) = (block.id.clone(), block.header.clone());
        self.disclose("block", block.id.as_bytes(), BlockEvents { id, header, receipts: receipts.collect() })
    }

    pub fn number_of_block(&self, id: &str) -> Option<u64> {
        let number = self.record(&BLOCK_BY_ID, &id_key(id))?;
        self.disclose("block", id.as_bytes(), read_number(&number)?)
    }

    pub(super) fn may(&self, kind: &str, name: &[u8]) -> bool {
        self.disclose(kind, name, ()).is_some()
    }

    pub(super) fn disclose<T>(&self, kind: &str, name: &[u8], value: T) -> Option<T> {
        self.reader.disclose(&Subject { ledger: NAME, kind, name, parties: &[] }, value)
    }

    /// The number of the block that something is in.
    pub(super) fn number_of(&self, kind: Kind, id: &str) -> Option<u64> {
        match kind {
            Kind::Block => self.number_of_block(id),
            Kind::Batch => Some(self.batch_record(id)?.block_num),
            Kind::Transaction => Some(self.batch_of_transaction(id)?.0.block_num),
        }
    }

    pub(super) fn item(&self, kind: Kind, id: &str) -> Option<Item> {
        self.placed_item(kind, id).map(|(_, item)| item)
    }

    /// With the number of its block.
    pub(super) fn placed_item(&self, kind: Kind, id: &str) -> Option<(u64, Item)> {
        match kind {
            Kind::Block => {
                let number = self.number_of_block(id)?;
                Some((number, self.block_item(number)?))
            }
            Kind::Batch => {
                let record = self.batch_record(id)?;
                Some((record.block_num, Item { id: id.to_owned(), bytes: record.batch }))
            }
            Kind::Transaction => {
                let (record, index) = self.batch_of_transaction(id)?;
                let batch = Batch::decode(record.batch).ok()?;
                let bytes = batch.transactions.get(index)?.encode_to_vec().into();
                let item = self.disclose("transaction", id.as_bytes(), Item { id: id.to_owned(), bytes })?;
                Some((record.block_num, item))
            }
        }
    }

    /// What a block holds of a kind, in its own order.
    pub(super) fn items_of_block(&self, kind: Kind, number: u64) -> Vec<Item> {
        if kind == Kind::Block {
            return self.block_item(number).into_iter().collect();
        }
        let header = self.block_record(number).and_then(|record| read_head(&record).ok());
        let ids = header.map(|(header, _)| header.batch_ids).unwrap_or_default();
        let batches = ids.into_iter().filter_map(|id| Some((self.batch_record(&id)?.batch, id)));
        if kind == Kind::Batch {
            return batches.map(|(bytes, id)| Item { id, bytes }).collect();
        }
        let transactions =
            batches.filter_map(|(bytes, _)| Batch::decode(bytes).ok()).flat_map(|batch| batch.transactions);
        let visible =
            transactions.filter(|transaction| self.may("transaction", transaction.header_signature.as_bytes()));
        visible
            .map(|transaction| Item { bytes: transaction.encode_to_vec().into(), id: transaction.header_signature })
            .collect()
    }

    fn block_item(&self, number: u64) -> Option<Item> {
        let block = Block::decode(self.block_record(number)?).ok()?;
        let header = BlockHeader::decode(block.header.clone()).ok()?;
        let batches = header.batch_ids.iter().filter_map(|id| Some(self.batch_record(id)?.batch)).collect();
        let id = block.header_signature.clone();
        let bytes = Block { batches, ..block }.encode_to_vec().into();
        self.disclose("block", id.clone().as_bytes(), Item { id, bytes })
    }

    fn block_record(&self, number: u64) -> Option<Bytes> {
        self.record(&BLOCK, &number_key(number))
    }

    fn batch_record(&self, id: &str) -> Option<BatchRecord> {
        self.any_batch_record(id).filter(|record| self.may_see_batch(id, &record.batch))
    }

    fn may_see_batch(&self, id: &str, batch: &Bytes) -> bool {
        (self.governed.is_open() || self.may_read(batch)) && self.may("batch", id.as_bytes())
    }

    /// A batch says what all of its transactions do.
    fn may_read(&self, batch: &Bytes) -> bool {
        let Ok(batch) = Batch::decode(batch.clone()) else { return false };
        let may = |header| self.governed.may_read_transaction(self.reader.caller(), &header);
        batch.transactions.into_iter().all(|transaction| TransactionHeader::decode(transaction.header).is_ok_and(may))
    }

    fn any_batch_record(&self, id: &str) -> Option<BatchRecord> {
        BatchRecord::decode(self.record(&BATCH, &id_key(id))?).ok()
    }

    pub(super) fn record(&self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        let record = self.reader.record(map, key).ok()??;
        self.count(record.len().max(RECORD_READ_BYTES));
        Some(record)
    }

    pub(super) fn count(&self, bytes: usize) {
        self.read.set(self.read.get().saturating_add(bytes));
    }

    /// A transaction's batch and its place there.
    fn batch_of_transaction(&self, id: &str) -> Option<(BatchRecord, usize)> {
        let (batch, index) = self.place_of_transaction(id)?;
        Some((self.batch_record(&batch)?, index))
    }

    fn place_of_transaction(&self, id: &str) -> Option<(String, usize)> {
        let place = self.record(&TRANSACTION, &id_key(id))?;
        let (batch, index) = place.split_at_checked(64)?;
        let index = u32::from_be_bytes(index.try_into().ok()?);
        Some((hex::encode(batch), usize::try_from(index).ok()?))
    }

    /// On its own: a part of its record would keep all of that in memory.
    fn receipt(&self, transaction_id: &str, record: &BatchRecord, index: usize) -> Option<TransactionReceipt> {
        let bytes = Bytes::copy_from_slice(record.receipts.get(index)?);
        let mut receipt = TransactionReceipt::decode(bytes).ok()?;
        receipt.state_changes.retain(|change| self.may_see_change(change));
        self.disclose("receipt", transaction_id.as_bytes(), receipt)
    }

    fn may_see_change(&self, change: &StateChange) -> bool {
        Address::from_hex(&change.address).is_some_and(|address| self.may_see_state(&address))
    }

    pub(super) fn may_see_state(&self, address: &Address) -> bool {
        self.governed.may_read(self.reader.caller(), &address.0) && self.may("state", &address.0)
    }
}

impl Default for Allowed {
    fn default() -> Self {
        Self { read_bytes_max: READ_BYTES_MAX, list_blocks_max: LIST_BLOCKS_MAX }
    }
}

/// Each once, at its first place.
pub fn distinct(ids: &[String]) -> Vec<&String> {
    let mut seen = BTreeSet::new();
    ids.iter().filter(|id| seen.insert(*id)).collect()
}

fn found(item: Option<Bytes>) -> GetResponse {
    match item {
        Some(bytes) => GetResponse { status: status::OK, item: Some(bytes) },
        None => GetResponse { status: status::NO_RESOURCE, item: None },
    }
}
