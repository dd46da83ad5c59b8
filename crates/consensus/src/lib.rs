//! The face over the raft crate: what the rest of Coco knows of consensus.
//!
//! ```text
//!   tick, step(message), slot + propose, applied(index), persisted(number)
//!                       │
//!                 ┌─────▼─────┐   raft.log: terms, kinds, spans, the hard state
//!                 │ Consensus │──▶ Disk
//!                 │  (raft)   │──▶ BatchStore: the ledger's chunk files hold every batch's bytes, once
//!                 └─────┬─────┘
//!                       ▼ take_output
//!   messages to send, entries committed, reads confirmed, "sync these files", what was truncated
//! ```
//!
//! Synchronous and sans-IO apart from the [`coco_disk::Disk`] it writes: no threads, clock or entropy. Time is
//! [`Consensus::tick`], randomness a closure given at construction, so that a seed replays byte for byte.
//!
//! The raft crate panics or silently does something else on a number of inputs; this crate knows them and refuses before
//! (`admission` for messages, [`Consensus::slot`] and [`Consensus::propose_membership`] for proposals). What a replica may
//! say before its disk has caught up is decided in `outbox`.
//!
//! What it deliberately does not do: take, carry or restore snapshots (it knows where they end, forgets what lies below, and says
//! who needs one: `snapshots`), deciding who *should* be a member.

mod admission;
mod batch;
mod bounds;
mod checksum;
mod config;
mod consensus;
mod error;
mod log;
mod membership;
mod outbox;
mod output;
mod proposals;
mod reads;
mod resume;
mod snapshots;
mod urgency;

pub use batch::{BatchError, BatchSpan, BatchStore};
pub use bounds::in_reach;
pub use config::{Config, Guards};
pub use consensus::Consensus;
pub use error::{Error, MembershipRefused, NotPrimary, Refused, SlotLost, TransferRefused};
pub use log::{LOG_FILE, durable_seqno};
pub use membership::{Membership, MembershipChange, StartPoint};
pub use output::{Committed, EntryKind, Output, PeerProgress, Persist, ReadOutcome, Role, RoleChange, Slot};
pub use resume::{Resume, ResumeEntry, ResumeState, Resumption, TermRun, Written};
pub use snapshots::{SnapshotMark, SnapshotOffered};
pub use urgency::is_urgent;
