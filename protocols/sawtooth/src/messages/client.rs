//! What clients ask, and what they are answered.

use bytes::Bytes;

use super::ledger::{Event, EventSubscription, TransactionReceipt};

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PagingControls {
    #[prost(string, tag = "1")]
    pub start: String,
    #[prost(int32, tag = "2")]
    pub limit: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PagingResponse {
    #[prost(string, tag = "1")]
    pub next: String,
    #[prost(string, tag = "2")]
    pub start: String,
    #[prost(int32, tag = "3")]
    pub limit: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SortControls {
    #[prost(string, repeated, tag = "1")]
    pub keys: Vec<String>,
    #[prost(bool, tag = "2")]
    pub reverse: bool,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BatchSubmitRequest {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub batches: Vec<Bytes>,
}

pub mod submit_status {
    pub const OK: i32 = 1;
    pub const INTERNAL_ERROR: i32 = 2;
    pub const INVALID_BATCH: i32 = 3;
    pub const QUEUE_FULL: i32 = 4;
    /// Told over REST only, whose requests may have keys.
    pub const REUSED_KEY: i32 = -1;
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BatchStatus {
    #[prost(string, tag = "1")]
    pub batch_id: String,
    #[prost(int32, tag = "2")]
    pub status: i32,
    #[prost(message, repeated, tag = "3")]
    pub invalid_transactions: Vec<InvalidTransaction>,
}

pub mod batch_status {
    pub const COMMITTED: i32 = 1;
    pub const INVALID: i32 = 2;
    pub const PENDING: i32 = 3;
    pub const UNKNOWN: i32 = 4;
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct InvalidTransaction {
    #[prost(string, tag = "1")]
    pub transaction_id: String,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub extended_data: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BatchStatusRequest {
    #[prost(string, repeated, tag = "1")]
    pub batch_ids: Vec<String>,
    #[prost(bool, tag = "2")]
    pub wait: bool,
    #[prost(uint32, tag = "3")]
    pub timeout: u32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BatchStatusResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(message, repeated, tag = "2")]
    pub batch_statuses: Vec<BatchStatus>,
}

/// Statuses that all list and get responses share, and the status response.
pub mod status {
    pub const OK: i32 = 1;
    pub const INTERNAL_ERROR: i32 = 2;
    pub const NOT_READY: i32 = 3;
    pub const NO_ROOT: i32 = 4;
    pub const NO_RESOURCE: i32 = 5;
    pub const INVALID_PAGING: i32 = 6;
    pub const INVALID_SORT: i32 = 7;
    /// Not in the state responses.
    pub const INVALID_ID: i32 = 8;
}

pub mod state_list_status {
    pub const INVALID_ADDRESS: i32 = 8;
    pub const INVALID_ROOT: i32 = 9;
}

pub mod state_get_status {
    pub const INVALID_ADDRESS: i32 = 6;
    pub const INVALID_ROOT: i32 = 7;
}

/// Lists of blocks, batches and transactions are asked for alike.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListRequest {
    #[prost(string, tag = "1")]
    pub head_id: String,
    #[prost(string, repeated, tag = "2")]
    pub ids: Vec<String>,
    #[prost(message, optional, tag = "3")]
    pub paging: Option<PagingControls>,
    #[prost(message, repeated, tag = "4")]
    pub sorting: Vec<SortControls>,
}

/// And answered alike.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub items: Vec<Bytes>,
    #[prost(string, tag = "3")]
    pub head_id: String,
    #[prost(message, optional, tag = "4")]
    pub paging: Option<PagingResponse>,
}

/// A request for one thing by its id.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BlockGetByNumRequest {
    #[prost(uint64, tag = "1")]
    pub block_num: u64,
}

/// A block, a batch or a transaction.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct GetResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub item: Option<Bytes>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateListRequest {
    #[prost(string, tag = "1")]
    pub state_root: String,
    #[prost(string, tag = "3")]
    pub address: String,
    #[prost(message, optional, tag = "4")]
    pub paging: Option<PagingControls>,
    #[prost(message, repeated, tag = "5")]
    pub sorting: Vec<SortControls>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateEntry {
    #[prost(string, tag = "1")]
    pub address: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateListResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<StateEntry>,
    #[prost(string, tag = "3")]
    pub state_root: String,
    #[prost(message, optional, tag = "4")]
    pub paging: Option<PagingResponse>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateGetRequest {
    #[prost(string, tag = "1")]
    pub state_root: String,
    #[prost(string, tag = "3")]
    pub address: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StateGetResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    #[prost(string, tag = "3")]
    pub state_root: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReceiptGetRequest {
    #[prost(string, repeated, tag = "1")]
    pub transaction_ids: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ReceiptGetResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(message, repeated, tag = "2")]
    pub receipts: Vec<TransactionReceipt>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PeersGetResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(string, repeated, tag = "2")]
    pub peers: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Peer {
    #[prost(string, tag = "1")]
    pub endpoint: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusGetResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(message, repeated, tag = "2")]
    pub peers: Vec<Peer>,
    #[prost(string, tag = "3")]
    pub endpoint: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventsSubscribeRequest {
    #[prost(message, repeated, tag = "1")]
    pub subscriptions: Vec<EventSubscription>,
    #[prost(string, repeated, tag = "2")]
    pub last_known_block_ids: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventsSubscribeResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(string, tag = "2")]
    pub response_message: String,
}

pub mod events_subscribe_status {
    pub const OK: i32 = 1;
    pub const INVALID_FILTER: i32 = 2;
    pub const UNKNOWN_BLOCK: i32 = 3;
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventsGetRequest {
    #[prost(message, repeated, tag = "1")]
    pub subscriptions: Vec<EventSubscription>,
    #[prost(string, repeated, tag = "2")]
    pub block_ids: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EventsGetResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(message, repeated, tag = "2")]
    pub events: Vec<Event>,
}

pub mod events_get_status {
    pub const OK: i32 = 1;
    pub const INTERNAL_ERROR: i32 = 2;
    pub const INVALID_FILTER: i32 = 3;
    pub const UNKNOWN_BLOCK: i32 = 4;
}
