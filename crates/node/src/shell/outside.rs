//! Whether this replica is still in the network. The primary stops talking to a replica in the same step that removes it, so a removed one may never
//! hear that it was: it would stand for election for ever, refused by all, and go on serving what it last knew.
//!
//! A replica that hears of no primary for a while therefore asks the voters that it knows. When most of the others say that it has left, it stops.
//! One of them alone is not believed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coco_consensus::Consensus;
use coco_governance::{NodeRow, NodeStatus};
use coco_rpc::channel::NoAnswer;
use coco_types::{ReplicaId, limits};
use parking_lot::Mutex;

use crate::handle::Shared;
use crate::wire::kind;

/// So long without a primary is no usual election any more; and between two rounds of questions.
const PATIENCE: Duration = Duration::from_millis(3 * limits::ELECTION_TIMEOUT_MS);
const IN: u8 = 0;
const OUT: u8 = 1;

#[derive(Default)]
pub struct Outside {
    /// Since when there is no primary, or when it was asked last.
    waits_since: Option<Instant>,
    /// Those that say that this replica has left.
    told: Arc<Mutex<BTreeSet<ReplicaId>>>,
}

impl Outside {
    /// Looks, and asks now and then; `true`: most of the others say that this replica has left.
    pub fn look(&mut self, shared: &Shared, consensus: &Consensus, now: Instant) -> bool {
        if consensus.primary().is_some() {
            self.waits_since = None;
            self.told.lock().clear();
            return false;
        }
        let others: BTreeSet<ReplicaId> = others(consensus);
        if now.saturating_duration_since(*self.waits_since.get_or_insert(now)) >= PATIENCE {
            self.waits_since = Some(now);
            others.iter().for_each(|other| self.ask(shared, *other));
        }
        most(&others, &self.told.lock())
    }

    fn ask(&self, shared: &Shared, other: ReplicaId) {
        let told = self.told.clone();
        let answered = move |answer: Result<Bytes, NoAnswer>| {
            match answer.as_deref() {
                Ok([OUT]) => told.lock().insert(other),
                Ok(_) => told.lock().remove(&other),
                // What it said before still holds: nobody who has left comes back as the same replica.
                Err(_) => false,
            };
        };
        shared.peers.request(other, kind::MEMBERSHIP, Bytes::new(), PATIENCE, Box::new(answered));
    }
}

/// Every voter that it knows of but itself.
fn others(consensus: &Consensus) -> BTreeSet<ReplicaId> {
    let membership = consensus.membership();
    let voters = membership.voters.union(&membership.voters_outgoing);
    voters.copied().filter(|id| *id != consensus.id()).collect()
}

fn most(others: &BTreeSet<ReplicaId>, told: &BTreeSet<ReplicaId>) -> bool {
    others.intersection(told).count() > others.len() / 2
}

/// What a node answers that is asked: by the committed ledger, which marks a node once it has left the consensus.
pub fn answer(shared: &Shared, from: ReplicaId) -> Bytes {
    let nodes = NodeRow::all(&mut shared.visible.state()).unwrap_or_default();
    Bytes::copy_from_slice(&[if has_left(&nodes, from) { OUT } else { IN }])
}

fn has_left(nodes: &[NodeRow], replica: ReplicaId) -> bool {
    let row = nodes.iter().find(|node| node.info.replica == replica);
    row.is_some_and(|node| node.info.status == NodeStatus::Retired && node.info.retired_committed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_two_or_half_of_four_are_not_most() {
        let set = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect::<BTreeSet<_>>();
        let cases: [(&[u64], &[u64], bool); 6] = [
            (&[], &[], false),
            (&[1], &[1], true),
            (&[1, 2], &[1], false),
            (&[1, 2, 4, 5], &[1, 2], false),
            (&[1, 2, 4, 5], &[1, 2, 5], true),
            (&[1, 2], &[7, 8, 9], false),
        ];
        for (others, told, expected) in cases {
            assert_eq!(most(&set(others), &set(told)), expected, "{others:?} {told:?}");
        }
    }
}
