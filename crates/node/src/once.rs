//! Submissions with an `Idempotency-Key` that wait in a pool. Executed ones are rows of the state: [`coco_protocol::Idempotent`].

use std::collections::BTreeMap;

use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{Earlier, Idempotent, Submitted};
use coco_types::Seqno;

/// See the module's text. On the primary, as volatile as its pools.
#[derive(Default)]
pub struct Once {
    /// By ledger and the protocol's id.
    pooled: BTreeMap<(usize, Bytes), Idempotent>,
}

impl Once {
    /// The answer to a request that was handed in before; else it is known from now on, under this id.
    pub fn begin(
        &mut self,
        ledger: usize,
        id: &Bytes,
        key: Idempotent,
        newest: &Snapshot,
        visible: Seqno,
        now_ms: u64,
    ) -> Option<Submitted> {
        match key.earlier(newest, now_ms) {
            Earlier::Same(txid, response) if txid.seqno <= visible => {
                return Some(Submitted::Committed { txid, response });
            }
            // Nothing of it may be told yet.
            Earlier::Same(..) => return Some(Submitted::Rejected(Idempotent::in_use())),
            Earlier::Other => return Some(Submitted::Rejected(Idempotent::reused())),
            Earlier::None => {}
        }
        if let Some(other) = self.pooled.values().find(|other| other.key == key.key) {
            let same = other.request == key.request;
            return Some(Submitted::Rejected(if same { Idempotent::in_use() } else { Idempotent::reused() }));
        }
        self.pooled.insert((ledger, id.clone()), key);
        None
    }

    /// The submission was executed, refused or dropped: gives its key, if it has one.
    pub fn end(&mut self, ledger: usize, id: &Bytes) -> Option<Idempotent> {
        if self.pooled.is_empty() {
            return None;
        }
        self.pooled.remove(&(ledger, id.clone()))
    }

    /// That of a submission that is about to be executed.
    pub fn of(&self, ledger: usize, id: &Bytes) -> Option<Idempotent> {
        if self.pooled.is_empty() {
            return None;
        }
        self.pooled.get(&(ledger, id.clone())).copied()
    }

    /// What waited in a ledger's pool was refused.
    pub fn end_all(&mut self, ledger: usize) {
        self.pooled.retain(|(of, _), _| *of != ledger);
    }

    pub fn clear(&mut self) {
        self.pooled.clear();
    }
}
