//! One simulated node: real machines over simulated disks.

use std::collections::VecDeque;
use std::sync::Arc;

use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_attestation::{Evidence, EvidenceSource, ReportData};
use coco_consensus::{Config, Persist};
use coco_crypto::{
    Certificate, Crypto, Curve, NodeCertificateRequest, SeededCrypto, SigningKey, SymmetricKey, Validity,
    issue_node_certificate, self_signed_service_certificate,
};
use coco_disk::{Disk, MemoryDisk};
use coco_governance::Addresses;
use coco_ledger::MemoryHistory;
use coco_node::executor::BatchLimits;
use coco_node::identity::{Identity, ServiceSecrets};
use coco_node::machines::{Machines, OpenError, Parts};
use coco_node::replica::Delivery;
use coco_types::{Digest, ReplicaId};
use parking_lot::Mutex;

use crate::counter::Counter;

/// What the whole network shares outside any node: its founding secrets, and time.
pub struct Setting {
    pub crypto: Arc<dyn Crypto>,
    pub service_key: SigningKey,
    pub service_certificate: Certificate,
    pub ledger_secret: SymmetricKey,
    pub now_ms: Arc<Mutex<u64>>,
}

/// A node's disks survive its crashes; its machines do not.
pub struct SimNode {
    pub id: ReplicaId,
    pub identity: Identity,
    pub ledger_disk: MemoryDisk,
    pub log_disk: MemoryDisk,
    history_secret: SymmetricKey,
    crypto: Arc<dyn Crypto>,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub machines: Option<Machines>,
    /// Syncs under way, by when they end.
    pub syncing: VecDeque<(u64, Persist)>,
    pub deliveries: VecDeque<Delivery>,
    pub next_tick_ms: u64,
}

/// Certificates in a simulation never expire.
pub const VALIDITY: Validity = Validity { not_before: 0, not_after: 4_000_000_000 };
pub const MEASUREMENT: Digest = Digest([7; 32]);
/// Small, so that chunks are cut in every run.
const CHUNK_BYTES: u64 = 40_000;

impl Setting {
    pub fn new(seed: u64) -> Self {
        let crypto: Arc<dyn Crypto> = Arc::new(SeededCrypto::new(seed));
        let service_key = SigningKey::generate(crypto.as_ref(), Curve::P384);
        let service_certificate =
            self_signed_service_certificate(crypto.as_ref(), &service_key, "sim", VALIDITY, &[]).expect("a valid name");
        let ledger_secret = SymmetricKey::generate(crypto.as_ref());
        let now_ms = Arc::new(Mutex::new(1_000_000));
        Self { crypto, service_key, service_certificate, ledger_secret, now_ms }
    }

    pub fn now_ms(&self) -> u64 {
        *self.now_ms.lock()
    }

    /// A node with keys and an empty disk, not started.
    pub fn node(&self, id: ReplicaId, seed: u64) -> SimNode {
        let crypto: Arc<dyn Crypto> = Arc::new(SeededCrypto::new(seed));
        let node_key = SigningKey::generate(crypto.as_ref(), Curve::P256);
        let request = NodeCertificateRequest {
            public_key: node_key.public_key().clone(),
            common_name: format!("node {id}"),
            subject_alt_names: vec![coco_crypto::SubjectAltName::from_host("127.0.0.1")],
            validity: VALIDITY,
            extensions: Vec::new(),
        };
        let certificate =
            issue_node_certificate(crypto.as_ref(), &self.service_certificate, &self.service_key, &request)
                .expect("a valid request");
        let copy = SigningKey::from_pkcs8_der(&self.service_key.to_pkcs8_der()).expect("a key survives its encoding");
        let service = ServiceSecrets {
            key: copy,
            certificate: self.service_certificate.clone(),
            ledger_secret: self.ledger_secret.clone(),
        };
        let now_ms = self.now_ms.clone();
        SimNode {
            id,
            identity: Identity { replica: id, node_key, node_certificate: certificate, service },
            ledger_disk: MemoryDisk::new(),
            log_disk: MemoryDisk::new(),
            history_secret: SymmetricKey::generate(crypto.as_ref()),
            crypto,
            clock: Arc::new(move || *now_ms.lock()),
            machines: None,
            syncing: VecDeque::new(),
            deliveries: VecDeque::new(),
            next_tick_ms: 0,
        }
    }
}

impl SimNode {
    /// Starts, or starts again, over what is on the disks.
    pub fn start(&mut self, now_ms: u64) -> Result<(), OpenError> {
        let parts = Parts {
            identity: &self.identity,
            ledger_disk: Arc::new(self.ledger_disk.clone()),
            log_disk: Arc::new(self.log_disk.clone()),
            history: Arc::new(MemoryHistory::new()),
            history_secret: &self.history_secret,
            protocols: vec![Arc::new(Counter)],
            crypto: self.crypto.clone(),
            clock: self.clock.clone(),
            consensus: Config::new(self.id),
            batches: BatchLimits::default(),
            chunk_bytes: CHUNK_BYTES,
            founders: vec![ReplicaId(1)],
        };
        self.machines = Some(Machines::open(parts)?);
        self.next_tick_ms = now_ms;
        Ok(())
    }

    /// The power goes: machines and unsynced writes are lost.
    pub fn crash(&mut self, mut survives: impl FnMut(usize) -> Option<usize>) {
        self.machines = None;
        self.syncing.clear();
        self.deliveries.clear();
        self.ledger_disk.crash(&mut survives);
        self.log_disk.crash(&mut survives);
    }

    /// What a [`Persist`] asks for.
    pub fn sync(&self, persist: &Persist) -> std::io::Result<()> {
        if persist.batches
            && let Some(machines) = &self.machines
        {
            machines.ledger.sync()?;
        }
        self.log_disk.sync(persist.log_file)
    }

    pub fn addresses(&self) -> Addresses {
        let port = |base: u16| base + u16::try_from(self.id.0).unwrap_or(0);
        let address = |port: u16| ([127, 0, 0, 1], port).into();
        Addresses { api: address(port(8000)), peers: address(port(8100)) }
    }

    pub fn evidence(&self, report_data: &ReportData) -> Evidence {
        VirtualTee { measurement: MEASUREMENT }.evidence(report_data).expect("virtual evidence is always to be had")
    }
}
