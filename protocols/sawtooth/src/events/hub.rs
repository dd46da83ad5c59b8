//! Who waits for what is committed. Told once a batch of the ledger can be read.
//!
//! A subscriber takes blocks one after the other: those it missed from the history, the others as they come. It knows which
//! is next, and what comes too early is left to [`Subscriber::catch_up`]: so each block is told exactly once.

use crate::limits::STATUS_WAITS_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use coco_protocol::{CommittedBatch, CommittedTransaction};
use parking_lot::Mutex;
use prost::Message as _;

use super::{BlockEvents, Outstanding};
use crate::messages::ledger::{Block, BlockHeader, TransactionReceipt};
use crate::tables::{BATCH, BLOCK, BatchRecord, INVALID, id_key};

/// See the module's text.
#[derive(Default)]
pub struct Hub {
    /// What this node handed in.
    pub outstanding: Outstanding,
    waits: Mutex<Waits>,
    subscribers: Mutex<Vec<Weak<Subscriber>>>,
}

#[derive(Default)]
struct Waits {
    next: u64,
    by_number: BTreeMap<u64, Wait>,
    /// Batch id to the waits for it.
    by_id: BTreeMap<Bytes, Vec<u64>>,
}

/// Somebody waits for batches to be decided.
pub struct Wait {
    /// 64 bytes each.
    pub pending: BTreeSet<Bytes>,
    pub until_ms: u64,
    /// When the primary is asked again whether it still knows them.
    pub ask_ms: u64,
    pub end: Box<dyn FnOnce() + Send>,
}

/// Gets the events of each block once, in order.
pub struct Subscriber {
    next: Mutex<u64>,
    /// `false` once nobody listens any more.
    sink: Box<dyn Fn(&BlockEvents) -> bool + Send + Sync>,
}

impl Hub {
    /// Keeps a wait until its batches are decided; its number. Ends it at once if there are too many.
    pub fn wait(&self, wait: Wait) -> Option<u64> {
        let mut waits = self.waits.lock();
        if waits.by_number.len() >= STATUS_WAITS_MAX || wait.pending.is_empty() {
            drop(waits);
            (wait.end)();
            return None;
        }
        let number = waits.next;
        waits.next += 1;
        for id in &wait.pending {
            waits.by_id.entry(id.clone()).or_default().push(number);
        }
        waits.by_number.insert(number, wait);
        Some(number)
    }

    /// These batches of a wait are decided, or not pending any more.
    pub fn settle(&self, number: u64, ids: &[Bytes]) {
        let mut waits = self.waits.lock();
        let Some(wait) = waits.by_number.get_mut(&number) else { return };
        wait.pending.retain(|id| !ids.contains(id));
        let is_over = wait.pending.is_empty();
        ids.iter().for_each(|id| waits.forget(id, number));
        let ended = is_over.then(|| waits.by_number.remove(&number)).flatten();
        drop(waits);
        ended.into_iter().for_each(|wait| (wait.end)());
    }

    /// Ends waits whose time is up. Those that should ask again, with what they wait for.
    pub fn tick(&self, now_ms: u64, ask_every_ms: u64) -> Vec<(u64, Vec<Bytes>)> {
        let mut waits = self.waits.lock();
        let over: Vec<u64> =
            waits.by_number.iter().filter(|(_, wait)| wait.until_ms <= now_ms).map(|(n, _)| *n).collect();
        let ended: Vec<Wait> = over.into_iter().filter_map(|number| waits.remove(number)).collect();
        let mut asking = Vec::new();
        for (number, wait) in waits.by_number.iter_mut().filter(|(_, wait)| wait.ask_ms <= now_ms) {
            wait.ask_ms = now_ms + ask_every_ms;
            asking.push((*number, wait.pending.iter().cloned().collect()));
        }
        drop(waits);
        ended.into_iter().for_each(|wait| (wait.end)());
        asking
    }

    pub fn subscribe(&self, subscriber: &Arc<Subscriber>) {
        self.subscribers.lock().push(Arc::downgrade(subscriber));
    }

    /// A batch of the ledger can be read now.
    pub fn published(&self, batch: &CommittedBatch) {
        for transaction in &batch.transactions {
            for map in [BATCH, INVALID] {
                transaction.writes.map(&map).into_iter().flatten().for_each(|(id, _)| self.decided(id));
            }
        }
        let subscribers: Vec<_> = {
            let mut all = self.subscribers.lock();
            all.retain(|subscriber| subscriber.strong_count() > 0);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        if subscribers.is_empty() {
            return;
        }
        for block in blocks(&batch.transactions) {
            subscribers.iter().for_each(|subscriber| subscriber.live(&block));
        }
    }

    /// For subscribers that missed something.
    pub fn subscribers(&self) -> Vec<Arc<Subscriber>> {
        self.subscribers.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn decided(&self, id: &Bytes) {
        self.outstanding.forget(id);
        let numbers = self.waits.lock().by_id.get(id).cloned();
        for number in numbers.unwrap_or_default() {
            self.settle(number, std::slice::from_ref(id));
        }
    }
}

impl Waits {
    fn remove(&mut self, number: u64) -> Option<Wait> {
        let wait = self.by_number.remove(&number)?;
        wait.pending.iter().for_each(|id| self.forget(id, number));
        Some(wait)
    }

    fn forget(&mut self, id: &Bytes, number: u64) {
        let Some(numbers) = self.by_id.get_mut(id) else { return };
        numbers.retain(|other| *other != number);
        if numbers.is_empty() {
            self.by_id.remove(id);
        }
    }
}

impl Subscriber {
    /// Begins with block `next`.
    pub fn new(next: u64, sink: impl Fn(&BlockEvents) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { next: Mutex::new(next), sink: Box::new(sink) })
    }

    fn live(&self, block: &BlockEvents) {
        let mut next = self.next.lock();
        if *next == block.header.block_num && (self.sink)(block) {
            *next += 1;
        }
    }

    /// Tells the blocks that were missed; `read` gives a committed block, or nothing beyond the newest.
    pub fn catch_up(&self, read: impl Fn(u64) -> Option<BlockEvents>) {
        loop {
            let mut next = self.next.lock();
            match read(*next) {
                Some(block) if (self.sink)(&block) => *next += 1,
                _ => return,
            }
        }
    }
}

/// The blocks that a run of ledger transactions brought, with the receipts that came with them.
fn blocks(transactions: &[CommittedTransaction]) -> Vec<BlockEvents> {
    let mut records: BTreeMap<Bytes, BatchRecord> = BTreeMap::new();
    let mut blocks = Vec::new();
    for transaction in transactions {
        for (id, record) in transaction.writes.map(&BATCH).into_iter().flatten() {
            let record = record.as_ref().and_then(|record| BatchRecord::decode(record.clone()).ok());
            records.extend(record.map(|record| (id.clone(), record)));
        }
        for record in transaction.writes.map(&BLOCK).into_iter().flatten().filter_map(|(_, record)| record.as_ref()) {
            blocks.extend(block_events(record, |id| records.remove(&id_key(id))));
        }
    }
    blocks
}

/// A block's record and its batches', put together.
pub(crate) fn block_events(record: &Bytes, mut batch: impl FnMut(&str) -> Option<BatchRecord>) -> Option<BlockEvents> {
    let block = Block::decode(record.clone()).ok()?;
    let header = BlockHeader::decode(block.header).ok()?;
    let mut receipts = Vec::new();
    for id in &header.batch_ids {
        let encoded = batch(id)?.receipts;
        let decoded: Result<Vec<_>, _> = encoded.into_iter().map(TransactionReceipt::decode).collect();
        receipts.extend(decoded.ok()?);
    }
    Some(BlockEvents { id: block.header_signature, header, receipts })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn block(block_num: u64) -> BlockEvents {
        let header = BlockHeader { block_num, ..BlockHeader::default() };
        BlockEvents { id: block_num.to_string(), header, receipts: Vec::new() }
    }

    #[test]
    fn a_subscriber_hears_of_each_block_once_and_in_order() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&heard);
        let subscriber = Subscriber::new(3, move |block| {
            tell.lock().push(block.header.block_num);
            true
        });
        subscriber.live(&block(5));
        subscriber.catch_up(|number| (number <= 5).then(|| block(number)));
        subscriber.live(&block(5));
        subscriber.live(&block(6));
        assert_eq!(*heard.lock(), [3, 4, 5, 6]);
    }

    #[test]
    fn a_wait_ends_when_its_last_batch_is_decided_or_its_time_is_up() {
        let hub = Hub::default();
        let ended = Arc::new(AtomicUsize::new(0));
        let wait = |ids: &[&'static str], until_ms| {
            let ended = Arc::clone(&ended);
            let end = Box::new(move || {
                ended.fetch_add(1, Ordering::Relaxed);
            });
            Wait {
                pending: ids.iter().map(|id| Bytes::from_static(id.as_bytes())).collect(),
                until_ms,
                ask_ms: 50,
                end,
            }
        };
        hub.wait(wait(&["a", "b"], 100)).unwrap();
        hub.decided(&Bytes::from_static(b"a"));
        assert_eq!(ended.load(Ordering::Relaxed), 0);
        hub.decided(&Bytes::from_static(b"b"));
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        hub.wait(wait(&["c"], 100)).unwrap();
        assert_eq!(hub.tick(99, 10).len(), 1, "it asks again");
        assert_eq!(hub.tick(99, 10).len(), 0);
        hub.tick(100, 10);
        assert_eq!(ended.load(Ordering::Relaxed), 2);
        assert!(hub.wait(wait(&[], 100)).is_none());
        assert_eq!(ended.load(Ordering::Relaxed), 3);
    }
}
