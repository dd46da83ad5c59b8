//! The node as its HTTP API and its operator see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coco_governance::tables;
use coco_protocol::{Caller, Identity as Proved, Mount, Reply, Service, TransactionStatus};
use coco_rpc::admin::{Component, Health};
use coco_rpc::{ApiError, CallerLookup};
use coco_types::{Digest, MapName, TxId};
use http::{Method, Request, Response, StatusCode};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::front::Visible;
use crate::handle::Shared;
use crate::identity::Identity;
use crate::shell::NodeError;
use crate::shell::admission::Admission;

/// `/node/…`.
pub struct Api {
    shared: Arc<Shared>,
    admission: Arc<Admission>,
}

impl Api {
    pub fn new(shared: Arc<Shared>, admission: Arc<Admission>) -> Arc<Self> {
        Arc::new(Self { shared, admission })
    }
}

/// TLS for clients: the node's endorsed certificate; a client certificate is asked for, and proves who calls.
pub fn client_tls(identity: &Identity) -> Result<Arc<ServerConfig>, NodeError> {
    let chain = vec![
        CertificateDer::from(identity.node_certificate.der().to_vec()),
        CertificateDer::from(identity.service.certificate.der().to_vec()),
    ];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.node_key.to_pkcs8_der().to_vec()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    Ok(Arc::new(config.map_err(|error| NodeError::Tls(error.to_string()))?))
}

/// Members and participants by the fingerprint of their certificate, as the committed ledger has them.
pub fn identities(visible: Arc<Visible>) -> CallerLookup {
    Arc::new(move |fingerprint: &Digest| {
        let key = fingerprint.to_string();
        let state = visible.state();
        let known = |map: MapName| state.get(&map, key.as_bytes()).is_some();
        let mut identities = Vec::new();
        if known(tables::MEMBER_CERTS) {
            identities.push(Proved::Member(key.clone()));
        }
        if known(tables::USER_CERTS) {
            identities.push(Proved::Participant(key.clone()));
        }
        if identities.is_empty() { Caller::Anonymous } else { Caller::Identified(identities) }
    })
}

impl Service for Api {
    fn mount(&self) -> Mount {
        Mount::Path("/node")
    }

    fn call(&self, _caller: Caller, request: Request<Bytes>, reply: Reply) {
        let path = request.uri().path();
        if request.method() == Method::POST && path == "/node/join" {
            let answer = move |result: Result<Bytes, String>| {
                reply(match result {
                    Ok(body) => json(body),
                    Err(error) => ApiError::new(StatusCode::FORBIDDEN, "NotAdmitted", error).into_response(),
                });
            };
            return self.admission.join(request.into_body(), Box::new(answer));
        }
        let answered = match (request.method(), path) {
            (&Method::POST, "/node/join:challenge") => Ok(to_json(&self.admission.challenge())),
            (&Method::GET, "/node/network") => Ok(to_json(&self.shared.status())),
            (&Method::GET, "/node/commit") => {
                Ok(to_json(&serde_json::json!({"transaction_id": self.shared.visible.txid()})))
            }
            (&Method::GET, "/node/tx") => self.transaction(&request),
            (&Method::GET, "/node/receipt") => self.receipt(&request),
            _ => Err(ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", "no such endpoint")),
        };
        reply(answered.unwrap_or_else(ApiError::into_response));
    }
}

impl Api {
    fn transaction(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, ApiError> {
        let txid = transaction_id(request)?;
        let status = self.shared.transaction_status(txid);
        Ok(to_json(&serde_json::json!({"transaction_id": txid, "status": status})))
    }

    fn receipt(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, ApiError> {
        let txid = transaction_id(request)?;
        let missing = || ApiError::new(StatusCode::NOT_FOUND, "TransactionPendingOrUnknown", "no receipt yet");
        if self.shared.transaction_status(txid) != TransactionStatus::Committed {
            return Err(missing());
        }
        let receipt = self.shared.ledger.receipt(txid).ok().flatten().ok_or_else(missing)?;
        let wants_cose = request.headers().get("accept").is_some_and(|accept| accept == "application/cose");
        if wants_cose {
            let response = Response::builder().header("content-type", "application/cose").body(receipt.cose);
            return Ok(response.expect("a fixed header is valid"));
        }
        Ok(to_json(&receipt.json))
    }
}

fn transaction_id(request: &Request<Bytes>) -> Result<TxId, ApiError> {
    let query = request.uri().query().unwrap_or_default();
    let text = query.split('&').find_map(|pair| pair.strip_prefix("transaction_id="));
    let invalid = |why: String| ApiError::new(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue", why);
    let text = text.ok_or_else(|| invalid("transaction_id is missing".to_owned()))?;
    text.parse().map_err(|error: coco_types::ParseError| invalid(error.to_string()))
}

fn to_json(value: &impl serde::Serialize) -> Response<Bytes> {
    json(serde_json::to_vec(value).unwrap_or_default().into())
}

fn json(body: Bytes) -> Response<Bytes> {
    Response::builder().header("content-type", "application/json").body(body).expect("a fixed header is valid")
}

impl Health for Api {
    fn components(&self) -> BTreeMap<&'static str, Component> {
        let standing = self.shared.standing.read();
        let joined = standing.voters.contains(&self.shared.replica_id);
        let component =
            |ready: bool, yes: &str, no: &str| Component { ready, detail: if ready { yes } else { no }.to_owned() };
        [
            ("joined", component(joined, "votes in the consensus", "not a voter yet")),
            ("primary", component(standing.primary.is_some(), "follows a primary", "knows no primary")),
            ("caught_up", component(standing.caught_up, "applied all it knows to be committed", "is catching up")),
        ]
        .into()
    }

    fn version(&self) -> serde_json::Value {
        serde_json::json!({"name": "coco", "version": env!("CARGO_PKG_VERSION"), "platform": "virtual"})
    }
}
