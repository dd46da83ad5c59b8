//! The replica: consensus, the ledger's files, and what was committed, in order, into the store.
//!
//! ```text
//!                 ┌────────── following ──────────┐   role = primary, own term applied, front caught up
//!                 │ applies committed batches      │ ───────────────────────────────────────────────┐
//!                 └────────────▲──────────────────┘                                                  ▼
//!                              │ executor stopped: uncommitted versions are gone        leading: seals what the executor
//!                        ┌─────┴─────┐                                                  executed and proposes it
//!                        │ stopping  │ ◀── lost the lead, or a batch lost its slot ─────────────────┘
//!                        └───────────┘     (commits are held back until the executor has let go of the store)
//! ```
//!
//! A synchronous machine: events are method calls, consequences come out of [`Replica::take_effects`]. The store's newest end is this
//! machine's while following, and the executor's while leading.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use coco_consensus::{
    BatchSpan, Committed, Consensus, EntryKind, MembershipChange, NotPrimary, Output, Persist, ReadOutcome, Refused,
    Role, SnapshotMark, SnapshotOffered,
};
use coco_governance::{NodeRow, attestation};
use coco_kv::{Snapshot, Store};
use coco_ledger::{SnapshotHead, SnapshotPlace};
use coco_protocol::{CommittedBatch, CommittedTransaction};
use coco_types::{ReplicaId, Seqno, TxId, View, WriteSet, limits};

use crate::archive::{Kept, SnapshotJob, SnapshotPlan, Taken, start_point};
use crate::executor::ExecutedBatch;
use crate::ledger::{Admission, LedgerError, NodeLedger, Signed};
use crate::reconciler::{self, Step};
use crate::signatures::Alarm;
use crate::wire::SnapshotNote;

/// What the replica wants done.
pub enum Effect {
    Send {
        to: ReplicaId,
        message: Bytes,
    },
    /// Sync the consensus log, and the ledger's files if asked, then call [`Replica::persisted`].
    Persist(Persist),
    /// The executor may lead from here on.
    Lead {
        view: View,
    },
    /// The executor must stop, then [`Replica::executor_stopped`] be called.
    StopExecutor,
    /// Committed: for the front.
    Deliver(Delivery),
    /// A new ledger secret is in force: to be kept with the node's sealed state before anything that follows.
    EpochBegan,
    /// A snapshot is due: for the archive, which answers with [`Replica::snapshot_taken`] or [`Replica::snapshot_failed`].
    Snapshot(SnapshotJob),
    /// The primary's log no longer holds what this replica lacks: for the archive.
    SnapshotOffered(SnapshotOffered),
    Read(ReadOutcome),
    /// A node was replaced or retired and has left the consensus: governance should say so.
    Gone(coco_types::NodeId),
    /// A primary contradicts this replica: for whoever watches.
    Alarm(Alarm),
    /// This replica leads, and knows of an alarm: the ledger should say so.
    RecordAlarm(Alarm),
    /// These replicas lag behind what this one can serve, and there is no snapshot for them yet.
    NeedsSnapshot(Vec<ReplicaId>),
    /// This replica was removed from the network.
    Removed,
}

/// A committed batch and the state right after it.
pub struct Delivery {
    pub batch: CommittedBatch,
    pub state: Snapshot,
    pub last: TxId,
    /// What is left to be checked of another primary's batch.
    pub signed: Option<Signed>,
}

/// Damage or a contradiction: the node stops and says so.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("consensus: {0}")]
    Consensus(#[from] coco_consensus::Error),
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    #[error("governance: {0}")]
    Governance(#[from] coco_governance::Error),
    #[error("store: {0}")]
    Store(#[from] coco_kv::Error),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Following,
    Leading { view: View },
    Stopping,
}

/// See the module's text.
pub struct Replica {
    id: ReplicaId,
    consensus: Consensus,
    ledger: Arc<NodeLedger>,
    store: Store,
    phase: Phase,
    /// Executed and waiting for a slot (a transfer is under way), oldest first.
    waiting: VecDeque<ExecutedBatch>,
    /// Proposed by this primary, not yet committed, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Committed while the executor still held the store.
    held: VecDeque<Committed>,
    /// How far the front has come, and how many batches it has before it.
    visible: Seqno,
    undelivered: usize,
    committed: TxId,
    gone_reported: Vec<coco_types::NodeId>,
    /// Raised here, oldest first, and whether this reign has reported it.
    alarms: VecDeque<(Alarm, bool)>,
    /// The newest epoch that was reported.
    epoch: Option<Seqno>,
    /// Behind this, the next batch is the first of a new service: see [`Replica::begin_service`].
    service_begins_behind: Option<Seqno>,
    plan: SnapshotPlan,
    effects: Vec<Effect>,
}

struct InFlight {
    last: TxId,
    transactions: Vec<CommittedTransaction>,
}

impl Replica {
    /// `committed` is what the store holds.
    pub fn new(
        id: ReplicaId,
        consensus: Consensus,
        ledger: Arc<NodeLedger>,
        store: Store,
        committed: TxId,
        plan: SnapshotPlan,
    ) -> Self {
        Self {
            id,
            consensus,
            ledger,
            phase: Phase::Following,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            held: VecDeque::new(),
            visible: store.committed(),
            undelivered: 0,
            committed,
            gone_reported: Vec::new(),
            alarms: VecDeque::new(),
            epoch: None,
            service_begins_behind: None,
            plan,
            effects: Vec::new(),
            store,
        }
    }

    /// The executor's next transaction begins a new service on a recovered ledger: as with a new network, nothing is signed before it.
    pub fn begin_service(&mut self) {
        self.service_begins_behind = Some(self.ledger.last_seqno());
    }

    /// Others can join only with a snapshot, and there is none: one is taken as soon as this replica leads.
    pub fn snapshot_soon(&mut self) {
        self.plan.soon();
        self.ledger.end_chunk();
    }

    pub fn id(&self) -> ReplicaId {
        self.id
    }

    pub fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// The newest committed transaction that this replica has applied.
    pub fn committed(&self) -> TxId {
        self.committed
    }

    pub fn is_leading(&self) -> bool {
        matches!(self.phase, Phase::Leading { .. })
    }

    /// One tick of consensus time.
    pub fn tick(&mut self) -> Result<(), Fault> {
        self.consensus.tick();
        self.turn()?;
        self.reconcile()
    }

    /// A message of another replica. What is refused is the sender's fault and changes nothing.
    pub fn message(&mut self, from: ReplicaId, message: &[u8]) -> Result<Result<(), coco_consensus::Refused>, Fault> {
        let taken = self.consensus.step(from, message);
        if let Err(refused @ (Refused::Root { view, seqno } | Refused::Time { view, seqno })) = &taken {
            let txid = TxId::new(*view, *seqno);
            self.doubt(Alarm { view: *view, primary: from, txid, why: refused.to_string() });
        }
        self.turn()?;
        Ok(taken)
    }

    /// A primary contradicts what this replica knows: for the rest of its view it is not acknowledged here, and the alarm goes onto
    /// the ledger as soon as this replica leads. It takes a majority that sees the same to end the view.
    pub fn alarmed(&mut self, alarm: Alarm) -> Result<(), Fault> {
        self.doubt(alarm);
        self.turn()
    }

    fn doubt(&mut self, alarm: Alarm) {
        if self.alarms.iter().any(|(known, _)| known.view == alarm.view) {
            return;
        }
        if (self.consensus.view(), self.consensus.primary()) == (alarm.view, Some(alarm.primary)) {
            self.consensus.distrust_primary();
            self.consensus.campaign();
        }
        self.effects.push(Effect::Alarm(alarm.clone()));
        if self.alarms.len() == ALARMS_MAX {
            self.alarms.pop_front();
        }
        self.alarms.push_back((alarm, false));
    }

    /// The files named by a [`Persist`] are on disk.
    pub fn persisted(&mut self, number: u64) -> Result<(), Fault> {
        self.consensus.persisted(number);
        self.turn()
    }

    /// A batch of the executor.
    pub fn executed(&mut self, batch: ExecutedBatch) -> Result<(), Fault> {
        if self.phase == (Phase::Leading { view: batch.view }) {
            self.waiting.push_back(batch);
        }
        self.turn()
    }

    /// The executor has let go of the store.
    pub fn executor_stopped(&mut self) -> Result<(), Fault> {
        self.phase = Phase::Following;
        self.waiting.clear();
        self.in_flight.clear();
        self.turn()
    }

    /// The front has made everything up to here readable.
    pub fn front_reached(&mut self, seqno: Seqno) -> Result<(), Fault> {
        self.visible = self.visible.max(seqno);
        self.undelivered = self.undelivered.saturating_sub(1);
        self.turn()
    }

    /// A snapshot is durable.
    ///
    /// The log is cut below the one before it: a backup that lags by less than a snapshot's distance, or is just being given the older
    /// one, still finds all it lacks.
    pub fn snapshot_taken(&mut self, taken: &Taken) -> Result<(), Fault> {
        let Taken { kept, before } = taken;
        self.plan.taken(kept.head.place.txid.seqno, kept.bytes);
        self.offer(kept);
        if let Some(before) = before {
            self.consensus.compact(start_point(&before.head))?;
        }
        Ok(())
    }

    /// Replicas that lack what this log has forgotten are offered this snapshot.
    pub fn offer(&mut self, kept: &Kept) {
        let note = SnapshotNote { seqno: kept.head.place.txid.seqno, bytes: kept.bytes };
        self.consensus.set_snapshot(SnapshotMark { start: start_point(&kept.head), note: note.encode() });
    }

    /// Whether this replica lacks what lies before a snapshot that has come.
    pub fn lacks(&self, head: &SnapshotHead) -> bool {
        self.consensus.committed() < head.place.index
    }

    pub fn snapshot_failed(&mut self) {
        self.plan.failed();
    }

    /// Asks for a linearizable read; the answer is an [`Effect::Read`] with this token.
    pub fn read(&mut self, token: u64) -> Result<(), Fault> {
        if self.consensus.read_index(token).is_err() {
            self.effects.push(Effect::Read(ReadOutcome::Lost { token }));
        }
        self.turn()
    }

    /// Hands the lead to whoever is most up to date, before stopping gracefully.
    pub fn hand_over(&mut self) -> Result<(), Fault> {
        if self.consensus.role() == Role::Primary
            && let Some(heir) = reconciler::heir(&self.consensus)
        {
            // A refused transfer leaves the lead here: the others will notice the silence instead.
            let _refused = self.consensus.transfer(heir);
        }
        self.turn()
    }

    /// Stands for election now, if nothing speaks against it.
    pub fn campaign(&mut self) -> Result<(), Fault> {
        self.consensus.campaign();
        self.turn()
    }

    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Does everything that has become possible, until nothing more does.
    fn turn(&mut self) -> Result<(), Fault> {
        loop {
            self.check_reign();
            self.seal_waiting()?;
            let output = self.consensus.take_output()?;
            let quiet = output == Output::default();
            self.absorb(output)?;
            let applied = self.apply_held()?;
            let led = self.try_lead()?;
            if quiet && !applied && !led {
                return Ok(());
            }
        }
    }

    fn absorb(&mut self, output: Output) -> Result<(), Fault> {
        if let Some(first) = output.truncated {
            self.ledger.truncated(first);
        }
        let send = |(to, message)| Effect::Send { to, message };
        self.effects.extend(output.messages.into_iter().map(send));
        self.effects.extend(output.persist.map(Effect::Persist));
        self.effects.extend(output.reads.into_iter().map(Effect::Read));
        self.effects.extend(output.snapshot_offered.map(Effect::SnapshotOffered));
        if !output.needs_snapshot.is_empty() {
            self.effects.push(Effect::NeedsSnapshot(output.needs_snapshot));
        }
        if output.role_changed.is_some_and(|change| change.role == Role::Removed) {
            self.effects.push(Effect::Removed);
        }
        self.held.extend(output.committed);
        Ok(())
    }

    /// Notices a lost lead.
    fn check_reign(&mut self) {
        let Phase::Leading { view } = self.phase else { return };
        if self.consensus.role() != Role::Primary || self.consensus.view() != view {
            self.stop_leading();
        }
    }

    fn stop_leading(&mut self) {
        self.phase = Phase::Stopping;
        self.waiting.clear();
        self.effects.push(Effect::StopExecutor);
    }

    /// Seals and proposes what the executor has executed, each batch at exactly one place.
    fn seal_waiting(&mut self) -> Result<(), Fault> {
        while let Some(batch) = self.waiting.front() {
            let slot = match self.consensus.slot() {
                Ok(slot) if slot.view == batch.view => slot,
                Err(NotPrimary::Transferring { .. }) => return Ok(()),
                Ok(_) | Err(_) => {
                    self.stop_leading();
                    return Ok(());
                }
            };
            // Else those before a change could commit behind it that a voter of those after it has become another: see `admission_is_under_way`. What a
            // resume finds behind one is no way around: nobody is told of an admission that another reign executed, and a key joins once.
            if self.consensus.is_membership_pending() && admits(batch.transactions.iter().map(|one| &one.writes)) {
                return Ok(());
            }
            let batch = self.waiting.pop_front().expect("seen above");
            let sealed = self.ledger.seal(&batch, self.id, self.committed)?;
            if self.consensus.propose(slot, sealed.bytes.into()).is_err() {
                self.ledger.unseal()?;
                self.stop_leading();
                return Ok(());
            }
            self.in_flight.push_back(InFlight { last: sealed.last, transactions: committed_form(&batch, sealed.last) });
        }
        Ok(())
    }

    /// Applies committed entries, unless the executor still holds the store.
    fn apply_held(&mut self) -> Result<bool, Fault> {
        let mut applied = false;
        while self.may_apply_next() && self.undelivered < UNDELIVERED_MAX {
            let Some(entry) = self.held.pop_front() else { break };
            if let EntryKind::Batch(span) = entry.kind {
                let last = TxId::new(span.view, span.last);
                let (transactions, signed) = match self.in_flight.front() {
                    Some(own) if own.last == last => {
                        (self.in_flight.pop_front().map(|own| own.transactions).unwrap_or_default(), None)
                    }
                    _ => self.apply_foreign(span)?,
                };
                self.store.commit(span.last);
                self.ledger.committed(last)?;
                self.committed = last;
                let epoch = self.ledger.epoch_behind(last.seqno);
                if epoch != self.epoch {
                    self.epoch = epoch;
                    self.effects.push(Effect::EpochBegan);
                }
                let state = self.store.snapshot();
                self.undelivered += 1;
                let batch = CommittedBatch { transactions };
                self.effects.push(Effect::Deliver(Delivery { batch, state, last, signed }));
            }
            self.consensus.applied(entry.index);
            applied = true;
            if let EntryKind::Batch(span) = entry.kind {
                self.plan_snapshot(SnapshotPlace { index: entry.index, txid: TxId::new(span.view, span.last) })?;
            }
        }
        Ok(applied)
    }

    /// The state is that of the end of this batch just now.
    fn plan_snapshot(&mut self, place: SnapshotPlace) -> Result<(), Fault> {
        if self.plan.begin(&self.ledger, place.txid.seqno) {
            let head = self.ledger.snapshot_head(place, self.consensus.membership(), self.consensus.removed())?;
            let state = self.store.snapshot();
            self.effects.push(Effect::Snapshot(SnapshotJob { head, state }));
        }
        Ok(())
    }

    /// While stopping, no batch: the executor may have dropped the versions of this replica's own already, and says so later. They
    /// are read back from the ledger then, as any other's.
    fn may_apply_next(&self) -> bool {
        let is_batch = |entry: &Committed| matches!(entry.kind, EntryKind::Batch(_));
        self.phase != Phase::Stopping || !self.held.front().is_some_and(is_batch)
    }

    fn apply_foreign(&mut self, span: BatchSpan) -> Result<(Vec<CommittedTransaction>, Option<Signed>), Fault> {
        let (transactions, mut signed) = self.ledger.open_signed(span)?;
        let mut rest = &transactions[..];
        while !rest.is_empty() {
            // An admission is judged by the state around it.
            let admits = |transaction: &CommittedTransaction| attestation::admits(&transaction.writes);
            let (run, behind) = rest.split_at(rest.iter().position(admits).unwrap_or(rest.len()));
            self.follow(run)?;
            rest = behind;
            if let Some((admission, behind)) = rest.split_first() {
                let before = self.store.newest_snapshot();
                self.follow(std::slice::from_ref(admission))?;
                let after = self.store.newest_snapshot();
                signed.admissions.push(Admission { writes: admission.writes.clone(), before, after });
                rest = behind;
            }
        }
        // A batch of its own that it reads back is an earlier reign's.
        Ok((transactions, Some(signed).filter(|signed| signed.primary != self.id)))
    }

    fn follow(&self, run: &[CommittedTransaction]) -> Result<(), Fault> {
        let run: Vec<_> = run.iter().map(|transaction| (transaction.txid.seqno, &*transaction.writes)).collect();
        Ok(self.store.follow(&run)?)
    }

    /// Takes the lead once everything committed is applied and derived: seals the view's first batch, a signature alone.
    fn try_lead(&mut self) -> Result<bool, Fault> {
        let caught_up = self.held.is_empty() && self.visible >= self.store.committed();
        if self.phase != Phase::Following || !self.consensus.ready_to_lead() || !caught_up {
            return Ok(false);
        }
        let Ok(slot) = self.consensus.slot() else { return Ok(false) };
        self.phase = Phase::Leading { view: slot.view };
        // What an earlier reign reported may have been dropped with it.
        self.gone_reported.clear();
        self.alarms.iter_mut().for_each(|(_, reported)| *reported = false);
        let newest = self.store.committed();
        if let Some(network) = coco_governance::Network::read(&mut self.store.snapshot())? {
            self.ledger.set_chunk_bytes(network.chunk_bytes);
        }
        // A new network's first batch is its genesis: nothing can be signed before the signer is known.
        if newest > Seqno::ZERO && self.service_begins_behind != Some(newest) {
            let opening = ExecutedBatch { view: slot.view, first: newest.next(), transactions: Vec::new() };
            let sealed = self.ledger.seal(&opening, self.id, self.committed)?;
            if self.consensus.propose(slot, sealed.bytes.into()).is_err() {
                self.ledger.unseal()?;
                self.phase = Phase::Following;
                return Ok(false);
            }
            self.store.apply(sealed.last.seqno, &WriteSet::new())?;
            self.in_flight
                .push_back(InFlight { last: sealed.last, transactions: committed_form(&opening, sealed.last) });
        }
        self.effects.push(Effect::Lead { view: slot.view });
        Ok(true)
    }

    /// Brings the consensus's membership one step nearer to what governance says.
    fn reconcile(&mut self) -> Result<(), Fault> {
        if !self.is_leading() || self.committed == TxId::default() {
            return Ok(());
        }
        for (alarm, reported) in self.alarms.iter_mut().filter(|(_, reported)| !reported) {
            *reported = true;
            self.effects.push(Effect::RecordAlarm(alarm.clone()));
        }
        let mut state = self.store.snapshot();
        let nodes = NodeRow::all(&mut state)?;
        let interval_ms = coco_governance::Network::read(&mut state)?.map_or(0, |network| network.swap_interval_ms);
        let patience_ticks = interval_ms.saturating_mul(JOINER_PATIENCE_INTERVALS) / limits::TICK_MS;
        let whole = self.ledger.base() == TxId::default();
        match reconciler::next_step(&self.consensus, self.id, &nodes, patience_ticks, whole) {
            None => return Ok(()),
            Some(Step::Change(MembershipChange::Joint { .. })) if self.admission_is_under_way() => return Ok(()),
            // Refusals are transient (a change is in progress): the next tick tries again.
            Some(Step::Change(change)) => drop(self.consensus.propose_membership(&change)),
            Some(Step::LeaveJoint) => drop(self.consensus.leave_joint()),
            Some(Step::HandOver(heir)) => drop(self.consensus.transfer(heir)),
            Some(Step::Gone(node)) => {
                if !self.gone_reported.contains(&node) {
                    self.gone_reported.push(node);
                    self.effects.push(Effect::Gone(node));
                }
            }
        }
        self.turn()
    }

    /// Whether a node may be about to come back as another replica, of which the committed state does not say so yet. Who votes is decided after that.
    fn admission_is_under_way(&self) -> bool {
        let waiting = self.waiting.iter().flat_map(|batch| &batch.transactions).map(|one| &one.writes);
        let in_flight = self.in_flight.iter().flat_map(|batch| &batch.transactions).map(|one| &one.writes);
        admits(waiting.chain(in_flight))
    }
}

fn admits<'a>(mut writes: impl Iterator<Item = &'a Arc<WriteSet>>) -> bool {
    writes.any(|writes| attestation::admits(writes))
}

/// A joiner may be silent for so many swap intervals: it reads its folder before it answers.
const JOINER_PATIENCE_INTERVALS: u64 = 5;
/// Alarms remembered, one a view.
const ALARMS_MAX: usize = 16;
/// Batches on their way to the front; beyond it, applying waits and the primary's flow control sees a slow peer.
const UNDELIVERED_MAX: usize = 256;

/// The batch as every node will see it once it is committed: its transactions, then the signature without writes to live maps.
fn committed_form(batch: &ExecutedBatch, last: TxId) -> Vec<CommittedTransaction> {
    let mut seqno = batch.first;
    let mut transactions = Vec::with_capacity(batch.transactions.len() + 1);
    for transaction in &batch.transactions {
        let txid = TxId::new(batch.view, seqno);
        transactions.push(CommittedTransaction { txid, writes: transaction.writes.clone() });
        seqno = seqno.next();
    }
    transactions.push(CommittedTransaction { txid: last, writes: Arc::new(WriteSet::new()) });
    transactions
}
