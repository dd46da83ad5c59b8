//! What the pool tells about itself.

use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{Rejection, RejectionReason};
use serde::Serialize;

use super::EthereumPool;
use super::queue::{Pooled, SenderQueue};
use crate::limits::{POOL_CONTENT_BYTES_MAX, POOL_CONTENT_MAX};
use crate::rpc::{PoolContent, PoolCounts, PoolQuestion, PooledTransaction};

impl EthereumPool {
    pub(super) fn answer_question(&mut self, question: &[u8], state: &Snapshot) -> Result<Bytes, Rejection> {
        let question: PoolQuestion = serde_json::from_slice(question)
            .map_err(|error| Rejection::new(RejectionReason::Invalid, -32602, error.to_string()))?;
        match question {
            PoolQuestion::NextNonce(sender) => {
                let pending_end = self.senders.get(&sender).map(|queue| queue.pending_end);
                json(&pending_end.unwrap_or_else(|| SenderQueue::new(state, &sender).next_nonce))
            }
            PoolQuestion::Counts => {
                json(&PoolCounts { pending: self.pending.len() as u64, queued: self.queued.len() as u64 })
            }
            PoolQuestion::Content(None) => json(&content(self.senders.values().flat_map(SenderQueue::iter))),
            PoolQuestion::Content(Some(sender)) => {
                json(&content(self.senders.get(&sender).into_iter().flat_map(SenderQueue::iter)))
            }
            PoolQuestion::Drop(which) => json(&self.drop_asked(&which)),
            PoolQuestion::Transaction(hash) => {
                let place = self.by_hash.get(&hash);
                let pooled = place.and_then(|(sender, nonce)| self.senders.get(sender)?.pooled(*nonce));
                json(&pooled.map(told))
            }
        }
    }
}

fn content<'a>(all: impl Iterator<Item = &'a Pooled>) -> PoolContent {
    let mut content = PoolContent::default();
    let mut bytes = 0;
    for pooled in all.take(POOL_CONTENT_MAX) {
        bytes += pooled.admitted.raw.len();
        if bytes > POOL_CONTENT_BYTES_MAX {
            break;
        }
        let list = if pooled.is_pending { &mut content.pending } else { &mut content.queued };
        list.push(told(pooled));
    }
    content
}

fn told(pooled: &Pooled) -> PooledTransaction {
    PooledTransaction { raw: pooled.admitted.raw.clone().into(), finding: pooled.admitted.finding.clone().into() }
}

fn json(answer: &impl Serialize) -> Result<Bytes, Rejection> {
    let json = serde_json::to_vec(answer);
    json.map(Bytes::from).map_err(|error| Rejection::new(RejectionReason::Busy, -32603, error.to_string()))
}
