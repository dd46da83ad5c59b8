//! What evidence travels in and what is brought beside it: the CMW forms, TPM quotes, boot logs, collateral, and the answers of devices. Hostile bytes are refused or
//! accepted, never a panic, and never slowly.

#![no_main]

use std::hint::black_box;
use std::sync::Arc;

use coco_attestation::collateral::{Collateral, CollateralItem, SignedText, judge};
use coco_attestation::platforms::boot_log::BootLog;
use coco_attestation::platforms::tpm::TpmQuote;
use coco_attestation::sources::nsm::Nsm;
use coco_attestation::sources::sev_guest::SevGuest;
use coco_attestation::{Anchors, EvidenceSource, Root, cmw};
use coco_fuzz::{AT, Answering, DATA, in_time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&which, rest)) = input.split_first() else { return };
    in_time(|| match which % 9 {
        0 => drop(black_box(cmw::from_cbor(rest))),
        1 => drop(black_box(serde_json::from_slice(rest).map(|json| cmw::from_json(&json)))),
        2 => drop(black_box(TpmQuote::decode(rest))),
        3 => drop(black_box(BootLog::parse(rest))),
        4 => drop(black_box(serde_json::from_slice(rest).map(|item| submit(&item)))),
        // What a host has its devices say.
        7 => drop(black_box(Nsm { devices: Arc::new(Answering(rest.to_vec())) }.evidence(&DATA))),
        8 => {
            let guest = SevGuest { devices: Arc::new(Answering(rest.to_vec())) };
            black_box((guest.evidence(&DATA).is_ok(), guest.sealing_key(None).is_ok()));
        }
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
