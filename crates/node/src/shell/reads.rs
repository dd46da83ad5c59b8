//! Linearizable reads that wait: for the quorum's confirmation, then for this node to have come far enough.
//!
//! Each is answered once. One that takes too long (no quorum, no primary, a node cut off) is answered "no" in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coco_types::Seqno;

/// Called once: whether the read may be made now.
pub type ReadReply = Box<dyn FnOnce(bool) + Send>;

const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Reads that may wait; further ones are refused.
const READS_MAX: usize = 8_192;

/// See the module's text.
#[derive(Default)]
pub struct Reads {
    next_token: u64,
    asked: BTreeMap<u64, Waiting>,
    waiting: Vec<(Seqno, Waiting)>,
}

struct Waiting {
    until: Instant,
    reply: ReadReply,
}

impl Reads {
    /// The token of a read whose confirmation is to be asked for; `None` if it was refused.
    pub fn ask(&mut self, now: Instant, reply: ReadReply) -> Option<u64> {
        if self.len() >= READS_MAX {
            reply(false);
            return None;
        }
        self.next_token += 1;
        self.asked.insert(self.next_token, Waiting { until: now + READ_TIMEOUT, reply });
        Some(self.next_token)
    }

    pub fn confirmed(&mut self, token: u64, committed: Seqno, visible: Seqno) {
        if let Some(read) = self.asked.remove(&token) {
            self.keep(committed, visible, read);
        }
    }

    pub fn lost(&mut self, token: u64) {
        if let Some(read) = self.asked.remove(&token) {
            (read.reply)(false);
        }
    }

    /// Answers once everything up to `seqno` is visible.
    pub fn wait(&mut self, now: Instant, seqno: Seqno, visible: Seqno, reply: ReadReply) {
        if visible < seqno && self.len() >= READS_MAX {
            return reply(false);
        }
        self.keep(seqno, visible, Waiting { until: now + READ_TIMEOUT, reply });
    }

    pub fn reached(&mut self, visible: Seqno) {
        for (seqno, read) in std::mem::take(&mut self.waiting) {
            self.keep(seqno, visible, read);
        }
    }

    /// Gives up on what has waited too long.
    pub fn expire(&mut self, now: Instant) {
        let asked = self.asked.extract_if(.., |_, read| read.until <= now).map(|(_, read)| read);
        let waiting = self.waiting.extract_if(.., |(_, read)| read.until <= now).map(|(_, read)| read);
        for read in asked.chain(waiting) {
            (read.reply)(false);
        }
    }

    fn keep(&mut self, seqno: Seqno, visible: Seqno, read: Waiting) {
        if visible >= seqno { (read.reply)(true) } else { self.waiting.push((seqno, read)) }
    }

    fn len(&self) -> usize {
        self.asked.len() + self.waiting.len()
    }
}

impl Drop for Reads {
    /// The replica has ended: nobody will confirm anything.
    fn drop(&mut self) {
        let asked = std::mem::take(&mut self.asked).into_values();
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, read)| read);
        for read in asked.chain(waiting) {
            (read.reply)(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Answers(Arc<Mutex<Vec<(u8, bool)>>>);

    impl Answers {
        fn reply(&self, name: u8) -> ReadReply {
            let answers = self.0.clone();
            Box::new(move |may| answers.lock().push((name, may)))
        }

        fn take(&self) -> Vec<(u8, bool)> {
            std::mem::take(&mut self.0.lock())
        }
    }

    #[test]
    fn a_read_is_answered_once_confirmed_and_readable() {
        let (now, answers, mut reads) = (Instant::now(), Answers::default(), Reads::default());
        let token = reads.ask(now, answers.reply(1)).unwrap();
        reads.confirmed(token, Seqno(7), Seqno(5));
        reads.reached(Seqno(6));
        assert_eq!(answers.take(), []);
        reads.reached(Seqno(7));
        assert_eq!(answers.take(), [(1, true)]);
        reads.lost(token);
        assert_eq!(answers.take(), []);
    }

    #[test]
    fn a_read_that_nobody_confirms_is_answered_in_the_end() {
        let (now, answers, mut reads) = (Instant::now(), Answers::default(), Reads::default());
        let token = reads.ask(now, answers.reply(1)).unwrap();
        reads.wait(now, Seqno(9), Seqno(1), answers.reply(2));
        reads.expire(now + READ_TIMEOUT - Duration::from_millis(1));
        assert_eq!(answers.take(), []);
        reads.expire(now + READ_TIMEOUT);
        assert_eq!(answers.take(), [(1, false), (2, false)]);
        reads.confirmed(token, Seqno(1), Seqno(1));
        assert_eq!(reads.len(), 0);
        assert_eq!(answers.take(), []);
    }

    #[test]
    fn reads_beyond_the_limit_are_refused_and_the_end_of_the_replica_answers_all() {
        let (now, answers, mut reads) = (Instant::now(), Answers::default(), Reads::default());
        for _ in 0..READS_MAX {
            assert!(reads.ask(now, answers.reply(1)).is_some());
        }
        assert!(reads.ask(now, answers.reply(2)).is_none());
        reads.wait(now, Seqno(9), Seqno(1), answers.reply(3));
        assert_eq!(answers.take(), [(2, false), (3, false)]);
        drop(reads);
        assert_eq!(answers.take(), vec![(1, false); READS_MAX]);
    }
}
