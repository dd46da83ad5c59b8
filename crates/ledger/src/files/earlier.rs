//! The chunks before a snapshot: they arrive later, in order, and are checked before they count.
//!
//! ```text
//!   ledger_1-90.committed  ledger_91-200.committed   …   │ base │  ledger_901-1010.committed  ledger_1011
//!   └── leaves from the first one on, roots, the service's signature at each chunk's end ──▶ must meet the base's frontier
//! ```
//!
//! The Merkle tree's nodes are written as the leaves come; the places are those that they would have had. When the last chunk
//! meets the base, the ledger is whole: the same files as on any other node.

use std::sync::Arc;

use coco_disk::Disk;
use coco_types::{Seqno, TxId};

use super::base::Base;
use super::{ChunkFrame, ChunkName, EntryScanner, check_follows};
use crate::error::disk_error;
use crate::merkle::{self, Frontier};
use crate::signature::verify_service_signature;
use crate::{Batch, Error, ServiceKeys, SignatureTransaction};

/// See the module's text.
pub struct Earlier {
    disk: Arc<dyn Disk>,
    service: ServiceKeys,
    base: Base,
    frontier: Frontier,
    last: TxId,
}

/// The chunk that is needed next: its entries give the roots that are signed in it.
pub struct CheckedChunk {
    name: ChunkName,
    file: String,
    frontier: Frontier,
    last: TxId,
    /// Of the tree.
    nodes: Vec<u8>,
}

impl Earlier {
    /// `None` if the ledger of this folder begins with its first transaction.
    pub fn open(disk: Arc<dyn Disk>, service: ServiceKeys) -> Result<Option<Self>, Error> {
        let base = Base::read(disk.as_ref())?;
        let begin = |base| Self { disk, service, base, frontier: Frontier::new(), last: TxId::default() };
        Ok(base.map(begin))
    }

    /// The first transaction of the chunk that is needed next; `None` when all are there.
    pub fn next(&self) -> Option<Seqno> {
        (self.last.seqno < self.base.txid.seqno).then(|| self.last.seqno.next())
    }

    /// The ledger is held from behind this one on.
    pub fn base(&self) -> TxId {
        self.base.txid
    }

    /// Whether the chunk that is needed next is in the folder already.
    pub fn held(&self) -> Result<Option<ChunkName>, Error> {
        let names = self.disk.names().map_err(disk_error("names"))?;
        let mut names = names.iter().filter_map(|name| ChunkName::parse(name));
        Ok(names.find(|name| name.committed && Some(name.first) == self.next()))
    }

    /// Takes in a chunk that was checked: gives it its name, and its place in the tree.
    pub fn accept(&mut self, checked: CheckedChunk) -> Result<(), Error> {
        let CheckedChunk { name, file, frontier, last, nodes } = checked;
        merkle::write_nodes(self.disk.as_ref(), self.frontier.leaves(), &nodes)?;
        let own = name.to_string();
        if own != file {
            self.disk.sync(&file).map_err(disk_error(&file))?;
            self.disk.rename(&file, &own).and_then(|()| self.disk.sync_names()).map_err(disk_error(&file))?;
        }
        (self.frontier, self.last) = (frontier, last);
        Ok(())
    }

    /// Hands out the batches of a chunk that was checked. Its last transaction lies behind the chunk's last root: only its seal, or
    /// the chunk after it, proves that one.
    pub fn batches(
        &self,
        checked: &CheckedChunk,
        each: &mut dyn FnMut(&Batch<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let frame = ChunkFrame::read_as(self.disk.as_ref(), checked.name, &checked.file)?;
        let mut scanner = EntryScanner::new(Arc::clone(&self.disk), &frame.file, frame.end);
        let mut raw = Vec::new();
        while let Some(entry) = scanner.next()? {
            raw.extend_from_slice(entry.raw());
            if SignatureTransaction::from_writes(entry.txid(), &entry.public_writes()?)?.is_some() {
                each(&Batch::parse(&raw)?)?;
                raw.clear();
            }
        }
        Ok(())
    }

    /// Checks the chunk that is needed next, whatever its file is called.
    pub fn check(&self, name: ChunkName, file: &str) -> Result<CheckedChunk, Error> {
        let damaged = |offset, why: &str| Error::Damaged {
            file: file.to_owned(),
            offset,
            after: self.last.seqno,
            why: why.to_owned(),
        };
        if Some(name.first) != self.next() || name.last.is_none_or(|last| last > self.base.txid.seqno) {
            return Err(damaged(0, "not the chunk that is needed next"));
        }
        let frame = ChunkFrame::read_as(self.disk.as_ref(), name, file)?;
        let mut scanner = EntryScanner::new(Arc::clone(&self.disk), file, frame.end);
        let (mut frontier, mut last) = (self.frontier.clone(), self.last);
        let (mut nodes, mut table) = (Vec::new(), Vec::new());
        loop {
            let offset = scanner.offset();
            let Some(entry) = scanner.next()? else { break };
            let txid = entry.txid();
            check_follows(last, txid)?;
            let signed = SignatureTransaction::from_writes(txid, &entry.public_writes()?)?;
            if signed.as_ref().is_some_and(|signed| signed.node.root != frontier.root()) {
                return Err(damaged(offset, "a batch signs another root than its entries give"));
            }
            let root = frontier.root();
            frontier.append_with(entry.leaf_digest(), |node| nodes.extend_from_slice(node.as_bytes()));
            table.extend_from_slice(&u32::try_from(offset).unwrap_or(u32::MAX).to_le_bytes());
            last = txid;
            if scanner.offset() == frame.end {
                let signed = signed.ok_or_else(|| damaged(offset, "a chunk that ends without a signature"))?;
                verify_service_signature(&signed.cose, self.service.at(txid.seqno), txid, &root)?;
            }
        }
        let len =
            usize::try_from(frame.file_bytes - frame.end).map_err(|_| damaged(frame.end, "an impossible size"))?;
        if Some(last.seqno) != name.last || self.disk.read(file, frame.end, len).map_err(disk_error(file))? != table {
            return Err(damaged(frame.end, "its end or its position table is another than its entries'"));
        }
        if last.seqno == self.base.txid.seqno && frontier != self.base.frontier {
            return Err(damaged(0, "it does not lead to the snapshot that this ledger began with"));
        }
        Ok(CheckedChunk { name, file: file.to_owned(), frontier, last, nodes })
    }
}
