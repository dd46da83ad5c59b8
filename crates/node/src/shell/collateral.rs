//! Newer collateral from anyone, at any node: a backup hands it to the primary, which writes it if it is genuine and news.
//!
//! Whether it is, the thread that took the request finds out, and never the executor, which has more to do than to read what strangers
//! bring: it sees only what would be written, and that what this was judged by is as it was.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_attestation::collateral::CollateralItem;
use coco_governance::attestation::{self, JudgedCollateral};
use coco_protocol::{ApiError, Earlier, Idempotent, Outcome, Rejection, RejectionReason, Submitted};
use coco_rpc::channel::NoAnswer;
use http::StatusCode;

use crate::events::ExecutorEvent;
use crate::executor::SystemCommand;
use crate::handle::{Shared, submit_here};
use crate::wire;

/// The key that it is kept under, in JSON, or why it was not taken.
pub type CollateralReply = Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>;

const FORWARD_TIMEOUT: Duration = Duration::from_secs(15);

/// Takes the item here if this is the primary, else asks the primary. What is not genuine goes no further.
pub fn submit(shared: &Arc<Shared>, body: Bytes, key: Option<Idempotent>, reply: CollateralReply) {
    let judged = match judge(shared, &body) {
        Ok(judged) => judged,
        Err(rejection) => return reply(Err(rejection)),
    };
    let Some(primary) = shared.remote_primary().filter(|_| judged.is_news()) else {
        return write(shared, judged, key, reply);
    };
    let answered = move |answer: Result<Bytes, NoAnswer>| {
        reply(match answer {
            Ok(answer) => wire::decode_result(answer).unwrap_or_else(|error| Err(later(&error.to_string()))),
            Err(_) => Err(later("the primary does not answer")),
        });
    };
    shared.peers.request(
        primary,
        wire::kind::COLLATERAL,
        wire::encode_key(key, &body),
        FORWARD_TIMEOUT,
        Box::new(answered),
    );
}

/// The primary's part of what another node was brought.
pub fn forwarded(shared: &Arc<Shared>, body: &[u8], key: Option<Idempotent>, reply: CollateralReply) {
    match judge(shared, body) {
        Ok(judged) => write(shared, judged, key, reply),
        Err(rejection) => reply(Err(rejection)),
    }
}

fn judge(shared: &Shared, body: &[u8]) -> Result<JudgedCollateral, Rejection> {
    let item: CollateralItem =
        serde_json::from_slice(body).map_err(|error| Rejection::new(RejectionReason::Invalid, 0, error.to_string()))?;
    attestation::judge_collateral(&mut shared.visible.state(), item, (shared.clock)() / 1000).map_err(refused)
}

fn write(shared: &Arc<Shared>, judged: JudgedCollateral, key: Option<Idempotent>, reply: CollateralReply) {
    let response = serde_json::json!({ "collateral": judged.key }).to_string();
    if !judged.is_news() {
        return reply(Ok(response.into()));
    }
    if !shared.is_primary() {
        return reply(Err(later("there is no primary just now")));
    }
    let command: SystemCommand = Box::new(move |tx, context| {
        match key.map_or(Earlier::None, |key| key.earlier_in(tx, context.now_ms)) {
            Earlier::Same(_, response) => return Ok(Outcome { claims: None, response }),
            Earlier::Other => return Err(Idempotent::reused()),
            Earlier::None => {}
        }
        if !judged.keep(tx).map_err(refused)? {
            return Err(later("somebody else brought it, or the members changed what is accepted, at the same time"));
        }
        if let Some(key) = key {
            key.keep(tx, context.txid, response.as_bytes(), context.now_ms);
        }
        Ok(Outcome { claims: None, response: response.into() })
    });
    let done = move |answers: Vec<Submitted>| {
        reply(match answers.into_iter().next() {
            Some(Submitted::Committed { response, .. }) => Ok(response),
            Some(Submitted::Rejected(rejection)) => Err(rejection),
            _ => Err(later("the primary changed meanwhile")),
        });
    };
    submit_here(shared, ExecutorEvent::System { command, reply: Box::new(done) });
}

fn refused(error: coco_governance::Error) -> Rejection {
    Rejection::new(RejectionReason::Refused, 0, error.to_string())
}

/// As the HTTP API says it.
pub fn api_error(rejection: Rejection) -> ApiError {
    let (status, code) = match rejection.reason {
        RejectionReason::Duplicate => (StatusCode::UNPROCESSABLE_ENTITY, "IdempotencyKeyReused"),
        RejectionReason::Invalid => (StatusCode::BAD_REQUEST, "InvalidInput"),
        RejectionReason::Busy => (StatusCode::SERVICE_UNAVAILABLE, "PrimaryNotFound"),
        RejectionReason::Refused | RejectionReason::Closed => (StatusCode::BAD_REQUEST, "CollateralRefused"),
    };
    ApiError::new(status, code, rejection.message)
}

fn later(why: &str) -> Rejection {
    Rejection::new(RejectionReason::Busy, 0, format!("{why}: try again"))
}
