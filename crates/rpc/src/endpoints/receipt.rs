//! Receipts, in both forms.

use std::time::Duration;

use bytes::Bytes;
use coco_protocol::ApiError;
use coco_types::{TxId, limits};
use http::header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::request::{content, json, transaction_id, with_transaction_id};
use super::{Exchange, Receipt, ReceiptAnswer};

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// No client may make the node wait longer, seconds.
const WAIT_S_MAX: u64 = 60;

pub(crate) fn receipt(exchange: Exchange<'_>) {
    let Exchange { node, caller, request, reply } = exchange;
    let headers = request.headers();
    match (transaction_id(&request), Form::asked_for(headers)) {
        (Ok(txid), Ok(form)) => {
            let wait = asked_wait(headers).unwrap_or(Duration::from_millis(limits::RECEIPT_WAIT_MS));
            node.receipt(&caller, txid, wait, Box::new(move |answer| reply(respond(answer, txid, form))));
        }
        (Err(error), _) | (_, Err(error)) => reply(error.into_response()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Cose,
}

impl Form {
    /// The first form named in `Accept`; JSON where nothing or anything is asked for, as in CCF.
    fn asked_for(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(accept) = headers.get(ACCEPT) else { return Ok(Self::Json) };
        let accept = accept.to_str().unwrap_or_default();
        let form_of = |range: &str| match range.split(';').next().unwrap_or_default().trim() {
            "application/cose" => Some(Self::Cose),
            "application/json" | "application/*" | "*/*" => Some(Self::Json),
            _ => None,
        };
        accept.split(',').find_map(form_of).ok_or_else(|| {
            let message = "receipts come as application/cose or application/json";
            ApiError::new(StatusCode::NOT_ACCEPTABLE, "UnsupportedContentType", message)
        })
    }
}

/// `Prefer: wait=seconds` (RFC 7240 §4.3).
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let prefer = headers.get(PREFER)?.to_str().ok()?;
    let seconds = prefer.split([',', ';']).find_map(|preference| preference.trim().strip_prefix("wait="))?;
    Some(Duration::from_secs(seconds.parse::<u64>().ok()?.min(WAIT_S_MAX)))
}

fn respond(answer: ReceiptAnswer, txid: TxId, form: Form) -> Response<Bytes> {
    let not_found = |code, message: String| ApiError::new(StatusCode::NOT_FOUND, code, message).into_response();
    let response = match answer {
        ReceiptAnswer::Receipt(Receipt { cose, .. }) if form == Form::Cose => content("application/cose", cose),
        ReceiptAnswer::Receipt(Receipt { json: Some(receipt), .. }) => json(&receipt),
        ReceiptAnswer::Receipt(Receipt { json: None, .. }) => {
            let message = "this ledger has COSE receipts only";
            ApiError::new(StatusCode::NOT_ACCEPTABLE, "UnsupportedContentType", message).into_response()
        }
        ReceiptAnswer::Pending => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::ACCEPTED;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        ReceiptAnswer::Unknown => {
            let message = format!("transaction {txid} is pending or unknown");
            let mut response = not_found("TransactionPendingOrUnknown", message);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            return response;
        }
        ReceiptAnswer::NotHeld => {
            let message =
                format!("this node does not hold the ledger as far back as {txid}: ask another node, or the archive");
            let mut response = not_found("TransactionNotHeld", message);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            return response;
        }
        ReceiptAnswer::Invalid => return not_found("TransactionInvalid", format!("transaction {txid} is invalid")),
        ReceiptAnswer::None => {
            let message = format!("transaction {txid} is a signature, which is its own proof");
            return not_found("ResourceNotFound", message);
        }
    };
    with_transaction_id(response, txid)
}
