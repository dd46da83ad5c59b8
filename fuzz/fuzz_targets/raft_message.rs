//! Consensus messages, as an endorsed replica that went mad would send them, and time passing between them.
#![no_main]

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use coco_consensus::{BatchError, BatchSpan, BatchStore, Config, Consensus, StartPoint};
use coco_disk::MemoryDisk;
use coco_types::{ReplicaId, Seqno};
use libfuzzer_sys::fuzz_target;

const OWN: ReplicaId = ReplicaId(1);
const PEER: ReplicaId = ReplicaId(2);

fuzz_target!(|messages: Vec<Vec<u8>>| {
    let start = StartPoint::genesis([OWN, PEER, ReplicaId(3)]);
    let mut drawn = 0;
    let random = Box::new(move || {
        drawn += 1;
        drawn
    });
    let consensus =
        Consensus::create(Config::new(OWN), start, Arc::new(MemoryDisk::new()), Box::new(NoBatches), random);
    let mut consensus = consensus.expect("a new log can be created");
    for message in messages {
        let _ = consensus.step(PEER, &message);
        consensus.tick();
        let _ = consensus.take_output();
    }
});

/// Takes no batch: what a batch holds is the ledger's to judge.
struct NoBatches;

impl BatchStore for NoBatches {
    fn check(&self, _batch: &[u8]) -> Result<BatchSpan, BatchError> {
        Err(BatchError { reason: "none is taken here".to_owned() })
    }

    fn misrooted(&self, _after: Seqno, _batches: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
        Err(BatchError { reason: "none is taken here".to_owned() })
    }

    fn append(&mut self, _batch: &[u8]) -> io::Result<BatchSpan> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read(&self, _span: BatchSpan) -> io::Result<Bytes> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn truncate_after(&mut self, _seqno: Seqno) -> io::Result<()> {
        Ok(())
    }

    fn last(&self) -> Seqno {
        Seqno::ZERO
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
