//! A committed block with all that its JSON forms tell, and those forms.
//!
//! Every node keeps the newest blocks, and of most of their transactions nobody ever asks it: each is decoded when it is looked at first.

use std::sync::{Arc, OnceLock};

use alloy_consensus::{Header, Transaction as _, Typed2718};
use alloy_eips::eip4895::{Withdrawal, Withdrawals};
use alloy_eips::eip7840::BlobParams;
use alloy_primitives::{B256, Log, U256};
use alloy_rlp::Encodable;

use super::json::{Json, Object, push_data, push_object};
use crate::block::{BlockRecord, Included, LogPlace, LogRef};
use crate::fork::ForkSchedule;
use crate::transaction::Transaction;

/// What a block says about everything in it.
#[derive(Clone, Debug)]
pub struct BlockHead {
    pub hash: B256,
    pub header: Header,
    /// The blob schedule at this block, if it has one.
    pub blob_params: Option<BlobParams>,
}

/// A block that is final, as readers and subscribers see it.
#[derive(Clone, Debug)]
pub struct CommittedBlock {
    pub head: BlockHead,
    pub ommers: Vec<Header>,
    /// `None` before Shanghai.
    pub withdrawals: Option<Withdrawals>,
    /// Bytes that it occupies, roughly.
    pub weight: u64,
    hashes: Vec<B256>,
    included: Vec<OnceLock<Box<Included>>>,
    /// Where those that nobody has looked at are; `None` if all are there.
    record: Option<BlockRecord>,
    /// Its header's JSON, once somebody asked for it: all subscribers get the same.
    rendered: OnceLock<String>,
}

impl BlockHead {
    pub fn new(header: Header, hash: B256, schedule: &ForkSchedule) -> Self {
        let blob_params = schedule.blob_params(header.timestamp);
        Self { hash, header, blob_params }
    }

    /// A block that is not `sealed` has neither hash, nonce nor miner.
    fn fields(&self, object: &mut Object<'_>, sealed: bool) {
        let header = &self.header;
        object.quantity("number", header.number);
        object.optional_data("hash", sealed.then(|| self.hash.as_slice()));
        object.hash("parentHash", &header.parent_hash);
        object.optional_data("nonce", sealed.then(|| header.nonce.as_slice()));
        object.hash("mixHash", &header.mix_hash);
        object.hash("sha3Uncles", &header.ommers_hash);
        object.data("logsBloom", header.logs_bloom.as_slice());
        object.hash("transactionsRoot", &header.transactions_root);
        object.hash("stateRoot", &header.state_root);
        object.hash("receiptsRoot", &header.receipts_root);
        object.optional_data("miner", sealed.then(|| header.beneficiary.as_slice()));
        object.quantity("difficulty", header.difficulty);
        object.data("extraData", &header.extra_data);
        object.quantity("gasLimit", header.gas_limit);
        object.quantity("gasUsed", header.gas_used);
        object.quantity("timestamp", header.timestamp);
        let quantities = [
            ("baseFeePerGas", header.base_fee_per_gas),
            ("blobGasUsed", header.blob_gas_used),
            ("excessBlobGas", header.excess_blob_gas),
        ];
        for (name, value) in quantities {
            if let Some(value) = value {
                object.quantity(name, value);
            }
        }
        let hashes = [
            ("withdrawalsRoot", header.withdrawals_root),
            ("parentBeaconBlockRoot", header.parent_beacon_block_root),
            ("requestsHash", header.requests_hash),
        ];
        for (name, value) in hashes {
            if let Some(value) = value {
                object.hash(name, &value);
            }
        }
    }

    /// The header alone, as subscribers to new heads get it.
    pub fn json(&self) -> Json {
        Json::object(|object| self.fields(object, true))
    }

    pub fn push_receipt(&self, out: &mut String, included: &Included, index: usize) {
        push_object(out, |object| self.fill_receipt(object, included, index, true));
    }

    /// A receipt's fields; explorers that show a list of them do without logs.
    pub fn fill_receipt(&self, object: &mut Object<'_>, included: &Included, index: usize, with_logs: bool) {
        let transaction = &included.transaction;
        let envelope = &transaction.envelope;
        object.hash("transactionHash", &transaction.hash);
        object.quantity("transactionIndex", index as u64);
        object.hash("blockHash", &self.hash);
        object.quantity("blockNumber", self.header.number);
        object.address("from", &transaction.sender);
        object.optional_data("to", envelope.to().as_ref().map(|address| &address[..]));
        object.quantity("cumulativeGasUsed", included.cumulative_gas_used);
        object.quantity("gasUsed", included.gas_used);
        object.quantity("effectiveGasPrice", envelope.effective_gas_price(self.header.base_fee_per_gas));
        object.optional_data("contractAddress", included.contract_address().as_ref().map(|address| &address[..]));
        if with_logs {
            object.list("logs", included.logs.iter().enumerate(), |out, (position, log)| {
                self.push_log(out, &included.log_place(index, position), log.into());
            });
            object.data("logsBloom", included.bloom().as_slice());
        } else {
            object.null("logs");
            object.null("logsBloom");
        }
        object.quantity("type", envelope.ty());
        match included.status.as_post_state() {
            Some(root) => object.hash("root", &root),
            None => object.quantity("status", u8::from(included.status.coerce_status())),
        }
        if let Some(blob_gas) = envelope.blob_gas_used() {
            object.quantity("blobGasUsed", blob_gas);
            let price = self.blob_params.and_then(|params| self.header.blob_fee(params)).unwrap_or(1);
            object.quantity("blobGasPrice", price);
        }
    }

    pub fn push_log(&self, out: &mut String, place: &LogPlace<'_>, log: LogRef<'_>) {
        push_object(out, |object| {
            object.address("address", log.address);
            object.list("topics", log.topics.iter(), |out, topic| push_data(out, topic.as_slice()));
            object.data("data", log.data);
            object.quantity("blockNumber", self.header.number);
            object.hash("transactionHash", place.transaction_hash);
            object.quantity("transactionIndex", place.transaction_index as u64);
            object.hash("blockHash", &self.hash);
            object.quantity("blockTimestamp", self.header.timestamp);
            object.quantity("logIndex", place.log_index);
            object.bool("removed", false);
        });
    }
}

impl CommittedBlock {
    /// `None` if the record is damaged.
    pub fn decode(record: &BlockRecord, hash: B256, schedule: &ForkSchedule) -> Option<Self> {
        let included: Vec<Included> = record.transactions().collect();
        let hashes = included.iter().map(|included| included.transaction.hash).collect();
        let mut block = Self::sealed(record, hash, hashes, schedule)?;
        block.included = included.into_iter().map(|included| OnceLock::from(Box::new(included))).collect();
        Some(block)
    }

    /// Of a record that was sealed and is not damaged, with the hashes of its transactions. They are decoded as they are looked at.
    pub fn sealed(record: &BlockRecord, hash: B256, hashes: Vec<B256>, schedule: &ForkSchedule) -> Option<Self> {
        if hashes.len() != record.transaction_count() {
            return None;
        }
        let head = BlockHead::new(record.header()?, hash, schedule);
        let withdrawals = match head.header.withdrawals_root {
            Some(_) => Some(record.withdrawals()?),
            None => None,
        };
        Some(Self {
            head,
            ommers: record.ommers()?,
            withdrawals,
            weight: record.bytes().len() as u64,
            included: vec![OnceLock::new(); hashes.len()],
            hashes,
            record: Some(record.clone()),
            rendered: OnceLock::new(),
        })
    }

    pub fn new(
        head: BlockHead,
        included: Vec<Included>,
        ommers: Vec<Header>,
        withdrawals: Option<Withdrawals>,
    ) -> Self {
        Self {
            head,
            ommers,
            withdrawals,
            weight: included.iter().map(|included| included.transaction.raw.len() as u64).sum(),
            hashes: included.iter().map(|included| included.transaction.hash).collect(),
            included: included.into_iter().map(|included| OnceLock::from(Box::new(included))).collect(),
            record: None,
            rendered: OnceLock::new(),
        }
    }

    /// The hashes of its transactions, in order.
    pub fn hashes(&self) -> &[B256] {
        &self.hashes
    }

    pub fn transaction_count(&self) -> usize {
        self.hashes.len()
    }

    /// A transaction by its index.
    pub fn transaction(&self, index: usize) -> Option<&Included> {
        let slot = self.included.get(index)?;
        let decoded = || self.record.as_ref().and_then(|record| record.transaction(index)).map(Box::new);
        Some(slot.get_or_init(|| decoded().expect("a block that was sealed reads back")))
    }

    /// All transactions, in order.
    pub fn transactions(&self) -> impl Iterator<Item = &Included> {
        (0..self.transaction_count()).filter_map(|index| self.transaction(index))
    }

    /// Length of the block's RLP, bytes.
    pub fn size(&self) -> u64 {
        let of_raw =
            |raw: &[u8]| if raw.first().is_some_and(|first| *first >= 0xc0) { raw.len() } else { raw.length() };
        let of_transaction = |(index, slot): (usize, &OnceLock<Box<Included>>)| match (slot.get(), &self.record) {
            (Some(included), _) => of_raw(&included.transaction.raw),
            (None, Some(record)) => record.raw(index).map_or(0, of_raw),
            (None, None) => 0,
        };
        let transactions = list_length(self.included.iter().enumerate().map(of_transaction).sum());
        let withdrawals = self.withdrawals.as_ref().map_or(0, Encodable::length);
        list_length(self.head.header.length() + transactions + self.ommers.length() + withdrawals) as u64
    }

    /// The block that would come next: what is not known yet is `null`.
    pub fn preview_json(header: Header, schedule: &ForkSchedule) -> Json {
        let withdrawals = header.withdrawals_root.map(|_| Withdrawals::default());
        let head = BlockHead::new(header, B256::ZERO, schedule);
        let block = Self::new(head, Vec::new(), Vec::new(), withdrawals);
        block.json_with(false, None::<fn(&Transaction) -> bool>)
    }

    /// The record, where not every transaction is decoded.
    pub fn record(&self) -> Option<&BlockRecord> {
        self.record.as_ref()
    }

    /// The header's JSON.
    pub fn head_json(&self) -> &str {
        self.rendered.get_or_init(|| self.head.json().0)
    }

    pub fn number(&self) -> u64 {
        self.head.header.number
    }

    /// The block as `eth_getBlockBy…` answers it. `full` says of which transactions the whole is shown; of the others, or without it, the hash.
    pub fn json(&self, full: Option<impl Fn(&Transaction) -> bool>) -> Json {
        self.json_with(true, full)
    }

    fn json_with(&self, sealed: bool, full: Option<impl Fn(&Transaction) -> bool>) -> Json {
        let push_transactions = |out: &mut String, block: &Self| {
            for (index, hash) in block.hashes.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                let whole = full.as_ref().and_then(|full| {
                    let transaction = &block.transaction(index)?.transaction;
                    full(transaction).then_some(transaction)
                });
                match whole {
                    Some(transaction) => push_transaction(out, transaction, Some((&block.head, index))),
                    None => push_data(out, hash.as_slice()),
                }
            }
        };
        Json::object(|object| self.fill_as(object, sealed, push_transactions))
    }

    /// The block's fields, with a list of transactions of the caller's own.
    pub fn fill(&self, object: &mut Object<'_>, push_transactions: impl FnOnce(&mut String, &Self)) {
        self.fill_as(object, true, push_transactions);
    }

    fn fill_as(&self, object: &mut Object<'_>, sealed: bool, push_transactions: impl FnOnce(&mut String, &Self)) {
        self.head.fields(object, sealed);
        object.quantity("size", self.size());
        let out = object.field("transactions");
        out.push('[');
        push_transactions(out, self);
        out.push(']');
        object.list("uncles", &self.ommers, |out, ommer| push_data(out, ommer.hash_slow().as_slice()));
        if let Some(withdrawals) = &self.withdrawals {
            object.list("withdrawals", withdrawals.iter(), push_withdrawal);
        }
    }

    /// The block's RLP: header, transactions (typed ones as strings), ommers and, since Shanghai, withdrawals.
    pub fn rlp(&self) -> Vec<u8> {
        let mut transactions = Vec::new();
        for included in self.transactions() {
            let raw = &included.transaction.raw[..];
            match included.transaction.envelope.is_legacy() {
                true => transactions.extend_from_slice(raw),
                false => raw.encode(&mut transactions),
            }
        }
        let mut payload = Vec::with_capacity(transactions.len() + 1_024);
        self.head.header.encode(&mut payload);
        encode_list(&transactions, &mut payload);
        self.ommers.encode(&mut payload);
        if let Some(withdrawals) = &self.withdrawals {
            withdrawals.encode(&mut payload);
        }
        let mut rlp = Vec::with_capacity(payload.len() + 9);
        encode_list(&payload, &mut rlp);
        rlp
    }

    /// Every log with its transaction, the transaction's index, and its own position among that transaction's logs.
    pub fn logs(&self) -> impl Iterator<Item = (&Included, usize, usize, &Log)> {
        self.transactions().enumerate().flat_map(|(index, included)| {
            included.logs.iter().enumerate().map(move |(position, log)| (included, index, position, log))
        })
    }
}

fn list_length(payload_length: usize) -> usize {
    alloy_rlp::Header { list: true, payload_length }.length_with_payload()
}

fn encode_list(payload: &[u8], out: &mut Vec<u8>) {
    alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(out);
    out.extend_from_slice(payload);
}

/// Writes a transaction; one without a place is pending.
pub fn push_transaction(out: &mut String, transaction: &Transaction, place: Option<(&BlockHead, usize)>) {
    let envelope = &transaction.envelope;
    push_object(out, |object| {
        let header = place.map(|(head, _)| &head.header);
        object.optional_data("blockHash", place.map(|(head, _)| head.hash.as_slice()));
        object.optional_quantity("blockNumber", header.map(|header| header.number));
        object.optional_quantity("blockTimestamp", header.map(|header| header.timestamp));
        object.optional_quantity("transactionIndex", place.map(|(_, index)| index as u64));
        object.hash("hash", &transaction.hash);
        object.address("from", &transaction.sender);
        object.optional_data("to", envelope.to().as_ref().map(|address| &address[..]));
        object.quantity("gas", envelope.gas_limit());
        let price = match header {
            Some(header) => envelope.effective_gas_price(header.base_fee_per_gas),
            None => envelope.max_fee_per_gas(),
        };
        object.quantity("gasPrice", price);
        if envelope.is_dynamic_fee() {
            object.quantity("maxFeePerGas", envelope.max_fee_per_gas());
            object.quantity("maxPriorityFeePerGas", envelope.max_priority_fee_per_gas().unwrap_or(0));
        }
        if let Some(fee) = envelope.max_fee_per_blob_gas() {
            object.quantity("maxFeePerBlobGas", fee);
        }
        object.data("input", envelope.input());
        object.quantity("nonce", envelope.nonce());
        object.quantity("value", envelope.value());
        object.quantity("type", envelope.ty());
        if let Some(list) = envelope.access_list() {
            object.list("accessList", list.iter(), push_access_list_item);
        }
        if let Some(chain_id) = envelope.chain_id() {
            object.quantity("chainId", chain_id);
        }
        if let Some(hashes) = envelope.blob_versioned_hashes() {
            object.list("blobVersionedHashes", hashes, |out, hash| push_data(out, hash.as_slice()));
        }
        if let Some(list) = envelope.authorization_list() {
            object.list("authorizationList", list, push_authorization);
        }
        push_signature(object, transaction);
    });
}

fn push_signature(object: &mut Object<'_>, transaction: &Transaction) {
    let envelope = &transaction.envelope;
    let signature = envelope.signature();
    let parity = u64::from(signature.v());
    if envelope.is_legacy() {
        let v = match envelope.chain_id() {
            Some(chain_id) => U256::from(chain_id) * U256::from(2) + U256::from(35 + parity),
            None => U256::from(27 + parity),
        };
        object.quantity("v", v);
    } else {
        object.quantity("v", parity);
        object.quantity("yParity", parity);
    }
    object.quantity("r", signature.r());
    object.quantity("s", signature.s());
}

pub fn push_access_list_item(out: &mut String, item: &alloy_eips::eip2930::AccessListItem) {
    push_object(out, |object| {
        object.address("address", &item.address);
        object.list("storageKeys", &item.storage_keys, |out, key| push_data(out, key.as_slice()));
    });
}

fn push_authorization(out: &mut String, authorization: &alloy_eips::eip7702::SignedAuthorization) {
    push_object(out, |object| {
        object.quantity("chainId", authorization.chain_id);
        object.address("address", &authorization.address);
        object.quantity("nonce", authorization.nonce);
        object.quantity("yParity", authorization.y_parity());
        object.quantity("r", authorization.r());
        object.quantity("s", authorization.s());
    });
}

fn push_withdrawal(out: &mut String, withdrawal: &Withdrawal) {
    push_object(out, |object| {
        object.quantity("index", withdrawal.index);
        object.quantity("validatorIndex", withdrawal.validator_index);
        object.address("address", &withdrawal.address);
        object.quantity("amount", withdrawal.amount);
    });
}

pub fn receipt_json(head: &BlockHead, included: &Included, index: usize) -> Json {
    let mut out = String::with_capacity(1_024);
    head.push_receipt(&mut out, included, index);
    Json(out)
}

/// A block shared by everybody who reads it.
pub type SharedBlock = Arc<CommittedBlock>;
