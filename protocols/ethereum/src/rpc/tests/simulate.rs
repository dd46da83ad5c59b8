//! Blocks that are only tried.

use serde_json::{Value, json};

use super::flow::{deploy, store};
use super::{Client, word};
use crate::network::DEV_ACCOUNTS;

fn account(index: usize) -> Value {
    json!(alloy_primitives::hex::encode_prefixed(DEV_ACCOUNTS[index].address))
}

fn blocks(calls: Value) -> Value {
    json!([{"blockStateCalls": calls}, "latest"])
}

#[test]
fn a_simulated_block_builds_on_the_one_before_and_leaves_nothing() {
    let client = Client::new();
    let poor = json!(format!("0x{}", "5".repeat(40)));
    let send = |from: &Value, to: &Value, value: &str| json!({"from": from, "to": to, "value": value});
    let calls = json!([
        {"calls": [send(&account(0), &poor, "0x10")]},
        {"blockOverrides": {"number": "0x3"}, "calls": [send(&poor, &account(1), "0x6")]}
    ]);
    let params = json!([{"blockStateCalls": calls, "traceTransfers": true, "returnFullTransactions": true}, "latest"]);
    let result = client.ask("eth_simulateV1", params);
    let simulated = result.as_array().unwrap();
    let numbers: Vec<&str> = simulated.iter().map(|block| block["number"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["0x1", "0x2", "0x3"], "an empty block fills the gap");
    assert_eq!(simulated[2]["parentHash"], simulated[1]["hash"]);
    let call = &simulated[2]["calls"][0];
    assert_eq!((&call["status"], &call["gasUsed"]), (&json!("0x1"), &json!("0x5208")));
    assert_eq!(call["logs"][0]["address"], format!("0x{}", "e".repeat(40)));
    assert_eq!(call["logs"][0]["transactionHash"], simulated[2]["transactions"][0]["hash"]);
    assert_eq!(simulated[2]["transactions"][0]["from"], poor);
    assert_eq!(client.ask("eth_blockNumber", json!([])), "0x0");
    assert_eq!(client.ask("eth_getBalance", json!([poor])), "0x0");
}

#[test]
fn a_failed_call_is_told_and_an_impossible_one_ends_the_request() {
    let client = Client::new();
    let target = format!("0x{}", "6".repeat(40));
    let reverting = json!({(target.clone()): {"code": "0x60006000fd"}});
    let result =
        client.ask("eth_simulateV1", blocks(json!([{"stateOverrides": reverting, "calls": [{"to": target}]}])));
    assert_eq!((&result[0]["calls"][0]["status"], &result[0]["calls"][0]["error"]["code"]), (&json!("0x0"), &json!(3)));
    let endless = json!({(target.clone()): {"code": "0x5b600056"}});
    let result = client.ask(
        "eth_simulateV1",
        blocks(json!([{"stateOverrides": endless, "calls": [{"to": target, "gas": "0x10000"}]}])),
    );
    assert_eq!(result[0]["calls"][0]["error"]["code"], -32015);
    let code = |calls: Value| client.fail("eth_simulateV1", blocks(calls)).0;
    assert_eq!(code(json!([{"calls": [{"from": target, "value": "0x1"}]}])), -38014);
    assert_eq!(code(json!([{"calls": [{"gas": "0x1"}]}])), -38013);
    assert_eq!(code(json!([{"calls": [{"gas": "0xffffffff"}]}])), -38015);
    assert_eq!(code(json!([{"blockOverrides": {"number": "0x0"}}])), -38020);
    assert_eq!(code(json!([{"blockOverrides": {"time": "0x0"}}])), -38021);
    assert_eq!(code(json!([{"blockOverrides": {"number": "0xffff"}}])), -38026);
    assert_eq!(code(json!([])), -32602);
    let last = "0xffffffffffffffff";
    assert_eq!(code(json!([{"blockOverrides": {"time": last}}, {}])), -38021);
    assert_eq!(code(json!([{"blockOverrides": {"baseFeePerGas": last}}, {}])), -32602);
    let strict = json!([{"blockStateCalls": [{"calls": [{"from": account(0), "nonce": "0x5", "maxFeePerGas": "0x77359400"}]}], "validation": true}]);
    assert_eq!(client.fail("eth_simulateV1", strict).0, -38011);
}

#[test]
fn a_storage_that_is_replaced_has_the_root_of_what_replaces_it() {
    let client = Client::new();
    let keeper = deploy(&client);
    store(&client, keeper, 1, 7);
    let root = |overrides: Value| {
        let calls = json!([{"stateOverrides": {(keeper.to_string()): overrides}, "calls": [{"to": keeper}]}]);
        let result = client.ask("eth_simulateV1", blocks(calls));
        (result[0]["calls"][0]["returnData"].clone(), result[0]["stateRoot"].clone())
    };
    let (zero, one, nine) = (word(0), word(1), word(9));
    let replaced = root(json!({"state": {}}));
    assert_eq!(replaced.0, zero);
    assert_eq!(replaced, root(json!({"stateDiff": {(zero.clone()): zero}})));
    let other = json!({(zero.clone()): nine, (one): nine});
    let replaced = root(json!({"state": other}));
    assert_eq!(replaced.0, nine);
    assert_eq!(replaced, root(json!({"stateDiff": other})));
}

#[test]
fn precompiles_can_be_moved_out_of_the_way() {
    let client = Client::new();
    let (identity, elsewhere) = (format!("0x{:040x}", 4), format!("0x{}", "9".repeat(40)));
    let moved = json!({(identity.clone()): {"code": "0x00", "movePrecompileToAddress": elsewhere}});
    let calls = json!([{"to": elsewhere, "input": "0x1234"}, {"to": identity, "input": "0x1234"}]);
    let result = client.ask("eth_simulateV1", blocks(json!([{"stateOverrides": moved, "calls": calls}])));
    assert_eq!(result[0]["calls"][0]["returnData"], "0x1234");
    assert_eq!(result[0]["calls"][1]["returnData"], "0x");
    let code = |overrides: Value| client.fail("eth_simulateV1", blocks(json!([{"stateOverrides": overrides}]))).0;
    assert_eq!(code(json!({(identity.clone()): {"movePrecompileToAddress": identity}})), -38022);
    assert_eq!(code(json!({(elsewhere.clone()): {"movePrecompileToAddress": identity}})), -32000);
    let sha256 = format!("0x{:040x}", 2);
    let both = json!({
        (identity.clone()): {"movePrecompileToAddress": elsewhere},
        (sha256.clone()): {"movePrecompileToAddress": elsewhere}
    });
    assert_eq!(code(both), -38023);
}
