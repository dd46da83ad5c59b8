//! Who waits for what is committed. Told once a batch of the ledger can be read.
//!
//! Whoever tells it follows the ledger and must not be kept: it only notes here what is decided and who is to be told. Answers are finished, and
//! events filtered, on threads of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use coco_protocol::CommittedBatch;
use parking_lot::Mutex;

use super::waits::{Wait, Waits};
use super::{Outstanding, Subscriber, WholeBlock};
use crate::limits::{
    ANSWERING_THREADS, MATCHING_THREADS, RECENT_BLOCKS_BYTES_MAX, SUBSCRIBED_PATTERNS_MAX, SUBSCRIBERS_MAX,
    TELLING_THREADS,
};
use crate::tables::{BATCH, BLOCK, INVALID};
use crate::workers::Workers;

/// See the module's text.
pub struct Hub {
    /// What this node handed in.
    pub outstanding: Outstanding,
    waits: Mutex<Waits>,
    subscribers: Mutex<Vec<Weak<Subscriber>>>,
    recent: Mutex<Recent>,
    answering: Workers,
    telling: Workers,
    /// For those whose filters have patterns: whoever has none waits for nobody's matching.
    matching: Workers,
}

/// The newest of the blocks that subscribers were told, as most are told the same.
#[derive(Default)]
struct Recent {
    blocks: BTreeMap<u64, Arc<WholeBlock>>,
    bytes: usize,
}

impl Hub {
    /// With threads of its own, of the kind of these.
    pub fn beside(workers: &Workers) -> Self {
        Self {
            outstanding: Outstanding::default(),
            waits: Mutex::default(),
            subscribers: Mutex::default(),
            recent: Mutex::default(),
            answering: workers.others("answers", ANSWERING_THREADS),
            telling: workers.others("events", TELLING_THREADS),
            matching: workers.others("patterns", MATCHING_THREADS),
        }
    }

    /// Finishes an answer where it keeps nobody.
    pub fn answer(&self, work: impl FnOnce() + Send + 'static) {
        self.answering.give(work);
    }

    /// Keeps a wait until its batches are decided; its number. Ends it at once if there are too many.
    pub fn wait(&self, wait: Wait) -> Option<u64> {
        let kept = self.waits.lock().keep(wait);
        kept.map_err(|wait| self.answer(wait.end)).ok()
    }

    /// These batches of a wait are decided, or not pending any more.
    pub fn settle(&self, number: u64, ids: &[Bytes]) {
        let over = self.waits.lock().settle(number, ids);
        over.into_iter().for_each(|wait| self.answer(wait.end));
    }

    /// Ends waits whose time is up. Those that should ask again, with what they wait for.
    pub fn tick(&self, now_ms: u64, ask_every_ms: u64) -> Vec<(u64, Vec<Bytes>)> {
        let (late, asking) = {
            let mut waits = self.waits.lock();
            (waits.late(now_ms), waits.asking(now_ms, ask_every_ms))
        };
        late.into_iter().for_each(|wait| self.answer(wait.end));
        asking
    }

    /// Takes a subscriber in. `false` if there are too many, or their patterns.
    pub fn subscribe(&self, subscriber: &Arc<Subscriber>) -> bool {
        let mut all = self.subscribers.lock();
        all.retain(|subscriber| subscriber.strong_count() > 0);
        let patterns: usize = all.iter().filter_map(Weak::upgrade).map(|other| other.patterns).sum();
        if all.len() >= SUBSCRIBERS_MAX || patterns + subscriber.patterns > SUBSCRIBED_PATTERNS_MAX {
            return false;
        }
        all.push(Arc::downgrade(subscriber));
        true
    }

    /// Lets it hear of blocks from now on, and of those that it missed.
    pub fn begin(&self, subscriber: &Arc<Subscriber>) {
        subscriber.begin(self.tellers_of(subscriber));
    }

    /// A batch of the ledger can be read now.
    pub fn published(&self, batch: &CommittedBatch) {
        for transaction in &batch.transactions {
            for map in [BATCH, INVALID] {
                transaction.writes.map(&map).into_iter().flatten().for_each(|(id, _)| self.decided(id));
            }
        }
        if batch.transactions.iter().any(|transaction| transaction.writes.map(&BLOCK).is_some()) {
            self.wake();
        }
    }

    /// There may be blocks that subscribers have not been told.
    pub fn wake(&self) {
        let subscribers: Vec<_> = {
            let mut all = self.subscribers.lock();
            all.retain(|subscriber| subscriber.strong_count() > 0);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        subscribers.iter().for_each(|subscriber| subscriber.wake(self.tellers_of(subscriber)));
    }

    fn tellers_of(&self, subscriber: &Subscriber) -> &Workers {
        if subscriber.patterns == 0 { &self.telling } else { &self.matching }
    }

    /// A block for subscribers: kept for the others, if it is among the newest.
    pub fn block(&self, number: u64, read: impl FnOnce() -> Option<WholeBlock>) -> Option<Arc<WholeBlock>> {
        if let Some(block) = self.recent.lock().blocks.get(&number) {
            return Some(Arc::clone(block));
        }
        let block = Arc::new(read()?);
        self.recent.lock().keep(number, &block);
        Some(block)
    }

    fn decided(&self, id: &Bytes) {
        self.outstanding.forget(id);
        let over = self.waits.lock().decided(id);
        over.into_iter().for_each(|wait| self.answer(wait.end));
    }
}

impl Recent {
    fn keep(&mut self, number: u64, block: &Arc<WholeBlock>) {
        self.bytes += block.bytes;
        self.bytes -= self.blocks.insert(number, Arc::clone(block)).map_or(0, |same| same.bytes);
        while self.bytes > RECENT_BLOCKS_BYTES_MAX {
            self.bytes -= self.blocks.pop_first().map_or(0, |(_, oldest)| oldest.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Told;
    use crate::messages::ledger::BlockHeader;

    fn nobody(patterns: usize) -> Arc<Subscriber> {
        Subscriber::new(0, patterns, |_| None, |_| Told::Heard { effort: 0 })
    }

    #[test]
    fn subscribers_and_their_patterns_are_bounded_and_make_room_when_they_go() {
        let hub = Hub::beside(&Workers::at_once());
        let greedy = nobody(SUBSCRIBED_PATTERNS_MAX);
        assert!(hub.subscribe(&greedy) && !hub.subscribe(&nobody(1)));
        drop(greedy);
        let all: Vec<_> = (0..SUBSCRIBERS_MAX).map(|_| nobody(0)).collect();
        assert!(all.iter().all(|subscriber| hub.subscribe(subscriber)));
        assert!(!hub.subscribe(&nobody(0)));
        drop(all);
        assert!(hub.subscribe(&nobody(0)));
    }

    #[test]
    fn a_block_is_read_once_for_all_as_long_as_it_is_among_the_newest() {
        let hub = Hub::beside(&Workers::at_once());
        let read = |number: u64, bytes| {
            let header = BlockHeader { block_num: number, ..BlockHeader::default() };
            hub.block(number, || Some(WholeBlock { id: String::new(), header, batches: Vec::new(), bytes })).unwrap()
        };
        let first = read(1, RECENT_BLOCKS_BYTES_MAX / 2);
        assert!(Arc::ptr_eq(&first, &read(1, 0)));
        read(2, RECENT_BLOCKS_BYTES_MAX);
        assert!(!Arc::ptr_eq(&first, &read(1, 0)));
        read(3, 2 * RECENT_BLOCKS_BYTES_MAX);
        assert!(hub.block(4, || None).is_none());
        let Recent { blocks, bytes } = &*hub.recent.lock();
        assert_eq!((*bytes, blocks.len()), (0, 0));
    }
}
