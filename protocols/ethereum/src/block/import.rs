//! Executing a block that somebody else made, and comparing every field of its header.
//!
//! Proof of work and difficulty are taken as they are; everything that follows from the parent and from execution is not.

use alloy_consensus::{Block, Header};
use alloy_eips::Encodable2718;
use alloy_primitives::B256;
use coco_types::TxId;

use super::{BlockAttributes, BlockError, OpenBlock, SealedBlock};
use crate::execute::CodeCache;
use crate::fork::ForkSchedule;
use crate::state::State;
use crate::transaction::{Envelope, Transaction, TransactionError};
use crate::trie::StateTrie;

/// A block is not what execution makes of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("block {number}: {error}")]
    Rlp { number: u64, error: alloy_rlp::Error },
    #[error("block {number}, transaction {index}: {error}")]
    Transaction { number: u64, index: usize, error: TransactionError },
    #[error("block {number}, {field}: expected {expected}, found {found}")]
    Mismatch { number: u64, field: &'static str, expected: String, found: String },
    #[error("block {number}: {error}")]
    Block { number: u64, error: BlockError },
}

/// Executes `block` on `parent`, whose state is in `state` and in `trie`. After an error `state` holds a part of the block.
pub fn import_block(
    state: &mut dyn State,
    codes: &CodeCache,
    schedule: &ForkSchedule,
    parent: (&Header, B256),
    trie: StateTrie,
    block: &Block<Envelope>,
) -> Result<SealedBlock, ImportError> {
    let number = block.header.number;
    let failed = |error| ImportError::Block { number, error };
    let attributes = BlockAttributes::of(&block.header, &block.body.ommers, block.body.withdrawals.as_ref());
    // What the base fee should be is compared below, and not taken from the header.
    let attributes = BlockAttributes { base_fee: None, ..attributes };
    let mut open = OpenBlock::open(state, codes, schedule, parent, trie, attributes).map_err(failed)?;
    for (index, envelope) in block.body.transactions.iter().enumerate() {
        let refused = |error| ImportError::Transaction { number, index, error };
        let transaction = Transaction::recover(envelope.encoded_2718().into()).map_err(refused)?;
        open.execute(state, codes, &transaction, TxId::default(), None).map_err(refused)?;
    }
    let sealed = open.seal(state, codes, 0).map_err(failed)?;
    compare(&block.header, &sealed.header)?;
    Ok(sealed)
}

fn compare(expected: &Header, found: &Header) -> Result<(), ImportError> {
    let fields = |header: &Header| {
        [
            ("parent hash", format!("{}", header.parent_hash)),
            ("number", header.number.to_string()),
            ("base fee", format!("{:?}", header.base_fee_per_gas)),
            ("excess blob gas", format!("{:?}", header.excess_blob_gas)),
            ("blob gas used", format!("{:?}", header.blob_gas_used)),
            ("gas used", header.gas_used.to_string()),
            ("receipts root", header.receipts_root.to_string()),
            ("logs bloom", header.logs_bloom.to_string()),
            ("transactions root", header.transactions_root.to_string()),
            ("ommers hash", header.ommers_hash.to_string()),
            ("withdrawals root", format!("{:?}", header.withdrawals_root)),
            ("requests hash", format!("{:?}", header.requests_hash)),
            ("state root", header.state_root.to_string()),
            ("hash", header.hash_slow().to_string()),
        ]
    };
    for ((field, expected_value), (_, found_value)) in fields(expected).into_iter().zip(fields(found)) {
        if expected_value != found_value {
            let (number, expected, found) = (expected.number, expected_value, found_value);
            return Err(ImportError::Mismatch { number, field, expected, found });
        }
    }
    Ok(())
}
