//! Version 1: everything in one answer.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asking, Known, Refusal, answer, listed, time};
use crate::sources::Files;

/// Answers later.
type Finish = Box<dyn FnOnce(Response<Bytes>) + Send>;

#[derive(Deserialize)]
struct Upload {
    address: String,
    chain: Chain,
    #[serde(default)]
    files: Files,
}

/// Tools send it as text or as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Chain {
    Text(String),
    Number(u64),
}

pub fn verify(asking: &Asking<'_>, body: &[u8], finish: Finish) {
    let read = serde_json::from_slice(body);
    let upload: Upload = match read {
        Ok(upload) => upload,
        Err(error) => return finish(refused(&Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))),
    };
    let chain = match upload.chain {
        Chain::Text(chain) => chain,
        Chain::Number(chain) => chain.to_string(),
    };
    let address = match asking.place((&chain, &upload.address)) {
        Ok(address) => address,
        Err(refusal) => return finish(refused(&refusal)),
    };
    asking.take(address, &upload.files, move |known| {
        finish(match known {
            Ok(known) => answer(StatusCode::OK, json!({"result": [perfect(&known, &chain)]})),
            Err(refusal) => refused(&refusal),
        });
    });
}

pub fn check(asking: &Asking<'_>, query: &str) -> Response<Bytes> {
    let chain = asking.chain_id();
    let asked = listed(query, "chainIds").contains(&chain);
    each(asking, query, |known| {
        asked.then(|| {
            json!({
                "address": known.address.to_checksum(None), "status": "perfect", "chainIds": [chain],
                "storageTimestamp": time::rfc3339(known.verified.at_ms),
            })
        })
    })
}

pub fn check_all(asking: &Asking<'_>, query: &str) -> Response<Bytes> {
    let chain = asking.chain_id();
    let asked = listed(query, "chainIds").contains(&chain);
    each(asking, query, |known| {
        let chains = json!([{"chainId": chain, "status": "perfect"}]);
        asked.then(|| json!({"address": known.address.to_checksum(None), "chainIds": chains}))
    })
}

/// One answer for each address, in order.
fn each(asking: &Asking<'_>, query: &str, say: impl Fn(&Known) -> Option<Value>) -> Response<Bytes> {
    let about = |address: String| {
        let known = address.parse().ok().and_then(|address| asking.known(address));
        known.as_ref().and_then(&say).unwrap_or_else(|| json!({"address": address, "status": "false"}))
    };
    answer(StatusCode::OK, listed(query, "addresses").into_iter().map(about).collect())
}

fn perfect(known: &Known, chain: &str) -> Value {
    json!({
        "address": known.address.to_checksum(None), "chainId": chain, "status": "perfect", "libraryMap": {},
        "storageTimestamp": time::rfc3339(known.verified.at_ms),
    })
}

fn refused(refusal: &Refusal) -> Response<Bytes> {
    answer(refusal.status, json!({"error": refusal.why}))
}
