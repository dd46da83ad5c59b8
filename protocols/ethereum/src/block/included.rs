//! A transaction in a block, with what became of it.

use std::sync::OnceLock;

use alloy_consensus::{Eip658Value, Transaction as _, Typed2718};
use alloy_primitives::{Address, Bloom, Log};
use alloy_rlp::{Encodable, Header};
use coco_types::TxId;

use super::LogPlace;
use crate::execute::Told;
use crate::transaction::Transaction;

/// An executed transaction.
#[derive(Clone, Debug)]
pub struct Included {
    pub transaction: Transaction,
    /// Its place in the ledger, which leads to a signed receipt.
    pub txid: TxId,
    /// Success or failure; before Byzantium, the state root after it.
    pub status: Eip658Value,
    pub gas_used: u64,
    /// With all transactions before it in the block.
    pub cumulative_gas_used: u64,
    /// Index of its first log in the block.
    pub first_log_index: u64,
    pub logs: Vec<Log>,
    /// What the Coco precompile told it, if it was asked.
    pub told: Option<Told>,
    /// Of the logs, once somebody asked for it.
    pub bloom: OnceLock<Box<Bloom>>,
}

impl Included {
    /// Whether it did nothing but cost its sender; not known of what was executed before Byzantium.
    pub fn has_failed(&self) -> bool {
        self.status == Eip658Value::Eip658(false)
    }

    /// Appends the receipt that the block's receipts root covers, EIP-2718.
    pub fn encode_receipt(&self, out: &mut Vec<u8>) {
        let (bloom, logs) = (self.bloom(), &self.logs);
        let status: &dyn Encodable = match &self.status {
            Eip658Value::Eip658(success) => success,
            Eip658Value::PostState(root) => root,
        };
        let gas = self.cumulative_gas_used;
        if !self.transaction.envelope.is_legacy() {
            out.push(self.transaction.envelope.ty());
        }
        let payload_length = status.length() + gas.length() + bloom.length() + logs.length();
        Header { list: true, payload_length }.encode(out);
        status.encode(out);
        gas.encode(out);
        bloom.encode(out);
        logs.encode(out);
    }

    /// The same alone.
    pub fn receipt(&self) -> Vec<u8> {
        let mut receipt = Vec::with_capacity(512);
        self.encode_receipt(&mut receipt);
        receipt
    }

    pub fn bloom(&self) -> &Bloom {
        self.bloom.get_or_init(|| Box::new(self.logs.iter().collect()))
    }

    /// Where one of its logs is, by the transaction's index in the block and the log's among its own.
    pub fn log_place(&self, transaction_index: usize, position: usize) -> LogPlace<'_> {
        let log_index = self.first_log_index + position as u64;
        LogPlace { transaction_hash: &self.transaction.hash, transaction_index, log_index }
    }

    /// The address of the contract that it created, or would have.
    pub fn contract_address(&self) -> Option<Address> {
        let envelope = &self.transaction.envelope;
        envelope.is_create().then(|| self.transaction.sender.create(envelope.nonce()))
    }
}
