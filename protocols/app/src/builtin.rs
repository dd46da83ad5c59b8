//! What CCF's nodes answer below `/app` besides the application itself: where transactions stand, and the application's own API document.

use coco_governance::application::Installed;
use coco_kv::Snapshot;
use coco_protocol::LedgerHandle;
use coco_types::TxId;
use http::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::run::status_name;

/// The answer, if it is one of these. `path` is below `/app`.
pub fn answer<T>(path: &str, request: &Request<T>, handle: &dyn LedgerHandle, state: &mut Snapshot) -> Option<Answer> {
    if !matches!(path, "/tx" | "/commit" | "/api") {
        return None;
    }
    if *request.method() != Method::GET {
        let message = format!("/app{path} answers GET only");
        return Some(Answer::error(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", &message, &[]));
    }
    Some(match path {
        "/tx" => transaction(request.uri().query().unwrap_or_default(), handle),
        "/commit" => Answer::json(StatusCode::OK, &json!({"transaction_id": handle.status().committed})),
        _ => document(state),
    })
}

fn transaction(query: &str, handle: &dyn LedgerHandle) -> Answer {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("transaction_id="));
    match given.map(str::parse::<TxId>) {
        Some(Ok(txid)) => {
            let status = status_name(handle.transaction_status(txid));
            Answer::json(StatusCode::OK, &json!({"transaction_id": txid, "status": status}))
        }
        _ => {
            let message = "the query parameter transaction_id names a transaction, such as 2.7";
            Answer::error(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue", message, &[])
        }
    }
}

/// OpenAPI: each endpoint is described as its installers described it.
fn document(state: &mut Snapshot) -> Answer {
    let installed = match Installed::all(state) {
        Ok(installed) => installed,
        Err(error) => return Answer::unreadable(&error),
    };
    let mut paths = Map::new();
    for Installed { method, path, endpoint, .. } in installed {
        if endpoint.openapi_hidden {
            continue;
        }
        let described = if endpoint.openapi.is_object() { endpoint.openapi } else { json!({}) };
        let methods = paths.entry(format!("/app{path}")).or_insert_with(|| json!({}));
        methods[method.to_ascii_lowercase()] = with_responses(described);
    }
    let info = json!({"title": "The application of this network", "version": "0"});
    Answer::json(StatusCode::OK, &json!({"openapi": "3.0.3", "info": info, "paths": paths}))
}

/// A document without them is none.
fn with_responses(mut described: Value) -> Value {
    if !described["responses"].is_object() {
        described["responses"] = json!({"default": {"description": "As the application answers"}});
    }
    described
}
