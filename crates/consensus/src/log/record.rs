//! The records of `raft.log`: their bytes.
//!
//! ```text
//! file   = magic (16 bytes) record*
//! record = marker (4) body length (u32) checksum (u64) body
//! body   = kind (1) synced (u64) fields
//! ```
//! Integers are little-endian. The checksum covers the record's offset and body, so that a record is valid in one place
//! only. `synced` is how much of the file was known durable when the record was written: a bad record below some later
//! record's `synced` is damage, one above all of them is the tail that a crash tore.

use bytes::{Buf, BufMut};
use coco_types::{ReplicaId, Seqno, View};

use crate::checksum::checksum;
use crate::{Membership, StartPoint};

pub(crate) const MAGIC: &[u8; 16] = b"coco-raft-log-1\n";
const MARKER: &[u8; 4] = b"\xc0C\xc0R";
const HEADER_BYTES: usize = 16;
/// Bounds a membership entry or configuration.
const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Record {
    Start(StartPoint),
    Entry(EntryRecord),
    State(State),
    /// Every entry above is void: written when a reopened log is cut.
    Cut {
        after: u64,
    },
    /// This replica has applied that one's removal.
    Removed(ReplicaId),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EntryRecord {
    pub index: u64,
    pub view: View,
    pub payload: Payload,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Payload {
    Empty,
    Membership(Vec<u8>),
    /// The first transaction follows from the entry before.
    Batch {
        last: Seqno,
        checksum: u64,
    },
}

/// The hard state, and with it in one record the applied index and the configuration that holds there: the durable commit
/// is never below the durable applied index, and a configuration never meets another's index.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    pub view: View,
    pub vote: u64,
    pub commit: u64,
    pub applied: u64,
    /// This replica has been in the configuration. If it no longer is, it was removed.
    pub was_member: bool,
    pub membership: Membership,
}

/// A record found in the file.
pub(crate) struct Found {
    pub record: Record,
    pub synced: u64,
    pub len: usize,
}

impl Record {
    pub(crate) fn encode(&self, out: &mut Vec<u8>, offset: u64, synced: u64) {
        let start = out.len();
        out.put_slice(MARKER);
        out.put_bytes(0, HEADER_BYTES - MARKER.len());
        out.put_u8(self.kind());
        out.put_u64_le(synced);
        match self {
            Self::Start(point) => {
                out.put_u64_le(point.index);
                out.put_u64_le(point.view.0);
                out.put_u64_le(point.seqno.0);
                encode_membership(&point.membership, out);
            }
            Self::Entry(entry) => encode_entry(entry, out),
            Self::State(state) => {
                for number in [state.view.0, state.vote, state.commit, state.applied] {
                    out.put_u64_le(number);
                }
                out.put_u8(u8::from(state.was_member));
                encode_membership(&state.membership, out);
            }
            Self::Cut { after } => out.put_u64_le(*after),
            Self::Removed(id) => out.put_u64_le(id.0),
        }
        let (header, body) = out[start..].split_at_mut(HEADER_BYTES);
        let body_len = u32::try_from(body.len()).expect("a record is smaller than 4 GiB");
        header[4..8].copy_from_slice(&body_len.to_le_bytes());
        header[8..].copy_from_slice(&checksum(offset, body).to_le_bytes());
    }

    /// The record at the beginning of `bytes`, which lie at `offset` in the file.
    pub(crate) fn decode(bytes: &[u8], offset: u64) -> Option<Found> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let (marker, mut fields) = header.split_at_checked(MARKER.len())?;
        let body_len = fields.get_u32_le() as usize;
        if marker != MARKER || body_len > BODY_BYTES_MAX {
            return None;
        }
        let body = rest.get(..body_len)?;
        if fields.get_u64_le() != checksum(offset, body) {
            return None;
        }
        let mut body = body;
        let kind = body.try_get_u8().ok()?;
        let synced = body.try_get_u64_le().ok()?;
        let record = Self::decode_fields(kind, &mut body)?;
        body.is_empty().then_some(Found { record, synced, len: HEADER_BYTES + body_len })
    }

    /// Where the next record may begin, for a look behind a bad one.
    pub(crate) fn find_marker(bytes: &[u8]) -> Option<usize> {
        bytes.windows(MARKER.len()).position(|window| window == MARKER)
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Start(_) => 0,
            Self::Entry(_) => 1,
            Self::State(_) => 2,
            Self::Cut { .. } => 3,
            Self::Removed(_) => 4,
        }
    }

    fn decode_fields(kind: u8, body: &mut &[u8]) -> Option<Self> {
        let number = |body: &mut &[u8]| body.try_get_u64_le().ok();
        Some(match kind {
            0 => Self::Start(StartPoint {
                index: number(body)?,
                view: View(number(body)?),
                seqno: Seqno(number(body)?),
                membership: decode_membership(body)?,
            }),
            1 => Self::Entry(decode_entry(body)?),
            2 => Self::State(State {
                view: View(number(body)?),
                vote: number(body)?,
                commit: number(body)?,
                applied: number(body)?,
                was_member: body.try_get_u8().ok()? != 0,
                membership: decode_membership(body)?,
            }),
            3 => Self::Cut { after: number(body)? },
            4 => Self::Removed(ReplicaId(number(body)?)),
            _ => return None,
        })
    }
}

fn encode_entry(entry: &EntryRecord, out: &mut Vec<u8>) {
    out.put_u64_le(entry.index);
    out.put_u64_le(entry.view.0);
    match &entry.payload {
        Payload::Empty => out.put_u8(0),
        Payload::Membership(bytes) => {
            out.put_u8(1);
            out.put_slice(bytes);
        }
        Payload::Batch { last, checksum } => {
            out.put_u8(2);
            out.put_u64_le(last.0);
            out.put_u64_le(*checksum);
        }
    }
}

fn decode_entry(body: &mut &[u8]) -> Option<EntryRecord> {
    let index = body.try_get_u64_le().ok()?;
    let view = View(body.try_get_u64_le().ok()?);
    let payload = match body.try_get_u8().ok()? {
        0 => Payload::Empty,
        1 => Payload::Membership(std::mem::take(body).to_vec()),
        2 => Payload::Batch { last: Seqno(body.try_get_u64_le().ok()?), checksum: body.try_get_u64_le().ok()? },
        _ => return None,
    };
    Some(EntryRecord { index, view, payload })
}

fn encode_membership(membership: &Membership, out: &mut Vec<u8>) {
    for set in [&membership.voters, &membership.voters_outgoing, &membership.learners, &membership.learners_next] {
        out.put_u16_le(u16::try_from(set.len()).expect("a network has fewer than 65,536 replicas"));
        for id in set {
            out.put_u64_le(id.0);
        }
    }
}

fn decode_membership(body: &mut &[u8]) -> Option<Membership> {
    let mut membership = Membership::default();
    for set in [
        &mut membership.voters,
        &mut membership.voters_outgoing,
        &mut membership.learners,
        &mut membership.learners_next,
    ] {
        for _ in 0..body.try_get_u16_le().ok()? {
            set.insert(ReplicaId(body.try_get_u64_le().ok()?));
        }
    }
    Some(membership)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect();
        let membership =
            Membership { voters: ids(&[1, 2, 4]), voters_outgoing: ids(&[1, 2, 3]), ..Membership::default() };
        let entry = |payload| Record::Entry(EntryRecord { index: 9, view: View(3), payload });
        vec![
            Record::Start(StartPoint { index: 5, view: View(2), seqno: Seqno(17), membership: membership.clone() }),
            entry(Payload::Empty),
            entry(Payload::Membership(vec![1, 2, 3])),
            entry(Payload::Batch { last: Seqno(20), checksum: 0x1122_3344_5566_7788 }),
            Record::State(State { view: View(3), vote: 2, commit: 9, applied: 8, was_member: true, membership }),
            Record::Cut { after: 7 },
            Record::Removed(ReplicaId(3)),
        ]
    }

    #[test]
    fn every_record_survives_its_bytes_in_its_own_place_only() {
        for record in samples() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes, 4096, 100);
            let found = Record::decode(&bytes, 4096).unwrap();
            assert_eq!((found.record, found.synced, found.len), (record, 100, bytes.len()));
            assert!(Record::decode(&bytes, 4097).is_none());
        }
    }

    #[test]
    fn a_cut_or_flipped_record_is_refused() {
        for record in samples() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes, 16, 0);
            for len in 0..bytes.len() {
                assert!(Record::decode(&bytes[..len], 16).is_none());
            }
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x40;
                assert!(Record::decode(&flipped, 16).is_none(), "byte {at} of {record:?}");
            }
        }
    }

    #[test]
    fn the_bytes_on_disk_never_change() {
        let mut bytes = Vec::new();
        for record in samples() {
            let offset = bytes.len() as u64;
            record.encode(&mut bytes, offset, 7);
        }
        assert_eq!(checksum(0, &bytes), 18_381_584_849_139_793_614, "a change of format needs a new magic");
    }
}
