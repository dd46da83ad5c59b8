//! What fuzzing begins with: `cargo run -p coco-testpki --example seeds -- fuzz/seeds` writes, for every evidence decoder, minted evidence and edits of it
//! in the form of the targets' inputs (`fuzz/src/lib.rs`). Keys are drawn afresh, so each run writes other bytes; the committed ones need not change.

use std::fs;
use std::path::PathBuf;

use coco_attestation::collateral::CollateralItem;
use coco_attestation::{Aux, Evidence, ReportData, cmw};
use coco_testpki::azure::Azure;
use coco_testpki::cca::Arm;
use coco_testpki::intel::{Guest, Intel};
use coco_testpki::nitro::Nitro;
use coco_testpki::snp::{Amd, Product};
use coco_testpki::vbs::Windows;

const AT: u64 = 1_790_000_000;
const DATA: ReportData = ReportData([0x42; 64]);
const CODE: [u8; 48] = [0xc0; 48];

/// First bytes of an input.
const RAW: u8 = 0;
const EDITED: u8 = 1;
/// The genuine evidence itself, one byte changed in each of its parts, one bit flipped, one byte more, some bytes fewer, an early end.
const EDITS: [&[u8]; 6] = [
    &[],
    &[0, 0, 9, 0, 0xff, 1, 0, 40, 0, 0xff, 2, 0, 40, 0, 0xff],
    &[0, 1, 0, 1, 3],
    &[0, 0, 48, 2, 0],
    &[0, 0, 80, 3, 16],
    &[0, 0, 200, 4, 0],
];

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("usage: seeds FOLDER"));
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = folder.join(target);
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::write(folder.join(name), bytes).expect("the seed can be written");
    };
    let (amd, intel, azure) = (Amd::new(Product::Genoa, AT), Intel::new(AT), Azure::default());
    let windows = Windows::new(AT);
    let enclave = Guest::Enclave { mrenclave: [0xc0; 32], mrsigner: [0x51; 32], flags: 5 };
    let td = |version| Guest::Td { mrtd: CODE, attributes: 1 << 28, version };
    let endorsed = amd.mint(&amd.report(CODE, 1), &DATA);
    let behind_paravisor = azure.mint_snp(&amd, &amd.report(CODE, 1), &DATA);
    let in_windows = windows.mint(&windows.report([0xc0; 32]), &DATA);
    let samples = [
        ("evidence_snp", vec![("report", endorsed.clone())]),
        (
            "evidence_tdx",
            vec![4, 5]
                .into_iter()
                .map(|version| {
                    (
                        if version == 4 { "quote-4" } else { "quote-5" },
                        intel.mint(&intel.platform(1), &td(version), &DATA),
                    )
                })
                .collect(),
        ),
        ("evidence_sgx", vec![("quote-3", intel.mint(&intel.platform(1), &enclave, &DATA))]),
        ("evidence_azure", vec![("envelope", behind_paravisor.clone())]),
        ("evidence_nitro", vec![("document", Nitro::new(AT).mint(CODE, &DATA, AT))]),
        ("evidence_cca", vec![("token", Arm::new(3).mint([0xc0; 32], 0x3001, &DATA))]),
        ("evidence_vbs", vec![("report", in_windows.clone())]),
    ];
    for (target, evidence) in &samples {
        for (name, evidence) in evidence {
            write(target, name, &raw(evidence));
        }
        for (number, edits) in EDITS.iter().enumerate() {
            write(target, &format!("edits-{number}"), &[&[EDITED], *edits].concat());
        }
    }
    // The first byte says what the rest is: see the target.
    let part = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
    write("evidence_parts", "cmw-cbor", &part(0, &cmw::to_cbor(&endorsed)));
    write("evidence_parts", "cmw-json", &part(1, cmw::to_json(&endorsed).to_string().as_bytes()));
    write("evidence_parts", "tpm-quote", &part(2, &behind_paravisor.aux[&Aux::TpmQuote]));
    let answer = [&b"\xa1\x6bAttestation\xa1\x68document\x43"[..], b"abc"].concat();
    write("evidence_parts", "nsm-answer", &part(7, &answer));
    let mut message = [0u32.to_le_bytes(), 1184u32.to_le_bytes()].concat();
    message.resize(32, 0);
    message.extend(&endorsed.raw);
    message.resize(4000, 0);
    write("evidence_parts", "guest-answer", &part(8, &[message, host_table(&amd.ark.der)].concat()));
    write("evidence_parts", "boot-log", &part(3, &in_windows.aux[&Aux::EventLog]));
    for (number, item) in intel.collateral(&intel.publication(AT)).into_iter().enumerate() {
        let json = serde_json::to_vec(&item).expect("an item has only string keys");
        write("evidence_parts", &format!("item-{number}"), &part(4, &json));
        match item {
            CollateralItem::Crl { list, .. } => write("evidence_parts", &format!("list-{number}"), &part(5, &list)),
            CollateralItem::TcbInfo(text) | CollateralItem::QeIdentity(text) => {
                write("evidence_parts", &format!("text-{number}"), &part(6, text.text.as_bytes()));
            }
        }
    }
}

/// One certificate as a host lays it out: a row of GUID, offset and length, a row of zeros, the certificate.
fn host_table(der: &[u8]) -> Vec<u8> {
    let length = u32::try_from(der.len()).expect("a certificate is small");
    [&[0x63; 16][..], &48u32.to_le_bytes(), &length.to_le_bytes(), &[0; 24], der].concat()
}

/// The length of the evidence itself in two bytes, the evidence, and its certificates for all that may stand beside it.
fn raw(evidence: &Evidence) -> Vec<u8> {
    let length = u16::try_from(evidence.raw.len()).expect("evidence has at most 64 KiB");
    let beside = evidence.aux.get(&Aux::Certificates).cloned().unwrap_or_default();
    [&[RAW][..], &length.to_be_bytes(), &evidence.raw, &beside].concat()
}
