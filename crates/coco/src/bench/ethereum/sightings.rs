//! When each transfer was first seen in the chain, receipt and all.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::B256;

use super::target::Target;
use super::workload::Transfer;

/// See the module's text.
pub struct Sightings {
    index: HashMap<B256, usize>,
    started: Instant,
    next: u64,
    /// Blocks looked at.
    pub blocks: u64,
    /// Since the start, in the order of the transfers.
    pub seen: Vec<Option<Duration>>,
}

impl Sightings {
    /// From the block after `head` on.
    pub fn new(transfers: &[Transfer], started: Instant, head: u64) -> Self {
        let index = transfers.iter().enumerate().map(|(number, transfer)| (transfer.hash, number)).collect();
        Self { index, started, next: head + 1, blocks: 0, seen: vec![None; transfers.len()] }
    }

    /// Looks at the next block: how many transfers are new in it; `None` if it is not there yet.
    pub fn look(&mut self, target: &mut Target) -> anyhow::Result<Option<usize>> {
        if target.block_number()? < self.next {
            return Ok(None);
        }
        let block = target.block(self.next)?;
        if let Some(last) = block.transactions.last() {
            // The block is visible; its receipts count only once they are too.
            while target.receipt(last)?.is_none() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let now = self.started.elapsed();
        let mut new = 0;
        for hash in &block.transactions {
            if let Some(slot @ None) = self.index.get(hash).and_then(|number| self.seen.get_mut(*number)) {
                *slot = Some(now);
                new += 1;
            }
        }
        self.next += 1;
        self.blocks += 1;
        Ok(Some(new))
    }
}
