//! The API as clients meet it: JSON in, JSON out, on a network of one node.

mod bad_input;
mod brief;
mod conformance;
mod denied;
mod developer;
mod explorer;
mod failures;
mod flow;
mod history;
mod precompile;
mod push;
mod recorded;
mod simulate;
mod sourcify;
mod traces;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{Caller, Gate, LedgerHandle, OpenGate, Protocol, Service, Socket, SocketClosed, SocketSession};
use http::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Options, Random};
use crate::Ethereum;
use crate::testing::dev_key;

/// A service and a way to talk to it.
struct Client {
    node: Arc<SingleNode>,
    service: Arc<dyn Service>,
}

/// Different at each call, and the same in each run.
fn counting() -> Random {
    let count = AtomicU64::new(0);
    Arc::new(move |bytes: &mut [u8]| {
        let next = count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        bytes.iter_mut().zip(next.into_iter().rev().cycle()).for_each(|(byte, drawn)| *byte = drawn);
    })
}

fn network() -> Ethereum {
    Ethereum::new(|| Options::new(counting()))
}

fn developer() -> Ethereum {
    Ethereum::new(|| Options::developer(counting(), (0..10).map(dev_key).collect()))
}

impl Client {
    /// A development network.
    fn new() -> Self {
        Self::of(Arc::new(developer()), Arc::new(OpenGate))
    }

    fn of(protocol: Arc<Ethereum>, gate: Arc<dyn Gate>) -> Self {
        let node = SingleNode::found(protocol.clone(), &json!({"dev": true}), gate);
        let handle: Arc<dyn LedgerHandle> = node.clone();
        Self { service: protocol.serve(handle), node }
    }

    fn http(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (reply, answer) = mpsc::channel();
        self.service.call(Caller::Anonymous, request, Box::new(move |response| reply.send(response).unwrap()));
        answer.recv().expect("every request is answered")
    }

    /// The body that answers a POST of `body`.
    fn post(&self, body: impl Into<Bytes>) -> Value {
        let response = self.http(Request::builder().method(Method::POST).body(body.into()).unwrap());
        assert_eq!(response.status(), StatusCode::OK);
        serde_json::from_slice(response.body()).expect("an answer is JSON")
    }

    fn request(&self, method: &str, params: Value) -> Result<Value, Value> {
        let answer = self.post(json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string());
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)));
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].clone()),
        }
    }

    /// The result of a request that succeeds.
    fn ask(&self, method: &str, params: Value) -> Value {
        self.request(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Code and message of a request that fails.
    fn fail(&self, method: &str, params: Value) -> (i64, String) {
        let error = self.request(method, params).expect_err("it fails");
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    }

    fn socket(&self) -> Subscriber {
        let sent = Arc::new(Sent::default());
        let session = self.service.open_socket(Caller::Anonymous, sent.clone()).expect("WebSockets are served");
        Subscriber { session, sent }
    }
}

/// The client's end of a WebSocket.
struct Subscriber {
    session: Box<dyn SocketSession>,
    sent: Arc<Sent>,
}

/// What the service sent; it can be cut.
#[derive(Default)]
struct Sent {
    messages: Mutex<Vec<Value>>,
    closed: Mutex<bool>,
}

impl Socket for Sent {
    fn send(&self, text: String) -> Result<(), SocketClosed> {
        if *self.closed.lock() {
            return Err(SocketClosed);
        }
        self.messages.lock().push(serde_json::from_str(&text).expect("a message is JSON"));
        Ok(())
    }
}

impl Subscriber {
    fn send(&mut self, method: &str, params: Value) {
        self.session.message(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string());
    }

    /// What came since the last call.
    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.sent.messages.lock())
    }

    fn subscribe(&mut self, params: Value) -> String {
        self.send("eth_subscribe", params);
        let answers = self.take();
        answers[0]["result"].as_str().unwrap_or_else(|| panic!("{answers:?}")).to_owned()
    }
}

/// The code of a contract that stores the word it is called with and logs it under topic 0xaa; called without, it returns it.
const KEEPER_RUNTIME: &str = "36600f5760005460005260206000f35b6000358060005560005260aa60206000a100";

/// The code that deploys [`KEEPER_RUNTIME`].
fn keeper_init() -> alloy_primitives::Bytes {
    let bytes = KEEPER_RUNTIME.len() / 2;
    alloy_primitives::hex::decode(format!("60{bytes:02x}80600b6000396000f3{KEEPER_RUNTIME}")).unwrap().into()
}

fn word(value: u64) -> String {
    format!("0x{value:064x}")
}

fn address(index: usize) -> Value {
    json!(alloy_primitives::hex::encode_prefixed(crate::network::DEV_ACCOUNTS[index].address))
}
