//! Taking a transaction in: the checks that need state or the pool itself.

use alloy_primitives::Address;
use coco_kv::Snapshot;
use coco_protocol::Admitted;

use super::index::Cheapest;
use super::queue::{Pooled, SenderQueue};
use super::{EthereumPool, Index};
use crate::transaction::{Transaction, TransactionError};

impl EthereumPool {
    pub(super) fn take_in(
        &mut self,
        admitted: Admitted,
        state: &Snapshot,
        now_ms: u64,
    ) -> Result<(), TransactionError> {
        let pooled = Pooled::new(admitted, now_ms, self.next_order)
            .ok_or_else(|| TransactionError::Invalid("not an Ethereum transaction".into()))?;
        let transaction = pooled.transaction();
        if self.by_hash.contains_key(&transaction.hash) {
            return Err(TransactionError::AlreadyKnown);
        }
        self.chain.permissions().check(transaction)?;
        let sender = transaction.sender;
        let empty = SenderQueue::new(state, &sender);
        // Others may have paid or spent for it since its queue was last looked at.
        match self.senders.get_mut(&sender) {
            Some(queue) if queue.next_nonce == empty.next_nonce => {
                queue.balance = empty.balance;
                queue.is_delegated = empty.is_delegated;
            }
            Some(_) => self.realign(&sender, state),
            None => {}
        }
        let queue = self.senders.get(&sender).unwrap_or(&empty);
        let replaced = queue.pooled(pooled.nonce);
        check_account(queue, &pooled, replaced)?;
        if let Some(old) = replaced.filter(|old| !pooled.replaces(old)) {
            debug_assert_eq!(old.nonce, pooled.nonce);
            return Err(TransactionError::ReplacementUnderpriced);
        }
        let is_pending = pooled.nonce <= queue.pending_end;
        let replaced_bytes = replaced.map(Pooled::bytes);
        if replaced.is_none() {
            self.check_sender_limits(&sender, queue)?;
        }
        self.make_room(is_pending, &pooled, replaced_bytes)?;
        self.enter(sender, empty, pooled);
        Ok(())
    }

    fn enter(&mut self, sender: Address, empty: SenderQueue, pooled: Pooled) {
        let nonce = pooled.nonce;
        let replaced = self.drop_one(&sender, nonce, TransactionError::Replaced);
        let was_pending = replaced.is_some_and(|old| old.is_pending);
        let transaction: &Transaction = pooled.transaction();
        self.by_hash.insert(transaction.hash, (sender, nonce));
        self.bytes += transaction.raw.len();
        for authority in transaction.authorities.iter().flatten() {
            *self.authorities.entry(*authority).or_default() += 1;
        }
        self.next_order += 1;
        let queue = self.senders.entry(sender).or_insert(empty);
        let is_head = nonce == queue.next_nonce;
        let is_next = nonce == queue.pending_end;
        let mut pooled = pooled;
        pooled.is_pending = was_pending || is_next;
        if pooled.is_pending {
            self.pending.insert(&sender, &pooled);
            self.pending_gas += pooled.gas;
        } else {
            self.queued.insert(&sender, &pooled);
            self.queued_since.insert(&sender, &pooled);
        }
        queue.pending_end += u64::from(is_next);
        queue.insert(pooled);
        self.promote(&sender);
        if is_head && !self.is_running(&sender) {
            self.name_head(&sender);
        }
    }

    fn check_sender_limits(&self, sender: &Address, queue: &SenderQueue) -> Result<(), TransactionError> {
        // Whoever delegated may have the nonce or the balance of the account move without a transaction of its own.
        let is_delegated = queue.is_delegated || self.authorities.contains_key(sender);
        if is_delegated && !queue.is_empty() {
            return Err(TransactionError::DelegatedInFlight);
        }
        if queue.len() >= self.limits.per_sender_max {
            return Err(TransactionError::PoolFull);
        }
        Ok(())
    }

    /// Evicts what pays less, if there is no room for one more, or for what replaces a smaller one. What is evicted is found first, so that
    /// a refusal evicts nothing.
    fn make_room(
        &mut self,
        is_pending: bool,
        pooled: &Pooled,
        replaced_bytes: Option<usize>,
    ) -> Result<(), TransactionError> {
        let mut evicted = self.too_large(is_pending, pooled, replaced_bytes.unwrap_or(0))?;
        if replaced_bytes.is_none() {
            evicted.extend(self.too_many(is_pending, pooled)?);
        }
        for Cheapest { sender, nonce, .. } in evicted {
            self.drop_one(&sender, nonce, TransactionError::Evicted);
            self.demote_from(&sender, nonce);
            self.name_head(&sender);
            self.forget_if_empty(&sender);
        }
        Ok(())
    }

    /// What has to leave for its bytes. What can be executed takes the place of what waits behind a gap, whatever that would pay: it may
    /// never pay.
    fn too_large(
        &self,
        is_pending: bool,
        pooled: &Pooled,
        replaced_bytes: usize,
    ) -> Result<Vec<Cheapest>, TransactionError> {
        let bytes = (self.bytes + pooled.bytes()).saturating_sub(replaced_bytes);
        let mut excess = bytes.saturating_sub(self.limits.bytes_max);
        let mut evicted = Vec::new();
        if excess == 0 {
            return Ok(evicted);
        }
        let pays_less = |cheapest: &Cheapest| cheapest.tip < pooled.tip;
        let queued = self.queued.cheapest_first().take_while(|cheapest| is_pending || pays_less(cheapest));
        let pending = self.pending.cheapest_first().take_while(|cheapest| is_pending && pays_less(cheapest));
        for cheapest in queued.chain(pending).filter(|cheapest| self.may_evict(cheapest, pooled)) {
            let found = self.senders.get(&cheapest.sender).and_then(|queue| queue.pooled(cheapest.nonce));
            excess = excess.saturating_sub(found.map_or(0, Pooled::bytes));
            evicted.push(cheapest);
            if excess == 0 {
                return Ok(evicted);
            }
        }
        Err(TransactionError::PoolFull)
    }

    /// Which one has to leave for there being too many.
    fn too_many(&self, is_pending: bool, pooled: &Pooled) -> Result<Option<Cheapest>, TransactionError> {
        let all_max = self.limits.pending_max + self.limits.queued_max;
        let (kind, max) = match is_pending {
            true => (&self.pending, self.limits.pending_max),
            false => (&self.queued, self.limits.queued_max),
        };
        let cheapest = if kind.len() >= max {
            Index::cheapest(kind)
        } else if self.by_hash.len() >= all_max {
            self.queued.cheapest().or_else(|| self.pending.cheapest())
        } else {
            return Ok(None);
        };
        let evicted =
            cheapest.filter(|cheapest| cheapest.tip < pooled.tip).filter(|cheapest| self.may_evict(cheapest, pooled));
        evicted.map(Some).ok_or(TransactionError::PoolFull)
    }

    /// Never its own predecessor: it would be behind a gap then.
    fn may_evict(&self, cheapest: &Cheapest, pooled: &Pooled) -> bool {
        cheapest.sender != pooled.transaction().sender && !self.is_running(&cheapest.sender)
    }
}

fn check_account(queue: &SenderQueue, pooled: &Pooled, replaced: Option<&Pooled>) -> Result<(), TransactionError> {
    if pooled.nonce < queue.next_nonce {
        return Err(TransactionError::NonceTooLow { next: queue.next_nonce, nonce: pooled.nonce });
    }
    let others = queue.cost - replaced.map_or_else(Default::default, |old| old.cost.min(queue.cost));
    let cost = others.saturating_add(pooled.cost);
    if cost > queue.balance {
        return Err(TransactionError::InsufficientFunds { balance: queue.balance, cost });
    }
    Ok(())
}
