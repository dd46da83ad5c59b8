//! The trait a ledger protocol implements.

use std::sync::Arc;

use bytes::Bytes;
use coco_kv::{Snapshot, Tx};

use crate::{
    Admitted, Caller, CommittedBatch, Context, DerivedHistory, HistoryError, Job, LedgerHandle, Outcome, Pool,
    Rejection, RejectionReason, Service, StreamService,
};

/// A ledger protocol. One object per node and hosted ledger.
pub trait Protocol: Send + Sync {
    /// The name of the ledger: its map names and claims begin with it.
    fn name(&self) -> &'static str;

    /// Writes the first state, if there is any. Runs once in the life of a network that hosts this ledger: in its first transaction, or in the one
    /// that adds the ledger. That one may be dropped with the lead like any other, and another one may come in its place.
    fn genesis(&self, _tx: &mut Tx, _config: &serde_json::Value, _context: &Context<'_>) -> Result<(), GenesisError> {
        Ok(())
    }

    /// In how many more transactions the rest of the first state comes, where it does not fit into one.
    fn genesis_parts(&self, _config: &serde_json::Value) -> u64 {
        0
    }

    /// Writes part `part`, counted from 0. Each is written once those before it are committed.
    fn genesis_part(
        &self,
        _tx: &mut Tx,
        _config: &serde_json::Value,
        _part: u64,
        _context: &Context<'_>,
    ) -> Result<(), GenesisError> {
        Ok(())
    }

    /// Whether a ledger could begin with this configuration, as far as that shows without a state: members are told before they vote on it.
    fn check_genesis(&self, _config: &serde_json::Value) -> Result<(), GenesisError> {
        Ok(())
    }

    /// Stateless: decodes, checks signatures, recovers senders. Many threads, any node, before ordering.
    fn admit(&self, submission: Bytes, caller: &Caller) -> Result<Admitted, Rejection>;

    /// The same for what an attested peer admitted: decodes, and trusts the finding, if admission makes one.
    fn readmit(&self, submission: Bytes, _finding: Bytes, caller: Caller) -> Result<Admitted, Rejection> {
        self.admit(submission, &caller)
    }

    /// Whether `signature`, in this ledger's own form, was made over `statement` by the key of one of its identities, named canonically.
    /// Ledgers without identities refuse.
    fn prove_identity(&self, _identity: &str, _statement: &str, _signature: &str) -> Result<(), Rejection> {
        Err(Rejection::new(RejectionReason::Invalid, 400, "this ledger has no identities that can be bound"))
    }

    /// The canonical name of one of this ledger's identities, if it can be one.
    fn identity(&self, _name: &str) -> Option<String> {
        None
    }

    /// A new, empty pool, for a node that becomes primary.
    fn pool(&self) -> Box<dyn Pool>;

    /// Whether transactions are gathered in blocks: then a run of the pool is one block and is never divided.
    fn has_blocks(&self) -> bool {
        false
    }

    /// Opens a block, for protocols that have blocks. It runs in the same `Tx` as the block's first transaction, so what it writes
    /// is part of that one. If that transaction is rejected, both are dropped and it is called again before the next: opening
    /// anew replaces what was open.
    fn open_block(&self, _tx: &mut Tx, _context: &Context<'_>) -> Result<(), Rejection> {
        Ok(())
    }

    /// Executes one transaction, on the primary only. `Err` leaves nothing of it behind. A protocol that keeps an open block must itself
    /// refuse what writes more than [`coco_types::limits::WRITE_SET_BYTES_MAX`]: it would believe in what the executor then drops.
    fn execute(&self, tx: &mut Tx, admitted: &Admitted, context: &Context<'_>) -> Result<Outcome, Rejection>;

    /// Starts an execution that the executor must not wait for, and returns at once; [`Job::finish`] may be called at any time, on any
    /// thread. What it came to is in the context of `execute`, if what it read still holds then.
    fn prepare(&self, _admitted: &Admitted, _job: Job) {}

    /// A message of the same protocol on a node that follows this one ([`LedgerHandle::relay`]): what a backup's clients have to do
    /// with executions under way here. May compute, must not block; `reply` may be called at any time, and dropping it answers nothing.
    fn relayed(&self, _message: Bytes, _reply: Box<dyn FnOnce(Bytes) + Send>) {}

    /// What the primary's pool took and its clients are about to be told of ([`LedgerHandle::entrust`]), each with its finding and its caller:
    /// to be remembered, and handed in to the next primary unless it is committed by then.
    fn entrusted(&self, _submissions: Vec<(Bytes, Bytes, Caller)>, _now_ms: u64) {}

    /// Closes the block; `None` if there is none to close. What it writes is a system transaction. The block's transactions are
    /// executed by then, so that an error is a broken invariant and stops the node: refuse in `execute` what could not be sealed.
    fn seal_block(&self, _tx: &mut Tx, _context: &Context<'_>) -> Result<Option<Outcome>, Rejection> {
        Ok(None)
    }

    /// On every node and in ledger order, though what a [`Protocol::rebuild`] or an own block already covered may come (again): maintains derived data. `state` is the state right after the batch.
    /// An integrity error means that this node and the primary disagree: the node raises an alarm and stops following.
    fn committed(&self, _batch: &CommittedBatch, _state: &Snapshot) -> Result<(), Integrity> {
        Ok(())
    }

    /// The batch given to `committed` is visible to readers now: tells subscribers.
    fn published(&self, _batch: &CommittedBatch) {}

    /// Does a bounded piece of work on records that this node derives from committed ones, such as an index over them; whether more is to
    /// be done. Called again and again, off every other machine's way, some time after batches were committed: readers must get by without
    /// what is not there yet. A history that is lost, or not complete yet, begins anew: then nothing that was kept is there either.
    fn index(&self, _history: &mut dyn DerivedHistory) -> Result<bool, HistoryError> {
        Ok(false)
    }

    /// Builds derived data from a state, at start. What was executed and then dropped with the lead is not announced: derived data that
    /// runs ahead of commit must be checked against the state whenever a block is opened.
    fn rebuild(&self, _state: &Snapshot) -> Result<(), Integrity> {
        Ok(())
    }

    /// The server of the protocol's own wire API.
    fn serve(self: Arc<Self>, handle: Arc<dyn LedgerHandle>) -> Arc<dyn Service>;

    /// The servers of further wire APIs, which are no HTTP.
    fn serve_streams(self: Arc<Self>, _handle: Arc<dyn LedgerHandle>) -> Vec<Arc<dyn StreamService>> {
        Vec::new()
    }
}

/// The ledger's configuration is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("genesis of {ledger}: {message}")]
pub struct GenesisError {
    pub ledger: &'static str,
    pub message: String,
}

/// Derived data contradicts what the ledger carries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected {expected}, found {found}")]
pub struct Integrity {
    pub what: String,
    pub expected: String,
    pub found: String,
}
