//! A node's configuration file, and the genesis of a network.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use coco_attestation::Rules;
use coco_governance::{NodeRole, ResumePolicy};
use coco_types::{Digest, limits};
use serde::{Deserialize, Serialize};

/// `node.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Position in the network, from 0: names the node in logs and status.
    pub index: u32,
    /// Folder of this node's ledger, logs of the consensus, history and sealed keys. Created if absent.
    pub data: PathBuf,
    pub listen: Listen,
    pub start: Start,
    /// `voter`, or `reader`: a node that keeps the ledger and serves reads, and is never counted.
    #[serde(default)]
    pub role: NodeRole,
    #[serde(default)]
    pub timing: Timing,
    /// A snapshot of the state is taken when the ledger has grown by this much, at the end of a chunk. Bytes.
    #[serde(default = "snapshot_bytes")]
    pub snapshot_bytes: u64,
    /// The AMD processor's certificate and its authorities in PEM, for hosts that supply none: SEV-SNP only. Read anew for every evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amd_certificates: Option<PathBuf>,
    /// On a real platform that gives its code no key of its own: seals with a key that lies in `data` for whoever reads it. Without it the key
    /// stays in memory, and a node that starts again joins anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealing_key_file: bool,
    /// Folders with complete chunks that `data` need not hold, such as an archive: read where the node's own folder has none, never written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_only_ledger_directories: Vec<PathBuf>,
    /// What the node says that it was launched with, as SEV-SNP nodes prove it: the virtual platform only. SHA-256, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_host_data: Option<Digest>,
    /// Development conveniences are on: permissive CORS, unlocked accounts. Never in production.
    #[serde(default)]
    pub dev: bool,
    /// Settings of this node for each hosted ledger, passed to the protocol unread.
    #[serde(default)]
    pub ledgers: BTreeMap<String, serde_json::Value>,
}

/// Addresses this node listens on. They are also how others reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// The node API (HTTPS): `/node`, `/app`, and `/gov` where it has no listener of its own. 8000 + index by convention.
    pub api: SocketAddr,
    /// Governance (HTTPS): `/gov`, which the node API serves no more then, and `/node`. 8200 + index by convention. A channel apart for members: what
    /// applications' clients do to the node API does not keep them from voting, and who may reach it is the network's own matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gov: Option<SocketAddr>,
    /// Other nodes (mutual TLS). 8100 + index by convention.
    pub peers: SocketAddr,
    /// Metrics and health (plain HTTP, loopback by default). 9464 + index by convention.
    pub admin: SocketAddr,
    /// Listeners of hosted ledgers by name, such as `ethereum` (8545 + 10 * index).
    #[serde(default)]
    pub ledgers: BTreeMap<String, SocketAddr>,
}

/// What a node does at its first start. A node whose data folder holds an identity reopens that folder instead, as the same replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// Starts a new network of one node.
    New { genesis: PathBuf },
    /// Begins a new service on the ledger files in the folder `ledger` of this node's data, whose own nodes are lost.
    Recover {
        /// The certificate of the service that the ledger is of.
        previous_service_certificate: PathBuf,
    },
    /// Joins the network that these nodes' APIs belong to.
    Join {
        targets: Vec<SocketAddr>,
        service_certificate: PathBuf,
        /// SHA-256 of the constitution that whoever runs this node has approved, in hex: under another the node does not join.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        constitution_digest: Option<String>,
    },
}

/// Consensus timing. A wide-area network raises all of it in proportion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    pub election_timeout_ms: u64,
    pub heartbeat_ms: u64,
    /// How long a batch waits for company.
    pub batch_interval_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            election_timeout_ms: limits::ELECTION_TIMEOUT_MS,
            heartbeat_ms: limits::HEARTBEAT_MS,
            batch_interval_ms: limits::BATCH_INTERVAL_MS,
        }
    }
}

/// `genesis.json`: the founding facts of a network, written to public maps by its first transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The service certificate's common name.
    pub name: String,
    pub members: Vec<Actor>,
    #[serde(default)]
    pub participants: Vec<Actor>,
    /// How many members' shares a recovery needs; absent: those of all that have an encryption key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_threshold: Option<u64>,
    /// Accepted code measurements of virtual nodes, hex.
    pub virtual_measurements: Vec<String>,
    /// Policy, anchors and collateral for real platforms; absent: none is accepted.
    #[serde(default)]
    pub attestation: Rules,
    /// The constitution: a JavaScript module's text. Coco's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constitution: Option<String>,
    /// Opens the service without a vote: for experiments.
    #[serde(default)]
    pub opens_at_once: bool,
    #[serde(default = "chunk_bytes")]
    pub chunk_bytes: u64,
    /// Whether replicas may go on by themselves after no majority of them was alive, and despite how many old disks.
    #[serde(default)]
    pub resume: ResumePolicy,
    /// Between two swaps at the same place, milliseconds.
    #[serde(default = "swap_interval_ms")]
    pub swap_interval_ms: u64,
    /// Genesis of each hosted ledger by name, in the protocol's own form.
    pub ledgers: BTreeMap<String, serde_json::Value>,
}

/// A member or participant: its certificate in PEM and what the consortium says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    pub certificate: String,
    #[serde(default)]
    pub data: serde_json::Value,
    /// RSA key in PEM: a member that has one holds a recovery share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_public_key: Option<String>,
    /// CCF's `NonParticipant`, `Participant` or `Owner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_role: Option<String>,
}

fn snapshot_bytes() -> u64 {
    limits::SNAPSHOT_LEDGER_BYTES
}

fn chunk_bytes() -> u64 {
    limits::CHUNK_BYTES
}

fn swap_interval_ms() -> u64 {
    limits::SWAP_INTERVAL_MS
}
