//! Batches that this node handed in and that are not decided yet.
//!
//! The primary's pool is lost with the lead. Whoever took a batch in keeps it until it is decided, and hands it in again if a new
//! primary does not know it: a client need not notice the change. What is lost with this node itself is its client's to repeat. What there is no
//! room for is not taken in: so nothing that was taken in can be forgotten.

use crate::batch::SignedBatch;
use crate::limits::{OUTSTANDING_ASK_AFTER_MS, OUTSTANDING_BYTES_MAX, OUTSTANDING_KEPT_MS, SUBMISSION_BATCHES_MAX};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// All of a submission, before it is handed in: the ids of those that were not kept already. Nothing if there is no room.
    pub fn keep(&self, batches: &[Admitted], now_ms: u64) -> Option<Vec<Bytes>> {
        let mut kept = self.0.lock();
        let new: BTreeMap<&Bytes, &Admitted> =
            batches.iter().map(|batch| (&batch.id, batch)).filter(|(id, _)| !kept.by_id.contains_key(*id)).collect();
        if kept.bytes + new.values().map(|batch| weight(batch)).sum::<usize>() > OUTSTANDING_BYTES_MAX {
            return None;
        }
        let mut ids = Vec::new();
        for admitted in batches {
            if kept.by_id.contains_key(&admitted.id) {
                continue;
            }
            let number = kept.next;
            kept.next += 1;
            kept.bytes += weight(admitted);
            kept.by_id.insert(admitted.id.clone(), number);
            ids.push(admitted.id.clone());
            let (admitted, until_ms) = (admitted.clone(), now_ms + OUTSTANDING_KEPT_MS);
            kept.batches.insert(number, Batch { admitted, until_ms, ask_ms: now_ms + OUTSTANDING_ASK_AFTER_MS });
        }
        Some(ids)
    }

    /// It is decided, or refused.
    pub fn forget(&self, id: &Bytes) {
        self.0.lock().remove(id);
    }

    /// Those of which the primary should be asked now, in the order in which they came; the others when time has passed.
    pub fn to_ask(&self, now_ms: u64) -> Vec<Bytes> {
        let mut kept = self.0.lock();
        let over = kept.batches.values().filter(|batch| batch.until_ms <= now_ms);
        let over: Vec<Bytes> = over.map(|batch| batch.admitted.id.clone()).collect();
        over.iter().for_each(|id| kept.remove(id));
        let due = kept.batches.values_mut().filter(|batch| batch.ask_ms <= now_ms);
        due.take(SUBMISSION_BATCHES_MAX)
            .map(|batch| {
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
        self.bytes -= batch.map_or(0, |batch| weight(&batch.admitted));
    }
}

fn weight(admitted: &Admitted) -> usize {
    admitted.decoded::<Arc<SignedBatch>>().map_or(admitted.raw.len(), |batch| batch.weight)
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use coco_protocol::Caller;

    use super::*;
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
        assert_eq!(outstanding.keep(&batches[..2], 0).unwrap(), ids[..2]);
        assert_eq!(outstanding.keep(&batches, 0).unwrap(), ids[2..], "the others are kept already");
        outstanding.forget(&ids[1]);
        assert!(outstanding.to_ask(1_999).is_empty());
        assert_eq!(outstanding.to_ask(2_000), [ids[0].clone(), ids[2].clone()]);
        assert!(outstanding.to_ask(2_001).is_empty(), "not again at once");
        assert_eq!(outstanding.batches(&ids).len(), 2);
        assert!(outstanding.to_ask(600_000).is_empty());
        assert!(outstanding.batches(&ids).is_empty());
    }

    #[test]
    fn what_there_is_no_room_for_is_not_kept_in_part_and_there_is_room_again() {
        let outstanding = Outstanding::default();
        let heavy = |name: &str| {
            let mut signed = SignedBatch::admit(Signer::new(1).single(&intkey("set", name, 1))).unwrap();
            signed.weight = OUTSTANDING_BYTES_MAX / 2;
            admitted(signed, Caller::Anonymous)
        };
        let [a, b, c] = ["a", "b", "c"].map(heavy);
        assert!(outstanding.keep(&[a.clone(), b.clone(), c.clone()], 0).is_none());
        assert!(outstanding.batches(from_ref(&a.id)).is_empty());
        assert!(outstanding.keep(&[a.clone(), b.clone(), a.clone()], 0).is_some());
        assert!(outstanding.keep(from_ref(&c), 0).is_none() && outstanding.keep(from_ref(&a), 0).is_some());
        outstanding.forget(&a.id);
        assert!(outstanding.keep(&[c], 0).is_some());
    }
}
