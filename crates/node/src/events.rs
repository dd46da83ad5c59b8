//! What wakes the machines. One closed enum each.

use bytes::Bytes;
use coco_ledger::SnapshotHead;
use coco_protocol::{Admitted, Rejection, Submitted, Until};
use coco_types::{ReplicaId, Seqno, View};

use crate::archive::Taken;
use crate::executor::{ExecutedBatch, SystemCommand};
use crate::handle::unavailable;
use crate::signatures::Alarm;
use crate::wire::Question;

/// Wakes the replica.
pub enum ReplicaEvent {
    /// A consensus message of another replica.
    Message {
        from: ReplicaId,
        message: Bytes,
    },
    /// Files are on disk.
    Persisted {
        number: u64,
    },
    /// A sync failed: nothing may be promised any more.
    DiskFailed(String),
    Executed(ExecutedBatch),
    ExecutorStopped,
    FrontReached(Seqno),
    /// A batch's signatures are not its primary's.
    Alarmed(Alarm),
    SnapshotTaken(Box<Taken>),
    SnapshotFailed(String),
    SnapshotReceived(SnapshotHead),
    /// One came that does not open here.
    SnapshotRefused,
    /// A new network's founding facts were refused: there will be no network.
    GenesisRefused(String),
    /// The front found derived data that contradicts the ledger.
    FrontFailed(String),
    Linearizable {
        reply: Box<dyn FnOnce(bool) + Send>,
    },
    /// Answers once everything up to here is readable.
    ReadUpTo {
        seqno: Seqno,
        reply: Box<dyn FnOnce(bool) + Send>,
    },
    /// A replica that comes back found no primary here.
    AskedByReturning(ReplicaId),
    /// A member ends the whole network: nobody is left to hand over to.
    StopNetwork,
    /// Hand over the lead if this is the primary, then stop.
    Stop,
}

impl ReplicaEvent {
    /// Answers whoever waits for it that it was not taken.
    pub fn refuse(self) {
        if let Self::Linearizable { reply } | Self::ReadUpTo { reply, .. } = self {
            reply(false);
        }
    }
}

/// Wakes the executor.
pub enum ExecutorEvent {
    Lead {
        view: View,
    },
    Stop,
    Visible(Seqno),
    Submit {
        ledger: usize,
        admitted: Vec<Admitted>,
        until: Until,
        reply: Box<dyn FnOnce(Vec<Submitted>) + Send>,
    },
    System {
        command: SystemCommand,
        reply: Box<dyn FnOnce(Vec<Submitted>) + Send>,
    },
    /// The same, as the first transaction of a batch.
    First {
        command: SystemCommand,
        reply: Box<dyn FnOnce(Vec<Submitted>) + Send>,
    },
    Ask {
        question: Question,
        reply: Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>,
    },
    /// Something that was prepared elsewhere is done.
    Wake,
    Shutdown,
}

impl ExecutorEvent {
    /// Answers whoever waits for it that it was not taken.
    pub fn refuse(self) {
        match self {
            Self::Submit { admitted, reply, .. } => {
                let busy = || Submitted::Rejected(Rejection { message: BUSY.to_owned(), ..unavailable() });
                reply(admitted.iter().map(|_| busy()).collect());
            }
            Self::System { reply, .. } | Self::First { reply, .. } => reply(vec![Submitted::Unavailable]),
            Self::Ask { reply, .. } => reply(Err(unavailable())),
            Self::Lead { .. } | Self::Stop | Self::Visible(_) | Self::Wake | Self::Shutdown => {}
        }
    }
}

const BUSY: &str = "the node is busy: try again later";
