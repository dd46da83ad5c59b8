//! The simulator's own ledger protocol: named counters. Each submission adds to one counter and appends to a list, so that a lost,
//! doubled or reordered transaction shows in the state.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use coco_kv::{Snapshot, Tx};
use coco_protocol::{
    Admitted, Caller, Claims, Context, GenesisError, LedgerHandle, Mount, Outcome, Pool, Protocol, Ready, Rejection,
    RejectionReason, Reply, Service,
};
use coco_types::{Digest, MapName};

/// Counter name → total, eight bytes.
pub const TOTALS: MapName = MapName::from_static("counter.total");
/// Submission id → the total after it: refuses replays, and shows order.
pub const SEEN: MapName = MapName::from_static("counter.seen");
/// Submission id → the counter's name: a write-once record, not in the state.
pub const RECORDS: MapName = MapName::from_static("history:counter.submissions");

#[derive(Clone, Copy, Default)]
pub struct Counter {
    /// A planted bug: what was seen before counts again.
    pub counts_twice: bool,
}

/// A submission: an 8-byte id, then the counter's name.
pub fn submission(id: u64, name: &str) -> Bytes {
    [&id.to_be_bytes()[..], name.as_bytes()].concat().into()
}

impl Protocol for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn genesis(&self, tx: &mut Tx, _config: &serde_json::Value, _context: &Context<'_>) -> Result<(), GenesisError> {
        tx.put(&TOTALS, Bytes::from_static(b"genesis"), Bytes::from_static(&[0; 8]));
        Ok(())
    }

    fn admit(&self, submission: Bytes, caller: &Caller) -> Result<Admitted, Rejection> {
        if submission.len() < 8 {
            return Err(Rejection::new(RejectionReason::Invalid, 400, "a submission has an 8-byte id"));
        }
        let id = submission.slice(..8);
        let caller = caller.clone();
        Ok(Admitted { raw: submission, id, finding: Bytes::new(), caller, decoded: Arc::new(()) })
    }

    fn readmit(&self, submission: Bytes, _finding: Bytes, caller: Caller) -> Result<Admitted, Rejection> {
        self.admit(submission, &caller)
    }

    fn pool(&self) -> Box<dyn Pool> {
        Box::new(Queue::default())
    }

    fn execute(&self, tx: &mut Tx, admitted: &Admitted, _context: &Context<'_>) -> Result<Outcome, Rejection> {
        let (id, name) = (admitted.raw.slice(..8), admitted.raw.slice(8..));
        if tx.get(&SEEN, &id).is_some() && !self.counts_twice {
            return Err(Rejection::new(RejectionReason::Duplicate, 409, "seen before"));
        }
        let before =
            tx.get(&TOTALS, &name).and_then(|total| total.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)));
        let total = Bytes::copy_from_slice(&(before.unwrap_or(0) + 1).to_be_bytes());
        tx.put(&RECORDS, id.clone(), name.clone());
        tx.put(&TOTALS, name, total.clone());
        tx.put(&SEEN, id.clone(), total.clone());
        let claims = Claims { protocol: "counter", kind: "addition", id, result: Digest::ZERO, container: None };
        Ok(Outcome { claims: Some(claims), response: total })
    }

    fn serve(self: Arc<Self>, _handle: Arc<dyn LedgerHandle>) -> Arc<dyn Service> {
        Arc::new(NoService)
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Admitted>,
}

impl Pool for Queue {
    fn insert(&mut self, admitted: Admitted, _state: &Snapshot, _now_ms: u64) -> Result<(), Rejection> {
        self.waiting.push_back(admitted);
        Ok(())
    }

    fn ready(&self, _now_ms: u64) -> Ready {
        if self.waiting.is_empty() { Ready::Idle } else { Ready::Now }
    }

    fn next(&mut self, _now_ms: u64) -> Option<Admitted> {
        self.waiting.pop_front()
    }

    fn done(&mut self, _admitted: &Admitted, _result: Result<&Outcome, &Rejection>, _state: &Snapshot) {}

    fn clear(&mut self) {
        self.waiting.clear();
    }

    fn len(&self) -> usize {
        self.waiting.len()
    }

    fn answer(&mut self, _question: &[u8], _state: &Snapshot, _now_ms: u64) -> Result<Bytes, Rejection> {
        Ok(Bytes::copy_from_slice(&(self.waiting.len() as u64).to_be_bytes()))
    }
}

/// The simulator calls the machines; nobody calls a server.
struct NoService;

impl Service for NoService {
    fn mount(&self) -> Mount {
        Mount::Path("/app/counter")
    }

    fn call(&self, _caller: Caller, _request: http::Request<Bytes>, _reply: Reply) {}
}
