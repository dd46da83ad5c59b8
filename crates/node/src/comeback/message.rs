//! What returning replicas and those that run say to each other. Over channels that both ends authenticate; every field is checked all
//! the same.
//!
//! ```text
//! ask   = 0 | card as JSON
//!       | 1 | {plan, first_index} as JSON
//!       | 2
//!       | 3 | request for a piece
//! reply = 0 | {echo, card} as JSON
//!       | 1 | {echo, running} as JSON
//!       | 2 | first index u64 | entry*          entry = kind u8 | view u64 | length u32 | bytes
//!       | 3 | the newest snapshot, as a primary offers one
//!       | 4 | request for a piece | piece
//! ```
//! Integers are little-endian. The echo is the life of the replica that asked.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_consensus::{ResumeEntry, ResumeState};
use coco_governance::Addresses;
use coco_types::{Digest, ReplicaId, View};
use serde::{Deserialize, Serialize};

use crate::wire::{PieceAnswer, PieceRequest, SnapshotNote};

/// A returning replica, in one life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub replica: ReplicaId,
    pub life: Digest,
    pub addresses: Addresses,
    /// Absent if its log was lost, or it must not resume.
    pub state: Option<ResumeState>,
    /// Disks that may show an old state, as far as it knows the members' choice; absent if it must not resume.
    pub rolled_back: Option<usize>,
    pub plan: Option<Plan>,
    /// It has made the plan's log and view durable.
    pub adopted: bool,
    /// All in the plan have.
    pub complete: bool,
    /// It made way for others, in a process that never ended, and has changed nothing since: it needs nobody, and may go on as it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made_way: bool,
}

impl Card {
    /// Whether it comes back only if others do so with it.
    pub(super) fn needs_others(&self) -> bool {
        self.state.is_some() && !self.made_way
    }

    /// Whether a replica in view `own` may be led to what this one knows and plans.
    pub(super) fn in_reach_of(&self, own: View) -> bool {
        let known = self.state.as_ref().is_none_or(|state| state.in_reach_of(own));
        known && self.plan.as_ref().is_none_or(|plan| coco_consensus::in_reach(own, plan.view))
    }
}

/// One resume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// A fresh nonce.
    pub id: Digest,
    pub coordinator: ReplicaId,
    pub participants: Vec<Participant>,
    /// Whose log all adopt.
    pub best: ReplicaId,
    pub view: View,
    /// What is tolerated: the strictest that one of those that were there knows.
    pub rolled_back: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    pub replica: ReplicaId,
    pub life: Digest,
    pub addresses: Addresses,
}

/// What a replica that runs says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// Whom it follows, or itself.
    pub primary: Option<ReplicaId>,
    /// The plan by which it came back itself.
    pub resumed: Option<Digest>,
    pub you: YourPlace,
}

/// What the ledger says of whoever asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum YourPlace {
    Held,
    /// Retired, or replaced by another, and a voter still: without it those that are left may not be enough.
    Leaving,
    /// Retired, or replaced by another.
    Gone,
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message of a returning replica")]
pub struct Malformed;

pub(super) enum Ask {
    Card(Box<Card>),
    Entries {
        plan: Digest,
        first_index: u64,
    },
    /// Which is the newest snapshot there?
    Snapshot,
    Piece(PieceRequest),
}

pub(super) enum Reply {
    Card { echo: Digest, card: Box<Card> },
    Running { echo: Digest, running: Running },
    Entries { first_index: u64, entries: Vec<ResumeEntry> },
    Snapshot(SnapshotNote),
    Piece { request: PieceRequest, piece: PieceAnswer },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntriesAsked {
    plan: Digest,
    first_index: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Echoed<T> {
    echo: Digest,
    says: T,
}

/// What a replica that runs answers; `None` to what only returning ones are asked.
pub fn running_reply(from: ReplicaId, ask: &[u8], running: Running) -> Result<Option<Bytes>, Malformed> {
    match Ask::decode(ask)? {
        Ask::Card(card) if card.replica == from => Ok(Some(Reply::Running { echo: card.life, running }.encode())),
        Ask::Card(_) => Err(Malformed),
        Ask::Entries { .. } | Ask::Snapshot | Ask::Piece(_) => Ok(None),
    }
}

/// Whether whoever asks returns without a plan: then it may need the one that it asks.
pub fn is_of_returning(ask: &[u8]) -> bool {
    matches!(Ask::decode(ask), Ok(Ask::Card(card)) if card.plan.is_none() && card.needs_others())
}

impl Ask {
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Card(card) => json(0, card),
            Self::Entries { plan, first_index } => json(1, &EntriesAsked { plan: *plan, first_index: *first_index }),
            Self::Snapshot => Bytes::from_static(&[2]),
            Self::Piece(request) => [&[3], &request.encode()[..]].concat().into(),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes.split_first() {
            Some((0, body)) => parse(body).map(|card| Self::Card(Box::new(card))),
            Some((1, body)) => {
                let EntriesAsked { plan, first_index } = parse(body)?;
                Ok(Self::Entries { plan, first_index })
            }
            Some((2, [])) => Ok(Self::Snapshot),
            Some((3, body)) => piece_request(Bytes::copy_from_slice(body)).map(Self::Piece),
            _ => Err(Malformed),
        }
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Card { echo, card } => json(0, &Echoed { echo: *echo, says: card }),
            Self::Running { echo, running } => json(1, &Echoed { echo: *echo, says: running }),
            Self::Entries { first_index, entries } => {
                let mut out = BytesMut::new();
                out.put_u8(2);
                out.put_u64_le(*first_index);
                entries.iter().for_each(|entry| put_entry(&mut out, entry));
                out.freeze()
            }
            Self::Snapshot(note) => [&[3], &note.encode()[..]].concat().into(),
            Self::Piece { request, piece } => [&[4], &request.encode()[..], &piece.encode()[..]].concat().into(),
        }
    }

    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        match take(&mut bytes, 1)?.get_u8() {
            0 => {
                let Echoed { echo, says } = parse(&bytes)?;
                Ok(Self::Card { echo, card: says })
            }
            1 => {
                let Echoed { echo, says } = parse(&bytes)?;
                Ok(Self::Running { echo, running: says })
            }
            2 => {
                let first_index = take(&mut bytes, 8)?.get_u64_le();
                let mut entries = Vec::new();
                while !bytes.is_empty() {
                    entries.push(take_entry(&mut bytes)?);
                }
                Ok(Self::Entries { first_index, entries })
            }
            3 => SnapshotNote::decode(bytes).map(Self::Snapshot).map_err(|_| Malformed),
            4 => {
                let request = piece_request(take(&mut bytes, PieceRequest::BYTES)?)?;
                let piece = PieceAnswer::decode(bytes).map_err(|_| Malformed)?;
                Ok(Self::Piece { request, piece })
            }
            _ => Err(Malformed),
        }
    }
}

fn json<T: Serialize>(kind: u8, value: &T) -> Bytes {
    let mut out = vec![kind];
    serde_json::to_writer(&mut out, value).expect("these have only string keys, and memory takes all");
    out.into()
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|_| Malformed)
}

fn piece_request(body: Bytes) -> Result<PieceRequest, Malformed> {
    PieceRequest::decode(body).map_err(|_| Malformed)
}

fn put_entry(out: &mut BytesMut, entry: &ResumeEntry) {
    let (kind, bytes) = match entry {
        ResumeEntry::Empty { .. } => (0, &[][..]),
        ResumeEntry::Membership { change, .. } => (1, &change[..]),
        ResumeEntry::Batch { bytes, .. } => (2, &bytes[..]),
    };
    out.put_u8(kind);
    out.put_u64_le(entry.view().0);
    out.put_u32_le(u32::try_from(bytes.len()).expect("an entry is smaller than 4 GiB"));
    out.put_slice(bytes);
}

fn take_entry(bytes: &mut Bytes) -> Result<ResumeEntry, Malformed> {
    let mut head = take(bytes, 13)?;
    let (kind, view, len) = (head.get_u8(), View(head.get_u64_le()), head.get_u32_le());
    let content = take(bytes, len as usize)?;
    match kind {
        0 if content.is_empty() => Ok(ResumeEntry::Empty { view }),
        1 => Ok(ResumeEntry::Membership { view, change: content }),
        2 => Ok(ResumeEntry::Batch { view, bytes: content }),
        _ => Err(Malformed),
    }
}

fn take(bytes: &mut Bytes, len: usize) -> Result<Bytes, Malformed> {
    if bytes.len() < len { Err(Malformed) } else { Ok(bytes.split_to(len)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_wire_and_no_cut_or_longer_one_is_taken() {
        let entries = vec![
            ResumeEntry::Empty { view: View(3) },
            ResumeEntry::Membership { view: View(3), change: Bytes::from_static(b"change") },
            ResumeEntry::Batch { view: View(4), bytes: Bytes::from_static(b"batch") },
        ];
        let bytes = Reply::Entries { first_index: 7, entries: entries.clone() }.encode();
        let Ok(Reply::Entries { first_index: 7, entries: decoded }) = Reply::decode(bytes.clone()) else {
            panic!("not what was sent");
        };
        assert_eq!(decoded, entries);
        let whole = |len: usize| [9, 22, 41, 59].contains(&len);
        for len in 0..=bytes.len() {
            assert_eq!(Reply::decode(bytes.slice(..len)).is_ok(), whole(len), "{len}");
        }
        assert!(Reply::decode([&bytes[..], &[0]].concat().into()).is_err());
    }

    #[test]
    fn a_card_whose_plan_leads_out_of_reach_is_told() {
        let plan = |view| Plan {
            id: Digest([2; 32]),
            coordinator: ReplicaId(2),
            participants: Vec::new(),
            best: ReplicaId(2),
            view: View(view),
            rolled_back: 0,
        };
        let card = |view| Card { plan: Some(plan(view)), ..card() };
        assert!(card(8).in_reach_of(View(7)) && card(1 << 30).in_reach_of(View(0)));
        assert!(!card(1 << 30).in_reach_of(View(7)) && !card(u64::MAX).in_reach_of(View(0)));
    }

    fn card() -> Card {
        let address = ([127, 0, 0, 1], 8100).into();
        Card {
            replica: ReplicaId(2),
            life: Digest([1; 32]),
            addresses: Addresses { api: address, peers: address },
            state: None,
            rolled_back: None,
            plan: None,
            adopted: false,
            complete: false,
            made_way: false,
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [&b""[..], b"\0", b"\0{}", b"\x01{}", b"\x03\0", b"\x04", b"\x05", b"\x01{\"echo\":1}"] {
            assert!(Ask::decode(bytes).is_err() && Reply::decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_replica_that_runs_answers_only_who_speaks_for_itself() {
        let ask = Ask::Card(Box::new(card())).encode();
        let running = Running { primary: Some(ReplicaId(1)), resumed: None, you: YourPlace::Held };
        let reply = running_reply(ReplicaId(2), &ask, running.clone()).unwrap().expect("an answer");
        let Ok(Reply::Running { echo, running: said }) = Reply::decode(reply) else { panic!("not what was sent") };
        assert_eq!((echo, said), (Digest([1; 32]), running.clone()));
        assert!(running_reply(ReplicaId(3), &ask, running).is_err());
        assert!(!is_of_returning(&ask), "without its log it cannot resume");
    }
}
