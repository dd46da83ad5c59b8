//! The state at a start: the newest good snapshot, or nothing if the ledger is to be read from its first transaction.

use std::sync::Arc;

use coco_disk::Disk;
use coco_kv::Store;
use coco_ledger::{Error, ServiceKeys, SnapshotName, SnapshotReader};
use coco_types::{Seqno, TxId};

use crate::ledger::NodeLedger;

/// What a start begins with.
pub struct Restored {
    pub store: Store,
    /// The state is as of here; 0.0 for the empty one.
    pub at: TxId,
}

/// Reads the newest snapshot that is good and not beyond `applied`. A bad one is set aside, and the one before it tried.
pub fn restore(
    disk: &Arc<dyn Disk>,
    ledger: &NodeLedger,
    service: &ServiceKeys,
    applied: Seqno,
) -> std::io::Result<Restored> {
    let mut names: Vec<_> = disk.names()?.iter().filter_map(|name| SnapshotName::parse(name)).collect();
    names.sort();
    for name in names.into_iter().rev().filter(|name| name.0 <= applied) {
        match read(disk, name, ledger, service) {
            Ok(restored) => return Ok(restored),
            Err(error) => {
                tracing::error!(snapshot = %name, %error, "a snapshot is set aside, the start goes back to the one before it");
                disk.rename(&name.to_string(), &name.damaged())?;
            }
        }
    }
    Ok(Restored { store: Store::new(), at: TxId::default() })
}

fn read(
    disk: &Arc<dyn Disk>,
    name: SnapshotName,
    ledger: &NodeLedger,
    service: &ServiceKeys,
) -> Result<Restored, Error> {
    let mut reader = SnapshotReader::open(disk.clone(), &name.to_string(), &ledger.keys())?;
    let head = reader.head().clone();
    head.verify(service)?;
    let at = head.place.txid;
    if at.seqno != name.0 || ledger.view_of(at.seqno).is_some_and(|view| view != at.view) {
        return Err(Error::MalformedSnapshot { why: "it is of another transaction than the ledger's" });
    }
    let mut failed = None;
    let records = std::iter::from_fn(|| reader.next_record().map_err(|error| failed = Some(error)).ok().flatten());
    let store = Store::restore(at.seqno, records);
    if let Some(error) = failed {
        return Err(error);
    }
    ledger.know_primary(head.view_primary());
    Ok(Restored { store, at })
}
