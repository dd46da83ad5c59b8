//! A transaction in a block, with what became of it.

use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _};
use alloy_primitives::{Address, Bloom, Log};
use coco_types::TxId;

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
}

impl Included {
    /// The receipt that the block's receipts root covers.
    pub fn receipt(&self) -> ReceiptEnvelope {
        let logs_bloom = self.bloom();
        let receipt =
            Receipt { status: self.status, cumulative_gas_used: self.cumulative_gas_used, logs: self.logs.clone() };
        ReceiptEnvelope::from_typed(self.transaction.envelope.tx_type(), ReceiptWithBloom { receipt, logs_bloom })
    }

    pub fn bloom(&self) -> Bloom {
        self.logs.iter().collect()
    }

    /// The address of the contract that it created, or would have.
    pub fn contract_address(&self) -> Option<Address> {
        let envelope = &self.transaction.envelope;
        envelope.is_create().then(|| self.transaction.sender.create(envelope.nonce()))
    }
}
