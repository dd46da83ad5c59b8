//! Executing a block that somebody else made, and comparing every field of its header.
//!
//! Difficulty, proof of work and ommers are taken as they are; everything else that follows from the parent and from execution is not.

use alloy_consensus::{Block, Header, Transaction as _};
use alloy_eips::Encodable2718;
use alloy_primitives::{B64, B256};
use coco_types::TxId;
use revm::primitives::hardfork::SpecId;

use super::{BlockAttributes, BlockError, OpenBlock, SealedBlock};
use crate::execute::CodeCache;
use crate::fork::ForkSchedule;
use crate::state::State;
use crate::transaction::{Envelope, Transaction, TransactionError};
use crate::trie::StateTrie;

/// A block's gas limit differs from its parent's by less than one part in so many.
const GAS_LIMIT_STEP: u64 = 1_024;
const GAS_LIMIT_MIN: u64 = 5_000;
const GAS_LIMIT_MAX: u64 = (1 << 63) - 1;
const EXTRA_DATA_BYTES_MAX: usize = 32;

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
    check_header(schedule, parent.0, block)?;
    let failed = |error| ImportError::Block { number, error };
    let attributes = BlockAttributes::of(&block.header, &block.body.ommers, block.body.withdrawals.as_ref());
    // What the base fee should be is compared below, and not taken from the header.
    let attributes = BlockAttributes { base_fee: None, ..attributes };
    let mut open = OpenBlock::open(state, codes, schedule, parent, trie, attributes).map_err(failed)?;
    let protects = open.environment().spec().is_enabled_in(SpecId::SPURIOUS_DRAGON);
    for (index, envelope) in block.body.transactions.iter().enumerate() {
        let refused = |error| ImportError::Transaction { number, index, error };
        if !protects && envelope.chain_id().is_some() {
            return Err(refused(TransactionError::InvalidSender));
        }
        let transaction = Transaction::recover(envelope.encoded_2718().into()).map_err(refused)?;
        open.execute(state, codes, &transaction, TxId::default(), None).map_err(refused)?;
    }
    let sealed = open.seal(state, codes, 0).map_err(failed)?;
    compare(&block.header, &sealed.header)?;
    Ok(sealed)
}

/// What a header may say of itself, as far as neither its parent's successor nor execution fixes it.
fn check_header(schedule: &ForkSchedule, parent: &Header, block: &Block<Envelope>) -> Result<(), ImportError> {
    let header = &block.header;
    let spec = |header: &Header| schedule.spec(header.number, header.timestamp);
    let merged = spec(header).is_enabled_in(SpecId::MERGE);
    let first_with_base_fee = spec(header).is_enabled_in(SpecId::LONDON) && !spec(parent).is_enabled_in(SpecId::LONDON);
    let limit = if first_with_base_fee { parent.gas_limit.saturating_mul(2) } else { parent.gas_limit };
    let nearby = header.gas_limit.abs_diff(limit) < limit / GAS_LIMIT_STEP;
    let checks = [
        ("timestamp", header.timestamp > parent.timestamp, "one after the parent's"),
        ("gas limit", nearby && (GAS_LIMIT_MIN..=GAS_LIMIT_MAX).contains(&header.gas_limit), "one near the parent's"),
        ("extra data", header.extra_data.len() <= EXTRA_DATA_BYTES_MAX, "at most 32 bytes"),
        ("withdrawals", block.body.withdrawals.is_some() == header.withdrawals_root.is_some(), "as the fork has them"),
        ("difficulty", header.difficulty.is_zero() == merged, "none after the merge"),
        ("ommers", !merged || block.body.ommers.is_empty(), "none after the merge"),
        ("nonce", !merged || header.nonce == B64::ZERO, "zero after the merge"),
    ];
    for (field, holds, expected) in checks {
        if !holds {
            let (expected, found) = (expected.to_owned(), "another".to_owned());
            return Err(ImportError::Mismatch { number: header.number, field, expected, found });
        }
    }
    Ok(())
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
