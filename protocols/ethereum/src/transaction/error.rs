//! Refusals, in the words that Ethereum clients look for.

use std::fmt;

use alloy_primitives::U256;
use coco_protocol::{Rejection, RejectionReason};

/// Why a transaction is refused. The texts are those that ethers, viem and web3 match (specification §5 and §9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    #[error("empty transaction data")]
    Empty,
    #[error("rlp: {0}")]
    Rlp(String),
    #[error("transaction type not supported")]
    TypeNotSupported,
    #[error("oversized data: transaction size {bytes}, limit {max}")]
    Oversized { bytes: usize, max: usize },
    #[error("max initcode size exceeded: code size {bytes}, limit {max}")]
    InitcodeOversized { bytes: usize, max: usize },
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId { have: u64, want: u64 },
    #[error("invalid sender")]
    InvalidSender,
    #[error("blobless blob transaction")]
    NoBlobs,
    #[error("set code transaction with empty authorization list")]
    NoAuthorizations,
    #[error("exceeds block gas limit")]
    GasAboveBlock,
    #[error("transaction gas limit too high (cap: {cap}, tx: {gas})")]
    GasAboveCap { gas: u64, cap: u64 },
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFeeCap,
    #[error("transaction underpriced")]
    Underpriced,
    #[error("intrinsic gas too low: have {have}, want {want}")]
    IntrinsicGas { have: u64, want: u64 },
    #[error("floor data gas cost too high: have {have}, want {want}")]
    FloorGas { have: u64, want: u64 },
    #[error("nonce has max value")]
    NonceMax,
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow { next: u64, nonce: u64 },
    #[error("nonce too high: next nonce {next}, tx nonce {nonce}")]
    NonceTooHigh { next: u64, nonce: u64 },
    #[error("insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {}", cost.saturating_sub(*balance))]
    InsufficientFunds { balance: U256, cost: U256 },
    #[error("already known")]
    AlreadyKnown,
    #[error("replacement transaction underpriced")]
    ReplacementUnderpriced,
    #[error("txpool is full")]
    PoolFull,
    #[error("evicted from the txpool by a transaction that pays more")]
    Evicted,
    #[error("replaced by another transaction with the same nonce")]
    Replaced,
    #[error("dropped from the txpool by a developer")]
    Dropped,
    #[error("waited in the txpool for too long behind a nonce gap")]
    Expired,
    #[error("in-flight transaction limit reached for delegated accounts")]
    DelegatedInFlight,
    #[error("max fee per gas less than block base fee: maxFeePerGas: {fee_cap}, baseFee: {base_fee}")]
    FeeCapBelowBaseFee { fee_cap: u128, base_fee: u64 },
    #[error("max fee per blob gas less than block blob gas fee")]
    BlobFeeCapTooLow,
    #[error("sender not an eoa")]
    SenderNotEoa,
    #[error("sender account not authorized to send transactions")]
    MayNotSend,
    #[error("sender account not authorized to create contracts")]
    MayNotCreate,
    #[error("the transaction writes more than a block holds")]
    WritesTooMuch,
    /// Anything else that the EVM refuses.
    #[error("{0}")]
    Invalid(String),
}

impl TransactionError {
    pub(super) fn rlp(error: impl fmt::Display) -> Self {
        Self::Rlp(error.to_string())
    }

    /// As geth has it, and besu where geth knows no such thing.
    fn code(&self) -> i64 {
        match self {
            Self::MayNotSend | Self::MayNotCreate => -32007,
            _ => -32000,
        }
    }

    fn reason(&self) -> RejectionReason {
        match self {
            Self::AlreadyKnown | Self::ReplacementUnderpriced | Self::Replaced => RejectionReason::Duplicate,
            Self::PoolFull | Self::DelegatedInFlight | Self::Evicted | Self::Expired | Self::Dropped => {
                RejectionReason::Busy
            }
            Self::NonceTooLow { .. }
            | Self::NonceTooHigh { .. }
            | Self::InsufficientFunds { .. }
            | Self::FeeCapBelowBaseFee { .. }
            | Self::BlobFeeCapTooLow
            | Self::SenderNotEoa
            | Self::MayNotSend
            | Self::MayNotCreate
            | Self::Underpriced => RejectionReason::Refused,
            _ => RejectionReason::Invalid,
        }
    }
}

impl From<TransactionError> for Rejection {
    fn from(error: TransactionError) -> Self {
        Self::new(error.reason(), error.code(), error.to_string())
    }
}
