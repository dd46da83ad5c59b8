//! Frames between nodes, and the messages in them.
#![no_main]

use bytes::Bytes;
use coco_node::wire;
use coco_rpc::channel::Frame;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(frame) = Frame::decode(bytes.clone()) {
        assert_eq!(frame.encode(), bytes, "a frame has one form");
    }
    let _ = wire::decode_submissions(bytes.clone());
    let _ = wire::decode_answers(bytes.clone());
    let _ = wire::decode_question(bytes.clone());
    let _ = wire::decode_result(bytes);
});
