//! The transaction pool: what was admitted and waits for a block. Volatile; lives on the primary.
//!
//! Each sender has a queue ordered by nonce. From the account's nonce on, without a gap, transactions are *pending*; behind a gap
//! they are *queued*. Only the first pending transaction of each sender competes for a place in a block, in an order that is
//! kept as things change ([`heads::Heads`]): choosing, inserting, replacing and evicting cost a logarithm of what the pool holds,
//! and no block makes the pool look at senders that the block did not touch.
//!
//! ```text
//!   insert ──▶ SenderQueue (nonce order) ── first pending ──▶ Heads (tip, then age) ── next ──▶ block ── done ──▶ next of its sender
//! ```

mod answers;
mod heads;
mod index;
mod insert;
mod operations;
mod queue;
mod run;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256, keccak256};
use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{Admitted, Outcome, Pool, Ready, Rejection};

use crate::chain::Chain;
use crate::developer::Operation;
use crate::limits::{
    POOL_BYTES_MAX, POOL_PENDING_MAX, POOL_PER_SENDER_MAX, POOL_QUEUED_LIFETIME_MS, POOL_QUEUED_MAX, POOL_UPLOADS_MAX,
};
use crate::sources::SourceUpload;
use crate::state::{META, META_HEAD};
use crate::transaction::TransactionError;
use heads::{Head, Heads};
use index::{Arrivals, Index};
use operations::{Operations, Stage, Step};
use queue::{Pooled, SenderQueue};
use run::Run;

/// Between two looks whether this node has followed up to the newest block, after it became primary.
const CATCH_UP_MS: u64 = 5;

/// A node that has just become primary may have to follow a last few batches before it can build on them.
enum Awaited {
    Unknown,
    Block(B256),
    /// What it executes itself keeps it ahead from here on.
    Nothing,
}

/// What the pool holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    pub pending_max: usize,
    pub queued_max: usize,
    pub per_sender_max: usize,
    /// Of all transactions as they were submitted.
    pub bytes_max: usize,
    /// A queued transaction is dropped after this time, milliseconds.
    pub queued_lifetime_ms: u64,
}

impl PoolLimits {
    pub const DEFAULT: Self = Self {
        pending_max: POOL_PENDING_MAX,
        queued_max: POOL_QUEUED_MAX,
        per_sender_max: POOL_PER_SENDER_MAX,
        bytes_max: POOL_BYTES_MAX,
        queued_lifetime_ms: POOL_QUEUED_LIFETIME_MS,
    };
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// See the module's text.
pub struct EthereumPool {
    chain: Arc<Chain>,
    limits: PoolLimits,
    senders: BTreeMap<Address, SenderQueue>,
    by_hash: BTreeMap<B256, (Address, u64)>,
    /// How many pooled transactions carry an authorization of an account (EIP-7702).
    authorities: BTreeMap<Address, usize>,
    heads: Heads,
    pending: Index,
    queued: Index,
    queued_since: Arrivals,
    /// Gas limits of everything pending: enough for a whole block starts one early.
    pending_gas: u64,
    bytes: usize,
    next_order: u64,
    /// When the block timer was started.
    timer_ms: Option<u64>,
    /// When something was last asked for to be executed.
    now_ms: u64,
    run: Option<Run>,
    /// What developers asked for, and where the present run stands with it.
    operations: Operations,
    /// What left without being run, until the executor asks.
    dropped: Vec<(Bytes, Rejection)>,
    /// Hash of the newest header, until this node has followed up to it; nothing is run before.
    awaited: Awaited,
}

impl EthereumPool {
    pub fn new(chain: Arc<Chain>) -> Self {
        Self::with_limits(chain, PoolLimits::default())
    }

    pub fn with_limits(chain: Arc<Chain>, limits: PoolLimits) -> Self {
        Self {
            chain,
            limits,
            senders: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            authorities: BTreeMap::new(),
            heads: Heads::default(),
            pending: Index::default(),
            queued: Index::default(),
            queued_since: Arrivals::default(),
            pending_gas: 0,
            bytes: 0,
            next_order: 0,
            timer_ms: None,
            now_ms: 0,
            run: None,
            operations: Operations::default(),
            dropped: Vec::new(),
            awaited: Awaited::Unknown,
        }
    }
}

impl Pool for EthereumPool {
    fn insert(&mut self, admitted: Admitted, state: &Snapshot, now_ms: u64) -> Result<(), Rejection> {
        self.drop_expired(now_ms);
        self.await_head(state);
        if admitted.decoded::<SourceUpload>().is_some() && self.operations.waiting.len() >= POOL_UPLOADS_MAX {
            return Err(TransactionError::PoolFull.into());
        }
        if admitted.decoded::<Operation>().is_some() || admitted.decoded::<SourceUpload>().is_some() {
            self.operations.waiting.push_back(admitted);
            return Ok(());
        }
        self.take_in(admitted, state, now_ms)?;
        if self.heads.len() > 0 {
            self.timer_ms.get_or_insert(now_ms);
        }
        Ok(())
    }

    fn ready(&self, now_ms: u64) -> Ready {
        if !self.operations.waiting.is_empty() {
            return if self.can_build() { Ready::Now } else { Ready::At(now_ms + CATCH_UP_MS) };
        }
        let mining = self.chain.mining();
        if mining.interval_ms > 0 && self.can_build() {
            return Ready::At(self.chain.newest_sealed_ms().saturating_add(mining.interval_ms));
        }
        if !mining.automine || self.chain.network().config.frozen {
            return Ready::Idle;
        }
        let payable_ms = self.heads.fee_cap_max().and_then(|fee_cap| self.chain.payable_from_ms(fee_cap));
        let Some(payable_ms) = payable_ms else { return Ready::Idle };
        if payable_ms > now_ms {
            return Ready::At(payable_ms);
        }
        if !self.can_build() {
            return Ready::At(now_ms + CATCH_UP_MS);
        }
        let interval_ms = self.chain.network().config.block_interval_ms;
        if interval_ms == 0 || self.pending_gas >= self.chain.block_gas_limit() {
            return Ready::Now;
        }
        Ready::At(self.timer_ms.unwrap_or(now_ms) + interval_ms)
    }

    fn next(&mut self, now_ms: u64) -> Option<Admitted> {
        self.now_ms = now_ms;
        if !self.can_build() {
            return None;
        }
        self.awaited = Awaited::Nothing;
        match self.next_operation(now_ms) {
            Step::Operation(admitted) => return Some(admitted),
            Step::Over => return None,
            Step::Transactions => {}
        }
        let chosen = self.choose(now_ms);
        if chosen.is_none() {
            self.operations.stage = Stage::Beginning;
        }
        chosen
    }

    fn done(&mut self, admitted: &Admitted, result: Result<&Outcome, &Rejection>, state: &Snapshot) {
        match admitted.decoded::<Operation>() {
            Some(operation) => self.operated(operation, result.is_ok(), state),
            None if admitted.decoded::<SourceUpload>().is_some() => {}
            None => self.settle(admitted, state),
        }
    }

    fn dropped(&mut self) -> Vec<(Bytes, Rejection)> {
        std::mem::take(&mut self.dropped)
    }

    fn clear(&mut self) {
        *self = Self::with_limits(self.chain.clone(), self.limits);
    }

    fn len(&self) -> usize {
        self.by_hash.len() + self.operations.waiting.len()
    }

    fn answer(&mut self, question: &[u8], state: &Snapshot, _now_ms: u64) -> Result<Bytes, Rejection> {
        self.answer_question(question, state)
    }
}

/// Moves of transactions between being pending, queued and gone. Every change of the pool is made of these.
impl EthereumPool {
    /// Takes a transaction out. Its sender's queue may have a gap then: [`EthereumPool::demote_from`] follows, unless the account
    /// has moved past it.
    fn remove(&mut self, sender: &Address, nonce: u64) -> Option<Pooled> {
        let pooled = self.senders.get_mut(sender)?.remove(nonce)?;
        let transaction = pooled.transaction();
        self.by_hash.remove(&transaction.hash);
        self.bytes -= transaction.raw.len();
        for authority in transaction.authorities.iter().flatten() {
            let left = self.authorities.get(authority).map_or(0, |count| count - 1);
            match left {
                0 => self.authorities.remove(authority),
                _ => self.authorities.insert(*authority, left),
            };
        }
        match pooled.is_pending {
            true => self.forget_pending(sender, &pooled),
            false => {
                self.queued.remove(sender, &pooled);
                self.queued_since.remove(sender, &pooled);
            }
        }
        Some(pooled)
    }

    /// The same for one that was not run: whoever waits for it is told why.
    fn drop_one(&mut self, sender: &Address, nonce: u64, why: TransactionError) -> Option<Pooled> {
        let pooled = self.remove(sender, nonce)?;
        self.dropped.push((pooled.admitted.id.clone(), why.into()));
        Some(pooled)
    }

    fn await_head(&mut self, state: &Snapshot) {
        if !matches!(self.awaited, Awaited::Nothing) {
            self.awaited = Awaited::Block(keccak256(state.get(&META, META_HEAD).unwrap_or_default()));
        }
    }

    fn can_build(&self) -> bool {
        match &self.awaited {
            Awaited::Unknown => false,
            Awaited::Block(hash) => self.chain.can_build_on(hash),
            Awaited::Nothing => true,
        }
    }

    fn forget_pending(&mut self, sender: &Address, pooled: &Pooled) {
        self.pending.remove(sender, pooled);
        self.pending_gas -= pooled.gas;
    }

    /// Makes a sender's queue fit its account again: drops what is used up, opens or closes a gap, names the head.
    fn realign(&mut self, sender: &Address, state: &Snapshot) {
        let Some(queue) = self.senders.get_mut(sender) else { return };
        queue.refresh(state, sender);
        let next = queue.next_nonce;
        for nonce in queue.stale() {
            self.drop_one(sender, nonce, TransactionError::NonceTooLow { next, nonce });
        }
        let Some(queue) = self.senders.get(sender) else { return };
        let (next_nonce, pending_end) = (queue.next_nonce, queue.pending_end);
        let gap = if queue.pooled(next_nonce).is_some() { pending_end } else { next_nonce };
        self.demote_from(sender, gap);
        self.promote(sender);
        self.name_head(sender);
        self.forget_if_empty(sender);
    }

    /// What is pending from `gap` on has lost its predecessor and becomes queued.
    fn demote_from(&mut self, sender: &Address, gap: u64) {
        let Some(queue) = self.senders.get_mut(sender) else { return };
        for pooled in queue.demote_from(gap) {
            self.forget_pending(sender, &pooled);
            self.queued.insert(sender, &pooled);
            self.queued_since.insert(sender, &pooled);
        }
    }

    fn forget_if_empty(&mut self, sender: &Address) {
        if self.senders.get(sender).is_some_and(SenderQueue::is_empty) {
            self.senders.remove(sender);
        }
    }

    /// What follows the pending transactions without a gap becomes pending.
    fn promote(&mut self, sender: &Address) {
        let Some(queue) = self.senders.get_mut(sender) else { return };
        while let Some(pooled) = queue.promotable() {
            self.queued.remove(sender, pooled);
            self.queued_since.remove(sender, pooled);
            pooled.is_pending = true;
            pooled.order = self.next_order;
            self.next_order += 1;
            self.pending.insert(sender, pooled);
            self.pending_gas += pooled.gas;
            queue.pending_end += 1;
        }
    }

    /// Enters the sender's first pending transaction, if there is one, into the competition.
    fn name_head(&mut self, sender: &Address) {
        self.heads.remove(sender);
        if let Some(pooled) = self.senders.get(sender).and_then(SenderQueue::first) {
            self.heads.insert(*sender, Head { tip: pooled.tip, fee_cap: pooled.fee_cap, order: pooled.order });
        }
    }

    fn drop_expired(&mut self, now_ms: u64) {
        let before_ms = now_ms.saturating_sub(self.limits.queued_lifetime_ms);
        while let Some((sender, nonce)) = self.queued_since.older_than(before_ms) {
            self.drop_one(&sender, nonce, TransactionError::Expired);
            self.forget_if_empty(&sender);
        }
    }
}
