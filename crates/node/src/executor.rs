//! The executor: runs what the pools hold, on the primary, one transaction after the other, and cuts batches.
//!
//! ```text
//!   Submit ──▶ Pool::insert ──▶ (ready) ──▶ Pool::next ─▶ execute ─▶ apply to the store ─▶ open batch ──cut──▶ Executed ─▶ replica
//!                                                                                                 waiters ◀── Visible ◀─ front
//! ```
//!
//! A synchronous machine. It owns the store's newest end between [`Executor::lead`] and [`Executor::stop`], and touches it at
//! no other time. What it executes is above the committed version and may be dropped with the leadership; nothing of it leaves the
//! node except through the replica's sealed entries and a protocol's own answers about what is pending.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use coco_kv::{Store, Tx};
use coco_protocol::{
    Admitted, Claims, Context, Idempotent, Outcome, Pool, Prepared, Protocol, Ready, Rejection, RejectionReason,
    Submitted, Until,
};
use coco_types::{MapName, Seqno, TxId, View, WriteSet, limits};

use crate::members_will::MembersWill;
use crate::once::Once;
use crate::preparation::{Finished, Preparation, Wake};
use crate::submissions::{Reply, Submissions, Ticket};

/// A run of executed transactions on its way to the replica. The batch's signature transaction takes the seqno after the last.
#[derive(Clone, Debug)]
pub struct ExecutedBatch {
    pub view: View,
    pub first: Seqno,
    pub transactions: Vec<ExecutedTransaction>,
}

/// What one transaction wrote, and what its receipt will bind.
#[derive(Clone, Debug)]
pub struct ExecutedTransaction {
    pub writes: Arc<WriteSet>,
    pub claims: Option<Claims>,
}

/// A transaction of the framework itself: joining, retiring, genesis. Runs before any pool.
pub type SystemCommand = Box<dyn FnOnce(&mut Tx, &Context<'_>) -> Result<Outcome, Rejection> + Send>;

/// Where executions get their randomness.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Bounds and intervals of batches.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    pub interval_ms: u64,
    pub bytes_max: usize,
    pub uncommitted_max: u64,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            interval_ms: limits::BATCH_INTERVAL_MS,
            bytes_max: limits::BATCH_BYTES_MAX,
            uncommitted_max: limits::UNCOMMITTED_TRANSACTIONS_MAX as u64,
        }
    }
}

/// See the module's text.
pub struct Executor {
    store: Store,
    ledgers: Vec<Hosted>,
    random: Random,
    limits: BatchLimits,
    reign: Option<Reign>,
    system: VecDeque<System>,
    submissions: Submissions,
    once: Once,
    preparation: Preparation,
    will: MembersWill,
    visible: Seqno,
    now_ms: u64,
}

/// A transaction of the framework that waits for its turn.
struct System {
    command: SystemCommand,
    ticket: Ticket,
    /// What was executed before it is of another batch.
    begins_batch: bool,
}

struct Hosted {
    protocol: Arc<dyn Protocol>,
    pool: Box<dyn Pool>,
}

/// One uninterrupted time as primary.
struct Reign {
    view: View,
    next: Seqno,
    batch: Vec<ExecutedTransaction>,
    batch_bytes: usize,
    cut_at_ms: u64,
    /// The batch that was cut last held so few that waiting for company would only be waiting.
    is_calm: bool,
}

/// A row's lengths in a ledger entry, beside its key and its value.
pub const ROW_BYTES: usize = 16;
// A batch is cut once it reaches its limit: what then comes on top is a transaction or a whole block.
const _: () = assert!(
    limits::BATCH_BYTES_MAX + limits::WRITE_SET_BYTES_MAX < limits::CHANNEL_RAFT_BYTES_MAX
        && limits::BATCH_BYTES_MAX + limits::BLOCK_BYTES_MAX < limits::CHANNEL_RAFT_BYTES_MAX
);

/// What is written, as it is in a ledger entry.
fn carried_bytes(tx: &Tx) -> usize {
    tx.write_bytes() + tx.writes().len() * ROW_BYTES
}

/// Transactions of a batch that say that there is no load: some lone submissions, and the seal of their block.
const CALM_BATCH_MAX: usize = 8;

impl Executor {
    pub fn new(store: Store, protocols: &[Arc<dyn Protocol>], random: Random, limits: BatchLimits) -> Self {
        let hosted = |protocol: &Arc<dyn Protocol>| Hosted { protocol: protocol.clone(), pool: protocol.pool() };
        let visible = store.committed();
        let ledgers = protocols.iter().map(hosted).collect();
        let submissions = Submissions::default();
        let preparation = Preparation::new();
        let (system, once, will) = (VecDeque::new(), Once::default(), MembersWill::default());
        Self {
            store,
            ledgers,
            random,
            limits,
            reign: None,
            system,
            submissions,
            once,
            preparation,
            will,
            visible,
            now_ms: 0,
        }
    }

    /// How somebody on another thread asks for a turn.
    pub fn set_wake(&mut self, wake: Wake) {
        self.preparation.set_wake(wake);
    }

    /// The store's newest end is this executor's from now on: everything committed, and the view's first batch if the replica sealed one.
    pub fn lead(&mut self, view: View) {
        let next = self.store.newest().next();
        self.visible = self.store.committed();
        self.reign = Some(Reign { view, next, batch: Vec::new(), batch_bytes: 0, cut_at_ms: 0, is_calm: true });
        self.heed_members();
    }

    /// Ends the reign: drops what is not committed, and gives the store back. Waiters for sealed transactions learn their ids.
    pub fn stop(&mut self) {
        if self.reign.take().is_none() {
            return;
        }
        self.system.clear();
        for hosted in &mut self.ledgers {
            hosted.pool.clear();
        }
        self.preparation.clear();
        self.once.clear();
        self.submissions.abandon();
        self.store.rollback();
    }

    pub fn is_leading(&self) -> bool {
        self.reign.is_some()
    }

    /// Takes submissions into a ledger's pool.
    pub fn submit(&mut self, ledger: usize, admitted: Vec<Admitted>, until: Until, reply: Reply) {
        let Some(hosted) = self.ledgers.get_mut(ledger).filter(|_| self.reign.is_some()) else {
            let count = admitted.len();
            return reply(vec![Submitted::Unavailable; count]);
        };
        if let Some(closed) = self.will.closed(ledger) {
            return reply(vec![Submitted::Rejected(closed.clone()); admitted.len()]);
        }
        let newest = self.store.newest_snapshot();
        if let Err(rejection) = hosted.pool.check_together(&admitted, &newest) {
            return reply(vec![Submitted::Rejected(rejection); admitted.len()]);
        }
        let group = self.submissions.open(admitted.len(), reply);
        for (position, submission) in admitted.into_iter().enumerate() {
            let ticket = Ticket { group, position };
            let id = submission.id.clone();
            if let Until::Once(key) = until
                && let Some(answer) = self.once.begin(ledger, &id, key, &newest, self.visible, self.now_ms)
            {
                self.submissions.settle(ticket, answer);
                continue;
            }
            let room = hosted.pool.len() < limits::SUBMISSIONS_QUEUED_MAX;
            let inserted = if room {
                hosted.pool.insert(submission, &newest, self.now_ms)
            } else {
                Err(busy("too many submissions are waiting"))
            };
            match (inserted, until) {
                (Err(rejection), _) => {
                    self.once.end(ledger, &id);
                    self.submissions.settle(ticket, Submitted::Rejected(rejection));
                }
                (Ok(()), Until::Accepted) => self.submissions.settle(ticket, Submitted::Accepted),
                (Ok(()), Until::Committed | Until::Once(_)) => self.submissions.await_execution(ledger, id, ticket),
            }
            for (id, why) in hosted.pool.dropped() {
                self.once.end(ledger, &id);
                self.submissions.rejected(ledger, &id, why);
            }
        }
    }

    /// Queues a transaction of the framework itself.
    pub fn submit_system(&mut self, command: SystemCommand, reply: Reply) {
        self.queue_system(command, false, reply);
    }

    /// The same, as the first transaction of a batch: the batch may be the first that another key of the service signs.
    pub fn submit_first(&mut self, command: SystemCommand, reply: Reply) {
        self.queue_system(command, true, reply);
    }

    fn queue_system(&mut self, command: SystemCommand, begins_batch: bool, reply: Reply) {
        if self.reign.is_none() || self.system.len() >= limits::SUBMISSIONS_QUEUED_MAX {
            return reply(vec![Submitted::Unavailable]);
        }
        let group = self.submissions.open(1, reply);
        self.system.push_back(System { command, ticket: Ticket { group, position: 0 }, begins_batch });
    }

    /// Puts a question to a ledger's pool.
    pub fn answer(&mut self, ledger: usize, question: &[u8]) -> Result<Bytes, Rejection> {
        let newest = self.store.newest_snapshot();
        let now_ms = self.now_ms;
        match self.ledgers.get_mut(ledger).filter(|_| self.reign.is_some()) {
            Some(hosted) => hosted.pool.answer(question, &newest, now_ms),
            None => Err(busy("there is no primary here")),
        }
    }

    /// Everything up to here is committed and readable: answers those who wait for it.
    pub fn visible(&mut self, seqno: Seqno) {
        self.visible = self.visible.max(seqno);
        self.submissions.committed(seqno);
    }

    /// Executes what is ready and returns the batches that are due, oldest first.
    pub fn turn(&mut self, now_ms: u64) -> Vec<ExecutedBatch> {
        self.now_ms = self.now_ms.max(now_ms);
        let mut batches = Vec::new();
        if self.reign.is_none() {
            return batches;
        }
        batches.extend(self.run_system());
        self.collect_prepared();
        for ledger in 0..self.ledgers.len() {
            while self.has_room() && self.is_ready(ledger) {
                let ran = self.run(ledger);
                if self.batch_is_full() {
                    batches.extend(self.cut());
                } else if !ran || !self.is_ready(ledger) {
                    break;
                }
            }
            self.start_preparing(ledger);
        }
        if self.batch_is_due() {
            batches.extend(self.cut());
        }
        batches
    }

    /// When [`Executor::turn`] should be called next at the latest, in ledger time; `None` if only an event can give it work.
    pub fn wake_at_ms(&self) -> Option<u64> {
        let reign = self.reign.as_ref()?;
        let batch = (!reign.batch.is_empty()).then(|| self.due_at_ms(reign));
        let open = self.ledgers.iter().enumerate().filter(|(ledger, _)| self.will.closed(*ledger).is_none());
        let ready = open.filter_map(|(_, hosted)| match hosted.pool.ready(self.now_ms) {
            Ready::Idle => None,
            Ready::Now => self.has_room().then_some(self.now_ms),
            Ready::At(at) => self.has_room().then_some(at),
        });
        ready.chain(batch).min()
    }

    fn is_ready(&self, ledger: usize) -> bool {
        if self.will.closed(ledger).is_some() {
            return false;
        }
        match self.ledgers[ledger].pool.ready(self.now_ms) {
            Ready::Idle => false,
            Ready::Now => true,
            Ready::At(at) => at <= self.now_ms,
        }
    }

    /// Back-pressure: executed and uncommitted transactions are bounded; pools fill up behind it and answer "busy".
    fn has_room(&self) -> bool {
        self.reign
            .as_ref()
            .is_some_and(|reign| reign.next.0.saturating_sub(self.visible.0) < self.limits.uncommitted_max)
    }

    fn batch_is_full(&self) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.batch_bytes >= self.limits.bytes_max)
    }

    fn batch_is_due(&self) -> bool {
        let due = |reign: &Reign| !reign.batch.is_empty() && self.now_ms >= self.due_at_ms(reign);
        self.reign.as_ref().is_some_and(due)
    }

    /// At most one batch an interval, so that a busy time shares its signatures. But somebody who writes one thing after the other, each
    /// once the one before is committed, never waits: a calm batch that is behind us is no reason to hold back the next.
    fn due_at_ms(&self, reign: &Reign) -> u64 {
        let is_alone = reign.is_calm && self.visible.0 + reign.batch.len() as u64 + 1 >= reign.next.0;
        if is_alone { reign.cut_at_ms } else { reign.cut_at_ms + self.limits.interval_ms }
    }

    fn cut(&mut self) -> Option<ExecutedBatch> {
        let reign = self.reign.as_mut().filter(|reign| !reign.batch.is_empty())?;
        let transactions = std::mem::take(&mut reign.batch);
        reign.is_calm = transactions.len() <= CALM_BATCH_MAX;
        let first = Seqno(reign.next.0 - transactions.len() as u64);
        let signature = reign.next;
        reign.next = signature.next();
        reign.batch_bytes = 0;
        reign.cut_at_ms = self.now_ms;
        self.store.apply(signature, &WriteSet::new()).expect("the executor is the only writer while it leads");
        Some(ExecutedBatch { view: reign.view, first, transactions })
    }

    /// What the members have decided about ledgers holds from the next transaction on: what still waits in a pool is refused.
    fn heed_members(&mut self) {
        let names: Vec<&str> = self.ledgers.iter().map(|hosted| hosted.protocol.name()).collect();
        for (ledger, closed) in self.will.read(&mut self.store.newest_snapshot(), &names) {
            self.ledgers[ledger].pool.clear();
            self.once.end_all(ledger);
            self.submissions.refuse_pooled(ledger, &closed);
        }
    }

    /// Within the bounds that hold for everybody: anyone may cause such transactions. What finds no room waits.
    fn run_system(&mut self) -> Vec<ExecutedBatch> {
        let mut batches = Vec::new();
        if self.system.is_empty() {
            return batches;
        }
        while self.has_room()
            && let Some(System { command, ticket, begins_batch }) = self.system.pop_front()
        {
            if begins_batch {
                batches.extend(self.cut());
            }
            let mut tx = self.store.begin();
            let txid = self.next_txid();
            let random = self.random.clone();
            let context = Context::new(txid, self.now_ms, &*random);
            let result = command(&mut tx, &context);
            let result = result.and_then(|outcome| self.check_carriable(&tx).map(|()| outcome));
            match result {
                Ok(outcome) => {
                    self.append(tx, &outcome);
                    self.submissions.await_commit(txid, outcome.response, ticket);
                }
                Err(rejection) => self.submissions.settle(ticket, Submitted::Rejected(rejection)),
            }
            if self.batch_is_full() {
                batches.extend(self.cut());
            }
        }
        self.heed_members();
        batches
    }

    /// A batch below its cut, and the largest write set behind it, fit into what one peer's channel holds. Many small rows count for what
    /// they are in a ledger entry.
    fn check_carriable(&self, tx: &Tx) -> Result<(), Rejection> {
        if carried_bytes(tx) + self.will.published_bytes(tx.writes()) > limits::WRITE_SET_BYTES_MAX {
            return Err(Rejection::new(RejectionReason::Invalid, -32000, "the transaction writes more than 16 MiB"));
        }
        Ok(())
    }

    /// Hands out what is to be executed elsewhere, on the newest state.
    fn start_preparing(&mut self, ledger: usize) {
        let Some(view) = self.reign.as_ref().map(|reign| reign.view).filter(|_| self.has_room()) else { return };
        if self.will.closed(ledger).is_some() {
            return;
        }
        let protocol = self.ledgers[ledger].protocol.clone();
        while let Some(admitted) = self.ledgers[ledger].pool.next_to_prepare(self.now_ms) {
            let tx = self.store.begin_tracked(&self.store.newest_snapshot());
            let job = self.preparation.job(view, ledger, admitted.id.clone(), tx, self.now_ms);
            protocol.prepare(&admitted, job);
        }
    }

    fn collect_prepared(&mut self) {
        let reign = self.reign.as_ref().map(|reign| reign.view);
        for Finished { view, ledger, id, prepared } in self.preparation.finished() {
            if reign != Some(view) {
                continue;
            }
            match prepared {
                Some(prepared) => {
                    self.ledgers[ledger].pool.prepared(&id);
                    self.preparation.keep(ledger, id, prepared);
                }
                None => self.ledgers[ledger].pool.conflicted(&id),
            }
        }
    }

    /// One run of a ledger's pool: a whole block, or as much as the batch holds. `false` if nothing was executed.
    fn run(&mut self, ledger: usize) -> bool {
        let protocol = self.ledgers[ledger].protocol.clone();
        let mut opened = false;
        while let Some(admitted) = self.ledgers[ledger].pool.next(self.now_ms) {
            let prepared = self.preparation.take(ledger, &admitted.id);
            if prepared.as_ref().is_some_and(|prepared| self.store.validate(&prepared.reads).is_err()) {
                self.ledgers[ledger].pool.conflicted(&admitted.id);
                continue;
            }
            let key = self.once.of(ledger, &admitted.id);
            let result = self.execute(&*protocol, &admitted, opened, prepared.as_ref(), key);
            self.once.end(ledger, &admitted.id);
            opened |= result.is_ok();
            let newest = self.store.newest_snapshot();
            self.ledgers[ledger].pool.done(&admitted, result.as_ref().map(|(_, outcome)| outcome), &newest);
            match result {
                Ok((txid, outcome)) => self.submissions.executed(ledger, &admitted.id, txid, outcome.response),
                Err(rejection) => self.submissions.rejected(ledger, &admitted.id, rejection),
            }
            for (id, why) in self.ledgers[ledger].pool.dropped() {
                self.once.end(ledger, &id);
                self.submissions.rejected(ledger, &id, why);
            }
            if !protocol.has_blocks() && (self.batch_is_full() || !self.has_room()) {
                return true;
            }
        }
        if opened {
            self.seal(&*protocol);
        }
        opened
    }

    fn execute(
        &mut self,
        protocol: &dyn Protocol,
        admitted: &Admitted,
        opened: bool,
        prepared: Option<&Prepared>,
        key: Option<Idempotent>,
    ) -> Result<(TxId, Outcome), Rejection> {
        let mut tx = self.store.begin();
        let txid = self.next_txid();
        let random = self.random.clone();
        let published = |map: &MapName| self.will.is_published(map);
        let context = Context::new(txid, self.now_ms, &*random)
            .with_prepared(prepared.map(|prepared| &*prepared.result))
            .with_published(&published);
        if let Some(key) = key {
            key.check_room(&mut tx, self.now_ms)?;
        }
        if !opened {
            protocol.open_block(&mut tx, &context)?;
        }
        let outcome = protocol.execute(&mut tx, admitted, &context)?;
        if let Some(key) = key {
            key.keep(&mut tx, txid, &outcome.response, self.now_ms);
        }
        self.check_carriable(&tx)?;
        self.append(tx, &outcome);
        Ok((txid, outcome))
    }

    fn seal(&mut self, protocol: &dyn Protocol) {
        let mut tx = self.store.begin();
        let random = self.random.clone();
        let published = |map: &MapName| self.will.is_published(map);
        let context = Context::new(self.next_txid(), self.now_ms, &*random).with_published(&published);
        match protocol.seal_block(&mut tx, &context) {
            Ok(Some(outcome)) => self.append(tx, &outcome),
            Ok(None) => {}
            Err(rejection) => panic!("a block of {} that was opened can be sealed: {rejection}", protocol.name()),
        }
    }

    fn append(&mut self, tx: Tx, outcome: &Outcome) {
        let bytes = carried_bytes(&tx);
        let (mut writes, _) = tx.into_parts();
        let bytes = bytes + self.will.publish(&mut writes);
        let reign = self.reign.as_mut().expect("only a primary executes");
        self.store.apply(reign.next, &writes).expect("the executor is the only writer while it leads");
        reign.next = reign.next.next();
        reign.batch_bytes += bytes;
        reign.batch.push(ExecutedTransaction { writes: Arc::new(writes), claims: outcome.claims.clone() });
    }

    fn next_txid(&self) -> TxId {
        let reign = self.reign.as_ref().expect("only a primary executes");
        TxId::new(reign.view, reign.next)
    }
}

fn busy(message: &str) -> Rejection {
    Rejection::new(RejectionReason::Busy, -32005, message)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use coco_kv::Snapshot;
    use coco_protocol::{Caller, GenesisError, LedgerHandle, Service};

    use super::*;

    /// A ledger whose pool holds one submission: the newest.
    struct LastOne;

    #[derive(Default)]
    struct LastOnePool {
        held: Option<Admitted>,
        dropped: Vec<(Bytes, Rejection)>,
    }

    impl Protocol for LastOne {
        fn name(&self) -> &'static str {
            "last-one"
        }

        fn genesis(&self, _: &mut Tx, _: &serde_json::Value, _: &Context<'_>) -> Result<(), GenesisError> {
            Ok(())
        }

        fn admit(&self, raw: Bytes, caller: &Caller) -> Result<Admitted, Rejection> {
            let (id, caller) = (raw.clone(), caller.clone());
            Ok(Admitted { raw, id, finding: Bytes::new(), caller, decoded: Arc::new(()) })
        }

        fn readmit(&self, raw: Bytes, _: Bytes, caller: Caller) -> Result<Admitted, Rejection> {
            self.admit(raw, &caller)
        }

        fn pool(&self) -> Box<dyn Pool> {
            Box::new(LastOnePool::default())
        }

        fn execute(&self, _: &mut Tx, _: &Admitted, _: &Context<'_>) -> Result<Outcome, Rejection> {
            Ok(Outcome::default())
        }

        fn serve(self: Arc<Self>, _: Arc<dyn LedgerHandle>) -> Arc<dyn Service> {
            unreachable!("the executor serves nobody")
        }
    }

    impl Pool for LastOnePool {
        fn insert(&mut self, admitted: Admitted, _: &Snapshot, _: u64) -> Result<(), Rejection> {
            if let Some(earlier) = self.held.replace(admitted) {
                self.dropped.push((earlier.id, busy("somebody else came")));
            }
            Ok(())
        }

        fn ready(&self, _: u64) -> Ready {
            if self.held.is_some() { Ready::Now } else { Ready::Idle }
        }

        fn next(&mut self, _: u64) -> Option<Admitted> {
            self.held.take()
        }

        fn done(&mut self, _: &Admitted, _: Result<&Outcome, &Rejection>, _: &Snapshot) {}

        fn dropped(&mut self) -> Vec<(Bytes, Rejection)> {
            std::mem::take(&mut self.dropped)
        }

        fn clear(&mut self) {
            *self = Self::default();
        }

        fn len(&self) -> usize {
            usize::from(self.held.is_some())
        }

        fn answer(&mut self, _: &[u8], _: &Snapshot, _: u64) -> Result<Bytes, Rejection> {
            Ok(Bytes::new())
        }
    }

    /// Hands in one submission with a key; its answer comes on the channel.
    fn submit_once(executor: &mut Executor, name: &'static str, key: Idempotent) -> mpsc::Receiver<Submitted> {
        let admitted = LastOne.admit(Bytes::from_static(name.as_bytes()), &Caller::Anonymous).unwrap();
        let (tell, told) = mpsc::channel();
        let reply = Box::new(move |answers: Vec<Submitted>| tell.send(answers[0].clone()).unwrap());
        executor.submit(0, vec![admitted], Until::Once(key), reply);
        told
    }

    #[test]
    fn a_transaction_that_begins_a_batch_leaves_what_was_executed_before_it_to_another() {
        let mut executor = Executor::new(Store::new(), &[], Arc::new(|_: &mut [u8]| ()), BatchLimits::default());
        executor.lead(View(1));
        let command = || -> SystemCommand { Box::new(|_, _| Ok(Outcome::default())) };
        executor.submit_system(command(), Box::new(drop));
        executor.submit_system(command(), Box::new(drop));
        executor.submit_first(command(), Box::new(drop));
        let batches = [executor.turn(0), executor.turn(1_000)].concat();
        let spans: Vec<_> = batches.iter().map(|batch| (batch.first, batch.transactions.len())).collect();
        assert_eq!(spans, [(Seqno(1), 2), (Seqno(4), 1)]);
    }

    #[test]
    fn rows_without_content_fill_a_transaction_too() {
        let mut executor = Executor::new(Store::new(), &[], Arc::new(|_: &mut [u8]| ()), BatchLimits::default());
        executor.lead(View(1));
        let (tell, told) = mpsc::channel();
        for rows in [1_000, 1 << 20] {
            let command: SystemCommand = Box::new(move |tx, _| {
                for row in 0..rows as u32 {
                    tx.put(&MapName::new("rows"), row.to_be_bytes().to_vec(), Vec::new());
                }
                Ok(Outcome::default())
            });
            let tell = tell.clone();
            executor.submit_system(command, Box::new(move |answers| tell.send(answers[0].clone()).unwrap()));
        }
        executor.turn(0);
        assert!(matches!(told.try_recv(), Ok(Submitted::Rejected(refused)) if refused.message.contains("16 MiB")));
        assert!(told.try_recv().is_err(), "the other one waits for its commit");
    }

    #[test]
    fn a_submission_with_a_key_is_executed_once_and_forgotten_with_what_is_not_committed() {
        use coco_types::Digest;
        let protocols: [Arc<dyn Protocol>; 1] = [Arc::new(LastOne)];
        let store = Store::new();
        let mut executor =
            Executor::new(store.clone(), &protocols, Arc::new(|_: &mut [u8]| ()), BatchLimits::default());
        let key = Idempotent { key: Digest([1; 32]), request: Digest([2; 32]), owner: Digest::ZERO, signed: false };
        let other = Idempotent { request: Digest([3; 32]), ..key };
        let committed =
            |view, seqno| Submitted::Committed { txid: TxId::new(View(view), Seqno(seqno)), response: Bytes::new() };
        let refused = |rejection| Ok(Submitted::Rejected(rejection));
        executor.lead(View(1));
        let first = submit_once(&mut executor, "first", key);
        assert_eq!(submit_once(&mut executor, "again", key).try_recv(), refused(Idempotent::in_use()), "in the pool");
        assert_eq!(submit_once(&mut executor, "other", other).try_recv(), refused(Idempotent::reused()));
        executor.turn(1);
        assert_eq!(submit_once(&mut executor, "again", key).try_recv(), refused(Idempotent::in_use()), "uncommitted");
        // The lead is lost before the commit: nothing has happened.
        executor.stop();
        assert_eq!(first.try_recv(), Ok(Submitted::Unknown(Some(TxId::new(View(1), Seqno(1))))));
        executor.lead(View(2));
        let second = submit_once(&mut executor, "again", key);
        executor.turn(2);
        store.commit(Seqno(1));
        executor.visible(Seqno(1));
        assert_eq!(second.try_recv(), Ok(committed(2, 1)));
        // The lead is lost after it: whoever leads next knows.
        executor.stop();
        let mut next = Executor::new(store, &protocols, Arc::new(|_: &mut [u8]| ()), BatchLimits::default());
        next.lead(View(3));
        assert_eq!(submit_once(&mut next, "again", key).try_recv(), Ok(committed(2, 1)));
        assert_eq!(submit_once(&mut next, "other", other).try_recv(), refused(Idempotent::reused()));
    }

    /// Writes one row of this many bytes.
    fn writing(bytes: usize) -> SystemCommand {
        Box::new(move |tx, context| {
            let map = coco_types::MapName::new("public:ccf.gov.test");
            tx.put(&map, context.txid.seqno.0.to_le_bytes().to_vec(), vec![7; bytes]);
            Ok(Outcome::default())
        })
    }

    fn alone(limits: BatchLimits) -> (Executor, Store) {
        let store = Store::new();
        let mut executor = Executor::new(store.clone(), &[], Arc::new(|_: &mut [u8]| ()), limits);
        executor.lead(View(1));
        (executor, store)
    }

    #[test]
    fn transactions_of_the_framework_are_cut_into_batches_that_a_channel_carries() {
        let (mut executor, _) = alone(BatchLimits::default());
        for _ in 0..40 {
            executor.submit_system(writing(1 << 20), Box::new(|_| ()));
        }
        let batches = executor.turn(1);
        let bytes = |batch: &ExecutedBatch| batch.transactions.iter().map(|one| one.writes.bytes()).sum::<usize>();
        assert!(batches.iter().all(|batch| bytes(batch) <= limits::BATCH_BYTES_MAX + (1 << 20)));
        assert_eq!(batches.iter().map(|batch| batch.transactions.len()).sum::<usize>(), 40);
    }

    #[test]
    fn a_transaction_of_the_framework_that_no_channel_carries_is_refused() {
        let (mut executor, store) = alone(BatchLimits::default());
        let many_rows: SystemCommand = Box::new(|tx, _| {
            let map = coco_types::MapName::new("public:ccf.gov.test");
            (0..1_100_000_u32).for_each(|row| tx.put(&map, row.to_le_bytes().to_vec(), Bytes::new()));
            Ok(Outcome::default())
        });
        for command in [writing(limits::WRITE_SET_BYTES_MAX), many_rows] {
            let (tell, told) = mpsc::channel();
            executor.submit_system(command, Box::new(move |answers| tell.send(answers).unwrap()));
            assert!(executor.turn(1).is_empty());
            let answers = told.try_recv().unwrap();
            assert!(matches!(&answers[..], [Submitted::Rejected(why)] if why.message.contains("16 MiB")));
        }
        assert_eq!(store.newest(), Seqno::ZERO);
    }

    #[test]
    fn transactions_of_the_framework_wait_while_too_many_are_not_committed() {
        let (mut executor, store) = alone(BatchLimits { uncommitted_max: 4, ..BatchLimits::default() });
        for _ in 0..10 {
            executor.submit_system(writing(1), Box::new(|_| ()));
        }
        let mut executed = 0;
        for now_ms in 1..20 {
            let ran: usize = executor.turn(now_ms * 100).iter().map(|batch| batch.transactions.len()).sum();
            assert!(ran <= 4);
            executed += ran;
            store.commit(store.newest());
            executor.visible(store.newest());
        }
        assert_eq!(executed, 10);
    }

    #[test]
    fn whoever_waits_for_a_commit_is_answered_when_the_pool_drops_the_submission() {
        let protocols: [Arc<dyn Protocol>; 1] = [Arc::new(LastOne)];
        let mut executor = Executor::new(Store::new(), &protocols, Arc::new(|_: &mut [u8]| ()), BatchLimits::default());
        executor.lead(View(1));
        let (tell, told) = mpsc::channel();
        for name in ["first", "second"] {
            let admitted = protocols[0].admit(Bytes::from_static(name.as_bytes()), &Caller::Anonymous).unwrap();
            let tell = tell.clone();
            let reply = Box::new(move |answers| tell.send((name, answers)).unwrap());
            executor.submit(0, vec![admitted], Until::Committed, reply);
        }
        assert_eq!(told.try_recv(), Ok(("first", vec![Submitted::Rejected(busy("somebody else came"))])));
        executor.turn(1);
        executor.visible(Seqno(1));
        let committed = Submitted::Committed { txid: TxId::new(View(1), Seqno(1)), response: Bytes::new() };
        assert_eq!(told.try_recv(), Ok(("second", vec![committed])));
    }
}
