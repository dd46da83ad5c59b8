//! TLS and HTTP serving: listeners of hosted ledgers, the node's own API, metrics and health, and the channels between nodes.
//!
//! ```text
//!   TcpListener ─▶ connections (caps, eviction) ─▶ [TLS ─▶ Caller] ─▶ hyper ─▶ body limits ─▶ workers ─▶ Service::begin
//!                                                                       └─ WebSocket ─▶ workers ─▶ SocketSession::begin
//!                                                                                                   └─ Rest ─▶ workers for long work
//! ```
//!
//! Everything that a client reaches is a [`coco_protocol::Service`]: a ledger's wire API, `/node`, `/app`, the admin pages.
//! A listener adds only what all of them need: limits, identity, and the way to a thread that may compute.

pub mod admin;
pub mod authentication;
pub mod channel;
pub mod endpoints;
mod error;
pub mod metrics;
mod serve;
pub mod tls;

pub use error::Error;
pub use serve::{Aside, Job, Listener, ListenerLimits, Server};
