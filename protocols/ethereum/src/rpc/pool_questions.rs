//! What the RPC asks the primary's pool, and what it hears. Both travel as JSON between nodes.
//!
//! Answers name transactions by their bytes with the sender that admission found, so that nobody recovers one twice.

use alloy_primitives::{Address, B256, Bytes};
use serde::{Deserialize, Serialize};

/// A question for [`coco_protocol::Pool::answer`]. The answer to each is named beside it, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolQuestion {
    /// The next nonce of a sender, counting what it has in the pool without a gap. `u64`.
    NextNonce(Address),
    /// How many transactions wait. [`PoolCounts`].
    Counts,
    /// The transactions that wait, of one sender or of all, as many as [`crate::limits`] says. [`PoolContent`].
    Content(Option<Address>),
    /// One transaction. `Option<PooledTransaction>`.
    Transaction(B256),
    /// Drops transactions, on development networks only. Whether there were any: `bool`.
    Drop(Dropped),
}

/// What a developer wants out of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dropped {
    One(B256),
    Of(Address),
    All,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolCounts {
    /// Executable in nonce order from the account's nonce.
    pub pending: u64,
    /// Behind a gap.
    pub queued: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolContent {
    pub pending: Vec<PooledTransaction>,
    pub queued: Vec<PooledTransaction>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PooledTransaction {
    pub raw: Bytes,
    /// What admission found ([`crate::transaction::Transaction::finding`]).
    pub finding: Bytes,
}
