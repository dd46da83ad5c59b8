//! Batches that this node handed in and that are not decided yet.
//!
//! The primary's pool is lost with the lead. Whoever took a batch in keeps it until it is decided, and hands it in again if a new
//! primary does not know it: a client need not notice the change. What is lost with this node itself is its client's to repeat.

use crate::limits::{OUTSTANDING_ASK_AFTER_MS, OUTSTANDING_BYTES_MAX, OUTSTANDING_KEPT_MS};
use std::collections::BTreeMap;

use bytes::Bytes;
use coco_protocol::Admitted;
use parking_lot::Mutex;

/// See the module's text.
#[derive(Default)]
pub struct Outstanding(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_id: BTreeMap<Bytes, u64>,
    /// In the order in which they came.
    batches: BTreeMap<u64, Batch>,
    next: u64,
    bytes: usize,
}

struct Batch {
    admitted: Admitted,
    until_ms: u64,
    ask_ms: u64,
}

impl Outstanding {
    pub fn keep(&self, batches: Vec<Admitted>, now_ms: u64) {
        let mut kept = self.0.lock();
        for admitted in batches {
            if kept.bytes + admitted.raw.len() > OUTSTANDING_BYTES_MAX || kept.by_id.contains_key(&admitted.id) {
                continue;
            }
            let number = kept.next;
            kept.next += 1;
            kept.bytes += admitted.raw.len();
            kept.by_id.insert(admitted.id.clone(), number);
            let batch =
                Batch { admitted, until_ms: now_ms + OUTSTANDING_KEPT_MS, ask_ms: now_ms + OUTSTANDING_ASK_AFTER_MS };
            kept.batches.insert(number, batch);
        }
    }

    /// It is decided, or refused.
    pub fn forget(&self, id: &Bytes) {
        self.0.lock().remove(id);
    }

    /// Those of which the primary should be asked now, in the order in which they came.
    pub fn to_ask(&self, now_ms: u64) -> Vec<Bytes> {
        let mut kept = self.0.lock();
        let over = kept.batches.values().filter(|batch| batch.until_ms <= now_ms);
        let over: Vec<Bytes> = over.map(|batch| batch.admitted.id.clone()).collect();
        over.iter().for_each(|id| kept.remove(id));
        let due = kept.batches.values_mut().filter(|batch| batch.ask_ms <= now_ms);
        due.map(|batch| {
            batch.ask_ms = now_ms + OUTSTANDING_ASK_AFTER_MS;
            batch.admitted.id.clone()
        })
        .collect()
    }

    /// Those of these that are still kept.
    pub fn batches(&self, ids: &[Bytes]) -> Vec<Admitted> {
        let kept = self.0.lock();
        let batch = |id: &Bytes| kept.batches.get(kept.by_id.get(id)?);
        ids.iter().filter_map(batch).map(|batch| batch.admitted.clone()).collect()
    }
}

impl Kept {
    fn remove(&mut self, id: &Bytes) {
        let batch = self.by_id.remove(id).and_then(|number| self.batches.remove(&number));
        self.bytes -= batch.map_or(0, |batch| batch.admitted.raw.len());
    }
}

#[cfg(test)]
mod tests {
    use coco_protocol::Caller;

    use super::*;
    use crate::batch::SignedBatch;
    use crate::protocol::admitted;
    use crate::testing::{Signer, intkey};

    fn batch(name: &str) -> Admitted {
        let batch = SignedBatch::admit(Signer::new(1).single(&intkey("set", name, 1))).unwrap();
        admitted(batch, Caller::Anonymous)
    }

    #[test]
    fn what_is_not_decided_is_asked_for_in_order_until_it_is_given_up() {
        let outstanding = Outstanding::default();
        let batches = [batch("a"), batch("b"), batch("c")];
        let ids: Vec<_> = batches.iter().map(|batch| batch.id.clone()).collect();
        outstanding.keep(batches.to_vec(), 0);
        outstanding.forget(&ids[1]);
        assert!(outstanding.to_ask(1_999).is_empty());
        assert_eq!(outstanding.to_ask(2_000), [ids[0].clone(), ids[2].clone()]);
        assert!(outstanding.to_ask(2_001).is_empty(), "not again at once");
        assert_eq!(outstanding.batches(&ids).len(), 2);
        assert!(outstanding.to_ask(600_000).is_empty());
        assert!(outstanding.batches(&ids).is_empty());
    }
}
