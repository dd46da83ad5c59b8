//! Sourcify's HTTP API under `/sourcify`, for tools that upload a contract's sources and for those that show them.
//!
//! | request | as |
//! |---|---|
//! | `POST /`, `/verify` | version 1: hardhat-verify 2, older forge |
//! | `GET /check-by-addresses`, `/check-all-by-addresses` | version 1 |
//! | `POST /v2/verify/metadata/{chain}/{address}`, `GET /v2/verify/{id}`, `GET /v2/contract/{chain}/{address}` | version 2 |
//! | `GET /contracts/full_match/{chain}/{address}/metadata.json`, `…/sources/{path}` | the repository, which Otterscan reads |
//!
//! What is checked is said in [`crate::sources`]. Version 2's upload of compiler input without metadata needs a compiler, and is refused.

mod repository;
mod time;
mod v1;
mod v2;

use std::sync::Arc;

use alloy_primitives::Address;
use bytes::Bytes;
use coco_protocol::{Caller, RejectionReason, Reply, Submitted, Until};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::http::allow_origin;
use super::server::Server;
use super::view::ChainView;
use crate::sources::{Files, SOURCES, SourceUpload, Unfit, VERIFIED, Verified, sources_key};
use crate::state::ReadState;

/// Requests below this path are no JSON-RPC.
pub const PREFIX: &str = "/sourcify";

/// Tools ask about several addresses at once.
const ADDRESSES_MAX: usize = 100;

/// A contract whose sources are there.
pub(super) struct Known {
    pub address: Address,
    pub verified: Verified,
    pub upload: SourceUpload,
}

/// Why an upload came to nothing.
pub(super) struct Refusal {
    pub status: StatusCode,
    /// Sourcify's own word for it.
    pub code: &'static str,
    pub why: String,
}

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        let code = if status.is_server_error() { "internal_error" } else { "invalid_parameter" };
        Self { status, code, why: why.into() }
    }

    fn called(self, code: &'static str) -> Self {
        Self { code, ..self }
    }
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        let (status, code) = match unfit {
            Unfit::NoContract => (StatusCode::NOT_FOUND, "contract_not_deployed"),
            Unfit::Known => (StatusCode::CONFLICT, "already_verified"),
            Unfit::TooLarge(_) | Unfit::MetadataTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_parameter"),
            Unfit::Missing(_) => (StatusCode::BAD_REQUEST, "missing_or_invalid_source"),
            Unfit::OtherMetadata { .. } | Unfit::NoHash => (StatusCode::BAD_REQUEST, "no_match"),
            Unfit::NoMetadata | Unfit::Malformed(_) => (StatusCode::BAD_REQUEST, "invalid_parameter"),
        };
        Self { status, code, why: unfit.to_string() }
    }
}

/// Answers one request below [`PREFIX`].
pub fn serve(
    server: &Arc<Server>,
    caller: &Caller,
    request: &Request<Bytes>,
    origin: Option<HeaderValue>,
    reply: Reply,
) {
    let finish = move |mut response: Response<Bytes>| {
        allow_origin(&mut response, origin);
        reply(response);
    };
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().trim_matches('/');
    let path: Vec<&str> = path.split('/').collect();
    let query = request.uri().query().unwrap_or_default();
    let asking = Asking { server, caller };
    match (request.method().clone(), &path[..]) {
        // Read as members in their order otherwise.
        (Method::POST, _) if request.body().trim_ascii_start().starts_with(b"[") => {
            finish(answer(StatusCode::BAD_REQUEST, json!({"error": "the body is a list: an object is expected"})));
        }
        (Method::POST, [""] | ["verify"]) => v1::verify(&asking, request.body(), Box::new(finish)),
        (Method::GET, ["check-by-addresses"]) => finish(v1::check(&asking, query)),
        (Method::GET, ["check-all-by-addresses"]) => finish(v1::check_all(&asking, query)),
        (Method::POST, ["v2", "verify", "metadata", chain, address]) => {
            v2::verify(&asking, (chain, address), request.body(), Box::new(finish));
        }
        (Method::POST, ["v2", "verify", ..]) => finish(v2::needs_compiler()),
        (Method::GET, ["v2", "verify", id]) => finish(v2::job(&asking, id)),
        (Method::GET, ["v2", "contract", chain, address]) => finish(v2::contract(&asking, (chain, address), query)),
        (Method::GET, ["contracts", kind, chain, address, file @ ..]) if !file.is_empty() => {
            finish(repository::file(&asking, kind, (chain, address), file));
        }
        (Method::GET, ["health"]) => finish(text("text/plain", "Alive and kicking!")),
        (Method::GET, ["chains"]) => finish(asking.chains()),
        _ => finish(answer(StatusCode::NOT_FOUND, json!({"error": "no such resource"}))),
    }
}

/// Who asks, and of which node.
pub(super) struct Asking<'a> {
    pub server: &'a Arc<Server>,
    pub caller: &'a Caller,
}

impl Asking<'_> {
    pub fn chain_id(&self) -> String {
        self.server.ledger.chain_id().to_string()
    }

    /// The address, if the chain is this one.
    pub fn place(&self, (chain, address): (&str, &str)) -> Result<Address, Refusal> {
        if chain != self.chain_id() {
            let elsewhere =
                Refusal::new(StatusCode::BAD_REQUEST, format!("The chain with chainId {chain} is not supported"));
            return Err(elsewhere.called("unsupported_chain"));
        }
        let address: Result<Address, _> = address.parse();
        address.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "not an address"))
    }

    /// What is there of a contract's sources.
    pub fn known(&self, address: Address) -> Option<Known> {
        let reader = self.server.handle.reader(self.caller);
        let state = reader.state();
        let verified = Verified::decode(&state.get(&VERIFIED, address.as_slice())?)?;
        let account = (state as &dyn ReadState).account(&address).ok().flatten()?;
        if account.code_hash != verified.code_hash || !ChainView::new(self.server, &reader).discloses_account(&address)
        {
            return None;
        }
        let record = reader.record(&SOURCES, &sources_key(&address, &verified.code_hash)).ok().flatten()?;
        Some(Known { address, verified, upload: SourceUpload::decode(&record)? })
    }

    /// Has files kept that belong to a contract; `then` hears what is known of it afterwards.
    pub fn take(&self, address: Address, files: &Files, then: impl FnOnce(Result<Known, Refusal>) + Send + 'static) {
        if let Some(known) = self.known(address) {
            return then(Ok(known));
        }
        let (server, caller) = (self.server.clone(), self.caller.clone());
        let admitted = self.upload(address, files).and_then(|upload| {
            let admitted = SourceUpload::admit(upload.encode(), caller.clone());
            admitted.map_err(|rejection| Refusal::new(StatusCode::BAD_REQUEST, rejection.message))
        });
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => return then(Err(refusal)),
        };
        let reply = move |answers: Vec<Submitted>| {
            let asking = Asking { server: &server, caller: &caller };
            let refusal = match answers.into_iter().next() {
                Some(Submitted::Rejected(rejection)) if rejection.reason != RejectionReason::Duplicate => {
                    let busy = rejection.reason == RejectionReason::Busy;
                    let status = if busy { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::BAD_REQUEST };
                    Refusal::new(status, rejection.message)
                }
                _ => {
                    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the network has no primary at the moment: try again")
                }
            };
            then(asking.known(address).ok_or(refusal));
        };
        self.server.handle.submit(vec![admitted], Until::Committed, Box::new(reply));
    }

    fn upload(&self, address: Address, files: &Files) -> Result<SourceUpload, Refusal> {
        let reader = self.server.handle.reader(self.caller);
        let state: &dyn ReadState = reader.state();
        let shown = ChainView::new(self.server, &reader).discloses_account(&address);
        let account = state.account(&address).ok().flatten().filter(|account| shown && account.has_code());
        let account = account.ok_or(Unfit::NoContract)?;
        Ok(SourceUpload::of(address, &state.code(&account.code_hash), files)?)
    }

    fn chains(&self) -> Response<Bytes> {
        answer(StatusCode::OK, json!([{"name": "Coco", "chainId": self.server.ledger.chain_id(), "supported": true}]))
    }
}

pub(super) fn answer(status: StatusCode, body: Value) -> Response<Bytes> {
    let mut response = text("application/json", body.to_string());
    *response.status_mut() = status;
    response
}

pub(super) fn text(kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A parameter of a query as it stands.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// A list in a query, with commas as they are or encoded.
pub(super) fn listed(query: &str, name: &str) -> Vec<String> {
    let list = parameter(query, name).unwrap_or_default().replace("%2C", ",").replace("%2c", ",");
    list.split(',').filter(|item| !item.is_empty()).take(ADDRESSES_MAX).map(str::to_owned).collect()
}
