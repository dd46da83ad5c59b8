//! The rows. Names in JSON are CCF's where CCF has the field.

use std::net::SocketAddr;

use coco_attestation::Evidence;
use coco_types::{Digest, NodeId, ReplicaId, TxId, View, limits};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tables::{self, Read};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemberInfo {
    /// `Accepted`, or `Active` once the member has acknowledged the state.
    pub status: String,
    #[serde(default)]
    pub member_data: serde_json::Value,
    /// CCF's word for what the member holds for recovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_role: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UserInfo {
    #[serde(default)]
    pub user_data: serde_json::Value,
}

/// Where the service stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ServiceStatus {
    Opening,
    Open,
    WaitingForRecoveryShares,
    Recovering,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// The service certificate in PEM.
    pub cert: String,
    pub status: ServiceStatus,
    #[serde(default)]
    pub recovery_count: u64,
    /// The service's first transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_service_create_txid: Option<TxId>,
}

/// Parameters of the network that every node must share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Network {
    pub name: String,
    /// A ledger chunk is cut after the batch that reaches this size.
    pub chunk_bytes: u64,
    /// The hosted ledgers.
    pub ledgers: Vec<String>,
    #[serde(default)]
    pub resume: ResumePolicy,
    /// Between two admissions at the same place, milliseconds of ledger time.
    #[serde(default = "swap_interval_ms")]
    pub swap_interval_ms: u64,
}

/// Whether replicas may go on by themselves after no majority of them was alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResumePolicy {
    pub allowed: bool,
    /// So many disks may show an old state between two completed resumes: as many more voters must be there.
    pub rolled_back_disks: u32,
}

impl Default for ResumePolicy {
    fn default() -> Self {
        Self { allowed: true, rolled_back_disks: 0 }
    }
}

impl ResumePolicy {
    /// Tolerated rollbacks; `None` if resuming is forbidden.
    pub fn rolled_back(&self) -> Option<usize> {
        self.allowed.then(|| usize::try_from(self.rolled_back_disks).unwrap_or(usize::MAX))
    }

    /// What satisfies both.
    pub fn and(self, other: Self) -> Self {
        Self {
            allowed: self.allowed && other.allowed,
            rolled_back_disks: self.rolled_back_disks.max(other.rolled_back_disks),
        }
    }
}

/// That replicas resumed, and who.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResumeRow {
    /// The view that all adopted.
    pub view: View,
    /// Those that exchanged their states.
    pub replicas: Vec<ReplicaId>,
    /// Whose log all adopted.
    pub adopted: ReplicaId,
    /// What was tolerated then.
    pub rolled_back_disks: u32,
}

/// That a primary wrote what other replicas contradict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlarmRow {
    pub primary: ReplicaId,
    /// Where its batch ends.
    pub txid: TxId,
    pub why: String,
    pub reported_by: ReplicaId,
}

fn swap_interval_ms() -> u64 {
    limits::SWAP_INTERVAL_MS
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NodeStatus {
    /// Known, not part of the network.
    Pending,
    /// Holds the service's secrets, and is or is about to be in the consensus.
    Trusted,
    /// Must leave; `retired_committed` says that it has.
    Retired,
}

/// A node: one key pair, one life in the consensus.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeInfo {
    pub status: NodeStatus,
    /// The node's public key in PEM.
    pub public_key: String,
    pub replica: ReplicaId,
    /// Its position in the network, from 0: an operator's name for the machine, which outlives the node.
    pub index: u32,
    pub addresses: Addresses,
    pub quote_info: Evidence,
    /// X25519, hex: ledger secrets are sealed to it.
    #[serde(default)]
    pub encryption_pub_key: String,
    /// The node's own request for its certificate (PKCS #10, PEM), which scripts hand to `ccf.network.generateEndorsedCertificate`. There once the node
    /// is in the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_signing_request: Option<String>,
    /// The node whose place it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<NodeId>,
    /// The node that it was before it came back: while this one is in the network, nobody counts on that one's votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swaps: Option<NodeId>,
    #[serde(default)]
    pub retired_committed: bool,
    #[serde(default)]
    pub role: NodeRole,
    /// When it was admitted, ledger time.
    #[serde(default)]
    pub admitted_ms: u64,
    /// The member or participant that answers for it: who proposed to trust it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What the members say about it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub node_data: serde_json::Value,
}

/// How newcomers are let in while the service is open. Nodes that come back to their place are not asked for again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum NodeAdmission {
    /// Whoever runs accepted code.
    #[default]
    Code,
    /// Whoever runs accepted code waits for a vote.
    Vote,
}

impl NodeAdmission {
    pub fn read(state: &mut dyn Read) -> Result<Self, Error> {
        Ok(tables::read(state, &tables::NODE_ADMISSION, &tables::SINGLETON)?.unwrap_or_default())
    }
}

/// What a node is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// Votes once it has caught up.
    #[default]
    Voter,
    /// Keeps the ledger and serves reads for ever, and is never counted.
    Reader,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Addresses {
    pub api: SocketAddr,
    pub peers: SocketAddr,
}

/// A row of the nodes map with its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRow {
    pub id: NodeId,
    pub info: NodeInfo,
}

impl MemberInfo {
    pub fn read(state: &mut dyn Read, id: &str) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::MEMBER_INFO, id.as_bytes())
    }

    pub fn all(state: &mut dyn Read) -> Result<Vec<(String, Self)>, Error> {
        tables::read_all(state, &tables::MEMBER_INFO)
    }
}

impl UserInfo {
    pub fn read(state: &mut dyn Read, id: &str) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::USER_INFO, id.as_bytes())
    }
}

impl ServiceInfo {
    pub fn read(state: &mut dyn Read) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::SERVICE_INFO, &tables::SINGLETON)
    }
}

impl Network {
    /// With what the members have voted since the founding.
    pub fn read(state: &mut dyn Read) -> Result<Option<Self>, Error> {
        let Some(founded) = tables::read::<Self>(state, &tables::NETWORK, &tables::SINGLETON)? else { return Ok(None) };
        let voted = tables::read(state, &tables::RESUME_POLICY, &tables::SINGLETON)?;
        Ok(Some(Self { resume: voted.unwrap_or(founded.resume), ..founded }))
    }
}

impl NodeRow {
    pub fn read(state: &mut dyn Read, id: NodeId) -> Result<Option<Self>, Error> {
        let info = tables::read(state, &tables::NODE_INFO, id.to_string().as_bytes())?;
        Ok(info.map(|info| Self { id, info }))
    }

    pub fn all(state: &mut dyn Read) -> Result<Vec<Self>, Error> {
        let rows = tables::read_all::<NodeInfo>(state, &tables::NODE_INFO)?;
        let row = |(key, info): (String, NodeInfo)| {
            let id = key.parse().map_err(|_| Error::UnreadableRow {
                map: tables::NODE_INFO,
                key,
                why: "its key is not a node id".to_owned(),
            })?;
            Ok(Self { id, info })
        };
        rows.into_iter().map(row).collect()
    }

    pub(crate) fn write(&self, tx: &mut coco_kv::Tx) {
        tables::write(tx, &tables::NODE_INFO, self.id.to_string().as_bytes(), &self.info);
    }
}

pub(crate) fn digest_key(digest: &Digest) -> Vec<u8> {
    digest.to_string().into_bytes()
}
