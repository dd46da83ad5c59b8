//! One simulated node: real machines over simulated disks, and what waits for each of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_attestation::{Evidence, EvidenceSource, ReportData, Rules};
use coco_consensus::{Config, Guards, Persist, Resume};
use coco_crypto::{
    Certificate, Crypto, Curve, ExchangeKey, NodeCertificateRequest, PublicKey, SeededCrypto, SigningKey, SymmetricKey,
    Validity, issue_node_certificate, self_signed_service_certificate,
};
use coco_disk::{Disk, MemoryDisk, Power};
use coco_ethereum::Ethereum;
use coco_governance::secrets::Vault;
use coco_governance::{Addresses, NodeInfo, NodeRole, NodeRow, NodeStatus, ResumePolicy};
use coco_ledger::{EntryKeys, MemoryHistory, ServiceKeys};
use coco_node::archive::{ArchiveEvent, SnapshotLimits, Taken};
use coco_node::comeback::{Askers, Plan, Returning, Snapshots};
use coco_node::events::ExecutorEvent;
use coco_node::executor::{BatchLimits, ExecutedBatch};
use coco_node::identity::{Identity, ServiceSecrets};
use coco_node::known::Known;
use coco_node::ledger::NodeLedger;
use coco_node::machines::{self, Machines, OpenError, Parts};
use coco_node::replica::Delivery;
use coco_node::reuse;
use coco_node::signatures::Alarm;
use coco_protocol::Protocol;
use coco_types::{Digest, NodeId, ReplicaId, Seqno, TxId, limits};
use parking_lot::Mutex;

use crate::ethereum;
use crate::inbox::Inbox;
use crate::planted::Planted;

/// What a whole simulated network is built with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Silence after which a backup campaigns, in ticks of 50 ms; heartbeats come five times as often.
    pub election_ticks: usize,
    /// A ledger chunk is cut after the batch that reaches this size: small, so that every run has several.
    pub chunk_bytes: u64,
    /// A snapshot of the state is taken after so much.
    pub snapshots: SnapshotLimits,
    /// Switched off one at a time, to show that the simulator would notice.
    pub guards: Guards,
    /// Disks answer a sync without having done it.
    pub lying_disks: bool,
    /// What the network is founded with about platforms.
    pub attestation: Rules,
    /// When the world begins, milliseconds since 1970.
    pub start_ms: u64,
    /// A restarted replica asks before it acts. Off: it goes on from its disk.
    pub ask_before_acting: bool,
    /// What the members chose to tolerate: disks that show an old state, between two completed resumes.
    pub rolled_back_disks: u32,
    /// So many are put back, if the trouble is random.
    pub disks_put_back: usize,
    /// This replica signs with keys that are not the network's: a machine that broke, or was broken.
    pub forger: Option<ReplicaId>,
    /// The one that others may accuse, beside the forger.
    pub suspect: Option<ReplicaId>,
    /// A bug that every node has.
    pub planted: Option<Planted>,
    /// Ethereum is hosted too, and has clients.
    pub ethereum: bool,
    /// A member proposes and votes.
    pub governed: bool,
    /// Ethereum is not of the founding: the member's first proposal adds it.
    pub ethereum_by_vote: bool,
    /// In the end all nodes are lost, and the member recovers the ledger of one.
    pub recovered: bool,
}

impl Default for Options {
    fn default() -> Self {
        let snapshots = SnapshotLimits { ledger_bytes: 1, transactions: 1_000, piece_bytes: 3_000 };
        Self {
            election_ticks: 6,
            chunk_bytes: 8_000,
            snapshots,
            guards: Guards::default(),
            lying_disks: false,
            attestation: Rules::default(),
            start_ms: 1_000_000,
            ask_before_acting: true,
            rolled_back_disks: 0,
            disks_put_back: 0,
            forger: None,
            suspect: None,
            planted: None,
            ethereum: false,
            governed: false,
            ethereum_by_vote: false,
            recovered: false,
        }
    }
}

impl Options {
    /// What the network is founded with.
    pub fn resume_policy(&self) -> ResumePolicy {
        ResumePolicy { allowed: true, rolled_back_disks: self.rolled_back_disks }
    }

    /// What a seed is run with: every fifth network tolerates an old disk, and is given one; every eighth hosts Ethereum, and in
    /// every eighth a member governs, who adds Ethereum in every fourth of these, and recovers the ledger of one node in every fourth.
    pub fn of_seed(seed: u64) -> Self {
        let old_disks = seed.is_multiple_of(5);
        Self {
            rolled_back_disks: u32::from(old_disks),
            disks_put_back: usize::from(old_disks),
            ethereum: seed % 8 == 3 || seed % 32 == 29,
            governed: seed % 8 == 5,
            ethereum_by_vote: seed % 32 == 29,
            recovered: seed % 32 == 5,
            ..Self::default()
        }
    }
}

/// What the whole network shares outside any node: its founding secrets, and time.
pub struct Setting {
    pub crypto: Arc<dyn Crypto>,
    pub service_key: SigningKey,
    pub service_certificate: Certificate,
    pub ledger_secret: SymmetricKey,
    /// The services before, if it has been recovered: each key, and its last transaction.
    pub earlier: Vec<(Seqno, PublicKey)>,
    pub now_ms: Arc<Mutex<u64>>,
    pub options: Options,
}

/// A node's disks survive its crashes; its machines, and what waits for them, do not.
pub struct SimNode {
    pub id: ReplicaId,
    /// Position in the network, from 0.
    pub index: u32,
    pub role: NodeRole,
    pub identity: Identity,
    chunk_bytes: u64,
    piece_bytes: u32,
    pub ledger_disk: MemoryDisk,
    pub log_disk: MemoryDisk,
    pub snapshot_disk: MemoryDisk,
    /// What of the history was written out.
    history: Arc<MemoryHistory>,
    /// Syncs take as long as this is set.
    pub disk_hangs: bool,
    history_secret: SymmetricKey,
    pub crypto: Arc<dyn Crypto>,
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How far its clock is off, and what it gains in each tick.
    pub clock_offset_ms: Arc<Mutex<i64>>,
    pub drift_ms: i64,
    pub machines: Option<Machines>,
    /// The hosted ledger of the machines, if there is one beside the counters.
    pub ethereum: Option<Arc<Ethereum>>,
    /// Restarted, and asking how to come back.
    pub returning: Option<Returning>,
    /// The admission that it waits for, while returning by a swap.
    pub joining: Option<u64>,
    /// How it came back this time, if by a resume.
    pub resumed: Option<Plan>,
    /// What its sealed file says of the members' choice.
    pub sealed: Known,
    /// The others, as it last knew them.
    pub known: BTreeSet<ReplicaId>,
    /// Who returned and asked it lately.
    pub askers: Askers,
    /// An old state of its disks.
    pub image: Option<[MemoryDisk; 3]>,
    pub syncing: Inbox<Syncing>,
    pub for_executor: Inbox<ExecutorEvent>,
    pub for_front: Inbox<Delivery>,
    pub for_archive: Inbox<ArchiveEvent>,
    /// The archive has more to do, from then on.
    pub archive_works_at_ms: Option<u64>,
    pub archive_ticks_at_ms: u64,
    pub for_replica: Inbox<Note>,
    pub next_tick_ms: u64,
    /// The newest transaction known to be on this node's disk.
    pub durable: TxId,
    /// It was removed from the network: never started again.
    pub removed: bool,
    /// Why it stopped by itself.
    pub stopped_by: Option<String>,
}

/// What a node that does not run has.
pub struct Resting {
    pub log: Resume,
    /// How many old disks the members tolerate, as far as this node's disk tells.
    pub rolled_back: Option<usize>,
    pub snapshots: Snapshots,
}

/// A sync under way, and the end of the ledger when it was asked for.
#[derive(Clone, Copy)]
pub struct Syncing {
    pub persist: Persist,
    pub last: TxId,
}

/// What a node's other machines tell its replica.
pub enum Note {
    Executed(ExecutedBatch),
    ExecutorStopped,
    FrontReached(Seqno),
    Alarmed(Alarm),
    SnapshotTaken(Box<Taken>),
    SnapshotFailed,
}

/// Certificates in a simulation never expire.
pub const VALIDITY: Validity = Validity { not_before: 0, not_after: 4_000_000_000 };
pub const MEASUREMENT: Digest = Digest([7; 32]);

impl Setting {
    pub fn new(seed: u64, options: Options) -> Self {
        let crypto: Arc<dyn Crypto> = Arc::new(SeededCrypto::of_simulation(seed));
        let service_key = SigningKey::generate(crypto.as_ref(), Curve::P384);
        let service_certificate =
            self_signed_service_certificate(crypto.as_ref(), &service_key, "sim", VALIDITY, &[]).expect("a valid name");
        let ledger_secret = SymmetricKey::generate(crypto.as_ref());
        let now_ms = Arc::new(Mutex::new(options.start_ms));
        Self { crypto, service_key, service_certificate, ledger_secret, earlier: Vec::new(), now_ms, options }
    }

    pub fn now_ms(&self) -> u64 {
        *self.now_ms.lock()
    }

    /// A node with keys and an empty disk, not started.
    pub fn node(&self, id: ReplicaId, index: u32, seed: u64) -> SimNode {
        let crypto: Arc<dyn Crypto> = Arc::new(SeededCrypto::of_simulation(seed));
        let node_key = SigningKey::generate(crypto.as_ref(), Curve::P256);
        let request = NodeCertificateRequest {
            public_key: node_key.public_key().clone(),
            common_name: format!("node {index}"),
            subject_alt_names: vec![coco_crypto::SubjectAltName::from_host("127.0.0.1")],
            validity: VALIDITY,
            extensions: Vec::new(),
        };
        let certificate =
            issue_node_certificate(crypto.as_ref(), &self.service_certificate, &self.service_key, &request)
                .expect("a valid request");
        let copy = SigningKey::from_pkcs8_der(&self.service_key.to_pkcs8_der()).expect("a key survives its encoding");
        let mut epochs = EntryKeys::new();
        epochs.add_epoch(Seqno(1), &self.ledger_secret);
        let exchange = ExchangeKey::generate(crypto.as_ref());
        let mut service = ServiceSecrets::new(copy, self.service_certificate.clone(), epochs);
        service.earlier.clone_from(&self.earlier);
        let now_ms = self.now_ms.clone();
        let clock_offset_ms = Arc::new(Mutex::new(0));
        let power = Power::default();
        let offset_ms = clock_offset_ms.clone();
        SimNode {
            id,
            index,
            role: NodeRole::Voter,
            identity: Identity {
                replica: id,
                node_key,
                node_certificate: certificate,
                exchange,
                service,
                swaps: None,
                begun: false,
            },
            chunk_bytes: self.options.chunk_bytes,
            piece_bytes: self.options.snapshots.piece_bytes,
            ledger_disk: MemoryDisk::on(&power),
            log_disk: MemoryDisk::on(&power),
            snapshot_disk: MemoryDisk::on(&power),
            history: Arc::default(),
            disk_hangs: false,
            history_secret: SymmetricKey::generate(crypto.as_ref()),
            crypto,
            clock: Arc::new(move || now_ms.lock().saturating_add_signed(*offset_ms.lock())),
            clock_offset_ms,
            drift_ms: 0,
            machines: None,
            ethereum: None,
            returning: None,
            joining: None,
            resumed: None,
            sealed: Known { resume: Some(self.options.resume_policy()), ..Known::default() },
            known: BTreeSet::new(),
            askers: Askers::new(self.options.election_ticks as u64 * limits::TICK_MS),
            image: None,
            syncing: Inbox::default(),
            for_executor: Inbox::default(),
            for_front: Inbox::default(),
            for_archive: Inbox::default(),
            archive_works_at_ms: None,
            archive_ticks_at_ms: 0,
            for_replica: Inbox::default(),
            next_tick_ms: 0,
            durable: TxId::default(),
            removed: false,
            stopped_by: None,
        }
    }
}

impl SimNode {
    /// The network has given the applicant its replica id.
    pub fn admitted_as(mut self, id: ReplicaId) -> Self {
        self.id = id;
        self.identity.replica = id;
        self
    }

    /// What it makes and opens ledger secrets with, from the seed.
    pub fn vault(&self) -> Vault {
        Vault { crypto: self.crypto.clone(), ..self.identity.vault() }
    }

    pub fn node_id(&self) -> NodeId {
        self.identity.node_key.public_key().node_id()
    }

    /// Starts, or starts again, over what is on the disks.
    pub fn start(&mut self, now_ms: u64, options: &Options) -> Result<(), OpenError> {
        if options.forger == Some(self.id) {
            self.identity.service.key = SigningKey::generate(self.crypto.as_ref(), Curve::P384);
        }
        let mut consensus = Config::new(self.id);
        consensus.election_ticks = options.election_ticks;
        consensus.heartbeat_ticks = (options.election_ticks / 5).max(1);
        consensus.guards = options.guards.clone();
        // Until a recovery has the secrets of before, nothing is hosted, and no snapshot taken.
        let recovers = !self.identity.service.epochs.is_whole();
        self.ethereum = (options.ethereum && !recovers).then(ethereum::hosted);
        let mut protocols: Vec<Arc<dyn Protocol>> = Vec::new();
        if !recovers {
            protocols.push(Arc::new(Planted::counter(options.planted)));
        }
        if let Some(ledger) = &self.ethereum {
            protocols.push(ledger.clone());
        }
        let mut snapshots = options.snapshots;
        if recovers {
            (snapshots.ledger_bytes, snapshots.transactions) = (u64::MAX, u64::MAX);
        }
        let history = if recovers { Arc::default() } else { self.history.clone() };
        let parts = Parts {
            identity: &self.identity,
            ledger_disk: Arc::new(self.ledger_disk.clone()),
            opened: None,
            checked_behind: None,
            log_disk: Arc::new(self.log_disk.clone()),
            snapshot_disk: Arc::new(self.snapshot_disk.clone()),
            history,
            history_secret: &self.history_secret,
            protocols,
            crypto: self.crypto.clone(),
            clock: self.clock.clone(),
            consensus,
            batches: BatchLimits::default(),
            chunk_bytes: options.chunk_bytes,
            snapshots,
            founders: vec![ReplicaId(1)],
        };
        let machines = Machines::open(parts)?;
        // Opening syncs what it keeps.
        self.durable = machines.ledger.last_txid();
        self.machines = Some(machines);
        self.next_tick_ms = now_ms;
        self.archive_ticks_at_ms = now_ms;
        self.stopped_by = None;
        Ok(())
    }

    /// The folder of a node that was here before, for a fresh replica.
    pub fn take_folder_of(&mut self, old: &Self) {
        self.ledger_disk = old.ledger_disk.clone();
        self.log_disk = old.log_disk.clone();
        self.snapshot_disk = old.snapshot_disk.clone();
        self.history = old.history.clone();
        self.history_secret = old.history_secret.clone();
        self.known = old.known.clone();
        self.role = old.role;
    }

    pub fn runs(&self) -> bool {
        self.machines.is_some() || self.returning.is_some()
    }

    pub fn resting_log(&self) -> Result<Resting, OpenError> {
        let ledger = self.resting_ledger()?;
        let log = Resume::open(self.id, Arc::new(self.log_disk.clone()), ledger.batch_store())?;
        let snapshots: Arc<dyn Disk> = Arc::new(self.snapshot_disk.clone());
        let service = self.identity.service.keys();
        let known = self.sealed.clone().on_ledger(&ledger, &snapshots, &service, log.committed())?;
        let rolled_back = known.resume.and_then(|policy| policy.rolled_back());
        let snapshots = Snapshots { disk: snapshots, ledger, service, piece_bytes: self.piece_bytes };
        Ok(Resting { log, rolled_back, snapshots })
    }

    /// That the service signed what is there, as a node checks it before and after it comes back as a fresh replica.
    pub fn check_folder(&self, service: &ServiceKeys) -> Result<(), OpenError> {
        let ledger = self.resting_ledger()?;
        let snapshots: Arc<dyn Disk> = Arc::new(self.snapshot_disk.clone());
        let Some(anchor) = reuse::anchor(&ledger, &snapshots, service) else {
            return reuse::check_signed_roots(&ledger, service);
        };
        reuse::check_behind(&ledger, service, &anchor)?;
        reuse::check_before(&ledger, service, &anchor, &|| true)
    }

    pub fn resting_ledger(&self) -> Result<Arc<NodeLedger>, OpenError> {
        let disks = [&self.snapshot_disk, &self.ledger_disk, &self.log_disk];
        let [snapshots, ledger, log] = disks.map(|disk| -> Arc<dyn Disk> { Arc::new(disk.clone()) });
        machines::install_received(&snapshots, &ledger, &log, &self.identity)?;
        let durable = coco_consensus::durable_seqno(&self.log_disk)?.unwrap_or_default();
        let disk = Arc::new(self.ledger_disk.clone());
        let (crypto, clock) = (self.crypto.clone(), self.clock.clone());
        Ok(NodeLedger::open(disk, durable, &self.identity, crypto, self.chunk_bytes, clock)?.0)
    }

    /// By its own clock.
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// Gives the disks no room any more, or all that they want.
    pub fn set_room(&self, room: Option<u64>) {
        for disk in [&self.ledger_disk, &self.log_disk, &self.snapshot_disk] {
            disk.set_bytes_max(room);
        }
    }

    /// It stopped by itself because its disk had no room.
    pub fn stopped_for_room(&self) -> bool {
        self.stopped_by.as_ref().is_some_and(|why| is_for_room(why))
    }

    /// The process ends, and with it all that was in memory. What was written but not synced stays, as after a kill.
    pub fn stop(&mut self) {
        self.machines = None;
        self.returning = None;
        self.joining = None;
        self.resumed = None;
        self.askers.forget();
        self.syncing.clear();
        self.for_executor.clear();
        self.for_front.clear();
        self.for_archive.clear();
        self.archive_works_at_ms = None;
        self.for_replica.clear();
    }

    /// What its disks and all that it does depend on.
    pub fn power(&self) -> &Power {
        self.ledger_disk.power()
    }

    /// The power goes: unsynced writes are lost too.
    pub fn crash(&mut self, mut survives: impl FnMut(usize) -> Option<usize>) {
        self.stop();
        self.power().comes_back();
        self.ledger_disk.crash(&mut survives);
        self.log_disk.crash(&mut survives);
        self.snapshot_disk.crash(&mut survives);
    }

    /// What a [`Persist`] asks for.
    pub fn sync(&mut self, syncing: &Syncing, planted: Option<Planted>) -> std::io::Result<()> {
        if syncing.persist.batches
            && planted != Some(Planted::SyncsTheLogAlone)
            && let Some(machines) = &self.machines
        {
            machines.ledger.sync()?;
        }
        self.log_disk.sync(syncing.persist.log_file)?;
        self.durable = syncing.last;
        Ok(())
    }

    /// When something here wants to happen next.
    pub fn next_ms(&self) -> Option<u64> {
        let tick = self.machines.is_some().then_some(self.next_tick_ms);
        let syncing = self.syncing.next_ms().filter(|_| !self.disk_hangs);
        let waiting = [self.for_executor.next_ms(), self.for_front.next_ms(), self.for_replica.next_ms()];
        let archive = [self.for_archive.next_ms(), self.archive_works_at_ms];
        waiting.into_iter().chain(archive).chain([syncing, tick]).flatten().min()
    }

    pub fn addresses(&self) -> Addresses {
        let port = |base: u16| base + u16::try_from(self.index).unwrap_or(0);
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        Addresses { api: address(port(8000)), peers: address(port(8100)) }
    }

    /// What the ledger says of a node that nobody else admits.
    pub fn row(&self, report_data: &ReportData) -> NodeRow {
        let info = NodeInfo {
            status: NodeStatus::Trusted,
            public_key: self.identity.node_key.public_key().to_pem(),
            replica: self.id,
            index: self.index,
            addresses: self.addresses(),
            encryption_pub_key: hex::encode(self.identity.exchange.public()),
            certificate_signing_request: None,
            quote_info: self.evidence(report_data),
            replaces: None,
            swaps: None,
            retired_committed: false,
            role: NodeRole::default(),
            admitted_ms: 0,
            owner: None,
            node_data: Default::default(),
        };
        NodeRow { id: self.node_id(), info }
    }

    pub fn evidence(&self, report_data: &ReportData) -> Evidence {
        VirtualTee::running(MEASUREMENT).evidence(report_data).expect("virtual evidence is always to be had")
    }
}

/// Whether a node that says this had no room on its disk.
pub fn is_for_room(why: &str) -> bool {
    why.contains("no storage space")
}
