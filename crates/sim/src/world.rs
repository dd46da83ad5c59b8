//! The whole network in one thread: nodes, what is on its way between them, and what must hold.
//!
//! [`World::step`] lets the next thing happen in simulated time. A node's machines are run as its threads would run them: each
//! takes what others sent it, in order, after a delay drawn from the seed, so that they interleave in every way that threads could.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coco_attestation::EvidenceSource;
use coco_consensus::{Membership, Role};
use coco_crypto::Sha256;
use coco_disk::Disk;
use coco_governance::Recovery;
use coco_node::events::ExecutorEvent;
use coco_node::executor::SystemCommand;
use coco_node::ledger::LedgerError;
use coco_protocol::{Caller, Protocol, Submitted, Until};
use coco_replicas::{Coverage, Event};
use coco_types::{Digest, ReplicaId, Seqno, TxId, View};
use parking_lot::Mutex;

use crate::counter::{Counter, submission};
use crate::ethereum;
use crate::faults::Faults;
use crate::governing::Member;
use crate::history::Operation;
use crate::invariants::{Invariants, Violation, holds};
use crate::joining::Joiner;
use crate::network::Network;
use crate::node::{Options, Setting, SimNode, is_for_room};
use crate::planted::Planted;
use crate::random::Random;
use crate::seen::{FAULTS, STATES};

/// See the module's text.
pub struct World {
    pub(crate) random: Random,
    pub(crate) setting: Setting,
    pub(crate) nodes: BTreeMap<ReplicaId, SimNode>,
    pub(crate) network: Network,
    pub(crate) faults: Faults,
    pub(crate) invariants: Invariants,
    pub(crate) answers: Arc<Mutex<Vec<(ReplicaId, Waiter, Submitted)>>>,
    pub(crate) answered: BTreeMap<u64, Submitted>,
    /// Waiting for their admission, by number.
    pub(crate) joiners: BTreeMap<u64, Joiner>,
    /// Where a joiner gave up.
    pub(crate) places_to_fill: Vec<u32>,
    /// The platforms of machines by their place; elsewhere it is the virtual one.
    pub tees: BTreeMap<u32, Arc<dyn EvidenceSource>>,
    pub(crate) reads: Reads,
    pub(crate) next_number: u64,
    pub(crate) genesis: Vec<SystemCommand>,
    /// This world's service is to begin on a ledger that another one left.
    pub(crate) recovering: Option<Recovery>,
    /// Plans that anybody went on by.
    pub(crate) resumes: BTreeSet<Digest>,
    /// Fresh replicas that do not vote yet.
    pub(crate) swapping: BTreeSet<ReplicaId>,
    /// Whose disks were put back since the last of them.
    pub(crate) put_back: BTreeSet<u32>,
    pub(crate) counts: Counts,
    pub(crate) coverage: Coverage,
    /// Nodes that are slow in everything.
    pub(crate) slow: BTreeSet<ReplicaId>,
    /// Nodes whose disks have no room.
    pub(crate) starved: BTreeSet<ReplicaId>,
    /// Nodes whose files are not what they wrote: they may refuse to start.
    pub(crate) rotten: BTreeSet<ReplicaId>,
    /// What clients did, in order of their calls.
    pub(crate) history: Vec<Operation>,
    /// Submissions by id: their counter, and their place in the history.
    pub(crate) submitted: BTreeMap<u64, (String, usize)>,
    /// To be submitted again.
    pub(crate) to_retry: Vec<u64>,
    pub(crate) ethereum: ethereum::Clients,
    pub(crate) member: Option<Member>,
    pub(crate) trace: Sha256,
    pub(crate) log: Option<Log>,
}

/// Takes what happens.
pub type Log = Box<dyn FnMut(Event)>;

/// How often things happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub crashes: u64,
    pub swaps: u64,
    /// Completed by a replica that came back as a fresh one, and by a whole network.
    pub came_back: u64,
    pub resumes: u64,
    pub reads: u64,
    pub snapshots: u64,
    /// Starts from a snapshot.
    pub restored: u64,
    /// Snapshots received, and begun anew at.
    pub received: u64,
    /// New ledger secrets asked for.
    pub rekeys: u64,
    /// Ethereum transactions acknowledged.
    pub transactions: u64,
    /// Proposals that a member made and saw accepted.
    pub decisions: u64,
    /// Networks that were lost and recovered.
    pub recoveries: u64,
}

/// Whom an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiter {
    Client(u64),
    Joiner(u64),
    /// A client of the Ethereum ledger, by its transaction.
    Transaction(usize),
    Nobody,
}

/// Linearizable reads under way.
#[derive(Default)]
pub(crate) struct Reads {
    /// By token: where, and what was acknowledged when it was asked for.
    pub(crate) asked: BTreeMap<u64, (ReplicaId, TxId)>,
    /// Confirmed, and waiting until this is visible there.
    pub(crate) confirmed: Vec<(u64, Seqno)>,
    pub(crate) outcomes: BTreeMap<u64, ReadEnd>,
    /// When each was asked for, by token.
    pub(crate) called: BTreeMap<u64, u64>,
}

/// How a linearizable read ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadEnd {
    /// It saw the state as of this transaction.
    Seen(TxId),
    Lost,
}

impl World {
    pub(crate) fn empty(seed: u64, options: Options, log: Option<Log>) -> Self {
        Self {
            random: Random::new(seed),
            setting: Setting::new(seed, options),
            nodes: BTreeMap::new(),
            network: Network::default(),
            faults: Faults::none(),
            invariants: Invariants::default(),
            answers: Arc::default(),
            answered: BTreeMap::new(),
            joiners: BTreeMap::new(),
            places_to_fill: Vec::new(),
            tees: BTreeMap::new(),
            reads: Reads::default(),
            next_number: 1,
            genesis: Vec::new(),
            recovering: None,
            resumes: BTreeSet::new(),
            swapping: BTreeSet::new(),
            put_back: BTreeSet::new(),
            counts: Counts::default(),
            coverage: Coverage::new(FAULTS, STATES),
            slow: BTreeSet::new(),
            starved: BTreeSet::new(),
            rotten: BTreeSet::new(),
            history: Vec::new(),
            submitted: BTreeMap::new(),
            to_retry: Vec::new(),
            ethereum: ethereum::Clients::default(),
            member: None,
            trace: Sha256::new(),
            log,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.setting.now_ms()
    }

    pub fn ids(&self) -> Vec<ReplicaId> {
        self.nodes.keys().copied().collect()
    }

    /// # Panics
    /// If there never was such a node.
    pub fn node(&self, id: ReplicaId) -> &SimNode {
        &self.nodes[&id]
    }

    pub fn node_mut(&mut self, id: ReplicaId) -> &mut SimNode {
        self.nodes.get_mut(&id).expect("a known node")
    }

    pub fn invariants(&self) -> &Invariants {
        &self.invariants
    }

    /// The leading node of the highest view.
    pub fn primary(&self) -> Option<ReplicaId> {
        self.leading().into_iter().max_by_key(|id| self.view(*id))
    }

    /// Every node that believes itself to lead.
    pub fn leading(&self) -> Vec<ReplicaId> {
        let leads = |node: &&SimNode| node.machines.as_ref().is_some_and(|machines| machines.replica.is_leading());
        self.nodes.values().filter(leads).map(|node| node.id).collect()
    }

    pub fn view(&self, id: ReplicaId) -> View {
        self.nodes[&id].machines.as_ref().map_or(View(0), |machines| machines.replica.consensus().view())
    }

    /// What a node's consensus takes it to be; `Removed` too if it does not run.
    pub fn role(&self, id: ReplicaId) -> Role {
        self.nodes[&id].machines.as_ref().map_or(Role::Removed, |machines| machines.replica.consensus().role())
    }

    /// What readers of a node see.
    pub fn visible(&self, id: ReplicaId) -> TxId {
        self.nodes[&id].machines.as_ref().map_or(TxId::default(), |machines| machines.visible.txid())
    }

    pub fn membership(&self, id: ReplicaId) -> Membership {
        let machines = self.nodes[&id].machines.as_ref();
        machines.map(|machines| machines.replica.consensus().membership().clone()).unwrap_or_default()
    }

    /// The configuration that a node goes by, or went by if it has stopped since: then what the newest of the others go by.
    pub(crate) fn membership_known_to(&self, id: ReplicaId) -> Membership {
        let runs = |id: &ReplicaId| self.nodes[id].machines.is_some();
        let newest = || self.ids().into_iter().filter(runs).max_by_key(|id| (self.view(*id), self.visible(*id)));
        let id = if runs(&id) { Some(id) } else { newest() };
        id.map(|id| self.membership(id)).unwrap_or_default()
    }

    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Cuts a node off, in both directions, until [`World::heal`].
    pub fn isolate(&mut self, id: ReplicaId) {
        self.note(|| format!("{id} is cut off"));
        for other in self.ids() {
            self.network.set_cut(id, other, true);
            self.network.set_cut(other, id, true);
        }
    }

    /// Cuts off what others say to a node; it is still heard, until [`World::heal`].
    pub fn cut_towards(&mut self, id: ReplicaId) {
        self.note(|| format!("{id} hears nothing"));
        for other in self.ids() {
            self.network.set_cut(other, id, true);
        }
    }

    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// Starts a node: for the first time, or again, and then it asks first how to come back.
    pub fn start(&mut self, id: ReplicaId) -> Result<(), Violation> {
        if self.starved.remove(&id) {
            self.node(id).set_room(None);
        }
        let fresh = !self.nodes[&id].log_disk.exists(coco_consensus::LOG_FILE).unwrap_or(true);
        if fresh || !self.setting.options.ask_before_acting { self.run_machines(id) } else { self.come_back(id, None) }
    }

    /// What clients did and were told, so far.
    pub fn history(&self) -> &[Operation] {
        &self.history
    }

    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    pub(crate) fn run_machines(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let now_ms = self.now_ms();
        let node = self.nodes.get_mut(&id).expect("a known node");
        if let Err(error) = node.start(now_ms, &self.setting.options) {
            return self.does_not_start(id, &error.to_string());
        }
        let node = self.nodes.get_mut(&id).expect("a known node");
        let machines = node.machines.as_ref().expect("just started");
        if machines.ledger.is_public_only() {
            self.begin_service(id)?;
        } else {
            self.hear_what_was_written(id)?;
            let machines = self.nodes[&id].machines.as_ref().expect("just started");
            self.invariants.shows(id, machines.visible.txid(), &machines.visible.state())?;
            self.counts.restored += u64::from(machines.restored_from > TxId::default());
        }
        self.note(|| format!("{id} starts"));
        Ok(())
    }

    /// A node shows what it wrote as committed and could not say before its power went.
    fn hear_what_was_written(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let Some(machines) = &self.nodes[&id].machines else { return Ok(()) };
        let failed = |error: LedgerError| Violation(format!("{id} cannot read its ledger: {error}"));
        let (shown, ledger) = (machines.visible.txid().seqno, &machines.ledger);
        let mut next = self.invariants.newest_committed().seqno.next();
        let mut batches = Vec::new();
        while next <= shown
            && let Some(span) = ledger.batch_from(next).map_err(failed)?
        {
            batches.push((ledger.open_batch(span).map_err(failed)?, TxId::new(span.view, span.last)));
            next = span.last.next();
        }
        let membership = self.membership_known_to(id);
        let durable = self.durable();
        for (batch, last) in batches {
            self.invariants.found_committed(id, &batch, last, &membership, &durable)?;
        }
        Ok(())
    }

    /// The newest transaction that is on each node's disk.
    pub(crate) fn durable(&self) -> BTreeMap<ReplicaId, TxId> {
        self.nodes.values().map(|node| (node.id, node.durable)).collect()
    }

    /// Excused if its disk has no room, or its files were changed under it.
    pub(crate) fn does_not_start(&mut self, id: ReplicaId, why: &str) -> Result<(), Violation> {
        if self.crash_without_power(id) {
            return Ok(());
        }
        let excused = self.rotten.contains(&id) || (self.starved.contains(&id) && is_for_room(why));
        holds(excused, || format!("node {id} does not start again: {why}"))?;
        self.stop(id, why);
        Ok(())
    }

    /// The power of one node goes.
    pub fn crash(&mut self, id: ReplicaId) {
        let (faults, random) = (&self.faults, &mut self.random);
        let node = self.nodes.get_mut(&id).expect("a known node");
        let mut torn = false;
        // One that was killed before loses what its process had not synced.
        node.crash(|len| {
            let survives = faults.survives(len, random);
            torn |= survives.is_some_and(|survives| survives < len);
            survives
        });
        if torn {
            self.count("torn write");
        }
        self.counts.crashes += 1;
        self.note(|| format!("{id} crashes"));
        self.joiners_lose(id);
    }

    /// The process of one node is killed: its disks keep what was written.
    pub fn kill(&mut self, id: ReplicaId) {
        if self.nodes[&id].runs() {
            self.counts.crashes += 1;
            self.node_mut(id).stop();
            self.node(id).power().comes_back();
            self.note(|| format!("{id} is killed"));
            self.joiners_lose(id);
        }
    }

    /// Adds one to a counter, through this node's executor. Returns the submission's id.
    pub fn submit(&mut self, to: ReplicaId, name: &str) -> u64 {
        let id = self.number();
        self.called(id, name);
        self.submit_as(to, id, name);
        id
    }

    /// The same, under an id that may have been used before.
    pub(crate) fn submit_as(&mut self, to: ReplicaId, id: u64, name: &str) {
        let admitted = Counter::default().admit(submission(id, name), &Caller::Anonymous);
        let admitted = admitted.expect("a well-formed submission");
        let reply = self.reply(to, Waiter::Client(id));
        self.tell_executor(
            to,
            ExecutorEvent::Submit { ledger: 0, admitted: vec![admitted], until: Until::Committed, reply },
        );
    }

    /// How a submission ended, if it has.
    pub fn answer(&self, id: u64) -> Option<&Submitted> {
        self.answered.get(&id)
    }

    /// Asks this node for a linearizable read.
    pub fn read(&mut self, on: ReplicaId) -> Result<u64, Violation> {
        let token = self.number();
        let asked_at = self.invariants.newest_acknowledged();
        if self.setting.options.planted == Some(Planted::ReadsWithoutAsking) && self.leading().contains(&on) {
            self.invariants.read(on, asked_at, self.visible(on))?;
        }
        if let Some(machines) = self.nodes.get_mut(&on).and_then(|node| node.machines.as_mut()) {
            self.reads.asked.insert(token, (on, asked_at));
            self.reads.called.insert(token, self.setting.now_ms());
            machines.replica.read(token).map_err(|fault| Violation(fault.to_string()))?;
        }
        self.act(on)?;
        Ok(token)
    }

    pub fn read_end(&self, token: u64) -> Option<ReadEnd> {
        self.reads.outcomes.get(&token).copied()
    }

    pub fn run_for(&mut self, ms: u64) -> Result<(), Violation> {
        let until = self.now_ms() + ms;
        while self.now_ms() < until {
            self.step()?;
        }
        Ok(())
    }

    /// At most this long, in simulated time.
    pub fn run_until(&mut self, ms: u64, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Violation> {
        let until = self.now_ms() + ms;
        while !done(self) {
            holds(self.now_ms() < until, || format!("waited in vain for {what}"))?;
            self.step()?;
        }
        Ok(())
    }

    /// The nodes that should be running: neither removed nor never started.
    pub fn members(&self) -> BTreeSet<ReplicaId> {
        self.nodes.values().filter(|node| !node.removed).map(|node| node.id).collect()
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(crate) fn reply(&self, from: ReplicaId, waiter: Waiter) -> Box<dyn FnOnce(Vec<Submitted>) + Send> {
        let answers = self.answers.clone();
        Box::new(move |all| answers.lock().extend(all.into_iter().map(|one| (from, waiter, one))))
    }

    /// When an event reaches a machine of the same node.
    pub(crate) fn machine_at_ms(&mut self, id: ReplicaId) -> u64 {
        let slow_ms = if self.slow.contains(&id) { self.random.between(10, 60) } else { 0 };
        self.now_ms() + self.faults.machine_ms(&mut self.random) + slow_ms
    }

    pub(crate) fn tell_executor(&mut self, to: ReplicaId, event: ExecutorEvent) {
        let at = self.machine_at_ms(to);
        self.node_mut(to).for_executor.push(at, event);
    }

    /// Something that a reader of the run should know of. A line that begins with a node's number is about that node.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let at = self.setting.now_ms();
        if let Some(log) = &mut self.log {
            let text = line();
            let who = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
            log(Event { at, who, to: None, text });
        }
    }

    pub(crate) fn note_message(&mut self, from: ReplicaId, to: ReplicaId, what: impl FnOnce() -> String) {
        let at = self.setting.now_ms();
        if let Some(log) = &mut self.log {
            log(Event { at, who: from.0, to: Some(to.0), text: what() });
        }
    }

    pub(crate) fn trace_digest(&self, last: TxId) -> Digest {
        let mut trace = self.trace.clone();
        trace.update(last.to_string().as_bytes());
        trace.finish()
    }
}
