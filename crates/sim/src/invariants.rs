//! What must hold after every step, whatever went wrong.

use std::collections::{BTreeMap, BTreeSet};

use coco_consensus::Membership;
use coco_kv::Snapshot;
use coco_node::replica::Delivery;
use coco_protocol::{CommittedTransaction, History, TransactionStatus};
use coco_types::{Digest, ReplicaId, Seqno, TxId, View, WriteSet};

use crate::counter::{RECORDS, SEEN, TOTALS};
use crate::model::{Model, Sum, digest};

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

/// Everything that any node has ever shown as committed.
#[derive(Default)]
pub struct Invariants {
    primaries: BTreeMap<View, ReplicaId>,
    committed: BTreeMap<Seqno, (TxId, Digest)>,
    model: Model,
    /// The state after each batch.
    states: BTreeMap<Seqno, Sum>,
    /// Submissions that a client was told are committed, by their id.
    acknowledged: BTreeMap<u64, TxId>,
    /// Submissions whose outcome a client was told is unknown.
    unknown: BTreeMap<u64, TxId>,
    newest_acknowledged: TxId,
    /// Submitted again, by a client that was not told how it ended.
    retried: BTreeSet<u64>,
    /// Said to be `Invalid`, which is final.
    invalid: BTreeMap<TxId, ReplicaId>,
    /// The last transaction that a recovery left: the new service begins behind it, with what says so.
    recovered_to: Option<TxId>,
}

impl Invariants {
    /// One primary a view.
    pub fn leads(&mut self, replica: ReplicaId, view: View) -> Result<(), Violation> {
        let first = *self.primaries.entry(view).or_insert(replica);
        holds(first == replica, || format!("both {first} and {replica} lead view {view}"))
    }

    /// What is committed at a seqno never changes, on no node, and every node's store shows what was written
    /// (`PrevCommittedInv`).
    pub fn committed(&mut self, replica: ReplicaId, delivery: &Delivery) -> Result<(), Violation> {
        if !self.take(replica, &delivery.batch.transactions, delivery.last)? {
            return Ok(());
        }
        let transactions = delivery.batch.transactions.iter();
        let differs = transactions.map(|one| self.model.differs(&delivery.state, &one.writes)).find(Option::is_some);
        holds(differs.is_none(), || format!("{replica} shows other state at {}: {differs:?}", delivery.last))
    }

    /// The same of what a node finds in its own ledger as committed, and a majority has to have: its power went before it said so.
    pub fn found_committed(
        &mut self,
        replica: ReplicaId,
        batch: &[CommittedTransaction],
        last: TxId,
        membership: &Membership,
        durable: &BTreeMap<ReplicaId, TxId>,
    ) -> Result<(), Violation> {
        held_by_a_majority(last, membership, durable)?;
        self.take(replica, batch, last).map(drop)
    }

    /// The newest transaction that any node has said to be committed.
    pub fn newest_committed(&self) -> TxId {
        self.committed_txids().next_back().unwrap_or_default()
    }

    /// Whether anything of the batch is new.
    fn take(&mut self, replica: ReplicaId, batch: &[CommittedTransaction], last: TxId) -> Result<bool, Violation> {
        let mut is_new = false;
        let before = self.committed.last_key_value().map(|(_, (txid, _))| *txid);
        for transaction in batch {
            let content = (transaction.txid, digest(&transaction.writes));
            let next = self.committed.last_key_value().map_or(Seqno(1), |(last, _)| last.next());
            let seqno = transaction.txid.seqno;
            if seqno == next {
                is_new = true;
                let invalid = self.invalid.get(&transaction.txid);
                holds(invalid.is_none(), || {
                    format!("{} is committed although {invalid:?} said it never would be", transaction.txid)
                })?;
                self.model.apply(&transaction.writes);
                self.committed.insert(seqno, content);
            }
            let first = self.committed.get(&seqno).copied();
            holds(first == Some(content), || {
                format!("{replica} committed {} where {first:?} was committed, or with other writes", content.0)
            })?;
        }
        if is_new {
            let opens_view = before.is_some_and(|before| before.view < last.view && Some(before) != self.recovered_to);
            let writes = batch.iter().any(|transaction| !transaction.writes.is_empty());
            holds(!(opens_view && writes), || format!("view {} does not begin with a signature alone", last.view))?;
            self.states.insert(last.seqno, self.model.sum());
        }
        Ok(is_new)
    }

    /// A node's whole store, after it started again and at the end.
    pub fn shows(&self, replica: ReplicaId, last: TxId, state: &Snapshot) -> Result<(), Violation> {
        let Some(expected) = self.states.get(&last.seqno) else {
            return holds(last.seqno == Seqno::ZERO, || format!("{replica} shows {last}, which no batch ends with"));
        };
        holds(Sum::of(state) == *expected, || format!("{replica} shows another state at {last} than was committed"))
    }

    /// A client was told that its submission is committed: it is, on the disks of a majority; it was not before; and it stays.
    pub fn acknowledged(
        &mut self,
        id: u64,
        txid: TxId,
        membership: &Membership,
        durable: &BTreeMap<ReplicaId, TxId>,
    ) -> Result<(), Violation> {
        self.confirmed(txid, membership, durable)?;
        let before = self.acknowledged.insert(id, txid);
        holds(before.is_none(), || format!("submission {id} was acknowledged as {before:?} and again as {txid}"))
    }

    /// The same of whatever a client was told to be committed.
    pub fn confirmed(
        &mut self,
        txid: TxId,
        membership: &Membership,
        durable: &BTreeMap<ReplicaId, TxId>,
    ) -> Result<(), Violation> {
        let committed = self.committed.get(&txid.seqno).map(|(committed, _)| *committed);
        holds(committed == Some(txid), || format!("{txid} was acknowledged, but {committed:?} is committed there"))?;
        held_by_a_majority(txid, membership, durable)?;
        self.newest_acknowledged = self.newest_acknowledged.max(txid);
        Ok(())
    }

    /// A client was told that its submission may or may not commit under this id.
    pub fn outcome_unknown(&mut self, id: u64, txid: TxId) -> Result<(), Violation> {
        self.unknown.insert(id, txid);
        holds(!self.acknowledged.contains_key(&id), || format!("submission {id} was acknowledged, then unknown"))
    }

    /// Its client asks again: it may be found under another id, or have been there before.
    pub fn retried(&mut self, id: u64) {
        self.unknown.remove(&id);
        self.retried.insert(id);
    }

    pub fn is_retried(&self, id: u64) -> bool {
        self.retried.contains(&id)
    }

    /// The newest transaction that any client knows to be committed: a linearizable read that begins now must see it.
    pub fn newest_acknowledged(&self) -> TxId {
        self.newest_acknowledged
    }

    /// A linearizable read sees everything that was acknowledged before it was asked for (`ObservedRoInv`).
    pub fn read(&self, replica: ReplicaId, asked_at: TxId, seen: TxId) -> Result<(), Violation> {
        holds(seen.seqno >= asked_at.seqno, || {
            format!("a linearizable read on {replica} saw {seen} although {asked_at} had been acknowledged")
        })
    }

    /// `Committed` is said of what is committed only, `Invalid` of what never will be.
    pub fn status(&mut self, replica: ReplicaId, txid: TxId, status: TransactionStatus) -> Result<(), Violation> {
        let committed = self.is_committed(txid);
        match status {
            TransactionStatus::Committed => holds(committed, || format!("{replica} says that {txid} is committed")),
            TransactionStatus::Invalid => {
                self.invalid.insert(txid, replica);
                holds(!committed, || format!("{replica} says that {txid} is invalid, but it is committed"))
            }
            TransactionStatus::Pending | TransactionStatus::Unknown => Ok(()),
        }
    }

    /// At the end of a run, on every node: every acknowledged submission is in the state, once, and each unknown one where
    /// its id said it would be, or nowhere.
    pub fn nothing_lost(&self, replica: ReplicaId, state: &Snapshot, history: &dyn History) -> Result<(), Violation> {
        let seen = |id: &u64| state.get(&SEEN, &id.to_be_bytes()).is_some();
        for (id, txid) in &self.acknowledged {
            holds(seen(id), || format!("{replica} lost submission {id}, acknowledged as {txid}"))?;
            let record = history.record(&RECORDS, &id.to_be_bytes()).map_err(|error| Violation(error.to_string()))?;
            holds(record.is_some(), || format!("{replica} has no record of submission {id}, {txid}"))?;
        }
        for (id, txid) in self.unknown.iter().filter(|(id, _)| !self.retried.contains(id)) {
            let committed = self.is_committed(*txid);
            holds(seen(id) == committed, || {
                format!("{replica}: submission {id} is to be found under {txid}, which is committed: {committed}")
            })?;
        }
        let total: u64 =
            state.iter(&TOTALS).map(|(_, value)| value.first_chunk().map_or(0, |b| u64::from_be_bytes(*b))).sum();
        let seen = state.iter(&SEEN).count() as u64;
        holds(total == seen, || format!("{replica} counted {total} additions of {seen} submissions"))
    }

    /// Whether this, with these writes, is what was committed at its place.
    pub(crate) fn is_what_was_committed(&self, txid: TxId, writes: &WriteSet) -> bool {
        self.committed.get(&txid.seqno) == Some(&(txid, digest(writes)))
    }

    /// Takes over a transaction of the ledger that a recovery began with, up to the one that it began at.
    pub(crate) fn was_recovered(&mut self, txid: TxId, writes: &WriteSet, last: TxId) {
        self.model.apply(writes);
        self.committed.insert(txid.seqno, (txid, digest(writes)));
        if txid == last {
            self.states.insert(txid.seqno, self.model.sum());
            self.recovered_to = Some(txid);
        }
    }

    pub fn is_committed(&self, txid: TxId) -> bool {
        self.committed.get(&txid.seqno).is_some_and(|(committed, _)| *committed == txid)
    }

    /// Everything committed, in order.
    pub fn committed_txids(&self) -> impl DoubleEndedIterator<Item = TxId> {
        self.committed.values().map(|(txid, _)| *txid)
    }

    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }

    pub fn acknowledged_txids(&self) -> impl DoubleEndedIterator<Item = TxId> {
        self.acknowledged.values().copied()
    }

    pub fn unknown_count(&self) -> usize {
        self.unknown.len()
    }
}

fn held_by_a_majority(
    txid: TxId,
    membership: &Membership,
    durable: &BTreeMap<ReplicaId, TxId>,
) -> Result<(), Violation> {
    // What was committed just before a joint configuration was entered had to convince the outgoing voters only.
    let voters = if membership.is_joint() { &membership.voters_outgoing } else { &membership.voters };
    let holds_it =
        |id: &&ReplicaId| durable.get(id).is_some_and(|last| last.seqno >= txid.seqno && last.view >= txid.view);
    let holders: BTreeSet<_> = voters.iter().filter(holds_it).collect();
    // Nobody runs any more who could say.
    let known = !voters.is_empty();
    holds(!known || holders.len() > voters.len() / 2, || {
        format!("{txid} is told of with only {holders:?} of {voters:?} having it on disk")
    })
}

pub fn holds(condition: bool, text: impl FnOnce() -> String) -> Result<(), Violation> {
    if condition { Ok(()) } else { Err(Violation(text())) }
}
