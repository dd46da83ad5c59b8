//! What is where.

use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{Caller, Reply, Rest};
use http::{Method, Request, Response, StatusCode};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::request::{Call, checked_id};
use super::{ApiError, json, respond};
use crate::address::prefix_from_hex;
use crate::batch::check_transactions;
use crate::limits::SUBMISSION_BATCHES_MAX;
use crate::messages::client::{
    BatchStatusRequest, BatchStatusResponse, GetRequest, ListRequest, PagingControls, PagingResponse,
    ReceiptGetRequest, StateGetRequest, StateListRequest, state_get_status, status, submit_status,
};
use crate::messages::elements;
use crate::messages::ledger::{Batch, BatchList, BlockHeader};
use crate::query::{Kind, Node, View};

/// Why a request is not answered with what it asked for.
enum Unanswered {
    Refused(ApiError),
    /// It takes longer than others may wait.
    CutShort,
}

impl From<ApiError> for Unanswered {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// Answers a request, at once or later, unless it proves to take long: then what is left is to do it on a thread that nobody waits for.
pub fn begin(node: &Arc<Node>, caller: Caller, request: Request<Bytes>, reply: Reply) -> Option<Rest> {
    let call = match Call::new(request) {
        Ok(call) => call,
        Err(error) => {
            reply(error.response());
            return None;
        }
    };
    let (is_get, is_post) = (call.method() == Method::GET, call.method() == Method::POST);
    match call.path().trim_matches('/') {
        "batches" if is_post => {
            submit(node, &caller, call, reply);
            return None;
        }
        "batch_statuses" if is_get || is_post => {
            statuses(node, &caller, call, reply);
            return None;
        }
        _ => {}
    }
    if let Some(response) = answer(node, &call, &|| node.view(&caller).briefly()) {
        reply(response);
        return None;
    }
    let (node, held_bytes) = (Arc::clone(node), call.body().len());
    let job = move || {
        let response = answer(&node, &call, &|| node.view(&caller));
        reply(response.expect("only what is looked at briefly is cut short"));
    };
    Some(Rest { job: Box::new(job), held_bytes })
}

/// Nothing if it was cut short.
fn answer(node: &Node, call: &Call, view: &dyn Fn() -> View) -> Option<Response<Bytes>> {
    let path = call.path().trim_end_matches('/');
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (resource, rest) = (parts.next().unwrap_or(""), parts.next());
    let (is_get, is_post) = (call.method() == Method::GET, call.method() == Method::POST);
    let result = match (resource, rest) {
        ("state", None) if is_get => state_list(&view(), call),
        ("state", Some(address)) if is_get => state_get(&view(), call, address),
        ("blocks", None) if is_get => list(&view(), call, Kind::Block),
        ("batches", None) if is_get => list(&view(), call, Kind::Batch),
        ("transactions", None) if is_get => list(&view(), call, Kind::Transaction),
        ("blocks", Some(id)) if is_get => get(&view(), call, Kind::Block, id),
        ("batches", Some(id)) if is_get => get(&view(), call, Kind::Batch, id),
        ("transactions", Some(id)) if is_get => get(&view(), call, Kind::Transaction, id),
        ("receipts", None) if is_get || is_post => receipts(&view(), call),
        ("peers", None) if is_get => Ok(with_link(call, json!(node.peers().peers))),
        ("status", None) if is_get => {
            let status = node.status();
            let peers: Vec<_> = status.peers.iter().map(|peer| json!({ "endpoint": peer.endpoint })).collect();
            Ok(with_link(call, json!({ "endpoint": status.endpoint, "peers": peers })))
        }
        ("subscriptions", None) if is_get => return Some(plain(StatusCode::BAD_REQUEST, "this is a WebSocket")),
        ("state" | "blocks" | "batches" | "transactions", _)
        | ("receipts" | "peers" | "status" | "batch_statuses" | "subscriptions", None) => {
            return Some(plain(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed"));
        }
        _ => return Some(plain(StatusCode::NOT_FOUND, "404: Not Found")),
    };
    match result {
        Ok(body) => Some(respond(StatusCode::OK, &body)),
        Err(Unanswered::Refused(error)) => Some(error.response()),
        Err(Unanswered::CutShort) => None,
    }
}

fn submit(node: &Arc<Node>, caller: &Caller, call: Call, reply: Reply) {
    let refused = |error: ApiError| error.response();
    if !call.has_content_type("application/octet-stream") {
        return reply(refused(ApiError::submission_content_type()));
    }
    if elements(call.body(), &[1]) > SUBMISSION_BATCHES_MAX {
        let why = format!("at most {SUBMISSION_BATCHES_MAX} batches at once");
        return reply(refused(ApiError::batches_invalid(&why)));
    }
    let Ok(list) = BatchList::decode(call.body().clone()) else { return reply(refused(ApiError::bad_protobuf())) };
    if list.batches.is_empty() {
        return reply(refused(ApiError::no_batches()));
    }
    if let Err(rejection) = list.batches.iter().try_for_each(|raw| check_transactions(raw)) {
        return reply(refused(ApiError::batches_invalid(&rejection.message)));
    }
    let ids: Result<Vec<_>, _> =
        list.batches.iter().map(|raw| Batch::decode(raw.clone()).map(|batch| batch.header_signature)).collect();
    let Ok(ids) = ids else { return reply(refused(ApiError::bad_protobuf())) };
    let key = match call.idempotent(caller) {
        Ok(key) => key,
        Err(error) => return reply(refused(error)),
    };
    let link = call.url(Some("/batch_statuses"), &[("id", &ids.join(","))]);
    let end = move |(status, why): (i32, String)| {
        reply(match status {
            submit_status::OK => respond(StatusCode::ACCEPTED, &json!({ "link": link })),
            submit_status::INVALID_BATCH => ApiError::batches_invalid(&why).response(),
            submit_status::REUSED_KEY => ApiError::reused_key(&why).response(),
            submit_status::QUEUE_FULL => ApiError::queue_full().response(),
            _ => ApiError::disconnected().response(),
        });
    };
    match key {
        None => node.submit(caller, list.batches, Box::new(end)),
        Some(key) => node.submit_once(key, caller, list.batches, Box::new(end)),
    }
}

fn statuses(node: &Arc<Node>, caller: &Caller, call: Call, reply: Reply) {
    let (ids, link) = match status_ids(&call) {
        Ok(ids) => ids,
        Err(error) => return reply(error.response()),
    };
    let wait = call.wait();
    let request = BatchStatusRequest { batch_ids: ids, wait: wait.is_some(), timeout: wait.unwrap_or(0) };
    let end = move |response: BatchStatusResponse| {
        reply(match response.status {
            status::OK => {
                let data: Vec<_> = response.batch_statuses.iter().map(json::status).collect();
                let link = link.map(|link| ("link".to_owned(), Value::from(link)));
                let body: Map<_, _> = [("data".to_owned(), json!(data))].into_iter().chain(link).collect();
                respond(StatusCode::OK, &Value::Object(body))
            }
            status::NO_RESOURCE => ApiError::no_statuses().response(),
            _ => ApiError::unknown().response(),
        });
    };
    node.batch_statuses(caller, &request, Box::new(end));
}

/// The ids asked for, and the link of the answer if it has one.
fn status_ids(call: &Call) -> Result<(Vec<String>, Option<String>), ApiError> {
    if call.method() == Method::POST {
        if !call.has_content_type("application/json") {
            return Err(ApiError::status_content_type());
        }
        let ids = call.posted_ids().ok_or_else(ApiError::bad_status_body)?;
        ids.iter().try_for_each(|id| checked_id(id).map(drop))?;
        return Ok((ids, None));
    }
    let ids = call.ids()?;
    if ids.is_empty() { Err(ApiError::status_without_id()) } else { Ok((ids, Some(call.url(None, &[])))) }
}

fn list(view: &View, call: &Call, kind: Kind) -> Result<Value, Unanswered> {
    let paging = call.paging()?;
    let request = ListRequest {
        head_id: call.head()?.unwrap_or("").to_owned(),
        ids: call.ids()?,
        paging: Some(paging.clone()),
        sorting: call.sorting(if kind == Kind::Block { "block_num" } else { "default" }),
    };
    let response = view.list(kind, &request);
    check_whole(view)?;
    check(response.status)?;
    let items: Option<Vec<_>> = response.items.into_iter().map(|bytes| json::item(kind, bytes)).collect();
    let items = items.ok_or_else(ApiError::unknown)?;
    Ok(page(call, &paging, &response.paging.unwrap_or_default(), &response.head_id, items))
}

fn get(view: &View, call: &Call, kind: Kind, id: &str) -> Result<Value, Unanswered> {
    let response = view.get(kind, &GetRequest { id: checked_id(id)?.to_owned() });
    check_whole(view)?;
    let absent = match kind {
        Kind::Block => ApiError::block_not_found,
        Kind::Batch => ApiError::batch_not_found,
        Kind::Transaction => ApiError::transaction_not_found,
    };
    let data =
        response.item.ok_or_else(absent).and_then(|bytes| json::item(kind, bytes).ok_or_else(ApiError::unknown))?;
    Ok(with_link(call, data))
}

fn state_list(view: &View, call: &Call) -> Result<Value, Unanswered> {
    let paging = call.paging()?;
    let address = call.value("address").unwrap_or("");
    prefix_from_hex(address).ok_or_else(ApiError::bad_address)?;
    let (head, state_root) = head_and_root(view, call)?;
    let request = StateListRequest {
        state_root,
        address: address.to_owned(),
        paging: Some(paging.clone()),
        sorting: call.sorting("default"),
    };
    let response = view.state_list(&request);
    check_state(view, response.status)?;
    let entry = |entry: &crate::messages::client::StateEntry| json!({ "address": entry.address, "data": json::base64(&entry.data) });
    let entries = response.entries.iter().map(entry).collect();
    Ok(page(call, &paging, &response.paging.unwrap_or_default(), &head, entries))
}

fn state_get(view: &View, call: &Call, address: &str) -> Result<Value, Unanswered> {
    let (head, state_root) = head_and_root(view, call)?;
    let response = view.state_get(&StateGetRequest { state_root, address: address.to_owned() });
    match response.status {
        state_get_status::INVALID_ADDRESS => return Err(ApiError::bad_address().into()),
        status::NO_RESOURCE => return Err(ApiError::state_not_found().into()),
        other => check_state(view, other)?,
    }
    let link = call.url(None, &[("head", &head)]);
    Ok(json!({ "data": json::base64(&response.value), "head": head, "link": link }))
}

fn receipts(view: &View, call: &Call) -> Result<Value, Unanswered> {
    let is_post = call.method() == Method::POST;
    let transaction_ids = if is_post {
        if !call.has_content_type("application/json") {
            return Err(ApiError::receipt_content_type().into());
        }
        let ids = call.posted_ids().ok_or_else(ApiError::bad_receipt_body)?;
        ids.iter().try_for_each(|id| checked_id(id).map(drop))?;
        ids
    } else {
        let ids = call.ids()?;
        if ids.is_empty() {
            return Err(ApiError::receipt_without_id().into());
        }
        ids
    };
    let response = view.receipts(&ReceiptGetRequest { transaction_ids });
    check_whole(view)?;
    match response.status {
        status::OK => {}
        status::NO_RESOURCE => return Err(ApiError::receipt_not_found().into()),
        _ => return Err(ApiError::too_many_receipts().into()),
    }
    let data: Vec<_> = response.receipts.iter().map(json::receipt).collect();
    Ok(if is_post { json!({ "data": data }) } else { with_link(call, json!(data)) })
}

/// The block that a request about the state means, and its root.
fn head_and_root(view: &View, call: &Call) -> Result<(String, String), ApiError> {
    match call.head()? {
        None => {
            let (header, id) = view.head().ok_or_else(ApiError::not_ready)?;
            Ok((id, header.state_root_hash))
        }
        Some(id) => {
            let block = view.get(Kind::Block, &GetRequest { id: id.to_owned() }).item;
            let block = block.ok_or_else(ApiError::block_not_found)?;
            let block = crate::messages::ledger::Block::decode(block).map_err(|_| ApiError::unknown())?;
            let header = BlockHeader::decode(block.header).map_err(|_| ApiError::unknown())?;
            Ok((id.to_owned(), header.state_root_hash))
        }
    }
}

/// What a view that was cut short says is no answer.
fn check_whole(view: &View) -> Result<(), Unanswered> {
    if view.is_cut_short() { Err(Unanswered::CutShort) } else { Ok(()) }
}

fn check_state(view: &View, given: i32) -> Result<(), Unanswered> {
    check_whole(view)?;
    if given == status::INTERNAL_ERROR && view.has_read_enough() {
        return Err(ApiError::too_much_replaced().into());
    }
    check(given).map_err(Unanswered::Refused)
}

/// Statuses that all lists share. That there is nothing is no error.
fn check(given: i32) -> Result<(), ApiError> {
    match given {
        status::OK | status::NO_RESOURCE => Ok(()),
        status::NOT_READY => Err(ApiError::not_ready()),
        status::NO_ROOT => Err(ApiError::head_not_found()),
        status::INVALID_PAGING => Err(ApiError::bad_paging()),
        status::INVALID_SORT => Err(ApiError::bad_sort()),
        _ => Err(ApiError::unknown()),
    }
}

/// A page's envelope: `paging` is always there, and what comes next only if something does.
fn page(call: &Call, asked: &PagingControls, given: &PagingResponse, head: &str, data: Vec<Value>) -> Value {
    let limit = given.limit.to_string();
    let link = call.url(None, &[("head", head), ("start", &given.start), ("limit", &limit)]);
    let echo_limit = call.value("limit").map(|_| asked.limit);
    let mut paging = json!({ "limit": echo_limit, "start": call.value("start") });
    if !given.next.is_empty()
        && let Some(paging) = paging.as_object_mut()
    {
        paging.insert("next_position".to_owned(), json!(given.next));
        paging.insert("next".to_owned(), json!(call.url(None, &[("head", head), ("start", &given.next)])));
    }
    json!({ "data": data, "head": head, "link": link, "paging": paging })
}

fn with_link(call: &Call, data: Value) -> Value {
    json!({ "data": data, "link": call.url(None, &[]) })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let response = Response::builder().status(status).header("content-type", "text/plain; charset=utf-8");
    response.body(Bytes::from_static(text.as_bytes())).expect("the header above is well-formed")
}
