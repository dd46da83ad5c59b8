//! The application that members have installed, as committed: what is served below `/app`, and its source.

use bytes::Bytes;
use coco_governance::application::Installed;
use coco_governance::{Code, tables};
use coco_kv::Snapshot;
use serde_json::{Map, Value, json as value};

use super::{Answer, Exchange, error, listing, unreadable};
use crate::endpoints::request::{content, json, parameter, with_transaction_id};

pub(super) fn endpoints(exchange: &Exchange<'_>) -> Answer {
    let query = exchange.request.uri().query().unwrap_or_default();
    let is_original = match parameter(&exchange.request, "case") {
        Ok("original") => true,
        Err(_) if !query.split('&').any(|pair| pair.starts_with("case")) => false,
        _ => return Err(error(Code::InvalidQueryParameterValue, "the query parameter case can be original only")),
    };
    let (txid, mut state) = exchange.gov.state(&exchange.caller);
    let installed = Installed::all(&mut state).map_err(|error| unreadable(&error))?;
    let mut by_path = Map::new();
    for Installed { method, path, endpoint, row } in installed {
        let shown = if is_original {
            row
        } else {
            value!({
                "jsModule": endpoint.js_module,
                "jsFunction": endpoint.js_function,
                "forwardingRequired": endpoint.forwarding_required,
                "redirectionStrategy": endpoint.redirection_strategy,
                "authnPolicies": endpoint.authn_policies,
                "mode": endpoint.mode,
                "openApi": endpoint.openapi,
            })
        };
        by_path.entry(path).or_insert_with(|| value!({}))[method] = shown;
    }
    Ok(with_transaction_id(json(&value!({ "endpoints": by_path })), txid))
}

pub(super) fn modules(state: &mut Snapshot, _names: &[String]) -> Answer {
    let name = |name: Bytes| value!({ "moduleName": String::from_utf8_lossy(&name) });
    let names: Vec<Value> = state.iter(&tables::JS_MODULES).map(|(key, _)| name(key)).collect();
    Ok(listing(&names))
}

pub(super) fn module(state: &mut Snapshot, names: &[String]) -> Answer {
    let name = names.first().map(String::as_str).unwrap_or_default();
    let source = state.get(&tables::JS_MODULES, name.as_bytes());
    let missing = || error(Code::ResourceNotFound, format!("there is no module {name}: names begin with / (%2F)"));
    Ok(content("text/javascript", source.ok_or_else(missing)?))
}
