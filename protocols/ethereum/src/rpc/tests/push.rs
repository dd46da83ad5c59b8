//! Subscriptions and filters.

use serde_json::{Value, json};

use super::{Client, keeper_init};
use crate::network::DEV_ACCOUNTS;
use crate::rpc::limits::{LOG_CHOICES_ALL_MAX, LOG_CHOICES_MAX};
use crate::testing::{dev_key, sign, transfer};

fn send(client: &Client, nonce: u64) -> Value {
    let raw = sign(&dev_key(0), transfer(nonce, DEV_ACCOUNTS[9].address, 1));
    client.ask("eth_sendRawTransaction", json!([alloy_primitives::hex::encode_prefixed(raw)]))
}

/// Has a new contract log something; gives the hash of the transaction that did.
fn log(client: &Client, from: usize) -> Value {
    let from = alloy_primitives::hex::encode_prefixed(DEV_ACCOUNTS[from].address);
    let deploy = json!([{"from": from, "data": alloy_primitives::hex::encode_prefixed(keeper_init())}]);
    let deployed = client.ask("eth_sendTransaction", deploy);
    let to = client.ask("eth_getTransactionReceipt", json!([deployed]))["contractAddress"].clone();
    client.ask("eth_sendTransaction", json!([{"from": from, "to": to, "data": super::word(1), "gas": "0x20000"}]))
}

#[test]
fn a_subscriber_hears_of_a_block_before_its_logs_whichever_it_asked_for_first() {
    let client = Client::new();
    let mut socket = client.socket();
    let logs = socket.subscribe(json!(["logs", {"topics": [super::word(0xaa)]}]));
    let heads = socket.subscribe(json!(["newHeads"]));
    assert_ne!(logs, heads);
    let hash = log(&client, 1);
    let told: Vec<Value> = socket.take().into_iter().map(|message| message["params"].clone()).collect();
    let of: Vec<&str> = told.iter().map(|told| told["subscription"].as_str().unwrap()).collect();
    assert_eq!(of, [&heads, &heads, &logs], "two blocks, the second with a log");
    assert_eq!(told[2]["result"]["transactionHash"], hash);
    assert_eq!(told[2]["result"]["blockHash"], told[1]["result"]["hash"]);
}

#[test]
fn a_subscription_ends_when_it_is_told_to_or_its_connection_ends() {
    let client = Client::new();
    let mut socket = client.socket();
    let id = socket.subscribe(json!(["newHeads"]));
    send(&client, 0);
    assert_eq!(socket.take().len(), 1);
    socket.send("eth_unsubscribe", json!([id]));
    assert_eq!(socket.take()[0]["result"], true);
    send(&client, 1);
    assert!(socket.take().is_empty());
    socket.subscribe(json!(["newHeads"]));
    let sent = socket.sent.clone();
    drop(socket);
    send(&client, 2);
    assert!(sent.messages.lock().is_empty());
}

#[test]
fn what_all_subscriptions_for_logs_name_is_bounded_and_ends_with_them() {
    let client = Client::new();
    let topics: Vec<String> = (0..LOG_CHOICES_MAX as u64).map(super::word).collect();
    let most = json!(["logs", {"topics": [topics]}]);
    let mut sockets = Vec::new();
    for count in 0..LOG_CHOICES_ALL_MAX / LOG_CHOICES_MAX {
        if count % 100 == 0 {
            sockets.push(client.socket());
        }
        sockets.last_mut().unwrap().subscribe(most.clone());
    }
    let mut other = client.socket();
    let one = json!(["logs", {"topics": [super::word(1)]}]);
    other.send("eth_subscribe", one.clone());
    assert_eq!(other.take()[0]["error"]["code"], -32005);
    other.subscribe(json!(["logs"]));
    sockets.pop();
    other.subscribe(one);
}

#[test]
fn a_connection_that_does_not_keep_up_is_left_and_the_others_are_served() {
    let client = Client::new();
    let (mut slow, mut other) = (client.socket(), client.socket());
    slow.subscribe(json!(["newHeads"]));
    other.subscribe(json!(["newHeads"]));
    *slow.sent.closed.lock() = true;
    send(&client, 0);
    send(&client, 1);
    assert!(slow.take().is_empty());
    assert_eq!(other.take().len(), 2);
}

#[test]
fn notifications_wait_for_the_answer_that_announces_their_subscription() {
    let client = Client::new();
    let mut socket = client.socket();
    let raw = alloy_primitives::hex::encode_prefixed(sign(&dev_key(0), transfer(0, DEV_ACCOUNTS[9].address, 1)));
    // The submission's block is sealed while the batch is still being served.
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]},
        {"jsonrpc": "2.0", "id": 2, "method": "eth_sendRawTransaction", "params": [raw]}
    ]);
    socket.session.message(&batch.to_string());
    let messages = socket.take();
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0][0]["result"], messages[1]["params"]["subscription"]);
}

#[test]
fn pending_transactions_are_told_to_subscribers_and_filters() {
    let client = Client::new();
    let mut socket = client.socket();
    socket.subscribe(json!(["newPendingTransactions"]));
    socket.subscribe(json!(["newPendingTransactions", true]));
    let filter = client.ask("eth_newPendingTransactionFilter", json!([]));
    let hash = send(&client, 0);
    let told = socket.take();
    assert_eq!(told[0]["params"]["result"], hash);
    assert_eq!(told[1]["params"]["result"]["hash"], hash);
    assert_eq!(client.ask("eth_getFilterChanges", json!([filter])), json!([hash]));
    assert_eq!(client.ask("eth_getFilterChanges", json!([filter])), json!([]));
}

#[test]
fn filters_tell_what_is_new_once() {
    let client = Client::new();
    log(&client, 1);
    let blocks = client.ask("eth_newBlockFilter", json!([]));
    let logs = client.ask("eth_newFilter", json!([{"topics": [super::word(0xaa)], "fromBlock": "0x0"}]));
    assert_eq!(client.ask("eth_getFilterChanges", json!([blocks])), json!([]));
    assert_eq!(client.ask("eth_getFilterChanges", json!([logs])), json!([]));
    let hash = log(&client, 2);
    let changes = client.ask("eth_getFilterChanges", json!([logs]));
    assert_eq!(changes.as_array().unwrap().len(), 1);
    assert_eq!(changes[0]["transactionHash"], hash);
    assert_eq!(client.ask("eth_getFilterChanges", json!([logs])), json!([]));
    assert_eq!(client.ask("eth_getFilterLogs", json!([logs])).as_array().unwrap().len(), 2, "told or not");
    assert_eq!(client.ask("eth_getFilterChanges", json!([blocks])).as_array().unwrap().len(), 2);
    assert_eq!(client.ask("eth_uninstallFilter", json!([logs])), true);
    assert_eq!(client.ask("eth_uninstallFilter", json!([logs])), false);
    assert_eq!(client.fail("eth_getFilterChanges", json!([logs])), (-32000, "filter not found".to_owned()));
    assert_eq!(client.fail("eth_getFilterLogs", json!([blocks])), (-32000, "filter not found".to_owned()));
}

#[test]
fn there_are_no_subscriptions_over_plain_http() {
    let client = Client::new();
    assert_eq!(client.fail("eth_subscribe", json!(["newHeads"])), (-32601, "notifications not supported".to_owned()));
    let mut socket = client.socket();
    socket.send("eth_subscribe", json!(["weather"]));
    assert_eq!(socket.take()[0]["error"]["code"], -32602);
    for _ in 0..super::super::limits::SUBSCRIPTIONS_PER_CONNECTION_MAX {
        socket.subscribe(json!(["syncing"]));
    }
    socket.send("eth_subscribe", json!(["syncing"]));
    assert_eq!(socket.take()[0]["error"]["code"], -32005);
}
