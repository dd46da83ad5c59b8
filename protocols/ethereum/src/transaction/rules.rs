//! What a network lets in, as far as it can be judged without state.

use alloy_consensus::Transaction as _;
use alloy_eips::eip7825;
use revm::context_interface::cfg::gas::calculate_initial_tx_gas;
use revm::primitives::hardfork::SpecId;

use super::{Envelope, TransactionError};

/// Largest init code since Shanghai (EIP-3860), where the network has no limit of its own.
pub const INITCODE_BYTES_MAX: usize = 49_152;

/// The rules for submissions. Transactions of imported blocks are not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionRules {
    /// The fork of the next block.
    pub spec: SpecId,
    pub chain_id: u64,
    pub block_gas_limit: u64,
    /// Transactions without chain id (before EIP-155) are let in: replayable on other chains, needed by deterministic deployers.
    pub allow_unprotected: bool,
    /// Blob transactions are let in. Their sidecars have no place here, so that they must come without.
    pub allow_blobs: bool,
    /// Lowest fee cap, wei per gas.
    pub fee_cap_min: u128,
    /// Code that creates a contract, since Shanghai.
    pub initcode_bytes_max: usize,
}

impl AdmissionRules {
    pub(super) fn supports_type(&self, kind: u8) -> bool {
        match kind {
            1 => self.spec.is_enabled_in(SpecId::BERLIN),
            2 => self.spec.is_enabled_in(SpecId::LONDON),
            3 => self.allow_blobs && self.spec.is_enabled_in(SpecId::CANCUN),
            4 => self.spec.is_enabled_in(SpecId::PRAGUE),
            _ => false,
        }
    }

    /// What is checked before the expensive recovery.
    pub(super) fn check_signing(&self, envelope: &Envelope) -> Result<(), TransactionError> {
        let (bytes, max) = (envelope.input().len(), self.initcode_bytes_max);
        if self.spec.is_enabled_in(SpecId::SHANGHAI) && envelope.is_create() && bytes > max {
            return Err(TransactionError::InitcodeOversized { bytes, max });
        }
        if envelope.chain_id().is_some() && !self.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON) {
            return Err(TransactionError::InvalidSender);
        }
        match envelope.chain_id() {
            None if self.allow_unprotected => Ok(()),
            None => Err(TransactionError::Unprotected),
            Some(have) if have != self.chain_id => Err(TransactionError::ChainId { have, want: self.chain_id }),
            Some(_) => Ok(()),
        }
    }

    /// Gas and fees.
    pub(super) fn check(&self, envelope: &Envelope) -> Result<(), TransactionError> {
        let gas = envelope.gas_limit();
        if gas > self.block_gas_limit {
            return Err(TransactionError::GasAboveBlock);
        }
        if self.spec.is_enabled_in(SpecId::OSAKA) && gas > eip7825::MAX_TX_GAS_LIMIT_OSAKA {
            return Err(TransactionError::GasAboveCap { gas, cap: eip7825::MAX_TX_GAS_LIMIT_OSAKA });
        }
        let fee_cap = envelope.max_fee_per_gas();
        if envelope.max_priority_fee_per_gas().is_some_and(|tip| tip > fee_cap) {
            return Err(TransactionError::TipAboveFeeCap);
        }
        if fee_cap < self.fee_cap_min {
            return Err(TransactionError::Underpriced);
        }
        if envelope.nonce() == u64::MAX {
            return Err(TransactionError::NonceMax);
        }
        self.check_intrinsic_gas(envelope, gas)
    }

    fn check_intrinsic_gas(&self, envelope: &Envelope, have: u64) -> Result<(), TransactionError> {
        let (accounts, slots) = envelope
            .access_list()
            .map_or((0, 0), |list| (list.len() as u64, list.iter().map(|item| item.storage_keys.len() as u64).sum()));
        let authorizations = envelope.authorization_list().map_or(0, |list| list.len() as u64);
        let gas = calculate_initial_tx_gas(
            self.spec,
            envelope.input(),
            envelope.is_create(),
            accounts,
            slots,
            authorizations,
            None,
        );
        if have < gas.initial_total_gas() {
            return Err(TransactionError::IntrinsicGas { have, want: gas.initial_total_gas() });
        }
        if self.spec.is_enabled_in(SpecId::PRAGUE) && have < gas.floor_gas() {
            return Err(TransactionError::FloorGas { have, want: gas.floor_gas() });
        }
        Ok(())
    }
}
