//! Where transactions stand.

use super::Exchange;
use super::request::{json, transaction_id, with_transaction_id};
use coco_protocol::ApiError;

pub(crate) fn commit(exchange: Exchange<'_>) {
    let txid = exchange.node.committed(&exchange.caller);
    (exchange.reply)(with_transaction_id(json(&serde_json::json!({"transaction_id": txid})), txid));
}

pub(crate) fn status(exchange: Exchange<'_>) {
    let answered = transaction_id(&exchange.request).map(|txid| {
        let status = exchange.node.transaction_status(&exchange.caller, txid);
        json(&serde_json::json!({"transaction_id": txid, "status": status}))
    });
    (exchange.reply)(answered.unwrap_or_else(ApiError::into_response));
}
