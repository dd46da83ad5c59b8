//! Filling one block.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use coco_kv::Snapshot;
use coco_protocol::Admitted;

use super::EthereumPool;
use super::queue::SenderQueue;
use crate::transaction::Transaction;

/// Heads that may be passed over because they do not fit, before the block counts as full.
const MISFITS_MAX: usize = 32;

/// A block that is being filled.
#[derive(Default)]
pub(super) struct Run {
    /// Gas limits that each sender has had executed in this block.
    gas_by_sender: BTreeMap<Address, u64>,
    /// Heads that are kept out of the competition until the block ends, or nobody else is left.
    waiting: Vec<Address>,
    misfits: Vec<Address>,
    /// Whose transaction is being executed.
    executing: Option<Address>,
}

impl EthereumPool {
    /// The best transaction that fits; `None` ends the block.
    pub(super) fn choose(&mut self, now_ms: u64) -> Option<Admitted> {
        let mut run = self.run.take().unwrap_or_default();
        self.heads.set_base_fee(self.chain.base_fee(now_ms));
        let chosen = self.choose_for(&mut run);
        if chosen.is_some() {
            self.run = Some(run);
            return chosen;
        }
        for sender in run.waiting.iter().chain(&run.misfits) {
            self.name_head(sender);
        }
        self.timer_ms = (self.heads.len() > 0).then_some(now_ms);
        None
    }

    fn choose_for(&mut self, run: &mut Run) -> Option<Admitted> {
        let fair_share = self.chain.block_gas_limit() / 2;
        while run.misfits.len() < MISFITS_MAX {
            let Some(sender) = self.heads.best() else {
                // Nobody else wants the rest of the block.
                if run.waiting.is_empty() {
                    return None;
                }
                for sender in std::mem::take(&mut run.waiting) {
                    self.name_head(&sender);
                    run.gas_by_sender.remove(&sender);
                }
                continue;
            };
            self.heads.remove(&sender);
            let Some(pooled) = self.senders.get(&sender).and_then(SenderQueue::first) else { continue };
            if !self.chain.has_room(pooled.transaction()) {
                run.misfits.push(sender);
                continue;
            }
            let gas = run.gas_by_sender.entry(sender).or_default();
            if *gas > 0 && gas.saturating_add(pooled.gas) > fair_share && self.heads.len() > 0 {
                run.waiting.push(sender);
                continue;
            }
            *gas = gas.saturating_add(pooled.gas);
            run.executing = Some(sender);
            return Some(pooled.admitted.clone());
        }
        None
    }

    /// What was chosen has been executed or refused; either way it is gone, and its sender's next comes up.
    pub(super) fn settle(&mut self, admitted: &Admitted, state: &Snapshot) {
        if let Some(run) = &mut self.run {
            run.executing = None;
        }
        let Some(transaction) = admitted.decoded::<Transaction>() else { return };
        if let Some((sender, nonce)) = self.by_hash.get(&transaction.hash).copied() {
            self.remove(&sender, nonce);
        }
        self.realign(&transaction.sender, state);
        for authority in transaction.authorities.iter().flatten() {
            self.realign(authority, state);
        }
    }

    /// Its first transaction is out of the competition, because it is being executed.
    pub(super) fn is_running(&self, sender: &Address) -> bool {
        self.run.as_ref().is_some_and(|run| run.executing.as_ref() == Some(sender))
    }
}
