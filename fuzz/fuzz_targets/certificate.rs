//! Certificates, as clients and joining nodes present them.
#![no_main]

use coco_crypto::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = Certificate::from_der(bytes) {
        assert_eq!(certificate.der(), bytes, "a certificate has one form");
        let _ = certificate.subject_alt_names();
        let _ = certificate.verify_signed_by(&certificate);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Certificate::from_pem(text);
    }
});
