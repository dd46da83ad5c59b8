//! Bodies of JSON-RPC requests against a network of one, from the parser to the methods.
#![no_main]

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use coco_crypto::{Crypto, SystemCrypto};
use coco_ethereum::Ethereum;
use coco_ethereum::rpc::Options;
use coco_protocol::OpenGate;
use coco_protocol::conformance::SingleNode;
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
});
