//! Takes messages apart, runs their methods, and puts the answers together. The same for HTTP and WebSocket.
//!
//! The hot path is a batch of signed transactions: each is read from borrowed text straight into its bytes and admitted, then
//! all of them go to the primary in one piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use alloy_consensus::Transaction as _;
use alloy_primitives::map::HashMap;
use alloy_primitives::{Address, B256};
use bytes::Bytes;
use coco_protocol::{Admitted, Caller, LedgerHandle, Rejection, Rest, Submitted, Until};
use serde_json::value::RawValue;

use super::call::{Call, Method, Run};
use super::connection::Connection;
use super::entrusting::Entrusting;
use super::error::{RpcError, accepted};
use super::filters::Filters;
use super::json::Json;
use super::limits::{BLOCK_WAIT_MS, LOG_CHOICES_ALL_MAX, POOL_CONTENTS_ASKED_MAX, POOL_SENDERS_ASKED_MAX};
use super::params::Params;
use super::pool::ask;
use super::pool_questions::PoolQuestion;
use super::reply::{Finish, Replies, Responder, Unsent};
use super::request::{Message, Request};
use super::room::Room;
use super::turns::Turns;
use super::values::decode_hex;
use super::waiters::{Waiter, Waiters, Wants};
use super::{Ledger, Options, methods};
use crate::events::Channel;
use crate::held::HeldTransaction;
use crate::sources::SourceUpload;
use crate::transaction::Transaction;

/// The API of one ledger on one node.
pub struct Server {
    pub ledger: Ledger,
    pub handle: Arc<dyn LedgerHandle>,
    pub options: Options,
    pub filters: Filters,
    pub waiters: Waiters,
    pub(super) entrusting: Entrusting,
    pub(super) turns: Arc<Turns>,
    unsent: Unsent,
    /// For questions about what waits in the pool.
    pub(super) pool_contents: Arc<Room>,
    pub(super) pool_senders: Arc<Room>,
    /// For what subscriptions for logs name.
    pub(super) log_choices: Arc<Room>,
    /// What simulations are told comes of it, and nothing else does.
    pub simulation_secret: [u8; 32],
    pub simulations: AtomicU64,
    methods: HashMap<&'static str, &'static Method>,
}

/// A submission on its way, and who waits for its answer.
pub struct Submission {
    pub admitted: Admitted,
    pub responder: Responder,
}

/// Why a request was not served.
enum Unserved {
    Refused(RpcError),
    /// It takes longer than it may here. Nothing came of it.
    CutShort,
}

impl Server {
    pub fn new(ledger: Ledger, handle: Arc<dyn LedgerHandle>, options: Options) -> Arc<Self> {
        let mut simulation_secret = [0; 32];
        (options.random)(&mut simulation_secret);
        let server = Self {
            handle,
            simulation_secret,
            simulations: AtomicU64::new(0),
            filters: Filters::new(ledger.events.clone()),
            waiters: Waiters::default(),
            entrusting: Entrusting::default(),
            turns: Arc::default(),
            unsent: Unsent::default(),
            pool_contents: Room::of(POOL_CONTENTS_ASKED_MAX),
            pool_senders: Room::of(POOL_SENDERS_ASKED_MAX),
            log_choices: Room::of(LOG_CHOICES_ALL_MAX),
            ledger,
            options,
            methods: methods().map(|method| (method.name, method)).collect(),
        };
        let server = Arc::new(server);
        Waiters::listen(&server);
        server
    }

    /// Serves one message to its end. `finish` is called once, now or later, on any thread.
    pub fn serve(self: &Arc<Self>, caller: &Caller, connection: Option<&Arc<Connection>>, body: &[u8], finish: Finish) {
        if let Some(rest) = self.begin(caller, connection, body, finish) {
            (rest.job)();
        }
    }

    /// Serves one message as far as its time goes where others wait. `finish` is called once, now or later, on any thread.
    pub fn begin(
        self: &Arc<Self>,
        caller: &Caller,
        connection: Option<&Arc<Connection>>,
        body: &[u8],
        finish: Finish,
    ) -> Option<Rest> {
        self.waiters.expire(self.handle.now_ms());
        let holds = Arc::new(AtomicUsize::new(0));
        let finish = releasing(connection, &holds, finish);
        let message = match Message::parse(body) {
            Ok(message) => message,
            Err(error) => {
                finish(Some(super::reply::render("null", Err(error))));
                return None;
            }
        };
        let replies = Replies::new(message.entries().len(), message.is_batch(), &self.unsent, finish);
        let call = Call::new(self, caller, connection, &holds, message.read_ms_max()).briefly();
        let mut submissions = Vec::new();
        let cut_short = self.entries(&call, &message, 0, &replies, &mut submissions);
        let Some(next) = cut_short else {
            self.submit(caller, submissions);
            return None;
        };
        // What is answered so far and what follows are of one version.
        let reader = call.into_reader().filter(|_| next > 0);
        let held_bytes = body.len() + replies.bytes();
        let (server, caller, connection, body) = (self.clone(), caller.clone(), connection.cloned(), body.to_vec());
        let job = move || {
            let message = Message::parse(&body).expect("what was begun was understood");
            let call = Call::new(&server, &caller, connection.as_ref(), &holds, message.read_ms_max()).reading(reader);
            server.entries(&call, &message, next, &replies, &mut submissions);
            server.submit(&caller, submissions);
        };
        Some(Rest { job: Box::new(job), held_bytes })
    }

    /// Serves the requests of a message from the one at `next` on; gives back the first that takes longer than it may here.
    fn entries(
        self: &Arc<Self>,
        call: &Call<'_>,
        message: &Message<'_>,
        next: usize,
        replies: &Arc<Replies>,
        submissions: &mut Vec<Submission>,
    ) -> Option<usize> {
        for (slot, entry) in message.entries().iter().enumerate().skip(next) {
            let (id, served) = match Request::parse(entry) {
                Ok(request) => {
                    let responder = || replies.responder(slot, request.id.map(RawValue::get));
                    (request.id.map(RawValue::get), self.request(call, &request, responder, submissions))
                }
                Err(bad) => (Some(bad.id.map_or("null", RawValue::get)), Err(Unserved::Refused(bad.error))),
            };
            match served {
                Ok(()) => {}
                Err(Unserved::Refused(error)) => replies.responder(slot, id).send(Err(error)),
                Err(Unserved::CutShort) => return Some(slot),
            }
        }
        None
    }

    fn request(
        self: &Arc<Self>,
        call: &Call<'_>,
        request: &Request<'_>,
        responder: impl Fn() -> Responder,
        submissions: &mut Vec<Submission>,
    ) -> Result<(), Unserved> {
        let method = self.method(&request.method)?;
        if method.long && call.is_brief() {
            return Err(Unserved::CutShort);
        }
        match method.run {
            Run::Read(run) => {
                let params = Params::parse(request.params)?;
                let answer = call.deadline().check().and_then(|()| run(call, &params));
                if call.was_cut_short() {
                    return Err(Unserved::CutShort);
                }
                responder().send(answer);
            }
            // Begun elsewhere or here, but never twice: it may have handed something in.
            Run::Later(run) => {
                let params = Params::parse(request.params)?;
                let in_time = call.deadline().check();
                if call.was_cut_short() {
                    return Err(Unserved::CutShort);
                }
                in_time?;
                run(call, &params, responder());
            }
            Run::Submit => {
                let admitted = self.admit(submission_bytes(request.params)?, call.caller)?;
                submissions.push(Submission { admitted, responder: responder() });
            }
        }
        Ok(())
    }

    fn method(&self, name: &str) -> Result<&'static Method, RpcError> {
        match self.methods.get(name) {
            Some(method) if !method.developer || self.is_developers() => Ok(method),
            Some(_) => Err(needs_developer(name)),
            None if !self.is_developers() && is_developers_name(name) => Err(needs_developer(name)),
            None => Err(RpcError::unknown_method(name)),
        }
    }

    /// Whether this is the lone node of a developer.
    fn is_developers(&self) -> bool {
        self.options.is_developer() && self.handle.status().peers == 0
    }

    pub fn admit(&self, raw: Bytes, caller: &Caller) -> Result<Admitted, RpcError> {
        if SourceUpload::is_one(&raw) {
            return Err(RpcError::server("transaction type not supported"));
        }
        Ok(self.ledger.protocol.admit(raw, caller)?)
    }

    /// The same for a transaction that nobody signed.
    pub fn admit_impersonated(&self, raw: Bytes, sender: Address, caller: &Caller) -> Result<Admitted, RpcError> {
        let rules = self.ledger.chain.admission_rules();
        let transaction = Transaction::impersonated(raw, sender, &rules).map_err(Rejection::from)?;
        let (raw, finding) = (transaction.raw.clone(), transaction.finding());
        Ok(self.ledger.protocol.readmit(raw, finding, caller.clone())?)
    }

    /// Hands submissions to the primary in one piece, and answers each with its transaction's hash.
    pub fn submit(self: &Arc<Self>, caller: &Caller, submissions: Vec<Submission>) {
        let server = self.clone();
        let asker = caller.clone();
        self.hand_in(submissions, move |transaction, responder| match server.options.wait_for_block {
            true => server.answer_in_block(&asker, &transaction, responder, Wants::Hash, BLOCK_WAIT_MS),
            false => responder.send(Ok(Json::data(transaction.hash.as_slice()))),
        });
    }

    /// Answers once the transaction, which the pool took, is in a block.
    pub fn answer_in_block(
        self: &Arc<Self>,
        caller: &Caller,
        transaction: &Transaction,
        responder: Responder,
        wants: Wants,
        wait_ms: u64,
    ) {
        let hash = transaction.hash;
        if self.await_block(caller, hash, responder, wants, wait_ms) || wants != Wants::Hash {
            return;
        }
        // Nobody knows when a developer asks for the next block, or whether there ever is one.
        let mining = self.ledger.chain.mining();
        if !mining.automine || mining.interval_ms > 0 || self.ledger.network().config.frozen {
            return self.waiters.answer_hash(&hash);
        }
        let (server, nonce) = (self.clone(), transaction.envelope.nonce());
        ask(self, caller, &PoolQuestion::NextNonce(transaction.sender), move |next: Result<u64, RpcError>| {
            // Behind a gap it waits for another transaction, which may never come.
            if next.is_ok_and(|next| next <= nonce) {
                server.waiters.answer_hash(&hash);
            }
        });
    }

    /// The same for one of which only the hash is known; whether its block was there already.
    pub fn await_block(
        self: &Arc<Self>,
        caller: &Caller,
        hash: B256,
        responder: Responder,
        wants: Wants,
        wait_ms: u64,
    ) -> bool {
        let ends_ms = self.handle.now_ms().saturating_add(wait_ms);
        self.waiters.add(hash, Waiter { responder, caller: caller.clone(), wants, ends_ms });
        // Its block may have come meanwhile.
        let recent = self.ledger.events.recent_transaction(&hash);
        if let Some((block, _)) = &recent {
            self.waiters.included(self, block);
        }
        recent.is_some()
    }

    /// Whether this node knows that a transaction waits, for a block that comes by itself.
    pub fn expects_block_of(&self, hash: &B256) -> bool {
        let mining = self.ledger.chain.mining();
        mining.automine
            && mining.interval_ms == 0
            && !self.ledger.network().config.frozen
            && self.ledger.held.contains(hash)
    }

    /// Submits; `then` gets each transaction that the pool took, once a second node remembers it; the others are answered here.
    pub fn hand_in(
        self: &Arc<Self>,
        submissions: Vec<Submission>,
        then: impl Fn(Arc<Transaction>, Responder) + Send + 'static,
    ) {
        if submissions.is_empty() {
            return;
        }
        let server = self.clone();
        let (admitted, responders): (Vec<_>, Vec<_>) =
            submissions.into_iter().map(|Submission { admitted, responder }| (admitted, responder)).unzip();
        let waiting = admitted.clone();
        let reply = move |submitted: Vec<Submitted>| {
            let (mut taken, mut told) = (Vec::with_capacity(submitted.len()), Vec::with_capacity(submitted.len()));
            // A missing answer drops its responder, which says so.
            for ((admitted, responder), submitted) in waiting.into_iter().zip(responders).zip(submitted) {
                match (accepted(submitted), admitted.decoded.clone().downcast::<Transaction>()) {
                    (Ok(()), Ok(transaction)) => {
                        let (held, events) = (&server.ledger.held, &server.ledger.events);
                        held.hold_admitted(std::slice::from_ref(&admitted), server.handle.now_ms(), events);
                        taken.push(admitted);
                        told.push((transaction, responder));
                    }
                    (Ok(()), Err(_)) => responder.send(Err(RpcError::internal("what was admitted is no transaction"))),
                    // One that was taken before may be refused when it comes again: it is remembered all the same.
                    (Err(error), _) => responder.send(Err(error)),
                }
            }
            server.announce(&told);
            let then = move || told.into_iter().for_each(|(transaction, responder)| then(transaction, responder));
            server.entrust(taken, Box::new(then));
        };
        self.handle.submit(admitted, Until::Accepted, Box::new(reply));
    }

    /// Tells of what the pool took. Everybody who listens has it written for himself, which the executor must not wait for.
    fn announce(&self, taken: &[(Arc<Transaction>, Responder)]) {
        let events = self.ledger.events.clone();
        if taken.is_empty() || !events.has_listeners(Channel::Pending) {
            return;
        }
        let taken: Vec<_> = taken.iter().map(|(transaction, _)| transaction.clone()).collect();
        self.handle.aside(Box::new(move || taken.iter().for_each(|transaction| events.pending(transaction))));
    }

    /// Called several times a second: who waited too long is told, and what a primary took with it is handed in again.
    pub fn tick(self: &Arc<Self>) {
        let now_ms = self.handle.now_ms();
        self.waiters.expire(now_ms);
        self.filters.expire(now_ms);
        let status = self.handle.status();
        let Some(primary) = status.primary else { return };
        let group = self.ledger.held.next_group((status.view.0, primary));
        if group.is_empty() {
            return;
        }
        let (mut hashes, mut admitted) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for (hash, HeldTransaction { raw, finding, caller }) in group {
            match self.ledger.protocol.readmit(raw, finding, caller) {
                Ok(one) => {
                    hashes.push(hash);
                    admitted.push(one);
                }
                Err(_) => self.ledger.held.forget(&hash),
            }
        }
        let server = self.clone();
        let reply = move |answers: Vec<Submitted>| {
            let taken = answers.iter().filter(|answer| **answer == Submitted::Accepted).count();
            if taken > 0 {
                tracing::info!(transactions = taken, "handed in to a new primary what waited at the one before");
            }
            server.ledger.held.handed_in(hashes.into_iter().zip(answers));
        };
        self.handle.submit(admitted, Until::Accepted, Box::new(reply));
    }

    /// Sixteen bytes that nobody can guess, in hex. The first digit is not 0: web3.js reads an id as a number and writes it back.
    pub fn fresh_id(&self) -> String {
        let mut bytes = [0; 16];
        (self.options.random)(&mut bytes);
        bytes[0] |= 0x80;
        alloy_primitives::hex::encode_prefixed(bytes)
    }

    /// The ledger name that disclosure subjects carry.
    pub fn ledger_name(&self) -> &'static str {
        self.ledger.protocol.name()
    }
}

impl From<RpcError> for Unserved {
    fn from(error: RpcError) -> Self {
        Self::Refused(error)
    }
}

/// Notifications of subscriptions that the message made leave after its answer.
fn releasing(connection: Option<&Arc<Connection>>, holds: &Arc<AtomicUsize>, finish: Finish) -> Finish {
    let Some(connection) = connection.cloned() else { return finish };
    let holds = holds.clone();
    Box::new(move |text| {
        finish(text);
        connection.release(holds.load(Ordering::Relaxed));
    })
}

fn is_developers_name(name: &str) -> bool {
    ["evm_", "hardhat_", "anvil_", "testing_"].iter().any(|prefix| name.starts_with(prefix))
}

fn needs_developer(name: &str) -> RpcError {
    let unknown = RpcError::unknown_method(name);
    RpcError::new(unknown.code, format!("{}; developer methods need coco dev --nodes 1", unknown.message))
}

/// The one argument of a submission, without a detour through a list of arguments.
pub(super) fn submission_bytes(params: Option<&RawValue>) -> Result<Bytes, RpcError> {
    let decode = |text: &str| {
        let digits = text.strip_prefix("0x").ok_or("hex string without 0x prefix")?;
        decode_hex(digits).map(Bytes::from)
    };
    let decoded = match params.map(|raw| serde_json::from_str::<[&str; 1]>(raw.get())) {
        Some(Ok([text])) => decode(text),
        _ => decode(&Params::parse(params)?.required::<String>(0)?),
    };
    decoded.map_err(|fault| RpcError::invalid_argument(0, fault))
}
