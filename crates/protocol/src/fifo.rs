//! First in, first out: the pool of ledgers that need no other order.

use std::collections::VecDeque;

use bytes::Bytes;
use coco_kv::Snapshot;
use coco_types::limits::SUBMISSIONS_QUEUED_MAX;

use crate::{Admitted, Outcome, Pool, Ready, Rejection, RejectionReason};

/// A bounded queue. It answers no questions about what is pending.
#[derive(Default)]
pub struct Fifo(VecDeque<Admitted>);

impl Pool for Fifo {
    fn insert(&mut self, admitted: Admitted, _state: &Snapshot, _now_ms: u64) -> Result<(), Rejection> {
        if self.0.len() >= SUBMISSIONS_QUEUED_MAX {
            return Err(Rejection::new(RejectionReason::Busy, 503, "too many submissions are waiting"));
        }
        self.0.push_back(admitted);
        Ok(())
    }

    fn ready(&self, _now_ms: u64) -> Ready {
        if self.0.is_empty() { Ready::Idle } else { Ready::Now }
    }

    fn next(&mut self, _now_ms: u64) -> Option<Admitted> {
        self.0.pop_front()
    }

    fn done(&mut self, _admitted: &Admitted, _result: Result<&Outcome, &Rejection>, _state: &Snapshot) {}

    fn clear(&mut self) {
        self.0.clear();
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn answer(&mut self, _question: &[u8], _state: &Snapshot, _now_ms: u64) -> Result<Bytes, Rejection> {
        Err(Rejection::new(RejectionReason::Invalid, 400, "this ledger answers no questions about what is pending"))
    }
}
