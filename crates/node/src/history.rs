//! The node's history: committed write-once records, readable at once, on disk soon.
//!
//! The front puts a batch's records into memory, where readers find them; a writer moves them to the store, many batches at a time. The
//! store is advisory: what a crash loses is read from the ledger again, from the store's watermark on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use coco_ledger::{BlindedKey, HistoryKeys, HistoryStore};
use coco_protocol::{CommittedBatch, DerivedHistory, History, HistoryError, Protocol, part_of};
use coco_types::{MapName, Retention, TxId};
use parking_lot::{Condvar, Mutex};

/// Records in memory; beyond it the front waits for the writer.
const RECENT_BYTES_MAX: usize = 64 << 20;

/// See the module's text.
pub struct NodeHistory {
    keys: HistoryKeys,
    store: Arc<dyn HistoryStore>,
    recent: Mutex<Recent>,
    changed: Condvar,
}

#[derive(Default)]
struct Recent {
    records: BTreeMap<BlindedKey, Bytes>,
    bytes: usize,
    /// Being written: still readable here.
    writing: Arc<BTreeMap<BlindedKey, Bytes>>,
    last: TxId,
    /// Records of the ledger before a snapshot are still missing: the store's watermark stays where it is until they are there.
    incomplete: bool,
    failed: Option<String>,
    index_failed: bool,
    writer_runs: bool,
    stopping: bool,
}

impl NodeHistory {
    pub fn new(keys: HistoryKeys, store: Arc<dyn HistoryStore>) -> Self {
        Self { keys, store, recent: Mutex::default(), changed: Condvar::new() }
    }

    /// Records up to here are in the store.
    pub fn watermark(&self) -> Result<TxId, HistoryError> {
        self.store.watermark().map_err(failed)
    }

    /// Records between the store's watermark and what comes next are missing, and come through [`NodeHistory::feed`].
    pub fn expect_earlier(&self) {
        self.recent.lock().incomplete = true;
    }

    /// Takes in an earlier batch's records, straight to the store. They come in order.
    pub fn feed(&self, batch: &CommittedBatch, last: TxId) -> Result<(), HistoryError> {
        let mut sealed = Vec::new();
        for transaction in &batch.transactions {
            for (map, writes) in transaction.writes.iter().filter(|(map, _)| map.retention() == Retention::History) {
                for (key, value) in writes.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
                    self.keys.seal(&self.keys.blind(map, key), value, &mut sealed);
                }
            }
        }
        self.store.write(&sealed, last).map_err(failed)
    }

    /// All of the earlier records are there.
    pub fn complete(&self) {
        self.recent.lock().incomplete = false;
    }

    /// Takes in the records of a committed batch; waits if the store lags too far behind and a writer runs.
    pub fn record_batch(&self, batch: &CommittedBatch) {
        let mut recent = self.recent.lock();
        for transaction in &batch.transactions {
            for (map, writes) in transaction.writes.iter() {
                if map.retention() != Retention::History {
                    continue;
                }
                for (key, value) in writes {
                    let Some(value) = value else { continue };
                    recent.bytes += value.len() + key.len();
                    recent.records.insert(self.keys.blind(map, key), value.clone());
                }
            }
            recent.last = transaction.txid;
        }
        self.changed.notify_all();
        while recent.bytes > RECENT_BYTES_MAX && recent.may_shrink() {
            self.changed.wait(&mut recent);
        }
    }

    /// Moves everything recent to the store; `false` if there was nothing. What cannot be written stays readable.
    pub fn write_out(&self) -> Result<bool, HistoryError> {
        let (records, last) = {
            let mut recent = self.recent.lock();
            if recent.records.is_empty() {
                return Ok(false);
            }
            recent.writing = Arc::new(std::mem::take(&mut recent.records));
            recent.bytes = 0;
            (recent.writing.clone(), recent.last)
        };
        let mut sealed = Vec::with_capacity(records.len());
        records.iter().for_each(|(key, value)| self.keys.seal(key, value, &mut sealed));
        let watermark = if self.recent.lock().incomplete { self.watermark()? } else { last };
        let written = self.store.write(&sealed, watermark).map_err(failed);
        let mut recent = self.recent.lock();
        match &written {
            Ok(()) => recent.writing = Arc::default(),
            Err(error) => recent.failed = Some(error.to_string()),
        }
        self.changed.notify_all();
        written.map(|()| true)
    }

    /// Lets a protocol do a piece of work on its derived records; whether there is more to do. Earlier records may still be missing, and then
    /// it waits for them. A failure is told once and otherwise ignored: without an index reads are slower, and a node is none the worse.
    pub fn index(&self, protocol: &dyn Protocol) -> Result<bool, HistoryError> {
        let mut derived = Derived { history: self, kept: Vec::new() };
        let more = match protocol.index(&mut derived) {
            Ok(more) => more,
            Err(error) => {
                let mut recent = self.recent.lock();
                if !recent.incomplete && !std::mem::replace(&mut recent.index_failed, true) {
                    tracing::warn!(ledger = protocol.name(), %error, "the history is not indexed any further");
                }
                return Ok(false);
            }
        };
        if !derived.kept.is_empty() {
            self.store.keep(&derived.kept).map_err(failed)?;
        }
        Ok(more)
    }

    /// Writes out until [`NodeHistory::stop`], and lets the protocols index what was written: the history thread's whole life.
    pub fn run_writer(&self, protocols: &[Arc<dyn Protocol>]) -> Result<(), HistoryError> {
        self.recent.lock().writer_runs = true;
        loop {
            let mut wrote = self.write_out()?;
            for protocol in protocols {
                wrote |= self.index(protocol.as_ref())?;
            }
            let mut recent = self.recent.lock();
            if recent.stopping && recent.records.is_empty() {
                return Ok(());
            }
            if !wrote && recent.records.is_empty() {
                self.changed.wait(&mut recent);
            }
        }
    }

    fn read(&self, map: &MapName, key: &[u8], range: Option<Range<usize>>) -> Result<Option<Bytes>, HistoryError> {
        let blinded = self.keys.blind(map, key);
        {
            let recent = self.recent.lock();
            if let Some(value) = recent.records.get(&blinded).or_else(|| recent.writing.get(&blinded)) {
                return Ok(range.map_or(Some(value.clone()), |range| part_of(value, range)));
            }
        }
        let opened = self.keys.open(&blinded, range, |key| self.store.read(key)).map_err(failed)?;
        if opened.is_none() && self.recent.lock().incomplete {
            return Err(HistoryError("this node is still fetching earlier records: ask another one".to_owned()));
        }
        Ok(opened)
    }

    pub fn stop(&self) {
        self.recent.lock().stopping = true;
        self.changed.notify_all();
    }
}

impl Recent {
    /// A writer is there to make room.
    fn may_shrink(&self) -> bool {
        self.writer_runs && self.failed.is_none() && !self.stopping
    }
}

/// What a protocol derives is sealed at once and stored when its piece of work is done.
struct Derived<'a> {
    history: &'a NodeHistory,
    kept: Vec<(BlindedKey, Vec<u8>)>,
}

impl History for Derived<'_> {
    fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError> {
        self.history.record(map, key)
    }
}

impl DerivedHistory for Derived<'_> {
    fn keep(&mut self, map: &MapName, key: Bytes, value: Bytes) {
        self.history.keys.seal(&self.history.keys.blind(map, &key), &value, &mut self.kept);
    }
}

impl History for NodeHistory {
    fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError> {
        self.read(map, key, None)
    }

    fn part(&self, map: &MapName, key: &[u8], range: Range<usize>) -> Result<Option<Bytes>, HistoryError> {
        self.read(map, key, Some(range))
    }
}

fn failed(error: coco_ledger::Error) -> HistoryError {
    HistoryError(error.to_string())
}

#[cfg(test)]
mod tests {
    use coco_crypto::{SeededCrypto, SymmetricKey};
    use coco_kv::Tx;
    use coco_ledger::MemoryHistory;
    use coco_protocol::{
        Admitted, Caller, CommittedTransaction, Context, Fifo, LedgerHandle, Outcome, Pool, Rejection, Service,
    };
    use coco_types::{Seqno, View, WriteSet};

    use super::*;

    const MAP: MapName = MapName::from_static("history:test.records");

    struct FullDisk;

    impl HistoryStore for FullDisk {
        fn read(&self, _key: &BlindedKey) -> Result<Option<Vec<u8>>, coco_ledger::Error> {
            Ok(None)
        }

        fn write(&self, _records: &[(BlindedKey, Vec<u8>)], _watermark: TxId) -> Result<(), coco_ledger::Error> {
            let source = std::io::ErrorKind::StorageFull.into();
            Err(coco_ledger::Error::Disk { file: "history".to_owned(), source })
        }

        fn keep(&self, records: &[(BlindedKey, Vec<u8>)]) -> Result<(), coco_ledger::Error> {
            self.write(records, TxId::default())
        }

        fn watermark(&self) -> Result<TxId, coco_ledger::Error> {
            Ok(TxId::default())
        }
    }

    /// A ledger that counts in one record of its own how often it was asked to index, up to three.
    struct Counting;

    impl Protocol for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        fn admit(&self, _: Bytes, _: &Caller) -> Result<Admitted, Rejection> {
            unreachable!("nobody submits")
        }

        fn pool(&self) -> Box<dyn Pool> {
            Box::new(Fifo::default())
        }

        fn execute(&self, _: &mut Tx, _: &Admitted, _: &Context<'_>) -> Result<Outcome, Rejection> {
            unreachable!("nobody submits")
        }

        fn index(&self, history: &mut dyn DerivedHistory) -> Result<bool, HistoryError> {
            let count = history.record(&MAP, b"count")?.map_or(0, |count| count[0]);
            if count < 3 {
                history.keep(&MAP, Bytes::from_static(b"count"), vec![count + 1].into());
            }
            Ok(count < 3)
        }

        fn serve(self: Arc<Self>, _: Arc<dyn LedgerHandle>) -> Arc<dyn Service> {
            unreachable!("nobody asks")
        }
    }

    fn history() -> NodeHistory {
        history_in(Arc::new(FullDisk))
    }

    fn history_in(store: Arc<dyn HistoryStore>) -> NodeHistory {
        let crypto = SeededCrypto::new(1);
        NodeHistory::new(HistoryKeys::new(&SymmetricKey::generate(&crypto), &crypto), store)
    }

    #[test]
    fn what_a_protocol_derives_is_kept_and_leaves_the_watermark_alone() {
        let store = Arc::new(MemoryHistory::new());
        let history = history_in(store.clone());
        history.record_batch(&batch(vec![7]));
        history.stop();
        history.run_writer(&[Arc::new(Counting)]).unwrap();
        while history.index(&Counting).unwrap() {}
        let watermark = history.watermark().unwrap();
        assert_eq!(watermark, TxId::new(View(1), Seqno(1)));
        let later = history_in(store);
        assert_eq!(later.record(&MAP, b"count").unwrap().as_deref(), Some(&[3][..]));
        assert!(!later.index(&Counting).unwrap());
    }

    #[test]
    fn an_index_waits_for_records_that_are_still_fetched() {
        let history = history_in(Arc::new(MemoryHistory::new()));
        history.expect_earlier();
        assert!(!history.index(&Counting).unwrap(), "it cannot know what it has counted");
        history.complete();
        assert!(history.index(&Counting).unwrap());
    }

    fn batch(value: Vec<u8>) -> CommittedBatch {
        let mut writes = WriteSet::new();
        writes.insert(&MAP, Bytes::from_static(b"key"), Some(value.into()));
        let txid = TxId::new(View(1), Seqno(1));
        CommittedBatch { transactions: vec![CommittedTransaction { txid, writes: Arc::new(writes) }] }
    }

    #[test]
    fn a_batch_larger_than_the_memory_for_recent_records_is_taken_in_before_the_writer_runs() {
        let history = history();
        history.record_batch(&batch(vec![0; RECENT_BYTES_MAX + 1]));
        assert!(history.record(&MAP, b"key").unwrap().is_some());
    }

    #[test]
    fn a_full_disk_ends_the_writer_and_hides_no_record() {
        let history = history();
        history.record_batch(&batch(vec![7]));
        let error = history.run_writer(&[]).unwrap_err();
        assert!(error.to_string().contains("history"), "{error}");
        assert_eq!(history.record(&MAP, b"key").unwrap().as_deref(), Some(&[7][..]));
        history.record_batch(&batch(vec![0; RECENT_BYTES_MAX + 1]));
    }
}
