//! Admission of nodes. The bodies are the node's business; they pass through unread.

use super::Exchange;
use super::request::content;
use coco_protocol::{ApiError, ClientCertificate};

pub(crate) fn challenge(exchange: Exchange<'_>) {
    let answered = exchange.node.join_challenge(&exchange.caller).map(|body| content("application/json", body));
    (exchange.reply)(answered.unwrap_or_else(ApiError::into_response));
}

pub(crate) fn join(exchange: Exchange<'_>) {
    let Exchange { node, caller, mut request, reply } = exchange;
    let certificate = request.extensions_mut().remove::<ClientCertificate>().map(|certificate| certificate.0);
    let answer = move |answered: Result<_, ApiError>| {
        let answered = answered.map(|body| content("application/json", body));
        reply(answered.unwrap_or_else(ApiError::into_response));
    };
    node.join(&caller, certificate, request.into_body(), Box::new(answer));
}
