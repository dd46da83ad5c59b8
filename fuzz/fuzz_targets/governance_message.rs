//! Members' signed requests, as anybody may send them.
#![no_main]

use coco_governance::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(message) = Message::decode(bytes) {
        assert!(message.payload.len() < bytes.len(), "a payload is part of its message");
    }
});
