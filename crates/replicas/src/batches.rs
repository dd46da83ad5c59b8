//! A batch store: sealed "transactions" of view, seqno and payload in one file of a disk that can lose writes.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use coco_consensus::{BatchError, BatchSpan, BatchStore};
use coco_disk::{Disk, MemoryDisk};
use coco_types::{Seqno, View};

pub const LEDGER_FILE: &str = "ledger";
pub const FORGED: &[u8] = b"forged";
const HEADER_BYTES: usize = 20;

/// Clones share the ledger, so that a test can look at what a replica stores.
#[derive(Clone)]
pub struct FileBatches {
    disk: MemoryDisk,
    /// Where the transaction with this position + 1 ends.
    ends: Arc<Mutex<Vec<u64>>>,
    /// How often consensus read a batch back.
    reads: Arc<AtomicUsize>,
    /// A planted bug: what is truncated stays.
    loses_truncations: Arc<AtomicBool>,
}

/// Seals payloads as the transactions that follow `before`.
pub fn seal(view: View, before: Seqno, payloads: &[&[u8]]) -> Bytes {
    let mut bytes = Vec::new();
    for (position, payload) in payloads.iter().enumerate() {
        bytes.extend_from_slice(&view.0.to_le_bytes());
        bytes.extend_from_slice(&(before.0 + 1 + position as u64).to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(payload);
    }
    Bytes::from(bytes)
}

/// (view, seqno, length with header) of the first transaction.
fn parse(bytes: &[u8]) -> Option<(View, Seqno, usize)> {
    let header = bytes.get(..HEADER_BYTES)?;
    let view = View(u64::from_le_bytes(header[..8].try_into().unwrap()));
    let seqno = Seqno(u64::from_le_bytes(header[8..16].try_into().unwrap()));
    let len = HEADER_BYTES + u32::from_le_bytes(header[16..].try_into().unwrap()) as usize;
    (bytes.len() >= len && seqno != Seqno::ZERO).then_some((view, seqno, len))
}

impl FileBatches {
    /// Reads what is on the disk, up to the first thing that does not fit.
    pub fn open(disk: MemoryDisk) -> Self {
        if !disk.exists(LEDGER_FILE).unwrap() {
            disk.write(LEDGER_FILE, 0, b"").unwrap();
            disk.sync(LEDGER_FILE).unwrap();
            disk.sync_names().unwrap();
        }
        let bytes = disk.read_all(LEDGER_FILE).unwrap();
        let mut ends = Vec::new();
        let mut at = 0;
        while let Some((_, seqno, len)) = parse(&bytes[at..]) {
            if seqno.0 != ends.len() as u64 + 1 {
                break;
            }
            at += len;
            ends.push(at as u64);
        }
        disk.truncate(LEDGER_FILE, at as u64).unwrap();
        Self { disk, ends: Arc::new(Mutex::new(ends)), reads: Arc::default(), loses_truncations: Arc::default() }
    }

    pub fn offset_of(&self, payload: &[u8]) -> u64 {
        let bytes = self.disk.read_all(LEDGER_FILE).unwrap();
        bytes.windows(payload.len()).rposition(|window| window == payload).unwrap() as u64
    }

    /// What a crash leaves between the ledger's write and the log's.
    pub fn append_unknown(&mut self) {
        let batch = seal(View(99), self.last(), &[b"unknown", b"as well"]);
        self.append(&batch).unwrap();
        self.sync().unwrap();
    }

    pub fn copy_to(&self, disk: &MemoryDisk) {
        disk.write(LEDGER_FILE, 0, &self.disk.read_all(LEDGER_FILE).unwrap()).unwrap();
        disk.sync(LEDGER_FILE).unwrap();
        disk.sync_names().unwrap();
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    pub fn bytes_of(&self, span: BatchSpan) -> io::Result<Bytes> {
        let start = self.end_of(span.first.0 - 1);
        let len = usize::try_from(self.end_of(span.last.0) - start).unwrap();
        Ok(Bytes::from(self.disk.read(LEDGER_FILE, start, len)?))
    }

    pub fn lose_truncations(&self) {
        self.loses_truncations.store(true, Ordering::Relaxed);
    }

    fn end_of(&self, seqno: u64) -> u64 {
        if seqno == 0 { 0 } else { self.ends.lock().unwrap()[usize::try_from(seqno).unwrap() - 1] }
    }
}

impl BatchStore for FileBatches {
    fn check(&self, batch: &[u8]) -> Result<BatchSpan, BatchError> {
        let error = |reason: &str| BatchError { reason: reason.to_owned() };
        let (view, first, mut at) = parse(batch).ok_or_else(|| error("cut"))?;
        let mut last = first;
        while at < batch.len() {
            let (next_view, seqno, len) = parse(&batch[at..]).ok_or_else(|| error("cut"))?;
            if next_view != view || seqno != last.next() {
                return Err(error("transactions do not follow one another"));
            }
            last = seqno;
            at += len;
        }
        Ok(BatchSpan { first, last, view })
    }

    /// These batches have no roots: those that hold [`FORGED`] stand for wrong ones.
    fn misrooted(&self, _after: Seqno, batches: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
        let forged = |batch: &&&[u8]| batch.windows(FORGED.len()).any(|window| window == FORGED);
        batches.iter().find(forged).map(|batch| self.check(batch)).transpose()
    }

    fn append(&mut self, batch: &[u8]) -> io::Result<BatchSpan> {
        let span = self.check(batch).map_err(io::Error::other)?;
        let stale = self.last().0.saturating_sub(span.first.0 - 1);
        assert!(stale == 0 || self.loses_truncations.load(Ordering::Relaxed), "batches are appended in order");
        assert!(span.first <= self.last().next(), "batches leave no gap");
        let mut rest = batch;
        for _ in 0..stale {
            let Some((_, _, len)) = parse(rest) else { return Ok(span) };
            rest = &rest[len..];
        }
        let mut end = self.end_of(self.last().0);
        self.disk.write(LEDGER_FILE, end, rest)?;
        while let Some((_, _, len)) = parse(rest) {
            end += len as u64;
            self.ends.lock().unwrap().push(end);
            rest = &rest[len..];
        }
        Ok(span)
    }

    fn read(&self, span: BatchSpan) -> io::Result<Bytes> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes_of(span)
    }

    fn truncate_after(&mut self, seqno: Seqno) -> io::Result<()> {
        if self.loses_truncations.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.disk.truncate(LEDGER_FILE, self.end_of(seqno.0))?;
        self.ends.lock().unwrap().truncate(usize::try_from(seqno.0).unwrap());
        Ok(())
    }

    fn last(&self) -> Seqno {
        Seqno(self.ends.lock().unwrap().len() as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync(LEDGER_FILE)
    }
}
