//! Issuers whose tokens are taken, as committed.

use coco_governance::jwt::{IssuerRow, KeyRow};
use coco_governance::tables;
use coco_kv::Snapshot;
use serde_json::{Map, Value, json as value};

use super::{Answer, unreadable};
use crate::endpoints::request::json;

pub(super) fn jwk(state: &mut Snapshot, _names: &[String]) -> Answer {
    let issuers = IssuerRow::all(state).map_err(|error| unreadable(&error))?;
    let keys = KeyRow::all(state).map_err(|error| unreadable(&error))?;
    let issuers: Map<_, _> = issuers.into_iter().map(|(name, row)| (name, issuer_json(&row))).collect();
    let keys: Map<_, _> =
        keys.into_iter().map(|(kid, rows)| (kid, rows.iter().map(key_json).collect::<Value>())).collect();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let bundle = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_else(|_| Value::from(text(bytes)));
    let bundles: Map<_, _> =
        state.iter(&tables::CA_CERT_BUNDLES).map(|(name, pem)| (text(&name), bundle(&pem))).collect();
    Ok(json(&value!({"issuers": issuers, "keys": keys, "caCertBundles": bundles})))
}

fn issuer_json(row: &IssuerRow) -> Value {
    let mut shown = value!({"autoRefresh": row.auto_refresh});
    for (field, list) in [("audience", &row.audience), ("refreshers", &row.refreshers)] {
        if let Some(list) = list {
            shown[field] = value!(list);
        }
    }
    if let Some(bundle) = &row.ca_cert_bundle_name {
        shown["caCertBundleName"] = bundle.as_str().into();
    }
    shown
}

fn key_json(row: &KeyRow) -> Value {
    let mut shown = value!({"publicKey": row.public_key, "issuer": row.issuer});
    if let Some(constraint) = &row.constraint {
        shown["constraint"] = constraint.as_str().into();
    }
    shown
}
