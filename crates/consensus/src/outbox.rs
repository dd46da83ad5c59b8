//! What may leave when: messages wait for the syncs that they rest on.
//!
//! | message | leaves once this is durable |
//! |---|---|
//! | a primary's appends and heartbeats | its term and vote (a sole voter becomes primary before they are) |
//! | answers to heartbeats | the term: behind a batch's sync, a slow disk would mean endless elections |
//! | all else that a backup or candidate says | everything written before |

use std::collections::VecDeque;

use bytes::Bytes;
use coco_types::ReplicaId;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use crate::Guards;

/// Syncs are numbered from 1 in the order they are asked for.
pub(crate) struct Outbox {
    guards: Guards,
    /// The last sync asked for, and the last one answered.
    issued: u64,
    durable: u64,
    /// The sync that makes the newest term and vote durable.
    term_sync: u64,
    held: Vec<Held>,
    /// The crate's rounds that wait for a sync: (round, sync).
    rounds: VecDeque<(u64, u64)>,
    /// The log's length as of each unanswered sync.
    lengths: VecDeque<(u64, u64)>,
}

struct Held {
    after: u64,
    to: ReplicaId,
    bytes: Bytes,
}

/// What an answered sync makes good.
pub(crate) struct Durable {
    /// The crate's last round that is durable now.
    pub round: Option<u64>,
    pub log_len: u64,
}

impl Outbox {
    pub(crate) fn new(guards: Guards) -> Self {
        Self {
            guards,
            issued: 0,
            durable: 0,
            term_sync: 0,
            held: Vec::new(),
            rounds: VecDeque::new(),
            lengths: VecDeque::new(),
        }
    }

    /// The number of the sync that covers what is being written now, or of the last one if nothing is.
    pub(crate) fn sync_for(&self, dirty: bool) -> u64 {
        self.issued + u64::from(dirty)
    }

    pub(crate) fn term_changes_with(&mut self, sync: u64) {
        self.term_sync = sync;
    }

    pub(crate) fn is_durable(&self, sync: u64) -> bool {
        sync <= self.durable
    }

    pub(crate) fn has_unanswered(&self) -> bool {
        self.durable < self.issued
    }

    /// A primary's messages.
    pub(crate) fn post(&mut self, messages: Vec<Message>) {
        let after = if self.guards.hold_until_term_durable { self.term_sync } else { 0 };
        for message in messages {
            self.hold(after, &message);
        }
    }

    /// Messages that rest on what `sync` covers.
    pub(crate) fn post_after(&mut self, sync: u64, messages: Vec<Message>) {
        for message in messages {
            let heartbeat = message.get_msg_type() == MessageType::MsgHeartbeatResponse;
            let after = if heartbeat && self.guards.answer_heartbeats_early { self.term_sync } else { sync };
            self.hold(after, &message);
        }
    }

    pub(crate) fn wait_for(&mut self, round: u64, sync: u64) {
        self.rounds.push_back((round, sync));
    }

    /// Asks for a sync of the log up to `log_len` and returns its number.
    pub(crate) fn issue(&mut self, log_len: u64) -> u64 {
        self.issued += 1;
        self.lengths.push_back((self.issued, log_len));
        self.issued
    }

    /// The log was written anew: what an unanswered sync says of the old file's length says nothing of the new one's.
    pub(crate) fn forget_lengths(&mut self) {
        self.lengths.iter_mut().for_each(|(_, len)| *len = 0);
    }

    pub(crate) fn answered(&mut self, sync: u64) -> Durable {
        let sync = sync.min(self.issued);
        self.durable = self.durable.max(sync);
        let mut answered = Durable { round: None, log_len: 0 };
        while let Some((round, _)) = self.rounds.pop_front_if(|(_, after)| *after <= sync) {
            answered.round = Some(round);
        }
        while let Some((_, len)) = self.lengths.pop_front_if(|(number, _)| *number <= sync) {
            answered.log_len = len;
        }
        answered
    }

    /// The messages that may leave now, in the order they were posted.
    pub(crate) fn take(&mut self) -> Vec<(ReplicaId, Bytes)> {
        let durable = self.durable;
        self.held.extract_if(.., |held| held.after <= durable).map(|held| (held.to, held.bytes)).collect()
    }

    fn hold(&mut self, after: u64, message: &Message) {
        let bytes = message.write_to_bytes().expect("the crate's messages encode");
        self.held.push(Held { after, to: ReplicaId(message.to), bytes: Bytes::from(bytes) });
    }
}
