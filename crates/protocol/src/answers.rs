//! How clients of the HTTPS API are answered: what went wrong, and how a submission ended.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::{Idempotent, Rejection, RejectionReason, Submitted};

/// Names the transaction in which a request was committed.
const TRANSACTION_ID: HeaderName = HeaderName::from_static("x-ms-ccf-transaction-id");

/// The answer to who waited for one submission's end; `None` if the node stopped before. The body is the outcome's response.
pub fn answer_to(end: Option<Submitted>) -> Response<Bytes> {
    match end {
        Some(Submitted::Committed { txid, response: body }) => {
            let status = if body.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::OK };
            let response = Response::builder().status(status).header(TRANSACTION_ID, txid.to_string()).body(body);
            response.expect("a transaction id is a well-formed header")
        }
        Some(Submitted::Rejected(rejection)) => ApiError::from(rejection).into_response(),
        Some(Submitted::Unknown(txid)) => {
            let message = match txid {
                Some(txid) => format!("the primary was lost; ask /node/tx for the outcome of {txid}"),
                None => "the primary did not answer: the request may have been executed, or not".to_owned(),
            };
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "TransactionOutcomeUnknown", message).into_response()
        }
        Some(Submitted::Accepted | Submitted::Unavailable) | None => {
            let message = "there is no primary now: try again";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "PrimaryNotFound", message).into_response()
        }
    }
}

/// An error as CCF's clients know it: `{"error":{"code","message"}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct ApiError {
    pub status: StatusCode,
    /// One of the codes of CCF's `odata_error.h`.
    pub code: &'static str,
    pub message: String,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// There is no room for a request.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "TooManyPendingTransactions", "busy, try again later")
    }

    pub fn into_response(self) -> Response<Bytes> {
        let body = serde_json::json!({"error": {"code": self.code, "message": self.message}});
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// The protocol's code is the status where it is one.
impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let status = u16::try_from(rejection.code).ok().and_then(|code| StatusCode::from_u16(code).ok());
        let code = match rejection.reason {
            _ if rejection == Idempotent::in_use() => "IdempotencyKeyInUse",
            _ if rejection == Idempotent::reused() => "IdempotencyKeyReused",
            RejectionReason::Invalid => "InvalidInput",
            RejectionReason::Duplicate | RejectionReason::Refused => "RequestRefused",
            RejectionReason::Busy => "TooManyPendingTransactions",
            RejectionReason::Closed => return Self::new(StatusCode::FORBIDDEN, "FrontendNotOpen", rejection.message),
        };
        let otherwise = match rejection.reason {
            RejectionReason::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status.unwrap_or(otherwise), code, rejection.message)
    }
}

#[cfg(test)]
mod tests {
    use coco_types::{Seqno, TxId, View};

    use super::*;

    #[test]
    fn every_end_of_a_submission_has_its_status_and_code() {
        let txid = TxId::new(View(2), Seqno(7));
        let rejected = |reason| Submitted::Rejected(Rejection::new(reason, -1, "no"));
        for (end, status, code) in [
            (Some(Submitted::Unknown(Some(txid))), 504, "TransactionOutcomeUnknown"),
            (Some(Submitted::Unknown(None)), 504, "TransactionOutcomeUnknown"),
            (Some(Submitted::Unavailable), 503, "PrimaryNotFound"),
            (None, 503, "PrimaryNotFound"),
            (Some(rejected(RejectionReason::Closed)), 403, "FrontendNotOpen"),
            (Some(rejected(RejectionReason::Invalid)), 400, "InvalidInput"),
            (Some(rejected(RejectionReason::Refused)), 400, "RequestRefused"),
            (Some(rejected(RejectionReason::Busy)), 503, "TooManyPendingTransactions"),
            (Some(Submitted::Rejected(Idempotent::in_use())), 409, "IdempotencyKeyInUse"),
            (Some(Submitted::Rejected(Idempotent::reused())), 422, "IdempotencyKeyReused"),
        ] {
            let response = answer_to(end);
            let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!((response.status().as_u16(), body["error"]["code"].as_str()), (status, Some(code)));
        }
        let done = answer_to(Some(Submitted::Committed { txid, response: Bytes::new() }));
        assert_eq!((done.status().as_u16(), done.headers()[TRANSACTION_ID].as_bytes()), (204, b"2.7".as_slice()));
    }
}
