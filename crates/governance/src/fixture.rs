//! A network for tests: no node, only rows.

use std::net::SocketAddr;

use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_attestation::{EvidenceSource, ReportData};
use coco_crypto::{Certificate, Curve, SeededCrypto, SigningKey, Validity};
use coco_crypto::{self_signed_certificate, self_signed_service_certificate, sha256};
use coco_kv::Store;
use coco_types::{Digest, ReplicaId, Seqno};

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

/// A store whose first version is the genesis of a network of these members, opening.
pub fn founded(crypto: &SeededCrypto, members: &[&Actor], constitution: &str) -> Store {
    let service_key = SigningKey::generate(crypto, Curve::P384);
    let service = self_signed_service_certificate(crypto, &service_key, "test", VALIDITY, &[]).unwrap();
    let node = Actor::new(crypto, Curve::P256, "node");
    let measurement = sha256(b"code");
    let address: SocketAddr = ([127, 0, 0, 1], 1).into();
    let actor =
        |actor: &&Actor| FoundingActor { certificate: actor.certificate.to_pem(), data: serde_json::Value::Null };
    let founding = Founding {
        network: Network {
            name: "test".to_owned(),
            chunk_bytes: 1 << 20,
            ledgers: Vec::new(),
            resume: ResumePolicy::default(),
            swap_interval_ms: 0,
        },
        members: members.iter().map(actor).collect(),
        participants: Vec::new(),
        virtual_measurements: vec![measurement],
        attestation: crate::attestation::AttestationGenesis::default(),
        bound: None,
        constitution: constitution.to_owned(),
        node: NodeRow {
            id: node.key.public_key().node_id(),
            info: NodeInfo {
                status: NodeStatus::Trusted,
                public_key: node.key.public_key().to_pem(),
                replica: ReplicaId(1),
                index: 0,
                addresses: Addresses { api: address, peers: address },
                quote_info: VirtualTee { measurement }.evidence(&ReportData([0; 64])).unwrap(),
                replaces: None,
                retired_committed: false,
                role: Default::default(),
                admitted_ms: 0,
            },
        },
        node_certificate: node.certificate.to_pem(),
        service_certificate: service.to_pem(),
    };
    let store = Store::new();
    let mut tx = store.begin();
    crate::found(&mut tx, &founding, 0).unwrap();
    store.apply(Seqno(1), tx.writes()).unwrap();
    store.commit(Seqno(1));
    store
}

/// A session on the store's newest version.
pub fn session(store: &Store) -> Session {
    let signature = serde_json::json!({ "root": ROOT, "seqno": 1, "view": 1 });
    let facts = Facts { signature_json: Some(signature.to_string()), root: Some(ROOT), now_s: NOW_S, seed: [1; 32] };
    Session::new(store.begin(), facts, None)
}

/// Makes what a session wrote the next version.
pub fn commit(store: &Store, session: Session) {
    let next = store.newest().next();
    store.apply(next, session.into_tx().writes()).unwrap();
    store.commit(next);
}
