//! What was long ago: old states, proofs and logs of a chain that is long enough for the index to have several levels.

use std::sync::Arc;

use alloy_primitives::Address;
use coco_protocol::LedgerHandle;
use serde_json::{Value, json};

use super::flow::{deploy, is_proved, store};
use super::{Client, developer, word};
use crate::network::DEV_ACCOUNTS;

const BLOCKS: u64 = 290;

/// What the keeper is made to hold in a block; it was deployed in the first.
fn stored(block: u64) -> u64 {
    if block.is_multiple_of(5) { 7 } else { block }
}

fn tag(block: u64) -> String {
    format!("{block:#x}")
}

/// From here on, a block for each word.
fn grow(client: &Client, keeper: Address, from: u64, value: impl Fn(u64) -> u64) {
    (from..=BLOCKS).for_each(|block| drop(store(client, keeper, block - 1, value(block))));
    assert_eq!(client.ask("eth_blockNumber", json!([])), tag(BLOCKS));
}

fn remembers(client: &Client, keeper: Address, value: impl Fn(u64) -> u64) {
    for block in [2, 3, 15, 16, 17, 31, 32, 100, 254, 255, 256, 257, 271, 272, 273, 287, 288, 289, BLOCKS] {
        let held = word(value(block));
        assert_eq!(client.ask("eth_getStorageAt", json!([keeper, "0x0", tag(block)])), held, "{block}");
        assert_eq!(client.ask("eth_call", json!([{"to": keeper}, tag(block)])), held, "{block}");
        let sender = DEV_ACCOUNTS[0].address;
        assert_eq!(client.ask("eth_getTransactionCount", json!([sender, tag(block)])), tag(block), "{block}");
    }
    for block in [2, 40, 256, 288] {
        is_proved(client, keeper, &tag(block), value(block));
    }
    let logged = |filter: Value| -> Vec<u64> {
        let logs = client.ask("eth_getLogs", json!([filter]));
        let number = |log: &Value| u64::from_str_radix(&log["blockNumber"].as_str().unwrap()[2..], 16).unwrap();
        let value = |log: &Value| assert_eq!(log["data"], word(value(number(log))));
        logs.as_array().unwrap().iter().inspect(|log| value(log)).map(number).collect()
    };
    let (all, no_blocks): (Vec<u64>, [u64; 0]) = ((2..=BLOCKS).collect(), []);
    assert_eq!(logged(json!({"fromBlock": "0x0", "address": keeper})), all);
    assert_eq!(logged(json!({"fromBlock": "0x0", "topics": [[word(1), word(0xaa)]]})), all);
    assert_eq!(logged(json!({"fromBlock": "0x0"})), all);
    assert_eq!(logged(json!({"fromBlock": "0x11", "toBlock": "0x101", "address": [keeper]})), all[15..256]);
    assert_eq!(logged(json!({"fromBlock": "0x0", "address": keeper, "topics": [word(0xab)]})), no_blocks);
    assert_eq!(logged(json!({"fromBlock": "0x0", "address": Address::ZERO})), no_blocks);
}

#[test]
fn old_states_proofs_and_logs_are_those_that_were() {
    let client = Client::new();
    let keeper = deploy(&client);
    grow(&client, keeper, 2, stored);
    remembers(&client, keeper, stored);
    let none = client.ask("eth_getStorageAt", json!([keeper, "0x0", "0x0"]));
    assert_eq!(none, word(0));

    // So they are after a restart, which keeps the index, and on a node that has followed, which made its own.
    for node in [client.node.restarted(Arc::new(developer())), client.node.follower(Arc::new(developer()))] {
        let handle: Arc<dyn LedgerHandle> = node.clone();
        let service = node.protocol().clone().serve(handle);
        remembers(&Client { node, service }, keeper, stored);
    }
}

#[test]
fn a_chain_that_went_back_remembers_its_new_past() {
    let client = Client::new();
    let keeper = deploy(&client);
    (2..=40).for_each(|block| drop(store(&client, keeper, block - 1, block + 1_000)));
    let snapshot = client.ask("evm_snapshot", json!([]));
    grow(&client, keeper, 41, |block| block + 2_000);
    assert_eq!(client.ask("evm_revert", json!([snapshot])), true);
    let now = |block: u64| if block <= 40 { block + 1_000 } else { block };
    grow(&client, keeper, 41, now);
    remembers(&client, keeper, now);
}

#[test]
fn a_search_by_address_finds_what_is_long_ago() {
    let client = Client::new();
    let keeper = deploy(&client);
    let somebody = "0x4444444444444444444444444444444444444444";
    (2..=60).for_each(|block| drop(store(&client, keeper, block - 1, block)));
    let payment = json!([{"from": DEV_ACCOUNTS[1].address, "to": somebody, "value": "0x1"}]);
    let first = client.ask("eth_sendTransaction", payment.clone());
    (61..=120).for_each(|block| drop(store(&client, keeper, block - 1, block)));
    let second = client.ask("eth_sendTransaction", payment);
    let found = |method: &str, params: Value| -> Vec<Value> {
        let page = client.ask(method, params);
        page["txs"].as_array().unwrap().iter().map(|transaction| transaction["hash"].clone()).collect()
    };
    assert_eq!(found("ots_searchTransactionsBefore", json!([somebody, 0, 10])), [second.clone(), first.clone()]);
    assert_eq!(found("ots_searchTransactionsAfter", json!([somebody, 0, 10])), [second.clone(), first.clone()]);
    assert_eq!(found("ots_searchTransactionsBefore", json!([somebody, 100, 10])), [first]);
    assert_eq!(found("ots_searchTransactionsAfter", json!([somebody, 100, 10])), [second]);
    assert_eq!(found("ots_searchTransactionsBefore", json!([keeper, 0, 25])).len(), 25);
}
