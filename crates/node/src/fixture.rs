//! A node as its servers see it, for tests: nothing runs behind it, and another node is primary.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_crypto::{
    Curve, ExchangeKey, SeededCrypto, SigningKey, SymmetricKey, Validity, self_signed_service_certificate,
};
use coco_disk::MemoryDisk;
use coco_governance::tables;
use coco_kv::Store;
use coco_ledger::{EntryKeys, HistoryKeys, MemoryHistory};
use coco_protocol::OpenGate;
use coco_rpc::channel::Answer;
use coco_types::{ReplicaId, Seqno, TxId, View};
use crossbeam_channel::{Receiver, bounded};
use parking_lot::RwLock;

use crate::config::{Listen, NodeConfig, Start, Timing};
use crate::events::ReplicaEvent;
use crate::front::Visible;
use crate::handle::{Peers, Shared, Standing};
use crate::history::NodeHistory;
use crate::identity::{Identity, ServiceSecrets};
use crate::ledger::NodeLedger;

const OWN: ReplicaId = ReplicaId(1);
const PRIMARY: ReplicaId = ReplicaId(2);

/// A backup of an open service, and what its servers ask of the replica that is not there.
pub struct Backup {
    pub shared: Arc<Shared>,
    pub replica: Receiver<ReplicaEvent>,
}

impl Backup {
    /// Has applied everything up to `visible`; its primary gives this answer to whatever it is asked.
    pub fn new(visible: TxId, answer: Bytes) -> Self {
        Self::of(&identity(&SeededCrypto::new(1)), visible, answer)
    }

    /// The same of this node.
    pub fn of(identity: &Identity, visible: TxId, answer: Bytes) -> Self {
        let crypto = Arc::new(SeededCrypto::new(1));
        let cert = identity.service.certificate.to_pem();
        let service = serde_json::json!({ "cert": cert, "status": "Open" }).to_string();
        let row = (tables::SERVICE_INFO, Bytes::from_static(&tables::SINGLETON), Bytes::from(service));
        let store = Store::restore(visible.seqno, [row]);
        let disk = Arc::new(MemoryDisk::new());
        let (ledger, _) =
            NodeLedger::open(disk, Seqno::ZERO, identity, crypto.clone(), 1 << 20, Arc::new(|| 0)).unwrap();
        let secret = SymmetricKey::generate(crypto.as_ref());
        let keys = HistoryKeys::new(&secret, crypto.as_ref());
        let (to_executor, _) = bounded(0);
        let (to_replica, replica) = bounded(8);
        let shared = Shared {
            replica_id: OWN,
            index: 0,
            visible: Arc::new(Visible::new(visible, &store)),
            history: Arc::new(NodeHistory::open(keys, Arc::new(MemoryHistory::default())).unwrap()),
            ledger,
            gate: Arc::new(OpenGate),
            standing: RwLock::new(Standing { view: View(1), primary: Some(PRIMARY), ..Standing::default() }),
            executor: to_executor,
            replica: to_replica,
            peers: Arc::new(Answering(answer)),
            resumed: None,
            clock: Arc::new(|| 0),
        };
        Self { shared: Arc::new(shared), replica }
    }
}

/// Gives every question the same answer at once.
struct Answering(Bytes);

impl Peers for Answering {
    fn send(&self, _: ReplicaId, _: Bytes) {}

    fn request(&self, to: ReplicaId, _: u16, _: Bytes, _: Duration, reply: Answer) {
        assert_eq!(to, PRIMARY);
        reply(Ok(self.0.clone()));
    }

    fn connect(&self, _: &BTreeMap<ReplicaId, SocketAddr>) {}
}

/// Of a node that is to join with this folder; nobody listens anywhere.
pub fn config(folder: &Path) -> NodeConfig {
    let address = ([127, 0, 0, 1], 0).into();
    NodeConfig {
        index: 0,
        data: folder.to_owned(),
        listen: Listen { api: address, gov: None, peers: address, admin: address, ledgers: BTreeMap::new() },
        start: Start::Join {
            targets: Vec::new(),
            service_certificate: folder.join("service_certificate.pem"),
            constitution_digest: None,
        },
        role: Default::default(),
        timing: Timing::default(),
        amd_certificates: None,
        read_only_ledger_directories: Vec::new(),
        sealing_key_file: false,
        virtual_host_data: None,
        snapshot_bytes: coco_types::limits::SNAPSHOT_LEDGER_BYTES,
        dev: true,
        ledgers: BTreeMap::new(),
    }
}

/// Of a network's first node.
pub fn identity(crypto: &SeededCrypto) -> Identity {
    let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
    let [node_key, key] = [Curve::P256, Curve::P384].map(|curve| SigningKey::generate(crypto, curve));
    let certificate = self_signed_service_certificate(crypto, &key, "test", validity, &[]).unwrap();
    let mut epochs = EntryKeys::new();
    epochs.add_epoch(Seqno(1), &SymmetricKey::generate(crypto));
    let service = ServiceSecrets::new(key, certificate.clone(), epochs);
    let exchange = ExchangeKey::generate(crypto);
    Identity { replica: OWN, node_key, node_certificate: certificate, exchange, service, swaps: None, begun: false }
}
