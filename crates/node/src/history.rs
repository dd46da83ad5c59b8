//! The node's history: committed write-once records, readable at once, on disk soon.
//!
//! The front puts a batch's records into memory, where readers find them; a writer moves them to the store, many batches at a time. The
//! store is advisory: what a crash loses is read from the ledger again, from the store's watermark on.
//!
//! "There is none" is said only of a store that holds all that this node put into it: the host owns the disk, and could have taken the record out. The keys
//! that begin like the one that is not found are counted for it, once in a process. From then on a filter knows them: what it knows and the store lacks has them
//! counted again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use coco_ledger::{BlindedKey, Census, HistoryKeys, HistoryStore, SealedRecord, Tally};
use coco_protocol::{CommittedBatch, DerivedHistory, History, HistoryError, Protocol, part_of};
use coco_types::{MapName, Retention, TxId};
use parking_lot::{Condvar, Mutex};

use crate::key_filter::KeyFilter;

/// Records in memory; beyond it the front waits for the writer.
const RECENT_BYTES_MAX: usize = 64 << 20;

/// See the module's text.
pub struct NodeHistory {
    keys: HistoryKeys,
    store: Arc<dyn HistoryStore>,
    held: Mutex<Held>,
    /// What is known of the keys that begin with these bytes. Never waited for while the store is written.
    looked_at: Mutex<BTreeMap<u8, LookedAt>>,
    recent: Mutex<Recent>,
    changed: Condvar,
}

/// What the store holds by this node's own count.
#[derive(Default)]
struct Held {
    census: Census,
    /// Records were taken out, and the census says nothing any more.
    is_damaged: bool,
}

/// The keys that begin with one byte were counted in the store.
struct LookedAt {
    /// All were there that this node had put there.
    is_whole: bool,
    /// Those, and all since; `None` if there are too many.
    filter: Option<KeyFilter>,
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
    /// A store that is not as this node left it, so that nothing can be said of what it lacks, begins anew.
    pub fn open(keys: HistoryKeys, store: Arc<dyn HistoryStore>) -> Result<Self, HistoryError> {
        let mut looked_at = BTreeMap::new();
        let census = match keys.open_census(|key| store.census(key)) {
            Ok(Some(census)) => census,
            Err(error @ coco_ledger::Error::Disk { .. }) => return Err(failed(error)),
            left @ (Ok(None) | Err(_)) => {
                if left.is_err() {
                    tracing::warn!("the history is not as this node left it: it is read from the ledger again");
                }
                store.clear().map_err(failed)?;
                looked_at = (0..=u8::MAX).map(|first| (first, LookedAt::empty())).collect();
                Census::default()
            }
        };
        let (held, looked_at) = (Mutex::new(Held { census, is_damaged: false }), Mutex::new(looked_at));
        Ok(Self { keys, store, held, looked_at, recent: Mutex::default(), changed: Condvar::new() })
    }

    /// Records up to here are in the store; 0.0 if it is new.
    pub fn watermark(&self) -> TxId {
        self.held.lock().census.watermark()
    }

    /// To the store, with what it holds then: all of it, or nothing.
    fn write(&self, sealed: &[SealedRecord], watermark: Option<TxId>) -> Result<(), HistoryError> {
        let mut held = self.held.lock();
        if held.is_damaged {
            return self.store.write(sealed, &[]).map_err(failed);
        }
        let mut census = held.census.clone();
        let mut keys: Vec<&BlindedKey> = sealed.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            if self.is_new(key)? {
                census.count(key, self.keys.code(key));
            }
        }
        census.set_watermark(watermark.unwrap_or(census.watermark()));
        self.store.write(sealed, &self.keys.seal_census(&mut census)).map_err(failed)?;
        held.census = census;
        drop(held);
        self.make_room()
    }

    /// For the filters that are full: larger ones, as long as there are any.
    fn make_room(&self) -> Result<(), HistoryError> {
        let is_full = |part: &LookedAt| part.filter.as_ref().is_some_and(|filter| !filter.has_room());
        let full: Vec<u8> =
            self.looked_at.lock().iter().filter(|(_, part)| is_full(part)).map(|(first, _)| *first).collect();
        full.into_iter().try_for_each(|first| self.look_at(first).map(drop))
    }

    /// Whether the store does not hold this key, which is about to be written.
    fn is_new(&self, key: &BlindedKey) -> Result<bool, HistoryError> {
        let mut looked_at = self.looked_at.lock();
        let filter = looked_at.get_mut(&key[0]).and_then(|part| part.filter.as_mut());
        if let Some(filter) = filter.filter(|filter| !filter.may_hold(key)) {
            filter.insert(key);
            return Ok(true);
        }
        drop(looked_at);
        Ok(!self.store.has(key).map_err(failed)?)
    }

    /// Of a key that is not there: an error, if it or others that begin like it were taken out since this node wrote them.
    fn check_absence(&self, key: &BlindedKey) -> Result<(), HistoryError> {
        let first = key[0];
        let known = match self.looked_at.lock().get(&first) {
            Some(LookedAt { is_whole: true, filter: Some(filter) }) if filter.may_hold(key) => None,
            looked_at => looked_at.map(|part| part.is_whole),
        };
        let is_whole = match known {
            Some(is_whole) => is_whole,
            None => self.look_at(first)?,
        };
        let missing = || HistoryError("records are missing from this node's history: ask another one".to_owned());
        is_whole.then_some(()).ok_or_else(missing)
    }

    /// Whether all that was counted of the keys that begin with this byte is there. If not, the store begins anew when it is next opened.
    fn look_at(&self, first: u8) -> Result<bool, HistoryError> {
        let mut held = self.held.lock();
        let counted = held.census.tally(first);
        let mut found = Tally::default();
        let mut filter = KeyFilter::of(counted.keys());
        let mut each = |key: &BlindedKey| {
            found.count(self.keys.code(key));
            filter.iter_mut().for_each(|filter| filter.insert(key));
        };
        self.store.keys(first, &mut each).map_err(failed)?;
        let is_whole = found == counted;
        if !is_whole && !std::mem::replace(&mut held.is_damaged, true) {
            tracing::error!(
                "records were taken out of the history store: restart this node, and it reads them from the ledger again"
            );
            self.store.write(&[], &[self.keys.no_census()]).map_err(failed)?;
        }
        self.looked_at.lock().insert(first, LookedAt { is_whole, filter: filter.filter(|_| is_whole) });
        Ok(is_whole)
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
        self.write(&sealed, Some(last))
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
        let watermark = Some(last).filter(|_| !self.recent.lock().incomplete);
        let written = self.write(&sealed, watermark);
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
            self.write(&derived.kept, None)?;
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
        if opened.is_none() {
            if self.recent.lock().incomplete {
                let why = "this node does not hold the earlier records, or is still fetching them: ask another one";
                return Err(HistoryError(why.to_owned()));
            }
            self.check_absence(&blinded)?;
        }
        Ok(opened)
    }

    pub fn stop(&self) {
        self.recent.lock().stopping = true;
        self.changed.notify_all();
    }
}

impl LookedAt {
    fn empty() -> Self {
        Self { is_whole: true, filter: KeyFilter::of(0) }
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
    kept: Vec<SealedRecord>,
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

        fn write(&self, _records: &[SealedRecord], _census: &[SealedRecord]) -> Result<(), coco_ledger::Error> {
            let source = std::io::ErrorKind::StorageFull.into();
            Err(coco_ledger::Error::Disk { file: "history".to_owned(), source })
        }

        fn census(&self, _key: &BlindedKey) -> Result<Option<Vec<u8>>, coco_ledger::Error> {
            Ok(None)
        }

        fn has(&self, _key: &BlindedKey) -> Result<bool, coco_ledger::Error> {
            Ok(false)
        }

        fn keys(&self, _first: u8, _each: &mut dyn FnMut(&BlindedKey)) -> Result<(), coco_ledger::Error> {
            Ok(())
        }

        fn clear(&self) -> Result<(), coco_ledger::Error> {
            Ok(())
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
        NodeHistory::open(HistoryKeys::new(&SymmetricKey::generate(&crypto), &crypto), store).unwrap()
    }

    #[test]
    fn what_a_protocol_derives_is_kept_and_leaves_the_watermark_alone() {
        let store = Arc::new(MemoryHistory::new());
        let history = history_in(store.clone());
        history.record_batch(&batch(vec![7]));
        history.stop();
        history.run_writer(&[Arc::new(Counting)]).unwrap();
        while history.index(&Counting).unwrap() {}
        assert_eq!(history.watermark(), TxId::new(View(1), Seqno(1)));
        let later = history_in(store);
        assert_eq!(later.record(&MAP, b"count").unwrap().as_deref(), Some(&[3][..]));
        assert!(!later.index(&Counting).unwrap());
    }

    /// A copy of a store as its host may make one: without a record, or with the census of another time.
    fn altered(store: &MemoryHistory, taken: Option<&BlindedKey>, census: &MemoryHistory) -> Arc<MemoryHistory> {
        let crypto = SeededCrypto::new(1);
        let keys = HistoryKeys::new(&SymmetricKey::generate(&crypto), &crypto);
        let copy = MemoryHistory::new();
        for first in 0..=u8::MAX {
            let mut found = Vec::new();
            store.keys(first, &mut |key| found.push(*key)).unwrap();
            for key in found.into_iter().filter(|key| Some(key) != taken) {
                copy.write(&[(key, store.read(&key).unwrap().unwrap())], &[]).unwrap();
            }
        }
        let beside = keys.open_census(|key| {
            let row = census.census(key)?;
            row.clone().map_or(Ok(()), |row| copy.write(&[], &[(*key, row)]))?;
            Ok::<_, coco_ledger::Error>(row)
        });
        beside.unwrap();
        Arc::new(copy)
    }

    #[test]
    fn a_census_that_a_host_wrote_is_none_and_the_store_begins_anew() {
        let store = Arc::new(MemoryHistory::new());
        let history = history_in(store.clone());
        history.record_batch(&batch(vec![7]));
        history.write_out().unwrap();
        let key = history.keys.blind(&MAP, b"key");
        assert_eq!(history_in(store.clone()).watermark(), TxId::new(View(1), Seqno(1)));
        store.write(&[], &[(history.keys.no_census().0, b"9.1000000".to_vec())]).unwrap();
        let again = history_in(store.clone());
        assert_eq!(again.watermark(), TxId::default());
        assert!(!store.has(&key).unwrap());
        again.record_batch(&batch(vec![7]));
        again.write_out().unwrap();
        assert!(again.record(&MAP, b"key").unwrap().is_some() && again.record(&MAP, b"other").unwrap().is_none());
    }

    #[test]
    fn what_a_host_took_out_of_the_store_is_not_said_never_to_have_been() {
        let store = Arc::new(MemoryHistory::new());
        let history = history_in(store.clone());
        history.record_batch(&batch(vec![7]));
        history.write_out().unwrap();
        history.index(&Counting).unwrap();
        let taken = history.keys.blind(&MAP, b"key");
        let without = altered(&store, Some(&taken), &store);
        let history = history_in(without.clone());
        let why = history.record(&MAP, b"key").unwrap_err().to_string();
        assert!(why.contains("missing"), "{why}");
        assert_eq!(history.record(&MAP, b"count").unwrap().as_deref(), Some(&[1][..]), "what is there is genuine");
        // Another key in its place is no better.
        let without = altered(&store, Some(&taken), &store);
        let mut other = taken;
        other[31] ^= 1;
        without.write(&[(other, vec![0; 60])], &[]).unwrap();
        assert!(history_in(without).record(&MAP, b"key").is_err());
        assert!(history_in(store).record(&MAP, b"nothing").unwrap().is_none());
    }

    #[test]
    fn a_store_that_was_found_damaged_goes_on_and_is_read_from_the_ledger_when_it_is_next_opened() {
        let store = Arc::new(MemoryHistory::new());
        history_in(store.clone()).record_batch(&batch(vec![7]));
        let history = history_in(store.clone());
        history.record_batch(&batch(vec![7]));
        history.write_out().unwrap();
        let without = altered(&store, Some(&history.keys.blind(&MAP, b"key")), &store);
        let history = history_in(without.clone());
        assert!(history.record(&MAP, b"key").is_err());
        history.index(&Counting).unwrap();
        assert_eq!(history.record(&MAP, b"count").unwrap().as_deref(), Some(&[1][..]));
        assert_eq!(history_in(without).watermark(), TxId::default());
    }

    #[test]
    fn a_census_of_another_time_is_no_excuse_for_what_is_missing() {
        let store = Arc::new(MemoryHistory::new());
        let history = history_in(store.clone());
        history.index(&Counting).unwrap();
        let before = altered(&store, None, &store);
        history.record_batch(&batch(vec![7]));
        history.write_out().unwrap();
        let taken = history.keys.blind(&MAP, b"key");
        let old = history_in(altered(&store, Some(&taken), &before));
        assert_eq!(old.watermark(), TxId::default(), "the records behind it are read from the ledger again");
        assert!(history_in(altered(&before, None, &store)).record(&MAP, b"key").is_err());
    }

    #[test]
    fn a_record_that_is_written_again_is_counted_once() {
        let store = Arc::new(MemoryHistory::new());
        let history = history_in(store.clone());
        for value in 0..3 {
            history.record_batch(&batch(vec![value]));
            history.write_out().unwrap();
        }
        let later = history_in(store);
        let near = (0..10_000u32).map(u32::to_le_bytes);
        let first = later.keys.blind(&MAP, b"key")[0];
        let mut near = near.filter(|key| later.keys.blind(&MAP, key)[0] == first);
        assert!(later.record(&MAP, &near.next().unwrap()).unwrap().is_none());
    }

    #[test]
    fn a_record_that_is_taken_out_while_the_node_runs_is_missed_by_whoever_asks_for_it() {
        let store = Arc::new(MemoryHistory::new());
        let history = history_in(store.clone());
        let mut writes = WriteSet::new();
        (0..2_000u32).for_each(|key| {
            writes.insert(&MAP, Bytes::copy_from_slice(&key.to_le_bytes()), Some(Bytes::from_static(b"record")));
        });
        let txid = TxId::new(View(1), Seqno(1));
        let transactions = vec![CommittedTransaction { txid, writes: Arc::new(writes) }];
        history.record_batch(&CommittedBatch { transactions });
        history.write_out().unwrap();
        for opened in [history, history_in(store.clone())] {
            let absent = (2_000..4_000u32).all(|key| opened.record(&MAP, &key.to_le_bytes()).unwrap().is_none());
            assert!(absent, "and all keys are counted by now");
            let taken = opened.keys.blind(&MAP, &7u32.to_le_bytes());
            let record = store.take(&taken).unwrap();
            let why = opened.record(&MAP, &7u32.to_le_bytes()).unwrap_err().to_string();
            assert!(why.contains("missing"), "{why}");
            assert!(opened.record(&MAP, &8u32.to_le_bytes()).unwrap().is_some());
            // As if nobody had noticed.
            let mut census = opened.held.lock().census.clone();
            store.write(&[(taken, record)], &opened.keys.seal_census(&mut census)).unwrap();
        }
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
