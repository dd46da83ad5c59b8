//! A node's life, from its configuration file to its last sync.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use coco_attestation::EvidenceSource;
use coco_consensus::{Config, Persist, Written};
use coco_crypto::{Crypto, SystemCrypto};
use coco_disk::Disk;
use coco_governance::secrets::Vault;
use coco_governance::{ServiceInfo, tables};
use coco_ledger::{HistoryStore, MemoryHistory, ServiceKeys, SnapshotHead};
use coco_protocol::{Mount, Protocol, Service, StreamService};
use coco_rpc::admin::AdminService;
use coco_rpc::channel::{Channels, Hello, Trusted};
use coco_rpc::endpoints::{GovElsewhere, GovEndpoints, IdentityEndpoints, LedgerEndpoints, NodeEndpoints};
use coco_rpc::metrics::Metrics;
use coco_rpc::{Listener, ListenerLimits, Server, tls};
use coco_types::{ReplicaId, Seqno, limits};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::RwLock;

use crate::archive::{ArchiveEvent, SnapshotLimits};
use crate::comeback::{Askers, Plan};
use crate::config::{NodeConfig, Start};
use crate::disclosure::VotedGate;
use crate::events::{ExecutorEvent, ReplicaEvent};
use crate::executor::{BatchLimits, Executor, SystemCommand};
use crate::front::{Front, Visible};
use crate::governor::Governor;
use crate::handle::{Handle, Shared, Standing};
use crate::identity::Identity;
use crate::join;
use crate::ledger::OpenedLedger;
use crate::machines::{Machines, Parts};
use crate::recovering;
use crate::replica::Delivery;
use crate::shell::admission::Admission;
use crate::shell::admitting::Admitting;
use crate::shell::api::Api;
use crate::shell::archive_thread::ArchiveThread;
use crate::shell::attesting::Attesting;
use crate::shell::clock::Clock;
use crate::shell::comeback::{self, WayBack};
use crate::shell::credentials::Credentials;
use crate::shell::entrance::{self, Entrance};
use crate::shell::governance::{self, Governance, GovernorEvent};
use crate::shell::history_store::FolderHistory;
use crate::shell::hosting::{IfHosted, StreamUnlessRemoved};
use crate::shell::identities::Identities;
use crate::shell::ledger_disk::LedgerDisk;
use crate::shell::mailbox::Mailbox;
use crate::shell::metrics::{self, NodeMetrics};
use crate::shell::network::{Arrivals, Network};
use crate::shell::places::Places;
use crate::shell::renewal::Renewal;
use crate::shell::replica_thread::{Ended, Memory, ReplicaThread};
use crate::shell::sealing::Sealing;
use crate::shell::{
    FolderDisk, NodeError, SERVICE_CERTIFICATE_FILE, authentication, descriptors, dumps, outlook, reappraisal, threads,
};

/// Messages of other replicas that may wait for the replica; beyond it they are dropped, which consensus tolerates.
const REPLICA_QUEUE_MAX: usize = 8_192;
/// Groups of submissions and questions that may wait for the executor.
const EXECUTOR_QUEUE_MAX: usize = 8_192;
const REQUESTS_QUEUED_MAX: usize = 4_096;
/// Between two ticks of a service.
const SERVICE_TICK: Duration = Duration::from_millis(100);
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks whether the governor has ended.
const GOVERNOR_LOOK: Duration = Duration::from_millis(10);
const GOVERNOR: &str = "governor";

/// Runs a node on the platform that this machine offers, until `stop` says so or it must stop by itself.
pub fn run(config: NodeConfig, protocols: Vec<Arc<dyn Protocol>>, stop: &mpsc::Receiver<()>) -> Result<(), NodeError> {
    let platform = entrance::evidence_source(&config)?;
    run_on(platform, config, protocols, stop)
}

/// The same on a platform that the caller names. Its evidence is judged by the network like any other: naming one gives nothing away.
pub fn run_on(
    platform: Arc<dyn EvidenceSource>,
    config: NodeConfig,
    protocols: Vec<Arc<dyn Protocol>>,
    stop: &mpsc::Receiver<()>,
) -> Result<(), NodeError> {
    dumps::forbid();
    check_addresses(&config)?;
    let root: Arc<dyn Disk> = Arc::new(FolderDisk::open(&config.data)?);
    let clock = Clock::new();
    let clock: Arc<dyn Fn() -> u64 + Send + Sync> = Arc::new(move || clock.now_ms());
    // Its lock keeps a second process out of the whole folder.
    let history = FolderHistory::open(&config.data.join("history"));
    let history = Arc::new(history.map_err(|error| NodeError::History(error.to_string()))?);
    check_free(&config)?;
    let sealing = Sealing::open(&config, platform.as_ref(), root.as_ref(), &SystemCrypto)?;
    if sealing.is_of_this_life {
        history.clear().map_err(|error| NodeError::History(error.to_string()))?;
        Sealing::set_aside_earlier_life(&config.data, root.as_ref())?;
    }
    // What the log was when this process closed it: to be opened again as it is, or to come back with others.
    let (mut reopens, mut made_way) = (None, None);
    loop {
        let pause = |time| matches!(stop.recv_timeout(time), Err(mpsc::RecvTimeoutError::Timeout));
        let mut entrance =
            entrance::enter(&config, platform.as_ref(), root.as_ref(), &sealing.key, clock() / 1000, &pause)?;
        recover_secrets(&config, root.as_ref(), &mut entrance)?;
        let (mut resumed, mut left) = (None, Left::default());
        if let Some(before) = entrance.identity.swaps.filter(|_| !entrance.identity.begun) {
            comeback::finish_swap(&config, &entrance, before)?;
        }
        let goes_on = match reopens.take() {
            Some(written) => comeback::is_as_written(&config, &entrance, &written)?,
            None => false,
        };
        if asks_first(&entrance.identity) && !goes_on {
            let runtime = runtime()?;
            let written = made_way.take();
            let back =
                comeback::come_back(&config, platform.as_ref(), root.as_ref(), &mut entrance, written, &runtime, stop)?;
            runtime.shutdown_timeout(DRAIN_PATIENCE);
            left = Left { ledger: back.ledger, log: back.log, checked_behind: back.checked_behind };
            match back.way {
                WayBack::Stopped => return Ok(()),
                WayBack::Swapped(fresh) => entrance = *fresh,
                WayBack::GoesOn => {}
                WayBack::BeginsAnew(written) => {
                    made_way = written;
                    continue;
                }
                WayBack::Resumed(plan) => {
                    entrance.peers = comeback::peers_after(&entrance, &plan);
                    entrance::rename_if_moved(&config, &mut entrance, clock() / 1000)?;
                    resumed = Some(plan);
                }
            }
        }
        let place = Place {
            config: &config,
            platform: &platform,
            root: &root,
            history: &history,
            clock: &clock,
            protocols: &protocols,
        };
        let runtime = runtime()?;
        let running = Running::start(&place, entrance, left, resumed, &runtime)?;
        tracing::info!(node = config.index, replica = %running.shared.replica_id, "started");
        let ended = running.wait(stop, &runtime);
        runtime.shutdown_timeout(DRAIN_PATIENCE);
        match ended {
            Ended::Stopped => return Ok(()),
            Ended::Received(log) => {
                tracing::info!("beginning anew at the snapshot that was received");
                reopens = Some(log);
            }
            Ended::Recovered(log) => {
                tracing::info!("enough recovery shares are there: reading the private state back");
                reopens = Some(log);
            }
            Ended::Removed => return Err(NodeError::Removed),
            Ended::Failed(error) => return Err(NodeError::Failed(error)),
            Ended::MustReturn => {}
            Ended::MadeWay(log) => {
                tracing::warn!("no majority answers, and others come back: this node comes back with them");
                made_way = Some(log);
            }
        }
    }
}

/// What says that a replica never began may be old, too. That of a swap keeps its id, and may have voted since; others that never began have made new keys.
fn asks_first(identity: &Identity) -> bool {
    identity.begun || identity.swaps.is_some()
}

/// A node that cannot listen ends before the network hears of it: admitted, it would be waited for.
fn check_free(config: &NodeConfig) -> Result<(), coco_rpc::Error> {
    let listen = &config.listen;
    let ledgers = listen.ledgers.values();
    for address in [listen.peers, listen.api, listen.admin].iter().chain(ledgers).copied() {
        TcpListener::bind(address).map_err(|source| coco_rpc::Error::Listen { address, source })?;
    }
    Ok(())
}

/// Of one life: with it every socket goes, and the next life listens at the same addresses.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// What a node runs on, however often it comes back.
struct Place<'a> {
    config: &'a NodeConfig,
    platform: &'a Arc<dyn EvidenceSource>,
    root: &'a Arc<dyn Disk>,
    history: &'a Arc<FolderHistory>,
    clock: &'a Arc<dyn Fn() -> u64 + Send + Sync>,
    protocols: &'a [Arc<dyn Protocol>],
}

/// What a node that comes back knows of its folder.
#[derive(Default)]
struct Left {
    ledger: Option<OpenedLedger>,
    /// Where the log stood when it was closed.
    log: Option<Written>,
    checked_behind: Option<SnapshotHead>,
}

/// The threads and listeners of a running node.
struct Running {
    shared: Arc<Shared>,
    orders: Orders,
    ended: Receiver<Ended>,
    threads: Vec<JoinHandle<()>>,
    listeners: Vec<Listener>,
    network: Arc<Network>,
}

impl Running {
    fn start(
        place: &Place<'_>,
        mut entrance: Entrance,
        left: Left,
        resumed: Option<Plan>,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Self, NodeError> {
        let Place { config, platform, clock, .. } = *place;
        let recovers = !entrance.identity.service.epochs.is_whole();
        let protocols = if recovers { &[] } else { place.protocols };
        let log_disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(&config.data.join("consensus"))?);
        let (unchecked, written) = (left.checked_behind.clone(), left.log.clone());
        let mut machines = open_machines(place, &entrance, left, &log_disk, protocols)?;
        if written.is_some_and(|written| machines.replica.consensus().written() != written) {
            return Err(NodeError::LogExchanged { folder: config.data.join("consensus") });
        }
        if matches!(config.start, Start::Recover { .. }) && !recovers && machines.archive.kept().is_empty() {
            // The log begins behind the recovered ledger.
            machines.replica.snapshot_soon();
        }
        // Nothing has left this node yet; from here on, its log is what it has said.
        (entrance.identity.begun, entrance.identity.swaps) = (true, None);
        entrance.keep(place.root.as_ref())?;
        // Not before: a founder that never began makes another one.
        let certificate = entrance.identity.service.certificate.to_pem();
        place.root.replace(SERVICE_CERTIFICATE_FILE, certificate.as_bytes())?;
        found_again(config, platform.as_ref(), &mut entrance, &machines)?;
        let (to_executor, executor_events) = Mailbox::new(EXECUTOR_QUEUE_MAX);
        let (to_replica, replica_events) = Mailbox::new(REPLICA_QUEUE_MAX);
        let identity = &entrance.identity;
        let network = Arc::new(Network::default());
        let shared = Arc::new(Shared {
            replica_id: identity.replica,
            index: config.index,
            visible: machines.visible.clone(),
            history: machines.history.clone(),
            ledger: machines.ledger.clone(),
            gate: Arc::new(VotedGate { visible: machines.visible.clone() }),
            standing: RwLock::new(Standing::default()),
            executor: to_executor.requests,
            replica: to_replica.requests,
            peers: network.clone(),
            resumed,
            clock: clock.clone(),
        });
        let metrics = Metrics::new();
        let node_metrics = Arc::new(NodeMetrics::register(&metrics, clock.clone()));
        metrics::register_asked(&metrics, &shared, &machines.store);
        outlook::register(&metrics, &shared, &node_metrics.primary_clock, &config.data);
        let vault = entrance.identity.vault();
        let mut genesis = genesis_commands(&entrance, protocols, &vault);
        let founded = entrance.founding.as_ref();
        let genesis_parts = founded.map(|(genesis, _)| crate::genesis::parts(genesis, protocols)).unwrap_or_default();
        if let Some((first, secret)) = recovering::beginning(&machines.ledger, &entrance.identity.service) {
            let recovery = entrance::recovery(config, platform.as_ref(), &entrance.identity, &machines)?;
            machines.replica.begin_service();
            genesis.push(recovering::command(recovery, vault.clone(), first, secret));
        }
        let (syncs_to, syncs) = unbounded();
        let (deliveries_to, deliveries) = unbounded();
        let (archive_to, archive_events) = unbounded();
        let admission = Arc::new(Admission::new(shared.clone(), entrance.identity.service.copy(), vault.clone()));
        let tls_identity = tls::Identity::new(&identity.chain(), &identity.node_key)?;
        let (to_governor, governor_events) = Mailbox::new(governance::QUEUE_MAX);
        let governance = Arc::new(Governance {
            shared: shared.clone(),
            governor: to_governor.requests,
            running: Default::default(),
            places: Places::new(limits::GOVERNANCE_REQUESTS_OF_ONE_MAX),
        });
        let governor = Governor {
            store: machines.store.clone(),
            ledger: machines.ledger.clone(),
            visible: machines.visible.clone(),
            crypto: Arc::new(SystemCrypto),
            clock: clock.clone(),
            vault: vault.clone(),
            protocols: protocols.to_vec(),
        };
        let judges = admission.clone();
        let arrivals = Arrivals {
            files: machines.archive.files(),
            shared: shared.clone(),
            protocols: protocols.to_vec(),
            admitting: Admitting::start(move |kind, body, reply| judges.forwarded(kind, &body, reply))?,
            governance: governance.clone(),
            entitlement: Default::default(),
        };
        network.open(Channels::start(
            runtime.handle(),
            config.listen.peers,
            tls_identity.clone(),
            Trusted::only(identity.service.certificate.clone()),
            Hello { replica: identity.replica, node: config.index },
            Arc::new(arrivals),
        )?);
        let first_peers = entrance.peers.iter().map(|(id, addresses)| (*id, addresses.peers)).collect();
        let replica_thread = ReplicaThread {
            replica: machines.replica,
            shared: shared.clone(),
            events: replica_events,
            executor: to_executor.orders.clone(),
            own: to_replica.orders.clone(),
            disk: syncs_to,
            front: deliveries_to,
            archive: archive_to.clone(),
            alarms: node_metrics.alarms.clone(),
            tick_delay: node_metrics.tick_delay.clone(),
            genesis,
            genesis_parts,
            first_peers,
            moved: moved(&shared),
            memory: Memory::new(place.root.clone(), entrance.sealing.clone(), entrance.known.clone()),
            credentials: Credentials {
                identity: entrance.identity.copy(),
                vault: vault.clone(),
                index: config.index,
                addresses: entrance::addresses(config),
                tls: tls_identity.clone(),
                network: network.clone(),
                root: place.root.clone(),
                sealing: entrance.sealing.clone(),
                followed: followed(&entrance.identity, &shared.visible),
            },
            vault,
            askers: Askers::new(config.timing.election_timeout_ms),
            began: Instant::now(),
            stop_at: None,
            leaving_until: None,
        };
        let (running, until) = bounded(0);
        let orders = Orders {
            executor: to_executor.orders,
            replica: to_replica.orders,
            governor: to_governor.orders,
            archive: archive_to.clone(),
            running,
        };
        let archive = ArchiveThread {
            archive: machines.archive,
            shared: shared.clone(),
            events: archive_events,
            own: archive_to,
            replica: orders.replica.clone(),
        };
        let renewal = Renewal {
            shared: shared.clone(),
            admission: admission.clone(),
            source: platform.clone(),
            node_key: identity.node_key.public_key().clone(),
            exchange_key: identity.exchange.public().to_vec(),
            place: join::Place { index: config.index, addresses: entrance::addresses(config), role: config.role },
            config: entrance::config_digest(config),
            tried_ms: 0,
        };
        let others = Others {
            executor: machines.executor,
            executor_events,
            governor,
            governor_events,
            front: machines.front,
            deliveries,
            archive,
            syncs,
            log_disk,
            metrics: node_metrics,
            protocols: protocols.to_vec(),
            renewal,
            until,
            unchecked: unchecked.map(|anchor| (anchor, entrance.identity.service.keys())),
        };
        let (threads, ended) = start_threads(replica_thread, others, &shared, &orders)?;
        let serving = Serving {
            config,
            identity,
            tls_identity,
            protocols,
            shared: &shared,
            admission,
            governance,
            evidence: platform.clone(),
            metrics,
            runtime,
        };
        let listeners = serve(serving)?;
        Ok(Self { shared, orders, ended, threads, listeners, network })
    }

    fn wait(self, stop: &mpsc::Receiver<()>, runtime: &tokio::runtime::Runtime) -> Ended {
        let ended = loop {
            match self.ended.recv_timeout(Duration::from_millis(100)) {
                Ok(ended) => break ended,
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break Ended::Stopped,
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
            }
            if !matches!(stop.try_recv(), Err(mpsc::TryRecvError::Empty)) {
                tracing::info!("stopping");
                let _ = self.orders.replica.send(ReplicaEvent::Stop);
                break self.ended.recv().unwrap_or(Ended::Stopped);
            }
        };
        // Whichever machine ended, the others follow.
        let _ = self.orders.replica.send(ReplicaEvent::Stop);
        let _ = self.orders.executor.send(ExecutorEvent::Shutdown);
        let _ = self.orders.archive.send(ArchiveEvent::Stop);
        let _ = self.orders.governor.send(GovernorEvent::Shutdown);
        drop(self.orders.running);
        for listener in self.listeners {
            runtime.block_on(listener.shut_down(DRAIN_PATIENCE));
        }
        drop(self.network);
        self.shared.history.stop();
        for thread in self.threads {
            if thread.thread().name() == Some(GOVERNOR) && is_last_life(&ended) && !ends_soon(&thread) {
                tracing::warn!("a script of governance has not ended: the node stops without it");
                continue;
            }
            thread.join().expect("what panics in a thread of the node is caught there");
        }
        ended
    }
}

/// The process ends with it: a script that never does cannot hold it up. It holds nothing that is not written by the executor, and that is gone.
fn is_last_life(ended: &Ended) -> bool {
    matches!(ended, Ended::Stopped | Ended::Removed | Ended::Failed(_))
}

fn ends_soon(thread: &JoinHandle<()>) -> bool {
    let until = Instant::now() + DRAIN_PATIENCE;
    while !thread.is_finished() && Instant::now() < until {
        thread::sleep(GOVERNOR_LOOK);
    }
    thread.is_finished()
}

/// Which certificates this node begins with: those of the ledger, unless the service was given another one while the node was away.
fn followed(identity: &Identity, visible: &Visible) -> (String, Option<String>) {
    let mut state = visible.state();
    let own = state.get(&tables::NODE_CERTS, identity.node_key.public_key().node_id().to_string().as_bytes());
    let service = ServiceInfo::read(&mut state).ok().flatten().map(|service| service.cert).unwrap_or_default();
    if service.trim() == identity.service.certificate.to_pem().trim() {
        return (service, own.map(|pem| String::from_utf8_lossy(&pem).into_owned()));
    }
    (String::new(), None)
}

fn moved(shared: &Shared) -> BTreeMap<ReplicaId, SocketAddr> {
    let participants = shared.resumed.iter().flat_map(|plan| &plan.participants);
    participants.map(|one| (one.replica, one.addresses.peers)).collect()
}

/// Looks whether the members' shares have opened the secrets of before a recovery.
fn recover_secrets(config: &NodeConfig, root: &dyn Disk, entrance: &mut Entrance) -> Result<(), NodeError> {
    if entrance.identity.service.epochs.is_whole() {
        return Ok(());
    }
    let ledger = LedgerDisk::open(config)?;
    if let Some(epochs) = recovering::secrets_of_before(&ledger, &entrance.identity)? {
        entrance.identity.service.epochs = epochs;
        entrance.keep(root)?;
    }
    Ok(())
}

fn open_machines(
    place: &Place<'_>,
    entrance: &Entrance,
    left: Left,
    log_disk: &Arc<dyn Disk>,
    protocols: &[Arc<dyn Protocol>],
) -> Result<Machines, NodeError> {
    let Place { config, clock, history, .. } = *place;
    let recovers = !entrance.identity.service.epochs.is_whole();
    // What is kept now lacks everything private.
    let history: Arc<dyn HistoryStore> = if recovers { Arc::new(MemoryHistory::new()) } else { history.clone() };
    let mut snapshots = SnapshotLimits { ledger_bytes: config.snapshot_bytes, ..SnapshotLimits::default() };
    if recovers {
        (snapshots.ledger_bytes, snapshots.transactions) = (u64::MAX, u64::MAX);
    }
    let mut consensus = Config::new(entrance.identity.replica);
    let ticks = |ms: u64| usize::try_from(ms / limits::TICK_MS).unwrap_or(usize::MAX).max(1);
    consensus.election_ticks = ticks(config.timing.election_timeout_ms);
    consensus.heartbeat_ticks = ticks(config.timing.heartbeat_ms);
    let batches = BatchLimits { interval_ms: config.timing.batch_interval_ms, ..BatchLimits::default() };
    let crypto: Arc<dyn Crypto> = Arc::new(SystemCrypto);
    let machines = Machines::open(Parts {
        identity: &entrance.identity,
        ledger_disk: LedgerDisk::open(config)?,
        opened: left.ledger,
        checked_behind: left.checked_behind,
        log_disk: log_disk.clone(),
        snapshot_disk: Arc::new(FolderDisk::open(&config.data.join("snapshots"))?),
        history,
        history_secret: &entrance.history_secret,
        protocols: protocols.to_vec(),
        crypto,
        clock: clock.clone(),
        consensus,
        batches,
        snapshots,
        chunk_bytes: entrance.founding.as_ref().map_or(limits::CHUNK_BYTES, |(genesis, _)| genesis.chunk_bytes),
        founders: vec![entrance::FOUNDER],
    })?;
    Ok(machines)
}

/// A founder that began and stopped before its first transaction founds its network now; it must not lead one without facts.
fn found_again(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    entrance: &mut Entrance,
    machines: &Machines,
) -> Result<(), NodeError> {
    let begun = machines.ledger.last_seqno() > Seqno::ZERO;
    if begun || entrance.founding.is_some() || entrance.identity.replica != entrance::FOUNDER {
        return Ok(());
    }
    let Start::New { genesis } = &config.start else {
        return Err(NodeError::Genesis(
            "this node founded a network that has no transactions yet: start it anew".into(),
        ));
    };
    let (genesis, founding) =
        entrance::founding(config, platform, entrance::read_genesis(genesis)?, &entrance.identity)?;
    machines.ledger.set_chunk_bytes(genesis.chunk_bytes);
    tracing::warn!("this node has its identity and no transactions: it founds its network now");
    entrance.founding = Some((genesis, founding));
    Ok(())
}

fn genesis_commands(entrance: &Entrance, protocols: &[Arc<dyn Protocol>], vault: &Vault) -> Vec<SystemCommand> {
    let Some((genesis, founding)) = &entrance.founding else { return Vec::new() };
    let (_, secret) = entrance.identity.service.epochs.epochs().next().expect("a founder has the first ledger secret");
    crate::genesis::commands(genesis.clone(), founding.clone(), protocols.to_vec(), vault.clone(), secret.clone())
}

/// What the threads besides the replica's work with.
struct Others {
    executor: Executor,
    executor_events: Mailbox<ExecutorEvent>,
    governor: Governor,
    governor_events: Mailbox<GovernorEvent>,
    front: Front,
    deliveries: Receiver<Delivery>,
    archive: ArchiveThread,
    syncs: Receiver<Persist>,
    log_disk: Arc<dyn Disk>,
    metrics: Arc<NodeMetrics>,
    protocols: Vec<Arc<dyn Protocol>>,
    renewal: Renewal,
    /// Closed when the node stops.
    until: Receiver<()>,
    /// The ledger before this snapshot is still to be checked.
    unchecked: Option<(SnapshotHead, ServiceKeys)>,
}

/// The machines' ways to order each other about.
struct Orders {
    archive: Sender<ArchiveEvent>,
    executor: Sender<ExecutorEvent>,
    replica: Sender<ReplicaEvent>,
    governor: Sender<GovernorEvent>,
    /// Held while the node runs: whoever only waits for its end sees it closed.
    running: Sender<()>,
}

type Threads = (Vec<JoinHandle<()>>, Receiver<Ended>);

fn start_threads(
    replica: ReplicaThread,
    others: Others,
    shared: &Arc<Shared>,
    orders: &Orders,
) -> Result<Threads, NodeError> {
    let Others {
        mut executor,
        executor_events,
        governor,
        governor_events,
        front,
        deliveries,
        archive,
        syncs,
        log_disk,
        metrics,
        protocols,
        renewal,
        until,
        unchecked,
    } = others;
    let wakes = orders.executor.clone();
    // Nobody is left to be woken once the executor has ended.
    executor.set_wake(Arc::new(move || drop(wakes.send(ExecutorEvent::Wake))));
    let (ended_at, ended) = unbounded();
    let start = |name, body: Body| spawn(name, ended_at.clone(), body);
    let mut threads = Vec::new();
    threads.push(start("replica", Box::new(move || Some(replica.run())))?);
    let (to_replica, clock) = (orders.replica.clone(), shared.clock.clone());
    threads.push(start(
        "executor",
        Box::new(move || {
            threads::run_executor(executor, &executor_events, &to_replica, &*clock);
            None
        }),
    )?);
    let governed = shared.clone();
    threads.push(start(
        GOVERNOR,
        Box::new(move || {
            governance::run_governor(&governor, &governed, &governor_events);
            None
        }),
    )?);
    let (to_executor, to_replica) = (orders.executor.clone(), orders.replica.clone());
    let front_metrics = metrics.clone();
    threads.push(start(
        "front",
        Box::new(move || {
            threads::run_front(front, &deliveries, &to_executor, &to_replica, &front_metrics);
            None
        }),
    )?);
    let (to_replica, ledger) = (orders.replica.clone(), shared.ledger.clone());
    threads.push(start(
        "disk",
        Box::new(move || {
            threads::run_disk(&syncs, &log_disk, &ledger, &to_replica, &metrics);
            None
        }),
    )?);
    threads.push(start(
        "archive",
        Box::new(move || {
            archive.run();
            None
        }),
    )?);
    if let Some((anchor, service)) = unchecked {
        let (ledger, until) = (shared.ledger.clone(), until.clone());
        let check = move || threads::check_old_chunks(&ledger, &service, &anchor, &until);
        threads.push(start("check", Box::new(check))?);
    }
    let judged = shared.clone();
    threads.push(start(
        "reappraisal",
        Box::new(move || {
            reappraisal::run(&judged, renewal, &until);
            None
        }),
    )?);
    let history = shared.history.clone();
    threads.push(start("history", Box::new(move || history.run_writer(&protocols).err().map(history_failed)))?);
    Ok((threads, ended))
}

/// What would be kept from here on would grow in memory for ever, and what was being written is lost to readers.
fn history_failed(error: coco_protocol::HistoryError) -> Ended {
    Ended::Failed(format!("the history store cannot be written, nothing more can be kept: {error}"))
}

/// A thread's whole life, and why the node must end with it, if it must.
type Body = Box<dyn FnOnce() -> Option<Ended> + Send>;

/// A thread that panics ends the node: what it held may be anything, and the others would wait for it for ever.
fn spawn(name: &'static str, ended: Sender<Ended>, body: Body) -> Result<JoinHandle<()>, NodeError> {
    let watched = move || {
        let end = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Some(panicked(name, panic.as_ref())));
        if let Some(end) = end {
            drop(ended.send(end));
        }
    };
    Ok(thread::Builder::new().name(name.to_owned()).spawn(watched)?)
}

fn panicked(name: &str, panic: &(dyn Any + Send)) -> Ended {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Ended::Failed(format!("a broken invariant stopped the {name}: {text}"))
}

fn check_addresses(config: &NodeConfig) -> Result<(), NodeError> {
    let named = [config.listen.api.ip(), config.listen.peers.ip()];
    let good = config.listen.gov.is_none_or(|gov| gov.ip().is_unspecified() || named.contains(&gov.ip()));
    if good { Ok(()) } else { Err(NodeError::GovAddress) }
}

/// What the listeners serve with.
struct Serving<'a> {
    config: &'a NodeConfig,
    identity: &'a Identity,
    tls_identity: Arc<tls::Identity>,
    protocols: &'a [Arc<dyn Protocol>],
    shared: &'a Arc<Shared>,
    admission: Arc<Admission>,
    governance: Arc<Governance>,
    evidence: Arc<dyn EvidenceSource>,
    metrics: Arc<Metrics>,
    runtime: &'a tokio::runtime::Runtime,
}

/// Listeners of the hosted ledgers, the node API and the operator's pages.
fn serve(serving: Serving<'_>) -> Result<Vec<Listener>, NodeError> {
    let Serving {
        config,
        identity,
        tls_identity,
        protocols,
        shared,
        admission,
        governance,
        evidence,
        metrics,
        runtime,
    } = serving;
    let threads = thread::available_parallelism().map_or(2, usize::from).max(2);
    let server = Server::new(runtime.handle().clone(), threads, REQUESTS_QUEUED_MAX, metrics.clone());
    let api = Arc::new(Api {
        shared: shared.clone(),
        admission,
        node_id: identity.node_key.public_key().node_id(),
        kind: evidence.kind(),
        attesting: Attesting::start(evidence)?,
        runtime: runtime.handle().clone(),
    });
    let identities = Arc::new(Identities { shared: shared.clone(), protocols: protocols.to_vec() });
    let mut on_api: Vec<Arc<dyn Service>> = vec![NodeEndpoints::new(api.clone()), IdentityEndpoints::new(identities)];
    let gov = GovEndpoints::new(governance) as Arc<dyn Service>;
    runtime.spawn(pulse(Arc::downgrade(shared)));
    let mut listeners = Vec::new();
    let secured = tls::stream_config(tls_identity.clone())?;
    // Those of the ledgers, the API, governance and the admin pages.
    let connections_max = descriptors::connections_max(config.listen.ledgers.len() + 3);
    let limits = ListenerLimits { connections_max, ..ListenerLimits::default() };
    for (ledger, protocol) in protocols.iter().enumerate() {
        let handle = Arc::new(Handle { shared: shared.clone(), ledger, aside: server.aside() });
        let inner = protocol.clone().serve(handle);
        let service = Arc::new(IfHosted { ledger: protocol.name(), shared: shared.clone(), inner }) as Arc<dyn Service>;
        runtime.spawn(tick(Arc::downgrade(&service)));
        match service.mount() {
            Mount::Path(_) | Mount::Ledger(_) => on_api.push(service),
            Mount::Listener(name) => {
                on_api.push(LedgerEndpoints::new(name, service.clone()));
                let mut limits = limits.clone();
                limits.body_bytes_max = service.body_bytes_max().unwrap_or(limits.body_bytes_max);
                if let Some(address) = address_of(config, name) {
                    listeners.push(server.listen(name, address, service, limits)?);
                }
            }
        }
        let handle = Arc::new(Handle { shared: shared.clone(), ledger, aside: server.aside() });
        for inner in protocol.clone().serve_streams(handle) {
            let (ledger, shared) = (protocol.name(), shared.clone());
            let service = Arc::new(StreamUnlessRemoved { ledger, shared, inner }) as Arc<dyn StreamService>;
            // For as long as this life lasts, whether or not it is reached from outside.
            server.keep_time(service.clone());
            let name = service.listener();
            if let Some(address) = address_of(config, name) {
                let tls = service.is_secured().then(|| secured.clone());
                listeners.push(server.listen_stream(name, address, service, limits.clone(), tls)?);
            }
        }
    }
    let tls = tls::api_config(tls_identity)?;
    let authenticator = authentication::authenticator(shared);
    match config.listen.gov {
        None => on_api.push(gov),
        Some(address) => {
            on_api.push(Arc::new(GovElsewhere { port: address.port() }));
            let (tls, authenticator) = (tls.clone(), authenticator.clone());
            let on_gov = vec![gov, NodeEndpoints::new(api.clone())];
            listeners.push(server.listen_tls("gov", address, on_gov, limits.clone(), tls, authenticator)?);
        }
    }
    listeners.push(server.listen_tls("api", config.listen.api, on_api, limits.clone(), tls, authenticator)?);
    let admin = AdminService::new(metrics, api);
    listeners.push(server.listen("admin", config.listen.admin, admin, limits)?);
    Ok(listeners)
}

/// Where a ledger is served. An operator may choose to serve it on other nodes only.
fn address_of(config: &NodeConfig, listener: &str) -> Option<SocketAddr> {
    let address = config.listen.ledgers.get(listener).copied();
    if address.is_none() {
        tracing::info!(listener, "not served here: it has no address in [listen.ledgers]");
    }
    address
}

/// Shows those who follow governance that they are still told, as long as this life lasts.
async fn pulse(shared: Weak<Shared>) {
    let mut interval = tokio::time::interval(Duration::from_millis(limits::EVENT_STREAM_PULSE_MS));
    loop {
        interval.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.visible.bulletin().pulse();
    }
}

/// Tells a service that time passes, as long as it is there.
async fn tick(service: Weak<dyn Service>) {
    let mut interval = tokio::time::interval(SERVICE_TICK);
    loop {
        interval.tick().await;
        let Some(service) = service.upgrade() else { return };
        service.tick();
    }
}

#[cfg(test)]
mod tests {
    use coco_attestation::platforms::virtual_tee::VirtualTee;
    use coco_crypto::SeededCrypto;
    use coco_types::Digest;

    use super::*;
    use crate::known::{Known, KnownNode};

    #[test]
    fn a_panicking_thread_ends_the_node_and_says_which_and_why() {
        let (ended_at, ended) = unbounded();
        let thread = spawn("executor", ended_at, Box::new(|| panic!("block {} cannot be sealed", 7))).unwrap();
        let Ok(Ended::Failed(why)) = ended.recv() else { panic!("nobody was told") };
        assert_eq!(why, "a broken invariant stopped the executor: block 7 cannot be sealed");
        thread.join().unwrap();
    }

    #[test]
    fn governance_is_served_only_where_the_nodes_certificate_says_that_it_is() {
        let mut config = crate::fixture::config(std::path::Path::new("/nowhere"));
        for (gov, good) in [("127.0.0.1:7", true), ("0.0.0.0:7", true), ("127.0.0.2:7", false)] {
            config.listen.gov = Some(gov.parse().unwrap());
            assert_eq!(check_addresses(&config).is_ok(), good, "{gov}");
        }
    }

    #[test]
    fn a_node_that_ended_in_the_middle_of_its_swap_asks_before_it_acts() {
        let folder = tempfile::tempdir().unwrap();
        let config = crate::fixture::config(folder.path());
        let platform = VirtualTee::running(Digest([7; 32]));
        let root = FolderDisk::open(folder.path()).unwrap();
        let sealing = Sealing::open(&config, &platform, &root, &SystemCrypto).unwrap().key;
        let mut identity = crate::fixture::identity(&SeededCrypto::new(1));
        // What it shows is certified.
        identity.node_key = identity.service.copy().key;
        (identity.replica, identity.swaps) = (ReplicaId(4), Some(ReplicaId(1)));
        identity.store(&root, &sealing, &SystemCrypto).unwrap();
        let address = ([127, 0, 0, 1], 1).into();
        let addresses = coco_governance::Addresses { api: address, peers: address };
        let other = KnownNode { replica: ReplicaId(2), node: None, index: 1, addresses };
        let known = Known { nodes: vec![other], ..Known::default() };
        known.store(&root, &sealing, &SystemCrypto).unwrap();
        let (stops, stop) = mpsc::channel();
        stops.send(()).unwrap();
        run_on(Arc::new(platform), config, Vec::new(), &stop).unwrap();
        let kept = Identity::load(&root, &sealing).unwrap().unwrap();
        assert_eq!((kept.replica, kept.swaps, kept.begun), (ReplicaId(4), Some(ReplicaId(1)), false));
    }

    #[test]
    fn a_thread_that_did_its_work_ends_nothing() {
        let (ended_at, ended) = unbounded();
        spawn("disk", ended_at, Box::new(|| None)).unwrap().join().unwrap();
        assert!(ended.recv().is_err());
    }
}
