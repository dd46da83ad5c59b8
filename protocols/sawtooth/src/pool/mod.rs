//! The queue of batches: what was admitted and waits for a block. Volatile; lives on the primary.
//!
//! ```text
//!   insert ─┬─ a dependency is missing ─▶ held ──┐ (released, or given up after a while)
//!           ├─ native families ──────────────────┴▶ runnable ── next ─▶ block ─ done ─▶ releases what depends on it
//!           └─ external families ─▶ lanes ─ prepared ─▶ ┘
//! ```
//!
//! It is bounded by memory, not by an average of what was published lately: whoever finds it full is told so, and it takes in
//! again as soon as there is room.

mod lanes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{Admitted, Outcome, Pool, Ready, Rejection, RejectionReason};

use crate::address::Address;
use crate::batch::SignedBatch;
use crate::block::duplicate;
use crate::chain::{Chain, read_head};
use crate::execute::StateReader;
use crate::governed::Place;
use crate::limits::POOL_BYTES_MAX;
use crate::messages::client::submit_status;
use crate::policy;
use crate::tables::{INVALID, META, META_HEAD, STATE, id_key};
use lanes::Lanes;

/// Between two looks whether this node has followed up to the newest block, after it became primary.
const CATCH_UP_MS: u64 = 5;

/// What the pool holds at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    pub batches_max: usize,
    /// Of batches as they are when decoded.
    pub bytes_max: usize,
    /// Of them, batches whose dependencies are not there.
    pub held_max: usize,
    /// How long a batch waits for its dependencies, milliseconds.
    pub dependency_wait_ms: u64,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { batches_max: 50_000, bytes_max: POOL_BYTES_MAX, held_max: 10_000, dependency_wait_ms: 300_000 }
    }
}

/// Which families are executed by processors outside.
pub trait Externals: Send + Sync {
    fn has(&self, family: &str, version: &str) -> bool;
}

/// See the module's text.
pub struct SawtoothPool {
    chain: Arc<Chain>,
    externals: Arc<dyn Externals>,
    limits: PoolLimits,
    entries: BTreeMap<u64, Entry>,
    by_id: BTreeMap<Bytes, u64>,
    /// Transactions that are missing, and who waits for them.
    awaited: BTreeMap<String, BTreeSet<u64>>,
    /// Held entries by when they are given up.
    held: BTreeSet<(u64, u64)>,
    runnable: BTreeSet<u64>,
    lanes: Lanes,
    bytes: usize,
    next_order: u64,
    last_block_ms: u64,
    /// Id of the newest block until this node has followed up to it; nothing is run before.
    base: Base,
}

struct Entry {
    admitted: Admitted,
    batch: Arc<SignedBatch>,
    missing: BTreeSet<String>,
    give_up_ms: u64,
}

/// A node that has just become primary may have to follow a last few batches before it can build on them.
enum Base {
    Unknown,
    Block(String),
    /// What it executes itself keeps it ahead from here on.
    Own,
}

impl SawtoothPool {
    pub fn new(chain: Arc<Chain>, externals: Arc<dyn Externals>, limits: PoolLimits) -> Self {
        Self {
            chain,
            externals,
            limits,
            entries: BTreeMap::new(),
            by_id: BTreeMap::new(),
            awaited: BTreeMap::new(),
            held: BTreeSet::new(),
            runnable: BTreeSet::new(),
            lanes: Lanes::default(),
            bytes: 0,
            next_order: 0,
            last_block_ms: 0,
            base: Base::Unknown,
        }
    }

    /// Refuses what need not wait to be refused.
    fn check(&self, admitted: &Admitted, batch: &SignedBatch, state: &Snapshot) -> Result<(), Rejection> {
        if self.chain.is_committed(state, &batch.id) {
            return Err(duplicate());
        }
        if self.by_id.contains_key(&admitted.id) {
            return Err(Rejection { message: "the batch is pending already".into(), ..duplicate() });
        }
        if let Err(message) = policy::check(&mut SnapshotState(state), batch) {
            return Err(Rejection::new(RejectionReason::Refused, i64::from(submit_status::INVALID_BATCH), message));
        }
        if self.entries.len() >= self.limits.batches_max || self.bytes + batch.weight > self.limits.bytes_max {
            return Err(full("the queue is full: try again later"));
        }
        Ok(())
    }

    /// Transactions that a batch depends on, that are not committed and not in the batch itself before they are needed.
    fn missing_dependencies(&self, batch: &SignedBatch, state: &Snapshot) -> BTreeSet<String> {
        let mut missing = BTreeSet::new();
        let mut earlier = BTreeSet::new();
        for transaction in &batch.transactions {
            for dependency in &transaction.header.dependencies {
                if !earlier.contains(dependency) && !self.chain.is_committed(state, dependency) {
                    missing.insert(dependency.clone());
                }
            }
            earlier.insert(&transaction.id);
        }
        missing
    }

    /// Puts an entry that lacks nothing where it can go on.
    fn enqueue(&mut self, order: u64) {
        let Some(entry) = self.entries.get(&order) else { return };
        let governed = self.chain.governed();
        let is_prepared = |family: &str, version: &str| {
            let served = self.externals.has(family, version);
            matches!(governed.place(family, version, served).place, Place::External | Place::Contracts(_))
        };
        let external = entry.batch.transactions.iter().map(|transaction| &transaction.header);
        let external = external.into_iter().find(|header| is_prepared(&header.family_name, &header.family_version));
        match external {
            Some(header) => {
                let lane = (header.family_name.clone(), header.family_version.clone());
                self.lanes.push(lane, order, Arc::clone(&entry.batch));
            }
            None => {
                self.runnable.insert(order);
            }
        }
    }

    /// Lets those run that have waited too long: executing them says what is missing.
    fn give_up(&mut self, now_ms: u64) {
        while let Some((_, order)) = self.held.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.held.pop_first();
            self.forget_waiting(order);
            self.runnable.insert(order);
        }
    }

    fn forget_waiting(&mut self, order: u64) {
        let missing = self.entries.get_mut(&order).map(|entry| std::mem::take(&mut entry.missing));
        for id in missing.into_iter().flatten() {
            if let Some(waiting) = self.awaited.get_mut(&id) {
                waiting.remove(&order);
                if waiting.is_empty() {
                    self.awaited.remove(&id);
                }
            }
        }
    }

    /// A transaction that others wait for is committed, or never will be.
    fn resolve(&mut self, transaction: &str, is_committed: bool) {
        for order in self.awaited.remove(transaction).unwrap_or_default() {
            let Some(entry) = self.entries.get_mut(&order) else { continue };
            entry.missing.remove(transaction);
            let give_up_ms = entry.give_up_ms;
            if !is_committed {
                self.held.remove(&(give_up_ms, order));
                self.forget_waiting(order);
                self.runnable.insert(order);
            } else if entry.missing.is_empty() {
                self.held.remove(&(give_up_ms, order));
                self.enqueue(order);
            }
        }
    }

    fn await_base(&mut self, state: &Snapshot) {
        if !matches!(self.base, Base::Own) {
            let head = state.get(&META, META_HEAD).and_then(|head| read_head(&head).ok());
            self.base = Base::Block(head.map(|(_, id)| id).unwrap_or_default());
        }
    }

    fn can_build(&self) -> bool {
        match &self.base {
            Base::Unknown => false,
            Base::Block(id) => self.chain.can_build_on(id),
            Base::Own => true,
        }
    }
}

impl Pool for SawtoothPool {
    fn insert(&mut self, admitted: Admitted, state: &Snapshot, now_ms: u64) -> Result<(), Rejection> {
        if state.get(&META, META_HEAD).is_none() && !matches!(self.base, Base::Own) {
            return Err(full("this network has no Sawtooth ledger"));
        }
        self.await_base(state);
        let batch = admitted.decoded::<Arc<SignedBatch>>().cloned().ok_or_else(|| full("not a Sawtooth batch"))?;
        self.check(&admitted, &batch, state)?;
        let missing = self.missing_dependencies(&batch, state);
        if !missing.is_empty() && self.held.len() >= self.limits.held_max {
            return Err(full("too many batches wait for transactions that are not there"));
        }
        let order = self.next_order;
        self.next_order += 1;
        self.bytes += batch.weight;
        self.by_id.insert(admitted.id.clone(), order);
        for id in &missing {
            self.awaited.entry(id.clone()).or_default().insert(order);
        }
        let is_held = !missing.is_empty();
        let give_up_ms = now_ms.saturating_add(self.limits.dependency_wait_ms);
        self.entries.insert(order, Entry { admitted, batch, missing, give_up_ms });
        match is_held {
            true => drop(self.held.insert((give_up_ms, order))),
            false => self.enqueue(order),
        }
        Ok(())
    }

    /// Batches of one submission share its fate until they are taken in: there is room for all, and each may be sent.
    fn check_together(&self, together: &[Admitted], state: &Snapshot) -> Result<(), Rejection> {
        let (mut batches, mut bytes, mut held) = (0, 0, 0);
        let mut brought = BTreeSet::new();
        for admitted in together {
            let Some(batch) = admitted.decoded::<Arc<SignedBatch>>() else { continue };
            match self.check(admitted, batch, state) {
                Ok(()) => {}
                // What is known already takes no room.
                Err(rejection) if rejection.reason == RejectionReason::Duplicate => continue,
                Err(rejection) => return Err(rejection),
            }
            (batches, bytes) = (batches + 1, bytes + batch.weight);
            held += usize::from(!self.missing_dependencies(batch, state).is_subset(&brought));
            brought.extend(batch.transactions.iter().map(|transaction| transaction.id.clone()));
        }
        let fits = self.entries.len() + batches <= self.limits.batches_max
            && self.bytes + bytes <= self.limits.bytes_max
            && self.held.len() + held <= self.limits.held_max;
        if fits {
            Ok(())
        } else {
            Err(full("the queue has no room for all of this: try again later, or send less at once"))
        }
    }

    fn ready(&self, now_ms: u64) -> Ready {
        let given_up = self.held.first().map(|(at_ms, _)| *at_ms);
        if self.runnable.is_empty() {
            return given_up.map_or(Ready::Idle, |at_ms| if at_ms <= now_ms { Ready::Now } else { Ready::At(at_ms) });
        }
        if !self.can_build() {
            return Ready::At(now_ms + CATCH_UP_MS);
        }
        let due_ms = self.last_block_ms.saturating_add(self.chain.config().block_interval_ms);
        // Waiting gathers nothing while others cannot go on before this block.
        if due_ms <= now_ms || self.lanes.has_blocked() { Ready::Now } else { Ready::At(due_ms) }
    }

    fn next(&mut self, now_ms: u64) -> Option<Admitted> {
        if !self.can_build() {
            return None;
        }
        self.base = Base::Own;
        self.last_block_ms = now_ms;
        self.give_up(now_ms);
        let order = *self.runnable.first()?;
        let entry = self.entries.get(&order).expect("what is runnable is in the pool");
        if self.chain.with_open(|open| !open.has_room(&entry.batch)).unwrap_or(false) {
            return None;
        }
        self.runnable.remove(&order);
        Some(entry.admitted.clone())
    }

    fn done(&mut self, admitted: &Admitted, _result: Result<&Outcome, &Rejection>, state: &Snapshot) {
        let Some(order) = self.by_id.remove(&admitted.id) else { return };
        let Some(entry) = self.entries.remove(&order) else { return };
        self.bytes -= entry.batch.weight;
        self.lanes.release(order);
        for transaction in &entry.batch.transactions {
            let is_included = self.chain.with_open(|open| open.includes(&transaction.id)).unwrap_or(false);
            let is_committed = is_included || self.chain.is_committed(state, &transaction.id);
            self.resolve(&transaction.id, is_committed);
        }
    }

    fn next_to_prepare(&mut self, _now_ms: u64) -> Option<Admitted> {
        let order = self.lanes.next()?;
        self.entries.get(&order).map(|entry| entry.admitted.clone())
    }

    fn prepared(&mut self, id: &[u8]) {
        if let Some(order) = self.by_id.get(id) {
            self.runnable.insert(*order);
        }
    }

    fn conflicted(&mut self, id: &[u8]) {
        if let Some(order) = self.by_id.get(id) {
            self.lanes.again(*order);
        }
    }

    fn clear(&mut self) {
        *self = Self::new(Arc::clone(&self.chain), Arc::clone(&self.externals), self.limits);
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    /// The question is ids, 64 bytes each; the answer one byte for each: 1 if it is on its way.
    fn answer(&mut self, question: &[u8], state: &Snapshot, _now_ms: u64) -> Result<Bytes, Rejection> {
        let ids = question.chunks_exact(64);
        if !ids.remainder().is_empty() {
            let code = i64::from(submit_status::INTERNAL_ERROR);
            return Err(Rejection::new(RejectionReason::Invalid, code, "a question is ids of 64 bytes"));
        }
        // Executed counts as pending too: what asks does not see it committed yet.
        let pending = |id: &[u8]| {
            self.by_id.contains_key(id)
                || self.chain.is_committed(state, &hex::encode(id))
                || state.get(&INVALID, &id_key(&hex::encode(id))).is_some()
        };
        Ok(ids.map(|id| u8::from(pending(id))).collect())
    }
}

struct SnapshotState<'a>(&'a Snapshot);

impl StateReader for SnapshotState<'_> {
    fn read(&mut self, address: &Address) -> Option<Bytes> {
        self.0.get(&STATE, &address.0)
    }
}

fn full(message: &str) -> Rejection {
    Rejection::new(RejectionReason::Busy, i64::from(submit_status::QUEUE_FULL), message)
}
