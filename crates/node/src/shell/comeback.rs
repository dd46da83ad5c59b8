//! A restarted node, until it runs again: it asks the others over the usual channels, and resumes or swaps.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coco_attestation::EvidenceSource;
use coco_consensus::{Resume, Written};
use coco_crypto::{Crypto, SystemCrypto};
use coco_disk::Disk;
use coco_governance::Addresses;
use coco_ledger::SnapshotHead;
use coco_rpc::channel::{Channels, Hello, Inbound, NoAnswer, Respond, Trusted};
use coco_rpc::tls;
use coco_types::{Digest, NodeId, ReplicaId, limits};
use parking_lot::Mutex;

use crate::comeback::{Origin, Plan, Returning, Snapshots, Way};
use crate::config::{NodeConfig, Start};
use crate::known::Known;
use crate::ledger::{NodeLedger, OpenedLedger};
use crate::machines::{self, OpenError};
use crate::reuse;
use crate::shell::entrance::{self, Entrance};
use crate::shell::ledger_disk::LedgerDisk;
use crate::shell::{FolderDisk, NodeError};
use crate::wire::kind;

/// How a restarted node goes on, and what it knows of its folder.
pub struct CameBack {
    pub way: WayBack,
    /// The ledger's files, which it has read through.
    pub ledger: Option<OpenedLedger>,
    /// Where the log stood on its disk in the end, if this replica goes on.
    pub log: Option<Written>,
    /// What lies before this snapshot is still to be checked.
    pub checked_behind: Option<SnapshotHead>,
}

/// How a restarted node goes on.
pub enum WayBack {
    /// As the replica that it was.
    Resumed(Plan),
    /// As a fresh one.
    Swapped(Box<Entrance>),
    /// As if nothing had been: it had made way, and nobody needs it.
    GoesOn,
    /// With the snapshot that it received its log is another; where that stands, if it may still go on as it was.
    BeginsAnew(Option<Written>),
    /// It was told to stop first.
    Stopped,
}

/// Between two looks at what has changed.
const LOOK: Duration = Duration::from_millis(10);
/// Until a question has its answer, or will have none.
const ASK_TIMEOUT: Duration = Duration::from_millis(limits::COMEBACK_FRESH_MS);
/// Between two lines that say what this node waits for.
const TELL: Duration = Duration::from_secs(5);
/// Folders that hold what a lost log leaves unusable.
const FOLDERS: [&str; 3] = ["ledger", "consensus", "snapshots"];

/// See the module's text.
pub fn come_back(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    root: &dyn Disk,
    entrance: &mut Entrance,
    written: Option<Written>,
    runtime: &tokio::runtime::Runtime,
    stop: &mpsc::Receiver<()>,
) -> Result<CameBack, NodeError> {
    let folder = Folder::open(config, entrance)?;
    entrance.known = folder.known(entrance)?;
    let own = entrance.identity.replica;
    // Whom it swapped may still stand there: nobody else listens where it does.
    entrance.known.nodes.retain(|node| node.replica == own || node.addresses.peers != config.listen.peers);
    let entrance = &*entrance;
    let others: Vec<ReplicaId> = entrance.known.nodes.iter().map(|node| node.replica).collect();
    if folder.log.is_none() && !others.iter().any(|id| *id != own) {
        return Err(NodeError::LogLost { folder: config.data.join("consensus") });
    }
    let here = folder.ledger.as_ref().filter(|_| folder.log.is_some());
    let here = here.map(|ledger| Snapshots {
        disk: folder.snapshots.clone(),
        ledger: ledger.clone(),
        service: entrance.identity.service.keys(),
        piece_bytes: limits::COMEBACK_PIECE_BYTES,
    });
    let origin = Origin {
        replica: own,
        addresses: entrance::addresses(config),
        log: folder.log,
        rolled_back: entrance.known.resume.and_then(|policy| policy.rolled_back()),
        others,
        written,
        snapshots: here,
    };
    let asking = Asking::start(config, entrance, Returning::new(origin, Box::new(nonce)), runtime)?;
    let Folder { ledger, snapshots, .. } = folder;
    let mut swap =
        Swap { config, platform, root, entrance, ledger, snapshots, checked: false, checked_behind: None, told: None };
    let mut way = until_clear(&asking, &mut swap, stop)?;
    let returning = asking.end();
    let unchanged = returning.as_ref().and_then(Returning::unchanged);
    let log = returning.and_then(Returning::into_log);
    let goes_on = matches!(way, WayBack::Resumed(_) | WayBack::GoesOn);
    let left = log.as_ref().filter(|_| goes_on).map(Resume::written);
    match &way {
        WayBack::Swapped(fresh) => {
            tracing::info!(from = %own, to = %fresh.identity.replica, "comes back as a fresh replica");
            swap.prepare(log)?;
        }
        WayBack::Resumed(_) | WayBack::GoesOn | WayBack::BeginsAnew(_) | WayBack::Stopped => drop(log),
    }
    let Swap { ledger, checked_behind, snapshots, .. } = swap;
    if let WayBack::BeginsAnew(written) = &mut way {
        drop(ledger);
        let log_disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(&config.data.join("consensus"))?);
        let disk = LedgerDisk::open(config)?;
        *written = machines::begin_anew(&snapshots, &disk, &log_disk, &entrance.identity, unchanged.as_ref())?;
        return Ok(CameBack { way, ledger: None, log: None, checked_behind: None });
    }
    Ok(CameBack { way, ledger: ledger.and_then(NodeLedger::into_files), log: left, checked_behind })
}

fn until_clear(asking: &Asking, swap: &mut Swap<'_>, stop: &mpsc::Receiver<()>) -> Result<WayBack, NodeError> {
    let mut tell_at = Instant::now() + LOOK * 20;
    loop {
        if !matches!(stop.try_recv(), Err(mpsc::TryRecvError::Empty)) {
            return Ok(WayBack::Stopped);
        }
        match asking.turn()? {
            None => {}
            Some(Way::Gone) => return Err(NodeError::Replaced),
            Some(Way::GoOn) => {
                tracing::info!("goes on as it was: nobody needs it to come back");
                return Ok(WayBack::GoesOn);
            }
            Some(Way::BeginAnew) => {
                tracing::info!("begins anew at another's snapshot: its own log cannot be continued from the best one");
                return Ok(WayBack::BeginsAnew(None));
            }
            Some(Way::Resume(plan)) => {
                tracing::info!(view = %plan.view, replicas = plan.participants.len(), adopted = %plan.best, "resumes");
                return Ok(WayBack::Resumed(plan));
            }
            Some(Way::Swap) => {
                if let Some(fresh) = swap.attempt(asking)? {
                    return Ok(WayBack::Swapped(Box::new(fresh)));
                }
            }
        }
        if Instant::now() >= tell_at {
            tracing::info!(state = asking.waits_for(), "coming back");
            tell_at = Instant::now() + TELL;
        }
        std::thread::sleep(LOOK);
    }
}

/// What is left of an earlier life.
struct Folder {
    ledger: Option<Arc<NodeLedger>>,
    log: Option<Resume>,
    snapshots: Arc<dyn Disk>,
}

impl Folder {
    fn open(config: &NodeConfig, entrance: &Entrance) -> Result<Self, NodeError> {
        let log_disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(&config.data.join("consensus"))?);
        let disk = LedgerDisk::open(config)?;
        let snapshots: Arc<dyn Disk> = Arc::new(FolderDisk::open(&config.data.join("snapshots"))?);
        if log_disk.exists(coco_consensus::LOG_FILE)? {
            machines::install_received(&snapshots, &disk, &log_disk, &entrance.identity)?;
        }
        Self::as_it_is(disk, log_disk, snapshots, entrance)
    }

    fn as_it_is(
        disk: Arc<dyn Disk>,
        log_disk: Arc<dyn Disk>,
        snapshots: Arc<dyn Disk>,
        entrance: &Entrance,
    ) -> Result<Self, NodeError> {
        let Some(durable) = coco_consensus::durable_seqno(log_disk.as_ref()).map_err(OpenError::from)? else {
            return Ok(Self { ledger: None, log: None, snapshots });
        };
        let crypto: Arc<dyn Crypto> = Arc::new(SystemCrypto);
        let opened = NodeLedger::open(disk, durable, &entrance.identity, crypto, limits::CHUNK_BYTES, Arc::new(|| 0));
        let (ledger, _) = opened.map_err(OpenError::from)?;
        let log = Resume::open(entrance.identity.replica, log_disk, ledger.batch_store()).map_err(OpenError::from)?;
        Ok(Self { ledger: Some(ledger), log: Some(log), snapshots })
    }

    /// The sealed file may be older than the ledger, or gone.
    fn known(&self, entrance: &Entrance) -> Result<Known, NodeError> {
        let known = entrance.known.clone();
        let (Some(ledger), Some(log)) = (&self.ledger, &self.log) else { return Ok(known) };
        let service = entrance.identity.service.keys();
        Ok(known.on_ledger(ledger, &self.snapshots, &service, log.committed())?)
    }
}

/// Whether a process that did not end finds its log as it left it: what it has said is in there, and it goes on. Otherwise it knows no more than one that
/// is started. Asked before a snapshot that was received takes the log's place.
pub fn is_as_written(config: &NodeConfig, entrance: &Entrance, written: &Written) -> Result<bool, NodeError> {
    let [log, snapshots] = ["consensus", "snapshots"].map(|folder| FolderDisk::open(&config.data.join(folder)));
    let folder = Folder::as_it_is(LedgerDisk::open(config)?, Arc::new(log?), Arc::new(snapshots?), entrance)?;
    let same = folder.log.is_some_and(|log| log.is_as(written));
    if !same {
        tracing::error!("the consensus log is not as this node left it: it asks the others before it acts");
    }
    Ok(same)
}

/// The machine, and the channels that it asks over.
struct Asking {
    returning: Arc<Mutex<Option<Returning>>>,
    channels: Channels,
    /// Where the others listened last.
    known: BTreeMap<ReplicaId, SocketAddr>,
    began: Instant,
}

/// What others ask of a returning replica.
struct Door {
    returning: Arc<Mutex<Option<Returning>>>,
    began: Instant,
    /// Which node each replica was last known to be.
    nodes: BTreeMap<ReplicaId, NodeId>,
}

impl Asking {
    fn start(
        config: &NodeConfig,
        entrance: &Entrance,
        returning: Returning,
        runtime: &tokio::runtime::Runtime,
    ) -> Result<Self, NodeError> {
        let identity = &entrance.identity;
        let returning = Arc::new(Mutex::new(Some(returning)));
        let began = Instant::now();
        let nodes = entrance.known.nodes.iter().filter_map(|one| Some((one.replica, one.node?)));
        let channels = Channels::start(
            runtime.handle(),
            config.listen.peers,
            tls::Identity::new(&identity.chain(), &identity.node_key)?,
            Trusted::only(identity.service.certificate.clone()),
            Hello { replica: identity.replica, node: config.index },
            Arc::new(Door { returning: returning.clone(), began, nodes: nodes.collect() }),
        )?;
        let known = entrance.known.nodes.iter().map(|node| (node.replica, node.addresses.peers)).collect();
        Ok(Self { returning, channels, known, began })
    }

    /// Asks what is to be asked; the way back, once it is clear.
    fn turn(&self) -> Result<Option<Way>, NodeError> {
        let now_ms = since(self.began);
        let mut locked = self.returning.lock();
        let Some(returning) = locked.as_mut() else { return Ok(None) };
        let asks = returning.turn(now_ms).map_err(OpenError::from)?;
        let way = returning.way(now_ms).cloned();
        let arrival = returning.arrival();
        let mut peers = self.known.clone();
        peers.extend(returning.announced().into_iter().map(|(id, addresses)| (id, addresses.peers)));
        drop(locked);
        self.channels.set_peers(&peers);
        if let Some(arrival) = arrival {
            let verdict = arrival.check();
            if let Some(returning) = self.returning.lock().as_mut() {
                returning.judged(verdict, since(self.began));
            }
        }
        for (to, ask) in asks {
            let (returning, began) = (self.returning.clone(), self.began);
            let answered = move |body: Result<Bytes, NoAnswer>| {
                if let Ok(body) = body
                    && let Some(returning) = returning.lock().as_mut()
                    && let Err(error) = returning.answered(to, body, since(began))
                {
                    tracing::warn!(from = %to, %error, "refused an answer");
                }
            };
            self.channels.request(to, kind::RETURNING, ask, ASK_TIMEOUT, Box::new(answered));
        }
        Ok(way)
    }

    fn primary(&self) -> Option<ReplicaId> {
        self.returning.lock().as_ref().and_then(|returning| returning.primary(since(self.began)))
    }

    fn swap_refused(&self) {
        self.returning.lock().iter_mut().for_each(|returning| returning.swap_refused(since(self.began)));
    }

    fn waits_for(&self) -> String {
        self.returning.lock().as_ref().map(|returning| returning.waits_for(since(self.began))).unwrap_or_default()
    }

    /// Nobody is answered any more.
    fn end(&self) -> Option<Returning> {
        self.returning.lock().take()
    }
}

impl Inbound for Door {
    /// The service endorsed its certificate; most of what it asks for is given to every such node, if it is the replica that it says.
    fn admits(&self, node: NodeId, hello: Hello) -> bool {
        let other = |(replica, known): (&ReplicaId, &NodeId)| (*replica == hello.replica) != (*known == node);
        !self.nodes.iter().any(other)
    }

    fn raft(&self, _from: ReplicaId, _message: Bytes) {}

    fn request(&self, from: ReplicaId, kind: u16, body: Bytes, respond: Respond) {
        if kind != kind::RETURNING {
            return;
        }
        let answer = match self.returning.lock().as_mut() {
            Some(returning) => returning.asked(from, &body, since(self.began)),
            None => Ok(None),
        };
        match answer {
            Ok(Some(answer)) => respond(answer),
            Ok(None) => {}
            Err(error) => tracing::warn!(%from, %error, "refused a question"),
        }
    }
}

/// Those at which somebody listens. Asked at once, and briefly: others may need this node's answers meanwhile.
fn reachable(targets: &[SocketAddr]) -> Vec<SocketAddr> {
    let timeout = Duration::from_millis(limits::CHANNEL_CONNECT_TIMEOUT_MS);
    let listens = |target: &SocketAddr| TcpStream::connect_timeout(target, timeout).is_ok();
    std::thread::scope(|scope| {
        let tried: Vec<_> = targets.iter().map(|target| (target, scope.spawn(move || listens(target)))).collect();
        tried.into_iter().filter_map(|(target, tried)| tried.join().is_ok_and(|yes| yes).then_some(*target)).collect()
    })
}

/// Joining as a fresh replica that keeps this folder.
struct Swap<'a> {
    config: &'a NodeConfig,
    platform: &'a dyn EvidenceSource,
    root: &'a dyn Disk,
    entrance: &'a Entrance,
    ledger: Option<Arc<NodeLedger>>,
    snapshots: Arc<dyn Disk>,
    /// The folder was checked against the signed roots.
    checked: bool,
    /// From this snapshot on; all of it, if there is none.
    checked_behind: Option<SnapshotHead>,
    /// The last refusal that was logged.
    told: Option<String>,
}

impl Swap<'_> {
    /// `None` if it was refused for now.
    fn attempt(&mut self, asking: &Asking) -> Result<Option<Entrance>, NodeError> {
        let mut targets = self.targets(asking.primary());
        if asking.primary().is_none() {
            targets = reachable(&targets);
            if targets.is_empty() {
                asking.swap_refused();
                return Ok(None);
            }
        }
        if let Some(ledger) = self.ledger.as_ref().filter(|_| !self.checked) {
            let service = self.entrance.identity.service.keys();
            self.checked_behind = reuse::anchor(ledger, &self.snapshots, &service);
            match &self.checked_behind {
                Some(anchor) => reuse::check_behind(ledger, &service, anchor)?,
                None => reuse::check_signed_roots(ledger, &service)?,
            }
            self.checked = true;
        }
        match entrance::swap(self.config, self.platform, self.entrance, &targets) {
            Ok(fresh) => {
                fresh.keep(self.root)?;
                Ok(Some(fresh))
            }
            Err(error) => {
                let error = error.to_string();
                if self.told.as_ref() != Some(&error) {
                    tracing::warn!(%error, "cannot come back as a fresh replica yet");
                    self.told = Some(error);
                }
                asking.swap_refused();
                Ok(None)
            }
        }
    }

    /// The primary's API, then others that may know it.
    fn targets(&self, primary: Option<ReplicaId>) -> Vec<SocketAddr> {
        let nodes = &self.entrance.known.nodes;
        let leads = nodes.iter().filter(|node| Some(node.replica) == primary).map(|node| node.addresses.api);
        let configured = match &self.config.start {
            Start::Join { targets, .. } => targets.clone(),
            Start::New { .. } | Start::Recover { .. } => Vec::new(),
        };
        let rest = nodes.iter().filter(|node| node.index != self.config.index).map(|node| node.addresses.api);
        let mut targets: Vec<SocketAddr> = leads.collect();
        for target in rest.chain(configured) {
            if !targets.contains(&target) && target != self.config.listen.api {
                targets.push(target);
            }
        }
        targets
    }

    /// Hands the log to the fresh replica. Without one, nothing tells which of the ledger's transactions were committed: what is
    /// there is set aside.
    fn prepare(&mut self, log: Option<Resume>) -> Result<(), NodeError> {
        match log {
            Some(log) => hand_over(log),
            None => set_aside(&self.config.data, self.entrance.identity.replica),
        }
    }
}

/// What is left to do of a swap whose node ended before it ran as the fresh replica. Every step may be done twice, and whenever
/// a host puts that state back: the node asks before it acts.
pub fn finish_swap(config: &NodeConfig, entrance: &Entrance, before: ReplicaId) -> Result<(), NodeError> {
    match Folder::open(config, entrance)?.log {
        Some(log) => hand_over(log),
        None => set_aside(&config.data, before),
    }
}

fn hand_over(mut log: Resume) -> Result<(), NodeError> {
    Ok(log.hand_to_fresh_replica().map_err(OpenError::from)?)
}

fn set_aside(data: &Path, replica: ReplicaId) -> Result<(), NodeError> {
    for folder in FOLDERS {
        let (from, to) = (data.join(folder), data.join(format!("{folder}.of-replica-{replica}")));
        // Those that a crash has left to be moved are not empty.
        if from.exists() && std::fs::read_dir(&from)?.next().is_some() {
            tracing::warn!(from = %from.display(), to = %to.display(), "set aside: its consensus log is missing");
            std::fs::rename(from, to)?;
        }
    }
    Ok(())
}

/// Where the participants of a plan listen, and everybody else did.
pub fn peers_after(known: &Entrance, plan: &Plan) -> Vec<(ReplicaId, Addresses)> {
    let mut peers: BTreeMap<ReplicaId, Addresses> =
        known.known.nodes.iter().map(|node| (node.replica, node.addresses)).collect();
    peers.extend(plan.participants.iter().map(|one| (one.replica, one.addresses)));
    peers.into_iter().collect()
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn nonce() -> Digest {
    let mut nonce = Digest::ZERO;
    SystemCrypto.fill(&mut nonce.0);
    nonce
}

#[cfg(test)]
mod tests {
    use coco_consensus::{Config, Consensus, StartPoint};
    use coco_crypto::{SeededCrypto, SymmetricKey};
    use coco_types::Seqno;

    use super::*;
    use crate::fixture;

    const BEFORE: ReplicaId = ReplicaId(1);

    /// What is on disk once the network has admitted the fresh replica.
    fn admitted(crypto: &SeededCrypto) -> Entrance {
        let mut identity = fixture::identity(crypto);
        (identity.replica, identity.swaps) = (ReplicaId(4), Some(BEFORE));
        let [history_secret, sealing] = [(); 2].map(|()| SymmetricKey::generate(crypto));
        Entrance { identity, history_secret, founding: None, peers: Vec::new(), known: Known::default(), sealing }
    }

    fn state(config: &NodeConfig, entrance: &Entrance) -> coco_consensus::ResumeState {
        Folder::open(config, entrance).unwrap().log.unwrap().state()
    }

    /// A lone founder with an empty log in its folder.
    fn founder(config: &NodeConfig, entrance: &Entrance) -> Consensus {
        let log: Arc<dyn Disk> = Arc::new(FolderDisk::open(&config.data.join("consensus")).unwrap());
        let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(&config.data.join("ledger")).unwrap());
        let crypto = Arc::new(SeededCrypto::new(2));
        let (ledger, _) =
            NodeLedger::open(disk, Seqno::ZERO, &entrance.identity, crypto, 1 << 20, Arc::new(|| 0)).unwrap();
        let (founders, batches) = (StartPoint::genesis([BEFORE]), ledger.batch_store());
        Consensus::create(Config::new(BEFORE), founders, log, batches, Box::new(|| 7)).unwrap()
    }

    #[test]
    fn a_log_that_was_exchanged_while_it_was_closed_is_noticed() {
        let (folder, crypto) = (tempfile::tempdir().unwrap(), SeededCrypto::new(1));
        let (config, mut entrance) = (fixture::config(folder.path()), admitted(&crypto));
        entrance.identity.replica = BEFORE;
        let mut spoke = founder(&config, &entrance);
        spoke.campaign();
        spoke.take_output().unwrap();
        let written = spoke.written();
        drop(spoke);
        for _ in 0..2 {
            assert!(is_as_written(&config, &entrance, &written).unwrap());
        }
        let (log, aside) = (folder.path().join("consensus"), folder.path().join("aside"));
        std::fs::rename(&log, &aside).unwrap();
        assert!(!is_as_written(&config, &entrance, &written).unwrap(), "there is none");
        std::fs::remove_dir_all(&log).unwrap();
        drop(founder(&config, &entrance));
        assert!(!is_as_written(&config, &entrance, &written).unwrap(), "it has not voted in this one");
        std::fs::remove_dir_all(&log).unwrap();
        std::fs::rename(&aside, &log).unwrap();
        assert!(is_as_written(&config, &entrance, &written).unwrap());
    }

    #[test]
    fn a_swap_that_was_cut_off_is_finished_at_the_next_start_however_often_it_is() {
        let (folder, crypto) = (tempfile::tempdir().unwrap(), SeededCrypto::new(1));
        let (config, entrance) = (fixture::config(folder.path()), admitted(&crypto));
        let mut spoke = founder(&config, &entrance);
        spoke.campaign();
        spoke.take_output().unwrap();
        let view = spoke.view();
        drop(spoke);
        let before = state(&config, &entrance);
        assert_eq!((before.vote, before.view), (Some(BEFORE), view));
        for _ in 0..2 {
            finish_swap(&config, &entrance, BEFORE).unwrap();
            let after = state(&config, &entrance);
            assert_eq!((after.vote, after.view), (None, view), "it has voted for nobody, and forgets no view");
        }
    }

    #[test]
    fn a_ledger_without_its_log_is_set_aside_once_wherever_that_was_cut_off() {
        for moved in 0..FOLDERS.len() {
            let (folder, crypto) = (tempfile::tempdir().unwrap(), SeededCrypto::new(1));
            let (config, entrance) = (fixture::config(folder.path()), admitted(&crypto));
            let aside = |name: &str| folder.path().join(format!("{name}.of-replica-{BEFORE}"));
            for (at, name) in FOLDERS.into_iter().enumerate() {
                std::fs::create_dir(folder.path().join(name)).unwrap();
                std::fs::write(folder.path().join(name).join("old"), name).unwrap();
                if at < moved {
                    std::fs::rename(folder.path().join(name), aside(name)).unwrap();
                }
            }
            for _ in 0..2 {
                finish_swap(&config, &entrance, BEFORE).unwrap();
                for name in FOLDERS {
                    assert_eq!(std::fs::read_to_string(aside(name).join("old")).unwrap(), name);
                }
            }
        }
    }
}
