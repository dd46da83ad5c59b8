//! What the governance endpoints ask of the node.

use bytes::Bytes;
use coco_governance::{News, Refusal, Request};
use coco_kv::Snapshot;
use coco_protocol::{Caller, Gate, Idempotent, TransactionStatus};
use coco_types::TxId;
use serde::{Deserialize, Serialize};

/// Governance as its HTTP API sees it. Called on workers: must not block; what takes longer answers by callback.
pub trait GovApi: Send + Sync {
    /// The committed state, and up to which transaction.
    fn state(&self, caller: &Caller) -> (TxId, Snapshot);

    /// Decides what of the state is told to whom.
    fn gate(&self) -> &dyn Gate;

    /// The network's first transaction.
    fn created(&self, caller: &Caller) -> Option<TxId>;

    fn transaction_status(&self, caller: &Caller, txid: TxId) -> TransactionStatus;

    /// Hands a member's signed request to the primary; answers once its effect is committed.
    fn govern(
        &self,
        caller: &Caller,
        request: Request,
        key: Option<Idempotent>,
        reply: Box<dyn FnOnce(Governed) + Send>,
    );

    /// What happened in governance behind this transaction; without one, nothing of the past.
    fn news_since(&self, after: Option<TxId>) -> Past;

    /// Tells of what happens behind `at`, until the listener wants no more or what is given back is dropped.
    fn follow(&self, at: TxId, listener: Listener) -> Box<dyn Send>;

    /// What a proposal would do now. Runs the constitution: for members only, which the caller has checked.
    fn simulate(&self, caller: &Caller, proposal: Bytes, reply: Box<dyn FnOnce(Governed) + Send>);
}

/// What happened up to now.
pub struct Past {
    /// Everything that is committed up to here is told.
    pub at: TxId,
    pub news: Vec<(TxId, Vec<News>)>,
    /// It reaches back to this transaction only: what lies before, and behind the one that was asked for, is in the ledger files.
    pub gap_until: Option<TxId>,
}

/// Told of each transaction with news, and from time to time of the newest transaction, that it has none. `false`: nobody listens any more.
pub type Listener = Box<dyn FnMut(TxId, &[News]) -> bool + Send>;

/// The end of a governance request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Governed {
    /// As of this transaction: its own, if it wrote anything.
    Done {
        txid: TxId,
        body: Option<serde_json::Value>,
    },
    Refused(Refusal),
    /// Its primary lost the lead after executing it: ask for the transaction's status. Without an id, a primary did not answer that may
    /// have executed it.
    Unknown(Option<TxId>),
    /// No primary, or too busy: it was not executed.
    Unavailable,
}
