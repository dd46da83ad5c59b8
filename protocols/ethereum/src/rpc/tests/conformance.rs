//! The rules that every protocol passes, with reads through the API.

use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::Protocol;
use coco_protocol::conformance::{Fixture, check};
use http::Request;
use serde_json::{Value, json};

use crate::network::DEV_ACCOUNTS;
use crate::testing::{dev_key, sign, transfer};

struct Ledger;

impl Fixture for Ledger {
    fn protocol(&self) -> Arc<dyn Protocol> {
        Arc::new(super::network())
    }

    fn genesis(&self) -> Value {
        json!({"dev": true})
    }

    fn submissions(&self) -> Vec<Bytes> {
        (0..3).map(|nonce| sign(&dev_key(0), transfer(nonce, DEV_ACCOUNTS[9].address, 5))).collect()
    }

    fn refused(&self) -> Vec<Bytes> {
        let poor = secp256k1::SecretKey::from_byte_array(&[7; 32]).expect("a valid key");
        vec![sign(&poor, transfer(0, DEV_ACCOUNTS[9].address, 5))]
    }

    fn malformed(&self) -> Vec<Bytes> {
        vec![Bytes::new(), Bytes::from_static(&[2]), Bytes::from_static(b"transaction"), Bytes::from_static(&[0xc0])]
    }

    fn reads(&self) -> Vec<Request<Bytes>> {
        let hash = alloy_primitives::keccak256(&self.submissions()[0]);
        let read = |method: &str, params: Value| {
            Request::post("/")
                .body(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string().into())
        };
        let requests = [
            read("eth_getTransactionByHash", json!([hash])),
            read("eth_getTransactionReceipt", json!([hash])),
            read("eth_getRawTransactionByHash", json!([hash])),
            read("eth_getBlockByNumber", json!(["0x1", true])),
        ];
        requests.into_iter().map(|request| request.expect("a request")).collect()
    }
}

#[test]
fn ethereum_is_a_ledger_protocol() {
    check(&Ledger);
}
