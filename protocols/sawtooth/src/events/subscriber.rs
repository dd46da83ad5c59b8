//! Somebody who is told each block once, in order.
//!
//! ```text
//!   a block was published ─▶ wake ─▶ a telling thread: read the next block ─▶ filter and send ─▶ … up to the newest
//! ```
//!
//! A subscriber only knows which block is its next, and reads it like any other reader; so there is nothing to queue for it, and those who missed
//! many blocks are no special case. At most one thread tells it at a time, and after some blocks, or much matching, it is others' turn. One that reads too
//! slowly is cut off by its connection.

use std::sync::Arc;

use parking_lot::Mutex;

use super::WholeBlock;
use crate::limits::{MATCHED_BYTES_TURN, TOLD_BLOCKS_MAX};
use crate::workers::Workers;

/// See the module's text.
pub struct Subscriber {
    standing: Mutex<Standing>,
    /// Patterns that it matches.
    pub patterns: usize,
    read: Box<dyn Fn(u64) -> Option<Arc<WholeBlock>> + Send + Sync>,
    sink: Box<dyn Fn(&WholeBlock) -> Told + Send + Sync>,
}

/// What came of telling a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// And what its patterns were tried on for it ([`super::Effort`]).
    Heard { effort: usize },
    /// Nobody listens any more.
    Gone,
}

struct Standing {
    next: u64,
    /// A thread is at it or is going to be, or it has not begun.
    is_told: bool,
    /// It was woken meanwhile.
    again: bool,
}

impl Subscriber {
    /// Begins with block `next`. `read` gives a committed block, or nothing beyond the newest; `sink` tells one.
    pub fn new(
        next: u64,
        patterns: usize,
        read: impl Fn(u64) -> Option<Arc<WholeBlock>> + Send + Sync + 'static,
        sink: impl Fn(&WholeBlock) -> Told + Send + Sync + 'static,
    ) -> Arc<Self> {
        let standing = Mutex::new(Standing { next, is_told: true, again: false });
        Arc::new(Self { standing, patterns, read: Box::new(read), sink: Box::new(sink) })
    }

    /// From now on it is told.
    pub(super) fn begin(self: &Arc<Self>, workers: &Workers) {
        self.give(workers);
    }

    /// There may be something to tell.
    pub(super) fn wake(self: &Arc<Self>, workers: &Workers) {
        {
            let mut standing = self.standing.lock();
            if standing.is_told {
                standing.again = true;
                return;
            }
            standing.is_told = true;
        }
        self.give(workers);
    }

    fn give(self: &Arc<Self>, workers: &Workers) {
        // One that is dropped meanwhile is told nothing any more.
        let (this, others) = (Arc::downgrade(self), workers.clone());
        workers.give(move || {
            if let Some(this) = this.upgrade() {
                this.tell(&others);
            }
        });
    }

    fn tell(self: &Arc<Self>, workers: &Workers) {
        let mut spent = 0;
        for _ in 0..TOLD_BLOCKS_MAX {
            let next = self.standing.lock().next;
            match (self.read)(next).map(|block| (self.sink)(&block)) {
                Some(Told::Heard { effort }) => {
                    self.standing.lock().next += 1;
                    spent += effort;
                    if spent > MATCHED_BYTES_TURN {
                        break;
                    }
                }
                // It stays as if it were being told.
                Some(Told::Gone) => return,
                None => {
                    let mut standing = self.standing.lock();
                    if !std::mem::take(&mut standing.again) {
                        standing.is_told = false;
                        return;
                    }
                }
            }
        }
        self.give(workers);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::messages::ledger::BlockHeader;

    fn block(block_num: u64) -> Arc<WholeBlock> {
        let header = BlockHeader { block_num, ..BlockHeader::default() };
        Arc::new(WholeBlock { id: block_num.to_string(), header, batches: Vec::new(), bytes: 0 })
    }

    #[test]
    fn a_subscriber_hears_of_each_block_once_and_in_order() {
        let (newest, heard) = (Arc::new(Mutex::new(5)), Arc::new(Mutex::new(Vec::new())));
        let (read, tell) = (Arc::clone(&newest), Arc::clone(&heard));
        let sink = move |block: &WholeBlock| {
            tell.lock().push(block.header.block_num);
            Told::Heard { effort: 0 }
        };
        let subscriber = Subscriber::new(3, 0, move |number| (number <= *read.lock()).then(|| block(number)), sink);
        let workers = Workers::at_once();
        subscriber.wake(&workers);
        assert!(heard.lock().is_empty(), "it has not begun");
        subscriber.begin(&workers);
        assert_eq!(*heard.lock(), [3, 4, 5]);
        subscriber.wake(&workers);
        *newest.lock() = 40;
        subscriber.wake(&workers);
        assert_eq!(*heard.lock(), (3..=40).collect::<Vec<_>>(), "also more than in one turn");
    }

    #[test]
    fn whoever_wakes_a_subscriber_does_not_wait_for_what_it_does_with_a_block() {
        let (release, blocked) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let blocked = Mutex::new(blocked);
        let sink = move |block: &WholeBlock| {
            blocked.lock().recv().expect("the test releases it");
            tell.send(block.header.block_num).map_or(Told::Gone, |()| Told::Heard { effort: 0 })
        };
        let subscriber = Subscriber::new(1, 0, |number| (number <= 2).then(|| block(number)), sink);
        let workers = Workers::threads(2);
        subscriber.begin(&workers);
        // While the first is told, waking gives no second thread to it.
        (0..10).for_each(|_| subscriber.wake(&workers));
        assert!(told.try_recv().is_err());
        release.send(()).expect("it is waited for");
        assert_eq!(told.recv(), Ok(1));
        release.send(()).expect("it is waited for");
        assert_eq!(told.recv(), Ok(2));
    }

    #[test]
    fn one_that_does_not_listen_any_more_is_read_nothing() {
        let reads = Arc::new(Mutex::new(0));
        let count = Arc::clone(&reads);
        let read = move |number| {
            *count.lock() += 1;
            Some(block(number))
        };
        let subscriber = Subscriber::new(1, 0, read, |_| Told::Gone);
        subscriber.begin(&Workers::at_once());
        (0..3).for_each(|_| subscriber.wake(&Workers::at_once()));
        assert_eq!(*reads.lock(), 1);
    }

    #[test]
    fn after_much_matching_it_is_others_turn_before_the_next_block() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let (release, blocked) = mpsc::channel::<()>();
        let workers = Workers::threads(1);
        workers.give(move || blocked.recv().expect("the test releases it"));
        let (done, over) = mpsc::channel();
        let subscribers = ["a", "b"].map(|name| {
            let (told, done) = (Arc::clone(&told), done.clone());
            let sink = move |block: &WholeBlock| {
                told.lock().push((name, block.header.block_num));
                if block.header.block_num == 2 {
                    done.send(()).expect("the test waits");
                }
                Told::Heard { effort: MATCHED_BYTES_TURN + 1 }
            };
            let subscriber = Subscriber::new(1, 1, |number| (number <= 2).then(|| block(number)), sink);
            subscriber.begin(&workers);
            subscriber
        });
        release.send(()).expect("it is waited for");
        (0..subscribers.len()).for_each(|_| over.recv().expect("each hears of both blocks"));
        assert_eq!(*told.lock(), [("a", 1), ("b", 1), ("a", 2), ("b", 2)]);
    }
}
