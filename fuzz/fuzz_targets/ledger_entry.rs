//! Ledger entries, as a host's disk gives them.
#![no_main]

use coco_ledger::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok((entry, after)) = Entry::split_first(rest) {
        assert!(after.len() < rest.len(), "an entry has a length");
        // Whatever it says, it must not panic.
        let _ = entry.public_writes();
        let _ = entry.leaf_digest();
        rest = after;
    }
});
