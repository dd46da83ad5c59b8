//! Who came back and asked a replica that runs, and whether it must make way for them.
//!
//! ```text
//!   hears no majority ──those that did not ask cannot be one──▶ makes way: nobody can be elected
//!            └─ they can ─▶ waits while each of them has its turn to campaign ──still none──▶ makes way
//! ```
//!
//! The wait begins with the first question, not with the silence before it: a replica that was cut off hears nobody until an election
//! begins, and the others, who followed a primary a moment ago, grant it none before their own time has come.

use std::collections::BTreeMap;

use coco_consensus::{Consensus, Role};
use coco_types::{ReplicaId, limits};

/// The replicas that came back and found no primary here. Times are milliseconds of a clock that does not jump.
pub struct Askers {
    lately: BTreeMap<ReplicaId, u64>,
    since_ms: Option<u64>,
    patience_ms: u64,
}

impl Askers {
    /// Two and a half election timeouts are enough for every backup to have campaigned.
    pub fn new(election_timeout_ms: u64) -> Self {
        Self { lately: BTreeMap::new(), since_ms: None, patience_ms: 5 * election_timeout_ms / 2 }
    }

    pub fn asked_by(&mut self, replica: ReplicaId, now_ms: u64) {
        self.lately.insert(replica, now_ms);
        self.since_ms.get_or_insert(now_ms);
    }

    pub fn forget(&mut self) {
        self.lately.clear();
        self.since_ms = None;
    }

    /// Whether the replica that runs must stop and return too, as those that ask may need its log.
    pub fn must_make_way(&mut self, consensus: &Consensus, now_ms: u64) -> bool {
        self.lately.retain(|_, at| now_ms <= *at + limits::COMEBACK_FRESH_MS);
        if self.lately.is_empty() {
            self.since_ms = None;
        }
        let Some(since_ms) = self.since_ms else { return false };
        let members = consensus.membership();
        if !members.is_voter(consensus.id()) || consensus.role() == Role::Primary || consensus.primary().is_some() {
            return false;
        }
        let mut others = members.ids();
        others.retain(|id| !self.lately.contains_key(id));
        let may_elect = members.has_quorum(&others);
        !consensus.hears_quorum() && (!may_elect || now_ms >= since_ms + self.patience_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use bytes::Bytes;
    use coco_consensus::{BatchError, BatchSpan, BatchStore, Config, Membership, StartPoint};
    use coco_disk::MemoryDisk;
    use coco_types::{Seqno, View};

    use super::*;

    const TIMEOUT_MS: u64 = 1_000;

    struct NoBatches;

    impl BatchStore for NoBatches {
        fn check(&self, _: &[u8]) -> Result<BatchSpan, BatchError> {
            Err(BatchError { reason: "there are none".to_owned() })
        }

        fn misrooted(&self, _: Seqno, _: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
            Ok(None)
        }

        fn append(&mut self, _: &[u8]) -> io::Result<BatchSpan> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn read(&self, _: BatchSpan) -> io::Result<Bytes> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn truncate_after(&mut self, _: Seqno) -> io::Result<()> {
            Ok(())
        }

        fn last(&self) -> Seqno {
            Seqno::ZERO
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Replica 1 of so many, which has run alone for `ticks`.
    fn alone(voters: u64, ticks: u64) -> Consensus {
        let membership = Membership { voters: (1..=voters).map(ReplicaId).collect(), ..Membership::default() };
        let start = StartPoint { index: 0, view: View(0), seqno: Seqno::ZERO, membership };
        let disk = Arc::new(MemoryDisk::new());
        let mut consensus =
            Consensus::create(Config::new(ReplicaId(1)), start, disk, Box::new(NoBatches), Box::new(|| 3)).unwrap();
        for _ in 0..ticks {
            consensus.tick();
            if let Some(persist) = consensus.take_output().unwrap().persist {
                consensus.persisted(persist.number);
            }
        }
        consensus
    }

    #[test]
    fn nobody_who_asked_means_nobody_to_make_way_for() {
        let consensus = alone(3, 200);
        let mut askers = Askers::new(TIMEOUT_MS);
        assert!(!askers.must_make_way(&consensus, 0));
        askers.asked_by(ReplicaId(2), 0);
        assert!(!askers.must_make_way(&consensus, 10_000), "it asked long ago");
        askers.asked_by(ReplicaId(2), 10_000);
        askers.forget();
        assert!(!askers.must_make_way(&consensus, 13_000));
    }

    #[test]
    fn it_makes_way_at_once_if_it_hears_no_majority_and_those_that_ask_leave_none() {
        let consensus = alone(3, 200);
        let mut askers = Askers::new(TIMEOUT_MS);
        askers.asked_by(ReplicaId(2), 0);
        assert!(!askers.must_make_way(&consensus, 0));
        askers.asked_by(ReplicaId(3), 10);
        assert!(askers.must_make_way(&consensus, 10));
    }

    #[test]
    fn a_replica_that_was_cut_off_waits_for_an_election_among_those_that_did_not_ask() {
        let consensus = alone(3, 200);
        assert!(!consensus.hears_quorum(), "its silence alone would have been enough");
        let mut askers = Askers::new(TIMEOUT_MS);
        (0..25).for_each(|tenth| {
            askers.asked_by(ReplicaId(2), 100 * tenth);
            assert!(!askers.must_make_way(&consensus, 100 * tenth));
        });
        askers.asked_by(ReplicaId(2), 2_500);
        assert!(askers.must_make_way(&consensus, 2_500), "nobody was elected");
    }
}
