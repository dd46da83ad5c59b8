//! The chunk files: an append-only store of raw entries.
//!
//! ```text
//! ledger_1-90.committed   ledger_91-200.committed   ledger_201              ledger_260
//! header, entries, table  …                         0, entries (ended)      0, entries …
//! ```
//!
//! A chunk ends after an entry with [`FLAG_CHUNK_AFTER`](crate::FLAG_CHUNK_AFTER), which the primary sets, never by a
//! node's own choice: so committed chunks are byte-identical on all nodes. It keeps its open form until all of it is
//! committed; only then is the position table written and the file renamed, and from then on it never changes.
//!
//! One writer, any number of [`LedgerReader`]s. The writer does not sync: it says what is unsynced ([`Unsynced`]), so that
//! the caller can sync on another thread while it goes on.

mod base;
mod earlier;
mod frame;
mod name;
mod open;
mod reader;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use coco_disk::Disk;
use coco_types::{ReplicaId, Seqno, TxId};
use parking_lot::RwLock;

use crate::error::disk_error;
use crate::{EntryHead, Error, FLAG_CHUNK_AFTER, MerkleTree, Primary, merkle};

pub(crate) use base::Base;
pub use earlier::{CheckedChunk, Earlier};
pub(crate) use frame::ChunkFrame;
pub use name::ChunkName;
pub use open::{Cut, OpenReport};
pub use reader::LedgerReader;
pub(crate) use scan::EntryScanner;

/// The table's offset, 0 while the chunk is open.
pub(crate) const CHUNK_HEADER_BYTES: u64 = 8;
/// Offsets in the table are 32 bits.
pub(crate) const CHUNK_BYTES_MAX: u64 = u32::MAX as u64;

/// The writer. See the module's text.
pub struct LedgerFiles {
    disk: Arc<dyn Disk>,
    index: Arc<RwLock<Index>>,
    unsynced: BTreeSet<String>,
    names_unsynced: bool,
    /// First seqnos of chunks whose table is written but not yet synced.
    completing: Vec<Seqno>,
    committed: Seqno,
}

/// Where every entry is.
struct Index {
    /// By first seqno; contiguous.
    chunks: BTreeMap<Seqno, Chunk>,
    /// What the first chunk follows.
    base: TxId,
    last: TxId,
}

struct Chunk {
    name: ChunkName,
    last: Seqno,
    /// Where the entries end.
    end: u64,
    /// Offset of each entry while the chunk is open; afterwards the table in the file is read.
    positions: Option<Vec<u32>>,
    /// Its last entry ends the chunk.
    ended: bool,
}

/// What must be synced before the entries appended so far are durable. Syncing may happen on any thread.
#[must_use]
#[derive(Debug, Default)]
pub struct Unsynced {
    pub files: Vec<String>,
    /// The folder's names too.
    pub names: bool,
    completing: Vec<Seqno>,
}

impl Unsynced {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.names
    }

    /// After an error the node stops: nothing may be assumed of what was written since the last good sync.
    pub fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        for file in &self.files {
            match disk.sync(file) {
                // Rolled back and removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                result => result?,
            }
        }
        if self.names { disk.sync_names() } else { Ok(()) }
    }
}

impl LedgerFiles {
    /// Opens a folder after a stop or a crash; an empty folder is a new ledger, whose first seqno is 1.
    ///
    /// What a crash tore off at the end is cut back to the last whole batch whose entries give the root that it signs. The
    /// Merkle tree is brought to the same point. `durable` is what the caller knows to have been synced (from the consensus
    /// log; 0 if it does not know): damage at or below it, or in a committed chunk, is no torn write but an error.
    pub fn open(disk: Arc<dyn Disk>, durable: Seqno) -> Result<(Self, MerkleTree, OpenReport), Error> {
        open::open(disk, durable)
    }

    /// From the next opening on, this folder's ledger begins behind the signature transaction (its raw entry) that a snapshot ends
    /// with, in a view of this primary. Durable when it returns. Chunks before it may be there, or come later: [`Earlier`].
    ///
    /// Only for a folder whose consensus log does not lead to that transaction: what its open chunks hold is in the snapshot, or can
    /// never be committed, and they are removed. If a crash comes in between, this must be called again before the folder is opened.
    pub fn begin_after(disk: &dyn Disk, signature: &[u8], primary: ReplicaId) -> Result<(), Error> {
        base::Base::write(disk, signature, primary)?;
        open::remove_open_chunks(disk)
    }

    /// From the next opening on, this folder's ledger begins behind the chunk that ends with this transaction: that one and those before it may be taken
    /// out, and lie in `archive`, which was verified. Durable when it returns. Whoever puts them back, or shows them beside the folder's
    /// own, has the ledger whole again.
    pub fn retain_after(folder: &dyn Disk, archive: &Arc<dyn Disk>, last: Seqno) -> Result<TxId, Error> {
        base::Base::retain_after(folder, archive, last)
    }

    /// What the ledger in this folder begins behind; `None` if it is held from its first transaction on.
    pub fn begins_behind(disk: &dyn Disk) -> Result<Option<TxId>, Error> {
        Ok(base::Base::of(disk)?.map(|base| base.txid))
    }

    /// Chunks before a snapshot are still to come, and are fetched by the node.
    pub fn awaits_earlier(disk: &dyn Disk) -> Result<bool, Error> {
        Ok(base::Base::read(disk)?.is_some())
    }

    /// Who led the view in which a ledger begins that does not begin with its first transaction.
    pub fn base_primary(disk: &dyn Disk) -> Result<Option<Primary>, Error> {
        Ok(base::Base::of(disk)?.and_then(|base| base.primary))
    }

    /// The chunks before the snapshot are all there: the ledger begins with its first transaction from now on.
    pub fn adopt(&mut self, earlier: &Earlier) -> Result<(), Error> {
        if let Some(seqno) = earlier.next() {
            return Err(Error::NotHeld { seqno });
        }
        self.disk.sync(merkle::FILE).map_err(disk_error(merkle::FILE))?;
        let chunks = open::committed_chunks(self.disk.as_ref(), earlier.base().seqno)?;
        base::Base::remove(self.disk.as_ref())?;
        let mut index = self.index.write();
        index.chunks.extend(chunks);
        index.base = TxId::default();
        Ok(())
    }

    fn from_index(disk: Arc<dyn Disk>, index: Index) -> Self {
        let committed_chunks = index.chunks.values().filter(|chunk| chunk.positions.is_none());
        let committed = committed_chunks.map(|chunk| chunk.last).max().unwrap_or_default();
        Self {
            disk,
            index: Arc::new(RwLock::new(index)),
            unsynced: BTreeSet::new(),
            names_unsynced: false,
            completing: Vec::new(),
            committed,
        }
    }

    /// The last entry appended; while there is none, what the ledger began after (0.0 if it is new).
    pub fn last_txid(&self) -> TxId {
        self.index.read().last
    }

    /// The size of the chunk that the next entry goes to; 0 if that starts a new one.
    pub fn open_chunk_bytes(&self) -> u64 {
        self.index.read().chunks.values().next_back().filter(|chunk| !chunk.ended).map_or(0, |chunk| chunk.end)
    }

    /// Appends the raw entries of one batch and returns its last TxId. They are readable at once and durable once synced.
    ///
    /// On an error nothing was appended.
    pub fn append(&mut self, entries: &[u8]) -> Result<TxId, Error> {
        let pieces = self.cut_into_pieces(entries)?;
        let mut index = self.index.write();
        let before = index.last;
        for piece in &pieces {
            if let Err(error) = append_piece(self.disk.as_ref(), &mut index, piece) {
                // What reached the file lies behind its end and is written over, or cut off when it is next opened.
                index.forget_after(before);
                return Err(error);
            }
            let name = index.chunks.values().next_back().expect("a piece was appended to it").name.to_string();
            self.names_unsynced |= piece.starts_chunk;
            self.unsynced.insert(name);
        }
        Ok(index.last)
    }

    /// Checks the entries' heads and splits them where chunks begin.
    fn cut_into_pieces<'a>(&self, entries: &'a [u8]) -> Result<Vec<Piece<'a>>, Error> {
        let index = self.index.read();
        let mut starts_chunk = index.chunks.values().next_back().is_none_or(|chunk| chunk.ended);
        let mut last = index.last;
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        let mut current = Piece { starts_chunk, ..Piece::default() };
        let mut rest = entries;
        while !rest.is_empty() {
            let head = EntryHead::read(rest)?;
            check_follows(last, head.txid)?;
            let (entry, behind) =
                rest.split_at_checked(head.entry_bytes).ok_or(Error::MalformedEntry { why: "cut off" })?;
            current.heads.push(head);
            current.len += entry.len();
            (last, rest) = (head.txid, behind);
            starts_chunk = head.flags & FLAG_CHUNK_AFTER != 0;
            if starts_chunk || rest.is_empty() {
                let consumed: usize = pieces.iter().map(|piece| piece.len).sum();
                current.bytes = &entries[consumed..consumed + current.len];
                pieces.push(std::mem::take(&mut current));
                current.starts_chunk = starts_chunk;
            }
        }
        Ok(pieces)
    }

    /// Drops everything after `seqno`, across chunks: a rolled-back tail. The Merkle tree is truncated by its owner.
    pub fn truncate_after(&mut self, seqno: Seqno) -> Result<(), Error> {
        if seqno < self.committed {
            return Err(Error::Committed { seqno: self.committed });
        }
        let mut index = self.index.write();
        if seqno >= index.last.seqno {
            return Ok(());
        }
        // Whole files first and durably, so that none of them can come back beside what is appended instead.
        let removed: Vec<Seqno> = index.chunks.range(seqno.next()..).map(|(first, _)| *first).collect();
        for first in removed.iter().rev() {
            let Some(chunk) = index.chunks.remove(first) else { continue };
            let name = chunk.name.to_string();
            self.disk.remove(&name).map_err(disk_error(&name))?;
            self.unsynced.remove(&name);
        }
        if !removed.is_empty() {
            self.disk.sync_names().map_err(disk_error("names"))?;
        }
        index.last = match index.chunk_of(seqno) {
            Some(_) => index.read_head(self.disk.as_ref(), seqno)?.txid,
            None if seqno == index.base.seqno => index.base,
            None => return Err(Error::NotHeld { seqno }),
        };
        if let Some(chunk) = index.chunks.values_mut().next_back()
            && let Some(end) = chunk.forget_after(seqno)
        {
            let name = chunk.name.to_string();
            self.disk.truncate(&name, end).map_err(disk_error(&name))?;
            self.unsynced.insert(name);
        }
        Ok(())
    }

    /// Everything up to `seqno` is committed. Chunks that are wholly committed are completed: their table is written now,
    /// and their name changes in [`LedgerFiles::synced`], once that is durable.
    pub fn set_committed(&mut self, seqno: Seqno) -> Result<(), Error> {
        self.committed = self.committed.max(seqno);
        let index = self.index.read();
        for (first, chunk) in &index.chunks {
            let Some(positions) = &chunk.positions else { continue };
            if !chunk.ended || chunk.last > self.committed || self.completing.contains(first) {
                continue;
            }
            let name = chunk.name.to_string();
            let table: Vec<u8> = positions.iter().flat_map(|position| position.to_le_bytes()).collect();
            self.disk.write(&name, chunk.end, &table).map_err(disk_error(&name))?;
            self.disk.write(&name, 0, &chunk.end.to_le_bytes()).map_err(disk_error(&name))?;
            self.completing.push(*first);
            self.unsynced.insert(name);
            // So that the tree need not be rebuilt from committed chunks.
            self.unsynced.insert(merkle::FILE.to_owned());
        }
        Ok(())
    }

    pub fn committed(&self) -> Seqno {
        self.committed
    }

    /// What is unsynced now; the caller syncs it and hands it back to [`LedgerFiles::synced`].
    pub fn take_unsynced(&mut self) -> Unsynced {
        Unsynced {
            files: std::mem::take(&mut self.unsynced).into_iter().collect(),
            names: std::mem::take(&mut self.names_unsynced),
            completing: std::mem::take(&mut self.completing),
        }
    }

    /// Renames the chunks whose completion is now durable. The new names become durable with the next sync; until then a
    /// crash brings back the old ones, which is harmless.
    pub fn synced(&mut self, done: &Unsynced) -> Result<(), Error> {
        let mut index = self.index.write();
        for first in &done.completing {
            let Some(chunk) = index.chunks.get_mut(first) else { continue };
            let open_name = chunk.name.to_string();
            let committed = ChunkName::committed(*first, chunk.last);
            self.disk.rename(&open_name, &committed.to_string()).map_err(disk_error(&open_name))?;
            (chunk.name, chunk.positions) = (committed, None);
            self.names_unsynced = true;
        }
        Ok(())
    }

    /// Syncs everything here and now: for tests, tools and a clean stop.
    pub fn sync(&mut self) -> Result<(), Error> {
        loop {
            let unsynced = self.take_unsynced();
            if unsynced.is_empty() {
                return Ok(());
            }
            unsynced.sync(self.disk.as_ref()).map_err(disk_error("sync"))?;
            self.synced(&unsynced)?;
        }
    }

    /// A handle for reading from any thread.
    pub fn reader(&self) -> LedgerReader {
        LedgerReader::new(Arc::clone(&self.disk), Arc::clone(&self.index))
    }
}

/// Entries that lie in one chunk.
#[derive(Default)]
struct Piece<'a> {
    bytes: &'a [u8],
    len: usize,
    heads: Vec<EntryHead>,
    /// They are its first.
    starts_chunk: bool,
}

/// Seqnos are contiguous and views never decrease.
pub(crate) fn check_follows(last: TxId, next: TxId) -> Result<(), Error> {
    if next.seqno != last.seqno.next() {
        return Err(Error::NotContiguous { expected: last.seqno.next(), found: next.seqno });
    }
    if next.view < last.view { Err(Error::ViewDecreased { txid: next, last_view: last.view.0 }) } else { Ok(()) }
}

fn append_piece(disk: &dyn Disk, index: &mut Index, piece: &Piece<'_>) -> Result<(), Error> {
    let first = index.last.seqno.next();
    if piece.starts_chunk {
        let positions = Some(Vec::with_capacity(piece.heads.len()));
        let name = ChunkName::open(first);
        let chunk = Chunk { name, last: index.last.seqno, end: CHUNK_HEADER_BYTES, positions, ended: false };
        index.chunks.insert(first, chunk);
    }
    let chunk = index.chunks.values_mut().next_back().expect("a piece that starts no chunk continues one");
    let table_bytes = 4 * (chunk.positions.as_ref().map_or(0, Vec::len) + piece.heads.len()) as u64;
    if chunk.end + piece.len as u64 + table_bytes > CHUNK_BYTES_MAX {
        return Err(Error::ChunkTooLarge { first: chunk.name.first });
    }
    let name = chunk.name.to_string();
    if piece.starts_chunk {
        let with_header = [&[0; CHUNK_HEADER_BYTES as usize], piece.bytes].concat();
        disk.write(&name, 0, &with_header).map_err(disk_error(&name))?;
    } else {
        disk.write(&name, chunk.end, piece.bytes).map_err(disk_error(&name))?;
    }
    for head in &piece.heads {
        chunk.push(*head);
        index.last = head.txid;
    }
    Ok(())
}

impl Chunk {
    fn push(&mut self, head: EntryHead) {
        let position = u32::try_from(self.end).expect("a chunk's size was checked");
        self.positions.as_mut().expect("entries are appended to open chunks only").push(position);
        self.end += head.entry_bytes as u64;
        self.last = head.txid.seqno;
        self.ended = head.flags & FLAG_CHUNK_AFTER != 0;
    }

    /// Drops what comes after `seqno` from memory; returns where the entries then end, if any were dropped.
    fn forget_after(&mut self, seqno: Seqno) -> Option<u64> {
        let kept = usize::try_from(seqno.0.checked_sub(self.name.first.0)? + 1).ok()?;
        let positions = self.positions.as_mut()?;
        let end = u64::from(*positions.get(kept)?);
        positions.truncate(kept);
        (self.last, self.end, self.ended) = (seqno, end, false);
        Some(end)
    }
}

impl Index {
    fn chunk_of(&self, seqno: Seqno) -> Option<&Chunk> {
        self.chunks.range(..=seqno).next_back().map(|(_, chunk)| chunk).filter(|chunk| seqno <= chunk.last)
    }

    /// Drops what comes after `last` from memory.
    fn forget_after(&mut self, last: TxId) {
        self.chunks.retain(|first, _| *first <= last.seqno);
        if let Some(chunk) = self.chunks.values_mut().next_back() {
            chunk.forget_after(last.seqno);
        }
        self.last = last;
    }
}

#[cfg(test)]
mod tests {
    use coco_disk::MemoryDisk;

    use super::*;

    #[test]
    fn a_chunk_whose_offsets_would_not_fit_is_refused() {
        let first = Seqno(1);
        let last = TxId::new(coco_types::View(2), first);
        let chunk = Chunk {
            name: ChunkName::open(first),
            last: first,
            end: CHUNK_BYTES_MAX - 100,
            positions: Some(vec![8]),
            ended: false,
        };
        let index = Index { chunks: BTreeMap::from([(first, chunk)]), base: TxId::default(), last };
        let disk = Arc::new(MemoryDisk::new());
        let mut files = LedgerFiles::from_index(disk.clone(), index);
        let key = coco_crypto::AeadKey::new(&coco_crypto::SymmetricKey::from_bytes([1; 32]));
        let fields = crate::entry::EntryFields {
            txid: TxId::new(last.view, last.seqno.next()),
            flags: 0,
            claims_digest: coco_types::Digest::ZERO,
            evidence_digest: coco_types::Digest::ZERO,
        };
        let mut entry = Vec::new();
        crate::entry::append_entry(&mut entry, &fields, &coco_types::WriteSet::new(), &key).unwrap();
        assert!(matches!(files.append(&entry), Err(Error::ChunkTooLarge { first: Seqno(1) })));
        assert_eq!(files.last_txid(), last);
        assert!(disk.names().unwrap().is_empty());
    }
}
