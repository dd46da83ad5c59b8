//! Deploying, calling, sending, waiting, reading logs, estimating: what clients do all day.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes as EvmBytes, hex, keccak256};
use bytes::Bytes;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{Caller, OpenGate, Service};
use http::{Method, Request, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Client, KEEPER_RUNTIME, Options, address, counting, keeper_init, network, word};
use crate::held::Held;
use crate::network::DEV_ACCOUNTS;
use crate::rpc::Ledger;
use crate::rpc::limits::{POOL_CONTENTS_ASKED_MAX, POOL_SENDERS_ASKED_MAX};
use crate::rpc::server::Server;
use crate::testing::{dev_key, invoke, sign, transfer};

fn raw(bytes: &[u8]) -> Value {
    json!(hex::encode_prefixed(bytes))
}

/// Deploys the keeper with nonce 0 of account 0; gives its address.
pub(super) fn deploy(client: &Client) -> Address {
    let hash = client.ask("eth_sendRawTransaction", json!([raw(&sign(&dev_key(0), invoke(0, None, keeper_init())))]));
    let receipt = client.ask("eth_getTransactionReceipt", json!([hash]));
    assert_eq!(receipt["status"], "0x1");
    receipt["contractAddress"].as_str().unwrap().parse().unwrap()
}

/// Has the keeper store a word, with this nonce of account 0; gives the transaction's hash.
pub(super) fn store(client: &Client, keeper: Address, nonce: u64, value: u64) -> Value {
    let input: EvmBytes = hex::decode(word(value)).unwrap().into();
    client.ask("eth_sendRawTransaction", json!([raw(&sign(&dev_key(0), invoke(nonce, Some(keeper), input)))]))
}

#[test]
fn a_contract_is_deployed_called_sent_to_and_its_logs_are_read() {
    let client = Client::new();
    assert_eq!(client.ask("eth_chainId", json!([])), "0x7a69");
    assert_eq!(client.ask("net_version", json!([])), "31337");
    assert_eq!(client.ask("eth_blockNumber", Value::Null), "0x0");
    let keeper = deploy(&client);
    assert_eq!(client.ask("eth_getCode", json!([keeper, "latest"])), format!("0x{KEEPER_RUNTIME}"));
    assert_eq!(client.ask("eth_call", json!([{"to": keeper}])), word(0));

    let hash = store(&client, keeper, 1, 5);
    assert_eq!(client.ask("eth_call", json!([{"to": keeper}, "latest"])), word(5));
    assert_eq!(client.ask("eth_call", json!([{"to": keeper}, "0x1"])), word(0), "the state of an older block");
    assert_eq!(client.ask("eth_getStorageAt", json!([keeper, "0x0"])), word(5));
    assert_eq!(client.ask("eth_getStorageAt", json!([keeper, "0x0", "0x1"])), word(0));
    assert_eq!(client.ask("eth_getTransactionCount", json!([address(0), "latest"])), "0x2");
    assert_eq!(client.ask("eth_getTransactionCount", json!([address(0), "pending"])), "0x2");

    let receipt = client.ask("eth_getTransactionReceipt", json!([hash]));
    let logs = client.ask("eth_getLogs", json!([{"address": keeper, "fromBlock": "0x0"}]));
    assert_eq!(logs, receipt["logs"]);
    assert_eq!((&logs[0]["data"], &logs[0]["topics"]), (&json!(word(5)), &json!([word(0xaa)])));
    assert_eq!(client.ask("eth_getLogs", json!([{"topics": [word(0xab)], "fromBlock": "earliest"}])), json!([]));

    let transaction = client.ask("eth_getTransactionByHash", json!([hash]));
    assert_eq!((&transaction["blockNumber"], &transaction["from"]), (&json!("0x2"), &address(0)));
    let block = client.ask("eth_getBlockByNumber", json!(["latest", true]));
    assert_eq!(block["transactions"], json!([transaction]));
    let by_hash = client.ask("eth_getBlockByHash", json!([block["hash"], false]));
    assert_eq!(by_hash["transactions"], json!([hash]));
    assert_eq!(client.ask("eth_getBlockReceipts", json!(["0x2"])), json!([receipt]));
}

#[test]
fn what_is_no_longer_among_the_newest_reads_the_same_from_history() {
    let client = Client::new();
    let keeper = deploy(&client);
    let hash = store(&client, keeper, 1, 5);
    let questions = [
        ("eth_getTransactionReceipt", json!([hash])),
        ("eth_getTransactionByHash", json!([hash])),
        ("eth_getBlockByNumber", json!(["0x2", true])),
        ("eth_getLogs", json!([{"fromBlock": "0x0"}])),
    ];
    let ask = |client: &Client| questions.clone().map(|(method, params)| client.ask(method, params));
    let protocol = Arc::new(super::developer());
    let node = client.node.restarted(protocol.clone());
    let restarted = Client { service: coco_protocol::Protocol::serve(protocol, node.clone()), node };
    assert_eq!(ask(&client), ask(&restarted));
}

#[test]
fn a_revert_tells_its_bytes_and_its_reason() {
    let client = Client::new();
    // Stores Error("no") in memory and reverts with it.
    let error = "08c379a0000000000000000000000000000000000000000000000000000000000000002000000000000000000000000000000000000000000000000000000000000000026e6f000000000000000000000000000000000000000000000000000000000000";
    let bytes = error.len() / 2;
    let code = format!("0x60{bytes:02x}600c60003960{bytes:02x}6000fd{error}");
    let target = Address::repeat_byte(0x11);
    let failed = client.request("eth_call", json!([{"to": target}, "latest", {(target.to_string()): {"code": code}}]));
    let expected = json!({"code": 3, "message": "execution reverted: no", "data": format!("0x{error}")});
    assert_eq!(failed, Err(expected.clone()));
    let failed =
        client.request("eth_estimateGas", json!([{"to": target}, "latest", {(target.to_string()): {"code": code}}]));
    assert_eq!(failed, Err(expected));
}

#[test]
fn an_estimate_is_enough_and_not_much_more() {
    let client = Client::new();
    let keeper = deploy(&client);
    let transfer = json!([{"from": address(0), "to": address(1), "value": "0x1"}]);
    assert_eq!(client.ask("eth_estimateGas", transfer), "0x5208");
    let call = json!({"from": address(0), "to": keeper, "data": word(9)});
    let estimate = client.ask("eth_estimateGas", json!([call]));
    let estimate = u64::from_str_radix(&estimate.as_str().unwrap()[2..], 16).unwrap();
    let with_gas = |gas: u64| {
        let call = json!({"from": address(0), "to": keeper, "data": word(9), "gas": format!("{gas:#x}")});
        client.request("eth_call", json!([call]))
    };
    assert_eq!(with_gas(estimate), Ok(json!("0x")));
    assert!(with_gas(estimate * 98 / 100).is_err());
    let (code, message) =
        client.fail("eth_estimateGas", json!([{"from": address(0), "to": keeper, "data": word(9), "gas": "0x5300"}]));
    assert_eq!((code, message.as_str()), (-32000, "gas required exceeds allowance (21248)"));
    let (code, message) =
        client.fail("eth_call", json!([{"from": Address::repeat_byte(1), "to": keeper, "value": "0x1"}]));
    assert!(code == -32000 && message.contains("insufficient funds"), "{message}");
}

#[test]
fn what_is_tried_on_pending_sees_the_next_block() {
    let client = Client::of(Arc::new(network()), Arc::new(OpenGate));
    let head = client.ask("eth_getBlockByNumber", json!(["latest", false]));
    // NUMBER and TIMESTAMP, returned.
    let code = "0x435f524260205260405ff3";
    let overrides = json!({"0x7777777777777777777777777777777777777777": {"code": code}});
    let told = |block: &str| {
        let call = json!([{"to": "0x7777777777777777777777777777777777777777"}, block, overrides]);
        let words = client.ask("eth_call", call).as_str().unwrap().to_owned();
        let word = |at: usize| u64::from_str_radix(&words[at..at + 64], 16).unwrap();
        (word(2), word(66))
    };
    let time = u64::from_str_radix(&head["timestamp"].as_str().unwrap()[2..], 16).unwrap();
    assert_eq!(told("latest"), (0, time));
    let (number, pending) = told("pending");
    assert!(number == 1 && pending > time);
}

#[test]
fn an_access_list_names_what_a_call_touches() {
    let client = Client::new();
    let keeper = deploy(&client);
    let answer = client.ask("eth_createAccessList", json!([{"from": address(0), "to": keeper, "data": word(9)}]));
    let list = json!([{"address": hex::encode_prefixed(keeper), "storageKeys": [word(0)]}]);
    assert_eq!(answer["accessList"], list);
    assert!(answer.get("error").is_none());
}

#[test]
fn a_batch_of_submissions_succeeds_and_fails_entry_by_entry() {
    let client = Client::new();
    let to = DEV_ACCOUNTS[9].address;
    let send =
        |id: u64, raw: Value| json!({"jsonrpc": "2.0", "id": id, "method": "eth_sendRawTransaction", "params": [raw]});
    let mut batch: Vec<Value> =
        (0..50).map(|nonce| send(nonce, raw(&sign(&dev_key(0), transfer(nonce, to, 1))))).collect();
    batch.push(send(50, json!("0x01")));
    batch.push(json!({"jsonrpc": "2.0", "id": "last", "method": "eth_blockNumber"}));
    let answers = client.post(Value::Array(batch).to_string());
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 52);
    for (nonce, answer) in answers.iter().take(50).enumerate() {
        assert_eq!(answer["id"], nonce);
        assert_eq!(answer["result"].as_str().unwrap().len(), 66);
    }
    assert_eq!(answers[50]["error"]["code"], -32000);
    assert_eq!(answers[51]["id"], "last");
    assert_eq!(client.ask("eth_getTransactionCount", json!([address(0), "latest"])), "0x32");
}

#[test]
fn refused_submissions_say_why_in_the_words_that_clients_look_for() {
    let client = Client::new();
    let to = DEV_ACCOUNTS[9].address;
    let first = raw(&sign(&dev_key(0), transfer(0, to, 1)));
    client.ask("eth_sendRawTransaction", json!([first]));
    let refused = |value: Value| client.fail("eth_sendRawTransaction", json!([value]));
    let (code, message) = refused(first);
    assert!(code == -32000 && message.contains("nonce too low"), "{message}");
    let (_, message) =
        refused(raw(&sign(&dev_key(0), alloy_consensus::TxEip1559 { gas_limit: 20_000, ..transfer(1, to, 1) })));
    assert!(message.contains("intrinsic gas too low"), "{message}");
    let (_, message) = refused(raw(&sign(
        &dev_key(0),
        alloy_consensus::TxEip1559 { value: alloy_primitives::U256::MAX, ..transfer(1, to, 1) },
    )));
    assert!(message.contains("insufficient funds"), "{message}");
    let (_, message) =
        refused(raw(&sign(&dev_key(0), alloy_consensus::TxEip1559 { chain_id: 5, ..transfer(1, to, 1) })));
    assert_eq!(message, "invalid chain id for signer: have 5 want 31337");
    assert_eq!(refused(json!("0x")).1, "empty transaction data");
}

#[test]
fn a_transaction_behind_a_gap_waits_in_the_pool_where_it_can_be_seen() {
    let client = Client::new();
    let to = DEV_ACCOUNTS[9].address;
    let second = sign(&dev_key(0), transfer(1, to, 1));
    let hash = client.ask("eth_sendRawTransaction", json!([raw(&second)]));
    assert_eq!(client.ask("txpool_status", json!([])), json!({"pending": "0x0", "queued": "0x1"}));
    let known = client.ask("eth_getTransactionByHash", json!([hash]));
    assert_eq!((&known["blockHash"], &known["blockNumber"], &known["hash"]), (&Value::Null, &Value::Null, &hash));
    let content = client.ask("txpool_content", json!([]));
    assert_eq!(content["queued"][DEV_ACCOUNTS[0].address.to_checksum(None)]["1"], known);
    assert_eq!(client.ask("txpool_contentFrom", json!([address(0)]))["queued"]["1"], known);
    let mut waiting = client.socket();
    waiting.send("eth_getTransactionReceipt", json!([hash]));
    assert!(waiting.take().is_empty(), "who asks for its receipt waits with it");
    client.ask("eth_sendRawTransaction", json!([raw(&sign(&dev_key(0), transfer(0, to, 1)))]));
    assert_eq!(waiting.take()[0]["result"]["transactionHash"], hash);
    assert_eq!(client.ask("txpool_status", json!([])), json!({"pending": "0x0", "queued": "0x0"}));
    assert_eq!(client.ask("eth_getTransactionReceipt", json!([hash]))["status"], "0x1");
}

/// Asks; and again while the answer is on its way, so that `times` questions are under way in the end.
fn ask_within(service: &Arc<dyn Service>, body: &Value, times: usize, answers: &Arc<Mutex<Vec<Value>>>) {
    if times == 0 {
        return;
    }
    let request = Request::builder().method(Method::POST).body(Bytes::from(body.to_string())).unwrap();
    let (again, body, answers) = (service.clone(), body.clone(), answers.clone());
    let reply = move |response: Response<Bytes>| {
        answers.lock().push(serde_json::from_slice(response.body()).unwrap());
        ask_within(&again, &body, times - 1, &answers);
    };
    service.call(Caller::Anonymous, request, Box::new(reply));
}

#[test]
fn so_many_ask_at_once_for_what_waits_in_the_pool_and_no_more() {
    let client = Client::new();
    for (method, max) in [
        ("txpool_content", POOL_CONTENTS_ASKED_MAX),
        ("txpool_inspect", POOL_CONTENTS_ASKED_MAX),
        ("eth_pendingTransactions", POOL_CONTENTS_ASKED_MAX),
        ("txpool_contentFrom", POOL_SENDERS_ASKED_MAX),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": [address(0)]});
        let answers = Arc::default();
        ask_within(&client.service, &body, max + 1, &answers);
        let codes: Vec<Value> = answers.lock().iter().map(|answer| answer["error"]["code"].clone()).collect();
        assert_eq!(codes.len(), max + 1);
        assert!(codes[..max].iter().all(Value::is_null), "{method}: {codes:?}");
        assert_eq!(codes[max], -32005, "{method}");
        client.ask(method, json!([address(0)]));
    }
}

#[test]
fn the_receipt_can_be_waited_for_in_one_call() {
    let client = Client::new();
    let to = DEV_ACCOUNTS[9].address;
    let answer =
        client.ask("eth_sendRawTransactionSync", json!([raw(&sign(&dev_key(0), transfer(0, to, 1))), "0x3e8"]));
    assert_eq!(answer, client.ask("eth_getTransactionReceipt", json!([answer["transactionHash"]])));
    assert_eq!(answer["status"], "0x1");
}

#[test]
fn developers_send_and_sign_with_the_nodes_accounts_and_nobody_else_does() {
    let client = Client::new();
    assert_eq!(client.ask("eth_accounts", json!([])).as_array().unwrap().len(), 10);
    let hash = client.ask("eth_sendTransaction", json!([{"from": address(2), "to": address(3), "value": "0x5"}]));
    let receipt = client.ask("eth_getTransactionReceipt", json!([hash]));
    assert_eq!((&receipt["status"], &receipt["from"], &receipt["type"]), (&json!("0x1"), &address(2), &json!("0x2")));
    let hash = client.ask(
        "eth_sendTransaction",
        json!([{"from": address(2), "data": hex::encode_prefixed(keeper_init()), "gasPrice": "0x77359400"}]),
    );
    assert_eq!(client.ask("eth_getTransactionReceipt", json!([hash]))["type"], "0x0");
    let signed = client.ask("eth_signTransaction", json!([{"from": address(2), "to": address(3)}]));
    assert_eq!(signed["tx"]["nonce"], "0x2");
    let signature = client.ask("personal_sign", json!(["0x68656c6c6f", address(0)]));
    assert_eq!(signature.as_str().unwrap().len(), 132);
    assert_eq!(signature, client.ask("eth_sign", json!([address(0), "0x68656c6c6f"])));
    assert_eq!(
        client.fail("eth_sendTransaction", json!([{"from": Address::ZERO}])),
        (-32000, "unknown account".to_owned())
    );

    let client = Client::of(Arc::new(network()), Arc::new(OpenGate));
    assert_eq!(client.ask("eth_accounts", json!([])), json!([]));
    let (code, message) = client.fail("eth_sendTransaction", json!([{"from": address(2), "to": address(3)}]));
    assert!(code == -32601 && message.starts_with("the method eth_sendTransaction does not exist/is not available"));
}

#[test]
fn developer_methods_name_the_flag_that_brings_them() {
    let client = Client::of(Arc::new(network()), Arc::new(OpenGate));
    for method in ["evm_snapshot", "hardhat_mine", "anvil_setBalance", "hardhat_metadata"] {
        let (code, message) = client.fail(method, json!([]));
        assert_eq!(code, -32601);
        assert!(message.starts_with(&format!("the method {method} does not exist/is not available")), "{message}");
        assert!(message.contains("coco dev --nodes 1"), "{message}");
    }
    assert_eq!(
        client.fail("eth_nonsense", json!([])),
        (-32601, "the method eth_nonsense does not exist/is not available".to_owned())
    );
}

#[test]
fn fees_are_those_of_the_next_block() {
    let client = Client::new();
    let keeper = deploy(&client);
    store(&client, keeper, 1, 5);
    let history = client.ask("eth_feeHistory", json!([2, "latest", [10, 50]]));
    let base_fee = client.ask("eth_baseFee", json!([]));
    assert_eq!(history["baseFeePerGas"].as_array().unwrap().len(), 3);
    assert_eq!(history["baseFeePerGas"][2], base_fee);
    assert_eq!(history["reward"].as_array().unwrap().len(), 2);
    assert_eq!(history["oldestBlock"], "0x1");
    let pending = client.ask("eth_getBlockByNumber", json!(["pending", false]));
    assert_eq!(
        (&pending["baseFeePerGas"], &pending["number"], &pending["hash"]),
        (&base_fee, &json!("0x3"), &Value::Null)
    );
    assert_eq!(client.ask("eth_maxPriorityFeePerGas", json!([])).as_str().unwrap().get(..2), Some("0x"));
}

#[test]
fn a_proof_leads_from_the_state_root_to_the_account_and_its_slot() {
    let client = Client::new();
    let keeper = deploy(&client);
    store(&client, keeper, 1, 5);
    store(&client, keeper, 2, 6);
    for (block, value) in [("latest", 6u64), ("0x2", 5), ("0x1", 0)] {
        is_proved(&client, keeper, block, value);
    }
}

/// Proofs lead from a block's state root to the word that the keeper holds then.
pub(super) fn is_proved(client: &Client, keeper: Address, block: &str, value: u64) {
    use alloy_trie::proof::verify_proof;
    use alloy_trie::{Nibbles, TrieAccount};

    let root = client.ask("eth_getBlockByNumber", json!([block, false]))["stateRoot"].clone();
    let proof = client.ask("eth_getProof", json!([keeper, ["0x0"], block]));
    let nodes = |nodes: &Value| -> Vec<EvmBytes> { serde_json::from_value(nodes.clone()).unwrap() };
    let account = TrieAccount {
        nonce: 1,
        balance: Default::default(),
        storage_root: serde_json::from_value(proof["storageHash"].clone()).unwrap(),
        code_hash: serde_json::from_value(proof["codeHash"].clone()).unwrap(),
    };
    let key = |bytes: &[u8]| Nibbles::unpack(alloy_primitives::keccak256(bytes));
    let root = serde_json::from_value(root).unwrap();
    verify_proof(root, key(keeper.as_slice()), Some(alloy_rlp::encode(account)), &nodes(&proof["accountProof"]))
        .unwrap();
    let slot = &proof["storageProof"][0];
    assert_eq!((&slot["key"], &slot["value"]), (&json!("0x0"), &json!(format!("{value:#x}"))));
    let expected = (value > 0).then(|| alloy_rlp::encode(value));
    verify_proof(account.storage_root, key(&[0; 32]), expected, &nodes(&slot["proof"])).unwrap();
}

#[test]
fn what_was_accepted_stays_remembered_when_it_is_sent_again_and_what_is_refused_never_is() {
    let protocol = Arc::new(network());
    let node = SingleNode::found(protocol.clone(), &json!({"dev": true}), Arc::new(OpenGate));
    let held = Arc::new(Held::default());
    let (chain, events) = (protocol.chain().clone(), protocol.events().clone());
    let ledger = Ledger { protocol, chain, index: Arc::default(), events, held: held.clone() };
    let server = Server::new(ledger, node, Options::new(counting()));
    let send = |signed: &[u8]| {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw(signed)]});
        let (tell, told) = std::sync::mpsc::channel();
        let finish = Box::new(move |answer: Option<String>| tell.send(answer.unwrap()).unwrap());
        server.serve(&Caller::Anonymous, None, request.to_string().as_bytes(), finish);
        told.recv().unwrap()
    };
    let gapped = sign(&dev_key(0), transfer(5, Address::ZERO, 1));
    assert!(send(&gapped).contains("result"));
    assert!(send(&gapped).contains("already known"));
    assert!(held.contains(&keccak256(&gapped)));
    let value = alloy_primitives::U256::MAX;
    let refused = sign(&dev_key(1), alloy_consensus::TxEip1559 { value, ..transfer(0, Address::ZERO, 1) });
    assert!(send(&refused).contains("insufficient funds"));
    assert!(!held.contains(&keccak256(&refused)));
}
