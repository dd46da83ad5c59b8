//! Tokens of Arm CCA: hostile bytes are refused or accepted, never a panic, and never slowly.

#![no_main]

use std::sync::LazyLock;

use coco_attestation::TeeKind;
use coco_fuzz::{DATA, Sample, judge};
use coco_testpki::cca::Arm;
use libfuzzer_sys::fuzz_target;

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let arm = Arm::new(3);
    Sample::new(arm.mint([0xc0; 32], 0x3001, &DATA), |anchors| arm.trust(anchors), Vec::new())
});

fuzz_target!(init: { LazyLock::force(&SAMPLE); }, |input: &[u8]| judge(TeeKind::Cca, &SAMPLE, input));
