//! The ledger that the API serves.

use std::sync::Arc;

use coco_protocol::Protocol;

use crate::chain::{Chain, Network};
use crate::events::Events;
use crate::held::Held;
use crate::index::Index;

/// The parts of one Ethereum ledger on one node.
pub struct Ledger {
    pub protocol: Arc<dyn Protocol>,
    pub chain: Arc<Chain>,
    pub index: Arc<Index>,
    pub events: Arc<Events>,
    pub held: Arc<Held>,
}

impl Ledger {
    pub fn network(&self) -> Arc<Network> {
        self.chain.network()
    }

    pub fn chain_id(&self) -> u64 {
        self.network().schedule.chain().chain_id
    }
}
