//! Every evidence decoder: hostile bytes are refused or accepted, never a panic, and never slowly.

#![no_main]

use coco_attestation::platforms::tpm::TpmQuote;
use coco_attestation::platforms::vbs::log::BootLog;
use coco_attestation::{Anchors, Aux, Evidence, TeeKind, Trust, cmw, examine};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    let trust = Trust { anchors: Anchors::vendors(), ..Trust::default() };
    let _ = cmw::from_cbor(rest);
    let _ = serde_json::from_slice(rest).map(|json| cmw::from_json(&json));
    let _ = TpmQuote::decode(rest);
    let _ = BootLog::parse(rest);
    // The first byte chooses the platform, the second how much of the rest is the evidence itself.
    let kind = TeeKind::ALL[usize::from(kind) % TeeKind::ALL.len()];
    let split = rest.first().map_or(0, |part| rest.len() * usize::from(*part) / 255);
    let (raw, beside) = rest.split_at(split.min(rest.len()));
    let evidence = Aux::ALL.into_iter().fold(Evidence::bare(kind, raw.to_vec()), |evidence, part| {
        evidence.with(part, beside.to_vec())
    });
    let _ = examine(&evidence, &trust, 1_790_000_000);
});
