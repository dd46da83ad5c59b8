//! Opening a folder: which chunks are there, what a crash tore off, and the Merkle tree beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use coco_disk::Disk;
use coco_types::{Seqno, TxId};

use super::base::Base;
use super::{CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, Chunk, ChunkName, EntryScanner, Index, LedgerFiles, check_follows};
use crate::entry::HEAD_BYTES;
use crate::error::disk_error;
use crate::{Entry, EntryHead, Error, Frontier, MerkleTree, SignatureTransaction, merkle};

/// What opening found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenReport {
    /// The last transaction kept.
    pub last: TxId,
    /// What was cut off.
    pub cut: Option<Cut>,
    /// The Merkle tree's file was missing or useless and was built again from all entries.
    pub tree_rebuilt: bool,
}

/// A torn tail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Where the first bad byte may be.
    pub file: String,
    pub offset: u64,
    /// Cut from this file; later files went with it.
    pub bytes: u64,
    pub why: String,
}

pub(super) fn open(disk: Arc<dyn Disk>, durable: Seqno) -> Result<(LedgerFiles, MerkleTree, OpenReport), Error> {
    let base = Base::of(disk.as_ref())?;
    let mut names = chunk_names(disk.as_ref())?;
    if let Some(base) = &base {
        set_aside(disk.as_ref(), &mut names, base)?;
    }
    let (committed, open): (Vec<ChunkName>, Vec<ChunkName>) = names.into_iter().partition(|name| name.committed);
    let mut index = Index { chunks: BTreeMap::new(), base: TxId::default(), last: TxId::default() };
    for name in committed {
        let (chunk, last) = committed_chunk(disk.as_ref(), name)?;
        if !index.chunks.is_empty() && name.first != index.last.seqno.next() {
            return Err(Error::NotContiguous { expected: index.last.seqno.next(), found: name.first });
        }
        index.chunks.insert(name.first, chunk);
        index.last = last;
    }
    let first = index.chunks.keys().next().or(open.first().map(|name| &name.first)).copied().unwrap_or(Seqno(1));
    index.base = base.as_ref().map_or(TxId::default(), |base| base.txid);
    let expected = index.base.seqno.next();
    if first != expected && !(index.chunks.is_empty() && open.is_empty()) {
        return Err(Error::NotContiguous { expected, found: first });
    }
    if index.chunks.is_empty() {
        index.last = index.base;
    }
    let start = index.last.seqno.next();
    let (tree, tree_rebuilt) = open_tree(&disk, &index, start, base.as_ref(), open.first())?;

    let mut recovery = Recovery { disk: Arc::clone(&disk), durable, index, tree };
    let cut = recovery.open_chunks(&open)?;
    let Recovery { index, mut tree, .. } = recovery;
    tree.flush()?;
    if index.last.seqno < durable {
        let file = index.chunks.values().next_back().map_or(String::new(), |chunk| chunk.name.to_string());
        let offset = index.chunks.values().next_back().map_or(0, |chunk| chunk.end);
        let why = "entries that were synced are missing".to_owned();
        return Err(Error::Damaged { file, offset, after: index.last.seqno, why });
    }
    // A process that stopped may have left bytes and names unsynced: what is kept is durable from here on.
    disk.sync_names().map_err(disk_error("names"))?;
    let report = OpenReport { last: index.last, cut, tree_rebuilt };
    Ok((LedgerFiles::from_index(disk, index), tree, report))
}

/// Sets apart what lies before the ledger's beginning: its committed chunks stay in the folder, of the open one nothing is worth keeping.
fn set_aside(disk: &dyn Disk, names: &mut Vec<ChunkName>, base: &Base) -> Result<(), Error> {
    for name in names.extract_if(.., |name| name.first <= base.txid.seqno) {
        let file = name.to_string();
        if !name.committed {
            disk.remove(&file).and_then(|()| disk.sync_names()).map_err(disk_error(&file))?;
        } else if name.last.is_some_and(|last| last > base.txid.seqno) {
            return Err(Error::NotContiguous { expected: base.txid.seqno.next(), found: name.first });
        }
    }
    Ok(())
}

/// All of them, durably, unless a committed chunk lies behind the base: then opening says what is wrong.
pub(super) fn remove_open_chunks(disk: &dyn Disk) -> Result<(), Error> {
    let base = Base::of(disk)?.map_or(Seqno::ZERO, |base| base.txid.seqno);
    let (committed, open): (Vec<ChunkName>, Vec<ChunkName>) =
        chunk_names(disk)?.into_iter().partition(|name| name.committed);
    if committed.iter().any(|name| name.last.is_some_and(|last| last > base)) {
        return Ok(());
    }
    for name in open {
        let file = name.to_string();
        disk.remove(&file).map_err(disk_error(&file))?;
    }
    disk.sync_names().map_err(disk_error("names"))
}

/// The committed chunks up to a transaction.
pub(super) fn committed_chunks(disk: &dyn Disk, until: Seqno) -> Result<BTreeMap<Seqno, Chunk>, Error> {
    let names = chunk_names(disk)?.into_iter().filter(|name| name.committed && name.first <= until);
    names.map(|name| committed_chunk(disk, name).map(|(chunk, _)| (name.first, chunk))).collect()
}

/// In order of first seqno.
fn chunk_names(disk: &dyn Disk) -> Result<Vec<ChunkName>, Error> {
    let names = disk.names().map_err(disk_error("names"))?;
    let mut names: Vec<ChunkName> = names.iter().filter_map(|name| ChunkName::parse(name)).collect();
    names.retain(|name| name.committed || name.last.is_none());
    names.sort_by_key(|name| name.first);
    Ok(names)
}

/// Checks a committed chunk's frame; its content was checked before it was committed, and `verify` checks it again.
fn committed_chunk(disk: &dyn Disk, name: ChunkName) -> Result<(Chunk, TxId), Error> {
    let file = name.to_string();
    let damaged = |offset, why: &str| {
        let after = Seqno(name.first.0 - 1);
        Error::Damaged { file: file.clone(), offset, after, why: why.to_owned() }
    };
    let last = name.last.ok_or_else(|| damaged(0, "a committed chunk without an end"))?;
    let len = disk.len(&file).map_err(disk_error(&file))?;
    let header = disk.read(&file, 0, 8).map_err(|_| damaged(0, "no header"))?;
    let end = header.try_into().map(u64::from_le_bytes).map_err(|_| damaged(0, "no header"))?;
    let count = last.0 - name.first.0 + 1;
    if count.checked_mul(4).and_then(|table| table.checked_add(end)) != Some(len) || end < CHUNK_HEADER_BYTES {
        return Err(damaged(0, "the header does not point to a position table of the right size"));
    }
    let position = last_position(disk, &file, len)?;
    let head = disk.read(&file, position, HEAD_BYTES).ok().and_then(|head| EntryHead::read(&head).ok());
    match head {
        Some(head) if head.txid.seqno == last && position + head.entry_bytes as u64 == end => {
            Ok((Chunk { name, last, end, positions: None, ended: true }, head.txid))
        }
        _ => Err(damaged(position, "the last position does not lead to the last entry")),
    }
}

/// Where the last entry of a committed chunk of `len` bytes begins.
fn last_position(disk: &dyn Disk, file: &str, len: u64) -> Result<u64, Error> {
    let position = disk.read(file, len.saturating_sub(4), 4).map_err(disk_error(file))?;
    let position = position.try_into().map(u32::from_le_bytes);
    position.map(u64::from).map_err(|_| Error::MalformedEntry { why: "cut off" })
}

/// The tree of everything before `start`. Its file is not trusted: what the ledger was signed with there must be its peaks.
fn open_tree(
    disk: &Arc<dyn Disk>,
    index: &Index,
    start: Seqno,
    base: Option<&Base>,
    open: Option<&ChunkName>,
) -> Result<(MerkleTree, bool), Error> {
    if start == Seqno(1) {
        return Ok((MerkleTree::create(Arc::clone(disk))?, false));
    }
    let end = index.chunks.values().next_back().map(|chunk| SignedEnd::of(disk.as_ref(), chunk)).transpose()?;
    let expected = end.as_ref().map(|end| &end.frontier).or(base.map(|base| &base.frontier));
    if let Some(tree) = MerkleTree::open(Arc::clone(disk), start.0)? {
        if Some(tree.frontier()) == expected {
            return Ok((tree, false));
        }
        if let Some(end) = end.as_ref().filter(|end| tree.is_continued_from(&end.signed))
            && !leads_to_signature(disk, open, &end.frontier)?
        {
            return Err(
                end.damaged("the Merkle tree's file has another leaf for its last entry: one of the two is damaged")
            );
        }
    }
    let mut tree = match base {
        Some(base) => MerkleTree::import(Arc::clone(disk), base.frontier.clone())?,
        None => MerkleTree::create(Arc::clone(disk))?,
    };
    for chunk in index.chunks.values() {
        let file = chunk.name.to_string();
        let mut scanner = EntryScanner::new(Arc::clone(disk), &file, chunk.end);
        while let Some(entry) = scanner.next()? {
            tree.append(entry.leaf_digest());
        }
        let end = SignedEnd::of(disk.as_ref(), chunk)?;
        if *tree.frontier() != end.frontier {
            return Err(end.damaged("its entries do not give the root that is signed at its end"));
        }
    }
    tree.flush()?;
    if base.is_some() {
        disk.sync(merkle::FILE).map_err(disk_error(merkle::FILE))?;
    }
    Ok((tree, true))
}

/// The signature transaction that a committed chunk ends with.
struct SignedEnd {
    file: String,
    offset: u64,
    after: Seqno,
    /// Of all that is before it.
    signed: Frontier,
    /// With its own leaf, which only the next signature covers.
    frontier: Frontier,
}

impl SignedEnd {
    fn of(disk: &dyn Disk, chunk: &Chunk) -> Result<Self, Error> {
        let file = chunk.name.to_string();
        let len = disk.len(&file).map_err(disk_error(&file))?;
        let offset = last_position(disk, &file, len)?;
        let mut end = Self {
            file,
            offset,
            after: Seqno(chunk.name.first.0 - 1),
            signed: Frontier::new(),
            frontier: Frontier::new(),
        };
        let bytes = usize::try_from(chunk.end.saturating_sub(offset)).map_err(|_| end.damaged("an impossible size"))?;
        let raw = disk.read(&end.file, offset, bytes).map_err(disk_error(&end.file))?;
        let decoded = Entry::split_first(&raw).and_then(|(entry, _)| {
            let signature = SignatureTransaction::from_writes(entry.txid(), &entry.public_writes()?)?;
            Ok(signature.map(|signature| (signature.frontier, entry.leaf_digest())))
        });
        let (signed, leaf) = match decoded {
            Ok(Some(found)) => found,
            Ok(None) => return Err(end.damaged("a chunk that ends without a signature")),
            Err(error) => return Err(end.damaged(&error.to_string())),
        };
        end.frontier = signed.clone();
        end.frontier.append(leaf);
        end.signed = signed;
        Ok(end)
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Damaged { file: self.file.clone(), offset: self.offset, after: self.after, why: why.to_owned() }
    }
}

/// Whether the first signature in this chunk is over the entries before it, behind this tree.
fn leads_to_signature(disk: &Arc<dyn Disk>, name: Option<&ChunkName>, tree: &Frontier) -> Result<bool, Error> {
    let Some(name) = name else { return Ok(false) };
    let file = name.to_string();
    let len = disk.len(&file).map_err(disk_error(&file))?;
    let mut scanner = EntryScanner::new(Arc::clone(disk), &file, len.min(CHUNK_BYTES_MAX));
    let mut tree = tree.clone();
    while let Ok(Some(entry)) = scanner.next() {
        let Ok(writes) = entry.public_writes() else { break };
        match SignatureTransaction::from_writes(entry.txid(), &writes) {
            Ok(None) => tree.append(entry.leaf_digest()),
            Ok(Some(signature)) => return Ok(signature.frontier == tree),
            Err(_) => break,
        }
    }
    Ok(false)
}

/// Reads the open chunks batch by batch and keeps what is whole.
struct Recovery {
    disk: Arc<dyn Disk>,
    durable: Seqno,
    index: Index,
    tree: MerkleTree,
}

impl Recovery {
    fn open_chunks(&mut self, names: &[ChunkName]) -> Result<Option<Cut>, Error> {
        let mut cut = None;
        for name in names {
            let file = name.to_string();
            let stale = self.stale(*name);
            if cut.is_none() && stale.is_none() {
                cut = self.open_chunk(*name)?;
                continue;
            }
            if let Some(why) = stale.filter(|_| cut.is_none()) {
                self.check_not_durable(&file, 0, why)?;
                let bytes = self.disk.len(&file).map_err(disk_error(&file))?;
                cut = Some(Cut { file: file.clone(), offset: 0, bytes, why: why.to_owned() });
            }
            self.remove(&file)?;
        }
        Ok(cut)
    }

    /// Why a file cannot continue what was read so far.
    fn stale(&self, name: ChunkName) -> Option<&'static str> {
        let ended = self.index.chunks.values().next_back().is_none_or(|chunk| chunk.ended);
        if name.first != self.index.last.seqno.next() {
            Some("it does not continue the chunk before it")
        } else if !ended {
            Some("the chunk before it has not ended")
        } else {
            None
        }
    }

    fn open_chunk(&mut self, name: ChunkName) -> Result<Option<Cut>, Error> {
        let file = name.to_string();
        let len = self.disk.len(&file).map_err(disk_error(&file))?;
        let before = Seqno(name.first.0 - 1);
        let mut chunk =
            Chunk { name, last: before, end: CHUNK_HEADER_BYTES, positions: Some(Vec::new()), ended: false };
        let bad = if len < CHUNK_HEADER_BYTES {
            Some((0, "no header".to_owned()))
        } else {
            self.read_batches(&mut chunk, &file, len)?
        };
        let end = chunk.end;
        let mut cut = None;
        if let Some((offset, why)) = bad {
            self.check_not_durable(&file, offset, &why)?;
            cut = Some(Cut { file: file.clone(), offset, bytes: len.saturating_sub(end), why });
        }
        if chunk.last == before {
            self.remove(&file)?;
            return Ok(cut);
        }
        if len > end {
            self.disk.truncate(&file, end).map_err(disk_error(&file))?;
        }
        // A completion that was not renamed is undone; it is done again once the chunk is known to be committed.
        self.disk.write(&file, 0, &[0; CHUNK_HEADER_BYTES as usize]).map_err(disk_error(&file))?;
        self.disk.sync(&file).map_err(disk_error(&file))?;
        self.index.chunks.insert(name.first, chunk);
        Ok(cut)
    }

    /// Adds whole batches to `chunk`, the tree and the index. Returns where and why it stopped before the end.
    fn read_batches(&mut self, chunk: &mut Chunk, file: &str, len: u64) -> Result<Option<(u64, String)>, Error> {
        let mut scanner = EntryScanner::new(Arc::clone(&self.disk), file, len.min(CHUNK_BYTES_MAX));
        let mut batch: Vec<EntryHead> = Vec::new();
        let mut last = self.index.last;
        let bad = loop {
            // Behind an ended chunk lies at most the table of a completion that was not finished.
            if chunk.ended {
                break None;
            }
            let offset = scanner.offset();
            let entry = match scanner.next() {
                Ok(Some(entry)) => entry,
                Ok(None) if batch.is_empty() => break None,
                Ok(None) => break Some((offset, "a batch without its signature".to_owned())),
                Err(error @ Error::Disk { .. }) => return Err(error),
                Err(error) => break Some((offset, error.to_string())),
            };
            let txid = entry.txid();
            let signature = check_follows(last, txid)
                .and_then(|()| entry.public_writes())
                .and_then(|writes| SignatureTransaction::from_writes(txid, &writes));
            let signature = match signature {
                Ok(signature) => signature,
                Err(error) => break Some((offset, error.to_string())),
            };
            if signature.is_none() && entry.head().flags != 0 {
                break Some((offset, "a chunk that ends within a batch".to_owned()));
            }
            let root = self.tree.root();
            if signature.as_ref().is_some_and(|signature| signature.node.root != root) {
                break Some((offset, format!("the batch that {txid} signs was altered")));
            }
            self.tree.append(entry.leaf_digest());
            batch.push(entry.head());
            last = txid;
            if signature.is_some() {
                batch.drain(..).for_each(|head| chunk.push(head));
                self.index.last = txid;
            }
        };
        self.tree.truncate(chunk.last.next().0)?;
        Ok(bad)
    }

    fn check_not_durable(&self, file: &str, offset: u64, why: &str) -> Result<(), Error> {
        let after = Seqno(self.tree.leaves() - 1);
        if after < self.durable {
            return Err(Error::Damaged { file: file.to_owned(), offset, after, why: why.to_owned() });
        }
        Ok(())
    }

    fn remove(&self, file: &str) -> Result<(), Error> {
        self.disk.remove(file).and_then(|()| self.disk.sync_names()).map_err(disk_error(file))
    }
}
