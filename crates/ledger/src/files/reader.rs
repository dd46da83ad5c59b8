//! Reads entries while one writer appends: receipts, peers that catch up, auditors.

use std::io;
use std::sync::Arc;

use coco_disk::Disk;
use coco_types::{Seqno, TxId};
use parking_lot::RwLock;

use super::{Chunk, Index};
use crate::entry::HEAD_BYTES;
use crate::error::disk_error;
use crate::{Entry, EntryHead, Error, SignatureTransaction};

/// Read at once while searching for a signature: most batches are short, and one that is long is read in ever larger pieces.
const SEARCH_BYTES: u64 = 8 << 10;
const SEARCH_BYTES_MAX: u64 = 1 << 20;

/// A cheap handle. The index is held for reading while bytes are read, so that a rollback or a rename cannot intervene: ask
/// for no more at a time than the writer may wait for.
#[derive(Clone)]
pub struct LedgerReader {
    disk: Arc<dyn Disk>,
    index: Arc<RwLock<Index>>,
}

impl LedgerReader {
    pub(super) fn new(disk: Arc<dyn Disk>, index: Arc<RwLock<Index>>) -> Self {
        Self { disk, index }
    }

    /// The first seqno held here; later than 1 if the ledger began at a snapshot. `None` while it is empty.
    pub fn first_seqno(&self) -> Option<Seqno> {
        self.index.read().chunks.keys().next().copied()
    }

    /// What the ledger held here follows: 0.0, or the end of the snapshot that it began with.
    pub fn base(&self) -> TxId {
        self.index.read().base
    }

    pub fn last_txid(&self) -> TxId {
        self.index.read().last
    }

    /// The raw bytes of the entries `first ..= last`.
    pub fn read(&self, first: Seqno, last: Seqno) -> Result<Vec<u8>, Error> {
        let index = self.index.read();
        let mut bytes = Vec::new();
        let mut next = first;
        while next <= last {
            let chunk = index.chunk_of(next).ok_or(Error::NotHeld { seqno: next })?;
            let until = last.min(chunk.last);
            let name = chunk.name.to_string();
            let start = chunk.start_of(self.disk.as_ref(), next)?;
            let end = chunk.end_of(self.disk.as_ref(), until)?;
            let len = end.checked_sub(start).and_then(|len| usize::try_from(len).ok());
            let len = len.ok_or(Error::MalformedEntry { why: "positions are out of order" })?;
            let read = self.disk.read(&name, start, len).map_err(taken_out(next, &name))?;
            if bytes.is_empty() {
                bytes = read;
            } else {
                bytes.extend_from_slice(&read);
            }
            next = until.next();
        }
        Ok(bytes)
    }

    /// Whole entries from `first` on, as many of its chunk as fit into `bytes_max` but at least one, and the last one's seqno.
    pub fn read_up_to(&self, first: Seqno, bytes_max: u64) -> Result<(Vec<u8>, Seqno), Error> {
        let until = {
            let index = self.index.read();
            let chunk = index.chunk_of(first).ok_or(Error::NotHeld { seqno: first })?;
            let start = chunk.start_of(self.disk.as_ref(), first)?;
            // The last entry that fits, by bisection of the positions.
            let most = bytes_max / HEAD_BYTES as u64;
            let (mut fits, mut behind) = (first.0, chunk.last.0.min(first.0.saturating_add(most)) + 1);
            while behind - fits > 1 {
                let middle = fits + (behind - fits) / 2;
                let end = chunk.end_of(self.disk.as_ref(), Seqno(middle))?;
                if end.saturating_sub(start) <= bytes_max { fits = middle } else { behind = middle }
            }
            Seqno(fits)
        };
        Ok((self.read(first, until)?, until))
    }

    /// A chunk ends with this transaction, which is held here.
    pub fn ends_chunk(&self, seqno: Seqno) -> bool {
        self.index.read().chunk_of(seqno).is_some_and(|chunk| chunk.ended && chunk.last == seqno)
    }

    /// Bytes of the entries in chunks that begin after `seqno`.
    pub fn bytes_after(&self, seqno: Seqno) -> u64 {
        let index = self.index.read();
        index.chunks.range(seqno.next()..).map(|(_, chunk)| chunk.end - super::CHUNK_HEADER_BYTES).sum()
    }

    /// The view and seqno of an entry.
    pub fn txid(&self, seqno: Seqno) -> Result<TxId, Error> {
        Ok(self.index.read().read_head(self.disk.as_ref(), seqno)?.txid)
    }

    /// The first transaction held here that is of the same view as this one. Views never decrease.
    pub fn first_of_view(&self, txid: TxId) -> Result<Seqno, Error> {
        let first = self.first_seqno().ok_or(Error::NotHeld { seqno: txid.seqno })?;
        let (mut low, mut high) = (first.0, txid.seqno.0);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.txid(Seqno(middle))?.view < txid.view { low = middle + 1 } else { high = middle }
        }
        Ok(Seqno(low))
    }

    /// The first signature transaction at or after `seqno`: the one whose root covers the transaction before it.
    pub fn signature_from(&self, seqno: Seqno) -> Result<Option<SignatureTransaction>, Error> {
        let last = self.last_txid().seqno;
        let (mut next, mut most) = (seqno, SEARCH_BYTES);
        while next <= last {
            let (bytes, until) = self.read_up_to(next, most)?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (entry, behind) = Entry::split_first(rest)?;
                if let Some(found) = SignatureTransaction::from_writes(entry.txid(), &entry.public_writes()?)? {
                    return Ok(Some(found));
                }
                rest = behind;
            }
            (next, most) = (until.next(), (4 * most).min(SEARCH_BYTES_MAX));
        }
        Ok(None)
    }
}

/// A chunk may be taken out of the folder while it is read: it is not held any more then.
fn taken_out(seqno: Seqno, file: &str) -> impl FnOnce(io::Error) -> Error + '_ {
    move |error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotHeld { seqno },
        _ => disk_error(file)(error),
    }
}

impl Index {
    /// The head of an entry, from its file.
    pub(super) fn read_head(&self, disk: &dyn Disk, seqno: Seqno) -> Result<EntryHead, Error> {
        let chunk = self.chunk_of(seqno).ok_or(Error::NotHeld { seqno })?;
        let name = chunk.name.to_string();
        let start = chunk.start_of(disk, seqno)?;
        let head = EntryHead::read(&disk.read(&name, start, HEAD_BYTES).map_err(taken_out(seqno, &name))?)?;
        if head.txid.seqno != seqno {
            return Err(Error::NotContiguous { expected: seqno, found: head.txid.seqno });
        }
        Ok(head)
    }
}

impl Chunk {
    fn start_of(&self, disk: &dyn Disk, seqno: Seqno) -> Result<u64, Error> {
        let at = seqno.0.checked_sub(self.name.first.0).ok_or(Error::NotHeld { seqno })?;
        if let Some(positions) = &self.positions {
            let position = usize::try_from(at).ok().and_then(|at| positions.get(at));
            return position.map(|position| u64::from(*position)).ok_or(Error::NotHeld { seqno });
        }
        let name = self.name.to_string();
        let bytes = disk.read(&name, self.end + 4 * at, 4).map_err(taken_out(seqno, &name))?;
        let position = bytes.try_into().map(u32::from_le_bytes).map_err(|_| Error::NotHeld { seqno })?;
        Ok(u64::from(position))
    }

    fn end_of(&self, disk: &dyn Disk, seqno: Seqno) -> Result<u64, Error> {
        if seqno == self.last { Ok(self.end) } else { self.start_of(disk, seqno.next()) }
    }
}
