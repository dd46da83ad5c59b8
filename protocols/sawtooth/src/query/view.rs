//! The chain at one moment, for one caller. Everything that leaves goes through the disclosure gate here, and through what the members have
//! decided about namespaces: of what a caller may not read there is no value, no transaction, no receipt and no event.

use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{Reader, Subject};
use prost::Message as _;

use crate::NAME;
use crate::address::{Address, is_id};
use crate::chain::read_head;
use crate::events::BlockEvents;
use crate::governed::Governed;
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
    governed: Arc<Governed>,
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
    pub fn new(reader: Reader, governed: Arc<Governed>) -> Self {
        Self { reader, governed }
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
        let visible = self.item(kind, &request.id).and_then(|_| self.number_of(kind, &request.id));
        found(visible.and_then(|number| self.block_item(number)).map(|item| item.bytes))
    }

    /// All or nothing.
    pub fn receipts(&self, request: &ReceiptGetRequest) -> ReceiptGetResponse {
        let receipts: Option<Vec<_>> = request.transaction_ids.iter().map(|id| self.receipt(id)).collect();
        match receipts.filter(|receipts| !receipts.is_empty()) {
            Some(receipts) => ReceiptGetResponse { status: status::OK, receipts },
            None => ReceiptGetResponse { status: status::NO_RESOURCE, receipts: Vec::new() },
        }
    }

    /// Committed or invalid; nothing if neither is known here. Whoever handed a batch in knows its id, also where nobody else may read it.
    pub fn decided(&self, batch_id: &str) -> Option<BatchStatus> {
        let committed = self.any_batch_record(batch_id).and_then(|_| self.disclose("batch", batch_id.as_bytes(), ()));
        if committed.is_some() {
            let status = batch_status::COMMITTED;
            return Some(BatchStatus { batch_id: batch_id.to_owned(), status, invalid_transactions: Vec::new() });
        }
        let row = self.reader.state().get(&INVALID, &id_key(batch_id))?;
        self.disclose("batch", batch_id.as_bytes(), BatchStatus::decode(row).ok()?)
    }

    /// A committed block with what this caller may see of its receipts.
    pub fn block_events(&self, number: u64) -> Option<BlockEvents> {
        let record = self.block_record(number)?;
        let block = crate::events::block_events_of(&record, |id| self.any_batch_record(id))?;
        let visible = self.disclose("block", block.id.clone().as_bytes(), block)?;
        Some(self.shown(visible))
    }

    /// Without the changes and receipts that this caller may not see.
    pub fn shown(&self, mut block: BlockEvents) -> BlockEvents {
        let shows = |id: &str| {
            self.may("receipt", id.as_bytes()) && (self.governed.is_open() || self.batch_of_transaction(id).is_some())
        };
        block.receipts.retain(|receipt| shows(&receipt.transaction_id));
        for receipt in &mut block.receipts {
            receipt.state_changes.retain(|change| self.may_see_change(change));
        }
        block
    }

    pub fn number_of_block(&self, id: &str) -> Option<u64> {
        let number = self.reader.record(&BLOCK_BY_ID, &id_key(id)).ok()??;
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
        match kind {
            Kind::Block => self.block_item(self.number_of_block(id)?),
            Kind::Batch => Some(Item { id: id.to_owned(), bytes: self.batch_record(id)?.batch }),
            Kind::Transaction => {
                let (record, index) = self.batch_of_transaction(id)?;
                let batch = Batch::decode(record.batch).ok()?;
                let bytes = batch.transactions.get(index)?.encode_to_vec().into();
                self.disclose("transaction", id.as_bytes(), Item { id: id.to_owned(), bytes })
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
        self.reader.record(&BLOCK, &number_key(number)).ok()?
    }

    fn batch_record(&self, id: &str) -> Option<BatchRecord> {
        let record = self.any_batch_record(id).filter(|record| self.governed.is_open() || self.may_read(record))?;
        self.disclose("batch", id.as_bytes(), record)
    }

    /// A batch says what all of its transactions do.
    fn may_read(&self, record: &BatchRecord) -> bool {
        let Ok(batch) = Batch::decode(record.batch.clone()) else { return false };
        let may = |header| self.governed.may_read_transaction(self.reader.caller(), &header);
        batch.transactions.into_iter().all(|transaction| TransactionHeader::decode(transaction.header).is_ok_and(may))
    }

    fn any_batch_record(&self, id: &str) -> Option<BatchRecord> {
        BatchRecord::decode(self.reader.record(&BATCH, &id_key(id)).ok()??).ok()
    }

    /// A transaction's batch and its place there.
    fn batch_of_transaction(&self, id: &str) -> Option<(BatchRecord, usize)> {
        let place = self.reader.record(&TRANSACTION, &id_key(id)).ok()??;
        let (batch, index) = place.split_at_checked(64)?;
        let index = u32::from_be_bytes(index.try_into().ok()?);
        Some((self.batch_record(&hex::encode(batch))?, usize::try_from(index).ok()?))
    }

    fn receipt(&self, transaction_id: &str) -> Option<TransactionReceipt> {
        let (record, index) = self.batch_of_transaction(transaction_id)?;
        let mut receipt = TransactionReceipt::decode(record.receipts.get(index)?.clone()).ok()?;
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

fn found(item: Option<Bytes>) -> GetResponse {
    match item {
        Some(bytes) => GetResponse { status: status::OK, item: Some(bytes) },
        None => GetResponse { status: status::NO_RESOURCE, item: None },
    }
}
