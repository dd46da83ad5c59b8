//! Golden files: one exchange each, as people read it.
//!
//! `UPDATE_GOLDEN=1` writes them anew. What is random (shares encrypted with RSA-OAEP) and what has a golden file of its own (the OpenAPI
//! document) is named instead of shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::consortium::Exchange;

/// Compares every exchange with its file; there must be no other files. `names` say which there must be.
pub fn check(folder: &str, names: &BTreeSet<String>, exchanges: &BTreeMap<String, Exchange>) {
    let missing: Vec<_> = names.iter().filter(|name| !exchanges.contains_key(*name)).collect();
    assert!(missing.is_empty(), "no exchange of tests/gov_golden shows {missing:?}: add one to its main.rs");
    let unknown: Vec<_> = exchanges.keys().filter(|name| !names.contains(*name)).collect();
    assert!(unknown.is_empty(), "there is nothing by the name of {unknown:?} any more");

    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/gov").join(folder);
    let files: BTreeMap<_, _> = exchanges.iter().map(|(name, exchange)| (file_name(name), exchange)).collect();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(files.contains_key(&name), "{name} is the file of nothing: remove it");
    }
    for (name, exchange) in files {
        let (path, text) = (folder.join(&name), format!("{:#}\n", shown(exchange)));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let expected =
            fs::read_to_string(&path).unwrap_or_else(|_| panic!("{name} is missing: run with UPDATE_GOLDEN=1"));
        assert_eq!(text, expected, "{name}: run again with UPDATE_GOLDEN=1 if the change is meant");
    }
}

/// `POST /gov/members/proposals/{proposalId}:withdraw` is in `post.members.proposals.proposalId-withdraw.json`.
fn file_name(name: &str) -> String {
    let plain = name.replace(['{', '}'], "").replace(" /gov/", ".").replace('/', ".").replace(':', "-");
    match plain.split_once('.') {
        Some((method, rest)) => format!("{}.{rest}.json", method.to_ascii_lowercase()),
        None => format!("{plain}.json"),
    }
}

fn shown(exchange: &Exchange) -> Value {
    let mut request = json!({ "method": exchange.method.as_str(), "uri": exchange.uri });
    if !exchange.content_type.is_empty() {
        request["content-type"] = exchange.content_type.into();
    }
    if let Some(key) = exchange.key {
        request["idempotency-key"] = key.into();
    }
    if let Some(id) = exchange.last_event_id {
        request["last-event-id"] = id.into();
    }
    match &exchange.signed {
        Some(signed) => {
            request["signed"] = signed.clone();
            request["body"] = hex::encode(&exchange.body).into();
        }
        None if exchange.body.is_empty() => {}
        None => request["body"] = serde_json::from_slice(&exchange.body).unwrap(),
    }
    let (head, body) = (&exchange.response, exchange.response.body());
    let headers: BTreeMap<_, _> =
        head.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let mut response = json!({ "status": head.status().as_u16(), "headers": headers });
    if !body.is_empty() {
        response["body"] = serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into());
    }
    name_what_is_not_shown(exchange, &mut response["body"]);
    json!({ "request": request, "response": response })
}

fn name_what_is_not_shown(exchange: &Exchange, body: &mut Value) {
    if exchange.uri.starts_with("/gov/api") {
        *body = "(testdata/openapi_gov.json)".into();
    }
    if exchange.uri.starts_with("/gov/service/constitution") {
        *body = "(the text of constitution/)".into();
    }
    if body["encryptedShare"].is_string() {
        body["encryptedShare"] = "(base64 of RSA-OAEP)".into();
    }
}
