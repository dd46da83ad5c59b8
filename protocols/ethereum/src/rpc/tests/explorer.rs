//! What a block explorer asks, and blocks that are only built.

use serde_json::{Value, json};

use super::{Client, keeper_init, word};
use crate::network::DEV_ACCOUNTS;

const SOMEBODY: &str = "0x1111111111111111111111111111111111111111";

fn sender() -> String {
    DEV_ACCOUNTS[0].address.to_string().to_lowercase()
}

fn send(client: &Client, fields: Value) -> String {
    let mut request = json!({"from": sender()});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    client.ask("eth_sendTransaction", json!([request])).as_str().unwrap().to_owned()
}

fn pay(client: &Client, to: &str) -> String {
    send(client, json!({"to": to, "value": "0x1"}))
}

#[test]
fn blocks_are_told_with_fees_and_pages_of_transactions() {
    let client = Client::new();
    assert_eq!(client.ask("ots_getApiLevel", json!([])), json!(8));
    client.ask("evm_setAutomine", json!([false]));
    let data = word(3);
    let hashes: Vec<String> =
        (0..3).map(|_| send(&client, json!({"to": SOMEBODY, "gas": "0x10000", "data": data}))).collect();
    client.ask("evm_mine", json!([]));
    let details = client.ask("ots_getBlockDetails", json!([1]));
    assert_eq!((&details["block"]["transactionCount"], &details["block"]["transactions"]), (&json!("0x3"), &json!([])));
    let receipt = client.ask("eth_getTransactionReceipt", json!([hashes[0]]));
    let quantity = |value: &Value| u128::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap();
    let fee = quantity(&receipt["gasUsed"]) * quantity(&receipt["effectiveGasPrice"]);
    assert_eq!(quantity(&details["totalFees"]), 3 * fee);
    assert_eq!(details["issuance"]["issuance"], json!("0x0"));
    assert_eq!(client.ask("ots_getBlockDetailsByHash", json!([details["block"]["hash"]])), details);
    assert_eq!(client.ask("ots_getBlockDetails", json!([99])), Value::Null);
    let page = client.ask("ots_getBlockTransactions", json!([1, 0, 2]));
    let told: Vec<&Value> =
        page["fullblock"]["transactions"].as_array().unwrap().iter().map(|tx| &tx["hash"]).collect();
    assert_eq!(told, [&json!(hashes[1]), &json!(hashes[2])]);
    assert_eq!(page["fullblock"]["transactions"][0]["input"], json!("0x00000000"));
    assert_eq!((page["receipts"].as_array().unwrap().len(), &page["receipts"][0]["logs"]), (2, &Value::Null));
    let last = client.ask("ots_getBlockTransactions", json!([1, 1, 2]));
    assert_eq!(last["fullblock"]["transactions"][0]["hash"], json!(hashes[0]));
    assert_eq!(client.ask("erigon_getHeaderByNumber", json!([1]))["hash"], details["block"]["hash"]);
}

#[test]
fn transactions_are_found_by_who_took_part_also_from_inside() {
    let client = Client::new();
    // Forwards what it is paid.
    let forward = format!("0x{}", "600080808034738888888888888888888888888888888888888888620f4240f100");
    let forwarder = "0x7777777777777777777777777777777777777777";
    let inside = "0x8888888888888888888888888888888888888888";
    client.ask("hardhat_setCode", json!([forwarder, forward]));
    let first = pay(&client, SOMEBODY);
    let through = send(&client, json!({"to": forwarder, "value": "0x5", "gas": "0x30000"}));
    let second = pay(&client, SOMEBODY);
    let third = pay(&client, SOMEBODY);
    let hashes = |page: &Value| -> Vec<String> {
        page["txs"].as_array().unwrap().iter().map(|tx| tx["hash"].as_str().unwrap().to_owned()).collect()
    };
    let newest = client.ask("ots_searchTransactionsBefore", json!([SOMEBODY, 0, 2]));
    assert_eq!(hashes(&newest), [third.clone(), second.clone()]);
    assert_eq!((&newest["firstPage"], &newest["lastPage"]), (&json!(true), &json!(false)));
    assert!(newest["receipts"][0]["timestamp"].is_string());
    let older = client.ask("ots_searchTransactionsBefore", json!([SOMEBODY, 3, 2]));
    assert_eq!((hashes(&older), &older["lastPage"]), (vec![first.clone()], &json!(true)));
    let oldest = client.ask("ots_searchTransactionsAfter", json!([SOMEBODY, 0, 2]));
    assert_eq!((hashes(&oldest), &oldest["lastPage"]), (vec![second.clone(), first], &json!(true)));
    let newer = client.ask("ots_searchTransactionsAfter", json!([SOMEBODY, 3, 2]));
    assert_eq!((hashes(&newer), &newer["firstPage"]), (vec![third], &json!(true)));
    let found = client.ask("ots_searchTransactionsBefore", json!([inside, 0, 25]));
    assert_eq!(hashes(&found), std::slice::from_ref(&through));

    assert_eq!(client.ask("ots_getTransactionBySenderAndNonce", json!([sender(), 2])), json!(second));
    assert_eq!(client.ask("eth_getTransactionBySenderAndNonce", json!([sender(), "0x2"]))["hash"], json!(second));
    assert_eq!(client.ask("ots_getTransactionBySenderAndNonce", json!([sender(), 9])), Value::Null);
    let operations = client.ask("ots_getInternalOperations", json!([through]));
    assert_eq!(operations, json!([{"type": 0, "from": forwarder, "to": inside, "value": "0x5"}]));
    let trace = client.ask("ots_traceTransaction", json!([through]));
    assert_eq!((&trace[1]["type"], &trace[1]["depth"], &trace[1]["to"]), (&json!("CALL"), &json!(1), &json!(inside)));
}

#[test]
fn contracts_are_told_with_their_creator_and_failures_with_their_reason() {
    let client = Client::new();
    pay(&client, SOMEBODY);
    let created = send(&client, json!({"data": keeper_init()}));
    let contract = client.ask("eth_getTransactionReceipt", json!([created]))["contractAddress"].clone();
    pay(&client, SOMEBODY);
    let creator = client.ask("ots_getContractCreator", json!([contract]));
    assert_eq!(creator, json!({"hash": created, "creator": sender()}));
    assert_eq!(client.ask("ots_getContractCreator", json!([SOMEBODY])), Value::Null);
    assert_eq!(client.ask("ots_hasCode", json!([contract, "latest"])), json!(true));
    assert_eq!(client.ask("ots_hasCode", json!([contract, "0x1"])), json!(false));
    client.ask("hardhat_setCode", json!([SOMEBODY, "0x60aa60005260206000fd"]));
    let failing = send(&client, json!({"to": SOMEBODY, "gas": "0x10000"}));
    assert_eq!(client.ask("ots_getTransactionError", json!([failing])), json!(word(0xaa)));
    assert_eq!(client.ask("ots_getTransactionError", json!([created])), json!("0x"));
    assert_eq!(client.ask("ots_traceTransaction", json!([word(1)])), Value::Null);
}

#[test]
fn a_built_block_is_what_would_come_and_a_filled_transaction_what_would_be_signed() {
    let client = Client::new();
    pay(&client, SOMEBODY);
    client.ask("evm_setAutomine", json!([false]));
    let waiting = pay(&client, SOMEBODY);
    let head = client.ask("eth_getBlockByNumber", json!(["latest", false]));
    let time = u64::from_str_radix(&head["timestamp"].as_str().unwrap()[2..], 16).unwrap() + 9;
    let attributes = json!({"timestamp": format!("{time:#x}"), "prevRandao": word(1), "suggestedFeeRecipient": SOMEBODY,
        "withdrawals": [], "parentBeaconBlockRoot": word(2)});
    let built = |transactions: Value| {
        client.ask("testing_buildBlockV1", json!([head["hash"], attributes, transactions, "0x00ff"]))
    };
    let empty = built(json!([]));
    assert_eq!((&empty["executionPayload"]["transactions"], &empty["blockValue"]), (&json!([]), &json!("0x0")));
    assert_eq!(empty["executionPayload"]["extraData"], json!("0x00ff"));
    let full = built(Value::Null);
    let raw = full["executionPayload"]["transactions"][0].clone();
    assert_eq!(built(json!([raw])), full);
    assert_ne!(full["executionPayload"]["stateRoot"], empty["executionPayload"]["stateRoot"]);
    let twice = json!([head["hash"], attributes, [raw, raw]]);
    assert!(client.fail("testing_buildBlockV1", twice).1.contains("nonce too low"));
    assert_eq!(client.fail("testing_buildBlockV1", json!([word(7), attributes, []])).1, "unknown parent");
    client.ask("evm_mine", json!([]));
    assert_eq!(client.ask("eth_getTransactionByHash", json!([waiting]))["blockNumber"], json!("0x2"));

    let filled = client.ask("eth_fillTransaction", json!([{"from": sender(), "to": SOMEBODY, "value": "0x1"}]));
    assert_eq!((&filled["tx"]["nonce"], &filled["tx"]["gas"]), (&json!("0x2"), &json!("0x5208")));
    assert_eq!(client.fail("eth_sendRawTransaction", json!([filled["raw"]])).0, -32000);
}
