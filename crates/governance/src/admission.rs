//! Who may run a node: the join path's decisions, and leaving.

use coco_attestation::Evidence;
use coco_crypto::{Domain, PublicKey};
use coco_kv::Tx;
use coco_types::{Digest, NodeId, ReplicaId, limits};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::attestation::{self, VerifiedApplicant, admit_appraised};
use crate::proposals::{ProposalInfo, ProposalState};
use crate::rows::{
    Addresses, Network, NodeAdmission, NodeInfo, NodeRole, NodeRow, NodeStatus, ServiceInfo, ServiceStatus,
};
use crate::tables::{self, Read};

/// What a newcomer is told, in these words, while the members have not voted to trust it: it keeps its key and asks again.
pub const AWAITS_VOTE: &str = "it awaits a vote of the members";
/// What a node is told, in these words, whose key is used up: it goes on with another one.
pub const JOINED_BEFORE: &str = "has joined before; a node joins once, with a fresh key";
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
    pub swaps: Option<Swap>,
    pub role: NodeRole,
    /// [`NodeInfo::certificate_signing_request`], checked.
    pub certificate_signing_request: Option<String>,
}

/// The node that a newcomer was until now, and whose folder it keeps, with that node's word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    pub node: NodeId,
    /// By that node's key, over [`Swap::statement`]; DER.
    pub signature: Vec<u8>,
}

impl Swap {
    /// That whoever has `new_key` comes back in the signer's place, in answer to this challenge.
    pub fn statement(new_key: &PublicKey, nonce: &[u8; 32]) -> Vec<u8> {
        [SWAP_DOMAIN.as_str().as_bytes(), &[0], &new_key.spki_der(), nonce].concat()
    }
}

const SWAP_DOMAIN: Domain = Domain::new("coco.join.swap.v1");

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
/// same index that is still trusted is the one it replaces: whose node it is, and its data, stay with the place.
///
/// If the members have decided so, a newcomer is written down as `Pending`, and admitted when it asks again after their vote. Then a place is taken over
/// without one only by whoever has the key of the node that it belongs to.
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
    let comes_back = match &applicant.swaps {
        Some(swap) => check_swap(tx, applicant, swap)?.index == applicant.index,
        None => false,
    };
    let holder = current_nodes(tx)?.into_iter().rfind(|node| node.info.index == applicant.index);
    if let Some(holder) = &holder {
        check_interval(tx, holder, now_ms)?;
    }
    let by_vote = status == Some(ServiceStatus::Open)
        && NodeAdmission::read(tx as &mut dyn Read)? == NodeAdmission::Vote
        && !(holder.is_some() && comes_back);
    if by_vote && holder.is_some() {
        return Err(Error::NotAdmitted(format!(
            "node {} is in the network: it comes back with its own folder, or the members remove it first",
            applicant.index
        )));
    }
    let replaces = holder.as_ref().map(|node| node.id);
    admit_appraised(tx, applicant, verified, replaces)?;
    if by_vote {
        make_room(tx, applicant.index)?;
    }
    let (owner, node_data) = holder.map_or_else(Default::default, |node| (node.info.owner, node.info.node_data));
    let replica = next_replica(tx)?;
    // Members who vote a newcomer in shall not give it a certificate: it gets one when it asks again.
    let certificate_signing_request = applicant.certificate_signing_request.clone().filter(|_| !by_vote);
    let info = NodeInfo {
        status: if by_vote { NodeStatus::Pending } else { NodeStatus::Trusted },
        public_key: applicant.public_key.to_pem(),
        replica,
        index: applicant.index,
        addresses: applicant.addresses,
        quote_info: applicant.evidence.clone(),
        encryption_pub_key: hex::encode(&applicant.exchange_key),
        certificate_signing_request,
        replaces,
        swaps: applicant.swaps.as_ref().map(|swap| swap.node),
        retired_committed: false,
        role: applicant.role,
        admitted_ms: now_ms,
        owner,
        node_data,
    };
    NodeRow { id, info }.write(tx);
    if !by_vote {
        certify(tx, id, certificate_pem);
    }
    Ok(Standing { replica, replaces, pending: by_vote })
}

/// Gives the node that the applicant was, if it has that node's key.
fn check_swap(tx: &mut Tx, applicant: &Applicant, swap: &Swap) -> Result<NodeInfo, Error> {
    let old = NodeRow::read(tx, swap.node)?.filter(|node| node.info.status == NodeStatus::Trusted);
    let Some(old) = old else {
        return Err(Error::NotAdmitted(format!("node {} was retired or replaced: it cannot come back", swap.node)));
    };
    let statement = Swap::statement(&applicant.public_key, &applicant.nonce);
    PublicKey::from_pem(&old.info.public_key)
        .and_then(|key| key.verify(&statement, &swap.signature))
        .map_err(|_| Error::NotAdmitted(format!("the key of node {} has not signed that it comes back", swap.node)))?;
    Ok(old.info)
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
            return Err(Error::NotAdmitted(format!("node {id} {JOINED_BEFORE}")));
        }
    }
    // Secrets may have been wrapped for the key in its row since the vote.
    if hex::encode(&applicant.exchange_key) != known.info.encryption_pub_key || applicant.index != known.info.index {
        return Err(Error::NotAdmitted(format!("node {id} is not what the members voted for")));
    }
    admit_appraised(tx, applicant, verified, Some(id))?;
    known.info.quote_info = applicant.evidence.clone();
    known.info.addresses = applicant.addresses;
    known.info.certificate_signing_request = applicant.certificate_signing_request.clone();
    let replica = known.info.replica;
    known.write(tx);
    certify(tx, id, certificate_pem);
    Ok(Standing { replica, replaces: None, pending: false })
}

fn certify(tx: &mut Tx, id: NodeId, certificate_pem: &str) {
    tx.put(&tables::NODE_CERTS, id.to_string().into_bytes(), certificate_pem.to_owned().into_bytes());
}

/// Whoever waited for this place before gives way, as it would be the same machine, started again; but not while members vote on it. Others are
/// limited in number.
fn make_room(tx: &mut Tx, index: u32) -> Result<(), Error> {
    let mut waiting = NodeRow::all(tx)?;
    waiting.retain(|node| node.info.status == NodeStatus::Pending);
    for node in waiting.iter().filter(|node| node.info.index == index) {
        if is_voted_on(tx, node.id)? {
            return Err(Error::NotAdmitted(format!(
                "node {} waits for this place, and the members vote on it",
                node.id
            )));
        }
        tx.remove(&tables::NODE_INFO, node.id.to_string());
        tx.remove(&attestation::APPRAISALS, node.id.to_string());
    }
    if waiting.iter().filter(|node| node.info.index != index).count() >= PENDING_MAX {
        return Err(Error::NotAdmitted(format!("{PENDING_MAX} nodes await a vote already")));
    }
    Ok(())
}

/// Whether an open proposal names the node.
fn is_voted_on(tx: &mut Tx, id: NodeId) -> Result<bool, Error> {
    let id = id.to_string();
    let is_named = |text: &[u8]| text.windows(id.len()).any(|part| part == id.as_bytes());
    let naming: Vec<_> =
        (tx as &mut dyn Read).rows(&tables::PROPOSALS).into_iter().filter(|(_, text)| is_named(text)).collect();
    for (proposal, _) in naming {
        let info = ProposalInfo::read(tx, &String::from_utf8_lossy(&proposal))?;
        if info.is_some_and(|info| info.state == ProposalState::Open) {
            return Ok(true);
        }
    }
    Ok(false)
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
