//! What the governance endpoints ask of the node.

use bytes::Bytes;
use coco_governance::{Refusal, Request};
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

    /// What a proposal would do now. Runs the constitution: for members only, which the caller has checked.
    fn simulate(&self, caller: &Caller, proposal: Bytes, reply: Box<dyn FnOnce(Governed) + Send>);
}

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
