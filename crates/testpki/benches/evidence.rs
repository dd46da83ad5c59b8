//! Verification of every kind of evidence: `cargo bench -p coco-testpki`. The budget is 100 verifications a second on one core.
//!
//! With `flips` as argument it flips every bit of everything that is signed instead, one at a time; the tests flip some of them only, since all
//! take minutes. What nobody signs is listed here, so that more of it would be noticed.

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use coco_attestation::collateral::{CollateralItem, SignedText};
use coco_attestation::platforms::dcap::quote::Quote;
use coco_attestation::{Anchors, Aux, Evidence, ReportData, TeeKind, Trust, VerifyError, verify};
use coco_testpki::azure::Azure;
use coco_testpki::cca::Arm;
use coco_testpki::intel::{Guest, Intel};
use coco_testpki::nitro::Nitro;
use coco_testpki::snp::{Amd, Product};
use coco_testpki::vbs::Windows;

const AT: u64 = 1_790_000_000;
const DATA: ReportData = ReportData([0x42; 64]);
const CODE: [u8; 48] = [0xc0; 48];
const BUDGET_PER_S: f64 = 100.0;
const MEASURED: Duration = Duration::from_secs(2);
/// Of the paravisor's envelope: the report's size, reserved bytes, size and version of the runtime data. Nothing is decided by them.
const ENVELOPE_UNSIGNED: [Range<usize>; 3] = [8..12, 20..32, 1216..1224];

fn main() {
    let trust = trust();
    let samples = samples(&trust.vendors);
    if std::env::args().any(|argument| argument == "flips") {
        samples.iter().for_each(|evidence| flip_all(evidence, &trust.all));
        flip_collateral(&samples, &trust.all);
    } else {
        println!("{:<12} {:>10} {:>12}", "evidence", "us", "per second");
        let rates: Vec<f64> = samples.iter().map(|evidence| measure(evidence, &trust.all)).collect();
        let slowest = rates.into_iter().fold(f64::INFINITY, f64::min);
        assert!(
            slowest >= BUDGET_PER_S,
            "the slowest is verified {slowest:.0} times a second, {BUDGET_PER_S} are the budget"
        );
    }
}

struct Vendors {
    amd: Amd,
    intel: Intel,
    nitro: Nitro,
    arm: Arm,
    windows: Windows,
    azure: Azure,
}

struct Trusted {
    vendors: Vendors,
    all: Trust,
}

fn trust() -> Trusted {
    let vendors = Vendors {
        amd: Amd::new(Product::Milan, AT),
        intel: Intel::new(AT),
        nitro: Nitro::new(AT),
        arm: Arm::new(3),
        windows: Windows::new(AT),
        azure: Azure::default(),
    };
    let mut anchors = Anchors::default();
    vendors.amd.trust(&mut anchors);
    vendors.intel.trust(&mut anchors);
    vendors.nitro.trust(&mut anchors);
    vendors.arm.trust(&mut anchors);
    vendors.windows.trust(&mut anchors);
    let mut all = Trust { anchors, ..Trust::default() };
    let mut items = vendors.intel.collateral(&vendors.intel.publication(AT - 100));
    items.push(vendors.amd.revocations(&[], AT - 10));
    items.into_iter().for_each(|item| all.collateral.insert(item).expect("minted collateral is well-formed"));
    Trusted { vendors, all }
}

fn samples(vendors: &Vendors) -> Vec<Evidence> {
    let Vendors { amd, intel, nitro, arm, windows, azure } = vendors;
    let report = amd.report(CODE, 1);
    let td = |version| Guest::Td { mrtd: CODE, attributes: 1 << 28, version };
    let enclave = Guest::Enclave { mrenclave: [0xc0; 32], mrsigner: [0x51; 32], flags: 5 };
    let endorsed =
        amd.mint(&report, &DATA).with(Aux::UvmEndorsement, amd.uvm.endorse(&CODE, "Test-UVM", 10, AT - 1000));
    vec![
        endorsed,
        intel.mint(&intel.platform(1), &td(5), &DATA),
        intel.mint(&intel.platform(1), &enclave, &DATA),
        azure.mint_snp(amd, &report, &DATA),
        azure.mint_tdx(intel, &intel.platform(1), &td(4), &DATA),
        nitro.mint(CODE, &DATA, AT),
        arm.mint([0xc0; 32], 0x3001, &DATA),
        windows.mint(&windows.report([0xc0; 32]), &DATA),
    ]
}

fn measure(evidence: &Evidence, trust: &Trust) -> f64 {
    let (start, mut count) = (Instant::now(), 0u32);
    while start.elapsed() < MEASURED {
        black_box(verify(evidence, &DATA, trust, AT)).expect("minted evidence is genuine");
        count += 1;
    }
    let each = start.elapsed().as_secs_f64() / f64::from(count);
    println!("{:<12} {:>10.0} {:>12.0}", evidence.kind.as_str(), each * 1e6, 1.0 / each);
    1.0 / each
}

/// Every bit outside `unsigned`, one at a time: each change must be refused.
fn flip(what: &str, bytes: &[u8], unsigned: &[Range<usize>], judge: impl Fn(Vec<u8>) -> Result<(), VerifyError>) {
    let signed = (0..bytes.len()).filter(|at| !unsigned.iter().any(|range| range.contains(at)));
    let mut count = 0;
    for at in signed {
        for bit in 0..8 {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << bit;
            assert!(judge(changed).is_err(), "{what}: bit {bit} of byte {at} may be flipped");
            count += 1;
        }
    }
    println!("{what}: {count} flips refused");
}

/// Where a COSE message's unprotected headers lie: nobody signs them, and no decision looks at them.
fn unprotected(message: &[u8]) -> Range<usize> {
    let decoded = coco_crypto::cose::Sign1::decode(message).expect("it is a COSE message");
    let before = decoded.protected.as_ptr() as usize - message.as_ptr() as usize + decoded.protected.len();
    before..before + decoded.unprotected.len()
}

fn flip_all(evidence: &Evidence, trust: &Trust) {
    let kind = evidence.kind;
    let judged = |evidence: Evidence| verify(&evidence, &DATA, trust, AT).map(drop);
    // The PEM's line breaks are nobody's; what it encodes is flipped below.
    let pem = |quote: &[u8]| quote.len() - Quote::parse(quote).expect("it is a quote").certificates.len()..quote.len();
    let unsigned = match kind {
        TeeKind::Tdx | TeeKind::Sgx => vec![pem(&evidence.raw)],
        // Of a trust domain the envelope holds a report that counts by its report data alone; the quote beside it is what is signed.
        TeeKind::AzureTdx => [&ENVELOPE_UNSIGNED[..], &[32..32 + 128, 32 + 192..1216]].concat(),
        TeeKind::AzureSnp => ENVELOPE_UNSIGNED.to_vec(),
        _ => Vec::new(),
    };
    flip(kind.as_str(), &evidence.raw, &unsigned, |raw| judged(Evidence { raw, ..evidence.clone() }));
    for part in [Aux::TpmQuote, Aux::TdQuote, Aux::UvmEndorsement] {
        let Some(bytes) = evidence.aux.get(&part) else { continue };
        let unsigned = match part {
            Aux::TdQuote => vec![pem(bytes)],
            Aux::UvmEndorsement => vec![unprotected(bytes)],
            _ => Vec::new(),
        };
        let name = format!("{kind} {}", part.label());
        flip(&name, bytes, &unsigned, |bytes| judged(evidence.clone().with(part, bytes)));
    }
    let Some(pem) = evidence.aux.get(&Aux::Certificates) else { return };
    let ders = coco_crypto::decode_pem_all("CERTIFICATE", &String::from_utf8_lossy(pem)).expect("minted PEM");
    for (i, der) in ders.iter().enumerate() {
        flip(&format!("{kind} certificate {i}"), der, &[], |changed| {
            let mut ders = ders.clone();
            ders[i] = changed;
            let pem: String = ders.iter().map(|der| coco_crypto::encode_pem("CERTIFICATE", der)).collect();
            judged(evidence.clone().with(Aux::Certificates, pem.into_bytes()))
        });
    }
}

/// Lists and texts of vendors, judged by the evidence that needs them.
fn flip_collateral(samples: &[Evidence], trust: &Trust) {
    let judged = |key: &str, item: CollateralItem, kind: TeeKind| {
        let mut items = trust.collateral.items().clone();
        items.insert(key.to_owned(), item);
        let collateral = coco_attestation::collateral::Collateral::from_items(items);
        let evidence = samples.iter().find(|sample| sample.kind == kind).expect("there is one of each kind");
        verify(evidence, &DATA, &Trust { collateral, ..trust.clone() }, AT).map(drop)
    };
    for (key, item) in trust.collateral.items() {
        let kind = match item {
            CollateralItem::Crl { root, .. } if root.as_str() == "intel" => TeeKind::Tdx,
            CollateralItem::Crl { .. } => TeeKind::SevSnp,
            _ if key.contains("sgx") || key == "qe_identity:qe" => TeeKind::Sgx,
            _ => TeeKind::Tdx,
        };
        match item {
            CollateralItem::Crl { list, root, chain } => flip(key, list, &[], |list| {
                judged(key, CollateralItem::Crl { list, root: *root, chain: chain.clone() }, kind)
            }),
            CollateralItem::TcbInfo(text) | CollateralItem::QeIdentity(text) => {
                let again = |text: SignedText| match item {
                    CollateralItem::TcbInfo(_) => CollateralItem::TcbInfo(text),
                    _ => CollateralItem::QeIdentity(text),
                };
                flip(key, text.text.as_bytes(), &[], |bytes| {
                    // Text that is none is refused before anything looks at it.
                    let Ok(changed) = String::from_utf8(bytes) else { return Err(VerifyError::AkMissing) };
                    judged(key, again(SignedText { text: changed, ..text.clone() }), kind)
                });
                flip(&format!("{key} signature"), &text.signature, &[], |signature| {
                    judged(key, again(SignedText { signature, ..text.clone() }), kind)
                });
            }
        }
    }
}
