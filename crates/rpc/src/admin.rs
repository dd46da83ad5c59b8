//! The operator's pages: metrics, health, readiness, version. Plain HTTP on a listener of their own, loopback by default,
//! so that they answer when TLS or the network does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{ApiError, Caller, Mount, Reply, Service};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde::Serialize;

use crate::metrics::{self, Metrics};

/// What the pages ask of the node.
pub trait Health: Send + Sync {
    /// Each component by name: `joined`, `primary`, `caught_up`, …. The node is ready when all are.
    fn components(&self) -> BTreeMap<&'static str, Component>;

    /// Name, version, commit and platform of the running code.
    fn version(&self) -> serde_json::Value;
}

/// The state of one part of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Component {
    pub ready: bool,
    /// In words, for the operator.
    pub detail: String,
}

/// Serves the pages.
pub struct AdminService {
    metrics: Arc<Metrics>,
    health: Arc<dyn Health>,
}

impl AdminService {
    pub fn new(metrics: Arc<Metrics>, health: Arc<dyn Health>) -> Arc<Self> {
        Arc::new(Self { metrics, health })
    }

    fn page(&self, path: &str) -> Result<Response<Bytes>, ApiError> {
        match path {
            "/metrics" => Ok(page(StatusCode::OK, metrics::CONTENT_TYPE, self.metrics.render())),
            "/healthz" => Ok(page(StatusCode::OK, "text/plain", "ok\n".to_owned())),
            "/readyz" => {
                let components = self.health.components();
                let ready = components.values().all(|component| component.ready);
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = serde_json::json!({"ready": ready, "components": components});
                Ok(page(status, "application/json", body.to_string()))
            }
            "/version" => Ok(page(StatusCode::OK, "application/json", self.health.version().to_string())),
            _ => Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "ResourceNotFound",
                "served here: /metrics /healthz /readyz /version",
            )),
        }
    }
}

impl Service for AdminService {
    fn mount(&self) -> Mount {
        Mount::Listener("admin")
    }

    fn call(&self, _caller: Caller, request: Request<Bytes>, reply: Reply) {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", "only GET is served here");
            return reply(error.into_response());
        }
        reply(self.page(request.uri().path()).unwrap_or_else(ApiError::into_response));
    }
}

fn page(status: StatusCode, content_type: &'static str, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
