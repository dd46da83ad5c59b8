//! What is said between the node and a transaction processor.

use bytes::Bytes;

use super::ledger::{Event, TransactionHeader};

/// Without the namespaces, field 4, of which nothing is made.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpRegisterRequest {
    #[prost(string, tag = "1")]
    pub family: String,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(uint32, tag = "5")]
    pub max_occupancy: u32,
    #[prost(uint32, tag = "6")]
    pub protocol_version: u32,
    #[prost(int32, tag = "7")]
    pub request_header_style: i32,
}

/// The header comes as the bytes that were signed, instead of decoded.
pub const HEADER_STYLE_RAW: i32 = 2;

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpRegisterResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(uint32, tag = "2")]
    pub protocol_version: u32,
}

pub mod tp_register_status {
    pub const OK: i32 = 1;
    pub const ERROR: i32 = 2;
}

/// A response that says only whether it worked: 1 for yes, 2 for no.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusOnly {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

/// The same with its status in the second field.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusSecond {
    #[prost(int32, tag = "2")]
    pub status: i32,
}

/// A request or a response without fields.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpProcessRequest {
    #[prost(message, optional, tag = "1")]
    pub header: Option<TransactionHeader>,
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
    #[prost(string, tag = "3")]
    pub signature: String,
    #[prost(string, tag = "4")]
    pub context_id: String,
    #[prost(bytes = "bytes", tag = "5")]
    pub header_bytes: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpProcessResponse {
    #[prost(int32, tag = "1")]
    pub status: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub extended_data: Bytes,
}

pub mod tp_process_status {
    pub const OK: i32 = 1;
    pub const INVALID_TRANSACTION: i32 = 2;
    pub const INTERNAL_ERROR: i32 = 3;
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpStateEntry {
    #[prost(string, tag = "1")]
    pub address: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub data: Bytes,
}

/// A request about addresses: get, and delete.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpAddressesRequest {
    #[prost(string, tag = "1")]
    pub context_id: String,
    #[prost(string, repeated, tag = "2")]
    pub addresses: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpStateGetResponse {
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<TpStateEntry>,
    #[prost(int32, tag = "2")]
    pub status: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpStateSetRequest {
    #[prost(string, tag = "1")]
    pub context_id: String,
    #[prost(message, repeated, tag = "2")]
    pub entries: Vec<TpStateEntry>,
}

/// The answer to a set and to a delete.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpAddressesResponse {
    #[prost(string, repeated, tag = "1")]
    pub addresses: Vec<String>,
    #[prost(int32, tag = "2")]
    pub status: i32,
}

pub mod tp_state_status {
    pub const OK: i32 = 1;
    pub const AUTHORIZATION_ERROR: i32 = 2;
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpReceiptAddDataRequest {
    #[prost(string, tag = "1")]
    pub context_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TpEventAddRequest {
    #[prost(string, tag = "1")]
    pub context_id: String,
    #[prost(message, optional, tag = "2")]
    pub event: Option<Event>,
}
