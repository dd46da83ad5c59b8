//! What can go wrong, by whom it can be acted on.

use std::io;

use coco_types::{ReplicaId, Seqno, View};

use crate::output::Slot;

/// Ends the replica: its disk failed or does not hold what it must. Nothing may be assumed of it until it is opened again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
    #[error("raft.log is damaged at byte {offset}: {reason}")]
    Corrupt { offset: u64, reason: &'static str },
    #[error("there is a consensus log already")]
    Exists,
    #[error("the ledger ends at {found} but transactions up to {needed} were applied")]
    LedgerBehind { found: Seqno, needed: Seqno },
    #[error("the configuration is not usable: {0}")]
    Config(String),
    #[error("an earlier failure ended this replica")]
    Failed,
    #[error("entry {index} was committed here with view {ours}, the adopted log has {theirs:?}")]
    ResumeConflict { index: u64, ours: View, theirs: Option<View> },
    #[error("an entry to adopt does not fit behind entry {after}: {reason}")]
    ResumeGap { after: u64, reason: String },
    #[error("a resume was cut short: exchange and copy again")]
    ResumeUnfinished,
    #[error("view {offered} is not above the durable {durable}")]
    ViewNotHigher { offered: View, durable: View },
    #[error("view {offered} is out of reach of the durable {durable}")]
    ViewOutOfReach { offered: View, durable: View },
}

/// A message that was not taken. Harmless to this replica; many of one kind from one peer are worth an alarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("not a consensus message")]
    Malformed,
    #[error("the message names another sender or receiver")]
    WrongAddress,
    #[error("messages of this type are not taken")]
    Type,
    #[error("{field} is out of range")]
    Range { field: &'static str },
    #[error("the entries do not follow one another")]
    Gap,
    #[error("an entry is neither a batch, a membership change nor empty")]
    EntryKind,
    #[error("a batch is refused: {reason}")]
    Batch { reason: String },
    #[error("the batch that ends with {view}.{seqno} signs another root than the ledger gives")]
    Root { view: View, seqno: Seqno },
    #[error(
        "the batch that ends with {view}.{seqno} decides by a time far from this replica's own: one of the two clocks is wrong"
    )]
    Time { view: View, seqno: Seqno },
    #[error("{claimed} speaks as primary of view {view}, which {known} leads")]
    SecondPrimary { view: View, known: ReplicaId, claimed: ReplicaId },
    #[error("only the primary may ask to take over")]
    NotFromPrimary,
    #[error("this replica distrusts the primary of this view")]
    Distrusted,
    #[error("a vote that was not asked for")]
    Unasked,
    #[error("the sender was removed")]
    Removed,
    #[error("the sender is not in the configuration")]
    Stranger,
    #[error("this replica failed")]
    Stopped,
}

/// Why nothing can be proposed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPrimary {
    #[error("another replica leads, or none")]
    Backup { primary: Option<ReplicaId> },
    #[error("leadership is being handed to {to}")]
    Transferring { to: ReplicaId },
    #[error("this replica is no longer a member")]
    NotMember,
    #[error("this replica failed")]
    Failed,
}

/// The batch was not appended. Its view is dead: this replica has stepped down, and what it sealed is never sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{slot:?} is lost: {reason}")]
pub struct SlotLost {
    pub slot: Slot,
    pub reason: String,
}

/// Why a membership change was not proposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipRefused {
    #[error(transparent)]
    NotPrimary(#[from] NotPrimary),
    #[error("an earlier change is not applied yet")]
    Pending,
    #[error("the configuration is joint: leave it first")]
    Joint,
    #[error("the configuration is not joint")]
    NotJoint,
    #[error("{0} is not a learner")]
    NotLearner(ReplicaId),
    #[error("{0} is not a voter")]
    NotVoter(ReplicaId),
    #[error("{0} is a member already, or was once")]
    Known(ReplicaId),
    #[error("the change is empty")]
    Empty,
    #[error("no voter would remain")]
    NoVoters,
    #[error("learner {id} still lacks {entries} entries")]
    Behind { id: ReplicaId, entries: u64 },
    #[error("this primary is voted out: hand over first")]
    HandOverFirst,
    #[error("the entry appended was not the change")]
    NotAppended,
}

/// Why leadership is not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferRefused {
    #[error(transparent)]
    NotPrimary(#[from] NotPrimary),
    #[error("{0} is not a voter that stays")]
    NotVoter(ReplicaId),
    #[error("this replica leads already")]
    Own,
}
