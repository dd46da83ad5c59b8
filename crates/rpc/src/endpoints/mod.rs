//! The node's own HTTP API, `/node/…`: one table of routes, one file per resource.
//!
//! The routes know HTTP and nothing else; what they say comes from a [`NodeApi`], which the node implements. The OpenAPI
//! document is made from the same table, so it cannot name a route that does not exist.

mod attestations;
mod gov;
mod identities;
mod join;
mod ledger;
mod network;
mod node_api;
mod openapi;
mod receipt;
mod request;
mod transaction;

use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{ApiError, Caller, Mount, Reply, Service};
use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, StatusCode};

pub use gov::{GovApi, GovElsewhere, GovEndpoints, Governed, Listener, Past};
pub use identities::{IdentityApi, IdentityEndpoints, Proof, Wanted};
pub use ledger::LedgerEndpoints;
pub use node_api::{
    Attestation, NetworkInfo, NodeApi, NodeEntry, NodeInfo, NodeStateInfo, Receipt, ReceiptAnswer, StoppedNetwork,
};

/// Serves `/node`.
pub struct NodeEndpoints {
    node: Arc<dyn NodeApi>,
}

/// One request on its way through a handler.
pub(crate) struct Exchange<'a> {
    pub(crate) node: &'a dyn NodeApi,
    pub(crate) caller: Caller,
    pub(crate) request: Request<Bytes>,
    pub(crate) reply: Reply,
}

/// One row of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    /// Query parameters: name, whether it is required, what it is.
    pub(crate) query: &'static [(&'static str, bool, &'static str)],
    /// What a success answers: media types, and a sentence.
    pub(crate) answers: (&'static [&'static str], &'static str),
    pub(crate) handler: fn(Exchange<'_>),
}

const JSON: &[&str] = &["application/json"];
const TRANSACTION_ID: (&str, bool, &str) = ("transaction_id", true, "a transaction's name, view.seqno");

pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/node/api",
        summary: "This document",
        query: &[],
        answers: (JSON, "OpenAPI 3.0"),
        handler: openapi::document,
    },
    Route {
        method: Method::GET,
        path: "/node/attestations",
        summary: "Evidence of every node of the network",
        query: &[],
        answers: (JSON, "One CMW per trusted node, as the ledger has it"),
        handler: attestations::all,
    },
    Route {
        method: Method::POST,
        path: "/node/attestations/collateral",
        summary: "Brings newer collateral, which its vendor signed",
        query: &[],
        answers: (JSON, "What it is about"),
        handler: attestations::submit,
    },
    Route {
        method: Method::GET,
        path: "/node/attestations/decisions",
        summary: "Which vote made each row of policy what it is",
        query: &[],
        answers: (
            JSON,
            "By map and key: proposal, proposer, and how each member's ballot was counted; rows of the genesis are absent",
        ),
        handler: attestations::decisions,
    },
    Route {
        method: Method::GET,
        path: "/node/attestations/judgements",
        summary: "How every node was judged that ever was in the network",
        query: &[],
        answers: (JSON, "By node id: when, on which basis, each check in words, and how it stands"),
        handler: attestations::judgements,
    },
    Route {
        method: Method::GET,
        path: "/node/attestations/policy",
        summary: "By what nodes are judged",
        query: &[],
        answers: (JSON, "Policy, anchors and collateral in force, in the form in which a genesis has them"),
        handler: attestations::policy,
    },
    Route {
        method: Method::POST,
        path: "/node/attestations/renew",
        summary: "Brings fresh evidence of a node of the network, in the form of a request to join",
        query: &[],
        answers: (JSON, "Whose evidence was renewed"),
        handler: attestations::renew,
    },
    Route {
        method: Method::GET,
        path: "/node/attestations/self",
        summary: "Fresh evidence of this node",
        query: &[("nonce", true, "up to 64 bytes in hex, bound by the evidence")],
        answers: (JSON, "The CMW"),
        handler: attestations::own,
    },
    Route {
        method: Method::GET,
        path: "/node/commit",
        summary: "The newest committed transaction that this node has applied",
        query: &[],
        answers: (JSON, "Its name"),
        handler: transaction::commit,
    },
    Route {
        method: Method::POST,
        path: "/node/join",
        summary: "Asks for admission of a node",
        query: &[],
        answers: (JSON, "What an admitted node needs, sealed to it"),
        handler: join::join,
    },
    Route {
        method: Method::POST,
        path: "/node/join:challenge",
        summary: "A nonce for the evidence of a node that wants to join",
        query: &[],
        answers: (JSON, "The nonce"),
        handler: join::challenge,
    },
    Route {
        method: Method::GET,
        path: "/node/network",
        summary: "The service: its status, certificate, view and primary",
        query: &[],
        answers: (JSON, "The service"),
        handler: network::network,
    },
    Route {
        method: Method::GET,
        path: "/node/network/nodes",
        summary: "The nodes that the network knows",
        query: &[],
        answers: (JSON, "The nodes"),
        handler: network::nodes,
    },
    Route {
        method: Method::POST,
        path: "/node/network:stop",
        summary: "Ends the whole network; for members, who show their certificate",
        query: &[],
        answers: (JSON, "The nodes that end, and those that did not answer"),
        handler: network::stop,
    },
    Route {
        method: Method::GET,
        path: "/node/ready",
        summary: "Whether this node can serve",
        query: &[],
        answers: (&[], "It can"),
        handler: network::ready,
    },
    Route {
        method: Method::GET,
        path: "/node/receipt",
        summary: "Proof that a transaction is committed",
        query: &[TRANSACTION_ID],
        answers: (
            &["application/json", "application/cose"],
            "The receipt, in the form that Accept asks for; 202 with Retry-After if the transaction is still pending",
        ),
        handler: receipt::receipt,
    },
    Route {
        method: Method::GET,
        path: "/node/state",
        summary: "This node",
        query: &[],
        answers: (JSON, "Its id and how far it is"),
        handler: network::state,
    },
    Route {
        method: Method::GET,
        path: "/node/tx",
        summary: "Where a transaction stands",
        query: &[TRANSACTION_ID],
        answers: (JSON, "Unknown, Pending, Committed or Invalid; the last two are final"),
        handler: transaction::status,
    },
    Route {
        method: Method::GET,
        path: "/node/version",
        summary: "The running code",
        query: &[],
        answers: (JSON, "Its name, version and platform"),
        handler: network::version,
    },
];

impl NodeEndpoints {
    pub fn new(node: Arc<dyn NodeApi>) -> Arc<Self> {
        Arc::new(Self { node })
    }
}

impl Service for NodeEndpoints {
    fn mount(&self) -> Mount {
        Mount::Path("/node")
    }

    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply) {
        let of_path = || ROUTES.iter().filter(|route| route.path == request.uri().path());
        match of_path().find(|route| route.method == *request.method()) {
            Some(route) => (route.handler)(Exchange { node: &*self.node, caller, request, reply }),
            None => match of_path().next() {
                Some(other) => {
                    let message = format!("{} answers {} only", other.path, other.method);
                    let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", message);
                    let mut response = error.into_response();
                    let allowed = HeaderValue::from_str(other.method.as_str());
                    response.headers_mut().extend(allowed.map(|method| (ALLOW, method)));
                    reply(response);
                }
                None => {
                    let message = format!("there is nothing at {}", request.uri().path());
                    reply(ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", message).into_response());
                }
            },
        }
    }
}
