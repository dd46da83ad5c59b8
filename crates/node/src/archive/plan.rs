//! When a snapshot is due.
//!
//! Only where a chunk ends: then a ledger that begins behind a snapshot has the same chunk files as any other. And not before
//! the ledger has grown by as much as the last snapshot weighs, so that a large state does not make a node write it all the time.

use coco_types::{Seqno, limits};

use crate::ledger::NodeLedger;

/// Growth of the ledger between two snapshots; whichever is reached first.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotLimits {
    pub ledger_bytes: u64,
    pub transactions: u64,
    /// Files travel between nodes in pieces of this size.
    pub piece_bytes: u32,
}

impl Default for SnapshotLimits {
    fn default() -> Self {
        let piece_bytes = limits::SNAPSHOT_PIECE_BYTES as u32;
        Self { ledger_bytes: limits::SNAPSHOT_LEDGER_BYTES, transactions: limits::SNAPSHOT_TRANSACTIONS, piece_bytes }
    }
}

/// See the module's text.
pub struct SnapshotPlan {
    limits: SnapshotLimits,
    last: Seqno,
    last_bytes: u64,
    under_way: bool,
    /// One is due where the next chunk ends, whatever has been written.
    soon: bool,
}

impl SnapshotPlan {
    /// The newest snapshot there is, and its size; nothing and 0 if there is none.
    pub fn new(limits: SnapshotLimits, last: Seqno, last_bytes: u64) -> Self {
        Self { limits, last, last_bytes, under_way: false, soon: false }
    }

    /// One is due at the end of the next chunk.
    pub fn soon(&mut self) {
        self.soon = true;
    }

    /// Whether one is to be taken of the state as of this committed batch's end. If so, it is under way from now on.
    pub fn begin(&mut self, ledger: &NodeLedger, seqno: Seqno) -> bool {
        if self.under_way || seqno <= self.last || !ledger.ends_chunk(seqno) {
            return false;
        }
        let bytes = ledger.bytes_after(self.last);
        let transactions = seqno.0 - self.last.0;
        let due = bytes >= self.limits.ledger_bytes || transactions >= self.limits.transactions;
        self.soon |= ledger.take_snapshot_wanted();
        self.under_way = self.soon || (due && bytes >= self.last_bytes);
        self.under_way
    }

    pub fn taken(&mut self, seqno: Seqno, bytes: u64) {
        *self = Self { limits: self.limits, last: seqno, last_bytes: bytes, under_way: false, soon: false };
    }

    pub fn failed(&mut self) {
        self.under_way = false;
    }
}
