//! The REST API: the routes, envelopes and error codes of the original's, on the node itself instead of in front of it.

mod errors;
mod json;
mod request;
mod routes;
mod subscriptions;
#[cfg(test)]
mod tests;

use crate::limits::REST_BODY_BYTES_MAX;
use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{Caller, Mount, Reply, Rest, Service, Socket, SocketSession};
use http::{Request, Response, StatusCode};
use serde_json::Value;

use crate::NAME;
use crate::component::Guests;
use crate::query::Node;

pub use errors::ApiError;

/// The REST API of one node.
pub struct RestService {
    node: Arc<Node>,
    /// Processors wait for time to pass, also where there is no component endpoint.
    guests: Arc<Guests>,
}

impl RestService {
    pub fn new(node: Arc<Node>, guests: Arc<Guests>) -> Self {
        Self { node, guests }
    }
}

impl Service for RestService {
    fn mount(&self) -> Mount {
        Mount::Listener(NAME)
    }

    fn body_bytes_max(&self) -> Option<usize> {
        Some(REST_BODY_BYTES_MAX)
    }

    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply) {
        if let Some(rest) = self.begin(caller, request, reply) {
            (rest.job)();
        }
    }

    fn begin(&self, caller: Caller, request: Request<Bytes>, reply: Reply) -> Option<Rest> {
        routes::begin(&self.node, caller, request, reply)
    }

    fn busy(&self) -> Response<Bytes> {
        ApiError::queue_full().response()
    }

    fn tick(&self) {
        self.node.tick();
        self.guests.tick(self.node.now_ms());
    }

    fn open_socket(&self, caller: Caller, socket: Arc<dyn Socket>) -> Option<Box<dyn SocketSession>> {
        Some(Box::new(subscriptions::Session::new(Arc::clone(&self.node), caller, socket)))
    }
}

/// An answer as the original writes it: two spaces, keys in order, everything ASCII.
fn respond(status: StatusCode, body: &Value) -> Response<Bytes> {
    let response = Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    response.body(json::text(body).into()).expect("the header above is well-formed")
}

#[cfg(test)]
pub(crate) use json::base64 as base64_for_tests;
