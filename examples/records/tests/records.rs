//! The ledger through its own service, and the suite that every protocol passes.

use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::conformance::{self, Fixture, SingleNode};
use coco_protocol::{OpenGate, Protocol};
use coco_records::{KEY_BYTES_MAX, Records, VALUE_BYTES_MAX};
use http::{Request, Response};

struct RecordsFixture;

impl Fixture for RecordsFixture {
    fn protocol(&self) -> Arc<dyn Protocol> {
        Arc::new(Records)
    }

    fn genesis(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn submissions(&self) -> Vec<Bytes> {
        vec![submission(b"a", b"1"), submission(b"b", b""), submission(b"a", b"2")]
    }

    fn refused(&self) -> Vec<Bytes> {
        // Every well-formed record is allowed in every state.
        Vec::new()
    }

    fn malformed(&self) -> Vec<Bytes> {
        let huge = [&[9; 12], [0, 1, 255, 255, 255, 255].as_slice(), b"k"].concat();
        let long = submission(b"k", &vec![0; VALUE_BYTES_MAX + 1]);
        vec![Bytes::new(), submission(b"", b"v"), huge.into(), long, submission(&[b'k'; KEY_BYTES_MAX + 1], b"v")]
    }

    fn reads(&self) -> Vec<Request<Bytes>> {
        vec![request("GET", "/app/records/a", b""), request("GET", "/app/records/b", b"")]
    }

    fn refuses_replays(&self) -> bool {
        false
    }
}

#[test]
fn the_ledger_conforms() {
    conformance::check(&RecordsFixture);
}

#[test]
fn a_put_answers_with_its_transaction_and_can_be_read() {
    let node = node();
    let put = node.call(request("PUT", "/app/records/k%20x", b"value"));
    assert_eq!(put.status(), 204);
    assert_eq!(put.headers()["x-ms-ccf-transaction-id"], "2.3");
    let read = node.call(request("GET", "/app/records/k%20x", b""));
    assert_eq!((read.status().as_u16(), read.body().as_ref()), (200, &b"value"[..]));
}

#[test]
fn a_put_with_a_key_happens_once() {
    let node = node();
    let put = |key: &str, value: &[u8]| {
        let mut request = request("PUT", "/app/records/k", value);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        node.call(request)
    };
    let first = put("one", b"1");
    assert_eq!(put("two", b"2").status(), 204);
    let again = put("one", b"1");
    assert_eq!((again.status(), again.headers()), (first.status(), first.headers()));
    assert_eq!(node.call(request("GET", "/app/records/k", b"")).body().as_ref(), b"2");
    says(&put("one", b"3"), 422, "this Idempotency-Key was used with another request: use a new one");
    assert_eq!(put("a b", b"3").status(), 400);
}

#[test]
fn limits_are_refused_in_words() {
    let node = node();
    let refused = |path: &str, value: &[u8]| node.call(request("PUT", path, value));
    let largest = vec![7; VALUE_BYTES_MAX];
    assert_eq!(refused("/app/records/k", &largest).status(), 204);
    let long_key = format!("/app/records/{}", "k".repeat(KEY_BYTES_MAX + 1));
    says(&refused(&long_key, b"v"), 400, "a key has 1 to 256 bytes, not 257");
    says(&refused("/app/records/", b"v"), 400, "a key has 1 to 256 bytes, not 0");
    says(&refused("/app/records/k", &vec![7; VALUE_BYTES_MAX + 1]), 400, "a value has at most 65536 bytes, not 65537");
}

#[test]
fn other_paths_methods_and_absent_records_are_told_apart() {
    let node = node();
    says(&node.call(request("GET", "/app/records/nothing", b"")), 404, "there is no such record");
    says(&node.call(request("DELETE", "/app/records/k", b"")), 405, "a record takes GET and PUT");
    says(&node.call(request("GET", "/app/recordsomething", b"")), 404, "records are at /app/records/{key}");
}

fn node() -> Arc<SingleNode> {
    SingleNode::found(Arc::new(Records), &serde_json::Value::Null, Arc::new(OpenGate))
}

fn request(method: &str, path: &str, body: &[u8]) -> Request<Bytes> {
    Request::builder().method(method).uri(path).body(Bytes::copy_from_slice(body)).unwrap()
}

/// Twelve bytes that tell it from others, two bytes of key length, four of value length, key, value.
fn submission(key: &[u8], value: &[u8]) -> Bytes {
    let mut bytes = vec![9; 12];
    bytes.extend((key.len() as u16).to_be_bytes());
    bytes.extend((value.len() as u32).to_be_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value);
    bytes.into()
}

fn says(response: &Response<Bytes>, status: u16, message: &str) {
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!((response.status().as_u16(), body["error"]["message"].as_str()), (status, Some(message)));
}
