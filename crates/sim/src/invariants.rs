//! What must hold after every step, whatever went wrong.

use std::collections::BTreeMap;

use coco_crypto::sha256;
use coco_kv::Snapshot;
use coco_node::replica::Delivery;
use coco_types::{Digest, ReplicaId, Seqno, TxId, View};

use crate::counter::{SEEN, TOTALS};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// Everything that any node has ever shown as committed.
#[derive(Default)]
pub struct Invariants {
    primaries: BTreeMap<View, ReplicaId>,
    committed: BTreeMap<Seqno, (TxId, Digest)>,
    states: BTreeMap<Seqno, Digest>,
    /// Submissions that a client was told are committed, by their id.
    acknowledged: BTreeMap<u64, TxId>,
}

impl Invariants {
    /// One primary a view.
    pub fn leads(&mut self, replica: ReplicaId, view: View) -> Result<(), Violation> {
        let first = *self.primaries.entry(view).or_insert(replica);
        holds(first == replica, || format!("both {first} and {replica} lead view {view}"))
    }

    /// What is committed at a seqno never changes, on no node; equal versions have equal state.
    pub fn delivered(&mut self, replica: ReplicaId, delivery: &Delivery) -> Result<(), Violation> {
        for transaction in &delivery.batch.transactions {
            let content = (transaction.txid, sha256(format!("{:?}", transaction.writes).as_bytes()));
            let first = self.committed.entry(transaction.txid.seqno).or_insert(content);
            let same = *first == content;
            holds(same, || {
                format!("{replica} committed {} where {} was committed, or with other writes", content.0, first.0)
            })?;
        }
        let digest = state_digest(&delivery.state);
        let first = *self.states.entry(delivery.last.seqno).or_insert(digest);
        holds(first == digest, || format!("{replica} has another state at {}", delivery.last))
    }

    /// A client was told that its submission is committed: it is, it was not before, and it stays.
    pub fn acknowledged(&mut self, id: u64, txid: TxId) -> Result<(), Violation> {
        let committed = self.committed.get(&txid.seqno).map(|(committed, _)| *committed);
        holds(committed == Some(txid), || format!("{txid} was acknowledged, but {committed:?} is committed there"))?;
        let before = self.acknowledged.insert(id, txid);
        holds(before.is_none(), || format!("submission {id} was acknowledged as {before:?} and again as {txid}"))
    }

    /// At the end of a run, on every node: every acknowledged submission is in the state, once.
    pub fn nothing_lost(&self, replica: ReplicaId, state: &Snapshot) -> Result<(), Violation> {
        for (id, txid) in &self.acknowledged {
            let seen = state.get(&SEEN, &id.to_be_bytes()).is_some();
            holds(seen, || format!("{replica} lost submission {id}, acknowledged as {txid}"))?;
        }
        let total: u64 =
            state.iter(&TOTALS).map(|(_, value)| value.first_chunk().map_or(0, |b| u64::from_be_bytes(*b))).sum();
        let seen = state.iter(&SEEN).count() as u64;
        holds(total == seen, || format!("{replica} counted {total} additions of {seen} submissions"))
    }

    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }

    pub fn acknowledged_txids(&self) -> impl Iterator<Item = TxId> {
        self.acknowledged.values().copied()
    }
}

fn state_digest(state: &Snapshot) -> Digest {
    let mut hash = coco_crypto::Sha256::new();
    for map in [&TOTALS, &SEEN] {
        for (key, value) in state.iter(map) {
            hash.update(&(key.len() as u64).to_le_bytes());
            hash.update(&key);
            hash.update(&value);
        }
    }
    hash.finish()
}

pub fn holds(condition: bool, text: impl FnOnce() -> String) -> Result<(), Violation> {
    if condition { Ok(()) } else { Err(Violation(text())) }
}
