//! Reads a folder transaction by transaction, to show it: decoded, not verified. The folder may begin after a snapshot.

use std::sync::Arc;

use coco_disk::Disk;
use coco_types::{Confidentiality, Digest, MapName, MapWrites, TxId, WriteSet};

use crate::files::{ChunkFrame, EntryScanner};
use crate::{Entry, EntryKeys, Error, Primary};

/// One transaction as it is shown: decoded, not verified.
#[derive(Clone, Debug)]
pub struct DecodedTransaction {
    pub txid: TxId,
    pub file: String,
    pub offset: u64,
    pub entry_bytes: usize,
    pub sealed_bytes: usize,
    pub flags: u8,
    pub write_set_digest: Digest,
    pub claims_digest: Digest,
    pub public: WriteSet,
    /// The private maps' writes, if the secret is held and opens them.
    pub private: Option<WriteSet>,
}

/// Reads a folder's transactions in order. It stops after the first error.
pub fn transactions(disk: Arc<dyn Disk>, keys: EntryKeys) -> Result<Transactions, Error> {
    let mut chunks = ChunkFrame::all_as_left(disk.as_ref())?;
    chunks.reverse();
    Ok(Transactions { disk, keys, chunks, scanner: None, primary: None, failed: false })
}

/// See [`transactions`].
pub struct Transactions {
    disk: Arc<dyn Disk>,
    keys: EntryKeys,
    /// Those to come, last first.
    chunks: Vec<ChunkFrame>,
    scanner: Option<(String, EntryScanner)>,
    primary: Option<Primary>,
    failed: bool,
}

impl Iterator for Transactions {
    type Item = Result<DecodedTransaction, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = if self.failed { None } else { self.decode_next().transpose() };
        self.failed |= matches!(next, Some(Err(_)));
        next
    }
}

impl Transactions {
    fn decode_next(&mut self) -> Result<Option<DecodedTransaction>, Error> {
        loop {
            if let Some((file, scanner)) = &mut self.scanner {
                let offset = scanner.offset();
                if let Some(entry) = scanner.next()? {
                    return decode(&entry, file, offset, &self.keys, &mut self.primary).map(Some);
                }
            }
            let Some(chunk) = self.chunks.pop() else { return Ok(None) };
            let scanner = EntryScanner::of_chunk(Arc::clone(&self.disk), &chunk.file, chunk.end);
            self.scanner = Some((chunk.file, scanner));
        }
    }
}

fn decode(
    entry: &Entry<'_>,
    file: &str,
    offset: u64,
    keys: &EntryKeys,
    primary: &mut Option<Primary>,
) -> Result<DecodedTransaction, Error> {
    let txid = entry.txid();
    let public = entry.public_writes()?;
    if let Some(of_view) = Primary::from_writes(txid, &public)? {
        *primary = Some(of_view);
    }
    let key = primary.filter(|primary| primary.view == txid.view);
    let key = key.and_then(|primary| keys.entry_key(txid.seqno, primary.replica).ok());
    let private = key.and_then(|key| entry.open(&key).ok()).map(|writes| {
        let private = |(name, _): &(MapName, MapWrites)| name.confidentiality() == Confidentiality::Private;
        writes.into_iter().filter(private).collect()
    });
    Ok(DecodedTransaction {
        txid,
        file: file.to_owned(),
        offset,
        entry_bytes: entry.raw().len(),
        sealed_bytes: entry.sealed_bytes(),
        flags: entry.head().flags,
        write_set_digest: entry.write_set_digest(),
        claims_digest: entry.claims_digest(),
        public,
        private,
    })
}
