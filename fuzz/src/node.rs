//! A node of the tests' service, with its ledger and the log beside it.

use std::io;
use std::sync::Arc;

use coco_consensus::{Config, Consensus, Output};
use coco_crypto::{ExchangeKey, SigningKey, SymmetricKey};
use coco_disk::{Disk, MemoryDisk};
use coco_ledger::{BatchSealer, Closing, Frontier, MerkleTree, Primary};
use coco_node::identity::{Identity, ServiceSecrets};
use coco_node::ledger::NodeLedger;
use coco_types::{ReplicaId, Seqno, TxId, WriteSet};

use crate::service::{NOW, Service};

const CHUNK_BYTES: u64 = 1 << 20;

/// What a node of this service holds, as this replica.
pub fn identity(service: &Service, replica: ReplicaId) -> Identity {
    let copy = |key: &SigningKey| SigningKey::from_pkcs8_der(&key.to_pkcs8_der()).expect("a key survives its encoding");
    Identity {
        replica,
        node_key: copy(&service.signer.node_key),
        node_certificate: service.node_certificate.clone(),
        exchange: ExchangeKey::from_scalar(SymmetricKey::from_bytes([3; 32])),
        service: ServiceSecrets {
            key: copy(&service.signer.service_key),
            certificate: service.service_certificate.clone(),
            earlier: Vec::new(),
            bridges: Vec::new(),
            epochs: service.keys.clone(),
        },
        swaps: None,
        begun: true,
    }
}

/// Opens the ledger's folder as a node does.
pub fn open_ledger(
    disk: &MemoryDisk,
    durable: Seqno,
    identity: &Identity,
    service: &Service,
) -> Option<Arc<NodeLedger>> {
    let (disk, clock) = (Arc::new(disk.clone()), Arc::new(|| NOW * 1000));
    let opened = NodeLedger::open(disk, durable, identity, service.crypto.clone(), CHUNK_BYTES, clock);
    opened.ok().map(|(ledger, _)| ledger)
}

/// Some ticks are enough for an election.
pub fn config(replica: ReplicaId) -> Config {
    Config { election_ticks: 4, heartbeat_ticks: 1, ..Config::new(replica) }
}

/// Does what an output asks for: what is to be durable is, and what is committed is applied.
pub fn act_on(consensus: &mut Consensus, output: &Output) {
    if let Some(persist) = output.persist {
        consensus.persisted(persist.number);
    }
    if let Some(last) = output.committed.last() {
        consensus.applied(last.index);
    }
}

/// One batch, signed by the service's keys, behind a tree of any size: what a primary can make that follows no rule.
pub fn seal_behind(
    service: &Service,
    tree: &Frontier,
    primary: Primary,
    new_view: bool,
    writes: &[WriteSet],
) -> Option<Vec<u8>> {
    let mut merkle = MerkleTree::import(Arc::new(Nowhere), tree.clone()).ok()?;
    let mut sealer = BatchSealer::new(service.keys.clone(), primary, Seqno(tree.leaves()));
    for writes in writes {
        sealer.add(writes, coco_types::Digest::ZERO).ok()?;
    }
    let closing = Closing {
        signer: &service.signer,
        issued_at: NOW,
        committed: TxId::default(),
        node_certificate: None,
        new_view,
        chunk_ends: false,
    };
    sealer.finish(&mut merkle, &closing).ok().map(|sealed| sealed.bytes)
}

/// A disk that keeps nothing: the nodes of a tree of 2^50 leaves lie far behind what memory holds.
struct Nowhere;

impl Disk for Nowhere {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn len(&self, _: &str) -> io::Result<u64> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn read(&self, _: &str, _: u64, _: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn write(&self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _: &str, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}
