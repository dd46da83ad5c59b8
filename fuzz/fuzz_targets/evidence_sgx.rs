//! Quotes of Intel SGX: hostile bytes are refused or accepted, never a panic, and never slowly.

#![no_main]

use std::sync::LazyLock;

use coco_attestation::TeeKind;
use coco_fuzz::{AT, DATA, Sample, judge};
use coco_testpki::intel::{Guest, Intel};
use libfuzzer_sys::fuzz_target;

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let intel = Intel::new(AT);
    let guest = Guest::Enclave { mrenclave: [0xc0; 32], mrsigner: [0x51; 32], flags: 5 };
    let evidence = intel.mint(&intel.platform(1), &guest, &DATA);
    Sample::new(evidence, |anchors| intel.trust(anchors), intel.collateral(&intel.publication(AT - 100)))
});

fuzz_target!(init: { LazyLock::force(&SAMPLE); }, |input: &[u8]| judge(TeeKind::Sgx, &SAMPLE, input));
