//! The queue of what was admitted and not yet executed.

use bytes::Bytes;
use coco_kv::Snapshot;

use crate::{Admitted, Outcome, Rejection};

/// Orders what was admitted: nonce queues, dependencies, replacement, limits. Volatile; lives on the primary, beside the executor.
///
/// A run is `Protocol::open_block`, then [`Pool::next`] and `Protocol::execute` in turns with [`Pool::done`] after each, until
/// `next` gives `None`, then `Protocol::seal_block`; all of a run's transactions are in one batch.
pub trait Pool: Send {
    /// Takes a submission in, or refuses it in the protocol's words. `state` is the newest executed state.
    fn insert(&mut self, admitted: Admitted, state: &Snapshot, now_ms: u64) -> Result<(), Rejection>;

    /// Whether submissions that were handed in together can be taken in together; asked before the first of them is inserted. Where they
    /// are all or nothing, an error refuses all of them.
    fn check_together(&self, _together: &[Admitted], _state: &Snapshot) -> Result<(), Rejection> {
        Ok(())
    }

    /// When a run should start.
    fn ready(&self, now_ms: u64) -> Ready;

    /// The next transaction of the run. `None` ends it: nothing is executable, or the block is full.
    fn next(&mut self, now_ms: u64) -> Option<Admitted>;

    /// How the transaction that `next` gave ended. After a rejection the submission is gone.
    fn done(&mut self, admitted: &Admitted, result: Result<&Outcome, &Rejection>, state: &Snapshot);

    /// What has left the pool without being run since this was last asked, by id, and why: evicted, replaced, expired, overtaken.
    /// Asked after every change; whoever waits for one of these is answered.
    fn dropped(&mut self) -> Vec<(Bytes, Rejection)> {
        Vec::new()
    }

    /// The next submission whose execution is prepared apart from the executor (`Protocol::prepare`); it comes from `next` only once
    /// it is prepared.
    fn next_to_prepare(&mut self, _now_ms: u64) -> Option<Admitted> {
        None
    }

    /// What `next_to_prepare` gave under this id is prepared.
    fn prepared(&mut self, _id: &[u8]) {}

    /// What `next_to_prepare` gave under this id has to be prepared anew: what it read has changed, or nobody finished it.
    fn conflicted(&mut self, _id: &[u8]) {}

    /// Executed transactions above the committed version were dropped with the leadership: forget everything.
    fn clear(&mut self);

    /// Submissions held.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Answers a question about what is pending, in the protocol's own encoding. `state` is the newest executed state.
    fn answer(&mut self, question: &[u8], state: &Snapshot, now_ms: u64) -> Result<Bytes, Rejection>;
}

/// When a pool wants to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Nothing to execute until something is inserted.
    Idle,
    /// At once, with whatever else joins the batch.
    Now,
    /// At this ledger time (a block timer), milliseconds.
    At(u64),
}
