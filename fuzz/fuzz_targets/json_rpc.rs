//! JSON-RPC requests against a network of one, from the parser to the methods: as a body, and over a WebSocket, where there are subscriptions.
#![no_main]

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use coco_crypto::{Crypto, SystemCrypto};
use coco_ethereum::Ethereum;
use coco_ethereum::rpc::Options;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{Caller, OpenGate, Socket, SocketClosed};
use http::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    static NODE: OnceLock<Arc<SingleNode>> = OnceLock::new();
    let node = NODE.get_or_init(|| {
        let ethereum = Ethereum::new(|| Options::new(Arc::new(|bytes: &mut [u8]| SystemCrypto.fill(bytes))));
        SingleNode::found(Arc::new(ethereum), &Default::default(), Arc::new(OpenGate))
    });
    let request = Request::post("/").header("content-type", "application/json").body(Bytes::copy_from_slice(body));
    let response = node.call(request.expect("a request without conditions"));
    assert_ne!(response.status(), 503, "every request is answered");
    let Ok(text) = std::str::from_utf8(body) else { return };
    let session = node.protocol().clone().serve(node.clone()).open_socket(Caller::Anonymous, Arc::new(Silent));
    session.expect("WebSockets are served").message(text);
});

/// A client that reads all it is told.
struct Silent;

impl Socket for Silent {
    fn send(&self, _: String) -> Result<(), SocketClosed> {
        Ok(())
    }
}
