//! Who may run a node: the join path's decisions, and leaving.

use coco_attestation::Evidence;
use coco_crypto::PublicKey;
use coco_kv::Tx;
use coco_types::{Digest, NodeId, ReplicaId, limits};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::attestation::{self, VerifiedApplicant, admit_appraised};
use crate::rows::{
    Addresses, Network, NodeAdmission, NodeInfo, NodeRole, NodeRow, NodeStatus, ServiceInfo, ServiceStatus,
};
use crate::tables::{self, Read};

/// What a newcomer is told, in these words, while the members have not voted to trust it: it keeps its key and asks again.
pub const AWAITS_VOTE: &str = "it awaits a vote of the members";
/// Newcomers that may await a vote at once.
const PENDING_MAX: usize = 32;

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
    /// It is known, and waits for the members' vote.
    #[serde(default)]
    pub pending: bool,
}

/// Admits a node whose evidence was verified: appraises it against the policy in force and writes its row, `Trusted`. A node of the
/// same index that is still trusted is the one it replaces.
///
/// If the members have decided so, a newcomer is written down as `Pending`, and admitted when it asks again after their vote.
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
    if let Some(known) = NodeRow::read(tx, id)? {
        return admit_known(tx, known, applicant, verified, certificate_pem);
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
    let by_vote = replaces.is_none()
        && status == Some(ServiceStatus::Open)
        && NodeAdmission::read(tx as &mut dyn Read)? == NodeAdmission::Vote;
    if by_vote {
        make_room(tx, applicant.index)?;
    }
    let replica = next_replica(tx)?;
    let info = NodeInfo {
        status: if by_vote { NodeStatus::Pending } else { NodeStatus::Trusted },
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
        owner: None,
        node_data: serde_json::Value::Null,
    };
    NodeRow { id, info }.write(tx);
    if !by_vote {
        certify(tx, id, certificate_pem);
    }
    Ok(Standing { replica, replaces, pending: by_vote })
}

/// A newcomer asks again: it goes on waiting, or was voted in and has not been given its certificate yet.
fn admit_known(
    tx: &mut Tx,
    mut known: NodeRow,
    applicant: &Applicant,
    verified: &VerifiedApplicant,
    certificate_pem: &str,
) -> Result<Standing, Error> {
    let (id, key) = (known.id, known.id.to_string());
    match known.info.status {
        NodeStatus::Pending => return Err(Error::NotAdmitted(format!("node {id}: {AWAITS_VOTE}"))),
        NodeStatus::Trusted if tx.get(&tables::NODE_CERTS, key.as_bytes()).is_none() => {}
        _ => {
            return Err(Error::NotAdmitted(format!(
                "node {id} has joined before; a node joins once, with a fresh key"
            )));
        }
    }
    // Secrets may have been wrapped for the key in its row since the vote.
    if hex::encode(&applicant.exchange_key) != known.info.encryption_pub_key || applicant.index != known.info.index {
        return Err(Error::NotAdmitted(format!("node {id} is not what the members voted for")));
    }
    admit_appraised(tx, applicant, verified, Some(id))?;
    known.info.quote_info = applicant.evidence.clone();
    known.info.addresses = applicant.addresses;
    let replica = known.info.replica;
    known.write(tx);
    certify(tx, id, certificate_pem);
    Ok(Standing { replica, replaces: None, pending: false })
}

fn certify(tx: &mut Tx, id: NodeId, certificate_pem: &str) {
    tx.put(&tables::NODE_CERTS, id.to_string().into_bytes(), certificate_pem.to_owned().into_bytes());
}

/// Whoever waited for this place before gives way: it would be the same machine, started again. Others are limited in number.
fn make_room(tx: &mut Tx, index: u32) -> Result<(), Error> {
    let mut waiting = NodeRow::all(tx)?;
    waiting.retain(|node| node.info.status == NodeStatus::Pending);
    for node in waiting.iter().filter(|node| node.info.index == index) {
        tx.remove(&tables::NODE_INFO, node.id.to_string());
        tx.remove(&attestation::APPRAISALS, node.id.to_string());
    }
    if waiting.iter().filter(|node| node.info.index != index).count() >= PENDING_MAX {
        return Err(Error::NotAdmitted(format!("{PENDING_MAX} nodes await a vote already")));
    }
    Ok(())
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
