//! Where a ledger begins that does not begin with its first transaction: behind a snapshot.
//!
//! The file `base.ignored` holds the raw signature transaction that the snapshot ends with: it names the place, and carries the
//! tree's frontier with the service's signature over it. Behind it stands the replica that led its view, in eight bytes: the chunks that
//! follow may be of the same view, and the one that names its primary is missing. The file is there until the chunks before it have arrived
//! ([`Earlier`](super::Earlier)).

use coco_disk::Disk;
use coco_types::{ReplicaId, Seqno, TxId};

use crate::error::disk_error;
use crate::{Entry, Error, Frontier, Primary, SignatureTransaction};

const FILE: &str = "base.ignored";

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
    pub fn read(disk: &dyn Disk) -> Result<Option<Self>, Error> {
        if !disk.exists(FILE).map_err(disk_error(FILE))? {
            return Ok(None);
        }
        Self::decode(&disk.read_all(FILE).map_err(disk_error(FILE))?).map(Some)
    }

    /// Durable when it returns.
    pub fn write(disk: &dyn Disk, signature: &[u8], primary: ReplicaId) -> Result<(), Error> {
        let bytes = [signature, &primary.0.to_le_bytes()].concat();
        Self::decode(&bytes)?;
        disk.replace(FILE, &bytes).map_err(disk_error(FILE))
    }

    /// The ledger is whole.
    pub fn remove(disk: &dyn Disk) -> Result<(), Error> {
        disk.remove(FILE).and_then(|()| disk.sync_names()).map_err(disk_error(FILE))
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let damaged =
            |why: &str| Error::Damaged { file: FILE.to_owned(), offset: 0, after: Seqno::ZERO, why: why.to_owned() };
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
