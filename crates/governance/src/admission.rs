//! Who may run a node: the join path's decisions, and leaving.

use coco_attestation::{Binding, Claims, Evidence, Policy, appraise, verify};
use coco_crypto::{PublicKey, sha256};
use coco_kv::Tx;
use coco_types::{Digest, NodeId, ReplicaId};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::rows::{Addresses, NodeInfo, NodeRow, NodeStatus};
use crate::tables::{self, Read};

/// What a joining node says about itself. Nothing of it is trusted until [`applicant_claims`] has returned.
#[derive(Clone, Debug)]
pub struct Applicant {
    pub public_key: PublicKey,
    pub exchange_key: Vec<u8>,
    pub index: u32,
    pub addresses: Addresses,
    pub config: Digest,
    pub nonce: [u8; 32],
    pub evidence: Evidence,
}

/// How an admitted node stands: its replica id, and the node that it replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    pub replica: ReplicaId,
    pub replaces: Option<NodeId>,
}

/// Verifies the applicant's evidence for this service and challenge. Pure, and too slow for the executor: run it before.
pub fn applicant_claims(applicant: &Applicant, service: &PublicKey) -> Result<Claims, Error> {
    let binding = Binding {
        node_key: &applicant.public_key,
        exchange_key: &applicant.exchange_key,
        service: Some(sha256(&service.spki_der())),
        config: applicant.config,
        tee: applicant.evidence.kind,
        nonce: Some(applicant.nonce),
    };
    verify(&applicant.evidence, &binding.report_data()).map_err(|error| Error::NotAdmitted(error.to_string()))
}

/// What the members voted about code.
pub fn policy(state: &mut dyn Read) -> Result<Policy, Error> {
    let rows = tables::read_all::<String>(state, &tables::VIRTUAL_MEASUREMENTS)?;
    let parse = |(key, _): (String, String)| {
        key.parse::<Digest>().map_err(|error| Error::UnreadableRow {
            map: tables::VIRTUAL_MEASUREMENTS,
            key: key.clone(),
            why: error.to_string(),
        })
    };
    Ok(Policy { virtual_measurements: rows.into_iter().map(parse).collect::<Result<_, _>>()? })
}

/// Admits a node whose evidence was verified: appraises it against the policy in force and writes its row, `Trusted`. A node of the
/// same index that is still trusted is the one it replaces.
pub fn admit(tx: &mut Tx, applicant: &Applicant, claims: &Claims, certificate_pem: &str) -> Result<Standing, Error> {
    let decision = appraise(claims, &policy(tx)?);
    if !decision.accepted() {
        return Err(Error::NotAdmitted(decision.to_string()));
    }
    let id = applicant.public_key.node_id();
    if NodeRow::read(tx, id)?.is_some() {
        return Err(Error::NotAdmitted(format!("node {id} has joined before; a node joins once, with a fresh key")));
    }
    let replaces = current_nodes(tx)?.into_iter().rfind(|node| node.info.index == applicant.index).map(|node| node.id);
    let replica = next_replica(tx)?;
    let info = NodeInfo {
        status: NodeStatus::Trusted,
        public_key: applicant.public_key.to_pem(),
        replica,
        index: applicant.index,
        addresses: applicant.addresses,
        quote_info: applicant.evidence.clone(),
        replaces,
        retired_committed: false,
    };
    NodeRow { id, info }.write(tx);
    tx.put(&tables::NODE_CERTS, id.to_string().into_bytes(), certificate_pem.to_owned().into_bytes());
    Ok(Standing { replica, replaces })
}

/// The nodes that are trusted, by replica id.
pub fn current_nodes(state: &mut dyn Read) -> Result<Vec<NodeRow>, Error> {
    let mut nodes = NodeRow::all(state)?;
    nodes.retain(|node| node.info.status == NodeStatus::Trusted);
    nodes.sort_by_key(|node| node.info.replica);
    Ok(nodes)
}

/// A node must leave the network. Its client and key access ends with this transaction.
pub fn retire(tx: &mut Tx, id: NodeId) -> Result<(), Error> {
    let mut node = NodeRow::read(tx, id)?.ok_or(Error::UnknownNode(id))?;
    node.info.status = NodeStatus::Retired;
    node.write(tx);
    Ok(())
}

/// Marks a retired node as gone from the consensus.
pub fn mark_gone(tx: &mut Tx, id: NodeId) -> Result<(), Error> {
    let mut node = NodeRow::read(tx, id)?.ok_or(Error::UnknownNode(id))?;
    node.info.retired_committed = true;
    node.write(tx);
    Ok(())
}

fn next_replica(tx: &mut Tx) -> Result<ReplicaId, Error> {
    let last = tables::read::<ReplicaId>(tx, &tables::LAST_REPLICA, &tables::SINGLETON)?.unwrap_or(ReplicaId(0));
    let next = ReplicaId(last.0 + 1);
    tables::write(tx, &tables::LAST_REPLICA, &tables::SINGLETON, &next);
    Ok(next)
}
