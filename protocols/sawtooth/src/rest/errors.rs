//! Errors by the original's codes, which never change; titles are the original's, messages are ours.

use crate::limits::QUERY_PARAMETERS_MAX;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{title}: {message}")]
pub struct ApiError {
    pub code: u16,
    pub status: u16,
    pub title: &'static str,
    pub message: String,
}

impl ApiError {
    pub fn response(&self) -> Response<Bytes> {
        let error = json!({ "code": self.code, "message": self.message, "title": self.title });
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        super::respond(status, &json!({ "error": error }))
    }

    fn new(code: u16, status: u16, title: &'static str, message: impl Into<String>) -> Self {
        Self { code, status, title, message: message.into() }
    }

    pub fn unknown() -> Self {
        Self::new(10, 500, "Unknown Validator Error", "The request could not be answered.")
    }

    pub fn not_ready() -> Self {
        Self::new(15, 503, "Validator Not Ready", "This node has not got the first block yet: try again later.")
    }

    pub fn disconnected() -> Self {
        Self::new(18, 503, "Validator Disconnected", "There is no primary just now: try again.")
    }

    pub fn no_statuses() -> Self {
        Self::new(27, 500, "Unable to Fetch Statuses", "There were no batches to tell the statuses of.")
    }

    pub fn batches_invalid(why: &str) -> Self {
        Self::new(30, 400, "Submitted Batches Invalid", format!("The batches were refused: {why}."))
    }

    /// Coco's own, as that below: the original knows no `Idempotency-Key`.
    pub fn malformed_key(why: &str) -> Self {
        Self::new(1001, 400, "Malformed Idempotency Key", why.to_owned())
    }

    pub fn reused_key(why: &str) -> Self {
        Self::new(1002, 422, "Idempotency Key Reused", why.to_owned())
    }

    pub fn queue_full() -> Self {
        Self::new(31, 429, "Unable to Accept Batches", "The queue is full: submit the request again later.")
    }

    pub fn no_batches() -> Self {
        Self::new(34, 400, "No Batches Submitted", "The BatchList holds no batch.")
    }

    pub fn bad_protobuf() -> Self {
        Self::new(35, 400, "Protobuf Not Decodable", "The body is no BatchList.")
    }

    pub fn submission_content_type() -> Self {
        let message = "Batches are submitted as a BatchList with the content type application/octet-stream.";
        Self::new(42, 400, "Wrong Content Type", message)
    }

    pub fn status_content_type() -> Self {
        Self::new(43, 400, "Wrong Content Type", "Batch ids are posted with the content type application/json.")
    }

    pub fn bad_status_body() -> Self {
        Self::new(46, 400, "Bad Status Request", "The body is no JSON array of at least one batch id.")
    }

    pub fn head_not_found() -> Self {
        Self::new(50, 404, "Head Not Found", "There is no block with the id given as head.")
    }

    pub fn bad_limit() -> Self {
        Self::new(53, 400, "Invalid Count Query", "The limit is no positive integer.")
    }

    pub fn bad_paging() -> Self {
        Self::new(54, 400, "Invalid Paging Query", "There is nothing at the start given, or the limit is out of range.")
    }

    pub fn bad_sort() -> Self {
        Self::new(57, 400, "Invalid Sort Query", "There is no such key to sort by.")
    }

    pub fn bad_id(id: &str) -> Self {
        Self::new(60, 400, "Invalid Resource Id", format!("An id has 128 lower-case hex digits, unlike: {id}"))
    }

    pub fn bad_address() -> Self {
        Self::new(
            62,
            400,
            "Invalid State Address",
            "An address has 70 lower-case hex digits, and a prefix an even number.",
        )
    }

    pub fn status_without_id() -> Self {
        Self::new(66, 400, "Id Query Invalid or Missing", "The query names no batch: id=first,second")
    }

    pub fn block_not_found() -> Self {
        Self::new(70, 404, "Block Not Found", "There is no block with this id.")
    }

    pub fn batch_not_found() -> Self {
        Self::new(71, 404, "Batch Not Found", "There is no batch with this id in any block.")
    }

    pub fn transaction_not_found() -> Self {
        Self::new(72, 404, "Transaction Not Found", "There is no transaction with this id in any block.")
    }

    pub fn state_not_found() -> Self {
        Self::new(75, 404, "State Not Found", "There is nothing at this address.")
    }

    pub fn receipt_not_found() -> Self {
        Self::new(80, 404, "Transaction Receipt Not Found", "One of the transactions has no receipt.")
    }

    /// Coco's own, too.
    pub fn too_many_receipts() -> Self {
        Self::new(
            1003,
            413,
            "Too Many Receipts",
            "These are more receipts than fit into one answer: ask for fewer at once.",
        )
    }

    /// Coco's own, as that below.
    pub fn too_many_parameters() -> Self {
        Self::new(1004, 400, "Invalid Query", format!("A query has at most {QUERY_PARAMETERS_MAX} parameters."))
    }

    pub fn too_much_replaced() -> Self {
        let message = "So much of the state has been replaced since then that it cannot be told any more.";
        Self::new(1005, 413, "State Too Old", message)
    }

    pub fn receipt_content_type() -> Self {
        Self::new(81, 400, "Wrong Content Type", "Transaction ids are posted with the content type application/json.")
    }

    pub fn bad_receipt_body() -> Self {
        Self::new(82, 400, "Bad Receipts Request", "The body is no JSON array of at least one transaction id.")
    }

    pub fn receipt_without_id() -> Self {
        Self::new(83, 400, "Id Query Invalid or Missing", "The query names no transaction: id=first,second")
    }
}
