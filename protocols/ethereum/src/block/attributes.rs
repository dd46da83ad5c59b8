//! What whoever makes a block decides about it.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_eips::eip1559::{BaseFeeParams, INITIAL_BASE_FEE};
use alloy_eips::eip4895::Withdrawals;
use alloy_primitives::{Address, B64, B256, Bytes, U256};
use revm::primitives::hardfork::SpecId;

use crate::execute::Forged;
use crate::fork::ForkSchedule;
use crate::state::Undo;

/// Everything in a header that does not follow from the parent or from execution.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BlockAttributes {
    /// Whole seconds since 1970.
    pub timestamp: u64,
    /// Randomness of the block; before the merge, part of the proof of work.
    pub mix_hash: B256,
    pub beneficiary: Address,
    pub gas_limit: u64,
    /// Instead of what EIP-1559 makes of the parent.
    pub base_fee: Option<u64>,
    pub parent_beacon_block_root: B256,
    pub extra_data: Bytes,
    pub withdrawals: Withdrawals,
    /// Made here and not imported or simulated: it must be possible to seal it once its transactions are executed.
    pub is_own: bool,
    /// What it writes enters the ledger a second time, in clear.
    pub is_published: bool,
    /// On a development network: what contracts write to the console is told.
    pub is_developers: bool,
    /// On a development network: signatures that are somebody's because a developer says so.
    pub forged: Option<Arc<Forged>>,
    /// Rows that changed since the parent, outside of any block; they become part of this one.
    pub(crate) patched: Undo,
    /// Of imported blocks from before the merge, which also pay rewards.
    pub proof_of_work: Option<ProofOfWork>,
}

/// What only blocks from before the merge have.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProofOfWork {
    pub difficulty: U256,
    pub nonce: B64,
    pub ommers: Vec<Header>,
}

impl BlockAttributes {
    /// Those of a block that exists, to execute it again.
    pub fn of(header: &Header, ommers: &[Header], withdrawals: Option<&Withdrawals>) -> Self {
        let work = || ProofOfWork { difficulty: header.difficulty, nonce: header.nonce, ommers: ommers.to_vec() };
        Self {
            timestamp: header.timestamp,
            mix_hash: header.mix_hash,
            beneficiary: header.beneficiary,
            gas_limit: header.gas_limit,
            base_fee: header.base_fee_per_gas,
            parent_beacon_block_root: header.parent_beacon_block_root.unwrap_or_default(),
            extra_data: header.extra_data.clone(),
            withdrawals: withdrawals.cloned().unwrap_or_default(),
            is_own: false,
            is_published: false,
            is_developers: false,
            forged: None,
            patched: Undo::default(),
            proof_of_work: (!header.difficulty.is_zero()).then(work),
        }
    }

    /// The header as far as it is known before execution.
    pub(super) fn header(&self, schedule: &ForkSchedule, parent: &Header, parent_hash: B256) -> Header {
        let number = parent.number + 1;
        let spec = schedule.spec(number, self.timestamp);
        let since = |fork| spec.is_enabled_in(fork);
        let work = self.proof_of_work.clone().unwrap_or_default();
        Header {
            parent_hash,
            ommers_hash: alloy_consensus::proofs::calculate_ommers_root(&work.ommers),
            beneficiary: self.beneficiary,
            difficulty: work.difficulty,
            number,
            gas_limit: self.gas_limit,
            timestamp: self.timestamp,
            extra_data: self.extra_data.clone(),
            mix_hash: self.mix_hash,
            nonce: work.nonce,
            base_fee_per_gas: since(SpecId::LONDON).then(|| self.base_fee.unwrap_or_else(|| next_base_fee(parent))),
            withdrawals_root: since(SpecId::SHANGHAI)
                .then(|| alloy_consensus::proofs::calculate_withdrawals_root(&self.withdrawals)),
            blob_gas_used: since(SpecId::CANCUN).then_some(0),
            excess_blob_gas: schedule
                .blob_params(self.timestamp)
                .map(|params| parent.next_block_excess_blob_gas(params).unwrap_or(0)),
            parent_beacon_block_root: since(SpecId::CANCUN).then_some(self.parent_beacon_block_root),
            ..Header::default()
        }
    }
}

/// EIP-1559. The first block with a base fee begins with 1 gwei.
pub fn next_base_fee(parent: &Header) -> u64 {
    parent.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or(INITIAL_BASE_FEE)
}
