//! Azure's paravisor: its envelope, the vTPM's quote and boot log: hostile bytes are refused or accepted, never a panic, and never slowly.

#![no_main]

use std::sync::LazyLock;

use coco_attestation::TeeKind;
use coco_fuzz::{AT, CODE, DATA, Sample, judge};
use coco_testpki::azure::Azure;
use coco_testpki::snp::{Amd, Product};
use libfuzzer_sys::fuzz_target;

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let amd = Amd::new(Product::Milan, AT);
    let evidence = Azure::default().mint_snp(&amd, &amd.report(CODE, 1), &DATA);
    Sample::new(evidence, |anchors| amd.trust(anchors), vec![amd.revocations(&[], AT - 10)])
});

fuzz_target!(init: { LazyLock::force(&SAMPLE); }, |input: &[u8]| judge(TeeKind::AzureSnp, &SAMPLE, input));
