//! A network of one node with nothing below it: state, pool, execution and commit, in memory and at once.
//!
//! It does what a node's executor and replica do, in their order, without consensus, encryption or time. Besides the
//! conformance suite it serves protocols' own tests: [`SingleNode::call`] speaks to the protocol's service.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use bytes::Bytes;
use coco_kv::{Store, Tx};
use coco_types::{MapName, Retention, Seqno, TxId, View, WriteSet};
use http::{Request, Response, StatusCode};

use crate::{
    Admitted, Caller, Claims, CommittedBatch, CommittedTransaction, Context, DerivedHistory, Earlier, Gate, History,
    HistoryError, Idempotent, Job, LedgerHandle, NodeStatus, Outcome, PastTransaction, Pool, Prepared, Protocol,
    Reader, Ready, Rejection, Submitted, TransactionStatus, Until,
};

const VIEW: View = View(2);
/// Where ledger time starts, milliseconds since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// A pool that is still ready after so many runs never comes to rest.
const RUNS_MAX: usize = 10_000;

/// Everything that the node holds, live state and history, by map.
pub type Contents = BTreeMap<MapName, BTreeMap<Bytes, Bytes>>;

/// See the module's text.
pub struct SingleNode {
    protocol: Arc<dyn Protocol>,
    gate: Arc<dyn Gate>,
    inner: Mutex<Inner>,
    /// Of [`Inner`]: a protocol may ask for it while it executes.
    ledger: Ledger,
}

struct Inner {
    store: Store,
    pool: Box<dyn Pool>,
    history: BTreeMap<MapName, BTreeMap<Bytes, Bytes>>,
    now_ms: u64,
    ms_per_look: u64,
    /// Jobs that ended, and those among them whose turn has not come.
    finished: Arc<Mutex<Vec<Ended>>>,
    prepared: Vec<(Bytes, Prepared)>,
    /// Executed and not committed.
    open: Vec<CommittedTransaction>,
    open_claims: Vec<Claims>,
    ledger: Ledger,
    claims: Vec<Claims>,
}

/// What is committed, with the seqno of each batch's signature.
type Ledger = Arc<Mutex<Vec<(CommittedBatch, Seqno)>>>;

/// A job that ended, by the submission's id.
type Ended = (Bytes, Option<Prepared>);

/// What a submission's execution gave.
type Executed = Result<(TxId, Bytes), Rejection>;

impl SingleNode {
    /// A new network: genesis, committed.
    ///
    /// # Panics
    /// If the genesis is refused.
    pub fn found(protocol: Arc<dyn Protocol>, genesis: &serde_json::Value, gate: Arc<dyn Gate>) -> Arc<Self> {
        let node = Self::empty(protocol, gate, EPOCH_MS);
        let batch = {
            let mut inner = node.lock();
            let mut tx = inner.store.begin();
            inner
                .in_context(|context| node.protocol.genesis(&mut tx, genesis, &context))
                .expect("the genesis is usable");
            inner.append(tx, &Outcome::default());
            inner.commit(&*node.protocol)
        };
        node.publish(batch);
        node
    }

    pub fn protocol(&self) -> &Arc<dyn Protocol> {
        &self.protocol
    }

    /// Admits these submissions, puts them into the pool together, runs it until it rests, commits.
    pub fn submit_all(self: &Arc<Self>, submissions: &[Bytes]) -> Vec<Submitted> {
        let mut answers: Vec<_> = submissions.iter().map(|_| Submitted::Unavailable).collect();
        let mut admitted = Vec::new();
        for (position, submission) in submissions.iter().enumerate() {
            match self.protocol.admit(submission.clone(), &Caller::Anonymous) {
                Ok(submission) => admitted.push((position, submission)),
                Err(rejection) => answers[position] = Submitted::Rejected(rejection),
            }
        }
        let (positions, admitted): (Vec<_>, Vec<_>) = admitted.into_iter().unzip();
        for (position, answer) in positions.into_iter().zip(self.run(admitted)) {
            answers[position] = answer;
        }
        answers
    }

    /// As [`SingleNode::submit_all`], without committing.
    pub fn execute_uncommitted(&self, submissions: &[Bytes]) {
        let admit = |submission: &Bytes| self.protocol.admit(submission.clone(), &Caller::Anonymous).ok();
        let admitted = submissions.iter().filter_map(admit).collect();
        self.lock().execute(&*self.protocol, admitted);
    }

    /// Commits a transaction that is not this ledger's: what the network's members decide, or the node does.
    pub fn commit_other(&self, write: impl FnOnce(&mut Tx)) {
        let batch = {
            let mut inner = self.lock();
            let mut tx = inner.store.begin();
            write(&mut tx);
            inner.append(tx, &Outcome::default());
            inner.commit(&*self.protocol)
        };
        self.publish(batch);
    }

    /// Drops what is not committed, as a primary does that loses the lead, and leads again.
    pub fn lose_leadership(&self) {
        let mut inner = self.lock();
        inner.pool.clear();
        inner.prepared.clear();
        inner.open.clear();
        inner.open_claims.clear();
        inner.store.rollback();
        let state = inner.store.snapshot();
        self.protocol.rebuild(&state).expect("derived data can be rebuilt from committed state");
    }

    /// The same node after its process was started again: everything volatile is gone.
    pub fn restarted(&self, protocol: Arc<dyn Protocol>) -> Arc<Self> {
        let node = self.with_ledger(protocol, |_, _| {});
        let state = node.lock().store.snapshot();
        node.protocol.rebuild(&state).expect("derived data can be rebuilt from committed state");
        node.lock().index(&*node.protocol);
        node
    }

    /// Another node that has followed this one from the first transaction on.
    pub fn follower(&self, protocol: Arc<dyn Protocol>) -> Arc<Self> {
        self.with_ledger(protocol, |node, batch| {
            let state = node.lock().store.snapshot();
            node.protocol.committed(batch, &state).expect("a follower agrees with the primary");
            node.lock().index(&*node.protocol);
            node.protocol.published(batch);
        })
    }

    /// What is committed.
    pub fn state(&self) -> Contents {
        let inner = self.lock();
        let mut contents = inner.contents(&inner.store.snapshot());
        contents.extend(inner.history.clone());
        contents
    }

    /// The newest executed live state.
    pub fn newest_state(&self) -> Contents {
        let inner = self.lock();
        let mut contents = inner.contents(&inner.store.newest_snapshot());
        contents.extend(inner.history.clone());
        contents
    }

    /// The last committed version.
    pub fn version(&self) -> Seqno {
        locked(&self.ledger).last().map_or(Seqno::ZERO, |(_, signature)| *signature)
    }

    /// What committed transactions claim, in order.
    pub fn claims(&self) -> Vec<Claims> {
        self.lock().claims.clone()
    }

    /// Sends a request to the protocol's service, from nobody in particular. 503 if it drops the reply.
    pub fn call(self: &Arc<Self>, request: Request<Bytes>) -> Response<Bytes> {
        let (reply, answer) = mpsc::channel();
        let service = self.protocol.clone().serve(self.clone());
        let send = move |response| {
            // The receiver outlives the call.
            let _ = reply.send(response);
        };
        service.call(Caller::Anonymous, request, Box::new(send));
        answer.recv().unwrap_or_else(|_| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        })
    }

    /// Lets time pass while services look at the clock, so many milliseconds each time: whatever looks often takes long.
    pub fn pass_time(&self, ms_per_look: u64) {
        self.lock().ms_per_look = ms_per_look;
    }

    fn empty(protocol: Arc<dyn Protocol>, gate: Arc<dyn Gate>, now_ms: u64) -> Arc<Self> {
        let store = Store::new();
        protocol.rebuild(&store.snapshot()).expect("derived data of nothing");
        let ledger = Ledger::default();
        let inner = Inner {
            store,
            pool: protocol.pool(),
            history: BTreeMap::new(),
            now_ms,
            ms_per_look: 0,
            finished: Arc::default(),
            prepared: Vec::new(),
            open: Vec::new(),
            open_claims: Vec::new(),
            ledger: Arc::clone(&ledger),
            claims: Vec::new(),
        };
        Arc::new(Self { protocol, gate, inner: Mutex::new(inner), ledger })
    }

    /// A node with this one's ledger; `each` is called after every batch.
    fn with_ledger(&self, protocol: Arc<dyn Protocol>, each: impl Fn(&Self, &CommittedBatch)) -> Arc<Self> {
        let node = Self::empty(protocol, self.gate.clone(), self.lock().now_ms);
        let ledger = locked(&self.ledger).clone();
        for (batch, signature) in ledger {
            node.lock().take_over(&batch, signature);
            each(&node, &batch);
        }
        node
    }

    fn run(&self, admitted: Vec<Admitted>) -> Vec<Submitted> {
        let (executed, batch) = {
            let mut inner = self.lock();
            let executed = inner.execute(&*self.protocol, admitted);
            (executed, inner.commit(&*self.protocol))
        };
        self.publish(batch);
        let answer = |executed| match executed {
            Some(Ok((txid, response))) => Submitted::Committed { txid, response },
            Some(Err(rejection)) => Submitted::Rejected(rejection),
            None => Submitted::Accepted,
        };
        executed.into_iter().map(answer).collect()
    }

    /// Unlike a node, it keeps the key in a transaction of its own.
    fn run_once(&self, key: Idempotent, admitted: Vec<Admitted>) -> Vec<Submitted> {
        match self.earlier(key) {
            Earlier::Same(txid, response) => vec![Submitted::Committed { txid, response }],
            Earlier::Other => vec![Submitted::Rejected(Idempotent::reused())],
            Earlier::None => {
                let answers = self.run(admitted);
                if let [Submitted::Committed { txid, response }] = answers.as_slice() {
                    self.keep(key, Some(*txid), response);
                }
                answers
            }
        }
    }

    fn earlier(&self, key: Idempotent) -> Earlier {
        let inner = self.lock();
        key.earlier(&inner.store.newest_snapshot(), inner.now_ms)
    }

    fn keep(&self, key: Idempotent, txid: Option<TxId>, answer: &[u8]) {
        let batch = {
            let mut inner = self.lock();
            let (mut tx, now_ms) = (inner.store.begin(), inner.now_ms);
            let own = TxId::new(VIEW, inner.store.newest().next());
            key.keep(&mut tx, txid.unwrap_or(own), answer, now_ms);
            inner.append(tx, &Outcome::default());
            inner.commit(&*self.protocol)
        };
        self.publish(batch);
    }

    /// Outside the lock: subscribers read.
    fn publish(&self, batch: Option<CommittedBatch>) {
        if let Some(batch) = batch {
            self.protocol.published(&batch);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Runs the pool until it rests, or until all that was submitted has ended and only time brings more: a pool may want to run at intervals for ever.
    /// For each submission how it ended; `None` if it still waits.
    fn execute(&mut self, protocol: &dyn Protocol, admitted: Vec<Admitted>) -> Vec<Option<Executed>> {
        let mut results: Vec<Option<Executed>> = Vec::new();
        let mut waiting: Vec<(Bytes, usize)> = Vec::new();
        if let Err(rejection) = self.pool.check_together(&admitted, &self.store.newest_snapshot()) {
            return admitted.iter().map(|_| Some(Err(rejection.clone()))).collect();
        }
        for (position, submission) in admitted.into_iter().enumerate() {
            let id = submission.id.clone();
            let state = self.store.newest_snapshot();
            results.push(self.pool.insert(submission, &state, self.now_ms).err().map(Err));
            waiting.push((id, position));
        }
        for _ in 0..RUNS_MAX {
            self.prepare(protocol);
            match self.pool.ready(self.now_ms) {
                Ready::Idle => return results,
                Ready::Now => self.now_ms += 1,
                Ready::At(at_ms) if at_ms > self.now_ms && results.iter().all(Option::is_some) => return results,
                Ready::At(at_ms) => self.now_ms = self.now_ms.max(at_ms),
            }
            for (id, executed) in self.run(protocol) {
                let position =
                    waiting.iter().find(|(waiting, position)| *waiting == id && results[*position].is_none());
                if let Some((_, position)) = position {
                    results[*position] = Some(executed);
                }
            }
        }
        panic!("the pool is still ready after {RUNS_MAX} runs");
    }

    /// Lets the protocol prepare what the pool wants prepared; what does not end at once is taken up in a later run.
    fn prepare(&mut self, protocol: &dyn Protocol) {
        while let Some(admitted) = self.pool.next_to_prepare(self.now_ms) {
            let tx = self.store.begin_tracked(&self.store.newest_snapshot());
            let (finished, id) = (Arc::clone(&self.finished), admitted.id.clone());
            let done = move |prepared| locked(&finished).push((id, prepared));
            protocol.prepare(&admitted, Job::new(tx, self.now_ms, Box::new(done)));
        }
        let finished = std::mem::take(&mut *locked(&self.finished));
        for (id, prepared) in finished {
            match prepared {
                Some(prepared) => {
                    self.pool.prepared(&id);
                    self.prepared.push((id, prepared));
                }
                None => self.pool.conflicted(&id),
            }
        }
    }

    /// One run: a block, for protocols that have them.
    fn run(&mut self, protocol: &dyn Protocol) -> Vec<(Bytes, Executed)> {
        let mut results = Vec::new();
        let mut opened = false;
        while let Some(admitted) = self.pool.next(self.now_ms) {
            let position = self.prepared.iter().position(|(id, _)| *id == admitted.id);
            let prepared = position.map(|position| self.prepared.swap_remove(position).1);
            if prepared.as_ref().is_some_and(|prepared| self.store.validate(&prepared.reads).is_err()) {
                self.pool.conflicted(&admitted.id);
                continue;
            }
            let mut tx = self.store.begin();
            let result = self.in_context(|context| {
                let context = context.with_prepared(prepared.as_ref().map(|prepared| &*prepared.result));
                if !opened {
                    protocol.open_block(&mut tx, &context)?;
                }
                protocol.execute(&mut tx, &admitted, &context)
            });
            let executed = result
                .as_ref()
                .map_err(Clone::clone)
                .map(|outcome| (self.append(tx, outcome), outcome.response.clone()));
            opened |= executed.is_ok();
            self.pool.done(&admitted, result.as_ref(), &self.store.newest_snapshot());
            results.push((admitted.id, executed));
        }
        if opened {
            let mut tx = self.store.begin();
            let sealed = self.in_context(|context| protocol.seal_block(&mut tx, &context));
            if let Some(outcome) = sealed.expect("a block that was opened can be sealed") {
                self.append(tx, &outcome);
            }
        }
        results
    }

    fn append(&mut self, tx: Tx, outcome: &Outcome) -> TxId {
        let txid = self.next_txid();
        let (writes, _) = tx.into_parts();
        self.store.apply(txid.seqno, &writes).expect("there is no other writer");
        self.open.push(CommittedTransaction { txid, writes: Arc::new(writes) });
        self.open_claims.extend(outcome.claims.clone());
        txid
    }

    /// Commits what is open as one batch, closed by a signature as in a ledger.
    fn commit(&mut self, protocol: &dyn Protocol) -> Option<CommittedBatch> {
        if self.open.is_empty() {
            return None;
        }
        let batch = CommittedBatch { transactions: std::mem::take(&mut self.open) };
        self.claims.append(&mut self.open_claims);
        let signature = self.store.newest().next();
        self.store.apply(signature, &WriteSet::new()).expect("there is no other writer");
        self.keep(&batch, signature);
        protocol.committed(&batch, &self.store.snapshot()).expect("a primary agrees with itself");
        self.index(protocol);
        Some(batch)
    }

    /// Lets the protocol index until there is nothing more to do.
    fn index(&mut self, protocol: &dyn Protocol) {
        loop {
            let mut derived = Derived { records: &self.history, kept: Vec::new() };
            let more = protocol.index(&mut derived).expect("the history is complete");
            for (map, key, value) in derived.kept {
                self.history.entry(map).or_default().insert(key, value);
            }
            if !more {
                return;
            }
        }
    }

    /// Applies a batch that another node executed.
    fn take_over(&mut self, batch: &CommittedBatch, signature: Seqno) {
        for transaction in &batch.transactions {
            self.store.apply(transaction.txid.seqno, &transaction.writes).expect("batches come in order");
        }
        self.store.apply(signature, &WriteSet::new()).expect("batches come in order");
        self.keep(batch, signature);
    }

    fn keep(&mut self, batch: &CommittedBatch, signature: Seqno) {
        self.store.commit(signature);
        for transaction in &batch.transactions {
            let records = transaction.writes.iter().filter(|(map, _)| map.retention() == Retention::History);
            for (map, writes) in records {
                let written = writes.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
                self.history.entry(map.clone()).or_default().extend(written);
            }
        }
        locked(&self.ledger).push((batch.clone(), signature));
    }

    fn next_txid(&self) -> TxId {
        TxId::new(VIEW, self.store.newest().next())
    }

    /// Calls `f` with the next transaction's context. Its randomness follows from its seqno, so that runs can be compared.
    fn in_context<T>(&self, f: impl FnOnce(Context<'_>) -> T) -> T {
        let txid = self.next_txid();
        let drawn = Cell::new(0u64);
        let random = move |bytes: &mut [u8]| {
            for chunk in bytes.chunks_mut(8) {
                drawn.set(drawn.get() + 1);
                let word = splitmix64(txid.seqno.0 << 32 | drawn.get()).to_be_bytes();
                chunk.copy_from_slice(&word[..chunk.len()]);
            }
        };
        f(Context::new(txid, self.now_ms, &random))
    }

    fn contents(&self, state: &coco_kv::Snapshot) -> Contents {
        state.maps().into_iter().map(|map| (map.clone(), state.iter(&map).collect())).collect()
    }
}

/// Sebastiano Vigna's generator: not secret, only spread out.
fn splitmix64(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Committed write-once records as they were when the reader was made.
struct Records(BTreeMap<MapName, BTreeMap<Bytes, Bytes>>);

impl History for Records {
    fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError> {
        Ok(self.0.get(map).and_then(|records| records.get(key)).cloned())
    }
}

/// What a protocol keeps besides them.
struct Derived<'a> {
    records: &'a BTreeMap<MapName, BTreeMap<Bytes, Bytes>>,
    kept: Vec<(MapName, Bytes, Bytes)>,
}

impl History for Derived<'_> {
    fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError> {
        Ok(self.records.get(map).and_then(|records| records.get(key)).cloned())
    }
}

impl DerivedHistory for Derived<'_> {
    fn keep(&mut self, map: &MapName, key: Bytes, value: Bytes) {
        self.kept.push((map.clone(), key, value));
    }
}

impl LedgerHandle for SingleNode {
    fn submit(&self, admitted: Vec<Admitted>, until: Until, reply: Box<dyn FnOnce(Vec<Submitted>) + Send>) {
        if let Until::Once(key) = until {
            return reply(self.run_once(key, admitted));
        }
        let answers = self.run(admitted);
        let accepted = |answer| match answer {
            Submitted::Committed { .. } => Submitted::Accepted,
            other => other,
        };
        reply(match until {
            Until::Committed | Until::Once(_) => answers,
            Until::Accepted => answers.into_iter().map(accepted).collect(),
        });
    }

    fn ask_primary(&self, _caller: &Caller, question: Bytes, reply: Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>) {
        let answer = {
            let mut inner = self.lock();
            let (state, now_ms) = (inner.store.newest_snapshot(), inner.now_ms);
            inner.pool.answer(&question, &state, now_ms)
        };
        reply(answer);
    }

    fn relay(&self, _message: Bytes, reply: Box<dyn FnOnce(Option<Bytes>) + Send>) {
        reply(None);
    }

    fn claim(&self, key: Idempotent, reply: Box<dyn FnOnce(Result<(), Rejection>) + Send>) {
        reply(match self.earlier(key) {
            Earlier::Other => Err(Idempotent::reused()),
            Earlier::Same(..) => Ok(()),
            Earlier::None => {
                self.keep(key, None, b"");
                Ok(())
            }
        });
    }

    fn reader(&self, caller: &Caller) -> Reader {
        let inner = self.lock();
        let history = Arc::new(Records(inner.history.clone()));
        Reader::new(caller.clone(), inner.store.snapshot(), history, self.gate.clone())
    }

    fn linearizable(&self, reply: Box<dyn FnOnce(bool) + Send>) {
        reply(true);
    }

    fn transaction_status(&self, txid: TxId) -> TransactionStatus {
        let committed = self.version();
        match (txid.view == VIEW, txid.seqno <= committed) {
            (true, true) => TransactionStatus::Committed,
            (false, true) => TransactionStatus::Invalid,
            (_, false) => TransactionStatus::Unknown,
        }
    }

    fn view_of(&self, seqno: Seqno) -> Option<View> {
        (seqno <= self.version()).then_some(VIEW)
    }

    fn past(&self, _caller: &Caller, txid: TxId) -> Option<PastTransaction> {
        let ledger = locked(&self.ledger);
        let mut all = ledger.iter().flat_map(|(batch, _)| &batch.transactions);
        let found = all.find(|transaction| transaction.txid == txid).map(|transaction| transaction.writes.clone());
        let is_signature = ledger.iter().any(|(_, signature)| *signature == txid.seqno);
        let writes = found.or_else(|| is_signature.then(Arc::default))?;
        Some(PastTransaction { receipt: serde_json::Value::Null, writes })
    }

    fn receipt(&self, _caller: &Caller, _txid: TxId, reply: Box<dyn FnOnce(Option<Bytes>) + Send>) {
        reply(None);
    }

    fn status(&self) -> NodeStatus {
        let committed = TxId::new(VIEW, self.version());
        NodeStatus { node: 0, is_primary: true, view: VIEW, primary: Some(0), committed, peers: 0, caught_up: true }
    }

    fn now_ms(&self) -> u64 {
        let mut inner = self.lock();
        inner.now_ms += inner.ms_per_look;
        inner.now_ms
    }
}
