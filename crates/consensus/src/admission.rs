//! What is taken from other replicas.
//!
//! The raft crate panics on several inputs (an append with a gap, a heartbeat beyond the log, a proposal without entries)
//! and obeys others that nobody may send (a forwarded proposal, a forced election). Peers run attested code over
//! authenticated channels; these checks hold even so, because one faulty replica must not stop the others.

use coco_types::{ReplicaId, View};
use protobuf::Message as _;
use raft::StateRole;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use crate::Refused;
use crate::bounds::{NUMBER_MAX, in_reach};
use crate::consensus::Consensus;
use crate::membership::parse_conf_change;
use crate::snapshots::check_offer;

/// An entry of two bytes on the wire costs about a hundred in memory.
const ENTRIES_MAX: usize = 1 << 17;
const READ_CONTEXT_BYTES: usize = 8;
const FORCED_ELECTION: &[u8] = b"CampaignTransfer";

impl Consensus {
    /// A message that can be given to the crate.
    pub(crate) fn admit(&self, from: ReplicaId, bytes: &[u8]) -> Result<Message, Refused> {
        count_entries(bytes)?;
        let message = Message::parse_from_bytes(bytes).map_err(|_| Refused::Malformed)?;
        if message.from != from.0 || message.to != self.config().id.0 || message.from == message.to {
            return Err(Refused::WrongAddress);
        }
        check_shape(&message)?;
        if !in_reach(View(self.raft().term), View(message.term)) {
            return Err(Refused::Range { field: "term" });
        }
        self.check_sender(from, &message)?;
        match message.get_msg_type() {
            MessageType::MsgAppend => self.check_append(&message)?,
            MessageType::MsgHeartbeat => self.check_heartbeat(&message)?,
            MessageType::MsgAppendResponse => self.check_acknowledgement(&message)?,
            MessageType::MsgRequestVoteResponse => self.check_vote(&message)?,
            MessageType::MsgTimeoutNow => self.check_takeover(&message)?,
            MessageType::MsgSnapshot => self.check_offer(&message)?,
            _ => {}
        }
        Ok(message)
    }

    /// Requests come from every endorsed replica: dropping those outside the own configuration deadlocks a replica whose
    /// configuration is old. Answers count only from members.
    fn check_sender(&self, from: ReplicaId, message: &Message) -> Result<(), Refused> {
        let stranger = self.raft().prs().get(from.0).is_none();
        if is_response(message.get_msg_type()) {
            return if stranger { Err(Refused::Stranger) } else { Ok(()) };
        }
        if self.log().removed().contains(&from) && self.config().guards.refuse_removed {
            return Err(Refused::Removed);
        }
        if stranger && !self.config().guards.accept_strangers { Err(Refused::Stranger) } else { Ok(()) }
    }

    fn check_append(&self, message: &Message) -> Result<(), Refused> {
        let entries = message.get_entries();
        // The crate takes term 0 for a match with any index beyond its log, and would append behind a gap.
        if (message.log_term == 0) != (message.index == 0) {
            return Err(Refused::Range { field: "log_term" });
        }
        let mut term = message.log_term.max(1);
        for (position, entry) in entries.iter().enumerate() {
            if entry.index != message.index + 1 + position as u64 || entry.term < term || entry.term > message.term {
                return Err(Refused::Gap);
            }
            term = entry.term;
            check_entry_kind(entry)?;
        }
        let raft = self.raft();
        if message.term < raft.term {
            return Ok(());
        }
        self.check_one_primary(message)?;
        let follows = self.log().view_at(message.index) == Some(View(message.log_term));
        if follows && message.index >= raft.raft_log.committed {
            self.check_batches(message)?;
        }
        Ok(())
    }

    /// Batches must continue the ledger at the point where the entries leave the log that is there. Those that the primary has made just now must have
    /// been made by a clock like this replica's: what is committed already, or was inherited, is not this replica's to refuse.
    fn check_batches(&self, message: &Message) -> Result<(), Refused> {
        let refuse = |reason: &str| Refused::Batch { reason: reason.to_owned() };
        let mut last = self.log().seqno_at(message.index).ok_or(Refused::Gap)?;
        let (mut known, mut held, mut new, mut made_now) = (true, last, Vec::new(), Vec::new());
        for entry in message.get_entries() {
            known = known && self.log().view_at(entry.index) == Some(View(entry.term));
            if known {
                last = self.log().seqno_at(entry.index).ok_or(Refused::Gap)?;
                held = last;
            } else if entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
                let span = self.log().check_batch(&entry.data).map_err(|error| refuse(&error.reason))?;
                if span.view != View(entry.term) {
                    return Err(refuse("it was sealed in another view than its entry's"));
                }
                if Some(span.first.0) != last.0.checked_add(1) || span.last < span.first || span.last.0 > NUMBER_MAX {
                    return Err(refuse("it does not continue the ledger"));
                }
                last = span.last;
                new.push(entry.data.as_ref());
                if entry.term == message.term && entry.index > message.commit {
                    made_now.push(entry.data.as_ref());
                }
            }
        }
        if let Some(span) = self.log().misrooted(held, &new).map_err(|error| refuse(&error.reason))? {
            return Err(Refused::Root { view: span.view, seqno: span.last });
        }
        match self.log().untimely(&made_now).map_err(|error| refuse(&error.reason))? {
            Some(span) => Err(Refused::Time { view: span.view, seqno: span.last }),
            None => Ok(()),
        }
    }

    fn check_heartbeat(&self, message: &Message) -> Result<(), Refused> {
        if message.term < self.raft().term {
            return Ok(());
        }
        self.check_one_primary(message)?;
        if message.commit > self.log().last_index() {
            return Err(Refused::Range { field: "commit" });
        }
        Ok(())
    }

    fn check_acknowledgement(&self, message: &Message) -> Result<(), Refused> {
        // A primary that crashed gets answers to entries that it lost; it leads no more, and the crate ignores them.
        if message.term != self.raft().term || self.raft().state != StateRole::Leader {
            return Ok(());
        }
        let last_index = self.raft().raft_log.last_index();
        for (field, number) in [("index", message.index), ("commit", message.commit)] {
            if number > last_index {
                return Err(Refused::Range { field });
            }
        }
        if message.reject_hint > message.index { Err(Refused::Range { field: "reject_hint" }) } else { Ok(()) }
    }

    /// Requests for votes leave when the whole log is durable; the crate asserts that it still is when they are answered.
    fn check_vote(&self, message: &Message) -> Result<(), Refused> {
        let raft = self.raft();
        let counts = raft.state == StateRole::Candidate && message.term == raft.term;
        let behind = raft.raft_log.persisted < raft.raft_log.last_index();
        if counts && behind { Err(Refused::Unasked) } else { Ok(()) }
    }

    fn check_offer(&self, message: &Message) -> Result<(), Refused> {
        check_offer(message.get_snapshot(), NUMBER_MAX)?;
        if message.term < self.raft().term { Ok(()) } else { self.check_one_primary(message) }
    }

    /// The crate starts an election at once, without asking around first.
    fn check_takeover(&self, message: &Message) -> Result<(), Refused> {
        let raft = self.raft();
        let from_primary = raft.leader_id == message.from && message.term == raft.term;
        if from_primary { Ok(()) } else { Err(Refused::NotFromPrimary) }
    }

    fn check_one_primary(&self, message: &Message) -> Result<(), Refused> {
        let raft = self.raft();
        if self.distrusts(ReplicaId(message.from), View(message.term)) {
            return Err(Refused::Distrusted);
        }
        if message.term == raft.term && raft.leader_id != 0 && raft.leader_id != message.from {
            let (known, claimed) = (ReplicaId(raft.leader_id), ReplicaId(message.from));
            return Err(Refused::SecondPrimary { view: View(raft.term), known, claimed });
        }
        Ok(())
    }
}

/// Looks at the outermost fields only, before anything is allocated for them.
fn count_entries(message: &[u8]) -> Result<(), Refused> {
    const ENTRIES_FIELD: u64 = 7;
    let (mut rest, mut count) = (message, 0);
    while !rest.is_empty() {
        let (tag, behind) = varint(rest).ok_or(Refused::Malformed)?;
        rest = skip_field(tag & 7, behind).ok_or(Refused::Malformed)?;
        count += usize::from(tag >> 3 == ENTRIES_FIELD);
        if count > ENTRIES_MAX {
            return Err(Refused::Range { field: "entries" });
        }
    }
    Ok(())
}

/// What lies behind a field of this wire type. The crate that parses messages copies what it skips, and a batch is long.
fn skip_field(wire_type: u64, field: &[u8]) -> Option<&[u8]> {
    match wire_type {
        0 => varint(field).map(|(_, behind)| behind),
        1 => field.get(8..),
        2 => varint(field).and_then(|(length, behind)| behind.get(usize::try_from(length).ok()?..)),
        5 => field.get(4..),
        _ => None,
    }
}

/// A number and what lies behind it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let (digits, behind) = bytes.split_at(end + 1);
    Some((digits.iter().rev().fold(0, |number, digit| number << 7 | u64::from(digit & 0x7f)), behind))
}

/// What holds for a message whatever this replica's state.
fn check_shape(message: &Message) -> Result<(), Refused> {
    let kind = message.get_msg_type();
    let context = message.get_context();
    let context_valid = match kind {
        MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse => {
            context.is_empty() || context.len() == READ_CONTEXT_BYTES
        }
        MessageType::MsgRequestVote => context.is_empty() || context == FORCED_ELECTION,
        MessageType::MsgAppend
        | MessageType::MsgAppendResponse
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgTimeoutNow
        | MessageType::MsgSnapshot => context.is_empty(),
        _ => return Err(Refused::Type),
    };
    if !context_valid {
        return Err(Refused::Range { field: "context" });
    }
    let numbers = [
        ("term", message.term),
        ("log_term", message.log_term),
        ("index", message.index),
        ("commit", message.commit),
        ("commit_term", message.commit_term),
        ("reject_hint", message.reject_hint),
    ];
    for (field, number) in numbers {
        if number > NUMBER_MAX {
            return Err(Refused::Range { field });
        }
    }
    let absent = [
        ("term", message.term != 0),
        ("snapshot", message.has_snapshot() == (kind == MessageType::MsgSnapshot)),
        ("request_snapshot", message.request_snapshot == 0),
        ("priority", message.priority == 0 && message.deprecated_priority == 0),
        ("entries", message.get_entries().is_empty() || kind == MessageType::MsgAppend),
    ];
    match absent.into_iter().find(|(_, valid)| !valid) {
        Some((field, _)) => Err(Refused::Range { field }),
        None => Ok(()),
    }
}

fn check_entry_kind(entry: &Entry) -> Result<(), Refused> {
    let valid = entry.get_context().is_empty()
        && match entry.get_entry_type() {
            EntryType::EntryNormal => true,
            EntryType::EntryConfChangeV2 => parse_conf_change(&entry.data).is_some(),
            EntryType::EntryConfChange => false,
        };
    if valid { Ok(()) } else { Err(Refused::EntryKind) }
}

fn is_response(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppendResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestPreVoteResponse
    )
}
