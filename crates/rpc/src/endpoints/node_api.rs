//! What the endpoints ask of the node.

use std::time::Duration;

use bytes::Bytes;
use coco_protocol::{ApiError, Caller, Idempotent, TransactionStatus};
use coco_types::{NodeId, Seqno, TxId, View};
use serde::Serialize;

/// A node as its HTTP API sees it. Called on workers: may compute, must not block; what takes longer answers by callback.
pub trait NodeApi: Send + Sync {
    fn network(&self, caller: &Caller) -> NetworkInfo;

    fn nodes(&self, caller: &Caller) -> Vec<NodeEntry>;

    fn state(&self, caller: &Caller) -> NodeStateInfo;

    fn version(&self, caller: &Caller) -> NodeInfo;

    /// Whether this node has joined, follows a primary and has caught up.
    fn ready(&self, caller: &Caller) -> bool;

    /// The newest committed transaction that this node has applied.
    fn committed(&self, caller: &Caller) -> TxId;

    fn transaction_status(&self, caller: &Caller, txid: TxId) -> TransactionStatus;

    /// Answers once the transaction's fate is known, or after `wait`. To a caller that may not see it, it is unknown.
    fn receipt(&self, caller: &Caller, txid: TxId, wait: Duration, reply: Box<dyn FnOnce(ReceiptAnswer) + Send>);

    fn attestations(&self, caller: &Caller) -> Vec<Attestation>;

    /// Policy, anchors and collateral by which nodes are judged, as JSON.
    fn attestation_policy(&self, caller: &Caller) -> Result<serde_json::Value, ApiError>;

    /// Which vote made each row of policy what it is, by map and key, as JSON.
    fn policy_decisions(&self, caller: &Caller) -> Result<serde_json::Value, ApiError>;

    /// Takes newer collateral from anyone; answers once it is committed. Body and answer are JSON.
    fn submit_collateral(
        &self,
        caller: &Caller,
        body: Bytes,
        key: Option<Idempotent>,
        reply: Box<dyn FnOnce(Result<Bytes, ApiError>) + Send>,
    );

    /// Fresh evidence that binds `nonce`, of 1 to 64 bytes. The device behind it is slow: `reply` is called once it has answered.
    fn attest(&self, caller: &Caller, nonce: Vec<u8>, reply: Box<dyn FnOnce(Result<Attestation, ApiError>) + Send>);

    /// How every node was judged that ever was in the network, by its id, as JSON.
    fn judgements(&self, caller: &Caller) -> Result<serde_json::Value, ApiError>;

    /// Takes fresh evidence of a node of the network, in the form of a join request. Body and answer are JSON.
    fn renew(&self, caller: &Caller, body: Bytes, reply: Box<dyn FnOnce(Result<Bytes, ApiError>) + Send>);

    /// The answer's body is JSON.
    fn join_challenge(&self, caller: &Caller) -> Result<Bytes, ApiError>;

    /// `certificate`: what the joiner presented to TLS, DER; that it holds the key is proved. Body and answer are JSON.
    fn join(
        &self,
        caller: &Caller,
        certificate: Option<Bytes>,
        body: Bytes,
        reply: Box<dyn FnOnce(Result<Bytes, ApiError>) + Send>,
    );

    /// Ends every node that answers, this one last; for members only.
    fn stop_network(&self, caller: &Caller, reply: Box<dyn FnOnce(Result<StoppedNetwork, ApiError>) + Send>);
}

/// `POST /node/network:stop`: the nodes' places in the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoppedNetwork {
    pub stopping: Vec<u32>,
    /// They did not answer: they were down already, or go on.
    pub silent: Vec<u32>,
}

/// `GET /node/network`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkInfo {
    /// `Opening`, `Open`, `Recovering`, …
    pub service_status: String,
    /// PEM.
    pub service_certificate: String,
    /// Certificates that lead from earlier identities of the service to the present one, oldest first, in PEM.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_bridges: Vec<String>,
    /// Absent when this node follows no primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_view: Option<View>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_id: Option<NodeId>,
    pub recovery_count: u64,
}

/// One of `GET /node/network/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeEntry {
    pub node_id: NodeId,
    /// `Pending`, `Trusted`, `Retired`.
    pub status: String,
    pub primary: bool,
    /// Position in the network, from 0.
    pub index: u32,
    /// Where clients reach its API.
    pub published_address: String,
}

/// `GET /node/state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStateInfo {
    pub node_id: NodeId,
    /// In CCF's words: `PartOfNetwork`, `Pending`, …
    pub state: String,
    pub last_signed_seqno: Seqno,
    pub startup_seqno: Seqno,
}

/// `GET /node/version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeInfo {
    pub name: String,
    pub version: String,
    /// The TEE, or `virtual`.
    pub platform: String,
    /// True where nothing is protected, as on the virtual platform.
    #[serde(rename = "unsafe")]
    pub unprotected: bool,
    /// SHA-256 over the roots that the network accepts evidence below.
    pub anchors: String,
    /// Those among them that no vendor has published: evidence below them protects nothing.
    pub foreign_roots: Vec<String>,
}

/// Evidence of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attestation {
    pub node_id: NodeId,
    pub platform: String,
    /// The node's certificate, PEM: evidence binds its key.
    pub certificate: String,
    /// CMW (RFC 9999), as JSON.
    pub evidence: serde_json::Value,
}

/// What is known when a receipt is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptAnswer {
    Receipt(Receipt),
    /// Known, and still pending after the wait.
    Pending,
    /// Unknown here, or not for this caller.
    Unknown,
    /// Of before what this node keeps of the ledger.
    NotHeld,
    /// Can never commit.
    Invalid,
    /// Committed, and of a kind that has no receipt: a signature.
    None,
}

/// Both forms of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub cose: Bytes,
    /// Absent in a ledger with COSE signatures only.
    pub json: Option<serde_json::Value>,
}
