//! Where to find the cheapest transaction of a kind, and the oldest of those that wait behind a gap.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use alloy_primitives::Address;

use super::queue::Pooled;

/// All pending, or all queued transactions.
#[derive(Default, Debug)]
pub(super) struct Index {
    /// Lowest tip first; among equals the youngest.
    by_price: BTreeSet<(u128, Reverse<u64>, Address, u64)>,
}

/// When the queued ones arrived.
#[derive(Default, Debug)]
pub(super) struct Arrivals(BTreeSet<(u64, Address, u64)>);

/// Where a transaction is, and its tip.
pub(super) struct Cheapest {
    pub sender: Address,
    pub nonce: u64,
    pub tip: u128,
}

impl Index {
    pub fn len(&self) -> usize {
        self.by_price.len()
    }

    pub fn insert(&mut self, sender: &Address, pooled: &Pooled) {
        self.by_price.insert((pooled.tip, Reverse(pooled.order), *sender, pooled.nonce));
    }

    pub fn remove(&mut self, sender: &Address, pooled: &Pooled) {
        self.by_price.remove(&(pooled.tip, Reverse(pooled.order), *sender, pooled.nonce));
    }

    pub fn cheapest(&self) -> Option<Cheapest> {
        self.cheapest_first().next()
    }

    pub fn cheapest_first(&self) -> impl Iterator<Item = Cheapest> {
        self.by_price.iter().map(|(tip, _, sender, nonce)| Cheapest { sender: *sender, nonce: *nonce, tip: *tip })
    }
}

impl Arrivals {
    pub fn insert(&mut self, sender: &Address, pooled: &Pooled) {
        self.0.insert((pooled.arrived_ms, *sender, pooled.nonce));
    }

    pub fn remove(&mut self, sender: &Address, pooled: &Pooled) {
        self.0.remove(&(pooled.arrived_ms, *sender, pooled.nonce));
    }

    pub fn older_than(&self, before_ms: u64) -> Option<(Address, u64)> {
        let (arrived_ms, sender, nonce) = self.0.first()?;
        (*arrived_ms < before_ms).then_some((*sender, *nonce))
    }
}
