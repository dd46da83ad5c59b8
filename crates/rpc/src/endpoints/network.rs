//! The service and its nodes.

use bytes::Bytes;
use coco_protocol::ApiError;
use http::{Response, StatusCode};

use super::request::{json, with_transaction_id};
use super::{Exchange, StoppedNetwork};

pub(crate) fn network(exchange: Exchange<'_>) {
    let committed = exchange.node.committed(&exchange.caller);
    let response = json(&exchange.node.network(&exchange.caller));
    (exchange.reply)(with_transaction_id(response, committed));
}

pub(crate) fn stop(exchange: Exchange<'_>) {
    let Exchange { node, caller, reply, .. } = exchange;
    let answer = move |stopped: Result<StoppedNetwork, ApiError>| {
        reply(stopped.map(|stopped| json(&stopped)).unwrap_or_else(ApiError::into_response));
    };
    node.stop_network(&caller, Box::new(answer));
}

pub(crate) fn nodes(exchange: Exchange<'_>) {
    let committed = exchange.node.committed(&exchange.caller);
    let response = json(&serde_json::json!({"nodes": exchange.node.nodes(&exchange.caller)}));
    (exchange.reply)(with_transaction_id(response, committed));
}

pub(crate) fn state(exchange: Exchange<'_>) {
    (exchange.reply)(json(&exchange.node.state(&exchange.caller)));
}

pub(crate) fn version(exchange: Exchange<'_>) {
    (exchange.reply)(json(&exchange.node.version(&exchange.caller)));
}

pub(crate) fn ready(exchange: Exchange<'_>) {
    let response = if exchange.node.ready(&exchange.caller) {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    } else {
        let message = "the node has not joined, knows no primary, or is behind";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "NodeCannotHandleRequest", message).into_response()
    };
    (exchange.reply)(response);
}
