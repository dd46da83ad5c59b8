//! What is told about executions.

use serde_json::{Value, json};

use super::{Client, KEEPER_RUNTIME, keeper_init, word};
use crate::network::DEV_ACCOUNTS;

fn account(index: usize) -> Value {
    json!(alloy_primitives::hex::encode_prefixed(DEV_ACCOUNTS[index].address))
}

/// Code that calls `to` with what it was called with, and reverts with what comes back.
fn forwarder(to: &Value) -> String {
    forwarding(to, "fd")
}

/// The same, but the last instruction is `end`.
fn forwarding(to: &Value, end: &str) -> String {
    let to = to.as_str().unwrap().trim_start_matches("0x");
    format!("0x36600060003760006000366000600073{to}5af13d6000803e3d6000{end}")
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
    assert!(inner.get("logs").is_none(), "the call around it was undone, and the log with it");
    let returning = json!({(outer.as_str().unwrap()): {"code": forwarding(&keeper, "f3")}});
    let config = json!({"tracer": "callTracer", "tracerConfig": {"withLog": true}, "stateOverrides": returning});
    let trace = client.ask("debug_traceCall", json!([call, "latest", config]));
    let log = json!({"address": keeper, "topics": [word(0xaa)], "data": word(9), "position": "0x0"});
    assert_eq!(trace["calls"][0]["logs"], json!([log]));
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
fn the_state_before_a_transaction_and_what_it_changed_are_told() {
    let (client, keeper, hash) = stored();
    let prestate = |config: Value| {
        client.ask("debug_traceTransaction", json!([hash, {"tracer": "prestateTracer", "tracerConfig": config}]))
    };
    let keeper = keeper.as_str().unwrap();
    let sender = DEV_ACCOUNTS[0].address.to_string().to_lowercase();
    let before = prestate(json!({}));
    assert_eq!(before[&sender]["nonce"], json!(1));
    assert_eq!(before[keeper]["code"], json!(format!("0x{KEEPER_RUNTIME}")));
    let changed = prestate(json!({"diffMode": true}));
    assert_eq!((&changed["pre"][&sender]["nonce"], &changed["post"][&sender]["nonce"]), (&json!(1), &json!(2)));
    assert_eq!(changed["post"][keeper]["storage"], json!({(word(0)): word(5)}));
    assert!(changed["post"][keeper].get("code").is_none());
}

#[test]
fn functions_are_counted_calls_are_laid_flat_and_several_tracers_run_at_once() {
    let (client, keeper, hash) = stored();
    let ask = |tracer: &str, config: Value| {
        client.ask("debug_traceTransaction", json!([hash, {"tracer": tracer, "tracerConfig": config}]))
    };
    assert_eq!(ask("4byteTracer", json!({})), json!({"0x00000000-28": 1}));
    let flat = ask("flatCallTracer", json!({}));
    assert_eq!((&flat[0]["action"]["to"], &flat[0]["transactionHash"]), (&keeper, &hash));
    assert_eq!(
        (&flat[0]["type"], &flat[0]["traceAddress"], &flat[0]["blockNumber"]),
        (&json!("call"), &json!([]), &json!(2))
    );
    let several =
        ask("muxTracer", json!({"4byteTracer": null, "callTracer": {"onlyTopCall": true}, "flatCallTracer": {}}));
    assert_eq!(several["4byteTracer"], ask("4byteTracer", json!({})));
    assert_eq!(several["flatCallTracer"], flat);
    assert_eq!(several["callTracer"]["to"], keeper);
    let nested = json!([hash, {"tracer": "muxTracer", "tracerConfig": {"muxTracer": {}}}]);
    assert_eq!(client.fail("debug_traceTransaction", nested).0, -32000);
    let wrong = json!([hash, {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": 7}}]);
    assert_eq!(client.fail("debug_traceTransaction", wrong).0, -32602);
    let raw = client.ask("debug_getRawBlock", json!(["0x2"]));
    assert_eq!(client.ask("debug_traceBlock", json!([raw])), client.ask("debug_traceBlockByNumber", json!(["0x2"])));
}

#[test]
fn parity_s_traces_tell_the_same() {
    let (client, keeper, hash) = stored();
    let traces = client.ask("trace_transaction", json!([hash]));
    assert_eq!(traces[0]["action"]["to"], keeper);
    assert_eq!(client.ask("trace_block", json!(["0x2"])), traces);
    assert_eq!(client.ask("trace_block", json!(["0x0"])), json!([]));
    assert_eq!(client.ask("trace_get", json!([hash, []])), traces[0]);
    assert_eq!(client.ask("trace_transaction", json!([word(9)])), Value::Null);
    let found = json!([{"fromBlock": "0x0", "toBlock": "latest", "toAddress": [keeper]}]);
    let found = client.ask("trace_filter", found);
    assert_eq!((&found[0]["type"], &found[1]), (&json!("create"), &traces[0]));
    let kinds = json!(["trace", "vmTrace", "stateDiff"]);
    let replayed = client.ask("trace_replayTransaction", json!([hash, kinds]));
    assert_eq!(replayed["trace"][0]["action"], traces[0]["action"]);
    assert!(replayed["vmTrace"]["ops"].as_array().unwrap().len() > 5);
    let stored = &replayed["stateDiff"][keeper.as_str().unwrap()]["storage"][word(0)];
    assert_eq!(stored["*"]["to"], json!(word(5)));
    assert_eq!(client.ask("trace_replayBlockTransactions", json!(["0x2", kinds]))[0]["transactionHash"], hash);
    let called = client.ask("trace_call", json!([{"to": keeper}, ["trace"], "latest"]));
    assert_eq!(called["output"], json!(word(5)));
    // Runs in a circle: bounded in time and memory whatever is recorded.
    let endless = json!({(keeper.as_str().unwrap()): {"code": "0x5b600056"}});
    let answer = client.fail("trace_call", json!([{"to": keeper}, ["vmTrace"], "latest", endless]));
    assert_eq!(answer, (-32003, "response too large".to_owned()));
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
