//! Transactions, batches, blocks, receipts, events.

use bytes::Bytes;

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TransactionHeader {
    #[prost(string, tag = "1")]
    pub batcher_public_key: String,
    #[prost(string, repeated, tag = "2")]
    pub dependencies: Vec<String>,
    #[prost(string, tag = "3")]
    pub family_name: String,
    #[prost(string, tag = "4")]
    pub family_version: String,
    #[prost(string, repeated, tag = "5")]
    pub inputs: Vec<String>,
    #[prost(string, tag = "6")]
    pub nonce: String,
    #[prost(string, repeated, tag = "7")]
    pub outputs: Vec<String>,
    #[prost(string, tag = "9")]
    pub payload_sha512: String,
    #[prost(string, tag = "10")]
    pub signer_public_key: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Transaction {
    #[prost(bytes = "bytes", tag = "1")]
    pub header: Bytes,
    #[prost(string, tag = "2")]
    pub header_signature: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BatchHeader {
    #[prost(string, tag = "1")]
    pub signer_public_key: String,
    #[prost(string, repeated, tag = "2")]
    pub transaction_ids: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Batch {
    #[prost(bytes = "bytes", tag = "1")]
    pub header: Bytes,
    #[prost(string, tag = "2")]
    pub header_signature: String,
    #[prost(message, repeated, tag = "3")]
    pub transactions: Vec<Transaction>,
    #[prost(bool, tag = "4")]
    pub trace: bool,
}

/// A `BatchList`, and a `GenesisData`: their batches as they came.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BatchList {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub batches: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BlockHeader {
    #[prost(uint64, tag = "1")]
    pub block_num: u64,
    #[prost(string, tag = "2")]
    pub previous_block_id: String,
    #[prost(string, tag = "3")]
    pub signer_public_key: String,
    #[prost(string, repeated, tag = "4")]
    pub batch_ids: Vec<String>,
    #[prost(bytes = "bytes", tag = "5")]
    pub consensus: Bytes,
    #[prost(string, tag = "6")]
    pub state_root_hash: String,
}

/// A block; its batches as they came.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Block {
    #[prost(bytes = "bytes", tag = "1")]
    pub header: Bytes,
    #[prost(string, tag = "2")]
    pub header_signature: String,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub batches: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TransactionReceipt {
    #[prost(message, repeated, tag = "1")]
    pub state_changes: Vec<StateChange>,
    #[prost(message, repeated, tag = "2")]
    pub events: Vec<Event>,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub data: Vec<Bytes>,
    #[prost(string, tag = "4")]
    pub transaction_id: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateChange {
    #[prost(string, tag = "1")]
    pub address: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    #[prost(int32, tag = "3")]
    pub kind: i32,
}

pub mod state_change_kind {
    pub const SET: i32 = 1;
    pub const DELETE: i32 = 2;
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateChangeList {
    #[prost(message, repeated, tag = "1")]
    pub state_changes: Vec<StateChange>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Event {
    #[prost(string, tag = "1")]
    pub event_type: String,
    #[prost(message, repeated, tag = "2")]
    pub attributes: Vec<Attribute>,
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

impl Attribute {
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventList {
    #[prost(message, repeated, tag = "1")]
    pub events: Vec<Event>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventFilter {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub match_string: String,
    #[prost(int32, tag = "3")]
    pub filter_type: i32,
}

pub mod filter_type {
    pub const SIMPLE_ANY: i32 = 1;
    pub const SIMPLE_ALL: i32 = 2;
    pub const REGEX_ANY: i32 = 3;
    pub const REGEX_ALL: i32 = 4;
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventSubscription {
    #[prost(string, tag = "1")]
    pub event_type: String,
    #[prost(message, repeated, tag = "2")]
    pub filters: Vec<EventFilter>,
}
