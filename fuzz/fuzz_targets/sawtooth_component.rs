//! Sawtooth's component endpoint: ZeroMQ's wire protocol, envelopes, every message behind them, and batches.
//! Begin with what clients say: `cargo +nightly fuzz run sawtooth_component fuzz/corpus/sawtooth_component fuzz/seeds/sawtooth_component`.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{OpenGate, Protocol, SocketClosed, Stream, StreamService};
use coco_sawtooth::Sawtooth;
use coco_sawtooth::batch::SignedBatch;
use coco_sawtooth::workers::Workers;
use libfuzzer_sys::fuzz_target;

static SERVICE: LazyLock<Arc<dyn StreamService>> = LazyLock::new(|| {
    let protocol = Arc::new(Sawtooth::new(Arc::new(|bytes: &mut [u8]| bytes.fill(7)), Workers::at_once()));
    let node = SingleNode::found(protocol.clone(), &serde_json::json!({}), Arc::new(OpenGate));
    protocol.serve_streams(node).remove(0)
});

struct Nobody;

impl Stream for Nobody {
    fn send(&self, _bytes: Bytes) -> Result<(), SocketClosed> {
        Ok(())
    }
}

/// What every peer says first.
fn hello() -> Vec<u8> {
    let mut hello = vec![0; 64];
    (hello[0], hello[9], hello[10]) = (0xff, 0x7f, 3);
    hello[12..16].copy_from_slice(b"NULL");
    let ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER";
    hello.extend([4, ready.len() as u8]);
    hello.extend(ready);
    hello
}

/// One message in one long frame.
fn message(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_be_bytes();
    [&[2][..], &length, bytes].concat()
}

fuzz_target!(|bytes: &[u8]| {
    for said in [bytes.to_vec(), [hello(), bytes.to_vec()].concat(), [hello(), message(bytes)].concat()] {
        let mut session = SERVICE.open(Arc::new(Nobody), None);
        let (first, rest) = said.split_at(said.len() / 2);
        if session.received(first).is_ok() && session.received(rest).is_ok() {
            while session.has_more() && session.received(&[]).is_ok() {}
        }
    }
    if let Ok(batch) = SignedBatch::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(batch.raw, bytes, "a batch is kept as it came");
    }
});
