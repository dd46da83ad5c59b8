//! The EVM's refusals in the words of Ethereum clients.

use revm::context::TxEnv;
use revm::context::result::InvalidTransaction;

use super::{Environment, ExecuteError};
use crate::transaction::TransactionError;

/// Why `tx` was not executed.
pub(crate) fn refusal(error: ExecuteError, tx: &TxEnv, environment: &Environment) -> TransactionError {
    let invalid = match error {
        ExecuteError::Transaction(invalid) => invalid,
        ExecuteError::Custom(failure) => return TransactionError::Invalid(failure),
        // A state that does not decode, or a header without what its fork needs: not the submitter's fault.
        other => panic!("executing a transaction: {other}"),
    };
    match invalid {
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => TransactionError::TipAboveFeeCap,
        InvalidTransaction::GasPriceLessThanBasefee => {
            TransactionError::FeeCapBelowBaseFee { fee_cap: tx.gas_price, base_fee: environment.block.basefee }
        }
        InvalidTransaction::CallerGasLimitMoreThanBlock => TransactionError::GasAboveBlock,
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
            TransactionError::IntrinsicGas { have: gas_limit, want: initial_gas }
        }
        InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
            TransactionError::FloorGas { have: gas_limit, want: gas_floor }
        }
        InvalidTransaction::RejectCallerWithCode => TransactionError::SenderNotEoa,
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            TransactionError::InsufficientFunds { balance: *balance, cost: *fee }
        }
        InvalidTransaction::NonceOverflowInTransaction => TransactionError::NonceMax,
        InvalidTransaction::NonceTooHigh { tx, state } => TransactionError::NonceTooHigh { next: state, nonce: tx },
        InvalidTransaction::NonceTooLow { tx, state } => TransactionError::NonceTooLow { next: state, nonce: tx },
        InvalidTransaction::InvalidChainId => {
            TransactionError::ChainId { have: tx.chain_id.unwrap_or_default(), want: environment.cfg.chain_id }
        }
        InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, cap } => {
            TransactionError::GasAboveCap { gas: gas_limit, cap }
        }
        InvalidTransaction::BlobGasPriceGreaterThanMax { .. } => TransactionError::BlobFeeCapTooLow,
        InvalidTransaction::EmptyBlobs => TransactionError::NoBlobs,
        InvalidTransaction::EmptyAuthorizationList => TransactionError::NoAuthorizations,
        InvalidTransaction::Eip2930NotSupported
        | InvalidTransaction::Eip1559NotSupported
        | InvalidTransaction::Eip4844NotSupported
        | InvalidTransaction::Eip7702NotSupported => TransactionError::TypeNotSupported,
        other => TransactionError::Invalid(other.to_string()),
    }
}
