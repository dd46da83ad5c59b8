//! What evidence travels in and what is brought beside it: the CMW forms, TPM quotes, boot logs, collateral. Hostile bytes are refused or
//! accepted, never a panic, and never slowly.

#![no_main]

use std::hint::black_box;

use coco_attestation::collateral::{Collateral, CollateralItem, SignedText, judge};
use coco_attestation::platforms::boot_log::BootLog;
use coco_attestation::platforms::tpm::TpmQuote;
use coco_attestation::{Anchors, Root, cmw};
use coco_fuzz::{AT, in_time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&which, rest)) = input.split_first() else { return };
    in_time(|| match which % 7 {
        0 => drop(black_box(cmw::from_cbor(rest))),
        1 => drop(black_box(serde_json::from_slice(rest).map(|json| cmw::from_json(&json)))),
        2 => drop(black_box(TpmQuote::decode(rest))),
        3 => drop(black_box(BootLog::parse(rest))),
        4 => drop(black_box(serde_json::from_slice(rest).map(|item| submit(&item)))),
        5 => submit(&CollateralItem::Crl { list: rest.to_vec(), root: Root::Intel, chain: String::new() }),
        _ => {
            let text = String::from_utf8_lossy(rest).into_owned();
            submit(&CollateralItem::TcbInfo(SignedText { text: text.clone(), signature: vec![1; 64], chain: text }));
        }
    });
});

fn submit(item: &CollateralItem) {
    drop(black_box(judge(item, &Collateral::default(), &Anchors::vendors(), AT)));
}
