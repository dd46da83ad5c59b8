//! The component endpoint: where SDK clients, transaction processors and the original REST API connect, over ZeroMQ.
//!
//! ```text
//!   bytes ── zmtp ──▶ messages ── session ─┬─ client requests ──▶ query
//!                                          ├─ subscriptions ────▶ events
//!                                          └─ processors' own ──▶ processors ◀── batches to execute
//!                                                     └─ at a backup: relay ┄┄▶ guests, at the primary
//! ```

mod attested;
mod dispatch;
mod guests;
mod processors;
mod relay;
mod serving;
mod session;
mod zmtp;

#[cfg(test)]
mod attested_tests;
#[cfg(test)]
mod relay_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use coco_protocol::{ChannelBinding, LedgerHandle, Stream, StreamService, StreamSession};

use crate::query::Node;
pub use attested::ATTESTED_LISTENER;
use attested::AttestedService;
pub use guests::Guests;
pub use processors::{Processors, Proof};
use relay::Relay;
use session::Session;

/// The listener's name in a node's configuration.
pub const LISTENER: &str = "sawtooth_component";

/// The component endpoint of one node.
pub struct ComponentService {
    node: Arc<Node>,
    processors: Arc<Processors>,
    guests: Arc<Guests>,
    relay: Arc<Relay>,
}

impl ComponentService {
    pub fn new(
        node: Arc<Node>,
        handle: Arc<dyn LedgerHandle>,
        processors: Arc<Processors>,
        guests: Arc<Guests>,
    ) -> Self {
        Self { node, relay: Relay::new(handle, Arc::clone(&processors)), processors, guests }
    }

    /// The same for processors that prove what they are.
    pub fn attested(&self, handle: Arc<dyn LedgerHandle>) -> Arc<dyn StreamService> {
        let (node, processors, relay) = (self.node.clone(), self.processors.clone(), self.relay.clone());
        Arc::new(AttestedService { node, handle, processors, relay })
    }
}

impl StreamService for ComponentService {
    fn listener(&self) -> &'static str {
        LISTENER
    }

    fn open(&self, stream: Arc<dyn Stream>, _binding: Option<ChannelBinding>) -> Box<dyn StreamSession> {
        let (node, processors, relay) = (self.node.clone(), self.processors.clone(), self.relay.clone());
        Box::new(Session::new(node, processors, relay, stream))
    }

    fn tick(&self) {
        self.guests.tick(self.node.now_ms());
        self.relay.look();
    }
}
