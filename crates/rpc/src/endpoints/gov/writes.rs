//! Requests that members sign, and the simulation that they may ask for.

use std::sync::Arc;

use bytes::Bytes;
use coco_governance::{Code, MemberInfo, Operation, Refusal, Request, disclosure, tables};
use coco_kv::Snapshot;
use coco_protocol::{Caller, Idempotent, Identity, Reply};
use coco_types::{MapName, TxId};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::Value;

use super::api::Governed;
use super::{Exchange, Told, error, names_of, told};
use crate::endpoints::request::{json, with_transaction_id};

const COSE: &str = "application/cose";
const CHALLENGE: HeaderValue = HeaderValue::from_static("COSE-SIGN1 realm=\"Signed request access\"");

pub(super) fn create(exchange: Exchange<'_>) {
    govern(exchange, Operation::Propose);
}

pub(super) fn withdraw(exchange: Exchange<'_>) {
    let [proposal] = names_of(&exchange);
    govern(exchange, Operation::Withdraw { proposal });
}

pub(super) fn vote(exchange: Exchange<'_>) {
    let [proposal, member] = names_of(&exchange);
    govern(exchange, Operation::Vote { proposal, member });
}

pub(super) fn update_digest(exchange: Exchange<'_>) {
    let [member] = names_of(&exchange);
    govern(exchange, Operation::UpdateDigest { member });
}

pub(super) fn acknowledge(exchange: Exchange<'_>) {
    let [member] = names_of(&exchange);
    govern(exchange, Operation::Acknowledge { member });
}

pub(super) fn submit_share(exchange: Exchange<'_>) {
    let [member] = names_of(&exchange);
    govern(exchange, Operation::SubmitShare { member });
}

pub(super) fn simulate(exchange: Exchange<'_>) {
    let Exchange { gov, caller, request, reply, .. } = exchange;
    if !is_active(&caller, &mut gov.state(&caller).1) {
        let message = "only active members may simulate: present a member's certificate to TLS";
        return reply(error(Code::AuthorizationFailed, message).into_response());
    }
    let (there, whom) = (Arc::clone(gov), caller.clone());
    let reply = move |mut governed| {
        if let Governed::Done { body: Some(body), .. } = &mut governed {
            keep_from(&Told { caller: &whom, gate: there.gate() }, body);
        }
        answer(governed, reply);
    };
    gov.simulate(&caller, request.into_body(), Box::new(reply));
}

/// Rows about others that this caller is not told of elsewhere, he is not shown as about to change either.
fn keep_from(told: &Told<'_>, simulation: &mut Value) {
    let kinds: [(&MapName, &str); 7] = [
        (&tables::USER_CERTS, disclosure::PARTICIPANT),
        (&tables::USER_INFO, disclosure::PARTICIPANT),
        (&tables::MEMBER_CERTS, disclosure::MEMBER_CERTIFICATE),
        (&tables::MEMBER_INFO, disclosure::MEMBER_DATA),
        (&tables::MEMBER_ENCRYPTION_KEYS, disclosure::MEMBER_ENCRYPTION_KEY),
        (&tables::PROPOSALS, disclosure::PROPOSAL),
        (&tables::PROPOSALS_INFO, disclosure::PROPOSAL),
    ];
    let is_shown = |change: &Value| {
        let (map, key) = (change["map"].as_str().unwrap_or_default(), change["key"].as_str().unwrap_or_default());
        kinds.iter().filter(|(name, _)| name.as_str() == map).all(|(_, kind)| told.of(kind, key))
    };
    if let Some(changes) = simulation.get_mut("changes").and_then(Value::as_array_mut) {
        changes.retain(is_shown);
    }
}

/// A member that has a vote may have the constitution run for it.
fn is_active(caller: &Caller, state: &mut Snapshot) -> bool {
    caller.identities().iter().any(|identity| match identity {
        Identity::Member(id) => matches!(MemberInfo::read(state, id), Ok(Some(member)) if member.status == "Active"),
        _ => false,
    })
}

fn govern(exchange: Exchange<'_>, operation: Operation) {
    let Exchange { gov, caller, request, reply, .. } = exchange;
    if request.headers().get(CONTENT_TYPE).is_none_or(|value| value != COSE) {
        let message = format!("the content-type must be {COSE}");
        return answer(Governed::Refused(Refusal::new(Code::InvalidAuthenticationInfo, message)), reply);
    }
    // Whoever brings a member's signed message, it is the member's.
    let key = match Idempotent::of(&Caller::Anonymous, &request) {
        Ok(key) => key,
        Err(malformed) => return reply(error(Code::InvalidHeaderValue, malformed.message).into_response()),
    };
    let request = Request { operation, message: request.into_body() };
    gov.govern(&caller, request, key, Box::new(move |governed| answer(governed, reply)));
}

fn answer(governed: Governed, reply: Reply) {
    reply(match governed {
        Governed::Done { txid, body: Some(body) } => with_transaction_id(json(&body), txid),
        Governed::Done { txid, body: None } => no_content(txid),
        Governed::Refused(refusal) => refused(refusal),
        Governed::Unknown(Some(txid)) => {
            let message = format!("the primary changed: ask later for the status of transaction {txid}");
            with_transaction_id(unknown(message), txid)
        }
        Governed::Unknown(None) => {
            unknown("the primary does not answer and may have done it: look before you ask again".into())
        }
        Governed::Unavailable => {
            let message = "there is no primary just now, or it is busy: try again";
            let mut response = error(Code::PrimaryNotFound, message).into_response();
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    });
}

fn unknown(message: String) -> Response<Bytes> {
    error(Code::TransactionReplicationFailed, message).into_response()
}

fn no_content(txid: TxId) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    with_transaction_id(response, txid)
}

fn refused(refusal: Refusal) -> Response<Bytes> {
    let mut response = told(refusal).into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    }
    response
}
