//! How a node comes to its identity: it founds a network, joins one, or finds the identity that it sealed before.

use std::fs;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_attestation::{
    BoundFacts, Evidence, EvidenceSource, ReportData, SourceError, TeeKind, node_extension, service_extension, sources,
};
use coco_crypto::{
    Certificate, Curve, ExchangeKey, Extension, PublicKey, Sha256, SigningKey, SymmetricKey, SystemCrypto,
    self_signed_service_certificate, sha256,
};
use coco_disk::Disk;
use coco_governance::certificates::{self, Subject};
use coco_governance::rotation::follow_bridges;
use coco_governance::{
    AWAITS_VOTE, Addresses, Founding, JOINED_BEFORE, NodeInfo, NodeRole, NodeRow, NodeStatus, Recovery,
};
use coco_ledger::EntryKeys;
use coco_types::{Digest, ReplicaId, Seqno};
use parking_lot::Mutex;

use crate::config::{Genesis, NodeConfig, Start};
use crate::genesis::{self, Founder};
use crate::identity::{Identity, ServiceSecrets};
use crate::join::{self, JoinAnswer};
use crate::known::{Known, KnownNode};
use crate::machines::{Machines, OpenError};
use crate::recovering::{self, RecoveryError};
use crate::shell::https::{HttpsClient, HttpsError};
use crate::shell::ledger_disk::LedgerDisk;
use crate::shell::machine::Machine;
use crate::shell::{FolderDisk, NodeError, sealing};

/// What a node starts with.
pub struct Entrance {
    pub identity: Identity,
    /// Of the node's history store.
    pub history_secret: SymmetricKey,
    /// A new network's founding facts; the executor's first transactions.
    pub founding: Option<(Genesis, Founding)>,
    /// Where others listened when this node joined; afterwards governance knows better.
    pub peers: Vec<(ReplicaId, Addresses)>,
    /// What an earlier life knew of the network.
    pub known: Known,
    pub sealing: SymmetricKey,
}

impl Entrance {
    /// On disk, before it is used.
    pub fn keep(&self, disk: &dyn Disk) -> Result<(), NodeError> {
        self.known.store(disk, &self.sealing, &SystemCrypto)?;
        Ok(self.identity.store(disk, &self.sealing, &SystemCrypto)?)
    }
}

const JOIN_ATTEMPTS: u32 = 120;
const JOIN_PAUSE: Duration = Duration::from_millis(250);
/// Between two questions whether the members have voted.
const VOTE_PAUSE: Duration = Duration::from_secs(2);

/// The replica that every network begins with.
pub const FOUNDER: ReplicaId = ReplicaId(1);

/// Finds or makes the node's identity. A new one is on disk, sealed, before it is used.
///
/// `pause` waits, and says whether to go on: a newcomer may wait for a vote for days.
pub fn enter(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    disk: &dyn Disk,
    sealing: &SymmetricKey,
    now_s: u64,
    pause: &dyn Fn(Duration) -> bool,
) -> Result<Entrance, NodeError> {
    let history = sealing::history_secret(disk, sealing, &SystemCrypto)?;
    let secrets = Secrets { sealing: sealing.clone(), history };
    let before = Identity::load(disk, &secrets.sealing)?;
    let starts_over = before.as_ref().is_some_and(|before| !before.begun && before.replica == FOUNDER);
    if let Some(identity) = before {
        // One that never began starts over with new keys: nobody but the service has heard of it. A host can put that state back, so that the old
        // keys must not be used again. One that came by a swap is kept: it has given its earlier place away, and asks to come back in this one.
        if identity.begun || identity.swaps.is_some() {
            let known = Known::load(disk, &secrets.sealing)?;
            let peers = known.nodes.iter().map(|node| (node.replica, node.addresses)).collect();
            return Ok(Entrance { peers, ..secrets.entrance(identity, known) });
        }
    }
    let entrance = match &config.start {
        Start::New { genesis } => {
            if starts_over {
                check_unwritten(config)?
            } else {
                check_not_founded(genesis)?
            }
            found(config, platform, genesis, secrets, now_s)?
        }
        Start::Recover { previous_service_certificate } => {
            recover(config, platform, previous_service_certificate, secrets, now_s)?
        }
        Start::Join { targets, service_certificate, constitution_digest } => {
            let pem = read(service_certificate)?;
            let service = Certificate::from_pem(&pem).map_err(|error| NodeError::Join(error.to_string()))?;
            join_one_of(config, platform, targets, &service, constitution_digest.as_deref(), secrets, pause)?
        }
    };
    entrance.keep(disk)?;
    if let Start::New { genesis } = &config.start {
        mark_founded(genesis, &entrance.identity.service.certificate);
    }
    Ok(entrance)
}

/// Beside the genesis lies the certificate of the network that it founded: an emptied data folder must not found another unnoticed.
fn founded_mark(genesis: &Path) -> PathBuf {
    let mut name = genesis.as_os_str().to_owned();
    name.push(".founded");
    name.into()
}

fn check_not_founded(genesis: &Path) -> Result<(), NodeError> {
    let mark = founded_mark(genesis);
    if !mark.exists() {
        return Ok(());
    }
    let (genesis, mark) = (genesis.display(), mark.display());
    Err(NodeError::Genesis(format!(
        "{genesis} has founded a network already, and this data folder is not of it: to come back to it, start with how = \"join\", the other \
         nodes as targets and service_certificate = \"{mark}\"; to found another network, remove {mark}"
    )))
}

/// Whose identity never began has no transactions.
fn check_unwritten(config: &NodeConfig) -> Result<(), NodeError> {
    let log = FolderDisk::open(&config.data.join("consensus"))?;
    match coco_consensus::durable_seqno(&log).map_err(OpenError::from)? {
        Some(last) if last > Seqno::ZERO => Err(NodeError::Genesis(format!(
            "the identity in {} is older than its consensus log, which holds transactions: put the newer identity back, or let the node join its \
             network with an empty folder (how = \"join\")",
            config.data.display()
        ))),
        _ => Ok(()),
    }
}

fn mark_founded(genesis: &Path, service: &Certificate) {
    let mark = founded_mark(genesis);
    if let Err(error) = fs::write(&mark, service.to_pem()) {
        tracing::warn!(%error, mark = %mark.display(), "cannot write down that this genesis has founded its network");
    }
}

/// Joins as a fresh replica in the place of the one that this node was, and keeps its folder.
pub fn swap(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    before: &Entrance,
    targets: &[std::net::SocketAddr],
) -> Result<Entrance, NodeError> {
    let trusted = &before.identity.service.certificate;
    let client = HttpsClient::new(trusted).map_err(|error| NodeError::Join(error.to_string()))?;
    let mut last_error = "no other node is known".to_owned();
    for target in targets {
        let keys = NodeKeys::generate();
        match try_join(config, &client, *target, trusted, platform, Some(&before.identity.node_key), &keys) {
            Ok(answer) => {
                let secrets = Secrets { sealing: before.sealing.clone(), history: before.history_secret.clone() };
                let mut fresh = joined(config, keys, answer, secrets)?;
                fresh.identity.swaps = Some(before.identity.replica);
                // It keeps the ledger that this was read from.
                (fresh.known.resume, fresh.known.at) = (before.known.resume, before.known.at);
                return Ok(fresh);
            }
            Err(refused) => last_error = refused.why,
        }
    }
    Err(NodeError::Join(last_error))
}

/// A node that listens elsewhere than its certificate says gives its key another one: it holds the service's.
pub fn rename_if_moved(config: &NodeConfig, entrance: &mut Entrance, now_s: u64) -> Result<(), NodeError> {
    let identity = &mut entrance.identity;
    let own = entrance.known.nodes.iter().find(|node| node.replica == identity.replica);
    if own.is_some_and(|node| node.addresses != addresses(config)) {
        let public_key = identity.node_key.public_key().clone();
        let evidence = certificates::evidence_of(&identity.node_certificate);
        identity.node_certificate =
            certify(&identity.service, &public_key, config.index, &addresses(config), now_s, evidence)?;
    }
    Ok(())
}

/// A node's own secrets, whatever replica it is.
struct Secrets {
    sealing: SymmetricKey,
    history: SymmetricKey,
}

impl Secrets {
    fn entrance(self, identity: Identity, known: Known) -> Entrance {
        let Self { sealing, history: history_secret } = self;
        Entrance { identity, history_secret, founding: None, peers: Vec::new(), known, sealing }
    }
}

/// Issues a certificate to a node of this service.
pub fn certify(
    service: &ServiceSecrets,
    public_key: &PublicKey,
    index: u32,
    addresses: &Addresses,
    now_s: u64,
    evidence: Option<Extension>,
) -> Result<Certificate, NodeError> {
    let subject = Subject { public_key, index, addresses, evidence };
    let issued = certificates::issue(
        &SystemCrypto,
        (&service.certificate, &service.key),
        subject,
        certificates::validity_from(now_s),
    );
    issued.map_err(|error| NodeError::Join(error.to_string()))
}

/// The configuration that evidence covers: what would change who a node trusts.
pub fn config_digest(config: &NodeConfig) -> Digest {
    let role = match config.role {
        NodeRole::Voter => "",
        NodeRole::Reader => " role=reader",
    };
    let key_file = if config.sealing_key_file { " sealing_key_file" } else { "" };
    sha256(format!("coco.node.config.v1 dev={} index={}{role}{key_file}", config.dev, config.index).as_bytes())
}

pub fn addresses(config: &NodeConfig) -> Addresses {
    Addresses { api: config.listen.api, peers: config.listen.peers }
}

/// The platform this node runs on: what the machine offers, else the virtual one, whose measurement is the running file's hash. A
/// development network is virtual everywhere. Whether the platform is acceptable is the network's decision, not this machine's.
pub fn evidence_source(config: &NodeConfig) -> Result<Arc<dyn EvidenceSource>, NodeError> {
    let source = evidence_of_this_machine(config.dev, config.amd_certificates.clone())?;
    match config.virtual_host_data {
        Some(host_data) if source.kind() == TeeKind::Virtual => Ok(Arc::new(OwnCode::running(Some(host_data))?)),
        Some(_) => Err(NodeError::Platform("virtual_host_data is for the virtual platform only".to_owned())),
        None => Ok(source),
    }
}

/// The same, for programs that are no nodes. `amd_certificates` as in a node's configuration.
pub fn evidence_of_this_machine(
    dev: bool,
    amd_certificates: Option<PathBuf>,
) -> Result<Arc<dyn EvidenceSource>, NodeError> {
    if !dev {
        let machine = Machine { amd_certificates };
        let found = sources::detect(Arc::new(machine)).map_err(|error| NodeError::Platform(error.to_string()))?;
        if let Some(source) = found {
            return Ok(source.into());
        }
    }
    Ok(Arc::new(OwnCode::running(None)?))
}

/// The virtual platform, for the running executable: measured when evidence is first asked for, which a node that resumes need not wait for.
struct OwnCode {
    /// The file that runs, whatever is put in its place.
    file: fs::File,
    measured: Mutex<Option<Digest>>,
    /// What it says that it was launched with.
    host_data: Option<Digest>,
}

impl OwnCode {
    fn running(host_data: Option<Digest>) -> Result<Self, NodeError> {
        Ok(Self { file: own_executable()?, measured: Mutex::default(), host_data })
    }
}

impl EvidenceSource for OwnCode {
    fn kind(&self) -> TeeKind {
        TeeKind::Virtual
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        let mut measured = self.measured.lock();
        let measurement = match *measured {
            Some(measurement) => measurement,
            None => {
                let mut file = &self.file;
                file.rewind()
                    .and_then(|()| measure(file))
                    .map_err(|source| SourceError::Device { what: "the running executable".to_owned(), source })?
            }
        };
        *measured = Some(measurement);
        VirtualTee { measurement, host_data: self.host_data }.evidence(report_data)
    }
}

/// SHA-256 of the running executable: what members vote for on the virtual platform.
pub fn own_measurement() -> Result<Digest, NodeError> {
    measure(own_executable()?).map_err(NodeError::Executable)
}

fn own_executable() -> Result<fs::File, NodeError> {
    std::env::current_exe().and_then(fs::File::open).map_err(NodeError::Executable)
}

/// In pieces: the executable is larger than all else that a starting node holds.
fn measure(mut file: impl Read) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(hash.finish());
        }
        hash.update(&piece[..length]);
    }
}

fn found(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    genesis: &Path,
    secrets: Secrets,
    now_s: u64,
) -> Result<Entrance, NodeError> {
    let genesis = read_genesis(genesis)?;
    let crypto = SystemCrypto;
    let service_key = SigningKey::generate(&crypto, Curve::P384);
    let anchors = [service_extension(&genesis.attestation.anchors)];
    let certificate = self_signed_service_certificate(
        &crypto,
        &service_key,
        &genesis.name,
        certificates::validity_from(now_s),
        &anchors,
    )
    .map_err(|error| NodeError::Genesis(error.to_string()))?;
    let mut epochs = EntryKeys::new();
    epochs.add_epoch(Seqno(1), &SymmetricKey::generate(&crypto));
    let service = ServiceSecrets::new(service_key, certificate, epochs);
    let exchange = ExchangeKey::generate(&crypto);
    let node_key = SigningKey::generate(&crypto, Curve::P256);
    let own = own_evidence(config, platform, node_key.public_key(), &exchange)?;
    let extension = node_extension(&own.0, &own.1);
    let node_certificate =
        certify(&service, node_key.public_key(), config.index, &addresses(config), now_s, extension)?;
    let identity =
        Identity { replica: FOUNDER, node_key, node_certificate, exchange, service, swaps: None, begun: false };
    let known = Known { resume: Some(genesis.resume), ..Known::default() };
    let founding = founding_with(config, genesis, &identity, own)?;
    Ok(Entrance { founding: Some(founding), ..secrets.entrance(identity, known) })
}

/// The founding facts of a network whose first transaction this node is to write: at its first start, and again if it stopped
/// after it had its identity and before its ledger had anything.
pub fn founding(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    genesis: Genesis,
    identity: &Identity,
) -> Result<(Genesis, Founding), NodeError> {
    let own = own_evidence(config, platform, identity.node_key.public_key(), &identity.exchange)?;
    founding_with(config, genesis, identity, own)
}

/// Evidence of a node that nobody else admits: there is no service yet, and nobody to give it a challenge.
fn own_evidence(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    node_key: &PublicKey,
    exchange: &ExchangeKey,
) -> Result<(Evidence, BoundFacts), NodeError> {
    let exchange_key = exchange.public().to_vec();
    let bound = BoundFacts { exchange_key, service: None, config: config_digest(config), nonce: None };
    let report_data = bound.binding(node_key, platform.kind()).report_data();
    let evidence = platform.evidence(&report_data).map_err(|error| NodeError::Genesis(error.to_string()))?;
    Ok((evidence, bound))
}

fn founding_with(
    config: &NodeConfig,
    genesis: Genesis,
    identity: &Identity,
    (quote_info, bound): (Evidence, BoundFacts),
) -> Result<(Genesis, Founding), NodeError> {
    let Identity { node_key, node_certificate, service, .. } = identity;
    let info = row_with(config, identity, quote_info)?;
    let founder = Founder {
        node: NodeRow { id: node_key.public_key().node_id(), info },
        bound,
        node_certificate: node_certificate.to_pem(),
        service_certificate: service.certificate.to_pem(),
    };
    let founding = genesis::founding(&genesis, founder).map_err(NodeError::Genesis)?;
    Ok((genesis, founding))
}

/// What the ledger says of a node that nobody else admits, with fresh evidence, and what that is bound to.
pub fn own_row(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    identity: &Identity,
) -> Result<(NodeInfo, BoundFacts), NodeError> {
    let (quote_info, bound) = own_evidence(config, platform, identity.node_key.public_key(), &identity.exchange)?;
    Ok((row_with(config, identity, quote_info)?, bound))
}

fn row_with(config: &NodeConfig, identity: &Identity, quote_info: Evidence) -> Result<NodeInfo, NodeError> {
    let addresses = addresses(config);
    let request = certificates::request(&SystemCrypto, &identity.node_key, config.index, &addresses);
    Ok(NodeInfo {
        status: NodeStatus::Trusted,
        public_key: identity.node_key.public_key().to_pem(),
        replica: identity.replica,
        index: config.index,
        addresses,
        quote_info,
        encryption_pub_key: hex::encode(identity.exchange.public()),
        certificate_signing_request: Some(request.map_err(|error| NodeError::Genesis(error.to_string()))?),
        replaces: None,
        swaps: None,
        retired_committed: false,
        role: Default::default(),
        admitted_ms: 0,
        owner: None,
        node_data: Default::default(),
    })
}

/// A new service on the ledger that lies in this node's folder.
fn recover(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    previous: &Path,
    secrets: Secrets,
    now_s: u64,
) -> Result<Entrance, NodeError> {
    let previous = Certificate::from_pem(&read(previous)?).map_err(|error| NodeError::Join(error.to_string()))?;
    let ledger = LedgerDisk::open(config)?;
    let found = recovering::look(&ledger, previous.public_key())?;
    tracing::warn!(
        signed = %found.signed, committed = %found.committed, dropped = found.unsigned,
        "recovers the ledger up to its last signature, as a new service: its members will see up to where"
    );
    let network = recovering::network(&found.state)?;
    let crypto = SystemCrypto;
    let service_key = SigningKey::generate(&crypto, Curve::P384);
    let anchors =
        coco_governance::attestation::trust(&mut found.state.snapshot()).map_err(RecoveryError::from)?.anchors;
    let anchors = [service_extension(&anchors)];
    let certificate = self_signed_service_certificate(
        &crypto,
        &service_key,
        &network.name,
        certificates::validity_from(now_s),
        &anchors,
    )
    .map_err(|error| NodeError::Genesis(error.to_string()))?;
    let mut epochs = EntryKeys::new();
    epochs.add_epoch(found.signed.seqno.next(), &SymmetricKey::generate(&crypto));
    let mut service = ServiceSecrets::new(service_key, certificate, epochs);
    service.earlier =
        coco_governance::rotation::earlier_keys(&mut found.state.snapshot()).map_err(RecoveryError::from)?;
    service.earlier.push((found.signed.seqno, previous.public_key().clone()));
    let node_key = SigningKey::generate(&crypto, Curve::P256);
    let exchange = ExchangeKey::generate(&crypto);
    let (evidence, bound) = own_evidence(config, platform, node_key.public_key(), &exchange)?;
    let extension = node_extension(&evidence, &bound);
    let node_certificate =
        certify(&service, node_key.public_key(), config.index, &addresses(config), now_s, extension)?;
    let replica = coco_governance::next_replica(&mut found.state.snapshot()).map_err(RecoveryError::from)?;
    let identity = Identity { replica, node_key, node_certificate, exchange, service, swaps: None, begun: false };
    let log: Arc<dyn Disk> = Arc::new(FolderDisk::open(&config.data.join("consensus"))?);
    recovering::begin_log(&log, replica, found.signed)?;
    Ok(secrets.entrance(identity, Known { resume: Some(network.resume), at: found.signed, ..Known::default() }))
}

/// What the recovered ledger's first transaction says.
pub fn recovery(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    identity: &Identity,
    machines: &Machines,
) -> Result<Recovery, NodeError> {
    let recovered_to = machines.ledger.last_txid();
    let signature = machines.ledger.signature_at(recovered_to).map_err(OpenError::from)?;
    let (info, bound) = own_row(config, platform, identity)?;
    Ok(Recovery {
        recovered_to,
        last_root: signature.map(|signature| signature.root).unwrap_or(Digest::ZERO),
        node: NodeRow { id: identity.node_key.public_key().node_id(), info },
        bound,
        node_certificate: identity.node_certificate.to_pem(),
        service_certificate: identity.service.certificate.to_pem(),
    })
}

pub fn read_genesis(path: &Path) -> Result<Genesis, NodeError> {
    serde_json::from_str(&read(path)?).map_err(|error| NodeError::Genesis(format!("{}: {error}", path.display())))
}

/// Why a target did not admit this node.
struct Refused {
    why: String,
    /// Asking it again would not help.
    for_good: bool,
}

impl Refused {
    fn for_now(error: impl ToString) -> Self {
        Self { why: error.to_string(), for_good: false }
    }
}

impl From<HttpsError> for Refused {
    fn from(error: HttpsError) -> Self {
        Self { why: error.to_string(), for_good: matches!(error, HttpsError::OtherService { .. }) }
    }
}

/// Tries the targets in turn until one admits this node, or all refuse it for good.
fn join_one_of(
    config: &NodeConfig,
    platform: &dyn EvidenceSource,
    targets: &[std::net::SocketAddr],
    service: &Certificate,
    approved: Option<&str>,
    secrets: Secrets,
    pause: &dyn Fn(Duration) -> bool,
) -> Result<Entrance, NodeError> {
    let client = HttpsClient::new(service).map_err(|error| NodeError::Join(error.to_string()))?;
    let mut last_error = "no targets are configured".to_owned();
    let mut keys = NodeKeys::generate();
    let mut is_awaiting_vote = false;
    let mut attempt = 0;
    while attempt < JOIN_ATTEMPTS {
        if attempt > 0 && !pause(JOIN_PAUSE) {
            return Err(NodeError::Join(format!("stopped before it was admitted: {last_error}")));
        }
        attempt += 1;
        let mut for_good = !targets.is_empty();
        for target in targets {
            match approved.map_or(Ok(true), |digest| is_constitution(&client, *target, digest)) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(NodeError::Join(
                        "the network has another constitution than the one approved".to_owned(),
                    ));
                }
                Err(refused) => {
                    for_good &= refused.for_good;
                    last_error = refused.why;
                    continue;
                }
            }
            match try_join(config, &client, *target, service, platform, None, &keys) {
                Ok(answer) => return joined(config, keys, answer, secrets),
                Err(refused) if refused.why.contains(AWAITS_VOTE) => {
                    if last_error != refused.why {
                        let node = keys.node_key.public_key().node_id();
                        tracing::info!(%node, "the members are asked to vote for this node (transition_node_to_trusted)");
                    }
                    // However long they take, and whatever does not answer meanwhile, it stays the node that they vote for.
                    is_awaiting_vote = true;
                    attempt = 1;
                    for_good = false;
                    last_error = refused.why;
                    if !pause(VOTE_PAUSE) {
                        return Err(NodeError::Join(format!("stopped before it was admitted: {last_error}")));
                    }
                    break;
                }
                Err(refused) => {
                    tracing::debug!(%target, error = refused.why, "join");
                    // An answer that was lost may have been an admission: a key joins once.
                    if !is_awaiting_vote || refused.why.contains(JOINED_BEFORE) {
                        keys = NodeKeys::generate();
                        is_awaiting_vote = false;
                    }
                    for_good &= refused.for_good;
                    last_error = refused.why;
                }
            }
        }
        if for_good {
            break;
        }
    }
    Err(NodeError::Join(last_error))
}

/// Whether the network is governed as whoever runs this node has approved. Asked before anything of the network is taken in.
fn is_constitution(client: &HttpsClient, target: std::net::SocketAddr, approved: &str) -> Result<bool, Refused> {
    let text = client.get(target, "/gov/service/constitution?api-version=2024-07-01")?;
    Ok(sha256(&text).to_string() == approved.to_ascii_lowercase())
}

fn try_join(
    config: &NodeConfig,
    client: &HttpsClient,
    target: std::net::SocketAddr,
    trusted: &Certificate,
    source: &dyn EvidenceSource,
    before: Option<&SigningKey>,
    NodeKeys { node_key, exchange }: &NodeKeys,
) -> Result<JoinAnswer, Refused> {
    let service = present_service(client, target, trusted)?;
    let challenge = client.post(target, "/node/join:challenge", b"{}")?;
    let join::Challenge { nonce, takes_certificate_signing_request } =
        serde_json::from_slice(&challenge).map_err(Refused::for_now)?;
    let place = join::Place { index: config.index, addresses: addresses(config), role: config.role };
    let mut request = join::request(
        source,
        node_key.public_key(),
        exchange.public(),
        service.public_key(),
        place,
        config_digest(config),
        nonce,
    )
    .map_err(Refused::for_now)?;
    request.swaps = before.map(|before| join::SwapClaim::new(&SystemCrypto, before, node_key.public_key(), &nonce));
    if takes_certificate_signing_request {
        let own = certificates::request(&SystemCrypto, node_key, config.index, &place.addresses);
        request.certificate_signing_request = Some(own.map_err(Refused::for_now)?);
    }
    let send = |request: &join::JoinRequest| {
        let body = serde_json::to_vec(request).map_err(Refused::for_now)?;
        Ok(client.post(target, "/node/join", &body)?)
    };
    let answer = send(&request).or_else(|refused: Refused| {
        // Whom we ask may pass it on to a primary that is older.
        if !refused.why.contains("unknown field `certificate_signing_request`") {
            return Err(refused);
        }
        request.certificate_signing_request = None;
        send(&request)
    })?;
    join::open_answer(exchange, &answer).map_err(Refused::for_now)
}

/// The service that the one which is trusted has become: members may have rotated its identity since.
fn present_service(
    client: &HttpsClient,
    target: std::net::SocketAddr,
    trusted: &Certificate,
) -> Result<Certificate, Refused> {
    #[derive(serde::Deserialize)]
    struct Bridges {
        #[serde(default)]
        service_bridges: Vec<String>,
    }
    let network = client.get(target, "/node/network")?;
    let Bridges { service_bridges } = serde_json::from_slice(&network).map_err(Refused::for_now)?;
    let bridges = service_bridges.iter().map(|pem| Certificate::from_pem(pem)).collect::<Result<Vec<_>, _>>();
    let bridges = bridges.map_err(Refused::for_now)?;
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(follow_bridges(trusted, &bridges, now_s))
}

/// Of a node that joins.
struct NodeKeys {
    node_key: SigningKey,
    exchange: ExchangeKey,
}

impl NodeKeys {
    fn generate() -> Self {
        let (node_key, exchange) =
            (SigningKey::generate(&SystemCrypto, Curve::P256), ExchangeKey::generate(&SystemCrypto));
        Self { node_key, exchange }
    }
}

fn joined(
    config: &NodeConfig,
    NodeKeys { node_key, exchange }: NodeKeys,
    mut answer: JoinAnswer,
    own: Secrets,
) -> Result<Entrance, NodeError> {
    let join = |error: &dyn std::fmt::Display| NodeError::Join(error.to_string());
    let secrets = zeroize::Zeroizing::new(hex::decode(&answer.secrets).map_err(|error| join(&error))?);
    let identity = Identity {
        replica: answer.replica,
        node_key,
        node_certificate: Certificate::from_pem(&answer.certificate).map_err(|error| join(&error))?,
        exchange,
        service: ServiceSecrets::from_bytes(&secrets)?,
        swaps: None,
        begun: false,
    };
    let peers = std::mem::take(&mut answer.peers);
    // Where the others are in the network will be read from the ledger.
    let other = |(replica, addresses): &(ReplicaId, Addresses)| KnownNode {
        replica: *replica,
        node: None,
        index: if *addresses == self::addresses(config) { config.index } else { u32::MAX },
        addresses: *addresses,
    };
    let known = Known { nodes: peers.iter().map(other).collect(), ..Known::default() };
    Ok(Entrance { peers, ..own.entrance(identity, known) })
}

fn read(path: &Path) -> Result<String, NodeError> {
    fs::read_to_string(path).map_err(|source| NodeError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use coco_disk::MemoryDisk;
    use coco_types::{TxId, View};

    use super::*;
    use crate::fixture;

    const VIRTUAL: VirtualTee = VirtualTee::running(Digest([7; 32]));

    #[test]
    fn an_executable_is_measured_whole_however_it_is_read() {
        let bytes: Vec<u8> = (0..(3 << 20) + 7).map(|i: u32| i.to_le_bytes()[1]).collect();
        assert_eq!(measure(bytes.as_slice()).unwrap(), sha256(&bytes));
        assert_eq!(measure(io::empty()).unwrap(), sha256(b""));
    }

    fn config(folder: &Path) -> NodeConfig {
        let genesis = folder.join("genesis.json");
        let text = r#"{"name": "test", "members": [], "virtual_measurements": [], "ledgers": {}}"#;
        fs::write(&genesis, text).unwrap();
        NodeConfig { start: Start::New { genesis }, ..fixture::config(folder) }
    }

    fn start(config: &NodeConfig, disk: &MemoryDisk, now_s: u64) -> Result<Entrance, NodeError> {
        enter(config, &VIRTUAL, disk, &SymmetricKey::from_bytes([1; 32]), now_s, &|_| true)
    }

    #[test]
    fn an_emptied_folder_does_not_found_a_second_network_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let first = start(&config, &MemoryDisk::new(), 1_000).unwrap();
        let refused = start(&config, &MemoryDisk::new(), 2_000).err().unwrap().to_string();
        assert!(refused.contains("has founded a network already"), "{refused}");
        let mark = folder.path().join("genesis.json.founded");
        assert_eq!(fs::read_to_string(&mark).unwrap(), first.identity.service.certificate.to_pem());
        fs::remove_file(mark).unwrap();
        start(&config, &MemoryDisk::new(), 3_000).unwrap();
    }

    #[test]
    fn a_node_that_ended_in_the_middle_of_its_swap_stays_the_fresh_replica_however_it_is_to_start() {
        let folder = tempfile::tempdir().unwrap();
        let founds = config(folder.path());
        let disk = MemoryDisk::new();
        let mut fresh = start(&founds, &disk, 1_000).unwrap();
        fresh.identity.replica = ReplicaId(4);
        fresh.identity.swaps = Some(FOUNDER);
        let addresses = addresses(&founds);
        fresh.known.nodes = vec![KnownNode { replica: ReplicaId(2), node: None, index: 1, addresses }];
        fresh.keep(&disk).unwrap();
        for config in [&founds, &fixture::config(folder.path())] {
            let again = start(config, &disk, 2_000).unwrap();
            assert_eq!(again.identity.node_key.public_key(), fresh.identity.node_key.public_key());
            assert_eq!(
                (again.identity.replica, again.peers.as_slice()),
                (ReplicaId(4), &[(ReplicaId(2), addresses)][..])
            );
        }
    }

    #[test]
    fn a_founder_that_never_began_founds_another_network_with_keys_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (config, disk) = (config(folder.path()), MemoryDisk::new());
        let keys = |entrance: &Entrance| {
            let Identity { node_key, exchange, service, .. } = &entrance.identity;
            let (_, secret) = service.epochs.epochs().next().unwrap();
            let keys = [node_key.public_key().to_pem(), service.certificate.public_key().to_pem()];
            (keys, exchange.public().to_vec(), hex::encode(secret.expose()))
        };
        let first = start(&config, &disk, 1_000).unwrap();
        let second = start(&config, &disk, 2_000).unwrap();
        let (before, after) = (keys(&first), keys(&second));
        assert!(before.0.iter().zip(&after.0).all(|(before, after)| before != after));
        assert!(before.1 != after.1 && before.2 != after.2);
        let (_, facts) = second.founding.expect("it founds");
        let pem = second.identity.service.certificate.to_pem();
        assert_eq!((&facts.service_certificate, facts.node.info.replica), (&pem, FOUNDER));
        assert_eq!(fs::read_to_string(folder.path().join("genesis.json.founded")).unwrap(), pem);
        let kept = Identity::load(&disk, &SymmetricKey::from_bytes([1; 32])).unwrap().unwrap();
        assert_eq!(kept.service.certificate.to_pem(), pem);
        assert!(kept.service.epochs.epochs().eq(second.identity.service.epochs.epochs()));
    }

    #[test]
    fn a_founder_that_has_begun_goes_on_with_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let (config, disk) = (config(folder.path()), MemoryDisk::new());
        let mut first = start(&config, &disk, 1_000).unwrap();
        let (_, facts) = first.founding.take().expect("a first start founds");
        first.identity.begun = true;
        first.keep(&disk).unwrap();
        let second = start(&config, &disk, 2_000).unwrap();
        assert!(second.founding.is_none());
        let genesis = read_genesis(&folder.path().join("genesis.json")).unwrap();
        let (_, again) = founding(&config, &VIRTUAL, genesis, &second.identity).unwrap();
        assert_eq!((again.node.id, again.node_certificate), (facts.node.id, facts.node_certificate));
        assert_eq!(again.service_certificate, facts.service_certificate);
    }

    #[test]
    fn an_identity_from_before_its_folders_transactions_founds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (config, disk) = (config(folder.path()), MemoryDisk::new());
        let first = start(&config, &disk, 1_000).unwrap();
        let log: Arc<dyn Disk> = Arc::new(FolderDisk::open(&config.data.join("consensus")).unwrap());
        recovering::begin_log(&log, FOUNDER, TxId::new(View(1), Seqno(5))).unwrap();
        let refused = start(&config, &disk, 2_000).err().unwrap().to_string();
        assert!(refused.contains("older than its consensus log"), "{refused}");
        let kept = Identity::load(&disk, &SymmetricKey::from_bytes([1; 32])).unwrap().unwrap();
        assert_eq!(kept.service.certificate.to_pem(), first.identity.service.certificate.to_pem());
    }
}
