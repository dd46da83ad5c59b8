//! Transactions that fail in their block, where a developer asked for an error then.

use std::sync::Arc;

use coco_protocol::OpenGate;
use serde_json::json;

use super::{Client, address, counting};
use crate::Ethereum;
use crate::rpc::Options;
use crate::testing::dev_key;

#[test]
fn a_transaction_that_failed_in_its_block_is_an_error_where_that_was_asked_for() {
    let options = || Options { failures_are_errors: true, ..Options::developer(counting(), vec![dev_key(0)]) };
    let client = Client::of(Arc::new(Ethereum::new(options)), Arc::new(OpenGate));
    let send = |client: &Client, code: &str| {
        client.request("eth_sendTransaction", json!([{"from": address(0), "gas": "0x30000", "data": code}]))
    };
    let custom = send(&client, "0x63aabbccdd60e01b60005260046000fd").unwrap_err();
    assert_eq!(custom["code"], json!(-32603));
    let message = custom["message"].as_str().unwrap();
    assert!(message.ends_with("reverted with an unrecognized custom error (return data: 0xaabbccdd)"), "{message}");
    assert_eq!((&custom["data"]["message"], &custom["data"]["data"]), (&custom["message"], &json!("0xaabbccdd")));
    let receipt = client.ask("eth_getTransactionReceipt", json!([custom["data"]["txHash"]]));
    assert_eq!((&receipt["status"], &receipt["blockNumber"]), (&json!("0x0"), &json!("0x1")));
    let panic = send(&client, "0x634e487b7160e01b600052601160045260246000fd").unwrap_err();
    let message = panic["message"].as_str().unwrap();
    assert!(message.ends_with("panic code 0x11 (arithmetic underflow or overflow)"), "{message}");
    let silent = send(&client, "0x60006000fd").unwrap_err();
    assert_eq!(silent["message"], json!("Error: Transaction reverted without a reason string"));
    assert_eq!(silent["data"]["data"], json!("0x"));
    let endless = send(&client, "0x5b600056").unwrap_err();
    assert_eq!((&endless["code"], &endless["message"]), (&json!(-32000), &json!("Transaction ran out of gas")));
    assert_eq!(client.ask("eth_blockNumber", json!([])), json!("0x4"), "each is in a block");
    send(&client, "0x").unwrap();
    assert!(send(&Client::new(), "0x60006000fd").unwrap().is_string(), "otherwise the hash");
}
