//! What is told about executions.

use serde_json::{Value, json};

use super::{Client, KEEPER_RUNTIME, keeper_init, word};
use crate::network::DEV_ACCOUNTS;

fn account(index: usize) -> Value {
    json!(alloy_primitives::hex::encode_prefixed(DEV_ACCOUNTS[index].address))
}

/// Code that calls `to` with what it was called with, and reverts with what comes back.
fn forwarder(to: &Value) -> String {
    let to = to.as_str().unwrap().trim_start_matches("0x");
    format!("0x36600060003760006000366000600073{to}5af13d6000803e3d6000fd")
}

/// A client whose keeper stored a word; gives the keeper and the transaction.
fn stored() -> (Client, Value, Value) {
    let client = Client::new();
    let deploy = json!([{"from": account(0), "data": alloy_primitives::hex::encode_prefixed(keeper_init())}]);
    let deployed = client.ask("eth_sendTransaction", deploy);
    let keeper = client.ask("eth_getTransactionReceipt", json!([deployed]))["contractAddress"].clone();
    let hash = client.ask("eth_sendTransaction", json!([{"from": account(0), "to": keeper, "data": word(5)}]));
    (client, keeper, hash)
}

#[test]
fn steps_tell_what_each_instruction_found_and_cost() {
    let (client, _, hash) = stored();
    let receipt = client.ask("eth_getTransactionReceipt", json!([hash]));
    let trace = client.ask("debug_traceTransaction", json!([hash]));
    assert_eq!(format!("{:#x}", trace["gas"].as_u64().unwrap()), receipt["gasUsed"].as_str().unwrap());
    let steps = trace["structLogs"].as_array().unwrap();
    assert_eq!(
        steps[0],
        json!({"pc": 0, "op": "CALLDATASIZE", "gas": steps[0]["gas"], "gasCost": 2, "depth": 1, "stack": []})
    );
    let store = steps.iter().find(|step| step["op"] == "SSTORE").unwrap();
    assert_eq!((&store["storage"], &store["stack"]), (&json!({word(0): word(5)}), &json!(["0x5", "0x5", "0x0"])));
    let limited = client.ask("debug_traceTransaction", json!([hash, {"limit": 2, "disableStack": true}]));
    assert_eq!(limited["structLogs"].as_array().unwrap().len(), 2);
    assert!(limited["structLogs"][0].get("stack").is_none());
    assert_eq!(client.ask("debug_traceBlockByNumber", json!(["0x2"])), json!([{"txHash": hash, "result": trace}]));
}

#[test]
fn calls_are_told_inside_one_another() {
    let (client, keeper, _) = stored();
    let outer = json!(format!("0x{}", "e".repeat(40)));
    let overrides = json!({(outer.as_str().unwrap()): {"code": forwarder(&keeper)}});
    let config = json!({"tracer": "callTracer", "tracerConfig": {"withLog": true}, "stateOverrides": overrides});
    let call = json!({"from": account(0), "to": outer, "data": word(9), "gas": "0x30000"});
    let trace = client.ask("debug_traceCall", json!([call, "latest", config]));
    assert_eq!((&trace["type"], &trace["from"], &trace["to"]), (&json!("CALL"), &account(0), &outer));
    assert_eq!((&trace["gas"], &trace["error"]), (&json!("0x30000"), &json!("execution reverted")));
    let inner = &trace["calls"][0];
    assert_eq!((&inner["from"], &inner["to"], &inner["input"]), (&outer, &keeper, &json!(word(9))));
    assert_eq!(inner["logs"][0], json!({"address": keeper, "topics": [word(0xaa)], "data": word(9)}));
    let top = json!({"tracer": "callTracer", "tracerConfig": {"onlyTopCall": true}, "stateOverrides": overrides});
    assert!(client.ask("debug_traceCall", json!([call, "latest", top])).get("calls").is_none());
}

#[test]
fn a_creation_is_told_with_the_address_it_led_to() {
    let (client, keeper, _) = stored();
    let block = client.ask("debug_traceBlockByNumber", json!(["0x1", {"tracer": "callTracer"}]));
    let trace = &block[0]["result"];
    assert_eq!((&trace["type"], &trace["to"]), (&json!("CREATE"), &keeper));
    assert_eq!(trace["output"], format!("0x{KEEPER_RUNTIME}"));
    assert_eq!(
        client.ask("debug_traceBlockByNumber", json!(["0x1", {"tracer": "noopTracer"}]))[0]["result"],
        json!({})
    );
}

#[test]
fn what_cannot_be_traced_is_refused() {
    let (client, keeper, hash) = stored();
    let refused = |method: &str, params: Value| client.fail(method, params);
    assert_eq!(refused("debug_traceTransaction", json!([word(7)])), (-32000, "transaction not found".to_owned()));
    assert_eq!(refused("debug_traceBlockByNumber", json!(["0x0"])), (-32000, "genesis is not traceable".to_owned()));
    assert_eq!(refused("debug_traceTransaction", json!([hash, {"tracer": "{result: 1}"}])).0, -32000);
    // Runs in a circle, and would have more to tell than an answer holds.
    let endless = json!({(keeper.as_str().unwrap()): {"code": "0x5b600056"}});
    let answer = refused("debug_traceCall", json!([{"to": keeper}, "latest", {"stateOverrides": endless}]));
    assert_eq!(answer, (-32003, "response too large".to_owned()));
}
