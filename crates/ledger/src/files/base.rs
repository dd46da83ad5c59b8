//! Where a ledger begins that does not begin with its first transaction: behind a snapshot, or behind chunks that were taken out.
//!
//! The file `base.ignored` holds the raw signature transaction that the snapshot ends with: it names the place, and carries the
//! tree's frontier with the service's signature over it. Behind it stands the replica that led its view, in eight bytes: the chunks that
//! follow may be of the same view, and the one that names its primary is missing. The file is there until the chunks before it have arrived
//! ([`Earlier`](super::Earlier)).
//!
//! The file `retention.ignored` says the same of the last chunk that an operator took out of the folder, as it is kept elsewhere. Nobody fetches those. It counts
//! for nothing once they are in the folder again.

use std::sync::Arc;

use coco_disk::Disk;
use coco_types::{ReplicaId, Seqno, TxId};

use super::{ChunkFrame, ChunkName, EntryScanner};
use crate::error::disk_error;
use crate::{Entry, Error, Frontier, Primary, SignatureTransaction};

const FILE: &str = "base.ignored";
const RETENTION_FILE: &str = "retention.ignored";

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Base {
    pub txid: TxId,
    /// The tree up to and including that transaction.
    pub frontier: Frontier,
    /// Who led its view; unknown in a folder of an early build.
    pub primary: Option<Primary>,
}

const REPLICA_BYTES: usize = 8;

impl Base {
    /// Behind a snapshot, while the chunks before it are missing.
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>, Error> {
        Self::read_file(disk, FILE)
    }

    /// Behind a snapshot, or behind what was taken out; `None` if the folder holds the ledger from its first transaction on.
    pub fn of(disk: &dyn Disk) -> Result<Option<Self>, Error> {
        if let Some(base) = Self::read(disk)? {
            return Ok(Some(base));
        }
        let Some(kept) = Self::read_file(disk, RETENTION_FILE)? else { return Ok(None) };
        let names = disk.names().map_err(disk_error("names"))?;
        let mut names: Vec<_> = names.iter().filter_map(|name| ChunkName::parse(name)).collect();
        names.sort_by_key(|name| name.first);
        let mut next = Seqno(1);
        for name in names.into_iter().filter(|name| name.committed) {
            match name.last {
                Some(last) if name.first == next => next = last.next(),
                _ => break,
            }
        }
        Ok((next <= kept.txid.seqno).then_some(kept))
    }

    /// The folder's ledger begins behind the chunk of the archive that ends with this transaction. Durable when it returns.
    pub fn retain_after(folder: &dyn Disk, archive: &Arc<dyn Disk>, last: Seqno) -> Result<TxId, Error> {
        let (mut primary, mut end): (Option<Primary>, _) = (None, None);
        for chunk in ChunkFrame::all(archive.as_ref())?.into_iter().take_while(|chunk| chunk.name.first <= last) {
            let mut scanner = EntryScanner::new(Arc::clone(archive), &chunk.file, chunk.end);
            while let Some(entry) = scanner.next()? {
                let txid = entry.txid();
                primary = Primary::from_writes(txid, &entry.public_writes()?)?.or(primary);
                end = (txid.seqno == last).then(|| entry.raw().to_vec()).or(end);
            }
        }
        let end = end.ok_or(Error::NotHeld { seqno: last })?;
        let view = Entry::split_first(&end)?.0.txid().view;
        let primary = primary.filter(|primary| primary.view == view).ok_or(Error::UnknownPrimary { view: view.0 })?;
        Self::write_file(folder, RETENTION_FILE, &end, primary.replica)?;
        Ok(TxId::new(view, last))
    }

    fn read_file(disk: &dyn Disk, file: &str) -> Result<Option<Self>, Error> {
        if !disk.exists(file).map_err(disk_error(file))? {
            return Ok(None);
        }
        Self::decode(file, &disk.read_all(file).map_err(disk_error(file))?).map(Some)
    }

    /// Durable when it returns.
    pub fn write(disk: &dyn Disk, signature: &[u8], primary: ReplicaId) -> Result<(), Error> {
        Self::write_file(disk, FILE, signature, primary)
    }

    fn write_file(disk: &dyn Disk, file: &str, signature: &[u8], primary: ReplicaId) -> Result<(), Error> {
        let bytes = [signature, &primary.0.to_le_bytes()].concat();
        Self::decode(file, &bytes)?;
        disk.replace(file, &bytes).map_err(disk_error(file))
    }

    /// The ledger is whole.
    pub fn remove(disk: &dyn Disk) -> Result<(), Error> {
        disk.remove(FILE).and_then(|()| disk.sync_names()).map_err(disk_error(FILE))
    }

    fn decode(file: &str, bytes: &[u8]) -> Result<Self, Error> {
        let damaged =
            |why: &str| Error::Damaged { file: file.to_owned(), offset: 0, after: Seqno::ZERO, why: why.to_owned() };
        let (entry, rest) = Entry::split_first(bytes)?;
        let found = SignatureTransaction::from_writes(entry.txid(), &entry.public_writes()?)?;
        let found = found.ok_or_else(|| damaged("not a signature transaction"))?;
        let primary = match (rest.len(), rest.first_chunk::<REPLICA_BYTES>()) {
            (0, _) => None,
            (REPLICA_BYTES, Some(id)) => {
                Some(Primary { view: found.txid.view, replica: ReplicaId(u64::from_le_bytes(*id)) })
            }
            _ => return Err(damaged("it names no primary")),
        };
        let mut frontier = found.frontier;
        frontier.append(entry.leaf_digest());
        Ok(Self { txid: found.txid, frontier, primary })
    }
}
