//! What developers ask for, and sources of contracts, go before all transactions, in the order in which they came. Each is a run of its own;
//! only a block that was asked for takes transactions in.

use std::collections::VecDeque;

use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{Admitted, Caller};

use super::EthereumPool;
use crate::developer::Operation;
use crate::rpc::Dropped;
use crate::transaction::TransactionError;
use alloy_primitives::Address;

#[derive(Default)]
pub(super) struct Operations {
    pub waiting: VecDeque<Admitted>,
    pub stage: Stage,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Beginning,
    /// Transactions are being chosen.
    Filling,
    /// An operation was all of it.
    Over,
}

pub(super) enum Step {
    Operation(Admitted),
    Transactions,
    Over,
}

impl EthereumPool {
    pub(super) fn next_operation(&mut self, now_ms: u64) -> Step {
        match self.operations.stage {
            Stage::Filling => return Step::Transactions,
            Stage::Over => {
                self.operations.stage = Stage::Beginning;
                return Step::Over;
            }
            Stage::Beginning => {}
        }
        let asked_for = self.operations.waiting.pop_front().or_else(|| self.periodic(now_ms));
        if let Some(admitted) = asked_for {
            let fills = admitted.decoded::<Operation>().is_some_and(Operation::takes_transactions);
            self.operations.stage = if fills { Stage::Filling } else { Stage::Over };
            return Step::Operation(admitted);
        }
        let mining = self.chain.mining();
        if mining.interval_ms > 0 || !mining.automine {
            return Step::Over;
        }
        self.operations.stage = Stage::Filling;
        Step::Transactions
    }

    /// The block that is due because time passed.
    fn periodic(&self, now_ms: u64) -> Option<Admitted> {
        let interval_ms = self.chain.mining().interval_ms;
        let due = interval_ms > 0 && now_ms >= self.chain.newest_sealed_ms().saturating_add(interval_ms);
        let mine = Operation::Mine { timestamp_s: None };
        due.then(|| mine.admitted(Bytes::from_static(b"interval"), Caller::Anonymous))
    }

    pub(super) fn operated(&mut self, operation: &Operation, succeeded: bool, state: &Snapshot) {
        if !succeeded {
            self.operations.stage = Stage::Over;
            return;
        }
        match operation {
            Operation::Edit { address, .. } => self.realign(address, state),
            Operation::Load(accounts) => accounts.keys().for_each(|address| self.realign(address, state)),
            Operation::Revert(_) => drop(self.drop_asked(&Dropped::All)),
            Operation::Set(_)
            | Operation::Import(_)
            | Operation::Mine { .. }
            | Operation::MineEmpty { .. }
            | Operation::Snapshot => {}
        }
        // What an operation made executable waits for its block like what comes.
        if self.heads.len() > 0 {
            self.timer_ms.get_or_insert(self.now_ms);
        }
    }

    /// Whether there was anything to drop.
    pub(super) fn drop_asked(&mut self, which: &Dropped) -> bool {
        if !self.chain.network().config.dev {
            return false;
        }
        let mut places: Vec<(Address, u64)> = match which {
            Dropped::One(hash) => self.by_hash.get(hash).copied().into_iter().collect(),
            Dropped::Of(sender) => self.by_hash.values().filter(|(of, _)| of == sender).copied().collect(),
            Dropped::All => self.by_hash.values().copied().collect(),
        };
        places.sort_unstable();
        for (sender, nonce) in places.iter().rev() {
            self.drop_one(sender, *nonce, TransactionError::Dropped);
            self.demote_from(sender, *nonce);
            self.name_head(sender);
            self.forget_if_empty(sender);
        }
        !places.is_empty()
    }
}
