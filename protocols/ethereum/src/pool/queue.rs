//! One sender's transactions, by nonce.

use std::collections::BTreeMap;

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, U256};
use coco_kv::Snapshot;
use coco_protocol::Admitted;

use crate::state::ReadState;
use crate::transaction::Transaction;

/// A transaction in the pool.
#[derive(Clone, Debug)]
pub(super) struct Pooled {
    pub admitted: Admitted,
    pub nonce: u64,
    pub gas: u64,
    pub tip: u128,
    pub fee_cap: u128,
    pub cost: U256,
    pub arrived_ms: u64,
    /// Age among those that can be executed: set on arrival, and again when a gap before it closes.
    pub order: u64,
    pub is_pending: bool,
}

/// Everything of one sender.
#[derive(Debug, Default)]
pub(super) struct SenderQueue {
    /// The account's nonce in the newest state.
    pub next_nonce: u64,
    pub balance: U256,
    pub is_delegated: bool,
    /// The nonce after the last pending transaction; equal to `next_nonce` if there is none.
    pub pending_end: u64,
    /// What all transactions together may cost.
    pub cost: U256,
    transactions: BTreeMap<u64, Pooled>,
}

impl Pooled {
    pub fn new(admitted: Admitted, arrived_ms: u64, order: u64) -> Option<Self> {
        let transaction = admitted.decoded::<Transaction>()?;
        let envelope = &transaction.envelope;
        let fee_cap = envelope.max_fee_per_gas();
        Some(Self {
            nonce: envelope.nonce(),
            gas: envelope.gas_limit(),
            tip: envelope.max_priority_fee_per_gas().unwrap_or(fee_cap),
            fee_cap,
            cost: transaction.cost_max(),
            arrived_ms,
            order,
            is_pending: false,
            admitted,
        })
    }

    pub fn transaction(&self) -> &Transaction {
        self.admitted.decoded().expect("only transactions are pooled")
    }

    /// As it was submitted.
    pub fn bytes(&self) -> usize {
        self.transaction().raw.len()
    }

    /// Whether it pays enough more than `old` to take its place: a tenth on both fees, blob transactions twice as much.
    pub fn replaces(&self, old: &Self) -> bool {
        let is_blob = self.transaction().envelope.is_eip4844() || old.transaction().envelope.is_eip4844();
        let percent = if is_blob { 200 } else { 110 };
        let raised = |new: u128, old: u128| new > old && new >= old.saturating_mul(percent).div_ceil(100);
        raised(self.tip, old.tip) && raised(self.fee_cap, old.fee_cap)
    }
}

impl SenderQueue {
    pub fn new(state: &Snapshot, sender: &Address) -> Self {
        let mut queue = Self::default();
        queue.refresh(state, sender);
        queue.pending_end = queue.next_nonce;
        queue
    }

    /// Reads the account again.
    pub fn refresh(&mut self, state: &Snapshot, sender: &Address) {
        let state: &dyn ReadState = state;
        // A row that does not decode stops execution; here it is an account that can pay nothing.
        let account = state.account(sender).ok().flatten().unwrap_or_default();
        self.next_nonce = account.nonce;
        self.balance = account.balance;
        self.is_delegated = account.has_code();
    }

    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    pub fn pooled(&self, nonce: u64) -> Option<&Pooled> {
        self.transactions.get(&nonce)
    }

    /// The transaction that can be executed next.
    pub fn first(&self) -> Option<&Pooled> {
        self.pooled(self.next_nonce).filter(|pooled| pooled.is_pending)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Pooled> {
        self.transactions.values()
    }

    pub fn insert(&mut self, pooled: Pooled) {
        self.cost = self.cost.saturating_add(pooled.cost);
        self.transactions.insert(pooled.nonce, pooled);
    }

    pub fn remove(&mut self, nonce: u64) -> Option<Pooled> {
        let pooled = self.transactions.remove(&nonce)?;
        // Sums that reached the top of the number range are counted anew.
        self.cost = match self.cost {
            U256::MAX => self.iter().fold(U256::ZERO, |sum, pooled| sum.saturating_add(pooled.cost)),
            cost => cost - pooled.cost,
        };
        Some(pooled)
    }

    /// Nonces that the account has passed.
    pub fn stale(&self) -> Vec<u64> {
        self.transactions.range(..self.next_nonce).map(|(nonce, _)| *nonce).collect()
    }

    /// Everything pending from `gap` on loses its pending mark; gives copies of those.
    pub fn demote_from(&mut self, gap: u64) -> Vec<Pooled> {
        let mut demoted = Vec::new();
        if gap < self.pending_end {
            for (_, pooled) in self.transactions.range_mut(gap..self.pending_end) {
                pooled.is_pending = false;
                demoted.push(pooled.clone());
            }
        }
        self.pending_end = self.pending_end.min(gap).max(self.next_nonce);
        demoted
    }

    /// The transaction right after the pending ones.
    pub fn promotable(&mut self) -> Option<&mut Pooled> {
        self.transactions.get_mut(&self.pending_end)
    }
}
