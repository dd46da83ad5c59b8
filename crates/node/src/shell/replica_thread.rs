//! The thread that runs the replica.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coco_consensus::{Consensus, Persist, ReadOutcome, Role, Written};
use coco_crypto::{Certificate, SymmetricKey, SystemCrypto};
use coco_disk::Disk;
use coco_governance::rotation;
use coco_governance::secrets::{self, Vault};
use coco_governance::{Network, NodeRole, NodeRow, NodeStatus, ServiceInfo, ServiceStatus};
use coco_ledger::EntryKeys;
use coco_protocol::Submitted;
use coco_rpc::channel::NoAnswer;
use coco_rpc::metrics::{Counter, Histogram};
use coco_types::{ReplicaId, Seqno, TxId, limits};
use crossbeam_channel::{RecvTimeoutError, Sender};

use crate::archive::ArchiveEvent;
use crate::comeback::{self, Askers};
use crate::entitlement;
use crate::events::{ExecutorEvent, ReplicaEvent};
use crate::executor::SystemCommand;
use crate::handle::{Shared, Standing, ask_replica};
use crate::identity::{self, IdentityError};
use crate::known::Known;
use crate::replica::{Delivery, Effect, Fault, Replica};
use crate::shell::credentials::Credentials;
use crate::shell::mailbox::Mailbox;
use crate::shell::outside::Outside;
use crate::shell::reads::{ReadReply, Reads};
use crate::signatures::{self, Alarm};
use crate::wire;

/// Why the replica's thread ended.
#[derive(Debug)]
pub enum Ended {
    /// Asked to.
    Stopped,
    /// The network removed this node.
    Removed,
    /// A snapshot has come that is ahead of this node: it begins anew there.
    Received(Written),
    /// No majority answers, and others that come back need this replica's log.
    MadeWay(Written),
    /// A snapshot came that nothing here opens.
    MustReturn,
    /// The secrets of before a recovery are known again: everything is read anew.
    Recovered(Written),
    Failed(String),
}

/// What the replica's thread works with.
pub struct ReplicaThread {
    pub replica: Replica,
    pub shared: Arc<Shared>,
    pub events: Mailbox<ReplicaEvent>,
    pub executor: Sender<ExecutorEvent>,
    /// Orders to this thread itself.
    pub own: Sender<ReplicaEvent>,
    pub disk: Sender<Persist>,
    pub front: Sender<Delivery>,
    pub archive: Sender<ArchiveEvent>,
    pub alarms: Arc<Counter>,
    pub tick_delay: Arc<Histogram>,
    /// The commands of a new network's first batch.
    pub genesis: Vec<SystemCommand>,
    /// What follows it, one at a time: see [`crate::genesis::parts`].
    pub genesis_parts: VecDeque<SystemCommand>,
    /// Where others listened when this node joined, until governance says it.
    pub first_peers: BTreeMap<ReplicaId, SocketAddr>,
    /// Where others said that they listen when they came back together, until governance says it.
    pub moved: BTreeMap<ReplicaId, SocketAddr>,
    /// What this node knows of the others, for its next start.
    pub memory: Memory,
    /// What this node shows, kept as the ledger has it.
    pub credentials: Credentials,
    /// What new ledger secrets are made with.
    pub vault: Vault,
    /// Others that come back, and asked for this replica's log.
    pub askers: Askers,
    pub began: Instant,
    /// The whole network ends.
    pub stop_at: Option<Instant>,
    /// The network removed this replica; it goes on answering until then.
    pub leaving_until: Option<Instant>,
}

/// This replica is in the configuration as what it was admitted for.
fn in_place(consensus: &Consensus, nodes: &[NodeRow]) -> bool {
    let (own, membership) = (consensus.id(), consensus.membership());
    let reads = |node: &NodeRow| node.info.replica == own && node.info.role == NodeRole::Reader;
    membership.voters.contains(&own) || (membership.learners.contains(&own) && nodes.iter().any(reads))
}

/// Has a transaction of the genesis executed, and `rest` after it, each once the one before is committed: they are large.
fn write_genesis(
    command: SystemCommand,
    mut rest: VecDeque<SystemCommand>,
    executor: Sender<ExecutorEvent>,
    own: Sender<ReplicaEvent>,
) {
    let queue = executor.clone();
    let reply = Box::new(move |answers: Vec<Submitted>| {
        tracing::info!(?answers, left = rest.len(), "genesis");
        if let Some(Submitted::Rejected(rejection)) = answers.into_iter().next() {
            let _ = own.send(ReplicaEvent::GenesisRefused(rejection.message));
        } else if let Some(next) = rest.pop_front() {
            write_genesis(next, rest, executor, own);
        }
    });
    let _ = queue.send(ExecutorEvent::System { command, reply });
}

/// Keeps [`Known`] on disk as the committed rows change.
pub struct Memory {
    disk: Arc<dyn Disk>,
    sealing: SymmetricKey,
    kept: Known,
}

impl Memory {
    pub fn new(disk: Arc<dyn Disk>, sealing: SymmetricKey, kept: Known) -> Self {
        Self { disk, sealing, kept }
    }

    fn keep_epochs(&self, epochs: &EntryKeys) -> Result<(), IdentityError> {
        identity::store_epochs(epochs, self.disk.as_ref(), &self.sealing, &SystemCrypto)
    }

    fn keep(&mut self, known: Known) {
        if known.nodes.is_empty() || !known.replaces(&self.kept) {
            return;
        }
        match known.store(self.disk.as_ref(), &self.sealing, &SystemCrypto) {
            Ok(()) => self.kept = known,
            Err(error) => tracing::warn!(%error, "cannot keep what is known of the other nodes"),
        }
    }
}

/// Events handled before effects are acted on: bounds how long a message waits for its batch-mates.
const EVENTS_A_TURN: usize = 256;
/// For so long a removed replica still answers: several elections of those that stay.
const LEAVING: Duration = Duration::from_millis(10 * limits::ELECTION_TIMEOUT_MS);
/// Answers leave, and what is under way is committed, before a node ends with its network.
const STOP_DELAY: Duration = Duration::from_millis(300);
/// Ticks between two attempts of a resumed network's first candidate.
const HURRY_TICKS: u32 = 4;
/// How long the primary may take to say how far a read must have come.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

impl ReplicaThread {
    pub fn run(mut self) -> Ended {
        let mut reads = Reads::default();
        let ended = self.serve(&mut reads).unwrap_or_else(|fault| Ended::Failed(fault.to_string()));
        std::iter::from_fn(|| self.events.next()).for_each(ReplicaEvent::refuse);
        ended
    }

    fn serve(&mut self, reads: &mut Reads) -> Result<Ended, Fault> {
        let tick = Duration::from_millis(limits::TICK_MS);
        let mut next_tick = Instant::now() + tick;
        let mut ticks = 0;
        let mut stopping_until: Option<Instant> = None;
        let mut recovered_at: Option<Instant> = None;
        let mut outside = Outside::default();
        loop {
            match self.events.wait(next_tick.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    if let Some(ended) = self.handle(event, reads, &mut stopping_until)? {
                        return Ok(ended);
                    }
                    for _ in 1..EVENTS_A_TURN {
                        let Some(event) = self.events.next() else { break };
                        if let Some(ended) = self.handle(event, reads, &mut stopping_until)? {
                            return Ok(ended);
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Stopped),
            }
            // A process that was suspended does not make up for lost ticks: that would start needless elections.
            let now = Instant::now();
            let ticked = now >= next_tick;
            if ticked {
                self.tick_delay.observe_duration(now - next_tick);
                self.hurry(&mut ticks)?;
                self.replica.tick()?;
                reads.expire(Instant::now());
                next_tick = (next_tick + tick).max(Instant::now());
            }
            self.act(reads);
            if ticked || self.role_has_changed() {
                self.publish_standing()?;
            }
            let opened = ticked && self.shared.ledger.is_public_only() && self.stop_at.is_none() && self.is_open();
            if opened && *recovered_at.get_or_insert(Instant::now() + STOP_DELAY) <= Instant::now() {
                return Ok(Ended::Recovered(self.replica.consensus().written()));
            }
            if self.leaving_until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Ended::Removed);
            }
            if ticked && outside.look(&self.shared, self.replica.consensus(), Instant::now()) {
                tracing::info!("the others say that the network has removed this node");
                return Ok(Ended::Removed);
            }
            if self.stop_at.is_some_and(|at| Instant::now() >= at) {
                return Ok(Ended::Stopped);
            }
            if ticked && stopping_until.is_none() && self.must_make_way() {
                return Ok(Ended::MadeWay(self.replica.consensus().written()));
            }
            if stopping_until
                .is_some_and(|until| self.replica.consensus().role() != Role::Primary || Instant::now() >= until)
            {
                return Ok(Ended::Stopped);
            }
        }
    }

    fn must_make_way(&mut self) -> bool {
        let now_ms = self.runs_for_ms();
        self.askers.must_make_way(self.replica.consensus(), now_ms)
    }

    fn runs_for_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The service that this node signs for is open; the one that it recovers may have been before.
    fn is_open(&self) -> bool {
        let service = ServiceInfo::read(&mut self.shared.visible.state()).ok().flatten();
        let open = service.filter(|service| service.status == ServiceStatus::Open);
        let certificate = open.and_then(|service| Certificate::from_pem(&service.cert).ok());
        certificate.is_some_and(|certificate| certificate.public_key() == self.vault.service_key.public_key())
    }

    fn handle(
        &mut self,
        event: ReplicaEvent,
        reads: &mut Reads,
        stopping_until: &mut Option<Instant>,
    ) -> Result<Option<Ended>, Fault> {
        match event {
            ReplicaEvent::Message { from, message } => {
                if let Err(refused) = self.replica.message(from, &message)? {
                    tracing::warn!(%from, %refused, "refused a consensus message");
                }
            }
            ReplicaEvent::Persisted { number } => self.replica.persisted(number)?,
            ReplicaEvent::DiskFailed(error) => {
                return Ok(Some(Ended::Failed(format!("the disk failed a sync, nothing can be promised: {error}"))));
            }
            ReplicaEvent::Executed(batch) => self.replica.executed(batch)?,
            ReplicaEvent::ExecutorStopped => self.replica.executor_stopped()?,
            ReplicaEvent::FrontReached(seqno) => {
                self.replica.front_reached(seqno)?;
                reads.reached(seqno);
            }
            ReplicaEvent::Alarmed(alarm) => self.replica.alarmed(alarm)?,
            ReplicaEvent::FrontFailed(error) => {
                return Ok(Some(Ended::Failed(format!("this node and its primary disagree: {error}"))));
            }
            ReplicaEvent::SnapshotTaken(taken) => {
                tracing::info!(txid = %taken.kept.head.place.txid, bytes = taken.kept.bytes, "took a snapshot");
                self.replica.snapshot_taken(&taken)?;
            }
            ReplicaEvent::SnapshotReceived(head) => {
                if self.replica.lacks(&head) {
                    return Ok(Some(Ended::Received(self.replica.consensus().written())));
                }
            }
            ReplicaEvent::SnapshotRefused => {
                tracing::warn!("comes back as a fresh replica, which is given every ledger secret");
                return Ok(Some(Ended::MustReturn));
            }
            ReplicaEvent::SnapshotFailed(error) => {
                tracing::error!(%error, "a snapshot failed: the next one is due as usual");
                self.replica.snapshot_failed();
            }
            ReplicaEvent::GenesisRefused(error) => return Ok(Some(Ended::Failed(format!("genesis: {error}")))),
            ReplicaEvent::Linearizable { reply } => self.linearizable(reads, reply)?,
            ReplicaEvent::ReadUpTo { seqno, reply } => {
                reads.wait(Instant::now(), seqno, self.shared.visible.txid().seqno, reply);
            }
            ReplicaEvent::StopNetwork => {
                tracing::info!("a member ends the network");
                self.stop_at.get_or_insert(Instant::now() + STOP_DELAY);
            }
            ReplicaEvent::AskedByReturning(from) => self.askers.asked_by(from, self.runs_for_ms()),
            ReplicaEvent::Stop => {
                self.replica.hand_over()?;
                let patience = Duration::from_millis(limits::ELECTION_TIMEOUT_MS);
                *stopping_until = Some(Instant::now() + patience);
            }
        }
        Ok(None)
    }

    /// All that resumed have the same log: one of them need not wait for silence to stand for election.
    fn hurry(&mut self, ticks: &mut u32) -> Result<(), Fault> {
        *ticks = ticks.saturating_add(1);
        let patience = limits::ELECTION_TIMEOUT_MS / limits::TICK_MS;
        let first = self.shared.resumed.as_ref().is_some_and(|plan| plan.coordinator == self.replica.id());
        let quiet = self.replica.consensus().primary().is_none();
        if first && quiet && u64::from(*ticks) <= patience && *ticks % HURRY_TICKS == 1 {
            self.replica.campaign()?;
        }
        Ok(())
    }

    /// The ledger says that its network resumed.
    fn record_resume(&self) {
        let Some(plan) = &self.shared.resumed else { return };
        let reply = Box::new(|answers: Vec<Submitted>| tracing::info!(?answers, "recorded the resume"));
        let _ = self.executor.send(ExecutorEvent::System { command: comeback::record(plan), reply });
    }

    /// A primary asks its quorum; a backup asks the primary how far it must have come.
    fn linearizable(&mut self, reads: &mut Reads, reply: ReadReply) -> Result<(), Fault> {
        let primary = self.replica.consensus().primary();
        if primary == Some(self.replica.id()) {
            return match reads.ask(Instant::now(), reply) {
                Some(token) => self.replica.read(token),
                None => Ok(()),
            };
        }
        let Some(primary) = primary else {
            reply(false);
            return Ok(());
        };
        let events = self.shared.replica.clone();
        let answer = move |body: Result<bytes::Bytes, NoAnswer>| {
            let seqno = body.ok().and_then(|body| body.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes)));
            match seqno {
                Some(seqno) => ask_replica(&events, ReplicaEvent::ReadUpTo { seqno: Seqno(seqno), reply }),
                None => reply(false),
            }
        };
        self.shared.peers.request(primary, wire::kind::READ_INDEX, bytes::Bytes::new(), ASK_TIMEOUT, Box::new(answer));
        Ok(())
    }

    fn act(&mut self, reads: &mut Reads) {
        for effect in self.replica.take_effects() {
            match effect {
                Effect::Send { to, message } => self.shared.peers.send(to, message),
                Effect::Persist(persist) => drop(self.disk.send(persist)),
                Effect::Lead { view } => {
                    tracing::info!(%view, "leading");
                    let _ = self.executor.send(ExecutorEvent::Lead { view });
                    if self.genesis.is_empty() {
                        self.record_resume();
                    }
                    let mut genesis = std::mem::take(&mut self.genesis).into_iter().peekable();
                    while let Some(command) = genesis.next() {
                        let is_last = genesis.peek().is_none();
                        let parts = if is_last { std::mem::take(&mut self.genesis_parts) } else { VecDeque::new() };
                        write_genesis(command, parts, self.executor.clone(), self.own.clone());
                    }
                }
                Effect::EpochBegan => {
                    let epochs = self.shared.ledger.kept_keys(self.replica.committed().seqno);
                    if let Err(error) = self.memory.keep_epochs(&epochs) {
                        let _ = self.own.send(ReplicaEvent::DiskFailed(error.to_string()));
                    }
                }
                Effect::StopExecutor => drop(self.executor.send(ExecutorEvent::Stop)),
                Effect::Snapshot(job) => drop(self.archive.send(ArchiveEvent::Take(job))),
                Effect::SnapshotOffered(offered) => drop(self.archive.send(ArchiveEvent::Offered(offered))),
                Effect::Deliver(delivery) => drop(self.front.send(delivery)),
                Effect::Read(ReadOutcome::Confirmed { token, .. }) => {
                    let committed = self.replica.committed().seqno;
                    reads.confirmed(token, committed, self.shared.visible.txid().seqno);
                }
                Effect::Read(ReadOutcome::Lost { token }) => reads.lost(token),
                Effect::Alarm(Alarm { primary, txid, why, .. }) => {
                    self.alarms.add(1);
                    tracing::error!(%primary, %txid, why, "the primary is not to be trusted: its view is not acknowledged here");
                }
                Effect::RecordAlarm(alarm) => self.record_alarm(&alarm),
                Effect::Gone(node) => self.retire(node),
                Effect::NeedsSnapshot(replicas) => {
                    tracing::warn!(
                        ?replicas,
                        "replicas lag behind the start of this log, and there is no snapshot for them yet"
                    );
                }
                Effect::Removed => self.leave(),
            }
        }
    }

    /// The voters that stay may not have heard yet that it is out, and may need its vote to hear it.
    fn leave(&mut self) {
        if self.leaving_until.is_none() {
            tracing::info!("the network removed this node: it stops soon");
            self.leaving_until = Some(Instant::now() + LEAVING);
        }
    }

    fn retire(&self, node: coco_types::NodeId) {
        let vault = self.vault.clone();
        let command: SystemCommand = Box::new(move |tx, context| {
            let refused = |error: coco_governance::Error| {
                coco_protocol::Rejection::new(coco_protocol::RejectionReason::Invalid, 0, error.to_string())
            };
            coco_governance::retire(tx, node).map_err(refused)?;
            let replaced = coco_governance::mark_gone(tx, node).map_err(refused)?;
            // A node that was swapped is the same machine under another key; one that was removed must not read what comes.
            if !replaced && !secrets::rekey_or_owe(tx, &vault, context.txid, context.now_ms).map_err(refused)? {
                tracing::error!(
                    %node,
                    "A NEW LEDGER SECRET IS OWED: a node that was removed can open what is written until enough members hold shares"
                );
            }
            rotation::carry_out_due(tx, &vault, context.txid, context.now_ms).map_err(refused)?;
            Ok(coco_protocol::Outcome::default())
        });
        let reply = Box::new(move |answers: Vec<Submitted>| tracing::info!(%node, ?answers, "retired"));
        let _ = self.executor.send(ExecutorEvent::First { command, reply });
    }

    fn record_alarm(&self, alarm: &Alarm) {
        let reply = Box::new(|answers: Vec<Submitted>| tracing::info!(?answers, "recorded the alarm"));
        let command = signatures::record(alarm, self.replica.id());
        let _ = self.executor.send(ExecutorEvent::System { command, reply });
    }

    fn role_has_changed(&self) -> bool {
        let consensus = self.replica.consensus();
        let told = self.shared.standing.read();
        told.is_primary != self.replica.is_leading()
            || told.primary != consensus.primary()
            || told.view != consensus.view()
    }

    fn publish_standing(&mut self) -> Result<(), Fault> {
        let (at, mut state) = self.shared.visible.current();
        let nodes = NodeRow::all(&mut state)?;
        self.memory.keep(Known::of(Network::read(&mut state)?.as_ref(), &nodes, at));
        self.credentials.follow(&self.shared, &nodes, self.replica.committed().seqno);
        let consensus = self.replica.consensus();
        let index_of: BTreeMap<_, _> = nodes.iter().map(|node| (node.info.replica, node.info.index)).collect();
        let mut peers = self.first_peers.clone();
        let trusted = nodes.iter().filter(|node| node.info.status == NodeStatus::Trusted);
        peers.extend(trusted.map(|node| (node.info.replica, node.info.addresses.peers)));
        let recorded = |id: &ReplicaId, address: &SocketAddr| peers.get(id) == Some(address);
        self.moved.retain(|id, address| !recorded(id, address));
        peers.extend(&self.moved);
        self.shared.peers.connect(&peers);
        let standing = Standing {
            view: consensus.view(),
            primary: consensus.primary(),
            is_primary: self.replica.is_leading(),
            voters: consensus.membership().voters.union(&consensus.membership().voters_outgoing).copied().collect(),
            in_place: in_place(consensus, &nodes),
            answering: consensus.progress().iter().filter(|peer| peer.recent_active).map(|peer| peer.id).collect(),
            index_of,
            places: entitlement::places(&nodes),
            caught_up: consensus.has_applied_of_this_view()
                && self.replica.committed() != TxId::default()
                && self.shared.visible.txid() == self.replica.committed(),
        };
        *self.shared.standing.write() = standing;
        Ok(())
    }
}
