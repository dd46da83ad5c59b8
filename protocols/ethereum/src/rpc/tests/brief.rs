//! What takes long is left for threads that nobody waits for, and comes out the same.

use std::sync::mpsc::{self, Receiver};

use alloy_primitives::{Address, hex, keccak256};
use bytes::Bytes;
use coco_protocol::{Caller, Rest};
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::flow::{deploy, store};
use super::{Client, address, word};
use crate::testing::{dev_key, sign, transfer};

/// So slow that a request is cut short when it looks at the clock for the second time.
const MS_PER_LOOK: u64 = 1;

impl Client {
    fn begin(&self, body: &Value) -> (Option<Rest>, Receiver<Value>) {
        let request = Request::builder().method(Method::POST).body(Bytes::from(body.to_string())).unwrap();
        let (reply, answer) = mpsc::channel();
        let reply = Box::new(move |response: Response<Bytes>| {
            reply.send(serde_json::from_slice(response.body()).expect("an answer is JSON")).unwrap();
        });
        (self.service.begin(Caller::Anonymous, request, reply), answer)
    }

    /// What answers a body that takes long; `meanwhile` is done before it is gone on with.
    fn answer_late(&self, body: &Value, meanwhile: impl FnOnce()) -> Value {
        self.node.pass_time(MS_PER_LOOK);
        let (rest, answer) = self.begin(body);
        assert!(answer.try_recv().is_err(), "it takes long");
        meanwhile();
        (rest.expect("something is left").job)();
        self.node.pass_time(0);
        answer.recv().expect("every request is answered")
    }
}

fn request(id: u64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// A call that jumps back until its gas is used up.
fn looping() -> Value {
    let to = Address::repeat_byte(0xc0);
    json!([{"to": to, "gas": "0x100000"}, "latest", {to.to_string(): {"code": "0x5b600056"}}])
}

#[test]
fn what_is_short_leaves_nothing_and_what_takes_long_is_answered_as_if_it_had_been_begun_there() {
    let client = Client::new();
    let call = request(1, "eth_call", looping());
    let (rest, answer) = client.begin(&call);
    assert!(rest.is_none(), "time stands still, so that nothing takes long");
    let in_one = answer.recv().unwrap();
    assert_eq!(in_one["error"]["message"], "out of gas");
    assert_eq!(client.answer_late(&call, || ()), in_one);
}

#[test]
fn what_executes_transactions_again_is_begun_where_nobody_waits() {
    let client = Client::new();
    let keeper = deploy(&client);
    let stored = store(&client, keeper, 1, 7);
    let (rest, answer) = client.begin(&request(1, "debug_traceTransaction", json!([stored])));
    assert!(answer.try_recv().is_err());
    (rest.expect("all of it is left").job)();
    assert_eq!(answer.recv().unwrap()["result"]["failed"], false);
}

#[test]
fn a_batch_keeps_its_order_and_its_version_wherever_its_requests_are_served() {
    let client = Client::new();
    let keeper = deploy(&client);
    let batch = json!([
        request(1, "eth_blockNumber", json!([])),
        request(2, "eth_call", looping()),
        request(3, "eth_blockNumber", json!([])),
    ]);
    let answers = client.answer_late(&batch, || drop(store(&client, keeper, 1, 7)));
    let ids: Vec<_> = answers.as_array().unwrap().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!((&answers[0]["result"], &answers[2]["result"]), (&json!("0x1"), &json!("0x1")));
    assert_eq!(client.ask("eth_blockNumber", json!([])), "0x2", "one came meanwhile");
    // Of what nothing is answered yet the newest is read.
    let alone =
        client.answer_late(&request(4, "eth_call", json!([{"to": keeper}])), || drop(store(&client, keeper, 2, 8)));
    assert_eq!(alone["result"], word(8));
}

#[test]
fn receipts_that_together_take_long_are_all_found() {
    let client = Client::new();
    let keeper = deploy(&client);
    let stored = store(&client, keeper, 1, 7);
    let batch: Vec<_> = (0..10).map(|id| request(id, "eth_getTransactionReceipt", json!([stored]))).collect();
    let answers = client.answer_late(&json!(batch), || ());
    let found = |answer: &Value| answer["result"]["transactionHash"] == json!(stored);
    assert_eq!(
        answers.as_array().map(|answers| answers.iter().filter(|answer| found(answer)).count()),
        Some(10),
        "{answers}"
    );
}

#[test]
fn a_filter_that_takes_long_to_poll_tells_everything_once() {
    let client = Client::new();
    let keeper = deploy(&client);
    let filter = client.ask("eth_newFilter", json!([{"address": keeper}]));
    for value in 1..4 {
        store(&client, keeper, value, value);
    }
    let told = client.answer_late(&request(1, "eth_getFilterChanges", json!([filter])), || ());
    assert_eq!(told["result"].as_array().map(Vec::len), Some(3));
    assert_eq!(client.ask("eth_getFilterChanges", json!([filter])), json!([]));
}

#[test]
fn a_submission_of_a_batch_that_takes_long_is_handed_in_once() {
    let client = Client::new();
    let signed = sign(&dev_key(0), transfer(0, Address::ZERO, 1));
    let batch = json!([
        request(1, "eth_sendRawTransaction", json!([hex::encode_prefixed(&signed)])),
        request(2, "eth_call", looping()),
    ]);
    let answers = client.answer_late(&batch, || ());
    assert_eq!(answers[0]["result"], json!(keccak256(&signed)));
    assert_eq!(client.ask("eth_getTransactionCount", json!([address(0), "pending"])), "0x1");
}

#[test]
fn what_is_left_of_a_sockets_message_is_answered_through_the_socket() {
    let client = Client::new();
    let mut socket = client.socket();
    client.node.pass_time(MS_PER_LOOK);
    let rest = socket.session.begin(&request(1, "eth_call", looping()).to_string());
    assert!(socket.take().is_empty());
    (rest.expect("something is left").job)();
    assert_eq!(socket.take()[0]["error"]["message"], "out of gas");
}

#[test]
fn what_is_left_and_is_not_done_is_not_answered() {
    let client = Client::new();
    client.node.pass_time(MS_PER_LOOK);
    let (rest, answer) = client.begin(&request(1, "eth_call", looping()));
    let rest = rest.expect("something is left");
    assert!(rest.held_bytes > 100, "its text");
    drop(rest);
    assert!(answer.recv().is_err(), "the listener says 503");
}
