//! How an execution ended, and what was committed.

use std::sync::Arc;

use bytes::Bytes;
use coco_types::{Digest, TxId, WriteSet};

/// A transaction that was included, successful or not: an Ethereum revert is an outcome too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the transaction's receipt binds.
    pub claims: Option<Claims>,
    /// The answer to whoever waits for it, in the protocol's own encoding.
    pub response: Bytes,
}

/// What a receipt says about a transaction in its protocol's words. The ledger adds a salt, so that nobody can confirm a guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The protocol's name.
    pub protocol: &'static str,
    /// What kind of thing this is: `transaction`, `block`, `batch`, `record`.
    pub kind: &'static str,
    /// The protocol's own id of it.
    pub id: Bytes,
    /// SHA-256 of the protocol's encoding of the result.
    pub result: Digest,
    /// The hash and number of the block that holds it, when known.
    pub container: Option<(Digest, u64)>,
}

/// A submission refused, in the protocol's own words. It leaves no trace in the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    pub reason: RejectionReason,
    /// The protocol's own error code, such as a JSON-RPC one.
    pub code: i64,
    pub message: String,
    /// What the protocol's clients find beside the message, such as revert data.
    pub data: Option<Bytes>,
}

/// What the submitter can do about a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionReason {
    /// It can never be accepted.
    Invalid,
    /// It was accepted before, or something else took its place.
    Duplicate,
    /// The state does not allow it now (nonce, balance, permission).
    Refused,
    /// A limit is reached: try again later.
    Busy,
    /// The members have decided that nothing is written now.
    Closed,
}

impl Rejection {
    pub fn new(reason: RejectionReason, code: i64, message: impl Into<String>) -> Self {
        Self { reason, code, message: message.into(), data: None }
    }
}

/// A run of ledger transactions that a majority holds on disk, in order. Every node sees the same ones.
#[derive(Clone, Debug)]
pub struct CommittedBatch {
    pub transactions: Vec<CommittedTransaction>,
}

/// One committed ledger transaction, of whatever protocol: look at the maps that are yours.
#[derive(Clone, Debug)]
pub struct CommittedTransaction {
    pub txid: TxId,
    pub writes: Arc<WriteSet>,
}
