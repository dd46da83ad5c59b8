//! Requests that may write, in the order in which they came, some of them being run.
//!
//! Those that run at the same time and touch the same rows get in each other's way: one holds, the others are run again. One that was run again
//! and again runs alone; where even that does not help, because something else changes what it reads, it is given up.

use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{Admitted, Outcome, Pool, Ready, Rejection, RejectionReason};
use coco_types::limits::{APP_ATTEMPTS_MAX, APP_REQUESTS_MAX};
use http::StatusCode;

use crate::THREADS;
use crate::answer::Answer;

/// Attempts after which a request runs alone.
const ALONE_AFTER: u32 = 3;

/// See the module's text.
#[derive(Default)]
pub struct Requests(Vec<Request>);

struct Request {
    admitted: Admitted,
    stage: Stage,
    attempts: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    /// Has run, or is given up.
    Ready,
    /// Its turn has come.
    Given,
}

/// Why a request is given up.
pub fn contended() -> Rejection {
    let message = format!("what the request reads was changed by others {APP_ATTEMPTS_MAX} times: try again");
    let code = "TransactionCommitAttemptsExceedLimit";
    refusal(&Answer::error(StatusCode::SERVICE_UNAVAILABLE, code, &message, &[]), message)
}

/// A refusal whose answer is made already.
pub fn refusal(answer: &Answer, message: impl Into<String>) -> Rejection {
    let code = i64::from(answer.status().as_u16());
    Rejection { data: Some(answer.encode()), ..Rejection::new(RejectionReason::Refused, code, message) }
}

impl Requests {
    fn find(&mut self, id: &[u8]) -> Option<&mut Request> {
        self.0.iter_mut().find(|request| *request.admitted.id == *id)
    }
}

impl Pool for Requests {
    fn insert(&mut self, admitted: Admitted, _state: &Snapshot, _now_ms: u64) -> Result<(), Rejection> {
        if self.0.len() >= APP_REQUESTS_MAX {
            return Err(Rejection::new(RejectionReason::Busy, 503, "too many requests to the application are waiting"));
        }
        if self.find(&admitted.id).is_some() {
            return Err(Rejection::new(RejectionReason::Duplicate, 409, "this request is here already"));
        }
        self.0.push(Request { admitted, stage: Stage::Waiting, attempts: 0 });
        Ok(())
    }

    fn ready(&self, _now_ms: u64) -> Ready {
        if self.0.iter().any(|request| request.stage == Stage::Ready) { Ready::Now } else { Ready::Idle }
    }

    fn next(&mut self, _now_ms: u64) -> Option<Admitted> {
        let request = self.0.iter_mut().find(|request| request.stage == Stage::Ready)?;
        request.stage = Stage::Given;
        Some(request.admitted.clone())
    }

    fn done(&mut self, admitted: &Admitted, _result: Result<&Outcome, &Rejection>, _state: &Snapshot) {
        self.0.retain(|request| request.admitted.id != admitted.id);
    }

    fn next_to_prepare(&mut self, _now_ms: u64) -> Option<Admitted> {
        let running = self.0.iter().filter(|request| request.stage == Stage::Running);
        let is_alone = running.clone().any(|request| request.attempts >= ALONE_AFTER);
        let running = running.count();
        let next = self.0.iter_mut().find(|request| request.stage == Stage::Waiting)?;
        let must_be_alone = next.attempts >= ALONE_AFTER;
        if is_alone || running >= THREADS || (must_be_alone && running > 0) {
            return None;
        }
        next.stage = Stage::Running;
        Some(next.admitted.clone())
    }

    fn prepared(&mut self, id: &[u8]) {
        if let Some(request) = self.find(id) {
            request.stage = Stage::Ready;
        }
    }

    fn conflicted(&mut self, id: &[u8]) {
        if let Some(request) = self.find(id) {
            request.attempts += 1;
            // Without a result, it is refused in its turn.
            request.stage = if request.attempts < APP_ATTEMPTS_MAX { Stage::Waiting } else { Stage::Ready };
        }
    }

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coco_kv::Store;
    use coco_protocol::Caller;

    use super::*;

    fn pool_of(ids: &[&'static [u8]]) -> Requests {
        let mut pool = Requests::default();
        for id in ids {
            let id = Bytes::from_static(id);
            let admitted = Admitted {
                raw: id.clone(),
                id,
                finding: Bytes::new(),
                caller: Caller::Anonymous,
                decoded: Arc::new(()),
            };
            pool.insert(admitted, &Store::new().snapshot(), 0).unwrap();
        }
        pool
    }

    fn to_run(pool: &mut Requests) -> Vec<Bytes> {
        std::iter::from_fn(|| pool.next_to_prepare(0)).map(|admitted| admitted.id).collect()
    }

    #[test]
    fn some_requests_run_at_a_time_and_what_has_run_has_its_turn_in_order() {
        let mut pool = pool_of(&[b"1", b"2", b"3", b"4", b"5"]);
        assert_eq!(to_run(&mut pool), ["1", "2", "3", "4"]);
        assert_eq!((pool.ready(0), pool.next(0).is_none()), (Ready::Idle, true));
        pool.prepared(b"3");
        pool.prepared(b"2");
        assert_eq!(to_run(&mut pool), ["5"]);
        assert_eq!(pool.ready(0), Ready::Now);
        assert_eq!(pool.next(0).unwrap().id, "2");
        pool.conflicted(b"2");
        assert_eq!(pool.next(0).unwrap().id, "3");
        pool.conflicted(b"gone");
        assert_eq!(to_run(&mut pool), ["2"]);
    }

    #[test]
    fn who_is_in_the_way_of_others_again_and_again_runs_alone_and_is_given_up_some_day() {
        let mut pool = pool_of(&[b"1", b"2"]);
        for _ in 0..ALONE_AFTER {
            assert_eq!(pool.next_to_prepare(0).unwrap().id, "1");
            pool.conflicted(b"1");
        }
        assert_eq!(to_run(&mut pool), ["1"]);
        for _ in ALONE_AFTER..APP_ATTEMPTS_MAX {
            assert_eq!(pool.ready(0), Ready::Idle);
            pool.conflicted(b"1");
        }
        assert_eq!(pool.next(0).unwrap().id, "1");
        assert_eq!(to_run(&mut pool), ["2"]);
    }
}
