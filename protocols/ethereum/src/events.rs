//! Tells listeners of this node what was committed, in ledger order, and what this node handed to the pool.
//!
//! A listener runs on the thread that publishes, so it must only compare and queue. Whoever cannot keep up is closed by its own
//! queue; nothing waits here. The newest blocks are kept, because most questions are about them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::{B256, map::HashMap};
use parking_lot::RwLock;

use crate::rpc::CommittedBlock;
use crate::transaction::Transaction;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A block is final.
    Block(Arc<CommittedBlock>),
    /// The primary's pool took a transaction that this node submitted.
    Pending(Arc<Transaction>),
}

/// Hears events until it answers [`Keep::No`].
pub type Listener = Arc<dyn Fn(&Event) -> Keep + Send + Sync>;

/// What a listener hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Blocks.
    Blocks,
    /// Blocks, each after everybody on [`Channel::Blocks`] has heard of it.
    BlocksLater,
    /// Pending transactions.
    Pending,
}

/// Names a listener.
pub type ListenerId = (Channel, u64);

/// Whether a listener stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Yes,
    No,
}

/// The broadcaster of one ledger on one node.
#[derive(Default)]
pub struct Events {
    listeners: RwLock<BTreeMap<ListenerId, Listener>>,
    next: AtomicU64,
    recent: RwLock<Recent>,
}

/// The newest blocks, within limits of number and size.
#[derive(Default)]
struct Recent {
    blocks: VecDeque<Arc<CommittedBlock>>,
    bytes: u64,
    by_transaction: HashMap<B256, (u64, usize)>,
}

const RECENT_BLOCKS_MAX: usize = 128;
/// Of the blocks' records; what was looked at and decoded takes a few times as much.
const RECENT_BYTES_MAX: u64 = 16 << 20;

impl Events {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A block is committed and readable. Every node calls this once for each block, in order.
    pub fn committed(&self, block: Arc<CommittedBlock>) {
        self.recent.write().push(block.clone());
        self.publish(Channel::Blocks, &Event::Block(block.clone()));
        self.publish(Channel::BlocksLater, &Event::Block(block));
    }

    /// The pool took a transaction that this node submitted.
    pub fn pending(&self, transaction: &Arc<Transaction>) {
        self.publish(Channel::Pending, &Event::Pending(transaction.clone()));
    }

    pub fn has_listeners(&self, channel: Channel) -> bool {
        self.listeners.read().range((channel, 0)..=(channel, u64::MAX)).next().is_some()
    }

    /// How many listen to anything.
    pub fn listeners(&self) -> usize {
        self.listeners.read().len()
    }

    pub fn listen(&self, channel: Channel, listener: Listener) -> ListenerId {
        let id = (channel, self.next.fetch_add(1, Ordering::Relaxed));
        self.listeners.write().insert(id, listener);
        id
    }

    pub fn forget(&self, id: ListenerId) {
        self.listeners.write().remove(&id);
    }

    /// A block, if it is one of the newest.
    pub fn recent(&self, number: u64) -> Option<Arc<CommittedBlock>> {
        self.recent.read().block(number).cloned()
    }

    /// The block of a transaction and its index in it, if it is one of the newest.
    pub fn recent_transaction(&self, hash: &B256) -> Option<(Arc<CommittedBlock>, usize)> {
        let recent = self.recent.read();
        let (number, index) = recent.by_transaction.get(hash)?;
        Some((recent.block(*number)?.clone(), *index))
    }

    /// What was kept is no longer the newest: the node went back to an older state.
    pub fn clear(&self) {
        *self.recent.write() = Recent::default();
    }

    fn publish(&self, channel: Channel, event: &Event) {
        // Listeners may come and go while one runs, so they run outside of the lock.
        let listeners: Vec<(ListenerId, Listener)> = {
            let all = self.listeners.read();
            all.range((channel, 0)..=(channel, u64::MAX)).map(|(id, listener)| (*id, listener.clone())).collect()
        };
        let gone: Vec<ListenerId> =
            listeners.into_iter().filter(|(_, listener)| listener(event) == Keep::No).map(|(id, _)| id).collect();
        if !gone.is_empty() {
            self.listeners.write().retain(|id, _| !gone.contains(id));
        }
    }
}

impl Recent {
    fn push(&mut self, block: Arc<CommittedBlock>) {
        if self.blocks.back().is_some_and(|last| last.number() + 1 != block.number()) {
            *self = Self::default();
        }
        self.bytes += block.weight;
        let places = block.hashes().iter().enumerate().map(|(index, hash)| (*hash, (block.number(), index)));
        self.by_transaction.extend(places);
        self.blocks.push_back(block);
        while self.blocks.len() > RECENT_BLOCKS_MAX || self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.blocks.pop_front() else { return };
            self.bytes -= oldest.weight;
            for hash in oldest.hashes() {
                self.by_transaction.remove(hash);
            }
        }
    }

    fn block(&self, number: u64) -> Option<&Arc<CommittedBlock>> {
        let first = self.blocks.front()?.number();
        self.blocks.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::rpc::BlockHead;
    use alloy_consensus::Header;
    use parking_lot::Mutex;

    fn block(number: u64, weight: u64) -> CommittedBlock {
        let head = BlockHead { hash: B256::ZERO, header: Header { number, ..Default::default() }, blob_params: None };
        let mut block = CommittedBlock::new(head, Vec::new(), Vec::new(), None);
        block.weight = weight;
        block
    }

    #[test]
    fn a_listener_hears_blocks_in_order_until_it_declines() {
        let events = Events::new();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = heard.clone();
        events.listen(
            Channel::Blocks,
            Arc::new(move |event| {
                let Event::Block(block) = event else { return Keep::Yes };
                sink.lock().push(block.number());
                if block.number() == 2 { Keep::No } else { Keep::Yes }
            }),
        );
        for number in 1..=3 {
            events.committed(Arc::new(block(number, 1)));
        }
        assert_eq!(*heard.lock(), [1, 2]);
    }

    #[test]
    fn a_listener_may_leave_while_it_is_called() {
        let events = Events::new();
        let inside = events.clone();
        let own = Arc::new(Mutex::new(None));
        let id = own.clone();
        let listener: Listener = Arc::new(move |_| {
            if let Some(id) = *id.lock() {
                inside.forget(id);
            }
            Keep::Yes
        });
        *own.lock() = Some(events.listen(Channel::Blocks, listener));
        events.committed(Arc::new(block(1, 1)));
        assert!(events.listeners.read().is_empty());
    }

    #[test]
    fn the_newest_blocks_are_kept_within_limits() {
        let events = Events::new();
        for number in 1..=200 {
            events.committed(Arc::new(block(number, 1)));
        }
        assert!(events.recent(72).is_none());
        assert_eq!(events.recent(73).unwrap().number(), 73);
        assert_eq!(events.recent(200).unwrap().number(), 200);
        assert!(events.recent(201).is_none());
        events.committed(Arc::new(block(201, RECENT_BYTES_MAX)));
        assert!(events.recent(200).is_none());
        events.committed(Arc::new(block(300, 1)));
        assert!(events.recent(201).is_none(), "a gap forgets what was before");
    }
}
