//! A folder that a fresh replica builds on is checked first: nothing of it is believed because it is there.
//!
//! Every transaction is read and hashed, every batch must sign the root that its predecessors give, and the last signature must be the
//! service's: it covers all the others. What was never committed passes too; the primary's log cuts it, as in any backup.
//!
//! ```text
//!   chunk  chunk  chunk │ chunk  open chunk
//!   └── checked after ─▶│└─ checked before the replica is admitted
//!            older snapshot, signed by the service: its tree is what the rest goes on from
//! ```
//! A replica's state is read from a snapshot and from what lies behind it. So only that is checked before it comes back, and the time it takes does not grow with
//! the ledger; what lies before it is checked while it runs, and ends the node if it is not what was signed.
//!
//! The tree's file is derived from the entries: a node of it that the disk changed is written anew, since a receipt that is made with it would be refused.

use std::sync::Arc;

use coco_disk::Disk;
use coco_ledger::{Batch, Error, Frontier, ServiceKeys, SnapshotHead, SnapshotName, SnapshotReader};
use coco_types::{Digest, Seqno};

use crate::ledger::{LedgerError, NodeLedger};
use crate::machines::OpenError;

/// All of the ledger that is held here. An error names the chunk.
pub fn check_signed_roots(ledger: &NodeLedger, service: &ServiceKeys) -> Result<(), OpenError> {
    // A ledger that just began at a snapshot holds nothing: the snapshot is checked when the state is read from it.
    let Some(first) = ledger.first_seqno() else { return Ok(()) };
    check(ledger, service, first..=ledger.last_seqno(), beginning(first), &|| true).map(drop)
}

/// The older of the snapshots that a state can be read from, if the service signed it and it is of this ledger.
pub fn anchor(ledger: &NodeLedger, snapshots: &Arc<dyn Disk>, service: &ServiceKeys) -> Option<SnapshotHead> {
    let mut names: Vec<_> = snapshots.names().ok()?.iter().filter_map(|name| SnapshotName::parse(name)).collect();
    names.sort();
    let head = |name: SnapshotName| {
        let reader = SnapshotReader::open(snapshots.clone(), &name.to_string(), &ledger.keys()).ok()?;
        let head = reader.head().clone();
        let txid = head.place.txid;
        let is_of_it = txid.seqno == name.0 && ledger.view_of(txid.seqno) == Some(txid.view);
        (is_of_it && head.verify(service).is_ok()).then_some(head)
    };
    names.into_iter().find_map(head)
}

/// What lies behind the anchor.
pub fn check_behind(ledger: &NodeLedger, service: &ServiceKeys, anchor: &SnapshotHead) -> Result<(), OpenError> {
    let frontier = anchor.frontier().map_err(LedgerError::from)?;
    let next = anchor.place.txid.seqno.next();
    check(ledger, service, next..=ledger.last_seqno(), Some(frontier), &|| true).map(drop)
}

/// What lies before it, for as long as `goes_on` says so: it is asked after each batch.
pub fn check_before(
    ledger: &NodeLedger,
    service: &ServiceKeys,
    anchor: &SnapshotHead,
    goes_on: &dyn Fn() -> bool,
) -> Result<(), OpenError> {
    let at = anchor.place.txid;
    // It began there, or what lay before was taken out meanwhile.
    let Some(first) = ledger.first_seqno().filter(|first| *first <= at.seqno) else { return Ok(()) };
    let Some(found) = check(ledger, service, first..=at.seqno, beginning(first), goes_on)? else { return Ok(()) };
    let signed = anchor.frontier().map_err(LedgerError::from)?;
    if found != signed {
        let (signed, computed) = (signed.root(), found.root());
        return Err(damaged(ledger, at.seqno, Error::RootMismatch { txid: at, signed, computed }.into()));
    }
    Ok(())
}

fn beginning(first: Seqno) -> Option<Frontier> {
    (first == Seqno(1)).then(Frontier::new)
}

/// Batch by batch. The tree behind them; `None` if it was broken off, or there is nothing.
fn check(
    ledger: &NodeLedger,
    service: &ServiceKeys,
    seqnos: std::ops::RangeInclusive<Seqno>,
    mut frontier: Option<Frontier>,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Frontier>, OpenError> {
    let (mut next, last) = seqnos.into_inner();
    while next <= last {
        if !goes_on() {
            return Ok(None);
        }
        let bad = |source: Error| damaged(ledger, next, source.into());
        let span = ledger.batch_from(next).map_err(|error| damaged(ledger, next, error))?;
        let span = span.ok_or_else(|| bad(Error::NotHeld { seqno: next }))?;
        let bytes = ledger.raw_batch(span).map_err(|error| damaged(ledger, next, error))?;
        let batch = Batch::parse(&bytes).map_err(bad)?;
        let tree = ledger.tree();
        if frontier.is_none() {
            tree.mend_peaks(&batch.signature().frontier).map_err(bad)?;
        }
        let (grown, nodes) = behind(&batch, frontier).map_err(bad)?;
        let first_appended = grown.leaves() - nodes.leaves;
        if tree.mend(first_appended, &nodes.bytes).map_err(bad)? {
            tracing::warn!(from = %next, until = %span.last, "the tree's file was not what the ledger gives, and was put right");
        }
        frontier = Some(grown);
        if span.last == last {
            let signature = batch.signature();
            signature.verify_service(service.at(last), &signature.node.root).map_err(bad)?;
        }
        next = span.last.next();
    }
    Ok(frontier)
}

/// Of the tree: those that some leaves complete.
#[derive(Default)]
struct Nodes {
    leaves: u64,
    bytes: Vec<u8>,
}

impl Nodes {
    fn append(&mut self, to: &mut Frontier, leaf: Digest) {
        self.leaves += 1;
        to.append_with(leaf, |node| self.bytes.extend_from_slice(node.as_bytes()));
    }
}

/// The tree behind a batch, which must sign the root that it has before the signature, and what was added to it.
fn behind(batch: &Batch<'_>, frontier: Option<Frontier>) -> Result<(Frontier, Nodes), Error> {
    let (signature, mut nodes) = (batch.signature(), Nodes::default());
    let Some(mut frontier) = frontier else {
        // A ledger that begins after a snapshot: what lies before is in the root that its first batch signs.
        let mut frontier = signature.frontier.clone();
        batch.entries().last().into_iter().for_each(|entry| nodes.append(&mut frontier, entry.leaf_digest()));
        return Ok((frontier, nodes));
    };
    for entry in batch.entries() {
        if entry.txid() == batch.last() && frontier.root() != signature.node.root {
            let (signed, computed) = (signature.node.root, frontier.root());
            return Err(Error::RootMismatch { txid: batch.last(), signed, computed });
        }
        nodes.append(&mut frontier, entry.leaf_digest());
    }
    Ok((frontier, nodes))
}

/// A chunk was taken out while it was to be checked: what is not held is not wrong.
pub fn is_taken_out(error: &OpenError) -> bool {
    let (OpenError::Damaged { source, .. } | OpenError::Ledger(source)) = error else { return false };
    matches!(source, LedgerError::Ledger(Error::NotHeld { .. }))
}

fn damaged(ledger: &NodeLedger, at: Seqno, source: LedgerError) -> OpenError {
    match ledger.chunk_of(at) {
        Some(chunk) => OpenError::Damaged { chunk, source },
        None => OpenError::Ledger(source),
    }
}
