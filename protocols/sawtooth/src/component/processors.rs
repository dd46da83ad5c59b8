//! Transaction processors: who is registered for what, and the batches that they are executing.
//!
//! A batch is a [`Run`] over a job's state. Where it comes to a transaction of a family that is not native it waits here: for a
//! processor with room, then for the answer. A processor that is gone, silent or says "internal error" costs an attempt; after three the
//! batch is invalid. Nothing waits for ever, so that a transaction that no processor survives ends like any other.
//!
//! Two things keep others from paying for it. A processor that is lost has several transactions, and any of them may be the reason: they
//! become *suspects*, each of which is then given to a processor that has nothing else; only being lost alone costs an attempt. And processors
//! are often lost together, with their machine or by their operator: the next attempt is not made before the next tick.
//!
//! An answer counts only if it comes from the connection that was asked, for the context that is open: what comes later, after a retry or a
//! lost lead, is dropped and never becomes a verdict.

use crate::limits::{
    ATTEMPTS_MAX, CONNECTION_FAMILIES_MAX, OCCUPANCY, OCCUPANCY_MAX, PING_AFTER_MS, PINGS_MAX, PROCESS_WAIT_MS,
    REGISTRATION_WAIT_MS, SILENT_MAX,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use coco_protocol::{Attested, Job};
use parking_lot::Mutex;

use super::dispatch::{Answered, Outbox};
use crate::batch::{SignedBatch, SignedTransaction};
use crate::block::TxState;
use crate::chain::Chain;
use crate::execute::{Access, Executed, Failure, Run, StateReader, Step};
use crate::families::{Facts, Native};
use crate::governed::{Governed, Place};
use crate::messages::processor::{Empty, HEADER_STYLE_RAW, TpProcessRequest, TpRegisterRequest, tp_process_status};
use crate::messages::relay::Offer;
use crate::messages::{Envelope, kind};
use crate::pool::Externals;
use crate::protocol::Random;
use crate::workers::Workers;

pub type ConnectionId = u64;
/// A family and its version.
type Family = (String, String);

/// See the module's text.
pub struct Processors {
    this: Weak<Self>,
    chain: Arc<Chain>,
    workers: Workers,
    random: Random,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next_connection: ConnectionId,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Who serves a family, the next one first.
    serving: BTreeMap<Family, VecDeque<ConnectionId>>,
    /// By context.
    running: BTreeMap<String, Running>,
    /// Batches that wait for a processor of a family, suspects first.
    waiting: BTreeMap<Family, VecDeque<Execution>>,
    /// Batches whose processor was lost, until the next tick.
    resting: Vec<Execution>,
    /// Batches that came to a contract.
    contracts: Vec<Contract>,
    /// What registrations were judged by.
    governed: Arc<Governed>,
    now_ms: u64,
}

struct Connection {
    outbox: Arc<dyn Outbox>,
    /// It is at another node.
    is_guest: bool,
    proof: Proof,
    families: BTreeMap<Family, Registration>,
    /// Contexts it is working on.
    contexts: BTreeSet<String>,
    /// The only one of them is a suspect's.
    has_suspect: bool,
    /// Times in a row that it had work and did not answer.
    silent: u32,
    /// When it last answered.
    answered_ms: u64,
    heard_ms: u64,
    /// Pings since it was last heard.
    pings: u32,
}

/// What is known of the program at the other end.
#[derive(Clone)]
pub enum Proof {
    None,
    /// Its evidence, which was genuine.
    Own(Arc<dyn Attested>),
    /// Another node has judged it.
    Vouched,
}

#[derive(Clone, Copy)]
struct Registration {
    occupancy: u32,
    raw_header: bool,
}

/// A batch at a transaction that is external.
struct Execution {
    run: Run,
    job: Job,
    transaction: Box<SignedTransaction>,
    attempts: u32,
    tried: BTreeSet<ConnectionId>,
    /// A processor was lost that had it.
    is_suspect: bool,
    /// Until somebody has to have registered.
    until_ms: u64,
}

/// A batch at a transaction that is about contracts.
struct Contract {
    run: Run,
    job: Job,
    family: Native,
}

struct Running {
    execution: Execution,
    connection: ConnectionId,
    handed_ms: u64,
    /// However often others are answered meanwhile.
    until_ms: u64,
}

impl Processors {
    pub fn new(chain: Arc<Chain>, random: Random, workers: Workers) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { this: this.clone(), chain, workers, random, inner: Mutex::default() })
    }

    /// A new connection, which may register later.
    pub fn connect(&self, outbox: Arc<dyn Outbox>, proof: Proof) -> ConnectionId {
        self.connected(outbox, false, proof)
    }

    /// A connection of a backup's, which passes on what is for it, and says whether it has proved what it is.
    pub fn connect_guest(&self, outbox: Arc<dyn Outbox>, attested: bool) -> ConnectionId {
        self.connected(outbox, true, if attested { Proof::Vouched } else { Proof::None })
    }

    fn connected(&self, outbox: Arc<dyn Outbox>, is_guest: bool, proof: Proof) -> ConnectionId {
        let mut inner = self.inner.lock();
        let id = inner.next_connection;
        inner.next_connection += 1;
        let heard_ms = inner.now_ms;
        let (families, contexts) = (BTreeMap::new(), BTreeSet::new());
        let (has_suspect, silent, answered_ms, pings) = (false, 0, 0, 0);
        let connection = Connection {
            outbox,
            is_guest,
            proof,
            families,
            contexts,
            has_suspect,
            silent,
            answered_ms,
            heard_ms,
            pings,
        };
        inner.connections.insert(id, connection);
        id
    }

    /// Something arrived on a connection.
    pub fn heard(&self, id: ConnectionId) {
        let mut inner = self.inner.lock();
        let now_ms = inner.now_ms;
        if let Some(connection) = inner.connections.get_mut(&id) {
            (connection.heard_ms, connection.pings) = (now_ms, 0);
        }
    }

    /// Whether it has registered for anything, or something is being executed there.
    pub fn is_serving(&self, id: ConnectionId) -> bool {
        let inner = self.inner.lock();
        inner.connections.get(&id).is_some_and(|one| !one.families.is_empty() || !one.contexts.is_empty())
    }

    /// The connection ended: what it was working on goes to others.
    pub fn disconnect(&self, id: ConnectionId) {
        let mut inner = self.inner.lock();
        let Some(connection) = inner.connections.remove(&id) else { return };
        inner.stop_serving(id, connection.families.keys());
        let now_ms = inner.now_ms;
        let lost = connection.contexts.iter().filter_map(|context| inner.running.remove(context));
        let lost: Vec<_> = lost.map(|running| running.execution.suspected()).collect();
        if connection.contexts.len() > 1 {
            lost.into_iter().for_each(|execution| self.hand_out(&mut inner, execution.anew(now_ms)));
            return;
        }
        let why = "the transaction processor disconnected";
        inner.resting.extend(lost.into_iter().filter_map(|execution| execution.attempt_failed(now_ms, why)));
    }

    /// Registers a connection for a family, if the network lets processors do so; `tell` is called before it gets anything to do.
    pub fn register(&self, id: ConnectionId, request: &TpRegisterRequest, tell: impl FnOnce(bool)) {
        let family = (request.family.clone(), request.version.clone());
        let mut inner = self.inner.lock();
        self.follow_decisions(&mut inner);
        let judged = inner.judge(id, &family);
        if let Err(why) = &judged {
            tracing::warn!(family = request.family, version = request.version, why, "a processor may not register");
        }
        let registered = judged.is_ok() && inner.register(id, &family, request);
        tell(registered);
        if registered {
            tracing::info!(family = request.family, version = request.version, "a transaction processor registered");
            self.drain(&mut inner, &family);
        }
    }

    /// What it is working on may still be answered.
    pub fn unregister(&self, id: ConnectionId) {
        let mut inner = self.inner.lock();
        let families = inner.connections.get_mut(&id).map(|connection| std::mem::take(&mut connection.families));
        inner.stop_serving(id, families.unwrap_or_default().keys());
    }

    /// Who has registered here, and for what.
    pub fn offers(&self) -> Vec<Offer> {
        let inner = self.inner.lock();
        let here = inner.connections.iter().filter(|(_, connection)| !connection.is_guest);
        let offer = |(id, connection): (&ConnectionId, &Connection)| {
            let request = |(family, registration): (&Family, &Registration)| TpRegisterRequest {
                family: family.0.clone(),
                version: family.1.clone(),
                max_occupancy: registration.occupancy,
                request_header_style: if registration.raw_header { HEADER_STYLE_RAW } else { 0 },
                ..TpRegisterRequest::default()
            };
            let attested = !matches!(connection.proof, Proof::None);
            Offer { connection: *id, families: connection.families.iter().map(request).collect(), attested }
        };
        here.map(offer).filter(|offer| !offer.families.is_empty()).collect()
    }

    /// Takes something of the primary's to a connection.
    pub fn pass(&self, id: ConnectionId, envelope: &Envelope) {
        let outbox = self.inner.lock().connections.get(&id).map(|connection| Arc::clone(&connection.outbox));
        if let Some(outbox) = outbox {
            outbox.send(envelope);
        }
    }

    /// Executes a batch; the job is finished when its end is known.
    pub fn start(&self, batch: Arc<SignedBatch>, job: Job) {
        let facts = Facts { now_ms: job.now_ms(), contracts: self.chain.contracts() };
        {
            let mut inner = self.inner.lock();
            inner.now_ms = inner.now_ms.max(job.now_ms());
            self.go_on(&mut inner, Run::new(batch, facts), job);
        }
        self.start_contracts();
    }

    /// Lets workers execute what came to a contract. Nothing is locked meanwhile.
    fn start_contracts(&self) {
        let contracts = std::mem::take(&mut self.inner.lock().contracts);
        for Contract { mut run, mut job, family } in contracts {
            let this = self.this.clone();
            self.workers.give(move || {
                let executed = run.execute_open(&mut TxState(job.tx()), family);
                let Some(this) = this.upgrade() else { return };
                match executed {
                    Ok(()) => this.go_on(&mut this.inner.lock(), run, job),
                    Err(failure) => job.finish(Box::new(Err::<Executed, Failure>(failure))),
                }
                this.start_contracts();
            });
        }
    }

    /// The open transaction of a context, for the processor that was given it; nothing if the context has ended.
    pub fn with_context<T>(
        &self,
        id: ConnectionId,
        context: &str,
        f: impl FnOnce(&mut Access, &mut dyn StateReader) -> T,
    ) -> Option<T> {
        let mut inner = self.inner.lock();
        let running = inner.running.get_mut(context).filter(|running| running.connection == id)?;
        let Execution { run, job, .. } = &mut running.execution;
        run.with_open(&mut TxState(job.tx()), f)
    }

    /// A processor's verdict on what it was asked under this name. `false` if it was not asked.
    pub fn answered(&self, id: ConnectionId, context: &str, answer: Answered) -> bool {
        let mut inner = self.inner.lock();
        if inner.running.get(context).is_none_or(|running| running.connection != id) {
            return false;
        }
        let Some(Running { mut execution, .. }) = inner.running.remove(context) else { return false };
        let now_ms = inner.now_ms;
        if let Some(connection) = inner.connections.get_mut(&id) {
            connection.ended(context);
            (connection.silent, connection.answered_ms) = (0, now_ms);
        }
        match answer.status {
            tp_process_status::OK => {
                execution.run.finish_open();
                self.go_on(&mut inner, execution.run, execution.job);
            }
            tp_process_status::INVALID_TRANSACTION => finish(execution, answer.message, answer.extended_data),
            _ => {
                if let Some(execution) = execution.attempt_failed(now_ms, &answer.message) {
                    self.hand_out(&mut inner, execution);
                }
            }
        }
        self.drain_all_of(&mut inner, id);
        drop(inner);
        self.start_contracts();
        true
    }

    /// About once a second: nothing waits for ever.
    pub fn tick(&self, now_ms: u64) {
        let mut inner = self.inner.lock();
        inner.now_ms = inner.now_ms.max(now_ms);
        self.follow_decisions(&mut inner);
        self.ping_silent(&mut inner);
        for execution in std::mem::take(&mut inner.resting) {
            self.hand_out(&mut inner, execution);
        }
        self.take_from_silent(&mut inner);
        let families: Vec<Family> = inner.waiting.keys().cloned().collect();
        families.iter().for_each(|family| self.drain(&mut inner, family));
        let unserved: Vec<Family> =
            inner.waiting.keys().filter(|family| !inner.serving.contains_key(*family)).cloned().collect();
        for family in unserved {
            let waiting = inner.waiting.remove(&family).unwrap_or_default();
            // The last processor of a family that the node has itself is gone: the node goes on where it was.
            if matches!(
                self.chain.governed().place(&family.0, &family.1, false).place,
                Place::Native(_) | Place::Contracts(_)
            ) {
                waiting.into_iter().for_each(|execution| self.go_on(&mut inner, execution.run, execution.job));
                continue;
            }
            let (over, left): (VecDeque<_>, _) =
                waiting.into_iter().partition(|execution| execution.until_ms <= now_ms);
            for execution in over {
                let message = format!("no transaction processor for {} {} has registered", family.0, family.1);
                finish(execution, message, Bytes::new());
            }
            if !left.is_empty() {
                inner.waiting.insert(family, left);
            }
        }
        drop(inner);
        self.start_contracts();
    }

    /// Takes work away from processors that have not answered in time.
    fn take_from_silent(&self, inner: &mut Inner) {
        let now_ms = inner.now_ms;
        for (id, contexts) in inner.late() {
            let alone = inner.connections.get(&id).is_some_and(|connection| connection.contexts.len() == 1);
            let late: Vec<_> = contexts.iter().filter_map(|context| inner.running.remove(context)).collect();
            inner.was_silent(id, &contexts);
            for Running { execution, .. } in late {
                let execution = execution.suspected();
                let next = match alone {
                    true => execution.attempt_failed(now_ms, "the transaction processor did not answer in time"),
                    false => Some(execution.anew(now_ms)),
                };
                next.into_iter().for_each(|execution| self.hand_out(inner, execution));
            }
        }
    }

    /// Asks processors that are silent whether they are there. One that never answers gets no more work; its connection stays open, as
    /// the original's does.
    fn ping_silent(&self, inner: &mut Inner) {
        let now_ms = inner.now_ms;
        let mut gone = Vec::new();
        for (id, connection) in &mut inner.connections {
            let pinged_ms = connection.heard_ms + u64::from(connection.pings) * PING_AFTER_MS;
            if connection.families.is_empty() || now_ms.saturating_sub(pinged_ms) <= PING_AFTER_MS {
                continue;
            }
            if connection.pings >= PINGS_MAX {
                gone.push((*id, std::mem::take(&mut connection.families)));
                continue;
            }
            connection.pings += 1;
            connection.outbox.send(&Envelope::new(kind::PING_REQUEST, self.name(), &Empty {}));
        }
        for (id, families) in gone {
            tracing::warn!("a transaction processor is silent and gets no more work until it registers again");
            inner.stop_serving(id, families.keys());
        }
    }

    /// Whoever may not execute a family any more gets no more of it.
    fn follow_decisions(&self, inner: &mut Inner) {
        let governed = self.chain.governed();
        if Arc::ptr_eq(&inner.governed, &governed) {
            return;
        }
        inner.governed = governed;
        let served: Vec<_> =
            inner.serving.iter().flat_map(|(family, ids)| ids.iter().map(|id| (*id, family.clone()))).collect();
        for (id, family) in served {
            if let Err(why) = inner.judge(id, &family) {
                tracing::warn!(family = family.0, version = family.1, why, "a processor gets no more work of a family");
                inner.stop_serving(id, std::iter::once(&family));
                if let Some(connection) = inner.connections.get_mut(&id) {
                    connection.families.remove(&family);
                }
            }
        }
    }

    /// Runs until the batch ends or comes to a transaction for somebody outside.
    fn go_on(&self, inner: &mut Inner, mut run: Run, mut job: Job) {
        self.follow_decisions(inner);
        let governed = Arc::clone(&inner.governed);
        let place = |family: &str, version: &str| governed.place(family, version, inner.is_served(family, version));
        let step = run.step(&mut TxState(job.tx()), place);
        match step {
            Step::Done(result) => job.finish(Box::new(result)),
            Step::Contract(family) => inner.contracts.push(Contract { run, job, family }),
            Step::External(transaction) => {
                let until_ms = inner.now_ms + REGISTRATION_WAIT_MS;
                let (tried, is_suspect) = (BTreeSet::new(), false);
                self.hand_out(inner, Execution { run, job, transaction, attempts: 0, tried, is_suspect, until_ms });
            }
        }
    }

    /// Gives a transaction to a processor with room, or lets it wait for one.
    fn hand_out(&self, inner: &mut Inner, mut execution: Execution) {
        let family = family_of(&execution.transaction);
        let Some((id, registration, outbox)) = inner.choose(&family, &execution) else {
            return inner.wait(family, execution);
        };
        execution.tried.insert(id);
        let context = self.name();
        let transaction = &execution.transaction;
        let request = TpProcessRequest {
            header: (!registration.raw_header).then(|| transaction.header.clone()),
            header_bytes: if registration.raw_header { transaction.header_bytes.clone() } else { Bytes::new() },
            payload: transaction.payload.clone(),
            signature: transaction.id.clone(),
            context_id: context.clone(),
        };
        let (handed_ms, mut before) = (inner.now_ms, 0);
        if let Some(connection) = inner.connections.get_mut(&id) {
            before = connection.contexts.len() as u64;
            connection.has_suspect = execution.is_suspect;
            connection.contexts.insert(context.clone());
        }
        let until_ms = handed_ms + PROCESS_WAIT_MS * (before + 1);
        inner.running.insert(context.clone(), Running { execution, connection: id, handed_ms, until_ms });
        // If the connection is gone, its end is reported in a moment.
        outbox.send(&Envelope::new(kind::TP_PROCESS_REQUEST, context, &request));
    }

    fn drain_all_of(&self, inner: &mut Inner, id: ConnectionId) {
        let families = inner.connections.get(&id).map(|connection| connection.families.keys().cloned().collect());
        let families: Vec<Family> = families.unwrap_or_default();
        families.iter().for_each(|family| self.drain(inner, family));
    }

    /// Hands out what waits for a family, as far as there is room.
    fn drain(&self, inner: &mut Inner, family: &Family) {
        while let Some(execution) = inner.next_of(family) {
            self.hand_out(inner, execution);
        }
    }

    /// A name that nobody can guess.
    pub fn name(&self) -> String {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        hex::encode(bytes)
    }
}

impl Externals for Processors {
    fn has(&self, family: &str, version: &str) -> bool {
        self.inner.lock().is_served(family, version)
    }
}

impl Inner {
    fn is_served(&self, family: &str, version: &str) -> bool {
        self.serving.contains_key(&(family.to_owned(), version.to_owned()))
    }

    /// Whether a connection may execute a family.
    fn judge(&self, id: ConnectionId, (family, version): &Family) -> Result<(), String> {
        let connection = self.connections.get(&id).ok_or("it is gone")?;
        self.governed.may_register(family, version, |code| match &connection.proof {
            Proof::None => Err("it has not proved what it is: the plain endpoint takes no evidence".to_owned()),
            Proof::Own(attested) => attested.meets(code).map_err(|why| format!("{}: {why}", attested.describe())),
            Proof::Vouched => Ok(()),
        })
    }

    fn register(&mut self, id: ConnectionId, family: &Family, request: &TpRegisterRequest) -> bool {
        let occupancy = if request.max_occupancy == 0 { OCCUPANCY } else { request.max_occupancy.min(OCCUPANCY_MAX) };
        let registration = Registration { occupancy, raw_header: request.request_header_style == HEADER_STYLE_RAW };
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        if connection.families.len() >= CONNECTION_FAMILIES_MAX {
            return false;
        }
        if connection.families.insert(family.clone(), registration).is_none() {
            self.serving.entry(family.clone()).or_default().push_back(id);
        }
        true
    }

    /// The next processor in turn that has room; one that has not tried yet, if there is one.
    fn choose(
        &mut self,
        family: &Family,
        execution: &Execution,
    ) -> Option<(ConnectionId, Registration, Arc<dyn Outbox>)> {
        let place = self.place(family, execution)?;
        let serving = self.serving.get_mut(family)?;
        let id = serving.remove(place)?;
        serving.push_back(id);
        let connection = self.connections.get(&id)?;
        Some((id, *connection.families.get(family)?, Arc::clone(&connection.outbox)))
    }

    /// Where in the row of those who serve the family it is.
    fn place(&self, family: &Family, execution: &Execution) -> Option<usize> {
        let serving = self.serving.get(family)?;
        let has_room = |id: &ConnectionId| self.has_room(*id, family, execution.is_suspect);
        let fresh = serving.iter().position(|id| !execution.tried.contains(id) && has_room(id));
        fresh.or_else(|| serving.iter().position(has_room))
    }

    /// A suspect is alone, and something else gets no room beside it.
    fn has_room(&self, id: ConnectionId, family: &Family, is_suspect: bool) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            let Some(registration) = connection.families.get(family) else { return false };
            match is_suspect {
                true => connection.contexts.is_empty(),
                false => {
                    connection.contexts.len() < registration.occupancy as usize
                        && !connection.has_suspect
                        && !self.is_kept(id, connection)
                }
            }
        })
    }

    /// While a suspect waits, the first in the row gets nothing more, so that there will be somebody who has nothing else.
    fn is_kept(&self, id: ConnectionId, connection: &Connection) -> bool {
        connection.families.keys().any(|family| {
            let first = self.waiting.get(family).and_then(VecDeque::front);
            first.is_some_and(|execution| execution.is_suspect)
                && self.serving.get(family).and_then(VecDeque::front) == Some(&id)
        })
    }

    fn wait(&mut self, family: Family, execution: Execution) {
        let waiting = self.waiting.entry(family).or_default();
        let at = if execution.is_suspect { suspects(waiting) } else { waiting.len() };
        waiting.insert(at, execution);
    }

    /// What waits for a family and can be handed out: the first suspect, or the first of the others.
    fn next_of(&mut self, family: &Family) -> Option<Execution> {
        let waiting = self.waiting.get(family)?;
        let can_go = |at: &usize| waiting.get(*at).is_some_and(|execution| self.place(family, execution).is_some());
        let at = [0, suspects(waiting)].into_iter().find(can_go)?;
        let waiting = self.waiting.get_mut(family)?;
        let execution = waiting.remove(at);
        if waiting.is_empty() {
            self.waiting.remove(family);
        }
        execution
    }

    /// Contexts that are not answered in time, by connection. Most processors do one thing after the other: the time for each begins when the
    /// one before is answered.
    fn late(&self) -> BTreeMap<ConnectionId, Vec<String>> {
        let mut late: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (context, running) in &self.running {
            let answered_ms = self.connections.get(&running.connection).map_or(0, |connection| connection.answered_ms);
            let since_ms = answered_ms.max(running.handed_ms);
            if self.now_ms >= running.until_ms || self.now_ms >= since_ms + PROCESS_WAIT_MS {
                late.entry(running.connection).or_default().push(context.clone());
            }
        }
        late
    }

    fn stop_serving<'a>(&mut self, id: ConnectionId, families: impl Iterator<Item = &'a Family>) {
        for family in families {
            let Some(serving) = self.serving.get_mut(family) else { continue };
            serving.retain(|other| *other != id);
            if serving.is_empty() {
                self.serving.remove(family);
            }
        }
    }

    /// One that is silent several times in a row gets no more.
    fn was_silent(&mut self, id: ConnectionId, contexts: &[String]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        contexts.iter().for_each(|context| connection.ended(context));
        connection.silent += 1;
        if connection.silent >= SILENT_MAX {
            tracing::warn!("a transaction processor does not answer and gets no more work until it registers again");
            connection.silent = 0;
            let families = std::mem::take(&mut connection.families);
            self.stop_serving(id, families.keys());
        }
    }
}

impl Connection {
    /// It has no more to do with a context.
    fn ended(&mut self, context: &str) {
        self.contexts.remove(context);
        self.has_suspect &= !self.contexts.is_empty();
    }
}

impl Execution {
    /// It may be why its processor was lost.
    fn suspected(self) -> Self {
        Self { is_suspect: true, ..self }
    }

    /// To be handed out once more.
    fn anew(mut self, now_ms: u64) -> Self {
        self.run.restart_open();
        self.until_ms = now_ms + REGISTRATION_WAIT_MS;
        self
    }

    /// As [`Execution::anew`]; nothing if that was the last time.
    fn attempt_failed(mut self, now_ms: u64, why: &str) -> Option<Self> {
        self.attempts += 1;
        if self.attempts < ATTEMPTS_MAX {
            return Some(self.anew(now_ms));
        }
        finish(self, format!("{why}, {ATTEMPTS_MAX} times"), Bytes::new());
        None
    }
}

/// How many suspects there are, at the front.
fn suspects(waiting: &VecDeque<Execution>) -> usize {
    waiting.partition_point(|execution| execution.is_suspect)
}

fn family_of(transaction: &SignedTransaction) -> Family {
    (transaction.header.family_name.clone(), transaction.header.family_version.clone())
}

/// The batch is invalid.
fn finish(mut execution: Execution, message: String, extended_data: Bytes) {
    let failure = execution.run.fail_open(message, extended_data);
    let result: Result<Executed, Failure> = Err(failure);
    execution.job.finish(Box::new(result));
}
