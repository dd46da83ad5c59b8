//! Where the batches' bytes live: not here.
//!
//! A batch is a run of sealed ledger entries. Its bytes exist once, in the ledger's chunk files; the node implements
//! [`BatchStore`] over them. Consensus keeps (term, span, checksum) of each and reads the bytes back only for a backup that
//! lags behind the cache.

use std::io;

use bytes::Bytes;
use coco_types::{Seqno, View};

/// The transactions of one batch: both ends are included, and all were sealed in the same view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchSpan {
    pub first: Seqno,
    pub last: Seqno,
    pub view: View,
}

/// Bytes that are no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a batch: {reason}")]
pub struct BatchError {
    pub reason: String,
}

/// The ledger's files as consensus sees them.
///
/// Writes need not be durable when they return: [`crate::Persist::batches`] asks for the sync.
pub trait BatchStore: Send {
    /// What a batch claims to hold, without writing. `Err`: not well-formed, and the message that carried it is refused.
    /// Need not compare with what is stored; consensus checks the span against its neighbours.
    fn check(&self, batch: &[u8]) -> Result<BatchSpan, BatchError>;
    /// Of batches that follow one another and `after`, the first that signs another Merkle root than the ledger gives with it. Its
    /// primary is not to be trusted.
    fn misrooted(&self, after: Seqno, batches: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError>;
    /// Of batches that a primary has made just now, as its acknowledgements are waited for, the first that decides by a time far from this replica's
    /// own.
    fn untimely(&self, _batches: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
        Ok(None)
    }
    /// Appends one batch behind the last. The span is the one that [`BatchStore::check`] gives.
    fn append(&mut self, batch: &[u8]) -> io::Result<BatchSpan>;
    /// The bytes of one batch, exactly as appended.
    fn read(&self, span: BatchSpan) -> io::Result<Bytes>;
    /// Removes all transactions above `seqno`.
    fn truncate_after(&mut self, seqno: Seqno) -> io::Result<()>;
    /// The last transaction stored; [`Seqno::ZERO`] if there is none.
    fn last(&self) -> Seqno;
    /// Makes everything durable. Called only while resuming; in service the shell syncs when [`crate::Persist`] asks.
    fn sync(&mut self) -> io::Result<()>;
}
