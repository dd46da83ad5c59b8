//! Who may run a node: the join path's decisions, and leaving.

use coco_attestation::Evidence;
use coco_crypto::PublicKey;
use coco_kv::Tx;
use coco_types::{Digest, NodeId, ReplicaId, limits};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::attestation::{VerifiedApplicant, admit_appraised};
use crate::rows::{Addresses, Network, NodeInfo, NodeRole, NodeRow, NodeStatus, ServiceInfo, ServiceStatus};
use crate::tables::{self, Read};

/// What a joining node says about itself. Nothing of it is trusted until
/// [`crate::attestation::verify_applicant`] has returned.
#[derive(Clone, Debug)]
pub struct Applicant {
    pub public_key: PublicKey,
    pub exchange_key: Vec<u8>,
    pub index: u32,
    pub addresses: Addresses,
    pub config: Digest,
    pub nonce: [u8; 32],
    pub evidence: Evidence,
    /// The node that it was until now, and whose folder it keeps.
    pub swaps: Option<NodeId>,
    pub role: NodeRole,
}

/// How an admitted node stands: its replica id, and the node that it replaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    pub replica: ReplicaId,
    pub replaces: Option<NodeId>,
}

/// Admits a node whose evidence was verified: appraises it against the policy in force and writes its row, `Trusted`. A node of the
/// same index that is still trusted is the one it replaces.
///
/// A place is given anew only after the network's swap interval, counted in ledger time.
pub fn admit(
    tx: &mut Tx,
    applicant: &Applicant,
    verified: &VerifiedApplicant,
    certificate_pem: &str,
    now_ms: u64,
) -> Result<Standing, Error> {
    let id = applicant.public_key.node_id();
    let status = ServiceInfo::read(tx as &mut dyn Read)?.map(|service| service.status);
    if matches!(status, Some(ServiceStatus::Recovering | ServiceStatus::WaitingForRecoveryShares)) {
        return Err(Error::NotAdmitted("the service is being recovered: join once it is open".to_owned()));
    }
    if NodeRow::read(tx, id)?.is_some() {
        return Err(Error::NotAdmitted(format!("node {id} has joined before; a node joins once, with a fresh key")));
    }
    if let Some(old) = applicant.swaps
        && NodeRow::read(tx, old)?.is_none_or(|node| node.info.status != NodeStatus::Trusted)
    {
        return Err(Error::NotAdmitted(format!("node {old} was retired or replaced: it cannot come back")));
    }
    let holder = current_nodes(tx)?.into_iter().rfind(|node| node.info.index == applicant.index);
    if let Some(holder) = &holder {
        check_interval(tx, holder, now_ms)?;
    }
    let replaces = holder.map(|node| node.id);
    admit_appraised(tx, applicant, verified, replaces)?;
    let replica = next_replica(tx)?;
    let info = NodeInfo {
        status: NodeStatus::Trusted,
        public_key: applicant.public_key.to_pem(),
        replica,
        index: applicant.index,
        addresses: applicant.addresses,
        quote_info: applicant.evidence.clone(),
        encryption_pub_key: hex::encode(&applicant.exchange_key),
        replaces,
        retired_committed: false,
        role: applicant.role,
        admitted_ms: now_ms,
    };
    NodeRow { id, info }.write(tx);
    tx.put(&tables::NODE_CERTS, id.to_string().into_bytes(), certificate_pem.to_owned().into_bytes());
    Ok(Standing { replica, replaces })
}

/// The first admission at a place is no swap, and does not count.
fn check_interval(tx: &mut Tx, holder: &NodeRow, now_ms: u64) -> Result<(), Error> {
    let interval_ms = Network::read(tx)?.map_or(limits::SWAP_INTERVAL_MS, |network| network.swap_interval_ms);
    let next_ms = holder.info.admitted_ms.saturating_add(interval_ms);
    if holder.info.replaces.is_none() || now_ms >= next_ms {
        return Ok(());
    }
    let (index, wait_s) = (holder.info.index, (next_ms - now_ms).div_ceil(1_000));
    Err(Error::NotAdmitted(format!("node {index} was swapped just now: the next swap is possible in {wait_s} s")))
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

/// Marks a retired node as gone from the consensus; `true` if another one has its place.
pub fn mark_gone(tx: &mut Tx, id: NodeId) -> Result<bool, Error> {
    let mut node = NodeRow::read(tx, id)?.ok_or(Error::UnknownNode(id))?;
    node.info.retired_committed = true;
    node.write(tx);
    Ok(NodeRow::all(tx)?.iter().any(|other| other.info.replaces == Some(id)))
}

fn next_replica(tx: &mut Tx) -> Result<ReplicaId, Error> {
    let last = tables::read::<ReplicaId>(tx, &tables::LAST_REPLICA, &tables::SINGLETON)?.unwrap_or(ReplicaId(0));
    let next = ReplicaId(last.0 + 1);
    tables::write(tx, &tables::LAST_REPLICA, &tables::SINGLETON, &next);
    Ok(next)
}
