//! A network for tests: no node, only rows.

use std::net::SocketAddr;

use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_attestation::{EvidenceSource, ReportData};
use coco_crypto::{Certificate, Curve, ExchangeKey, SeededCrypto, SigningKey, Validity};
use coco_crypto::{self_signed_certificate, self_signed_service_certificate, sha256};
use coco_kv::Store;
use coco_types::{Digest, NodeId, ReplicaId, Seqno};

use crate::{Addresses, Facts, Founding, FoundingActor, Network, NodeInfo, NodeRow, NodeStatus};
use crate::{ResumePolicy, Session};

/// Long before any test's present.
pub const VALIDITY: Validity = Validity { not_before: 0, not_after: 4_000_000_000 };
pub const ROOT: Digest = Digest([7; 32]);
pub const NOW_S: u64 = 1_700_000_000;

pub struct Actor {
    pub key: SigningKey,
    pub certificate: Certificate,
}

impl Actor {
    pub fn new(crypto: &SeededCrypto, curve: Curve, name: &str) -> Self {
        let key = SigningKey::generate(crypto, curve);
        let certificate = self_signed_certificate(crypto, &key, name, &[], VALIDITY, &[]).unwrap();
        Self { key, certificate }
    }

    pub fn id(&self) -> String {
        self.certificate.fingerprint().to_string()
    }
}

/// What a test network is founded on, and the keys of its node and service.
pub struct Founded {
    pub founding: Founding,
    pub node: NodeId,
    pub exchange: ExchangeKey,
    pub service_key: SigningKey,
}

/// A store whose first version is the genesis of a network of these members, opening.
pub fn founded(crypto: &SeededCrypto, members: &[&Actor], constitution: &str) -> Store {
    let mut founding = founded_with(crypto, members, &[], 0).founding;
    founding.constitution = constitution.to_owned();
    let store = Store::new();
    let mut tx = store.begin();
    crate::found(&mut tx, &founding, 0).unwrap();
    store.apply(Seqno(1), tx.writes()).unwrap();
    store.commit(Seqno(1));
    store
}

/// Members with encryption keys hold recovery shares.
pub fn founded_with(crypto: &SeededCrypto, members: &[&Actor], keys: &[String], threshold: u64) -> Founded {
    let service_key = SigningKey::generate(crypto, Curve::P384);
    let service = self_signed_service_certificate(crypto, &service_key, "test", VALIDITY, &[]).unwrap();
    let node = Actor::new(crypto, Curve::P256, "node");
    let exchange = ExchangeKey::generate(crypto);
    let measurement = sha256(b"code");
    let address: SocketAddr = ([127, 0, 0, 1], 1).into();
    let actor = |(at, actor): (usize, &&Actor)| FoundingActor {
        certificate: actor.certificate.to_pem(),
        data: serde_json::Value::Null,
        encryption_public_key: keys.get(at).cloned(),
        recovery_role: None,
    };
    let node_id = node.key.public_key().node_id();
    let founding = Founding {
        network: Network {
            name: "test".to_owned(),
            chunk_bytes: 1 << 20,
            ledgers: vec!["records".to_owned()],
            resume: ResumePolicy::default(),
            swap_interval_ms: 0,
        },
        members: members.iter().enumerate().map(actor).collect(),
        participants: Vec::new(),
        recovery_threshold: Some(threshold),
        virtual_measurements: vec![measurement],
        attestation: coco_attestation::Rules::default(),
        bound: None,
        constitution: crate::constitution::DEFAULT.to_owned(),
        node: NodeRow {
            id: node_id,
            info: NodeInfo {
                status: NodeStatus::Trusted,
                public_key: node.key.public_key().to_pem(),
                replica: ReplicaId(1),
                index: 0,
                addresses: Addresses { api: address, peers: address },
                encryption_pub_key: hex::encode(exchange.public()),
                certificate_signing_request: Some(
                    crate::certificates::request(crypto, &node.key, 0, &Addresses { api: address, peers: address })
                        .unwrap(),
                ),
                quote_info: VirtualTee::running(measurement).evidence(&ReportData([0; 64])).unwrap(),
                replaces: None,
                swaps: None,
                retired_committed: false,
                role: Default::default(),
                admitted_ms: 0,
                owner: None,
                node_data: Default::default(),
            },
        },
        node_certificate: node.certificate.to_pem(),
        service_certificate: service.to_pem(),
    };
    Founded { founding, node: node_id, exchange, service_key }
}

/// A session on the store's newest version.
pub fn session(store: &Store) -> Session {
    let signature = serde_json::json!({ "root": ROOT, "seqno": 1, "view": 1 });
    let facts = Facts {
        signature_json: Some(signature.to_string()),
        root: Some(ROOT),
        now_s: NOW_S,
        seed: [1; 32],
        vault: None,
        ledgers: None,
    };
    Session::new(store.begin(), facts, None)
}

/// Makes what a session wrote the next version.
pub fn commit(store: &Store, session: Session) {
    let next = store.newest().next();
    store.apply(next, session.into_tx().writes()).unwrap();
    store.commit(next);
}
