//! `/app/identities`: who the caller is, and which of the ledgers' identities are bound to it.

use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::bindings::{Binding, Statement};
use coco_protocol::{ApiError, Caller, Idempotent, Identity, Mount, Reply, Service};
use coco_types::TxId;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json as value;

use super::openapi::{Described, document_of};
use super::request::{content, json, with_transaction_id};

/// Bindings as their HTTP API sees them. Called on workers: must not block; what takes longer answers by callback.
pub trait IdentityApi: Send + Sync {
    /// What is bound to any of these, as of a transaction, as far as the caller may see it.
    fn bindings(&self, caller: &Caller, of: &[Identity]) -> (TxId, Vec<Binding>);

    /// What the ledger's key is to sign; `identity` may be written in any way that the ledger knows.
    fn statement(&self, principal: &Identity, wanted: Wanted) -> Result<Statement, ApiError>;

    /// The same as it was given before, if it can have been.
    fn restated(&self, principal: &Identity, proof: &Proof) -> Result<Statement, ApiError>;

    /// Checks the signature and binds; answers once it is committed.
    fn bind(&self, statement: Statement, signature: &str, key: Option<Idempotent>, reply: Reply);

    fn unbind(&self, principal: &Identity, wanted: Wanted, key: Option<Idempotent>, reply: Reply);
}

/// An identity inside a ledger.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub ledger: String,
    pub identity: String,
}

/// A statement's variable parts, and the ledger key's signature over it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    pub ledger: String,
    pub identity: String,
    pub as_of: TxId,
    pub until: u64,
    pub signature: String,
}

/// Serves `/app/identities`.
pub struct IdentityEndpoints {
    api: Arc<dyn IdentityApi>,
}

const PATH: &str = "/app/identities";
/// Behind it: whose.
const OF: &str = "/of/";
const JSON: &[&str] = &["application/json"];
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"JWT bearer token access\"");

impl IdentityEndpoints {
    pub fn new(api: Arc<dyn IdentityApi>) -> Arc<Self> {
        Arc::new(Self { api })
    }

    fn answer(&self, caller: &Caller, request: &Request<Bytes>, reply: Reply) -> Result<(), (Reply, ApiError)> {
        let path = request.uri().path().strip_prefix(PATH).unwrap_or_default();
        let asked = match (request.method(), path) {
            (&Method::GET, "") => return self.shown(caller, reply),
            (&Method::GET, path) if path.starts_with(OF) => {
                return self.shown_of(caller, path.strip_prefix(OF).unwrap_or_default(), reply);
            }
            (&Method::GET, "/api") => {
                reply(content("application/json", text().into()));
                return Ok(());
            }
            (&Method::POST, "/challenge") => Asked::Challenge,
            (&Method::POST, "/bind") => Asked::Bind,
            (&Method::POST, "/unbind") => Asked::Unbind,
            (_, "" | "/api" | "/challenge" | "/bind" | "/unbind") => {
                let message = format!("{} is not for {path}", request.method());
                return Err((reply, ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", message)));
            }
            _ => {
                let message = format!("there is nothing at {}", request.uri().path());
                return Err((reply, ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)));
            }
        };
        match self.carried_out(asked, caller, request) {
            Ok(Next::Answer(response)) => reply(response),
            Ok(Next::Bind(statement, signature, key)) => self.api.bind(statement, &signature, key, reply),
            Ok(Next::Unbind(principal, wanted, key)) => self.api.unbind(&principal, wanted, key, reply),
            Err(error) => return Err((reply, error)),
        }
        Ok(())
    }

    fn shown(&self, caller: &Caller, reply: Reply) -> Result<(), (Reply, ApiError)> {
        let (txid, bindings) = self.api.bindings(caller, caller.identities());
        reply(with_transaction_id(json(&value!({"caller": caller.identities(), "bindings": bindings})), txid));
        Ok(())
    }

    /// Whoever may not see what is bound to somebody sees nothing bound.
    fn shown_of(&self, caller: &Caller, id: &str, reply: Reply) -> Result<(), (Reply, ApiError)> {
        if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = "a member or participant is named by its id, 64 hexadecimal digits";
            return Err((reply, ApiError::new(StatusCode::BAD_REQUEST, "InvalidResourceName", message)));
        }
        let id = id.to_ascii_lowercase();
        let of = [Identity::Member(id.clone()), Identity::Participant(id)];
        let (txid, bindings) = self.api.bindings(caller, &of);
        reply(with_transaction_id(json(&value!({ "bindings": bindings })), txid));
        Ok(())
    }

    fn carried_out(&self, asked: Asked, caller: &Caller, request: &Request<Bytes>) -> Result<Next, ApiError> {
        let principal = caller.principal().ok_or_else(|| {
            let message = "only a caller that proves who it is can have identities bound";
            ApiError::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationInfo", message)
        })?;
        match asked {
            Asked::Challenge => {
                let statement = self.api.statement(principal, parsed(request)?)?;
                Ok(Next::Answer(json(&value!({
                    "ledger": statement.ledger, "identity": statement.identity, "asOf": statement.as_of,
                    "until": statement.until_s, "statement": statement.text(),
                }))))
            }
            Asked::Bind => {
                let proof: Proof = parsed(request)?;
                let key = Idempotent::of(caller, request)?;
                Ok(Next::Bind(self.api.restated(principal, &proof)?, proof.signature, key))
            }
            Asked::Unbind => Ok(Next::Unbind(principal.clone(), parsed(request)?, Idempotent::of(caller, request)?)),
        }
    }
}

#[derive(Clone, Copy)]
enum Asked {
    Challenge,
    Bind,
    Unbind,
}

enum Next {
    Answer(Response<Bytes>),
    Bind(Statement, String, Option<Idempotent>),
    Unbind(Identity, Wanted, Option<Idempotent>),
}

impl Service for IdentityEndpoints {
    fn mount(&self) -> Mount {
        Mount::Path(PATH)
    }

    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply) {
        if let Err((reply, error)) = self.answer(&caller, &request, reply) {
            let unknown = error.status == StatusCode::UNAUTHORIZED;
            let mut response = error.into_response();
            if unknown {
                response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
            }
            reply(response);
        }
    }
}

fn parsed<T: DeserializeOwned>(request: &Request<Bytes>) -> Result<T, ApiError> {
    serde_json::from_slice(request.body())
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "InvalidInput", error.to_string()))
}

fn text() -> String {
    let described = |method, path, summary, sentence, body: bool| Described {
        method,
        path,
        summary,
        query: &[],
        answers: if body && path != "/app/identities/challenge" { (&[], sentence) } else { (JSON, sentence) },
        body: body.then_some("application/json"),
    };
    let operations = [
        described(&Method::GET, PATH, "Who the caller is", "What it has proved, and what is bound to it", false),
        described(
            &Method::GET,
            "/app/identities/of/{id}",
            "What is bound to a member or participant, if the members have voted to tell",
            "What is bound to it",
            false,
        ),
        described(&Method::GET, "/app/identities/api", "This document", "OpenAPI 3.0", false),
        described(
            &Method::POST,
            "/app/identities/bind",
            "Binds an identity of a ledger to the caller: ledger, identity, asOf, until, signature",
            "It is bound",
            true,
        ),
        described(
            &Method::POST,
            "/app/identities/challenge",
            "What the key of a ledger's identity must sign to be bound: ledger, identity",
            "The statement, and what identifies it",
            true,
        ),
        described(
            &Method::POST,
            "/app/identities/unbind",
            "Takes a bound identity away: ledger, identity",
            "It is not bound any more",
            true,
        ),
    ];
    document_of("Coco identities", operations.into_iter(), std::iter::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_golden_file() {
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/openapi_identities.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, text()).expect("the testdata folder can be written");
        }
        let expected = std::fs::read_to_string(&golden).expect("testdata/openapi_identities.json");
        assert_eq!(text(), expected, "run again with UPDATE_GOLDEN=1 if the change is meant");
    }
}
