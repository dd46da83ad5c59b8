//! What a caller may not see reads as what does not exist, whichever way it is asked for.

use std::sync::Arc;

use alloy_primitives::{hex, keccak256};
use coco_protocol::{Caller, Gate, Subject};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Client, KEEPER_RUNTIME, keeper_init, word};
use crate::network::DEV_ACCOUNTS;

/// Open until it is shut.
#[derive(Default)]
struct Door {
    shut: Mutex<bool>,
    asked: Mutex<Vec<String>>,
}

impl Gate for Door {
    fn permits(&self, caller: &Caller, subject: &Subject<'_>) -> bool {
        assert_eq!((caller, subject.ledger), (&Caller::Anonymous, "ethereum"));
        self.asked.lock().push(subject.kind.to_owned());
        !*self.shut.lock()
    }
}

/// A client of a network with a contract that logged something, its door, and what to ask for.
fn shut() -> (Client, Arc<Door>, [Value; 3]) {
    let door = Arc::new(Door::default());
    let client = Client::of(Arc::new(super::developer()), door.clone());
    let from = hex::encode_prefixed(DEV_ACCOUNTS[0].address);
    let deployed =
        client.ask("eth_sendTransaction", json!([{"from": from, "data": hex::encode_prefixed(keeper_init())}]));
    let keeper = client.ask("eth_getTransactionReceipt", json!([deployed]))["contractAddress"].clone();
    let hash = client.ask("eth_sendTransaction", json!([{"from": from, "to": keeper, "data": word(5)}]));
    let block = client.ask("eth_getTransactionReceipt", json!([hash]))["blockHash"].clone();
    (client, door, [keeper, hash, block])
}

#[test]
fn denied_reads_equal_reads_of_what_is_absent() {
    let (client, door, [keeper, hash, block]) = shut();
    let filter = client.ask("eth_newFilter", json!([{}]));
    let blocks = client.ask("eth_newBlockFilter", json!([]));
    let from = json!(hex::encode_prefixed(DEV_ACCOUNTS[0].address));
    client.ask("eth_sendTransaction", json!([{"from": from, "to": keeper, "data": word(6)}]));
    let code_hash = keccak256(hex::decode(KEEPER_RUNTIME).unwrap());
    let (nowhere, nothing) = (json!(format!("0x{}", "7".repeat(40))), json!(word(7)));
    let pairs = [
        ("eth_getBalance", json!([from]), json!([nowhere])),
        ("eth_getTransactionCount", json!([from, "pending"]), json!([nowhere, "pending"])),
        ("eth_getCode", json!([keeper]), json!([nowhere])),
        ("eth_getStorageAt", json!([keeper, "0x0"]), json!([nowhere, "0x0"])),
        ("debug_codeByHash", json!([code_hash]), json!([nothing])),
        ("eth_getTransactionByHash", json!([hash]), json!([nothing])),
        ("eth_getRawTransactionByHash", json!([hash]), json!([nothing])),
        ("eth_getTransactionReceipt", json!([hash]), json!([nothing])),
        ("coco_getReceipt", json!([hash]), json!([nothing])),
        ("debug_getRawTransaction", json!([hash]), json!([nothing])),
        ("eth_getBlockByHash", json!([block, true]), json!([nothing, true])),
        ("eth_getBlockByNumber", json!(["0x2", true]), json!(["0x99", true])),
        ("eth_getBlockReceipts", json!(["0x2"]), json!(["0x99"])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x2", "0x0"]), json!(["0x99", "0x0"])),
        ("eth_getBlockTransactionCountByHash", json!([block]), json!([nothing])),
        ("debug_getRawBlock", json!(["0x2"]), json!(["0x99"])),
        ("debug_getRawReceipts", json!(["0x2"]), json!(["0x99"])),
        ("eth_getBalance", json!([nowhere, block]), json!([nowhere, nothing])),
    ];
    assert_eq!(client.ask("debug_codeByHash", json!([code_hash])), client.ask("eth_getCode", json!([keeper])));
    *door.shut.lock() = true;
    for (method, denied, absent) in pairs {
        assert_eq!(client.request(method, denied), client.request(method, absent), "{method}");
    }
    assert_eq!(client.ask("eth_getLogs", json!([{"fromBlock": "0x0"}])), json!([]));
    assert_eq!(client.ask("eth_getFilterChanges", json!([filter])), json!([]));
    assert_eq!(client.ask("eth_getFilterChanges", json!([blocks])), json!([]));
    assert_eq!(client.fail("eth_call", json!([{"to": keeper}])), (4100, "unauthorized".to_owned()));
    assert_eq!(client.fail("eth_fillTransaction", json!([{"from": from, "to": keeper}])).0, 4100);
    let attributes = json!({"timestamp": "0x7fffffff", "prevRandao": word(1), "suggestedFeeRecipient": from});
    assert_eq!(client.fail("testing_buildBlockV1", json!([block, attributes, null])).0, 4100);
    assert_eq!(client.fail("eth_getProof", json!([keeper, []])), (-32001, "resource not found".to_owned()));
}

#[test]
fn a_subscriber_is_told_nothing_that_is_denied() {
    let (client, door, [keeper, ..]) = shut();
    let mut socket = client.socket();
    for topic in [json!(["newHeads"]), json!(["logs"]), json!(["newPendingTransactions"])] {
        socket.subscribe(topic);
    }
    *door.shut.lock() = true;
    let from = json!(hex::encode_prefixed(DEV_ACCOUNTS[0].address));
    let send = json!([{"from": from, "to": keeper, "data": word(6), "gas": "0x20000"}]);
    client.ask("eth_sendTransaction", send);
    assert!(socket.take().is_empty());
    let asked = door.asked.lock();
    for kind in ["block", "log", "transaction"] {
        assert!(asked.iter().any(|asked| asked == kind), "{kind}");
    }
}
