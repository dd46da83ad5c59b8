//! Snapshots: the live state at the end of a batch, in one sealed file, so that a node starts without the ledger before it.
//!
//! ```text
//! header   magic, file id, place ──────────────────────────── in clear
//! piece *  length and last bit, tag, ciphertext ───────────── AES-256-GCM under a key of this file, nonce = piece number
//!          └─ head, then each map's keys and values in order
//! digest   SHA-256 of all before ──────────────────────────── so that a copy is checked without any key
//! ```
//!
//! The content depends on the ledger alone: every node writes the same. The file does not: each draws its own file id, so that no
//! (key, nonce) ever meets two contents, whatever a later version writes. A copy handed to another node is the same file.
//!
//! Not here: when one is taken, which ones are kept, and the state itself: records come and go one at a time.

mod head;
mod reader;
mod writer;

use std::fmt;

use coco_crypto::{Domain, NONCE_BYTES, Nonce};
use coco_types::{Seqno, TxId, View};

use crate::Error;

pub use head::SnapshotHead;
pub use reader::{SnapshotReader, check_snapshot};
pub use writer::SnapshotWriter;

pub(crate) const KEY_DOMAIN: Domain = Domain::new("coco snapshot");
const MAGIC: &[u8; 16] = b"coco-snapshot-1\n";
const FILE_ID_BYTES: usize = 16;
const HEADER_BYTES: usize = MAGIC.len() + FILE_ID_BYTES + 24;
const PIECE_HEADER_BYTES: usize = 4 + coco_crypto::TAG_BYTES;
const DIGEST_BYTES: usize = 32;
/// In a piece's length: no piece follows.
const LAST: u32 = 1 << 31;
/// What a record begins with.
const TAG_END: u8 = 0;
const TAG_MAP: u8 = 1;
const TAG_RECORD: u8 = 2;

/// The committed batch that a snapshot ends with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotPlace {
    /// Of the batch in the consensus's log.
    pub index: u64,
    /// Its signature transaction.
    pub txid: TxId,
}

/// `snapshot_<seqno>`; `.writing` while it is made here, `.receiving` while it arrives, `.damaged` when it was set aside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SnapshotName(pub Seqno);

impl SnapshotName {
    /// `None` for files that are no finished snapshots.
    pub fn parse(name: &str) -> Option<Self> {
        let parsed = Self(Seqno(name.strip_prefix("snapshot_")?.parse().ok()?));
        (parsed.to_string() == name).then_some(parsed)
    }

    pub fn writing(self) -> String {
        format!("{self}.writing")
    }

    pub fn receiving(self) -> String {
        format!("{self}.receiving")
    }

    pub fn damaged(self) -> String {
        format!("{self}.damaged")
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot_{}", self.0)
    }
}

/// The first bytes of a file.
#[derive(Clone, PartialEq, Eq)]
struct Header {
    file_id: [u8; FILE_ID_BYTES],
    place: SnapshotPlace,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..32].copy_from_slice(&self.file_id);
        bytes[32..40].copy_from_slice(&self.place.index.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.place.txid.view.0.to_le_bytes());
        bytes[48..].copy_from_slice(&self.place.txid.seqno.0.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let short = || malformed("cut off");
        let (magic, rest) = bytes.split_first_chunk::<16>().ok_or_else(short)?;
        if magic != MAGIC {
            return Err(malformed("not a snapshot, or of another version"));
        }
        let (file_id, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (index, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (view, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let seqno = rest.first_chunk().ok_or_else(short)?;
        let txid = TxId::new(View(u64::from_le_bytes(*view)), Seqno(u64::from_le_bytes(*seqno)));
        Ok(Self { file_id: *file_id, place: SnapshotPlace { index: u64::from_le_bytes(*index), txid } })
    }
}

/// What a piece's seal also covers: the file it belongs to, and whether one follows.
fn additional_data(header: &[u8; HEADER_BYTES], is_last: bool) -> [u8; HEADER_BYTES + 1] {
    let mut data = [u8::from(is_last); HEADER_BYTES + 1];
    data[..HEADER_BYTES].copy_from_slice(header);
    data
}

fn nonce(piece: u64) -> Nonce {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&piece.to_le_bytes());
    Nonce(nonce)
}

fn malformed(why: &'static str) -> Error {
    Error::MalformedSnapshot { why }
}
