//! What may be prepared at the same time.
//!
//! Batches come in lanes, one a family, so that a family whose processors hang does not keep others waiting. Of each lane the first
//! few *claim* the addresses that their transactions declare. A batch is prepared once no earlier claim conflicts with its own: one of them
//! writes where the other reads or writes. Then several run at once and come to what they would have come to one after the other; what
//! slips through, as native families make no claims, is found when what was read is checked at the end.
//!
//! Comparing claims is the executor's work, so a claim has few prefixes: what is below another prefix of the same batch is left out, and a batch with
//! very many claims everything.

use crate::limits::{CLAIMED_PREFIXES_ALL_MAX, CLAIMED_PREFIXES_MAX, PREPARED_PER_FAMILY_MAX};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::batch::SignedBatch;

/// A family and its version.
pub type Lane = (String, String);

/// See the module's text.
#[derive(Default)]
pub struct Lanes {
    queues: BTreeMap<Lane, VecDeque<(u64, Arc<SignedBatch>)>>,
    claimed: BTreeMap<Lane, usize>,
    /// Lanes whose first batch may be claimed.
    open: BTreeSet<Lane>,
    /// Of all claims together.
    claimed_prefixes: usize,
    claims: BTreeMap<u64, Claim>,
    /// For each prefix who claims it, and whether to write.
    prefixes: BTreeMap<String, BTreeMap<u64, bool>>,
    /// How many prefixes of each length there are.
    lengths: BTreeMap<usize, usize>,
    /// To be prepared, in order.
    free: BTreeSet<u64>,
    blocked: usize,
}

struct Claim {
    lane: Lane,
    /// Prefixes, and whether they are written.
    wants: BTreeMap<String, bool>,
    /// Earlier claims in the way.
    blockers: BTreeSet<u64>,
    /// Later ones that this one is in the way of.
    blocks: Vec<u64>,
}

impl Lanes {
    pub fn push(&mut self, lane: Lane, order: u64, batch: Arc<SignedBatch>) {
        if self.has_place(&lane) {
            self.open.insert(lane.clone());
        }
        self.queues.entry(lane).or_default().push_back((order, batch));
    }

    /// The next batch to prepare.
    pub fn next(&mut self) -> Option<u64> {
        self.fill();
        self.free.pop_first()
    }

    /// It has to be prepared again.
    pub fn again(&mut self, order: u64) {
        if self.claims.contains_key(&order) {
            self.free.insert(order);
        }
    }

    /// It is done: those behind it may go on.
    pub fn release(&mut self, order: u64) {
        let Some(claim) = self.claims.remove(&order) else { return };
        self.free.remove(&order);
        if let Some(count) = self.claimed.get_mut(&claim.lane) {
            *count -= 1;
            if *count == 0 {
                self.claimed.remove(&claim.lane);
            }
        }
        if self.queues.contains_key(&claim.lane) {
            self.open.insert(claim.lane);
        }
        self.claimed_prefixes -= claim.wants.len();
        for prefix in claim.wants.into_keys() {
            let Some(claimants) = self.prefixes.get_mut(&prefix) else { continue };
            claimants.remove(&order);
            if claimants.is_empty() {
                let count = self.lengths.get_mut(&prefix.len()).expect("each prefix is counted");
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.len());
                }
                self.prefixes.remove(&prefix);
            }
        }
        for later in claim.blocks {
            let Some(claim) = self.claims.get_mut(&later) else { continue };
            if claim.blockers.remove(&order) && claim.blockers.is_empty() {
                self.blocked -= 1;
                self.free.insert(later);
            }
        }
    }

    /// Whether some cannot be prepared before others are done.
    pub fn has_blocked(&self) -> bool {
        self.blocked > 0
    }

    fn has_place(&self, lane: &Lane) -> bool {
        self.claimed.get(lane).is_none_or(|count| *count < PREPARED_PER_FAMILY_MAX)
    }

    fn fill(&mut self) {
        while let Some(lane) = self.open.first().filter(|_| self.claimed_prefixes < CLAIMED_PREFIXES_ALL_MAX).cloned() {
            let queue = if self.has_place(&lane) { self.queues.get_mut(&lane) } else { None };
            let Some((order, batch)) = queue.and_then(VecDeque::pop_front) else {
                self.open.remove(&lane);
                continue;
            };
            if self.queues.get(&lane).is_some_and(VecDeque::is_empty) {
                self.queues.remove(&lane);
            }
            *self.claimed.entry(lane.clone()).or_default() += 1;
            self.claim(lane, order, &batch);
        }
    }

    fn claim(&mut self, lane: Lane, order: u64, batch: &SignedBatch) {
        let wants = wants(batch);
        let mut blockers = BTreeSet::new();
        for (prefix, writes) in &wants {
            if blockers.len() == self.claims.len() {
                break;
            }
            self.conflicting(prefix, *writes, &mut blockers);
        }
        self.claimed_prefixes += wants.len();
        for (prefix, writes) in &wants {
            if !self.prefixes.contains_key(prefix) {
                *self.lengths.entry(prefix.len()).or_default() += 1;
            }
            self.prefixes.entry(prefix.clone()).or_default().insert(order, *writes);
        }
        for blocker in &blockers {
            self.claims.get_mut(blocker).expect("who claims a prefix has a claim").blocks.push(order);
        }
        match blockers.is_empty() {
            true => drop(self.free.insert(order)),
            false => self.blocked += 1,
        }
        self.claims.insert(order, Claim { lane, wants, blockers, blocks: Vec::new() });
    }

    /// Claims on what this prefix begins, and on what begins it.
    fn conflicting(&self, prefix: &str, writes: bool, blockers: &mut BTreeSet<u64>) {
        let mut add = |claimants: &BTreeMap<u64, bool>| {
            let conflicts = claimants.iter().filter(|(_, other_writes)| writes || **other_writes);
            blockers.extend(conflicts.map(|(order, _)| *order));
        };
        let shorter = self.lengths.range(..prefix.len()).filter_map(|(length, _)| prefix.get(..*length));
        shorter.filter_map(|shorter| self.prefixes.get(shorter)).for_each(&mut add);
        let longer = self.prefixes.range(prefix.to_owned()..).take_while(|(other, _)| other.starts_with(prefix));
        longer.for_each(|(_, claimants)| add(claimants));
    }
}

/// The prefixes that a batch's transactions declare, and whether they are written. What is below another one adds nothing.
fn wants(batch: &SignedBatch) -> BTreeMap<String, bool> {
    let mut all: BTreeMap<&str, bool> = BTreeMap::new();
    for transaction in &batch.transactions {
        for input in &transaction.header.inputs {
            all.entry(input).or_default();
        }
        for output in &transaction.header.outputs {
            all.insert(output, true);
        }
    }
    let mut wants: BTreeMap<String, bool> = BTreeMap::new();
    // In their order what a prefix begins follows it, so the one before is the only one of its kind that can begin this.
    let mut above: [Option<&str>; 2] = [None; 2];
    for (prefix, writes) in all {
        let begins = |one: Option<&str>| one.is_some_and(|one| prefix.starts_with(one));
        if begins(above[1]) || (!writes && begins(above[0])) {
            continue;
        }
        above[usize::from(writes)] = Some(prefix);
        wants.insert(prefix.to_owned(), writes);
        if wants.len() > CLAIMED_PREFIXES_MAX {
            return BTreeMap::from([(String::new(), true)]);
        }
    }
    wants
}
