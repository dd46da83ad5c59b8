//! Reports of AMD SEV-SNP with their certificates and endorsements: hostile bytes are refused or accepted, never a panic, and never slowly.

#![no_main]

use std::sync::LazyLock;

use coco_attestation::{Aux, TeeKind};
use coco_fuzz::{AT, CODE, DATA, Sample, judge};
use coco_testpki::snp::{Amd, Product};
use libfuzzer_sys::fuzz_target;

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let amd = Amd::new(Product::Turin, AT);
    let endorsement = amd.uvm.endorse(&CODE, "Test-UVM", 10, AT - 1_000);
    let evidence = amd.mint(&amd.report(CODE, 1), &DATA).with(Aux::UvmEndorsement, endorsement);
    Sample::new(evidence, |anchors| amd.trust(anchors), vec![amd.revocations(&[], AT - 10)])
});

fuzz_target!(init: { LazyLock::force(&SAMPLE); }, |input: &[u8]| judge(TeeKind::SevSnp, &SAMPLE, input));
