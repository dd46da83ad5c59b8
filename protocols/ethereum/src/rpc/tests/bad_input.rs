//! What clients should not send. Each is answered with an error, and the node goes on.

use alloy_primitives::hex;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Client;
use crate::network::DEV_ACCOUNTS;
use crate::rpc::limits::{REQUEST_BODY_BYTES_MAX, RPC_BATCH_BYTES_MAX};
use crate::rpc::namespaces::methods;
use crate::testing::{dev_key, sign, transfer};

fn is_healthy(client: &Client) {
    assert_eq!(client.ask("eth_blockNumber", json!([])), "0x0");
}

#[test]
fn bodies_that_are_no_request_are_answered() {
    let client = Client::new();
    let code = |body: &[u8]| client.post(Bytes::copy_from_slice(body))["error"]["code"].clone();
    assert_eq!(code(b"\xff\xfe{}"), -32700);
    assert_eq!(code(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"met"), -32700);
    assert_eq!(code(b""), -32700);
    assert_eq!(code(b"[]"), -32600);
    assert_eq!(code(b"{}"), -32600);
    assert_eq!(code("[".repeat(100_000).as_bytes()), -32700);
    assert_eq!(code(format!("[{}]", vec!["{}"; 1_001].join(",")).as_bytes()), -32600);
    let long = json!({"jsonrpc": "2.0", "id": 1, "method": "x".repeat(900_000)}).to_string();
    let answer = client.post(long);
    assert_eq!(answer["error"]["code"], -32601);
    assert!(answer.to_string().len() < 400);
    is_healthy(&client);
}

#[test]
fn a_node_without_room_says_so_in_json_rpc() {
    let busy = Client::new().service.busy();
    let body: Value = serde_json::from_slice(busy.body()).unwrap();
    let message = "limit exceeded: busy, try again later";
    let expected = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32005, "message": message}});
    assert_eq!((busy.status(), body), (StatusCode::SERVICE_UNAVAILABLE, expected));
}

#[test]
fn arguments_that_mean_nothing_are_refused_with_their_position() {
    let client = Client::new();
    let digits = |count: usize| format!("0x{}", "1".repeat(count));
    let address = digits(40);
    let cases = [
        ("eth_getBalance", json!([digits(38)])),
        ("eth_getBalance", json!([digits(42)])),
        ("eth_getBalance", json!([digits(39)])),
        ("eth_getBalance", json!([format!("0X{}", "1".repeat(40))])),
        ("eth_getBalance", json!([])),
        ("eth_getBalance", json!({"address": address})),
        ("eth_getBalance", json!([address, "0x8000000000000000"])),
        ("eth_getBalance", json!([address, "12"])),
        ("eth_getBalance", json!([address, -1])),
        ("eth_getBalance", json!([address, {"blockHash": "0x11"}])),
        ("eth_getStorageAt", json!([address, "0xasdf"])),
        ("eth_getStorageAt", json!([address, digits(66)])),
        ("eth_getStorageValues", json!([{}])),
        ("eth_getProof", json!([address, vec!["0x0"; 1_025]])),
        ("eth_call", json!([{"to": address, "value": digits(65)}])),
        ("eth_call", json!([{"to": address, "value": -1}])),
        ("eth_call", json!([{"to": address, "value": "-0x1"}])),
        ("eth_call", json!([{"to": address, "gas": "0x10000000000000000"}])),
        ("eth_call", json!([{"to": address, "data": "0x123"}])),
        ("eth_call", json!([{"to": address, "data": "0x11", "input": "0x22"}])),
        ("eth_call", json!([{"to": address}, "latest", {(address.clone()): {"code": digits(600_000)}}])),
        ("eth_call", json!([{"to": address}, "latest", {(address.clone()): {"state": {}, "stateDiff": {}}}])),
        ("eth_getLogs", json!([{"topics": [digits(62)]}])),
        ("eth_getLogs", json!([{"topics": [null, null, null, null, null]}])),
        ("eth_getLogs", json!([{"fromBlock": "0x2", "toBlock": "0x1"}])),
        ("eth_getLogs", json!([{"fromBlock": "0x0", "toBlock": "0x5"}])),
        ("eth_getLogs", json!([{"blockHash": digits(64), "toBlock": "0x5"}])),
        ("eth_feeHistory", json!([1, "latest", [50, 10]])),
        ("eth_feeHistory", json!([1, "latest", [101]])),
        ("eth_feeHistory", json!([1, "latest", vec![1; 101]])),
        ("eth_feeHistory", json!([1, "0x99"])),
        ("eth_sendRawTransaction", json!(["0x1"])),
        ("eth_sendRawTransaction", json!(["11"])),
        ("eth_sendRawTransaction", json!([])),
        ("eth_getTransactionReceipt", json!([digits(62)])),
        ("debug_getRawBlock", json!(["2"])),
        ("web3_sha3", json!(["hello"])),
    ];
    for (method, params) in cases {
        let shown: String = params.to_string().chars().take(120).collect();
        assert_eq!(client.fail(method, params).0, -32602, "{method} {shown}");
    }
    is_healthy(&client);
}

#[test]
fn what_cannot_be_executed_is_refused() {
    let client = Client::new();
    let address = format!("0x{}", "1".repeat(40));
    assert_eq!(client.fail("eth_call", json!([{"to": address, "gas": "0x0"}])).0, -32000);
    assert_eq!(client.fail("eth_call", json!([{"to": address}, "0x99"])), (-32000, "header not found".to_owned()));
    assert_eq!(client.fail("eth_getBalance", json!([address, "0x99"])), (-32000, "header not found".to_owned()));
    assert_eq!(client.ask("eth_getBlockByNumber", json!(["0x99", false])), Value::Null);
    assert_eq!(
        client.fail("eth_getLogs", json!([{"blockHash": super::word(1)}])),
        (-32000, "unknown block".to_owned())
    );
    is_healthy(&client);
}

#[test]
fn code_that_never_ends_ends() {
    let client = Client::new();
    let address = format!("0x{}", "1".repeat(40));
    let call =
        |code: &str| client.fail("eth_call", json!([{"to": address}, "latest", {(address.clone()): {"code": code}}]));
    // Jumps in a circle; calls itself as deep as it goes; asks for all the memory there is.
    assert_eq!(call("0x5b600056").0, -32000);
    let recursion = client.request(
        "eth_call",
        json!([{"to": address}, "latest", {(address.clone()): {"code": "0x600060006000600060003061fffff150"}}]),
    );
    assert!(recursion.is_ok() || recursion.is_err());
    assert_eq!(call("0x6001631fffffff52").0, -32000);
    is_healthy(&client);
}

/// `{}`, by gzip.
const PACKED: [u8; 22] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0];

#[test]
fn a_compressed_body_is_not_unpacked() {
    let client = Client::new();
    let request = Request::builder().method(Method::POST).header("content-encoding", "gzip");
    let response = client.http(request.body(Bytes::from_static(&PACKED)).unwrap());
    let answer: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(answer["error"]["code"], -32700);
}

#[test]
fn damaged_transactions_are_refused() {
    let client = Client::new();
    let good = sign(&dev_key(0), transfer(0, DEV_ACCOUNTS[9].address, 1));
    let refused = |bytes: &[u8]| client.fail("eth_sendRawTransaction", json!([hex::encode_prefixed(bytes)])).0;
    for end in 0..good.len() {
        refused(&good[..end]);
    }
    let mut trailing = good.to_vec();
    trailing.push(0);
    refused(&trailing);
    refused(&[0xf9, 0xff, 0xff, 0xc0]);
    refused(&[0xc0; 4_096]);
    refused(&[0xff; 64]);
    is_healthy(&client);
}

#[test]
fn the_transport_refuses_what_is_no_post() {
    let client = Client::new();
    let status =
        |method: Method, body: Bytes| client.http(Request::builder().method(method).body(body).unwrap()).status();
    assert_eq!(status(Method::GET, Bytes::new()), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(status(Method::DELETE, Bytes::new()), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(status(Method::POST, vec![b' '; REQUEST_BODY_BYTES_MAX + 1].into()), StatusCode::PAYLOAD_TOO_LARGE);
    let mut batch = vec![b'['];
    batch.resize(RPC_BATCH_BYTES_MAX + 1, b' ');
    assert_eq!(status(Method::POST, batch.into()), StatusCode::PAYLOAD_TOO_LARGE);
    let notification = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"eth_blockNumber"}"#);
    assert_eq!(status(Method::POST, notification), StatusCode::NO_CONTENT);
}

#[test]
fn browsers_may_call_from_the_origins_that_the_operator_names() {
    let ask = |client: &Client, method: Method| {
        let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#);
        let request = Request::builder().method(method).header("origin", "https://wallet.example").body(body).unwrap();
        let response = client.http(request);
        let allowed = response.headers().get("access-control-allow-origin");
        (response.status(), allowed.map(|value| value.to_str().unwrap().to_owned()))
    };
    let any = Some("*".to_owned());
    let developer = Client::new();
    assert_eq!(ask(&developer, Method::OPTIONS), (StatusCode::NO_CONTENT, any.clone()));
    assert_eq!(ask(&developer, Method::POST), (StatusCode::OK, any));
    let closed = Client::of(std::sync::Arc::new(super::network()), std::sync::Arc::new(coco_protocol::OpenGate));
    assert_eq!(ask(&closed, Method::OPTIONS), (StatusCode::NO_CONTENT, None));
    assert_eq!(ask(&closed, Method::POST), (StatusCode::OK, None));
}

#[test]
fn any_interval_between_blocks_is_taken() {
    for interval in [json!(5), json!("0x1"), json!([1_000, 2_000]), json!(u64::MAX)] {
        for method in ["evm_setIntervalMining", "anvil_setIntervalMining"] {
            let client = Client::new();
            let _ = client.request(method, json!([interval]));
            is_healthy_or_moved(&client);
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9]{0,8}".prop_map(Value::from),
        "0x[0-9a-f]{0,80}".prop_map(Value::from),
        Just(Value::from("latest")),
        Just(Value::from("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266")),
        Just(Value::from(super::word(0))),
    ];
    let names = prop_oneof![
        Just("to".to_owned()),
        Just("from".to_owned()),
        Just("data".to_owned()),
        Just("gas".to_owned()),
        Just("topics".to_owned()),
        Just("address".to_owned()),
        Just("fromBlock".to_owned()),
        Just("types".to_owned()),
        Just("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266".to_owned()),
        Just("code".to_owned()),
        Just("state".to_owned()),
        Just("accessList".to_owned()),
        Just("blobVersionedHashes".to_owned()),
        Just("authorizationList".to_owned()),
        Just("primaryType".to_owned()),
        Just("domain".to_owned()),
        Just("message".to_owned()),
        "[a-zA-Z]{1,12}",
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_arguments_break_any_method(seed in any::<prop::sample::Index>(), params in prop::collection::vec(any_json(), 0..5)) {
        let all: Vec<&str> = methods().map(|method| method.name).collect();
        let client = Client::new();
        let method = all[seed.index(all.len())];
        let _ = client.request(method, Value::from(params));
        is_healthy_or_moved(&client);
    }

    #[test]
    fn no_bytes_break_the_dispatcher(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let client = Client::new();
        let answer = client.post(body);
        prop_assert!(answer.get("error").is_some() || answer.is_array());
    }

    #[test]
    fn no_json_breaks_the_dispatcher(value in any_json()) {
        let client = Client::new();
        let request = Request::builder().method(Method::POST).body(Bytes::from(value.to_string())).unwrap();
        prop_assert!(client.http(request).status().is_success());
    }
}

/// A request made up at random may well have sent something.
fn is_healthy_or_moved(client: &Client) {
    client.ask("eth_blockNumber", json!([]));
}
