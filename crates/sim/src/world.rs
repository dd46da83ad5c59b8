//! The whole network in one thread: founds it, lets it grow to three nodes, breaks it, heals it, and checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use coco_crypto::{Sha256, SigningKey};
use coco_governance::{Applicant, NodeInfo, NodeRow, NodeStatus};
use coco_node::config::{Actor, Genesis};
use coco_node::executor::SystemCommand;
use coco_node::genesis::{self, Founder};
use coco_node::join;
use coco_node::replica::{Delivery, Effect};
use coco_protocol::{Caller, Outcome, Protocol, Rejection, RejectionReason, Submitted, Until};
use coco_types::{Digest, ReplicaId, TxId, View, limits};
use parking_lot::Mutex;

use crate::counter::{Counter, submission};
use crate::faults::Faults;
use crate::invariants::{Invariants, Violation, holds};
use crate::network::{Envelope, Network};
use crate::node::{MEASUREMENT, Setting, SimNode, VALIDITY};
use crate::random::Random;

/// See the module's text.
pub struct World {
    seed: u64,
    random: Random,
    setting: Setting,
    nodes: BTreeMap<ReplicaId, SimNode>,
    network: Network,
    faults: Faults,
    invariants: Invariants,
    answers: Arc<Mutex<Vec<(u64, Submitted)>>>,
    next_submission: u64,
    genesis: Vec<SystemCommand>,
    events: u64,
    crashes: u64,
    trace: Sha256,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    pub events: u64,
    pub crashes: u64,
    /// Submissions acknowledged as committed.
    pub acknowledged: usize,
    pub last: TxId,
    /// Equal for equal runs.
    pub trace: Digest,
}

/// Simulated time with faults on, and the bound within which everything must be well again afterwards.
const TROUBLE_MS: u64 = 15_000;
const RECOVERY_MS: u64 = 60_000;
const SETUP_MS: u64 = 60_000;

impl World {
    /// Runs one seed to its end.
    pub fn run(seed: u64) -> Result<Report, Violation> {
        let mut random = Random::new(seed);
        let faults = Faults::drawn(&mut random);
        let mut world = Self::new(seed, random)?;
        world.grow_to(3)?;
        world.faults = faults;
        let until = world.setting.now_ms() + TROUBLE_MS;
        while world.setting.now_ms() < until {
            world.make_trouble()?;
            world.submit_sometimes();
            world.step()?;
        }
        world.recover()?;
        world.check_end()
    }

    fn new(seed: u64, mut random: Random) -> Result<Self, Violation> {
        let setting = Setting::new(seed);
        let first = setting.node(ReplicaId(1), random.next());
        let genesis = Self::genesis(&setting, &first)?;
        let mut world = Self {
            seed,
            random,
            setting,
            nodes: BTreeMap::new(),
            network: Network::default(),
            faults: Faults::none(),
            invariants: Invariants::default(),
            answers: Arc::default(),
            next_submission: 1,
            genesis,
            events: 0,
            crashes: 0,
            trace: Sha256::new(),
        };
        world.nodes.insert(first.id, first);
        world.start(ReplicaId(1))?;
        Ok(world)
    }

    fn genesis(setting: &Setting, first: &SimNode) -> Result<Vec<SystemCommand>, Violation> {
        let member_key = SigningKey::generate(setting.crypto.as_ref(), coco_crypto::Curve::P384);
        let member =
            coco_crypto::self_signed_certificate(setting.crypto.as_ref(), &member_key, "member", &[], VALIDITY, &[])
                .map_err(|error| Violation(error.to_string()))?;
        let genesis = Genesis {
            name: "sim".to_owned(),
            members: vec![Actor { certificate: member.to_pem(), data: serde_json::Value::Null }],
            participants: Vec::new(),
            virtual_measurements: vec![MEASUREMENT.to_string()],
            chunk_bytes: limits::CHUNK_BYTES,
            ledgers: [("counter".to_owned(), serde_json::Value::Null)].into(),
        };
        let info = NodeInfo {
            status: NodeStatus::Trusted,
            public_key: first.identity.node_key.public_key().to_pem(),
            replica: first.id,
            index: 0,
            addresses: first.addresses(),
            quote_info: first.evidence(&coco_attestation::ReportData([0; 64])),
            replaces: None,
            retired_committed: false,
        };
        let founder = Founder {
            node: NodeRow { id: first.identity.node_key.public_key().node_id(), info },
            node_certificate: first.identity.node_certificate.to_pem(),
            service_certificate: setting.service_certificate.to_pem(),
        };
        let founding = genesis::founding(&genesis, founder).map_err(Violation)?;
        let protocols: Vec<Arc<dyn Protocol>> = vec![Arc::new(Counter)];
        Ok(genesis::commands(genesis, founding, protocols).into())
    }

    /// Admits nodes one by one, by evidence, until that many vote.
    fn grow_to(&mut self, count: u64) -> Result<(), Violation> {
        let until = self.setting.now_ms() + SETUP_MS;
        for number in 2..=count {
            let id = ReplicaId(number);
            let node = self.setting.node(id, self.random.next());
            let command = self.admission(&node)?;
            self.nodes.insert(id, node);
            self.run_until(until, "a primary", |world| {
                world.primary().is_some_and(|id| world.visible(id) > TxId::default())
            })?;
            let primary = self.primary().expect("waited for it");
            if let Some(machines) = &mut self.nodes.get_mut(&primary).expect("it leads").machines {
                machines.executor.submit_system(command, Box::new(|_| {}));
            }
            self.start(id)?;
            self.run_until(until, "a voter more", |world| {
                world.primary().is_some_and(|id| {
                    let machines = world.nodes[&id].machines.as_ref();
                    let voters = machines.map(|machines| machines.replica.consensus().membership().clone());
                    voters.is_some_and(|membership| membership.voters.len() as u64 == number && !membership.is_joint())
                })
            })?;
        }
        Ok(())
    }

    /// What a node's join request leads to on the primary.
    fn admission(&self, node: &SimNode) -> Result<SystemCommand, Violation> {
        let failed = |error: &dyn std::fmt::Display| Violation(format!("admission: {error}"));
        let crypto = self.setting.crypto.as_ref();
        let exchange = coco_crypto::ExchangeKey::generate(crypto);
        let nonce = join::challenge(crypto, &self.setting.ledger_secret, self.setting.now_ms());
        let place = (u32::try_from(node.id.0 - 1).unwrap_or(0), node.addresses());
        let tee = coco_attestation::platforms::virtual_tee::VirtualTee { measurement: MEASUREMENT };
        let service = self.setting.service_key.public_key();
        let request = join::request(&tee, &node.identity.node_key, &exchange, service, place, Digest::ZERO, nonce)
            .map_err(|error| failed(&error))?;
        let body = serde_json::to_vec(&request).map_err(|error| failed(&error))?;
        let applicant: Applicant = join::applicant(&body, &self.setting.ledger_secret, self.setting.now_ms())
            .map_err(|error| failed(&error))?;
        let claims = coco_governance::applicant_claims(&applicant, service).map_err(|error| failed(&error))?;
        let certificate = node.identity.node_certificate.to_pem();
        Ok(Box::new(move |tx, _| {
            coco_governance::admit(tx, &applicant, &claims, &certificate)
                .map_err(|error| Rejection::new(RejectionReason::Invalid, 0, error.to_string()))?;
            Ok(Outcome::default())
        }))
    }

    fn start(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let now_ms = self.setting.now_ms();
        let node = self.nodes.get_mut(&id).expect("a known node");
        node.start(now_ms).map_err(|error| Violation(format!("node {id} does not start again: {error}")))
    }

    fn primary(&self) -> Option<ReplicaId> {
        let leads = |node: &&SimNode| node.machines.as_ref().is_some_and(|machines| machines.replica.is_leading());
        let leading: Vec<&SimNode> = self.nodes.values().filter(leads).collect();
        leading.into_iter().max_by_key(|node| self.view(node.id)).map(|node| node.id)
    }

    fn view(&self, id: ReplicaId) -> View {
        self.nodes[&id].machines.as_ref().map_or(View(0), |machines| machines.replica.consensus().view())
    }

    fn visible(&self, id: ReplicaId) -> TxId {
        self.nodes[&id].machines.as_ref().map_or(TxId::default(), |machines| machines.visible.txid())
    }

    fn run_until(&mut self, until: u64, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Violation> {
        while !done(self) {
            holds(self.setting.now_ms() < until, || format!("waited in vain for {what}"))?;
            self.step()?;
        }
        Ok(())
    }

    /// Crashes, restarts, cuts and mends by chance.
    fn make_trouble(&mut self) -> Result<(), Violation> {
        let ids: Vec<ReplicaId> = self.nodes.keys().copied().collect();
        let any = ids[usize::try_from(self.random.below(ids.len() as u64)).unwrap_or(0)];
        if self.faults.crashes(&mut self.random) {
            self.crash(any);
        }
        if self.nodes[&any].machines.is_none() && self.random.one_in(100) {
            self.start(any)?;
        }
        if self.faults.partitions(&mut self.random) {
            for other in &ids {
                let both_ways = self.random.one_in(2);
                self.network.set_cut(any, *other, true);
                self.network.set_cut(*other, any, both_ways);
            }
        }
        if self.faults.heals(&mut self.random) {
            self.network.heal();
        }
        Ok(())
    }

    fn crash(&mut self, id: ReplicaId) {
        let (faults, random) = (&self.faults, &mut self.random);
        let node = self.nodes.get_mut(&id).expect("a known node");
        if node.machines.is_some() {
            self.crashes += 1;
            node.crash(|len| faults.survives(len, random));
        }
    }

    fn submit_sometimes(&mut self) {
        let Some(primary) = self.primary().filter(|_| self.random.one_in(5)) else { return };
        let machines = self.nodes.get_mut(&primary).and_then(|node| node.machines.as_mut());
        let Some(machines) = machines else { return };
        let id = self.next_submission;
        self.next_submission += 1;
        let name = format!("counter {}", self.random.below(5));
        let admitted = Counter.admit(submission(id, &name), &Caller::Anonymous).expect("a well-formed submission");
        let answers = self.answers.clone();
        let reply = Box::new(move |all: Vec<Submitted>| answers.lock().extend(all.into_iter().map(|one| (id, one))));
        machines.executor.submit(0, vec![admitted], Until::Committed, reply);
    }

    /// Lets the next thing happen, in simulated time, and checks.
    fn step(&mut self) -> Result<(), Violation> {
        let now_ms = self.advance();
        self.events += 1;
        while let Some(envelope) = self.network.arrive(now_ms) {
            if let Some(machines) = self.nodes.get_mut(&envelope.to).and_then(|node| node.machines.as_mut()) {
                let taken = machines.replica.message(envelope.from, &envelope.message);
                taken.map_err(|fault| Violation(format!("{} failed: {fault}", envelope.to)))?.ok();
            }
            self.act(envelope.to)?;
        }
        let ids: Vec<ReplicaId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.step_node(id, now_ms)?;
        }
        self.collect_answers()
    }

    fn advance(&mut self) -> u64 {
        let ticks = self.nodes.values().filter(|node| node.machines.is_some()).map(|node| node.next_tick_ms);
        let syncs = self.nodes.values().filter_map(|node| node.syncing.front().map(|(at, _)| *at));
        let next = ticks.chain(syncs).chain(self.network.next_arrival_ms()).min();
        let mut now = self.setting.now_ms.lock();
        // Never further than the interval in which a client or a fault may want to act.
        *now = next.unwrap_or(u64::MAX).clamp(*now + 1, *now + 5);
        *now
    }

    fn step_node(&mut self, id: ReplicaId, now_ms: u64) -> Result<(), Violation> {
        let failed = |error: String| Violation(format!("{id} failed: {error}"));
        let node = self.nodes.get_mut(&id).expect("a known node");
        while let Some((_, persist)) = node.syncing.front().copied().filter(|(at, _)| *at <= now_ms) {
            node.syncing.pop_front();
            node.sync(&persist).map_err(|error| failed(error.to_string()))?;
            if let Some(machines) = &mut node.machines {
                machines.replica.persisted(persist.number).map_err(|fault| failed(fault.to_string()))?;
            }
        }
        if let Some(machines) = &mut node.machines {
            if now_ms >= node.next_tick_ms {
                node.next_tick_ms = now_ms + limits::TICK_MS;
                machines.replica.tick().map_err(|fault| failed(fault.to_string()))?;
            }
            for batch in machines.executor.turn(now_ms) {
                machines.replica.executed(batch).map_err(|fault| failed(fault.to_string()))?;
            }
        }
        self.act(id)
    }

    /// Carries out what a node's replica wants, until it wants nothing more.
    fn act(&mut self, id: ReplicaId) -> Result<(), Violation> {
        loop {
            let now_ms = self.setting.now_ms();
            let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
            let Some(machines) = &mut node.machines else { return Ok(()) };
            let effects = machines.replica.take_effects();
            if effects.is_empty() && node.deliveries.is_empty() {
                return Ok(());
            }
            for effect in effects {
                self.carry_out(id, effect, now_ms)?;
            }
            self.deliver(id)?;
        }
    }

    fn carry_out(&mut self, id: ReplicaId, effect: Effect, now_ms: u64) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("a known node");
        let Some(machines) = &mut node.machines else { return Ok(()) };
        match effect {
            Effect::Send { to, message } => {
                self.trace.update(&message);
                self.network.send(Envelope { from: id, to, message }, now_ms, &self.faults, &mut self.random);
            }
            Effect::Persist(persist) => {
                let earliest = node.syncing.back().map_or(now_ms, |(at, _)| *at);
                node.syncing.push_back((earliest + self.random.between(0, 4), persist));
            }
            Effect::Lead { view } => {
                self.invariants.leads(id, view)?;
                machines.executor.lead(view);
                for command in std::mem::take(&mut self.genesis) {
                    machines.executor.submit_system(command, Box::new(|_| {}));
                }
            }
            Effect::StopExecutor => {
                machines.executor.stop();
                machines.replica.executor_stopped().map_err(|fault| Violation(fault.to_string()))?;
            }
            Effect::Deliver(delivery) => node.deliveries.push_back(delivery),
            Effect::Gone(_) | Effect::Read(_) | Effect::NeedsSnapshot(_) | Effect::Removed => {}
        }
        Ok(())
    }

    fn deliver(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("a known node");
        let deliveries: Vec<Delivery> = node.deliveries.drain(..).collect();
        let Some(machines) = &mut node.machines else { return Ok(()) };
        for delivery in deliveries {
            self.invariants.delivered(id, &delivery)?;
            let reached = machines.front.deliver(delivery).map_err(|error| Violation(error.to_string()))?;
            machines.executor.visible(reached);
            machines.replica.front_reached(reached).map_err(|fault| Violation(fault.to_string()))?;
        }
        Ok(())
    }

    fn collect_answers(&mut self) -> Result<(), Violation> {
        for (id, answer) in std::mem::take(&mut *self.answers.lock()) {
            if let Submitted::Committed { txid, .. } = answer {
                self.invariants.acknowledged(id, txid)?;
            }
        }
        Ok(())
    }

    /// Faults off: within a bound there is a primary, it makes progress, and all nodes agree.
    fn recover(&mut self) -> Result<(), Violation> {
        self.faults = Faults::none();
        self.network.heal();
        let ids: Vec<ReplicaId> = self.nodes.keys().copied().collect();
        for id in &ids {
            if self.nodes[id].machines.is_none() {
                self.start(*id)?;
            }
        }
        let until = self.setting.now_ms() + RECOVERY_MS;
        let before = self.invariants.acknowledged_count();
        while self.invariants.acknowledged_count() < before + 3 {
            holds(self.setting.now_ms() < until, || "no progress after the faults ended".to_owned())?;
            self.submit_sometimes();
            self.step()?;
        }
        self.run_until(until, "agreement", |world| {
            let first = world.visible(ids[0]);
            ids.iter().all(|id| world.visible(*id) == first)
        })
    }

    fn check_end(mut self) -> Result<Report, Violation> {
        for (id, node) in &self.nodes {
            let Some(machines) = &node.machines else { continue };
            self.invariants.nothing_lost(*id, &machines.visible.state())?;
            for txid in self.invariants.acknowledged_txids() {
                let receipt =
                    machines.ledger.receipt(txid).map_err(|error| Violation(format!("receipt {txid}: {error}")))?;
                let receipt = receipt.ok_or_else(|| Violation(format!("{id} has no receipt of {txid}")))?;
                coco_ledger::verify_receipt(&receipt.cose, self.setting.service_key.public_key(), None)
                    .map_err(|error| Violation(format!("the receipt of {txid} by {id} does not verify: {error}")))?;
            }
        }
        let last = self.visible(ReplicaId(1));
        self.trace.update(last.to_string().as_bytes());
        Ok(Report {
            seed: self.seed,
            events: self.events,
            crashes: self.crashes,
            acknowledged: self.invariants.acknowledged_count(),
            last,
            trace: self.trace.finish(),
        })
    }
}
