//! Documents of AWS Nitro Enclaves: hostile bytes are refused or accepted, never a panic, and never slowly.

#![no_main]

use std::sync::LazyLock;

use coco_attestation::TeeKind;
use coco_fuzz::{AT, CODE, DATA, Sample, judge};
use coco_testpki::nitro::Nitro;
use libfuzzer_sys::fuzz_target;

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let nitro = Nitro::new(AT);
    Sample::new(nitro.mint(CODE, &DATA, AT), |anchors| nitro.trust(anchors), Vec::new())
});

fuzz_target!(init: { LazyLock::force(&SAMPLE); }, |input: &[u8]| judge(TeeKind::Nitro, &SAMPLE, input));
