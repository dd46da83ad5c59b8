//! Bugs of whole nodes, to show that the simulator would find them. Those of consensus alone are [`coco_replicas::Mutant`]s.
//!
//! None of them is in the product: they are in what the simulator gives a node (disks, time, a protocol), in how it starts it, or in
//! protections that a node can be built without.

use crate::counter::Counter;
use crate::node::Options;

/// See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    LyingDisks,
    SyncsTheLogAlone,
    GoesOnFromItsDisk,
    ResumesWithTooFew,
    CountsTwice,
    ReadsWithoutAsking,
    DropsStrangers,
    HeartbeatsBehindSyncs,
}

impl Planted {
    pub const ALL: [Self; 8] = [
        Self::LyingDisks,
        Self::SyncsTheLogAlone,
        Self::GoesOnFromItsDisk,
        Self::ResumesWithTooFew,
        Self::CountsTwice,
        Self::ReadsWithoutAsking,
        Self::DropsStrangers,
        Self::HeartbeatsBehindSyncs,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::LyingDisks => "lying-disks",
            Self::SyncsTheLogAlone => "syncs-the-log-alone",
            Self::GoesOnFromItsDisk => "goes-on-from-its-disk",
            Self::ResumesWithTooFew => "resumes-with-too-few",
            Self::CountsTwice => "counts-twice",
            Self::ReadsWithoutAsking => "reads-without-asking",
            Self::DropsStrangers => "drops-strangers",
            Self::HeartbeatsBehindSyncs => "heartbeats-behind-syncs",
        }
    }

    pub fn what(self) -> &'static str {
        match self {
            Self::LyingDisks => "disks answer a sync without having done it (acknowledge before fsync)",
            Self::SyncsTheLogAlone => "the consensus log is synced, the ledger's files are not",
            Self::GoesOnFromItsDisk => "a restarted node goes on from its disk, which may be old, instead of asking",
            Self::ResumesWithTooFew => "a network resumes with one replica too few for the disks that were put back",
            Self::CountsTwice => "a submission that a client sends again is executed again",
            Self::ReadsWithoutAsking => "a primary answers linearizable reads without asking whether it still leads",
            Self::DropsStrangers => "requests of replicas outside the own configuration are dropped",
            Self::HeartbeatsBehindSyncs => "heartbeats are answered behind a batch's sync",
        }
    }

    /// What a network with this bug is built with.
    pub fn options(self) -> Options {
        let mut options = Options { planted: Some(self), ..Options::default() };
        match self {
            Self::LyingDisks => options.lying_disks = true,
            Self::GoesOnFromItsDisk => (options.ask_before_acting, options.disks_put_back) = (false, 1),
            Self::ResumesWithTooFew => options.disks_put_back = 1,
            Self::DropsStrangers => options.guards.accept_strangers = false,
            Self::HeartbeatsBehindSyncs => options.guards.answer_heartbeats_early = false,
            Self::SyncsTheLogAlone | Self::CountsTwice | Self::ReadsWithoutAsking => {}
        }
        options
    }

    pub(crate) fn counter(planted: Option<Self>) -> Counter {
        Counter { counts_twice: planted == Some(Self::CountsTwice) }
    }
}
