//! Uploading a contract's sources, and reading them again.

use alloy_primitives::Address;

use super::*;

const METADATA: &str = include_str!("../../../testdata/sources/metadata.json");
const GREETER: &str = include_str!("../../../testdata/sources/Greeter.sol");
const NAMED: &str = include_str!("../../../testdata/sources/Named.sol");
const CODE: &str = include_str!("../../../testdata/sources/Greeter.hex");

/// A developer's network with the contract, and its address.
fn deployed() -> (Client, String) {
    let client = Client::new();
    let create = json!([{"from": address(0), "data": format!("0x{}", CODE.trim())}]);
    let hash = client.ask("eth_sendTransaction", create);
    let receipt = client.ask("eth_getTransactionReceipt", json!([hash]));
    let contract: Address = receipt["contractAddress"].as_str().unwrap().parse().unwrap();
    (client, contract.to_checksum(None))
}

impl Client {
    fn sourcify(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(format!("/sourcify{path}"));
        let response = self.http(request.body(Bytes::from(body.to_string())).unwrap());
        let text = String::from_utf8_lossy(response.body()).into_owned();
        (response.status(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn shown(&self, path: &str) -> (StatusCode, Value) {
        self.sourcify(Method::GET, path, &Value::Null)
    }
}

#[test]
fn hardhat_and_forge_upload_by_version_1_and_otterscan_reads_the_repository() {
    let (client, contract) = deployed();
    let check = format!("/check-all-by-addresses?addresses={contract}&chainIds=1%2C31337");
    assert_eq!(client.shown(&check).1, json!([{"address": contract, "status": "false"}]));
    let files = json!({"metadata.json": METADATA, "contracts/Greeter.sol": GREETER, "Named.sol": NAMED});
    let upload = json!({"address": contract, "chain": "31337", "files": files});
    let (status, answer) = client.sourcify(Method::POST, "", &upload);
    assert_eq!((status, &answer["result"][0]["status"]), (StatusCode::OK, &json!("perfect")), "{answer}");
    assert_eq!(client.sourcify(Method::POST, "/verify", &upload), (StatusCode::OK, answer));
    assert_eq!(client.shown(&check).1[0]["chainIds"], json!([{"chainId": "31337", "status": "perfect"}]));
    let check = format!("/check-by-addresses?addresses={contract}&chainIds=31337");
    assert_eq!(client.shown(&check).1[0]["status"], "perfect");

    let folder = format!("/contracts/full_match/31337/{contract}");
    let (_, metadata) = client.shown(&format!("{folder}/metadata.json"));
    assert_eq!(metadata["settings"]["compilationTarget"], json!({"contracts/Greeter.sol": "Greeter"}));
    let source = client.shown(&format!("{folder}/sources/contracts/lib/Named.sol"));
    assert_eq!(source, (StatusCode::OK, json!(NAMED)));
    for absent in ["sources/none.sol", "sources", "creator-tx-hash.txt"] {
        assert_eq!(client.shown(&format!("{folder}/{absent}")).0, StatusCode::NOT_FOUND);
    }
    assert_eq!(client.shown(&folder.replace("full", "partial")).0, StatusCode::NOT_FOUND);
}

#[test]
fn version_2_takes_metadata_with_sources_and_says_why_it_takes_nothing_else() {
    let (client, contract) = deployed();
    let place = format!("31337/{contract}");
    assert_eq!(client.shown(&format!("/v2/contract/{place}")).0, StatusCode::NOT_FOUND);
    let metadata: Value = serde_json::from_str(METADATA).unwrap();
    let upload = |sources: Value| {
        client.sourcify(
            Method::POST,
            &format!("/v2/verify/metadata/{place}"),
            &json!({"sources": sources, "metadata": metadata}),
        )
    };
    let (status, refused) = upload(json!({"Greeter.sol": GREETER}));
    assert_eq!((status, &refused["customCode"]), (StatusCode::BAD_REQUEST, &json!("missing_or_invalid_source")));
    assert!(refused["message"].as_str().unwrap().contains("contracts/lib/Named.sol"), "{refused}");
    let (status, job) = upload(json!({"Greeter.sol": GREETER, "Named.sol": NAMED}));
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let (_, job) = client.shown(&format!("/v2/verify/{}", job["verificationId"].as_str().unwrap()));
    assert_eq!((&job["isJobCompleted"], &job["contract"]["match"]), (&json!(true), &json!("exact_match")));
    let (_, shown) = client.shown(&format!("/v2/contract/{place}?fields=abi,sources,compilation.name"));
    assert_eq!(shown["sources"]["contracts/Greeter.sol"]["content"], GREETER);
    assert_eq!((&shown["compilation"]["name"], shown.get("metadata")), (&json!("Greeter"), None));
    let standard = client.sourcify(Method::POST, &format!("/v2/verify/{place}"), &json!({"stdJsonInput": {}}));
    assert_eq!((standard.0, &standard.1["customCode"]), (StatusCode::NOT_IMPLEMENTED, &json!("compiler_error")));
    let elsewhere = client.shown(&format!("/v2/contract/1/{contract}"));
    assert_eq!((elsewhere.0, &elsewhere.1["customCode"]), (StatusCode::BAD_REQUEST, &json!("unsupported_chain")));
    assert_eq!(client.shown("/v2/verify/none").1["customCode"], json!("job_not_found"));
}

#[test]
fn sources_are_for_code_that_is_there_and_go_with_it() {
    let (client, contract) = deployed();
    let upload = |address: &str| {
        let files = json!({"metadata.json": METADATA, "Greeter.sol": GREETER, "Named.sol": NAMED});
        client.sourcify(Method::POST, "", &json!({"address": address, "chain": 31337, "files": files}))
    };
    assert_eq!(upload(address(5).as_str().unwrap()).0, StatusCode::NOT_FOUND);
    assert_eq!(upload(&contract).0, StatusCode::OK);
    client.ask("hardhat_setCode", json!([contract, "0x00"]));
    assert_eq!(client.shown(&format!("/v2/contract/31337/{contract}")).0, StatusCode::NOT_FOUND);
    let (status, answer) = client.sourcify(Method::POST, "", &json!({"address": "x"}));
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert!(client.fail("eth_sendRawTransaction", json!(["0xbfc0"])).1.contains("not supported"));
}

#[test]
fn an_upload_that_is_a_list_or_larger_than_one_request_may_be_is_refused() {
    let (client, contract) = deployed();
    let (status, answer) = client.sourcify(Method::POST, "/verify", &json!([contract, "31337", {}]));
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("an object is expected"), "{answer}");
    let large = json!([" ".repeat(coco_types::limits::REQUEST_BODY_BYTES_MAX)]);
    assert_eq!(client.sourcify(Method::POST, "/verify", &large).0, StatusCode::PAYLOAD_TOO_LARGE);
}
