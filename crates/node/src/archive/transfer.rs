//! A file on its way from another node: asked for in pieces, kept under a name of its own until it is whole.
//!
//! One piece is asked for at a time, so that nothing else waits long behind it. What has arrived stays on disk: after a restart, or
//! with another peer, it goes on where it stopped.

use std::io;
use std::sync::Arc;

use coco_disk::Disk;
use coco_ledger::{ChunkName, EntryKeys, SnapshotName, SnapshotReader};
use coco_types::{Seqno, limits};

use crate::wire::{PieceAnswer, PieceRequest, SnapshotNote, Wanted};

/// See the module's text.
pub struct Transfer {
    disk: Arc<dyn Disk>,
    wanted: Wanted,
    file: String,
    piece_bytes: u32,
    offset: u64,
    /// A piece has been asked for and not answered.
    asked: bool,
    /// What was there already is still the file's beginning. A power cut may have torn it.
    has_remains: bool,
}

/// How far a transfer has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    Piece,
    /// All of it is in the file. Its last seqno is the peer's word.
    Whole {
        last: Seqno,
    },
    /// The peer does not have it, or gave no answer.
    Nothing,
}

impl Transfer {
    /// Into `file`, behind what is there already.
    pub fn begin(disk: Arc<dyn Disk>, wanted: Wanted, file: String, piece_bytes: u32) -> io::Result<Self> {
        let offset = if disk.exists(&file)? { disk.len(&file)? } else { 0 };
        Ok(Self { disk, wanted, file, piece_bytes, offset, asked: false, has_remains: offset > 0 })
    }

    pub fn has_remains(&self) -> bool {
        self.has_remains
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// What to ask for now; `None` while an answer is awaited.
    pub fn ask(&mut self) -> Option<PieceRequest> {
        let request = PieceRequest { wanted: self.wanted, offset: self.offset, bytes_max: self.piece_bytes };
        (!std::mem::replace(&mut self.asked, true)).then_some(request)
    }

    /// Takes in an answer. One to another question changes nothing.
    pub fn answered(&mut self, request: &PieceRequest, answer: Option<PieceAnswer>) -> io::Result<Option<Arrived>> {
        if (request.wanted, request.offset) != (self.wanted, self.offset) || !self.asked {
            return Ok(None);
        }
        self.asked = false;
        let Some(PieceAnswer { last, total, bytes }) = answer else { return Ok(Some(Arrived::Nothing)) };
        let end = self.offset.saturating_add(bytes.len() as u64);
        if end > total || bytes.len() > limits::SNAPSHOT_PIECE_BYTES || (bytes.is_empty() && end < total) {
            // What is here is of another file, or the peer is at fault: from the beginning.
            self.discard()?;
            return Ok(Some(Arrived::Nothing));
        }
        if !bytes.is_empty() {
            self.disk.write(&self.file, self.offset, &bytes)?;
        }
        self.offset = end;
        Ok(Some(if end == total { Arrived::Whole { last } } else { Arrived::Piece }))
    }

    /// What has arrived is worthless.
    pub fn discard(&mut self) -> io::Result<()> {
        (self.offset, self.has_remains) = (0, false);
        if self.disk.exists(&self.file)? { self.disk.remove(&self.file) } else { Ok(()) }
    }
}

/// Gives pieces of this node's files to its peers.
#[derive(Clone)]
pub struct Files {
    pub snapshots: Arc<dyn Disk>,
    pub ledger: Arc<dyn Disk>,
}

impl Files {
    /// `None` if the file is not here.
    pub fn piece(&self, request: &PieceRequest) -> Option<PieceAnswer> {
        let Wanted::ChunkFrom(first) = request.wanted else { return snapshot_piece(&self.snapshots, request) };
        let names = self.ledger.names().ok()?;
        let mut names = names.iter().filter_map(|name| ChunkName::parse(name));
        let name = names.find(|name| name.committed && name.first == first)?;
        piece_of(&self.ledger, &name.to_string(), name.last?, request)
    }
}

/// The oldest snapshot of a folder that opens and is of this entry of the consensus log, or of a later one.
pub(crate) fn oldest_from(snapshots: &Arc<dyn Disk>, keys: &EntryKeys, first_index: u64) -> Option<SnapshotNote> {
    let mut names: Vec<_> = snapshots.names().ok()?.iter().filter_map(|name| SnapshotName::parse(name)).collect();
    names.sort_unstable();
    let mut opened = names.into_iter().filter_map(|name| {
        let reader = SnapshotReader::open(snapshots.clone(), &name.to_string(), keys).ok()?;
        (reader.head().place.index >= first_index).then_some(SnapshotNote { seqno: name.0, bytes: reader.bytes() })
    });
    opened.next()
}

/// Whether this snapshot is here and opens. One that does not is set aside, as when a node starts.
pub(crate) fn set_aside_unless_it_opens(
    snapshots: &Arc<dyn Disk>,
    seqno: Seqno,
    keys: &EntryKeys,
) -> Result<bool, String> {
    let (name, text) = (SnapshotName(seqno), |error: io::Error| error.to_string());
    let file = name.to_string();
    if !snapshots.exists(&file).map_err(text)? {
        return Ok(false);
    }
    let opened = SnapshotReader::open(snapshots.clone(), &file, keys);
    if let Err(error) = &opened {
        tracing::error!(%file, %error, "a snapshot is set aside");
        snapshots.rename(&file, &name.damaged()).map_err(text)?;
    }
    Ok(opened.is_ok())
}

/// A piece of a snapshot; `None` if it is not here, or not a snapshot is asked for.
pub(crate) fn snapshot_piece(snapshots: &Arc<dyn Disk>, request: &PieceRequest) -> Option<PieceAnswer> {
    let Wanted::Snapshot(seqno) = request.wanted else { return None };
    piece_of(snapshots, &SnapshotName(seqno).to_string(), seqno, request)
}

fn piece_of(disk: &Arc<dyn Disk>, file: &str, last: Seqno, request: &PieceRequest) -> Option<PieceAnswer> {
    let total = disk.len(file).ok()?;
    let len = total.saturating_sub(request.offset).min(u64::from(request.bytes_max));
    let len = usize::try_from(len).ok()?.min(limits::SNAPSHOT_PIECE_BYTES);
    let bytes = if len == 0 { Vec::new() } else { disk.read(file, request.offset, len).ok()? };
    Some(PieceAnswer { last, total, bytes: bytes.into() })
}
