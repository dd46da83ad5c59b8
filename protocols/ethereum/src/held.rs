//! Transactions that were acknowledged and are in no block yet, as this node remembers them.
//!
//! The pool lies in the memory of the primary alone, and goes with it. So whoever is told that a transaction was taken can rely on a second
//! memory: that of the node that the client spoke to or, if this was the primary, of one that follows it. When the lead changes,
//! each node hands in again what it remembers.
//!
//! ```text
//!   client ─▶ backup ─▶ primary's pool          client ─▶ primary's pool
//!              └ remembers                                  └─ entrusts ─▶ backup, which remembers; then the client is answered
//! ```
//!
//! It is no pool: nothing is ordered or checked here. What is remembered for nothing, because it was replaced or evicted, is refused by the next
//! primary, or forgotten in time. Where there is not room for all, whoever takes the most of it gives way: a sender that replaces its transactions
//! without end pushes out its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use alloy_primitives::{Address, B256, map::HashMap};
use bytes::Bytes;
use coco_protocol::{Admitted, Caller, RejectionReason, Submitted};
use coco_types::{MapName, WriteSet};
use parking_lot::Mutex;

use crate::NAME;
use crate::events::Events;
use crate::pool::PoolLimits;
use crate::rpc::CommittedBlock;

/// As much as the pool holds: what it took is not forgotten here for lack of room.
const TRANSACTIONS_MAX: usize = PoolLimits::DEFAULT.pending_max + PoolLimits::DEFAULT.queued_max;
const BYTES_MAX: usize = PoolLimits::DEFAULT.bytes_max;
/// Of one sender: what the pool holds of it, and as much again several times over that was executed and is not committed yet.
const PER_SENDER_MAX: usize = 4 * PoolLimits::DEFAULT.per_sender_max;
/// What remembering a transaction takes besides its own bytes, roughly.
const BYTES_EACH: usize = 512;
/// As long as the pool keeps what waits behind a gap, milliseconds.
const LIFETIME_MS: u64 = PoolLimits::DEFAULT.queued_lifetime_ms;
/// Ledgers that take no writes, by decision of the members; `*` stands for all.
const CLOSURES: MapName = MapName::from_static("public:ccf.gov.coco.ledger.closed");
/// How often the same primary may refuse what an earlier one took: what it rests on, such as money that another transaction brings, may have been
/// executed there and not committed, and comes again first.
const REFUSALS_MAX: u8 = 20;
/// Handed in again in one piece.
const GROUP: usize = 1_000;

/// See the module's text.
#[derive(Default)]
pub struct Held {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Each with its place in the order.
    transactions: HashMap<B256, (u64, HeldTransaction)>,
    /// In the order in which they came, and when that was: as many as there are transactions.
    order: BTreeMap<u64, (u64, B256)>,
    senders: HashMap<Address, Share>,
    /// The same by what they take.
    by_bytes: BTreeSet<(usize, Address)>,
    next_place: u64,
    bytes: usize,
    /// The view, and the index of the node that leads it, as this node last knew them.
    lead: Option<(u64, u32)>,
    /// To be handed in again.
    again: VecDeque<B256>,
    /// How often this lead has refused one.
    refusals: HashMap<B256, u8>,
    /// A group is on its way.
    handing_in: bool,
}

/// What is remembered of one sender.
#[derive(Default)]
struct Share {
    /// In the order.
    places: BTreeSet<u64>,
    bytes: usize,
}

/// A submission and what admission found of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTransaction {
    pub raw: Bytes,
    pub finding: Bytes,
    pub caller: Caller,
}

impl Held {
    /// Remembers a transaction, unless its block is there already.
    pub fn hold(&self, hash: B256, transaction: HeldTransaction, now_ms: u64, events: &Events) {
        let mut inner = self.inner.lock();
        inner.insert(hash, transaction, now_ms);
        inner.trim(now_ms);
        drop(inner);
        // Its block may have been announced just before it was remembered.
        if events.recent_transaction(&hash).is_some() {
            self.forget(&hash);
        }
    }

    pub fn hold_admitted(&self, admitted: &[Admitted], now_ms: u64, events: &Events) {
        for one in admitted {
            let Ok(hash) = B256::try_from(&one.id[..]) else { continue };
            let (raw, finding, caller) = (one.raw.clone(), one.finding.clone(), one.caller.clone());
            self.hold(hash, HeldTransaction { raw, finding, caller }, now_ms, events);
        }
    }

    pub fn forget(&self, hash: &B256) {
        self.inner.lock().forget(hash);
    }

    /// What this block holds waits no longer.
    pub fn included(&self, block: &CommittedBlock) {
        let mut inner = self.inner.lock();
        block.hashes().iter().for_each(|hash| inner.forget(hash));
    }

    /// When the members close the ledger its pool is emptied, and what waited there is refused: it is not to come back with the next primary.
    pub fn heed_members(&self, writes: &WriteSet) {
        let closes = |key: &[u8]| key == b"*" || key == NAME.as_bytes();
        let mut decisions = writes.map(&CLOSURES).into_iter().flatten();
        if decisions.any(|(key, row)| row.is_some() && closes(key)) {
            self.clear();
        }
    }

    /// The chain went back: what waited is dropped.
    pub fn clear(&self) {
        let mut inner = self.inner.lock();
        *inner = Inner { lead: inner.lead, ..Inner::default() };
    }

    /// Whether it was acknowledged by this node, or entrusted to it, and is in no block yet.
    pub fn contains(&self, hash: &B256) -> bool {
        self.inner.lock().transactions.contains_key(hash)
    }

    /// What is to be handed in again now, as this node knows the lead: nothing unless it has changed, and no two groups at a time.
    /// [`Held::handed_in`] has to follow.
    pub fn next_group(&self, lead: (u64, u32)) -> Vec<(B256, HeldTransaction)> {
        let mut inner = self.inner.lock();
        if inner.lead.replace(lead).is_some_and(|before| before != lead) {
            inner.again = inner.order.values().map(|(_, hash)| *hash).collect();
            inner.refusals.clear();
        }
        if inner.handing_in {
            return Vec::new();
        }
        let mut group = Vec::new();
        while group.len() < GROUP {
            let Some(hash) = inner.again.pop_front() else { break };
            group.extend(inner.transactions.get(&hash).map(|(_, transaction)| (hash, transaction.clone())));
        }
        inner.handing_in = !group.is_empty();
        group
    }

    /// What became of a group.
    pub fn handed_in(&self, answers: impl IntoIterator<Item = (B256, Submitted)>) {
        let mut inner = self.inner.lock();
        inner.handing_in = false;
        let mut later = Vec::new();
        for (hash, submitted) in answers {
            match submitted {
                Submitted::Accepted | Submitted::Committed { .. } => {}
                Submitted::Rejected(rejection) => match rejection.reason {
                    RejectionReason::Duplicate => {}
                    RejectionReason::Busy => later.push(hash),
                    RejectionReason::Refused => inner.refused(hash),
                    RejectionReason::Invalid | RejectionReason::Closed => inner.forget(&hash),
                },
                Submitted::Unknown(_) | Submitted::Unavailable => later.push(hash),
            }
        }
        later.into_iter().rev().for_each(|hash| inner.again.push_front(hash));
    }
}

impl Inner {
    /// The same again keeps its place.
    fn insert(&mut self, hash: B256, transaction: HeldTransaction, now_ms: u64) {
        if self.transactions.contains_key(&hash) {
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.bytes += transaction.bytes();
        self.order.insert(place, (now_ms, hash));
        let sender = transaction.sender();
        let count = self.share(sender, |share| {
            share.bytes += transaction.bytes();
            share.places.insert(place);
        });
        self.transactions.insert(hash, (place, transaction));
        if count > PER_SENDER_MAX {
            self.forget_oldest_of(&sender);
        }
    }

    /// It goes behind all others, which may be what it waits for.
    fn refused(&mut self, hash: B256) {
        let refusals = self.refusals.entry(hash).or_default();
        *refusals += 1;
        match *refusals < REFUSALS_MAX {
            true => self.again.push_back(hash),
            false => self.forget(&hash),
        }
    }

    fn forget(&mut self, hash: &B256) {
        self.refusals.remove(hash);
        if let Some((place, transaction)) = self.transactions.remove(hash) {
            self.order.remove(&place);
            self.bytes -= transaction.bytes();
            self.share(transaction.sender(), |share| {
                share.bytes -= transaction.bytes();
                share.places.remove(&place);
            });
        }
    }

    fn trim(&mut self, now_ms: u64) {
        while let Some((since_ms, hash)) = self.order.values().next().copied() {
            if since_ms.saturating_add(LIFETIME_MS) >= now_ms {
                break;
            }
            self.forget(&hash);
        }
        while self.transactions.len() > TRANSACTIONS_MAX || self.bytes > BYTES_MAX {
            let Some((_, sender)) = self.by_bytes.last().copied() else { return };
            self.forget_oldest_of(&sender);
        }
    }

    fn forget_oldest_of(&mut self, sender: &Address) {
        let oldest = self.senders.get(sender).and_then(|share| share.places.first());
        if let Some((_, hash)) = oldest.and_then(|place| self.order.get(place)).copied() {
            self.forget(&hash);
        }
    }

    /// Changes what one sender takes; how many transactions of it there are then.
    fn share(&mut self, sender: Address, change: impl FnOnce(&mut Share)) -> usize {
        let share = self.senders.entry(sender).or_default();
        self.by_bytes.remove(&(share.bytes, sender));
        change(share);
        let (count, bytes) = (share.places.len(), share.bytes);
        match count {
            0 => drop(self.senders.remove(&sender)),
            _ => drop(self.by_bytes.insert((bytes, sender))),
        }
        count
    }
}

impl HeldTransaction {
    fn bytes(&self) -> usize {
        self.raw.len() + self.finding.len() + BYTES_EACH
    }

    /// What was submitted without one shares the account zero.
    fn sender(&self) -> Address {
        self.finding.first_chunk::<20>().map(Address::from).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use coco_protocol::Rejection;

    use super::*;

    fn hash(number: usize) -> B256 {
        B256::with_last_byte(u8::try_from(number).unwrap())
    }

    fn holding(count: usize) -> Held {
        let held = Held::default();
        for number in 0..count {
            hold(&held, hash(number), &Bytes::from_static(&[0; 100]));
        }
        held
    }

    fn hold(held: &Held, hash: B256, raw: &Bytes) {
        hold_of(held, 0, hash, raw);
    }

    fn hold_of(held: &Held, sender: u8, hash: B256, raw: &Bytes) {
        let finding = Address::with_last_byte(sender).to_vec().into();
        let transaction = HeldTransaction { raw: raw.clone(), finding, caller: Caller::Anonymous };
        held.hold(hash, transaction, 1_000, &Events::default());
    }

    fn hashes(group: &[(B256, HeldTransaction)]) -> Vec<B256> {
        group.iter().map(|(hash, _)| *hash).collect()
    }

    fn refused(reason: RejectionReason) -> Submitted {
        Submitted::Rejected(Rejection::new(reason, -32000, "no"))
    }

    #[test]
    fn what_waits_is_handed_in_again_when_the_lead_changes_and_only_then() {
        let held = holding(3);
        assert!(held.next_group((2, 0)).is_empty());
        assert!(held.next_group((2, 0)).is_empty());
        held.forget(&hash(1));
        let group = held.next_group((3, 1));
        assert_eq!(hashes(&group), [hash(0), hash(2)]);
        assert!(held.next_group((3, 1)).is_empty(), "it is on its way");
        held.handed_in(group.into_iter().map(|(hash, _)| (hash, Submitted::Accepted)));
        assert!(held.next_group((3, 1)).is_empty());
        assert!(held.contains(&hash(0)), "it is in no block yet");
        assert_eq!(hashes(&held.next_group((4, 1))), [hash(0), hash(2)]);
    }

    #[test]
    fn what_a_new_primary_cannot_take_yet_is_handed_in_later_and_what_it_never_takes_is_forgotten() {
        let held = holding(4);
        held.next_group((2, 0));
        let group = hashes(&held.next_group((3, 0)));
        let answers = [
            Submitted::Unavailable,
            refused(RejectionReason::Duplicate),
            refused(RejectionReason::Refused),
            refused(RejectionReason::Busy),
        ];
        held.handed_in(group.into_iter().zip(answers));
        assert!(held.contains(&hash(1)));
        let group = held.next_group((3, 0));
        assert_eq!(hashes(&group), [hash(0), hash(3), hash(2)], "what it refuses may rest on what is behind");
        let invalid = |hash| (hash, refused(RejectionReason::Invalid));
        held.handed_in(hashes(&group).into_iter().map(invalid));
        assert!([0, 2, 3].iter().all(|number| !held.contains(&hash(*number))));
    }

    #[test]
    fn what_a_new_primary_refuses_again_and_again_is_forgotten() {
        let held = holding(1);
        held.next_group((2, 0));
        for _ in 0..REFUSALS_MAX {
            assert!(held.contains(&hash(0)));
            let group = held.next_group((3, 0));
            held.handed_in(hashes(&group).into_iter().map(|hash| (hash, refused(RejectionReason::Refused))));
        }
        assert!(!held.contains(&hash(0)));
        assert!(held.inner.lock().refusals.is_empty());
    }

    #[test]
    fn what_waits_when_the_members_close_the_ledger_is_forgotten() {
        let decides = |key: &'static str, row: Option<&'static str>| {
            let held = holding(1);
            let mut writes = WriteSet::new();
            writes.insert(&CLOSURES, key.into(), row.map(Bytes::from));
            held.heed_members(&writes);
            held.contains(&hash(0))
        };
        assert!(!decides("ethereum", Some("{}")) && !decides("*", Some("{}")));
        assert!(decides("records", Some("{}")) && decides("ethereum", None));
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many_bytes() {
        let (held, third) = (Held::default(), Bytes::from(vec![0; BYTES_MAX / 3 - 2 * BYTES_EACH]));
        for number in 0..5 {
            hold(&held, hash(number), &third);
        }
        assert_eq!([0, 1, 2, 3, 4].map(|number| held.contains(&hash(number))), [false, false, true, true, true]);
        hold(&held, hash(4), &third);
        assert!(held.contains(&hash(2)), "the same again takes no more room");
    }

    #[test]
    fn whoever_takes_the_most_room_gives_way_first() {
        let (held, part) = (Held::default(), Bytes::from(vec![0; BYTES_MAX / 8]));
        hold_of(&held, 1, hash(1), &Bytes::from_static(&[0; 100]));
        for number in 10..30 {
            hold_of(&held, 2, hash(number), &part);
        }
        assert!(held.contains(&hash(1)) && held.contains(&hash(29)) && !held.contains(&hash(10)));
    }

    #[test]
    fn one_sender_pushes_out_its_own_before_it_fills_the_memory() {
        let held = Held::default();
        hold_of(&held, 1, hash(1), &Bytes::new());
        let numbered = |number: usize| B256::from(alloy_primitives::U256::from(1_000 + number));
        for number in 0..=PER_SENDER_MAX {
            hold_of(&held, 2, numbered(number), &Bytes::new());
        }
        assert!(held.contains(&hash(1)));
        assert!(
            !held.contains(&numbered(0)) && held.contains(&numbered(1)) && held.contains(&numbered(PER_SENDER_MAX))
        );
    }

    #[test]
    fn what_comes_and_is_forgotten_again_and_again_leaves_nothing_behind() {
        let held = holding(1);
        for _ in 0..1_000 {
            hold(&held, hash(7), &Bytes::from_static(&[0; 100]));
            held.forget(&hash(7));
        }
        let inner = held.inner.lock();
        assert_eq!((inner.transactions.len(), inner.order.len(), inner.bytes), (1, 1, 120 + BYTES_EACH));
        assert_eq!((inner.senders.len(), inner.by_bytes.len()), (1, 1));
    }
}
