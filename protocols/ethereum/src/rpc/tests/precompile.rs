//! What contracts ask the Coco precompile, in transactions, in simulations, and in traces of transactions.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Client, word};
use crate::network::{DEV_ACCOUNTS, NetworkConfig};

/// Asks the precompile what it is called with, stores the first two words of the answer in slots 0 and 1, and returns them.
const ASKER_CODE: &str = "0x365f5f3760405f365f61c0c05afa505f515f5560205160015560405ff3";
const ASKER: &str = "0x7777777777777777777777777777777777777777";

const RANDOM: &str = "0x5ec01e4d";
const TIME_MS: &str = "0x13e912e6";
const TRANSACTION_ID: &str = "0x7e2f42e7";
const IS_SIMULATION: &str = "0xd343a3b6";

fn asker() -> Client {
    let client = Client::new();
    client.ask("hardhat_setCode", json!([ASKER, ASKER_CODE]));
    client
}

/// Has a transaction ask; gives its hash and what it stored.
fn committed(client: &Client, question: &str) -> (Value, [String; 2]) {
    let request = json!({"from": DEV_ACCOUNTS[0].address, "to": ASKER, "data": question, "gas": "0x30d40"});
    let hash = client.ask("eth_sendTransaction", json!([request]));
    assert_eq!(client.ask("eth_getTransactionReceipt", json!([hash]))["status"], "0x1");
    let slot = |slot: &str| client.ask("eth_getStorageAt", json!([ASKER, slot])).as_str().unwrap().to_owned();
    (hash, [slot("0x0"), slot("0x1")])
}

fn simulated(client: &Client, question: &str) -> String {
    let answer = client.ask("eth_call", json!([{"to": ASKER, "data": question}]));
    answer.as_str().unwrap()[..66].to_owned()
}

#[test]
fn every_draw_is_another_and_a_simulation_predicts_none() {
    let client = asker();
    let mut drawn = BTreeSet::new();
    for _ in 0..5 {
        assert!(drawn.insert(simulated(&client, RANDOM)));
        let simulation =
            json!({"blockStateCalls": [{"calls": [{"to": ASKER, "data": RANDOM}, {"to": ASKER, "data": RANDOM}]}]});
        let told = client.ask("eth_simulateV1", json!([simulation]));
        for call in told[0]["calls"].as_array().unwrap() {
            assert!(drawn.insert(call["returnData"].as_str().unwrap()[..66].to_owned()));
        }
        assert!(drawn.insert(committed(&client, RANDOM).1[0].clone()));
    }
    assert!(!drawn.contains(&word(0)));
}

#[test]
fn a_transaction_knows_its_time_and_id_and_that_it_is_none_to_try() {
    let client = asker();
    assert_eq!(simulated(&client, IS_SIMULATION), word(1));
    assert_eq!(committed(&client, IS_SIMULATION).1[0], word(0));
    let number = |word: &str| u64::from_str_radix(&word[2..], 16).unwrap();
    let before = number(&simulated(&client, TIME_MS));
    let during = number(&committed(&client, TIME_MS).1[0]);
    assert!(before > 1_600_000_000_000 && during >= before);
    assert_eq!(simulated(&client, TRANSACTION_ID), word(0));
    let (_, [view, seqno]) = committed(&client, TRANSACTION_ID);
    assert_eq!(view, word(2));
    // The block's seal and the batch's signature follow.
    assert_eq!(number(&seqno) + 2, client.node.version().0);
}

#[test]
fn a_trace_shows_what_was_drawn_and_not_something_new() {
    let client = asker();
    let (hash, [drawn, _]) = committed(&client, RANDOM);
    let trace = client.ask("debug_traceTransaction", json!([hash]));
    assert_eq!(trace["returnValue"].as_str().unwrap()[..66], drawn);
    // Also once it is no longer among the newest, and only its record tells.
    client.ask("hardhat_mine", json!(["0x100"]));
    let again = client.ask("debug_traceTransaction", json!([hash, {"tracer": "callTracer"}]));
    assert_eq!(again["output"].as_str().unwrap()[..66], drawn);
}

#[test]
fn what_is_no_question_is_reverted_and_little_gas_is_not_enough() {
    let client = Client::new();
    let coco = "0x000000000000000000000000000000000000c0c0";
    for data in ["0x", "0x5ec01e", "0x12345678"] {
        assert_eq!(client.fail("eth_call", json!([{"to": coco, "data": data}])).0, 3, "{data}");
    }
    client.ask("eth_call", json!([{"to": coco, "data": RANDOM}]));
    let poor = json!([{"to": coco, "data": RANDOM, "gas": "0x5300"}]);
    assert_eq!(client.fail("eth_call", poor).0, -32000);
    assert_eq!(client.ask("eth_config", json!([]))["current"]["precompiles"]["COCO"], coco);
}

#[test]
fn another_networks_blocks_have_no_such_precompile() {
    let own = NetworkConfig::read(&json!({"dev": true})).unwrap();
    assert!(own.coco_precompile);
    let imported = NetworkConfig::read(&json!({"chain": "0x00", "frozen": true})).unwrap();
    assert!(!imported.coco_precompile);
}
