//! What a replica hands to its shell, and what it tells about itself.

use bytes::Bytes;
use coco_types::{ReplicaId, Seqno, View};

use crate::{BatchSpan, SnapshotOffered};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Primary,
    Backup,
    Candidate,
    /// Receives the log, does not vote. Also a joiner that is not in the configuration yet.
    Learner,
    /// Has applied its own removal. Still answers votes, so that the others can finish; the shell stops it later.
    Removed,
}

/// The place that the next proposal will get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    pub index: u64,
    pub view: View,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    Batch(BatchSpan),
    /// Takes effect inside, when [`crate::Consensus::applied`] reaches it.
    Membership,
    /// A new primary's first entry.
    Empty,
}

/// One committed entry, in order, each once per opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    pub index: u64,
    pub view: View,
    pub kind: EntryKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// A quorum confirmed this primary after the read was asked for, and everything up to `index` is applied here.
    Confirmed { token: u64, index: u64 },
    /// Leadership was lost before the read was confirmed.
    Lost { token: u64 },
}

/// A request to sync files. Answered by [`crate::Consensus::persisted`] with the number, in order; a later one covers
/// those before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Persist {
    pub number: u64,
    /// The file of the consensus disk.
    pub log_file: &'static str,
    /// The batch store changed as well: its files must be synced too before the answer.
    pub batches: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoleChange {
    pub role: Role,
    pub view: View,
    pub primary: Option<ReplicaId>,
}

/// How a peer does, as its primary sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerProgress {
    pub id: ReplicaId,
    /// The last entry known to be durable there.
    pub matched: u64,
    /// The last entry that it said it knows to be committed.
    pub committed: u64,
    /// Ticks since its last message; counted from this replica's election if there was none.
    pub silent_ticks: u64,
    /// Silent for less than an election timeout.
    pub recent_active: bool,
}

/// Everything that happened since the last call, to be acted on in the order of the fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Output {
    pub role_changed: Option<RoleChange>,
    /// The batch store was cut: every transaction from this one on is gone, and perhaps rewritten since.
    pub truncated: Option<Seqno>,
    pub messages: Vec<(ReplicaId, Bytes)>,
    pub persist: Option<Persist>,
    pub committed: Vec<Committed>,
    pub reads: Vec<ReadOutcome>,
    /// The primary offers a snapshot, because its log no longer holds what this replica lacks.
    pub snapshot_offered: Option<SnapshotOffered>,
    /// These replicas lack entries from before this log's start, and there is no snapshot for them: they have to wait for one.
    pub needs_snapshot: Vec<ReplicaId>,
}
