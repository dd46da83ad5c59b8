//! `GET /gov/events`: what happens in governance, as it happens, as server-sent events (WHATWG HTML, "Server-sent events").
//!
//! The id of an event is its transaction, so that whoever comes back with `Last-Event-ID`, at this node or another, misses nothing. Only the last event of
//! a transaction carries it: a client that was cut off between two gets all of that transaction again. Who participants are is told as the members have
//! voted. Somebody who proved who they are is sent away when those change who may prove what, and after a while: whoever comes back is judged anew.

use std::sync::Arc;

use bytes::Bytes;
use coco_governance::disclosure::PARTICIPANT;
use coco_governance::{Code, News};
use coco_protocol::{Caller, Feed, Socket};
use coco_types::{TxId, limits};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Exchange, GovApi, Told, error};
use crate::endpoints::request::with_transaction_id;

pub(super) const PATH: &str = "/gov/events";
const LAST_EVENT_ID: &str = "last-event-id";
/// Milliseconds after which a client that was cut off should come back.
const RETRY_MS: u32 = 1_000;

/// What somebody has missed may have to be looked for in ledger files.
pub(super) fn may_take_long(request: &Request<Bytes>) -> bool {
    request.uri().path() == PATH && request.headers().contains_key(LAST_EVENT_ID)
}

pub(super) fn events(exchange: &Exchange<'_>) -> Answer {
    let after = match exchange.request.headers().get(LAST_EVENT_ID) {
        None => None,
        Some(id) => Some(parsed(id).ok_or_else(|| {
            error(Code::InvalidHeaderValue, "Last-Event-ID is the id of an event: view.seqno".to_owned())
        })?),
    };
    let past = exchange.gov.news_since(after);
    let (gov, caller, at) = (Arc::clone(exchange.gov), exchange.caller.clone(), past.at);
    let mut first = format!("retry: {RETRY_MS}\n");
    if let (Some(after), Some(until)) = (after, past.gap_until) {
        first.push_str(&written(None, &json!({"event": "gap", "after": after, "until": until})));
    }
    for (txid, news) in &past.news {
        first.push_str(&told(&**exchange.gov, &caller, *txid, news));
    }
    first.push_str(&pulse(at));
    let mut response = Response::new(Bytes::from(first));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(Feed::new(move |socket| {
        let listener = Following { gov: Arc::clone(&gov), caller: caller.clone(), socket, pulses: 0 };
        gov.follow(at, listener.into_listener())
    }));
    Ok(with_transaction_id(response, at))
}

fn parsed(id: &HeaderValue) -> Option<TxId> {
    id.to_str().ok()?.parse().ok()
}

/// One client, and what it has been told.
struct Following {
    gov: Arc<dyn GovApi>,
    caller: Caller,
    socket: Arc<dyn Socket>,
    pulses: u32,
}

impl Following {
    fn into_listener(mut self) -> super::api::Listener {
        Box::new(move |txid, news| self.hear(txid, news))
    }

    fn hear(&mut self, txid: TxId, news: &[News]) -> bool {
        self.pulses += u32::from(news.is_empty());
        let text = if news.is_empty() { pulse(txid) } else { told(&*self.gov, &self.caller, txid, news) };
        let there = self.socket.send(text).is_ok();
        let proved = !matches!(self.caller, Caller::Anonymous);
        if proved && (self.pulses >= limits::EVENT_STREAM_PULSES_MAX || news.iter().any(changes_who_is_who)) {
            self.socket.finish();
            return false;
        }
        there
    }
}

fn changes_who_is_who(news: &News) -> bool {
    matches!(
        news,
        News::MemberSet { .. } | News::MemberRemoved { .. } | News::UserSet { .. } | News::UserRemoved { .. }
    )
}

/// The events of one transaction, as far as the caller may know them. With none to tell, its id alone.
fn told(gov: &dyn GovApi, caller: &Caller, txid: TxId, news: &[News]) -> String {
    let told = Told { caller, gate: gov.gate() };
    let may_know = |news: &&News| match news {
        News::UserSet { user_id } | News::UserRemoved { user_id } => told.of(PARTICIPANT, user_id),
        _ => true,
    };
    let events: Vec<Value> = news.iter().filter(may_know).filter_map(|news| serde_json::to_value(news).ok()).collect();
    let Some((last, others)) = events.split_last() else { return pulse(txid) };
    let of_transaction = |event: &Value| {
        let mut event = event.clone();
        event["transactionId"] = txid.to_string().into();
        event
    };
    let mut text: String = others.iter().map(|event| written(None, &of_transaction(event))).collect();
    text.push_str(&written(Some(txid), &of_transaction(last)));
    text
}

/// Up to here everything is told. It is no event to the client, and what it comes back with.
fn pulse(txid: TxId) -> String {
    format!("id: {txid}\n\n")
}

fn written(id: Option<TxId>, event: &Value) -> String {
    let id = id.map(|txid| format!("id: {txid}\n")).unwrap_or_default();
    let mut data = event.clone();
    let name = data.as_object_mut().and_then(|fields| fields.remove("event"));
    let name = name.as_ref().and_then(Value::as_str).unwrap_or("message").to_owned();
    format!("{id}event: {name}\ndata: {data}\n\n")
}
