//! How each [`Mutant`] is acted out: by what a replica hears and says, by its disk, by its shell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coco_consensus::{Committed, Consensus, Resume, Role};
use coco_types::{ReplicaId, View};
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use crate::Mutant;
use crate::batches::FileBatches;
use crate::invariants::parse;
use crate::network::Network;

/// Votes that candidates were given: (candidate, kind, term) → voters.
#[derive(Default)]
pub(crate) struct Grants(BTreeMap<(u64, i32, u64), BTreeSet<ReplicaId>>);

/// An old disk is kept so often.
const IMAGE_TICKS: u64 = 20;

impl Network {
    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(crate) fn plant_in(&self, ledger: &FileBatches) {
        if self.is(Mutant::LosesTruncations) {
            ledger.lose_truncations();
        }
    }

    /// What a replica hears instead.
    pub(crate) fn heard(&self, from: u64, to: u64, bytes: Bytes) -> Bytes {
        let Some(core) = self.view_of(to) else { return bytes };
        let (Some(mutant), mut message) = (self.mutant, parse(&bytes)) else { return bytes };
        match (mutant, message.get_msg_type()) {
            (Mutant::NackCountsAsAck, MessageType::MsgAppendResponse) => message.reject = false,
            (Mutant::TakesHeartbeatsForAppends, MessageType::MsgHeartbeat) => {
                let committed = self.view_of(from).map_or(0, Consensus::committed);
                message.commit = message.commit.max(committed.min(core.last_index()));
            }
            (Mutant::VotesForShorterLogs, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote) => {
                message.index = core.last_index();
                message.log_term = core.view_at(message.index).map_or(0, |view| view.0);
            }
            _ => return bytes,
        }
        encoded(&message)
    }

    /// What it says instead.
    pub(crate) fn said(&self, id: u64, to: u64, bytes: Bytes) -> Bytes {
        let Some(core) = self.view_of(id) else { return bytes };
        let (Some(mutant), mut message) = (self.mutant, parse(&bytes)) else { return bytes };
        let leads = core.role() == Role::Primary;
        match (mutant, message.get_msg_type()) {
            (Mutant::CommitsByCounting, MessageType::MsgHeartbeat | MessageType::MsgAppend) if leads => {
                let of = |id: u64| core.progress().iter().find(|peer| peer.id.0 == id).map_or(0, |peer| peer.matched);
                message.commit = message.commit.max(counted(core).min(of(to)));
            }
            (Mutant::AcknowledgesItsWholeLog, MessageType::MsgAppendResponse) if !message.reject => {
                message.index = message.index.max(core.last_index());
            }
            (Mutant::SealsASlotTwice, MessageType::MsgAppend) if to.is_multiple_of(2) => {
                for entry in message.mut_entries().iter_mut().filter(|entry| entry.term == core.view().0) {
                    let mut data = entry.data.to_vec();
                    if let Some(last) =
                        data.last_mut().filter(|_| entry.get_entry_type() == raft::eraftpb::EntryType::EntryNormal)
                    {
                        *last ^= 1;
                    }
                    entry.data = data.into();
                }
            }
            _ => return bytes,
        }
        encoded(&message)
    }

    /// What follows from a message beside what the replica made of it.
    pub(crate) fn after_delivery(&mut self, id: u64, bytes: &[u8]) {
        match self.mutant {
            Some(Mutant::VotesOfTheUnion) => self.count_the_union(id, &parse(bytes)),
            Some(Mutant::TruncatesWithoutConflict) => self.cut_behind(id, &parse(bytes)),
            Some(Mutant::RetiresAtOnce) if self.view_of(id).is_some_and(|core| core.role() == Role::Removed) => {
                self.stop(id);
                self.retired.insert(id);
            }
            _ => {}
        }
    }

    /// Once old and new voters together are a majority, all have voted.
    fn count_the_union(&mut self, id: u64, message: &Message) {
        use MessageType::{MsgRequestPreVoteResponse, MsgRequestVoteResponse};
        let kind = message.get_msg_type();
        let Some(core) = self.view_of(id).filter(|core| core.membership().is_joint()) else { return };
        if ![MsgRequestVoteResponse, MsgRequestPreVoteResponse].contains(&kind) || message.reject {
            return;
        }
        let voters: BTreeSet<_> = core.membership().voters.union(&core.membership().voters_outgoing).copied().collect();
        let given = self.grants.0.entry((id, kind as i32, message.term)).or_default();
        given.insert(ReplicaId(message.from));
        given.insert(ReplicaId(id));
        if given.len() <= voters.len() / 2 {
            return;
        }
        for voter in voters.into_iter().filter(|voter| voter.0 != id) {
            let mut forged = message.clone();
            forged.from = voter.0;
            // Too late, if it leads already.
            let _ = self.core(id).step(voter, &encoded(&forged));
            self.collect(id);
        }
    }

    /// Cuts what the append did not cover, as far as the log lets itself be cut.
    fn cut_behind(&mut self, id: u64, message: &Message) {
        let Some(core) = self.view_of(id) else { return };
        let end = message.index + message.get_entries().len() as u64;
        let is_append = message.get_msg_type() == MessageType::MsgAppend && View(message.term) == core.view();
        let after = end.max(core.committed());
        let agrees = core.view_at(end).is_some();
        if !is_append || !agrees || after >= core.last_index() {
            return;
        }
        self.stop(id);
        let mut log = self.resting(id);
        log.replace_tail(after, Vec::new()).expect("what is not known to be committed can be cut");
        drop(log.close());
        self.restart(id);
    }

    /// The log of a replica that does not run.
    pub fn resting(&self, id: u64) -> Resume {
        let disk = self.replicas[&id].disk.clone();
        let batches = Box::new(FileBatches::open(disk.clone()));
        Resume::open(ReplicaId(id), Arc::new(disk), batches).expect("a log that was written opens")
    }

    pub(crate) fn before_restart(&mut self, id: u64) {
        match self.mutant {
            Some(Mutant::ForgetsItsVote) => {
                let mut log = self.resting(id);
                log.hand_to_fresh_replica().expect("the disk works");
                drop(log.close());
            }
            Some(Mutant::GoesOnFromAnOldDisk) => {
                if let Some(image) = self.images.get(&id).map(coco_disk::MemoryDisk::image)
                    && let Some(replica) = self.replicas.get_mut(&id)
                {
                    replica.disk = image;
                }
            }
            _ => {}
        }
    }

    /// Keeps the state of one disk now and then.
    pub(crate) fn keep_old_disks(&mut self) {
        if !self.now.is_multiple_of(IMAGE_TICKS) {
            return;
        }
        let running = self.running();
        let turn = usize::try_from(self.now / IMAGE_TICKS).unwrap_or(0);
        if let Some(id) = running.get(turn % running.len().max(1)) {
            self.keep_image(*id);
        }
    }

    /// Keeps this replica's disk as it is now.
    pub fn keep_image(&mut self, id: u64) {
        self.images.insert(id, self.replicas[&id].disk.image());
    }

    pub(crate) fn apply_early(&mut self, id: u64, index: u64) {
        let Some(core) = self.view_of(id).filter(|_| self.is(Mutant::AppliesBeforeCommit)) else { return };
        if let (Some(view), Some(kind)) = (core.view_at(index), core.kind_at(index)) {
            self.check_committed(id, &Committed { index, view, kind });
        }
    }

    pub(crate) fn answer_read_at_once(&mut self, id: u64, token: u64, floor: u64) {
        let Some(core) = self.view_of(id).filter(|_| self.is(Mutant::ReadsWithoutAsking)) else { return };
        let index = core.committed();
        self.invariants
            .require(index >= floor, || format!("read {token} was answered at {index}, after {floor} was committed"));
    }
}

/// What a majority of each active set holds, whatever its view.
fn counted(core: &Consensus) -> u64 {
    let held = |id: &ReplicaId| match core.progress().iter().find(|peer| peer.id == *id) {
        Some(peer) => peer.matched,
        None if *id == core.id() => core.last_index(),
        None => 0,
    };
    let of = |voters: &BTreeSet<ReplicaId>| {
        let mut held: Vec<u64> = voters.iter().map(held).collect();
        held.sort_unstable();
        held.get(held.len().saturating_sub(1) / 2).copied().unwrap_or(u64::MAX)
    };
    of(&core.membership().voters).min(of(&core.membership().voters_outgoing))
}

fn encoded(message: &Message) -> Bytes {
    Bytes::from(message.write_to_bytes().expect("a message encodes"))
}
