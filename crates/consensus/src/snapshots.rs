//! Snapshots as consensus sees them: a place in the log below which it may forget, and an offer to a replica that lacks what is
//! forgotten.
//!
//! ```text
//!   primary: log begins behind what a backup lacks ── MsgSnapshot: place, configuration, log's beginning, a note ──▶ backup
//!      again every election timeout, until it answers with something that the log still has            │
//!                                                                          Output::snapshot_offered ◀──┘
//!                                              fetch it elsewhere, stop, Consensus::install, open again: the rest is appended
//! ```
//!
//! The raft crate never restores a snapshot here: to it, an offer is a message from the primary that is answered with what is
//! committed. The state is large, travels in pieces, and must be on disk whole before the log may begin with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use coco_disk::Disk;
use coco_types::{ReplicaId, View};
use raft::eraftpb::{Message, Snapshot};
use raft::{ProgressTracker, SnapshotStatus, StateRole};

use crate::consensus::Consensus;
use crate::log::RaftLog;
use crate::{BatchStore, Error, Membership, Refused, StartPoint};

/// A note is a name and a digest.
const NOTE_BYTES_MAX: usize = 256;
const FIRST_INDEX_BYTES: usize = 8;

/// The newest snapshot that this replica can give to others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotMark {
    pub start: StartPoint,
    /// What the node needs to fetch it; consensus does not look at it.
    pub note: Bytes,
}

/// A primary's log no longer holds what this replica lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotOffered {
    pub from: ReplicaId,
    pub index: u64,
    pub view: View,
    pub note: Bytes,
}

impl Consensus {
    /// From now on, replicas that lack what this log has forgotten are offered this snapshot.
    pub fn set_snapshot(&mut self, mark: SnapshotMark) {
        self.raw().mut_store().set_snapshot(mark);
    }

    /// Forgets the entries up to `start`, which a snapshot covers; keep enough of them that a backup that merely lags needs none.
    /// `false` if there is nothing to forget.
    pub fn compact(&mut self, start: StartPoint) -> Result<bool, Error> {
        let (first, applied) = (self.log().start().index, self.applied_index());
        let known = self.log().view_at(start.index) == Some(start.view)
            && self.log().seqno_at(start.index) == Some(start.seqno);
        if self.has_failed() || start.index <= first || start.index > applied || !known {
            return Ok(false);
        }
        self.record_state();
        let persisted = self.raft().raft_log.persisted;
        self.raw().mut_store().compact(start, persisted)?;
        self.forget_log_lengths();
        Ok(true)
    }

    /// Whether the log on this disk holds this place, or begins behind it.
    pub fn holds(disk: &Arc<dyn Disk>, batches: Box<dyn BatchStore>, start: &StartPoint) -> Result<bool, Error> {
        RaftLog::holds(disk, batches, start)
    }

    /// Begins the log of this disk anew at a snapshot that it does not hold, for [`Consensus::open`]. The replica's term and vote
    /// stay: it is the same one.
    pub fn install(
        disk: &Arc<dyn Disk>,
        batches: Box<dyn BatchStore>,
        id: ReplicaId,
        start: StartPoint,
        removed: &BTreeSet<ReplicaId>,
    ) -> Result<(), Error> {
        RaftLog::install(disk, batches, id, start, removed)
    }

    /// Takes the offer out of a primary's message; what is left of it only makes the crate answer.
    pub(crate) fn take_offer(&self, message: &mut Message) -> Option<SnapshotOffered> {
        let snapshot = std::mem::take(message.mut_snapshot());
        message.set_snapshot(Snapshot::default());
        let (first_index, note) = split_data(snapshot.get_data())?;
        let lacking = message.term >= self.raft().term && self.committed() + 1 < first_index;
        let metadata = snapshot.get_metadata();
        let (from, index, view) = (ReplicaId(message.from), metadata.index, View(metadata.term));
        lacking.then(|| SnapshotOffered { from, index, view, note: Bytes::copy_from_slice(note) })
    }

    /// An offer may be lost, or refused by a replica that was busy: it is made again.
    pub(crate) fn offer_again(&mut self) {
        if self.raft().state != StateRole::Leader {
            return;
        }
        for id in waiting_for_snapshot(self.raft().prs()) {
            self.raw().report_snapshot(id, SnapshotStatus::Failure);
        }
    }
}

fn waiting_for_snapshot(progress: &ProgressTracker) -> Vec<u64> {
    let mut ids: Vec<u64> =
        progress.iter().filter(|(_, one)| one.state == raft::ProgressState::Snapshot).map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids
}

/// What a primary tells beside the place: where its log begins, and the note.
pub(crate) fn data(first_index: u64, note: &[u8]) -> Bytes {
    let mut data = BytesMut::with_capacity(FIRST_INDEX_BYTES + note.len());
    data.put_u64_le(first_index);
    data.put_slice(note);
    data.freeze()
}

fn split_data(data: &[u8]) -> Option<(u64, &[u8])> {
    let (first_index, note) = data.split_first_chunk::<FIRST_INDEX_BYTES>()?;
    Some((u64::from_le_bytes(*first_index), note))
}

/// What holds for an offer whatever this replica's state.
pub(crate) fn check_offer(snapshot: &Snapshot, number_max: u64) -> Result<(), Refused> {
    let metadata = snapshot.get_metadata();
    let in_range = |number: u64| (1..=number_max).contains(&number);
    let (first_index, note) = split_data(snapshot.get_data()).ok_or(Refused::Range { field: "snapshot" })?;
    let valid = in_range(metadata.index)
        && in_range(metadata.term)
        && in_range(first_index)
        && note.len() <= NOTE_BYTES_MAX
        && Membership::from_conf_state(metadata.get_conf_state()).is_sound();
    if valid { Ok(()) } else { Err(Refused::Range { field: "snapshot" }) }
}
