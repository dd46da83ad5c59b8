//! Where a ledger begins that does not begin with its first transaction: behind a snapshot.
//!
//! The file `base.ignored` holds the raw signature transaction that the snapshot ends with: it names the place, and carries the
//! tree's frontier with the service's signature over it. It is there until the chunks before it have arrived
//! ([`Earlier`](super::Earlier)).

use coco_disk::Disk;
use coco_types::{Seqno, TxId};

use crate::error::disk_error;
use crate::{Entry, Error, Frontier, SignatureTransaction};

const FILE: &str = "base.ignored";

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Base {
    pub txid: TxId,
    /// The tree up to and including that transaction.
    pub frontier: Frontier,
}

impl Base {
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>, Error> {
        if !disk.exists(FILE).map_err(disk_error(FILE))? {
            return Ok(None);
        }
        Self::decode(&disk.read_all(FILE).map_err(disk_error(FILE))?).map(Some)
    }

    /// Durable when it returns.
    pub fn write(disk: &dyn Disk, signature: &[u8]) -> Result<(), Error> {
        Self::decode(signature)?;
        disk.replace(FILE, signature).map_err(disk_error(FILE))
    }

    /// The ledger is whole.
    pub fn remove(disk: &dyn Disk) -> Result<(), Error> {
        disk.remove(FILE).and_then(|()| disk.sync_names()).map_err(disk_error(FILE))
    }

    fn decode(signature: &[u8]) -> Result<Self, Error> {
        let damaged =
            |why: &str| Error::Damaged { file: FILE.to_owned(), offset: 0, after: Seqno::ZERO, why: why.to_owned() };
        let (entry, rest) = Entry::split_first(signature)?;
        let found = SignatureTransaction::from_writes(entry.txid(), &entry.public_writes()?)?;
        let found = found.filter(|_| rest.is_empty()).ok_or_else(|| damaged("not one signature transaction"))?;
        let mut frontier = found.frontier;
        frontier.append(entry.leaf_digest());
        Ok(Self { txid: found.txid, frontier })
    }
}
