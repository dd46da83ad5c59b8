//! Beginning anew at a snapshot that was received: before anything of the node is opened.
//!
//! ```text
//!   snapshot whole and durable ─▶ ledger: begins behind it ─▶ consensus log: begins at it ─▶ open as usual
//! ```
//! Each step is durable before the next, and all are done again if the log does not hold the snapshot's place yet. A snapshot that
//! this node took itself is in its log always: it was taken of what was applied.

use std::sync::Arc;

use coco_consensus::{BatchError, BatchSpan, BatchStore, Consensus, Membership, StartPoint};
use coco_disk::Disk;
use coco_ledger::{EntryKeys, LedgerFiles, ServiceKeys, SnapshotHead, SnapshotName, SnapshotReader};
use coco_types::{ReplicaId, Seqno};

use crate::machines::OpenError;

/// Where a log begins that begins at a snapshot.
pub fn start_point(head: &SnapshotHead) -> StartPoint {
    let [voters, voters_outgoing, learners, learners_next] = head.membership.clone();
    let membership = Membership { voters, voters_outgoing, learners, learners_next };
    StartPoint { index: head.place.index, view: head.place.txid.view, seqno: head.place.txid.seqno, membership }
}

/// Begins the folder anew if its newest snapshot is one that was received and is ahead of the log. Whether it did.
pub fn install(
    snapshots: &Arc<dyn Disk>,
    ledger: &Arc<dyn Disk>,
    log: &Arc<dyn Disk>,
    keys: &EntryKeys,
    service: &ServiceKeys,
    id: ReplicaId,
) -> Result<bool, OpenError> {
    let Some(name) = snapshots.names()?.iter().filter_map(|name| SnapshotName::parse(name)).max() else {
        return Ok(false);
    };
    let file = name.to_string();
    let read = || SnapshotReader::open(snapshots.clone(), &file, keys);
    let Ok(head) = read().map(|reader| reader.head().clone()) else {
        // It is set aside, and the one before it used, when the state is read.
        return Ok(false);
    };
    let start = start_point(&head);
    if Consensus::holds(log, Box::new(Unread(Seqno::ZERO)), &start)? {
        return Ok(false);
    }
    if let Err(error) = read().and_then(|reader| reader.verify(service)) {
        tracing::error!(snapshot = %name, %error, "a snapshot that was received is set aside");
        snapshots.rename(&file, &name.damaged())?;
        return Ok(false);
    }
    let begun = LedgerFiles::begin_after(ledger.as_ref(), &head.signature, head.primary);
    begun.map_err(crate::ledger::LedgerError::from)?;
    Consensus::install(log, Box::new(Unread(Seqno::ZERO)), id, start, &head.removed)?;
    tracing::info!(snapshot = %name, "the log and the ledger begin behind a snapshot now");
    Ok(true)
}

/// The log is looked at without the ledger that it belongs to, which ends here.
pub(crate) struct Unread(pub Seqno);

impl BatchStore for Unread {
    fn check(&self, _batch: &[u8]) -> Result<BatchSpan, BatchError> {
        Err(BatchError { reason: "nothing is received yet".to_owned() })
    }

    fn misrooted(&self, _after: Seqno, _batches: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
        Err(BatchError { reason: "nothing is received yet".to_owned() })
    }

    fn append(&mut self, _batch: &[u8]) -> std::io::Result<BatchSpan> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn read(&self, _span: BatchSpan) -> std::io::Result<bytes::Bytes> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn truncate_after(&mut self, _seqno: Seqno) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn last(&self) -> Seqno {
        self.0
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
