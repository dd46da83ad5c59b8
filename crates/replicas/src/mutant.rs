//! Known protocol bugs, to show that they would be found.
//!
//! None of them is in the product: a mutant is acted out by the network around a correct replica, which changes what the replica says or hears,
//! what its disk does, or what its shell concludes. Protections of our own that the product can be built without
//! ([`coco_consensus::Guards`]) are switched off instead.

use coco_consensus::Guards;

/// See the module's text. The first eleven are guarded by the regressions t1 to t11.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mutant {
    VotesOfTheUnion,
    CommitsByCounting,
    NackCountsAsAck,
    TruncatesWithoutConflict,
    AcknowledgesItsWholeLog,
    RetiresAtOnce,
    ReadsWithoutAsking,
    SendsBeforeItsTermIsDurable,
    StaysInOfficeWhenRemoved,
    DropsStrangers,
    ResumesWithoutCopying,
    AnswersBeforeSync,
    ForgetsItsVote,
    GoesOnFromAnOldDisk,
    LosesTruncations,
    AppliesBeforeCommit,
    TakesHeartbeatsForAppends,
    VotesForShorterLogs,
    SealsASlotTwice,
}

impl Mutant {
    pub const ALL: [Self; 19] = [
        Self::VotesOfTheUnion,
        Self::CommitsByCounting,
        Self::NackCountsAsAck,
        Self::TruncatesWithoutConflict,
        Self::AcknowledgesItsWholeLog,
        Self::RetiresAtOnce,
        Self::ReadsWithoutAsking,
        Self::SendsBeforeItsTermIsDurable,
        Self::StaysInOfficeWhenRemoved,
        Self::DropsStrangers,
        Self::ResumesWithoutCopying,
        Self::AnswersBeforeSync,
        Self::ForgetsItsVote,
        Self::GoesOnFromAnOldDisk,
        Self::LosesTruncations,
        Self::AppliesBeforeCommit,
        Self::TakesHeartbeatsForAppends,
        Self::VotesForShorterLogs,
        Self::SealsASlotTwice,
    ];

    /// As scenario files and the command line call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::VotesOfTheUnion => "votes-of-the-union",
            Self::CommitsByCounting => "commits-by-counting",
            Self::NackCountsAsAck => "nack-counts-as-ack",
            Self::TruncatesWithoutConflict => "truncates-without-conflict",
            Self::AcknowledgesItsWholeLog => "acknowledges-its-whole-log",
            Self::RetiresAtOnce => "retires-at-once",
            Self::ReadsWithoutAsking => "reads-without-asking",
            Self::SendsBeforeItsTermIsDurable => "sends-before-its-term-is-durable",
            Self::StaysInOfficeWhenRemoved => "stays-in-office-when-removed",
            Self::DropsStrangers => "drops-strangers",
            Self::ResumesWithoutCopying => "resumes-without-copying",
            Self::AnswersBeforeSync => "answers-before-sync",
            Self::ForgetsItsVote => "forgets-its-vote",
            Self::GoesOnFromAnOldDisk => "goes-on-from-an-old-disk",
            Self::LosesTruncations => "loses-truncations",
            Self::AppliesBeforeCommit => "applies-before-commit",
            Self::TakesHeartbeatsForAppends => "takes-heartbeats-for-appends",
            Self::VotesForShorterLogs => "votes-for-shorter-logs",
            Self::SealsASlotTwice => "seals-a-slot-twice",
        }
    }

    /// What is wrong with it, in a sentence.
    pub fn what(self) -> &'static str {
        match self {
            Self::VotesOfTheUnion => "a candidate counts the votes of old and new configuration together",
            Self::CommitsByCounting => {
                "a primary commits entries of older views by counting replicas (commit on an old-view index)"
            }
            Self::NackCountsAsAck => "a refusal of an append counts as an acknowledgement",
            Self::TruncatesWithoutConflict => "a backup cuts its log at the end of any append that ends before it",
            Self::AcknowledgesItsWholeLog => "a backup acknowledges its last entry, whatever the append covered",
            Self::RetiresAtOnce => "a replica stops as soon as it applies its own removal",
            Self::ReadsWithoutAsking => "a primary answers linearizable reads without asking whether it still leads",
            Self::SendsBeforeItsTermIsDurable => "a replica speaks in a term that its disk does not hold yet",
            Self::StaysInOfficeWhenRemoved => "a primary that is voted out neither hands over nor steps down",
            Self::DropsStrangers => "requests of replicas outside the own configuration are dropped",
            Self::ResumesWithoutCopying => "after a power cut all adopt the highest view, but not the best log",
            Self::AnswersBeforeSync => "a replica acknowledges before its disk has synced",
            Self::ForgetsItsVote => "a replica that restarts votes again in the same view",
            Self::GoesOnFromAnOldDisk => {
                "a replica whose disk was put back goes on without asking (votes twice after disk rollback)"
            }
            Self::LosesTruncations => {
                "a conflicting tail is replaced in the log, but stays in the ledger (lost truncation)"
            }
            Self::AppliesBeforeCommit => "a primary tells clients what it has only appended (apply before commit)",
            Self::TakesHeartbeatsForAppends => {
                "a backup takes the primary's commit index for its own log, matching or not"
            }
            Self::VotesForShorterLogs => "a replica votes for candidates whose log lacks what its own has",
            Self::SealsASlotTwice => "a primary seals a second batch for a slot that is taken",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mutant| mutant.name() == name)
    }

    /// The protections that are switched off.
    pub(crate) fn guards(self) -> Guards {
        let mut guards = Guards::default();
        match self {
            Self::SendsBeforeItsTermIsDurable => guards.hold_until_term_durable = false,
            Self::StaysInOfficeWhenRemoved => {
                guards.hand_over_before_leaving = false;
                guards.step_down_when_removed = false;
                guards.refuse_removed = false;
            }
            Self::DropsStrangers => guards.accept_strangers = false,
            _ => {}
        }
        guards
    }
}
