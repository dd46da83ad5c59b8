//! Receipts, as anyone hands them to a verifier. None of them verifies: the key has signed nothing.
#![no_main]

use std::sync::OnceLock;

use coco_crypto::{Curve, SeededCrypto, SigningKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    // Of another seed than the fixtures' services, whose receipts are among the first inputs.
    let key = KEY.get_or_init(|| SigningKey::generate(&SeededCrypto::new(u64::MAX), Curve::P384));
    assert!(coco_ledger::verify_receipt(bytes, key.public_key(), None).is_err());
});
