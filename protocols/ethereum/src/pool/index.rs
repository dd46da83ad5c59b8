//! Where to find the cheapest and the oldest transaction of a kind.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use alloy_primitives::Address;

use super::queue::Pooled;

/// All pending, or all queued transactions.
#[derive(Default, Debug)]
pub(super) struct Index {
    /// Lowest tip first; among equals the youngest.
    by_price: BTreeSet<(u128, Reverse<u64>, Address, u64)>,
    by_age: BTreeSet<(u64, Address, u64)>,
}

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
        self.by_age.insert((pooled.arrived_ms, *sender, pooled.nonce));
    }

    pub fn remove(&mut self, sender: &Address, pooled: &Pooled) {
        self.by_price.remove(&(pooled.tip, Reverse(pooled.order), *sender, pooled.nonce));
        self.by_age.remove(&(pooled.arrived_ms, *sender, pooled.nonce));
    }

    pub fn cheapest(&self) -> Option<Cheapest> {
        self.cheapest_first().next()
    }

    pub fn cheapest_first(&self) -> impl Iterator<Item = Cheapest> {
        self.by_price.iter().map(|(tip, _, sender, nonce)| Cheapest { sender: *sender, nonce: *nonce, tip: *tip })
    }

    pub fn older_than(&self, before_ms: u64) -> Option<(Address, u64)> {
        let (arrived_ms, sender, nonce) = self.by_age.first()?;
        (*arrived_ms < before_ms).then_some((*sender, *nonce))
    }
}
