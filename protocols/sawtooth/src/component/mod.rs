//! The component endpoint: where SDK clients, transaction processors and the original REST API connect, over ZeroMQ.
//!
//! ```text
//!   bytes ── zmtp ──▶ messages ── session ─┬─ client requests ──▶ query
//!                                          ├─ subscriptions ────▶ events
//!                                          └─ processors' own ──▶ processors ◀── batches to execute
//! ```

mod dispatch;
mod processors;
mod session;
mod zmtp;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use coco_protocol::{Stream, StreamService, StreamSession};

use crate::query::Node;
pub use processors::Processors;
use session::Session;

/// The listener's name in a node's configuration.
pub const LISTENER: &str = "sawtooth_component";

/// The component endpoint of one node.
pub struct ComponentService {
    node: Arc<Node>,
    processors: Arc<Processors>,
}

impl ComponentService {
    pub fn new(node: Arc<Node>, processors: Arc<Processors>) -> Self {
        Self { node, processors }
    }
}

impl StreamService for ComponentService {
    fn listener(&self) -> &'static str {
        LISTENER
    }

    fn open(&self, stream: Arc<dyn Stream>) -> Box<dyn StreamSession> {
        Box::new(Session::new(Arc::clone(&self.node), Arc::clone(&self.processors), stream))
    }

    fn tick(&self) {
        self.processors.tick(self.node.now_ms());
    }
}
