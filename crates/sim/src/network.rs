//! The simulated network: what is on its way, and which links are cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use coco_types::ReplicaId;

use crate::faults::Faults;
use crate::random::Random;

/// Messages in flight, by time of arrival.
#[derive(Default)]
pub struct Network {
    in_flight: BTreeMap<(u64, u64), Envelope>,
    next_number: u64,
    /// One-way cuts.
    cut: BTreeSet<(ReplicaId, ReplicaId)>,
    /// What these are sent is held back for a while.
    withheld: BTreeSet<ReplicaId>,
    /// Lately delivered, for a host that delivers again.
    delivered: VecDeque<Envelope>,
}

/// How long a host holds messages back.
const WITHHELD_MS: (u64, u64) = (300, 2_500);
const DELIVERED_KEPT: usize = 64;

#[derive(Clone)]
pub struct Envelope {
    pub from: ReplicaId,
    pub to: ReplicaId,
    pub kind: Kind,
    pub message: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Consensus,
    /// Of a replica that returns, and what it is answered.
    Question,
    Answer,
}

impl Network {
    /// Delays, and perhaps loses or doubles: then it says so.
    pub fn send(
        &mut self,
        envelope: Envelope,
        now_ms: u64,
        faults: &Faults,
        random: &mut Random,
    ) -> Option<&'static str> {
        if self.cut.contains(&(envelope.from, envelope.to)) {
            return None;
        }
        if faults.loses(random) {
            return Some("message lost");
        }
        let copies = 1 + u64::from(faults.doubles(random));
        for _ in 0..copies {
            let held = self.withheld.contains(&envelope.to);
            let held_ms = if held { random.between(WITHHELD_MS.0, WITHHELD_MS.1) } else { 0 };
            let at = now_ms + faults.delay_ms(random) + held_ms;
            self.in_flight.insert((at, self.next_number), envelope.clone());
            self.next_number += 1;
        }
        (copies > 1).then_some("message doubled")
    }

    pub fn next_arrival_ms(&self) -> Option<u64> {
        self.in_flight.keys().next().map(|(at, _)| *at)
    }

    /// The next message due at or before `now_ms`.
    pub fn arrive(&mut self, now_ms: u64) -> Option<Envelope> {
        let entry = self.in_flight.first_entry().filter(|entry| entry.key().0 <= now_ms)?;
        let envelope = entry.remove();
        if self.delivered.len() == DELIVERED_KEPT {
            self.delivered.pop_front();
        }
        self.delivered.push_back(envelope.clone());
        Some(envelope)
    }

    /// Delivers something once more that was delivered lately.
    pub fn replay(&mut self, now_ms: u64, random: &mut Random) -> bool {
        let Some(any) = self.delivered.len().checked_sub(1) else { return false };
        let any = usize::try_from(random.between(0, any as u64)).unwrap_or(0);
        self.in_flight.insert((now_ms + 1, self.next_number), self.delivered[any].clone());
        self.next_number += 1;
        true
    }

    /// Holds back what a node is sent, or lets it through again.
    pub fn withhold(&mut self, id: ReplicaId) {
        if !self.withheld.remove(&id) {
            self.withheld.insert(id);
        }
    }

    /// Cuts or mends one direction of a link.
    pub fn set_cut(&mut self, from: ReplicaId, to: ReplicaId, cut: bool) {
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    pub fn is_cut(&self, from: ReplicaId, to: ReplicaId) -> bool {
        self.cut.contains(&(from, to))
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        self.withheld.clear();
    }
}
