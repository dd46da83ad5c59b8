//! What a replica is told at construction.

use coco_types::{ReplicaId, limits};

/// Times are in ticks: the caller decides how long one is.
#[derive(Clone, Debug)]
pub struct Config {
    pub id: ReplicaId,
    /// Silence after which a backup campaigns; the real one is drawn between this and twice this.
    pub election_ticks: usize,
    pub heartbeat_ticks: usize,
    /// Entries are gathered into one message up to this size; a larger batch travels alone.
    pub message_bytes_max: u64,
    /// What one backup may have in flight: bounds the messages at `bytes_in_flight / message_bytes_max`.
    pub bytes_in_flight: u64,
    /// The newest batches, kept in memory so that steady replication never reads the disk.
    pub cache_bytes_max: usize,
    /// A learner may become a voter once it lacks no more than this many entries.
    pub learner_lag_max: u64,
    pub guards: Guards,
}

impl Config {
    /// The defaults of [`limits`] for one replica.
    pub fn new(id: ReplicaId) -> Self {
        let ticks = |ms: u64| usize::try_from(ms / limits::TICK_MS).unwrap_or(usize::MAX);
        let message_bytes_max = limits::BATCH_BYTES_MAX as u64;
        Self {
            id,
            election_ticks: ticks(limits::ELECTION_TIMEOUT_MS),
            heartbeat_ticks: ticks(limits::HEARTBEAT_MS),
            message_bytes_max,
            bytes_in_flight: message_bytes_max * limits::BATCHES_IN_FLIGHT_MAX as u64,
            cache_bytes_max: limits::BATCH_BYTES_MAX * limits::BATCHES_IN_FLIGHT_MAX,
            learner_lag_max: 64,
            guards: Guards::default(),
        }
    }

    pub(crate) fn messages_in_flight(&self) -> usize {
        usize::try_from(self.bytes_in_flight / self.message_bytes_max.max(1)).unwrap_or(usize::MAX).clamp(1, 4096)
    }
}

/// Protections that are always on in service. A test switches one off to show that it would notice its absence.
#[derive(Clone, Debug)]
pub struct Guards {
    /// Nothing leaves while the term or vote is ahead of the disk.
    pub hold_until_term_durable: bool,
    /// Heartbeats are answered as soon as the term is durable, not behind a batch's sync.
    pub answer_heartbeats_early: bool,
    /// A primary that is voted out may not leave the joint configuration itself.
    pub hand_over_before_leaving: bool,
    /// A primary that applies its own removal steps down.
    pub step_down_when_removed: bool,
    /// Requests of replicas outside the own configuration are taken.
    pub accept_strangers: bool,
    /// Requests of replicas whose removal is applied here are not.
    pub refuse_removed: bool,
    /// A sole voter campaigns only when its disk has caught up.
    pub sole_voter_waits_for_disk: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            hold_until_term_durable: true,
            answer_heartbeats_early: true,
            hand_over_before_leaving: true,
            step_down_when_removed: true,
            accept_strangers: true,
            refuse_removed: true,
            sole_voter_waits_for_disk: true,
        }
    }
}
