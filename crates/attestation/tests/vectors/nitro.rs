//! AWS Nitro Enclaves.

use coco_attestation::{Details, Evidence, ReportData, TeeKind, VerifyError, examine, verify};

use crate::{day, recorded, trust};

fn evidence(name: &str) -> Option<Evidence> {
    Some(Evidence::bare(TeeKind::Nitro, recorded(&format!("nitro/{name}"))?))
}

fn at(y: u64, m: u64, d: u64, h: u64, min: u64, s: u64) -> u64 {
    day(y, m, d) + h * 3600 + min * 60 + s
}

fn contains(raw: &[u8], parts: &[&[u8]]) -> bool {
    parts.iter().all(|part| raw.windows(part.len()).any(|window| window == *part))
}

#[test]
fn a_document_verifies_within_its_three_hours() {
    let Some(evidence) = evidence("valid-attestation-doc-bytes") else { return };
    let made = at(2022, 10, 13, 8, 58, 2);
    let claims = examine(&evidence, &trust(), made).unwrap();
    assert!(!claims.debug);
    let Details::Nitro(nitro) = &claims.details else { panic!() };
    assert!((0..=4).chain([8]).all(|pcr| nitro.pcrs.contains_key(&pcr)));
    assert_eq!(examine(&evidence, &trust(), claims.validity.not_after).unwrap(), claims);
    let expired = examine(&evidence, &trust(), claims.validity.not_after + 1);
    assert!(matches!(expired, Err(VerifyError::CertificateExpired { .. })));
    let early = examine(&evidence, &trust(), claims.validity.not_before - 1);
    assert!(matches!(early, Err(VerifyError::CertificateNotYetValid { .. })));
    // A nonce of 256 bytes; no other field of the caller's.
    assert!(contains(&evidence.raw, &[&b"\x65nonce\x59\x01\x00"[..]]));
    assert!(contains(&evidence.raw, &[&b"\x69user_data\xf6"[..], b"\x6apublic_key\xf6"]));
    // It binds nothing of ours: its user data are null.
    assert_eq!(verify(&evidence, &ReportData([0; 64]), &trust(), made), Err(VerifyError::ReportDataMismatch));
}

#[test]
fn an_enclave_in_debug_mode_verifies_and_is_never_accepted() {
    let recordings = [
        ("debug-mode-attestation-doc-bytes", at(2022, 10, 12, 13, 50, 6), &b"my super secret key"[..]),
        ("fixed-valid-attestation.cose", at(2024, 11, 14, 23, 46, 27), &b"\x69user_data\x58\x20"[..]),
    ];
    for (name, made, field) in recordings {
        let Some(evidence) = evidence(name) else { return };
        let claims = examine(&evidence, &trust(), made).unwrap();
        assert!(claims.debug, "{name}");
        let Details::Nitro(nitro) = &claims.details else { panic!() };
        assert!((0..3).all(|pcr| nitro.pcrs[&pcr] == "00".repeat(48)), "{name}");
        assert!(contains(&evidence.raw, &[field]), "{name}");
    }
}

#[test]
fn no_flipped_bit_passes_and_no_other_length() {
    let Some(evidence) = evidence("valid-attestation-doc-bytes") else { return };
    let made = at(2022, 10, 13, 8, 58, 2);
    for bit in (0..evidence.raw.len() * 8).step_by(11) {
        let mut flipped = evidence.clone();
        flipped.raw[bit / 8] ^= 1 << (bit % 8);
        assert!(examine(&flipped, &trust(), made).is_err(), "bit {bit}");
    }
    for len in (0..evidence.raw.len()).step_by(61) {
        let cut = Evidence::bare(TeeKind::Nitro, evidence.raw[..len].to_vec());
        assert!(examine(&cut, &trust(), made).is_err(), "cut to {len}");
    }
    let longer = Evidence::bare(TeeKind::Nitro, [&evidence.raw[..], &[0]].concat());
    assert!(matches!(examine(&longer, &trust(), made), Err(VerifyError::CoseMalformed { .. })));
}
