//! Executions that the executor must not wait for: slow ones, and those of processes outside the node.
//!
//! ```text
//!   Pool::next_to_prepare ─▶ Protocol::prepare(Job) ┄┄ any time, any thread ┄┄▶ Job::finish ─▶ Pool::prepared
//!                                                                                                  │
//!          Pool::conflicted ◀── what was read has changed ── Store::validate ◀── Pool::next ◀───────┘
//!                 │                                               └── still holds ─▶ Protocol::execute, with the result in its Context
//!                 └─▶ prepared anew
//! ```
//!
//! A job reads the newest executed state through a transaction that tracks its reads; several run at once. What it reads may
//! not be committed yet, so only what is part of the execution may see it.

use std::any::Any;

use coco_kv::{ReadSet, Tx};

/// One execution under way.
pub struct Job {
    tx: Option<Tx>,
    now_ms: u64,
    done: Option<Box<dyn FnOnce(Option<Prepared>) + Send>>,
}

/// What an execution came to, and what it read on the way.
pub struct Prepared {
    pub reads: ReadSet,
    /// The protocol's own business.
    pub result: Box<dyn Any + Send + Sync>,
}

impl Job {
    /// `done` is called once; with nothing if the job is dropped unfinished, and the submission is then prepared anew.
    pub fn new(tx: Tx, now_ms: u64, done: Box<dyn FnOnce(Option<Prepared>) + Send>) -> Self {
        Self { tx: Some(tx), now_ms, done: Some(done) }
    }

    /// The state to read. What is written to it is not kept: it belongs into the result.
    pub fn tx(&mut self) -> &mut Tx {
        self.tx.as_mut().expect("only finishing takes the transaction")
    }

    /// The same for whoever has to own it meanwhile, and gives it back.
    pub fn lend<T>(&mut self, run: impl FnOnce(Tx) -> (Tx, T)) -> T {
        let (tx, result) = run(self.tx.take().expect("only finishing takes the transaction"));
        self.tx = Some(tx);
        result
    }

    /// Ledger time when the job was made.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub fn finish(mut self, result: Box<dyn Any + Send + Sync>) {
        let reads = self.tx.take().map(|tx| tx.into_parts().1);
        if let (Some(done), Some(reads)) = (self.done.take(), reads) {
            done(Some(Prepared { reads, result }));
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(None);
        }
    }
}
