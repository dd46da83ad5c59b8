//! Evidence of what code runs where.

use super::Exchange;
use super::request::{content, invalid, json, parameter};
use coco_protocol::{ApiError, Idempotent};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

/// As much as every platform's report data can bind.
const NONCE_BYTES_MAX: usize = 64;

pub(crate) fn all(exchange: Exchange<'_>) {
    (exchange.reply)(json(&serde_json::json!({"attestations": exchange.node.attestations(&exchange.caller)})));
}

pub(crate) fn policy(exchange: Exchange<'_>) {
    let answered = exchange.node.attestation_policy(&exchange.caller).map(|policy| json(&policy));
    (exchange.reply)(answered.unwrap_or_else(ApiError::into_response));
}

pub(crate) fn decisions(exchange: Exchange<'_>) {
    let answered = exchange.node.policy_decisions(&exchange.caller).map(|decisions| json(&decisions));
    (exchange.reply)(answered.unwrap_or_else(ApiError::into_response));
}

pub(crate) fn judgements(exchange: Exchange<'_>) {
    let answered = exchange.node.judgements(&exchange.caller).map(|judgements| json(&judgements));
    (exchange.reply)(answered.unwrap_or_else(ApiError::into_response));
}

pub(crate) fn renew(exchange: Exchange<'_>) {
    let Exchange { node, caller, request, reply } = exchange;
    let answer = move |answered: Result<_, ApiError>| {
        let answered = answered.map(|body| content("application/json", body));
        reply(answered.unwrap_or_else(ApiError::into_response));
    };
    node.renew(&caller, request.into_body(), Box::new(answer));
}

pub(crate) fn submit(exchange: Exchange<'_>) {
    let Exchange { node, caller, request, reply } = exchange;
    let key = match Idempotent::of(&caller, &request) {
        Ok(key) => key,
        Err(error) => return reply(error.into_response()),
    };
    let answer = move |answered: Result<_, ApiError>| {
        let answered = answered.map(|body| content("application/json", body));
        reply(answered.unwrap_or_else(ApiError::into_response));
    };
    node.submit_collateral(&caller, request.into_body(), key, Box::new(answer));
}

pub(crate) fn own(exchange: Exchange<'_>) {
    let Exchange { node, caller, request, reply } = exchange;
    let nonce = parameter(&request, "nonce").and_then(|text| {
        let nonce = hex::decode(text).map_err(|_| invalid("nonce is not hexadecimal".to_owned()))?;
        let fits = (1..=NONCE_BYTES_MAX).contains(&nonce.len());
        fits.then_some(nonce).ok_or_else(|| invalid(format!("nonce has 1 to {NONCE_BYTES_MAX} bytes")))
    });
    let nonce = match nonce {
        Ok(nonce) => nonce,
        Err(error) => return reply(error.into_response()),
    };
    let answer = move |answered: Result<_, ApiError>| {
        let mut response = answered.map(|attestation| json(&attestation)).unwrap_or_else(ApiError::into_response);
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        reply(response);
    };
    node.attest(&caller, nonce, Box::new(answer));
}
