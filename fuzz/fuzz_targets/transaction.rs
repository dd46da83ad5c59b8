//! Submissions of every hosted protocol.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use coco_ethereum::Ethereum;
use coco_ethereum::rpc::Options;
use coco_protocol::{Caller, Protocol};
use coco_records::Records;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let ethereum = Ethereum::new(|| Options::new(Arc::new(|_: &mut [u8]| {})));
    let protocols: [&dyn Protocol; 2] = [&ethereum, &Records];
    for protocol in protocols {
        let bytes = Bytes::copy_from_slice(bytes);
        if let Ok(admitted) = protocol.admit(bytes.clone(), &Caller::Anonymous) {
            assert_eq!(admitted.raw, bytes, "a submission has one form");
            let again = protocol.readmit(admitted.raw, admitted.finding, admitted.caller);
            assert_eq!(again.map(|again| again.id), Ok(admitted.id), "a peer takes over what was admitted");
        }
    }
});
