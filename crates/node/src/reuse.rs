//! A folder that a fresh replica builds on is checked first: nothing of it is believed because it is there.
//!
//! Every transaction is read and hashed, every batch must sign the root that its predecessors give, and the last signature must be the
//! service's: it covers all the others. What was never committed passes too; the primary's log cuts it, as in any backup.

use std::sync::Arc;

use coco_ledger::{Batch, Error, Frontier, ServiceKeys};
use coco_types::Seqno;

use crate::ledger::NodeLedger;
use crate::machines::OpenError;

/// See the module's text. An error names the chunk.
pub fn check_signed_roots(ledger: &Arc<NodeLedger>, service: &ServiceKeys) -> Result<(), OpenError> {
    let store = ledger.batch_store();
    let last = ledger.last_seqno();
    // A ledger that just began at a snapshot holds nothing: the snapshot is checked when the state is read from it.
    let Some(mut next) = ledger.first_seqno() else { return Ok(()) };
    let mut frontier = (next == Seqno(1)).then(Frontier::new);
    while next <= last {
        let damaged = |source: Error| match ledger.chunk_of(next) {
            Some(chunk) => OpenError::Damaged { chunk, source: source.into() },
            None => OpenError::Ledger(source.into()),
        };
        let span = ledger.batch_from(next).map_err(|error| damaged_batch(ledger, next, error))?;
        let span = span.ok_or_else(|| damaged(Error::NotHeld { seqno: next }))?;
        let bytes = store.read(span)?;
        let batch = Batch::parse(&bytes).map_err(damaged)?;
        let signature = batch.signature();
        frontier = Some(match frontier {
            Some(mut frontier) => {
                for entry in batch.entries() {
                    if entry.txid() == batch.last() && frontier.root() != signature.node.root {
                        let (signed, computed) = (signature.node.root, frontier.root());
                        return Err(damaged(Error::RootMismatch { txid: batch.last(), signed, computed }));
                    }
                    frontier.append(entry.leaf_digest());
                }
                frontier
            }
            // A ledger that begins after a snapshot: what lies before is in the root that its first batch signs.
            None => {
                let mut frontier = signature.frontier.clone();
                batch.entries().last().into_iter().for_each(|entry| frontier.append(entry.leaf_digest()));
                frontier
            }
        });
        if span.last == last {
            signature.verify_service(service.at(last), &signature.node.root).map_err(damaged)?;
        }
        next = span.last.next();
    }
    Ok(())
}

fn damaged_batch(ledger: &NodeLedger, at: Seqno, source: crate::ledger::LedgerError) -> OpenError {
    match ledger.chunk_of(at) {
        Some(chunk) => OpenError::Damaged { chunk, source },
        None => OpenError::Ledger(source),
    }
}
