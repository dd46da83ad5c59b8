//! The rarer reasons to refuse, each by name. `minted.rs` has the common ones.

use coco_attestation::collateral::CollateralItem;
use coco_attestation::platforms::tpm::TpmQuote;
use coco_attestation::policy::{HardwareRule, TdImage, VbsModuleRule};
use coco_attestation::{
    Aux, Evidence, Policy, Reason, ReportData, SnpTcb, TeeKind, Trust, VerifyError, appraise, examine, verify,
};
use coco_crypto::sha256;
use coco_testpki::azure::Azure;
use coco_testpki::cca::Arm;
use coco_testpki::intel::{Guest, Intel};
use coco_testpki::nitro::Nitro;
use coco_testpki::snp::{Amd, Product};
use coco_testpki::tpm;
use coco_testpki::vbs::Windows;
use serde_json::{Value, json};

const AT: u64 = 1_790_000_000;
const DATA: ReportData = ReportData([0x42; 64]);
const CODE: [u8; 48] = [0xc0; 48];

fn refused(evidence: &Evidence, trust: &Trust) -> VerifyError {
    verify(evidence, &DATA, trust, AT).expect_err("it is to be refused")
}

fn reasons(evidence: &Evidence, trust: &Trust, policy: &Policy) -> Vec<Reason> {
    appraise(&verify(evidence, &DATA, trust, AT).unwrap(), policy, &[], AT).reasons
}

/// These bytes for others, wherever they first occur.
fn replaced(evidence: &Evidence, from: &[u8], to: &[u8]) -> Evidence {
    let at = evidence.raw.windows(from.len()).position(|window| window == from).expect("they occur");
    let mut changed = evidence.clone();
    changed.raw[at..at + to.len()].copy_from_slice(to);
    changed
}

fn amd() -> (Amd, Trust) {
    let amd = Amd::new(Product::Milan, AT);
    let mut trust = Trust::default();
    amd.trust(&mut trust.anchors);
    trust.collateral.insert(amd.revocations(&[], AT - 10)).unwrap();
    (amd, trust)
}

fn intel() -> (Intel, Trust) {
    let intel = Intel::new(AT);
    let mut trust = Trust::default();
    intel.trust(&mut trust.anchors);
    for item in intel.collateral(&intel.publication(AT - 100)) {
        trust.collateral.insert(item).unwrap();
    }
    (intel, trust)
}

const TD: Guest = Guest::Td { mrtd: CODE, attributes: 1 << 28, version: 5 };
const ENCLAVE: Guest = Guest::Enclave { mrenclave: [0xc0; 32], mrsigner: [0x51; 32], flags: 5 };

/// Intel's texts for trust domains, changed and signed again.
fn published(intel: &Intel, trust: &Trust, change: impl Fn(&str, &mut Value)) -> Trust {
    let mut changed = trust.clone();
    for (key, item) in trust.collateral.items() {
        let (CollateralItem::TcbInfo(text) | CollateralItem::QeIdentity(text)) = item else { continue };
        let mut value: Value = serde_json::from_str(&text.text).unwrap();
        change(key.split(':').next().unwrap(), &mut value);
        let signed = intel.sign_text(&value);
        let item = match item {
            CollateralItem::TcbInfo(_) => CollateralItem::TcbInfo(signed),
            _ => CollateralItem::QeIdentity(signed),
        };
        changed.collateral.insert(item).unwrap();
    }
    changed
}

#[test]
fn texts_of_intel_that_do_not_fit_the_quote_say_in_what() {
    let (intel, trust) = intel();
    let evidence = intel.mint(&intel.platform(1), &TD, &DATA);
    let with = |which: &'static str, field: &'static str, value: Value| {
        let trust = published(&intel, &trust, |kind, text| {
            if kind == which {
                text[field] = value.clone();
            }
        });
        refused(&evidence, &trust)
    };
    let kind = with("tcb_info", "version", json!(2));
    assert!(matches!(kind, VerifyError::CollateralWrongKind { what: "TCB info", .. }), "{kind}");
    let kind = with("qe_identity", "version", json!(1));
    assert!(matches!(kind, VerifyError::CollateralWrongKind { what: "QE identity", .. }), "{kind}");
    let signer = with("qe_identity", "mrsigner", json!("00".repeat(32)));
    assert_eq!(signer, VerifyError::QeIdentityMismatch { field: "mrsigner" });
    let product = with("qe_identity", "isvprodid", json!(3));
    assert_eq!(product, VerifyError::QeIdentityMismatch { field: "isvprodid" });
    let attributes = with("qe_identity", "attributes", json!("01000000000000000000000000000000"));
    assert_eq!(attributes, VerifyError::QeIdentityMismatch { field: "attributes" });
    let level = json!([{ "tcb": { "isvsvn": 9 }, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate" }]);
    assert_eq!(with("qe_identity", "tcbLevels", level), VerifyError::QeTcbUnsupported { isvsvn: 8 });
    let module = json!({ "mrsigner": "11".repeat(48), "attributes": "00".repeat(8), "attributesMask": "FF".repeat(8) });
    assert_eq!(with("tcb_info", "tdxModule", module), VerifyError::TdxModuleMismatch { field: "mrsigner" });
    let module = json!({ "mrsigner": "00".repeat(48), "attributes": "01".repeat(8), "attributesMask": "FF".repeat(8) });
    assert_eq!(with("tcb_info", "tdxModule", module), VerifyError::TdxModuleMismatch { field: "seamattributes" });
    let levels = with("tcb_info", "tcbLevels", json!("none"));
    assert!(matches!(levels, VerifyError::DcapRefused { .. }), "{levels}");
    let revoked = published(&intel, &trust, |kind, text| {
        if kind == "tcb_info" {
            text["tcbLevels"][0]["tcbStatus"] = json!("Revoked");
        }
    });
    assert_eq!(refused(&evidence, &revoked), VerifyError::TcbRevoked);
    let newer = intel.mint_changed(&intel.platform(1), &TD, &DATA, |body| body[1] = 7);
    assert_eq!(refused(&newer, &trust), VerifyError::TdxModuleUnknown { version: 7 });
}

#[test]
fn advisories_modules_and_configurations_of_intel_are_the_policy_s() {
    let (intel, trust) = intel();
    let mut policy = Policy::default();
    policy.tdx.images.push(TdImage { mrtd: hex::encode(CODE), ..TdImage::default() });
    policy.sgx.enclaves.insert("c0".repeat(32));
    for tcb in [&mut policy.tdx.tcb, &mut policy.sgx.tcb] {
        tcb.statuses.insert("UpToDate".to_owned(), None);
        tcb.rejected_advisories.insert("INTEL-SA-00837".to_owned());
    }
    let advised = published(&intel, &trust, |kind, text| {
        if kind == "tcb_info" {
            text["tcbLevels"][0]["advisoryIDs"] = json!(["INTEL-SA-00837", "INTEL-SA-00001"]);
        }
    });
    let td = intel.mint(&intel.platform(1), &TD, &DATA);
    assert_eq!(reasons(&td, &advised, &policy), [Reason::AdvisoryRejected("INTEL-SA-00837".to_owned())]);
    let bound = intel.mint_changed(&intel.platform(1), &TD, &DATA, |body| body[600..648].fill(7));
    assert_eq!(reasons(&bound, &trust, &policy), [Reason::ServiceTdNotAccepted("07".repeat(48))]);
    policy.tdx.service_tds.insert("07".repeat(48));
    assert_eq!(reasons(&bound, &trust, &policy), []);
    policy.tdx.seam_modules.insert("ff".repeat(48));
    assert_eq!(reasons(&td, &trust, &policy), [Reason::SeamModuleNotAccepted("3a".repeat(48))]);
    let configured = intel.mint_changed(&intel.platform(1), &ENCLAVE, &DATA, |body| body[192] = 1);
    assert!(matches!(reasons(&configured, &trust, &policy)[..], [Reason::ConfigNotAccepted(_)]));
}

#[test]
fn endorsements_by_others_and_of_unknown_forms_are_refused() {
    let (mut amd, trust) = amd();
    let with = |amd: &Amd| {
        let endorsement = amd.uvm.endorse(&CODE, "Test-UVM", 10, AT - 1000);
        refused(&amd.mint(&amd.report(CODE, 1), &DATA).with(Aux::UvmEndorsement, endorsement), &trust)
    };
    amd.uvm.algorithm = -257;
    assert!(matches!(with(&amd), VerifyError::UvmFormatUnsupported { .. }));
    amd.uvm.algorithm = -38;
    let did = amd.uvm.did.clone();
    for wrong in [did.replace("1.3.6", "1.3.7"), did.replace("sha256:", "sha256:A"), "did:web:x".to_owned()] {
        amd.uvm.did = wrong;
        assert!(matches!(with(&amd), VerifyError::UvmDidMismatch { .. }), "{}", amd.uvm.did);
    }
}

#[test]
fn documents_of_nitro_that_are_malformed_or_of_another_time_are_refused() {
    let nitro = Nitro::new(AT);
    let mut trust = Trust::default();
    nitro.trust(&mut trust.anchors);
    let stamped = |timestamp_ms| refused(&nitro.mint_stamped(CODE, &DATA, AT, timestamp_ms), &trust);
    let late = (AT + 4 * 3600) * 1000;
    assert!(matches!(stamped(late), VerifyError::TimestampOutsideChain { .. }));
    assert!(matches!(stamped((AT - 60) * 1000), VerifyError::TimestampOutsideChain { .. }));
    let evidence = nitro.mint(CODE, &DATA, AT);
    let renamed = replaced(&evidence, b"module_id", b"module_ix");
    assert!(matches!(refused(&renamed, &trust), VerifyError::DocumentMalformed { .. }));
    let stranger = Nitro::new(AT).mint(CODE, &DATA, AT);
    assert!(matches!(refused(&stranger, &trust), VerifyError::AnchorMismatch { .. }));
    let mut policy = Policy::default();
    policy.nitro.images.push([(0, hex::encode(CODE))].into());
    policy.network.hardware = HardwareRule::Unique;
    assert_eq!(reasons(&evidence, &trust, &policy), [Reason::HardwareUnidentified]);
    policy.network.allow_unidentified_hardware = true;
    assert_eq!(reasons(&evidence, &trust, &policy), []);
}

#[test]
fn tokens_of_arm_that_are_malformed_or_bound_otherwise_are_refused() {
    let arm = Arm::new(3);
    let mut trust = Trust::default();
    arm.trust(&mut trust.anchors);
    let evidence = arm.mint([0xc0; 32], 0x3001, &DATA);
    let mut flipped = evidence.clone();
    *flipped.raw.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&flipped, &trust), VerifyError::RealmSignatureInvalid);
    let profile = replaced(&evidence, b"cca_platform#1.0.0", b"cca_platform#2.0.0");
    assert!(matches!(refused(&profile, &trust), VerifyError::ProfileMismatch { token: "platform", .. }));
    let profile = replaced(&evidence, b"realm#1.0.0", b"realm#2.0.0");
    assert!(matches!(refused(&profile, &trust), VerifyError::ProfileMismatch { token: "realm", .. }));
    // Label 44235 becomes a second 44238.
    let twice = replaced(&evidence, &[0x19, 0xac, 0xcb], &[0x19, 0xac, 0xce]);
    assert_eq!(refused(&twice, &trust), VerifyError::DuplicateClaim { claim: "44238".to_owned() });
    let off_curve = replaced(&evidence, &[0x58, 97, 4], &[0x58, 97, 5]);
    assert!(matches!(refused(&off_curve, &trust), VerifyError::KeyInvalid { .. }));
    let garbage = Evidence::bare(TeeKind::Cca, vec![0xd9, 0x01, 0x8f, 0xa2]);
    assert!(matches!(refused(&garbage, &trust), VerifyError::TokenMalformed { .. }));
}

#[test]
fn envelopes_and_quotes_of_azure_name_what_is_wrong_with_them() {
    let (amd, trust) = amd();
    let azure = Azure::default();
    let report = amd.report(CODE, 1);
    let evidence = azure.mint_snp(&amd, &report, &DATA);
    let change = |at: usize, byte: u8| {
        let mut changed = evidence.clone();
        changed.raw[at] = byte;
        refused(&changed, &trust)
    };
    assert!(matches!(change(0, b'X'), VerifyError::HclMalformed { .. }));
    assert_eq!(change(1216 + 12, 2), VerifyError::HclHashTypeUnsupported { found: 2 });
    let last = evidence.raw.len() - 1;
    assert!(matches!(change(last, 1), VerifyError::HclMalformed { .. }));
    let over = |edit: &dyn Fn(&mut Value)| {
        let mut runtime = azure.runtime(&DATA);
        edit(&mut runtime);
        azure.mint_snp_over(&amd, &report, &runtime, &DATA)
    };
    assert_eq!(refused(&over(&|json| json["keys"][0]["kid"] = json!("HCLEkPub")), &trust), VerifyError::AkMissing);
    let two = over(&|json| json["keys"] = json!([json["keys"][0], json["keys"][0]]));
    assert_eq!(refused(&two, &trust), VerifyError::AkMissing);
    let quote = TpmQuote::decode(&evidence.aux[&Aux::TpmQuote]).unwrap();
    let message = |at: usize, byte: u8| {
        let mut changed = quote.clone();
        changed.message[at] = byte;
        refused(&evidence.clone().with(Aux::TpmQuote, changed.encode()), &trust)
    };
    assert_eq!(message(0, 0), VerifyError::TpmMagicWrong { found: 0x0054_4347 });
    assert_eq!(message(5, 0x17), VerifyError::TpmTypeWrong { found: 0x8017 });
    let garbage = evidence.clone().with(Aux::TpmQuote, vec![0x83, 0x40]);
    assert!(matches!(refused(&garbage, &trust), VerifyError::TpmMalformed { .. }));
    let mut few = azure.boot().pcrs;
    few.remove(&7);
    let few = tpm::quote(&azure.ak, &few, &sha256(&DATA.0).0);
    let few = evidence.clone().with(Aux::TpmQuote, few.encode());
    assert_eq!(refused(&few, &trust), VerifyError::PcrSelectionIncomplete { missing: 7 });
    let log = evidence.aux[&Aux::EventLog].clone();
    let cut = evidence.clone().with(Aux::EventLog, log[..log.len() - 1].to_vec());
    assert!(matches!(refused(&cut, &trust), VerifyError::EventLogMalformed { .. }));
    let mut other = azure.boot();
    other.event(4, 8, b"another kernel");
    let other = evidence.clone().with(Aux::EventLog, other.bytes().to_vec());
    assert_eq!(refused(&other, &trust), VerifyError::EventLogPcrMismatch { pcr: 4 });
    let off = over(&|json| json["vm-configuration"] = json!({"secure-boot": false, "console-enabled": true}));
    let mut policy = azure_policy(&azure);
    policy.azure_snp.require_secure_boot = true;
    policy.azure_snp.forbid_console = true;
    assert_eq!(reasons(&off, &trust, &policy), [Reason::SecureBootOff, Reason::ConsoleOn]);
}

fn azure_policy(azure: &Azure) -> Policy {
    let mut policy = Policy::default();
    policy.azure_snp.snp.measurements.insert(hex::encode(CODE));
    policy.azure_snp.snp.minimum_tcb.insert("Milan".to_owned(), SnpTcb::default());
    policy.azure_snp.boots.push([(4, hex::encode(azure.boot().pcrs[&4]))].into());
    policy
}

#[test]
fn what_boots_behind_a_paravisor_can_be_listed_event_by_event() {
    let (amd, trust) = amd();
    let azure = Azure::default();
    let evidence = azure.mint_snp(&amd, &amd.report(CODE, 1), &DATA);
    let mut policy = azure_policy(&azure);
    policy.azure_snp.boots.clear();
    assert_eq!(reasons(&evidence, &trust, &policy), [Reason::BootNotAccepted], "empty lists accept nobody");
    let kernel = sha256(b"kernel").to_string();
    policy.azure_snp.events.insert(4, [kernel.clone(), "00".repeat(32)].into());
    assert_eq!(reasons(&evidence, &trust, &policy), []);
    policy.azure_snp.events.insert(4, ["00".repeat(32)].into());
    assert_eq!(reasons(&evidence, &trust, &policy), [Reason::BootEventNotAccepted { pcr: 4, digest: kernel }]);
    let mut without = evidence;
    without.aux.remove(&Aux::EventLog);
    assert_eq!(reasons(&without, &trust, &policy), [Reason::BootLogMissing { pcr: 4 }]);
}

#[test]
fn a_trust_domain_behind_a_paravisor_is_accepted_and_bound_to_its_quote() {
    let (intel, trust) = intel();
    let azure = Azure::default();
    let guest = Guest::Td { mrtd: CODE, attributes: 1 << 28, version: 4 };
    let evidence = azure.mint_tdx(&intel, &intel.platform(1), &guest, &DATA);
    let mut policy = Policy::default();
    let section = &mut policy.azure_tdx;
    section.tdx.images.push(TdImage { mrtd: hex::encode(CODE), ..TdImage::default() });
    section.tdx.tcb.statuses.insert("UpToDate".to_owned(), None);
    section.boots.push([(4, hex::encode(azure.boot().pcrs[&4]))].into());
    assert_eq!(reasons(&evidence, &trust, &policy), []);
    let other = Azure::default().mint_tdx(&intel, &intel.platform(1), &guest, &DATA);
    let swapped = evidence.with(Aux::TdQuote, other.aux[&Aux::TdQuote].clone());
    assert_eq!(refused(&swapped, &trust), VerifyError::QuoteReportMismatch);
}

#[test]
fn reports_of_windows_that_are_malformed_or_too_old_are_refused() {
    let windows = Windows::new(AT);
    let mut trust = Trust::default();
    windows.trust(&mut trust.anchors);
    let evidence = windows.mint(&windows.report([0xc0; 32]), &DATA);
    let cut = Evidence { raw: evidence.raw[..evidence.raw.len() - 1].to_vec(), ..evidence.clone() };
    assert!(matches!(refused(&cut, &trust), VerifyError::VbsMalformed { .. }));
    let mut flipped = evidence.clone();
    flipped.raw[24 + 104] ^= 1;
    assert_eq!(refused(&flipped, &trust), VerifyError::SignatureInvalid { what: "VBS report" });
    let late = verify(&evidence, &DATA, &trust, AT + 21 * 365 * 86_400);
    assert!(matches!(late, Err(VerifyError::AkUntrusted { .. })), "{late:?}");
    assert!(matches!(examine(&evidence, &Trust::default(), AT), Err(VerifyError::AkUntrusted { .. })));
    let mut policy = Policy::default();
    let rule = |id: [u8; 32]| VbsModuleRule { unique_id: Some(hex::encode(id)), ..VbsModuleRule::default() };
    policy.vbs.modules.push(rule([0xc0; 32]));
    policy.vbs.min_secure_kernel_svn = 6;
    let low = Reason::VersionTooLow { what: "secure kernel", found: 5, minimum: 6 };
    assert_eq!(reasons(&evidence, &trust, &policy), [low]);
    policy.vbs.modules = vec![rule([1; 32])];
    policy.vbs.min_secure_kernel_svn = 0;
    let refused = reasons(&evidence, &trust, &policy);
    assert!(matches!(refused[..], [Reason::MeasurementNotAccepted(_), Reason::ModuleNotAccepted(_)]), "{refused:?}");
}
