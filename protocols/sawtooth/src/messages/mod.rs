//! Sawtooth's protobuf messages, written down from the field tables of its 1.2 protocol.
//!
//! Enums travel as numbers: each message has a status enum of its own and the numbers differ, so each has a module of constants
//! beside it. A field that holds another message is `Bytes` wherever that is only passed on: the wire form is the same, and what was signed
//! is never encoded again.

pub mod client;
mod elements;
pub mod family;
pub mod ledger;
pub mod processor;
pub mod relay;
pub mod sabre;

pub use elements::elements;
use prost::Message as _;

/// The envelope of everything on the component endpoint.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    #[prost(int32, tag = "1")]
    pub message_type: i32,
    #[prost(string, tag = "2")]
    pub correlation_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub content: bytes::Bytes,
}

impl Envelope {
    pub fn new(message_type: i32, correlation_id: impl Into<String>, content: &impl prost::Message) -> Self {
        Self { message_type, correlation_id: correlation_id.into(), content: content.encode_to_vec().into() }
    }

    pub fn bytes(&self) -> bytes::Bytes {
        self.encode_to_vec().into()
    }
}

/// Numbers of the message types that are served.
pub mod kind {
    pub const TP_REGISTER_REQUEST: i32 = 1;
    pub const TP_REGISTER_RESPONSE: i32 = 2;
    pub const TP_UNREGISTER_REQUEST: i32 = 3;
    pub const TP_UNREGISTER_RESPONSE: i32 = 4;
    pub const TP_PROCESS_REQUEST: i32 = 5;
    pub const TP_PROCESS_RESPONSE: i32 = 6;
    pub const TP_STATE_GET_REQUEST: i32 = 7;
    pub const TP_STATE_GET_RESPONSE: i32 = 8;
    pub const TP_STATE_SET_REQUEST: i32 = 9;
    pub const TP_STATE_SET_RESPONSE: i32 = 10;
    pub const TP_STATE_DELETE_REQUEST: i32 = 11;
    pub const TP_STATE_DELETE_RESPONSE: i32 = 12;
    pub const TP_RECEIPT_ADD_DATA_REQUEST: i32 = 13;
    pub const TP_RECEIPT_ADD_DATA_RESPONSE: i32 = 14;
    pub const TP_EVENT_ADD_REQUEST: i32 = 15;
    pub const TP_EVENT_ADD_RESPONSE: i32 = 16;
    pub const CLIENT_BATCH_SUBMIT_REQUEST: i32 = 100;
    pub const CLIENT_BATCH_SUBMIT_RESPONSE: i32 = 101;
    pub const CLIENT_BLOCK_LIST_REQUEST: i32 = 102;
    pub const CLIENT_BLOCK_LIST_RESPONSE: i32 = 103;
    pub const CLIENT_BLOCK_GET_BY_ID_REQUEST: i32 = 104;
    pub const CLIENT_BLOCK_GET_RESPONSE: i32 = 105;
    pub const CLIENT_BATCH_LIST_REQUEST: i32 = 106;
    pub const CLIENT_BATCH_LIST_RESPONSE: i32 = 107;
    pub const CLIENT_BATCH_GET_REQUEST: i32 = 108;
    pub const CLIENT_BATCH_GET_RESPONSE: i32 = 109;
    pub const CLIENT_TRANSACTION_LIST_REQUEST: i32 = 110;
    pub const CLIENT_TRANSACTION_LIST_RESPONSE: i32 = 111;
    pub const CLIENT_TRANSACTION_GET_REQUEST: i32 = 112;
    pub const CLIENT_TRANSACTION_GET_RESPONSE: i32 = 113;
    pub const CLIENT_STATE_LIST_REQUEST: i32 = 116;
    pub const CLIENT_STATE_LIST_RESPONSE: i32 = 117;
    pub const CLIENT_STATE_GET_REQUEST: i32 = 118;
    pub const CLIENT_STATE_GET_RESPONSE: i32 = 119;
    pub const CLIENT_BATCH_STATUS_REQUEST: i32 = 120;
    pub const CLIENT_BATCH_STATUS_RESPONSE: i32 = 121;
    pub const CLIENT_RECEIPT_GET_REQUEST: i32 = 122;
    pub const CLIENT_RECEIPT_GET_RESPONSE: i32 = 123;
    pub const CLIENT_BLOCK_GET_BY_NUM_REQUEST: i32 = 124;
    pub const CLIENT_PEERS_GET_REQUEST: i32 = 125;
    pub const CLIENT_PEERS_GET_RESPONSE: i32 = 126;
    pub const CLIENT_BLOCK_GET_BY_TRANSACTION_ID_REQUEST: i32 = 127;
    pub const CLIENT_BLOCK_GET_BY_BATCH_ID_REQUEST: i32 = 128;
    pub const CLIENT_STATUS_GET_REQUEST: i32 = 129;
    pub const CLIENT_STATUS_GET_RESPONSE: i32 = 130;
    pub const CLIENT_EVENTS_SUBSCRIBE_REQUEST: i32 = 500;
    pub const CLIENT_EVENTS_SUBSCRIBE_RESPONSE: i32 = 501;
    pub const CLIENT_EVENTS_UNSUBSCRIBE_REQUEST: i32 = 502;
    pub const CLIENT_EVENTS_UNSUBSCRIBE_RESPONSE: i32 = 503;
    pub const CLIENT_EVENTS: i32 = 504;
    pub const CLIENT_EVENTS_GET_REQUEST: i32 = 505;
    pub const CLIENT_EVENTS_GET_RESPONSE: i32 = 506;
    pub const PING_REQUEST: i32 = 700;
    pub const PING_RESPONSE: i32 = 701;
}

#[cfg(test)]
mod tests {
    use super::processor::{TpRegisterResponse, tp_register_status};
    use super::*;

    #[test]
    fn an_envelope_has_the_bytes_that_the_original_sends() {
        let registered = TpRegisterResponse { status: tp_register_status::OK, protocol_version: 0 };
        let bytes = Envelope::new(kind::TP_REGISTER_RESPONSE, "a", &registered).bytes();
        assert_eq!(hex::encode(bytes), "08021201611a020801");
        let ping =
            Envelope { message_type: kind::PING_REQUEST, correlation_id: "a".into(), content: Default::default() };
        assert_eq!(hex::encode(ping.bytes()), "08bc05120161");
    }
}
