//! Reports of Windows VBS enclaves with their boot log: hostile bytes are refused or accepted, never a panic, and never slowly.

#![no_main]

use std::sync::LazyLock;

use coco_attestation::TeeKind;
use coco_fuzz::{AT, DATA, Sample, judge};
use coco_testpki::vbs::Windows;
use libfuzzer_sys::fuzz_target;

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let windows = Windows::new(AT);
    let evidence = windows.mint(&windows.report([0xc0; 32]), &DATA);
    Sample::new(evidence, |anchors| windows.trust(anchors), Vec::new())
});

fuzz_target!(init: { LazyLock::force(&SAMPLE); }, |input: &[u8]| judge(TeeKind::Vbs, &SAMPLE, input));
