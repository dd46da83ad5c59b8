//! Every platform's minted evidence against the production verifiers: accepted as it is, and refused for each reason by name.

use std::collections::BTreeMap;

use coco_attestation::collateral::{Collateral, CollateralError, CollateralItem, judge};
use coco_attestation::policy::{CcaRealm, Endorser, HardwareRule, TdImage, VbsModuleRule};
use coco_attestation::{
    Aux, Claims, Decision, Evidence, Peer, Policy, Reason, ReportData, SnpTcb, TeeKind, Trust, VerifyError, appraise,
    examine, verify,
};
use coco_testpki::azure::Azure;
use coco_testpki::cca::Arm;
use coco_testpki::intel::{Guest, Intel, PCK_SERIAL};
use coco_testpki::nitro::Nitro;
use coco_testpki::snp::{Amd, Product};
use coco_testpki::vbs::Windows;
use coco_types::{Digest, NodeId};

const AT: u64 = 1_790_000_000;
const DATA: ReportData = ReportData([0x42; 64]);
const CODE: [u8; 48] = [0xc0; 48];

fn with_items(mut trust: Trust, items: Vec<CollateralItem>) -> Trust {
    for item in items {
        trust.collateral.insert(item).unwrap();
    }
    trust
}

fn refused(evidence: &Evidence, trust: &Trust) -> VerifyError {
    verify(evidence, &DATA, trust, AT).expect_err("it is to be refused")
}

fn decision(evidence: &Evidence, trust: &Trust, policy: &Policy) -> Decision {
    appraise(&verify(evidence, &DATA, trust, AT).unwrap(), policy, &[], AT)
}

fn amd(product: Product) -> (Amd, Trust) {
    let amd = Amd::new(product, AT);
    let mut trust = Trust::default();
    amd.trust(&mut trust.anchors);
    let list = amd.revocations(&[], AT - 10);
    (amd, with_items(trust, vec![list]))
}

fn snp_policy(product: Product) -> Policy {
    let mut policy = Policy::default();
    policy.sev_snp.measurements.insert(hex::encode(CODE));
    policy.sev_snp.minimum_tcb.insert(product.name().to_owned(), SnpTcb { snp: 20, ..SnpTcb::default() });
    policy
}

#[test]
fn every_amd_product_is_accepted_with_a_revocation_list_that_holds() {
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        let (amd, trust) = amd(product);
        let evidence = amd.mint(&amd.report(CODE, 1), &DATA);
        let decision = decision(&evidence, &trust, &snp_policy(product));
        assert!(decision.accepted(), "{product:?}: {decision}");
        assert_eq!(trust.anchors.foreign_roots().len(), 1);
    }
}

#[test]
fn amd_reports_are_refused_for_each_reason_by_name() {
    let (amd, trust) = amd(Product::Turin);
    let base = amd.report(CODE, 1);
    let mint = |change: &dyn Fn(&mut coco_testpki::snp::Report)| {
        let mut report = base.clone();
        change(&mut report);
        refused(&amd.mint(&report, &DATA), &trust)
    };
    assert_eq!(mint(&|report| report.version = 4), VerifyError::VersionUnsupported { found: 4 });
    assert_eq!(
        mint(&|report| report.cpuid = [0x19, 0x60, 0]),
        VerifyError::ProductUnknown { family: 0x19, model: 0x60 }
    );
    assert!(matches!(mint(&|report| report.cpuid = [0x19, 1, 0]), VerifyError::ProductMismatch { .. }));
    assert_eq!(mint(&|report| report.key_flags = 2), VerifyError::ChipKeyMasked);
    assert_eq!(mint(&|report| report.key_flags = 7 << 2), VerifyError::SigningKeyMismatch);
    assert_eq!(mint(&|report| report.vmpl = 4), VerifyError::HostMadeReport { vmpl: 4 });
    assert_eq!(mint(&|report| report.certified_chip[0] ^= 1), VerifyError::HardwareIdMismatch);
    // Turin's id has eight bytes; a ninth is no part of it.
    assert_eq!(mint(&|report| report.chip[8] = 1), VerifyError::HardwareIdMismatch);
    let tcb = VerifyError::TcbMismatch { component: "microcode", report: 219, certificate: 220 };
    assert_eq!(mint(&|report| report.certified_tcb.microcode = 220), tcb);
    assert!(matches!(mint(&|report| report.not_after = Some(AT - 1)), VerifyError::CertificateExpired { .. }));
    let other = verify(&amd.mint(&base, &DATA), &ReportData([1; 64]), &trust, AT);
    assert_eq!(other, Err(VerifyError::ReportDataMismatch));
    let bad_length = Evidence { raw: vec![0; 7], ..amd.mint(&base, &DATA) };
    assert_eq!(refused(&bad_length, &trust), VerifyError::BadLength { found: 7, expected: 1184 });
    let mut algorithm = amd.mint(&base, &DATA);
    algorithm.raw[0x34] = 2;
    assert_eq!(refused(&algorithm, &trust), VerifyError::AlgorithmUnsupported { found: 2 });
    let mut reserved = amd.mint(&base, &DATA);
    reserved.raw[0x49f] = 1;
    assert_eq!(refused(&reserved, &trust), VerifyError::ReservedNotZero { at: 0x49f });
    let mut flipped = amd.mint(&base, &DATA);
    flipped.raw[0x90] ^= 1;
    assert_eq!(refused(&flipped, &trust), VerifyError::SignatureInvalid { what: "report" });
}

#[test]
fn revocation_lists_of_amd_are_required_fresh_genuine_and_obeyed() {
    let (amd, trust) = amd(Product::Milan);
    let evidence = amd.mint(&amd.report(CODE, 1), &DATA);
    let with = |item: CollateralItem| refused(&evidence, &with_items(trust.clone(), vec![item]));
    assert!(matches!(with(amd.revocations(&[11], AT - 5)), VerifyError::Revoked { .. }));
    assert!(matches!(with(amd.revocations(&[], AT + 5)), VerifyError::CrlNotYetValid { .. }));
    assert!(matches!(with(amd.revocations(&[], AT - 40 * 86_400)), VerifyError::CrlExpired { .. }));
    let without = Trust { collateral: Collateral::default(), ..trust.clone() };
    assert!(matches!(refused(&evidence, &without), VerifyError::CrlMissing { .. }));
    let CollateralItem::Crl { mut list, root, chain } = amd.revocations(&[], AT - 5) else { panic!() };
    *list.last_mut().unwrap() ^= 1;
    assert!(matches!(with(CollateralItem::Crl { list, root, chain }), VerifyError::CrlInvalid { .. }));
    let other_root = Amd::new(Product::Milan, AT);
    let stranger = other_root.mint(&other_root.report(CODE, 1), &DATA);
    assert!(matches!(refused(&stranger, &trust), VerifyError::AnchorMismatch { .. }));
    // The other vendor's chain below our root's name.
    let mixed = evidence.clone().with(Aux::Certificates, stranger.aux[&Aux::Certificates].clone());
    assert!(matches!(refused(&mixed, &trust), VerifyError::AnchorMismatch { .. }));
}

#[test]
fn guests_of_amd_are_judged_by_every_rule_of_their_section() {
    let (amd, trust) = amd(Product::Genoa);
    let base = amd.report(CODE, 1);
    let judged = |change: &dyn Fn(&mut coco_testpki::snp::Report), policy: &Policy| {
        let mut report = base.clone();
        change(&mut report);
        decision(&amd.mint(&report, &DATA), &trust, policy).reasons
    };
    let policy = snp_policy(Product::Genoa);
    assert_eq!(judged(&|report| report.policy |= 1 << 19, &policy), [Reason::Debug]);
    assert_eq!(judged(&|report| report.policy |= 1 << 18, &policy), [Reason::MigrationAgent]);
    assert_eq!(judged(&|report| report.vmpl = 1, &policy), [Reason::VmplNotAccepted(1)]);
    let other = judged(&|report| report.measurement = [1; 48], &policy);
    assert_eq!(other, [Reason::MeasurementNotAccepted("01".repeat(48))]);
    let low = |report: &mut coco_testpki::snp::Report| {
        report.tcb.snp = 19;
        report.certified_tcb.snp = 19;
    };
    assert_eq!(judged(&low, &policy).len(), 3, "reported, committed and launch");
    let csp = |report: &mut coco_testpki::snp::Report| report.csp = Some("CN=test".to_owned());
    assert_eq!(judged(&csp, &policy), [Reason::CspNotAccepted("CN=test".to_owned())]);
    let mut nobody = policy.clone();
    nobody.sev_snp.minimum_tcb.clear();
    assert_eq!(judged(&|_| {}, &nobody), [Reason::ProductNotAccepted("Genoa".to_owned())]);
    let mut strict = policy.clone();
    strict.sev_snp.require_ciphertext_hiding = true;
    strict.sev_snp.id_keys.insert("aa".to_owned());
    strict.sev_snp.min_guest_svn = 1;
    let reasons = judged(&|_| {}, &strict);
    assert!(matches!(
        reasons[..],
        [Reason::IdentityNotAccepted { .. }, Reason::GuestSvnTooLow { .. }, Reason::PlatformSetting(_)]
    ));
}

#[test]
fn endorsed_utility_vms_are_accepted_with_their_container_and_refused_when_swapped() {
    let (amd, trust) = amd(Product::Milan);
    let mut report = amd.report(CODE, 1);
    report.host_data = [5; 32];
    let evidence = |measurement: &[u8; 48], svn: u64| {
        let endorsement = amd.uvm.endorse(measurement, "Test-UVM", svn, AT - 1000);
        amd.mint(&report, &DATA).with(Aux::UvmEndorsement, endorsement)
    };
    let mut policy = snp_policy(Product::Milan);
    policy.sev_snp.measurements.clear();
    let did = amd.uvm.did.clone();
    policy.sev_snp.endorsers = vec![Endorser { did, feed: "Test-UVM".to_owned(), min_svn: 10, signed_after: 0 }];
    policy.sev_snp.host_data.insert("05".repeat(32));
    assert!(decision(&evidence(&CODE, 10), &trust, &policy).accepted());
    assert_eq!(
        decision(&evidence(&CODE, 9), &trust, &policy).reasons,
        [Reason::UvmSvnTooLow { found: 9, minimum: 10 }]
    );
    assert_eq!(refused(&evidence(&[1; 48], 10), &trust), VerifyError::UvmMeasurementMismatch);
    let mut broken = evidence(&CODE, 10);
    *broken.aux.get_mut(&Aux::UvmEndorsement).unwrap().last_mut().unwrap() ^= 1;
    assert_eq!(refused(&broken, &trust), VerifyError::UvmSignatureInvalid);
    let garbage = evidence(&CODE, 10).with(Aux::UvmEndorsement, vec![0xd2, 0x84]);
    assert!(matches!(refused(&garbage, &trust), VerifyError::UvmMalformed { .. }));
    let late = amd.uvm.endorse(&CODE, "Test-UVM", 10, AT + 500 * 86_400);
    let late = amd.mint(&report, &DATA).with(Aux::UvmEndorsement, late);
    assert!(matches!(refused(&late, &trust), VerifyError::UvmChainBroken { .. }));
}

fn intel() -> (Intel, Trust) {
    let intel = Intel::new(AT);
    let mut trust = Trust::default();
    intel.trust(&mut trust.anchors);
    let items = intel.collateral(&intel.publication(AT - 100));
    (intel, with_items(trust, items))
}

fn td(version: u16) -> Guest {
    Guest::Td { mrtd: CODE, attributes: 1 << 28, version }
}

fn enclave() -> Guest {
    Guest::Enclave { mrenclave: [0xc0; 32], mrsigner: [0x51; 32], flags: 5 }
}

fn intel_policy() -> Policy {
    let mut policy = Policy::default();
    policy.tdx.images.push(TdImage { mrtd: hex::encode(CODE), ..TdImage::default() });
    policy.sgx.enclaves.insert("c0".repeat(32));
    for tcb in [&mut policy.tdx.tcb, &mut policy.sgx.tcb] {
        tcb.statuses.insert("UpToDate".to_owned(), None);
    }
    policy
}

#[test]
fn trust_domains_of_both_versions_and_enclaves_are_accepted() {
    let (intel, trust) = intel();
    for guest in [td(4), td(5), enclave()] {
        let evidence = intel.mint(&intel.platform(1), &guest, &DATA);
        let decision = decision(&evidence, &trust, &intel_policy());
        assert!(decision.accepted(), "{}: {decision}", evidence.kind);
    }
}

#[test]
fn quotes_are_refused_for_each_reason_by_name() {
    let (intel, trust) = intel();
    let evidence = intel.mint(&intel.platform(1), &td(4), &DATA);
    let change = |at: usize, bytes: &[u8]| {
        let mut changed = evidence.clone();
        changed.raw[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&changed, &trust)
    };
    assert_eq!(change(0, &[9, 0]), VerifyError::VersionUnsupported { found: 9 });
    assert_eq!(change(2, &[3, 0]), VerifyError::KeyTypeUnsupported { found: 3 });
    assert_eq!(change(4, &[0x82]), VerifyError::TeeTypeMismatch { found: 0x82 });
    assert_eq!(change(12, &[0]), VerifyError::VendorUnknown);
    assert_eq!(change(48 + 136, &[0]), VerifyError::SignatureInvalid { what: "quote" });
    // The signature begins at 636: signature, key, type and size, then the quoting enclave's report.
    let qe = 636 + 64 + 64 + 6;
    assert_eq!(change(636 + 128, &[1, 0]), VerifyError::CertificationDataUnsupported { found: 1 });
    assert_eq!(change(qe + 10, &[1]), VerifyError::QeSignatureInvalid);
    assert_eq!(change(qe + 384 + 64 + 2, &[0]), VerifyError::QeBindingMismatch);
    let padded = Evidence { raw: [&evidence.raw[..], &[0; 3]].concat(), ..evidence.clone() };
    assert_eq!(refused(&padded, &trust), VerifyError::TrailingBytes { count: 3 });
    let relabelled = Evidence { kind: TeeKind::Sgx, ..evidence.clone() };
    assert!(matches!(refused(&relabelled, &trust), VerifyError::TeeTypeMismatch { .. }));
    let stranger = Intel::new(AT);
    let stranger = stranger.mint(&stranger.platform(1), &td(4), &DATA);
    assert!(matches!(refused(&stranger, &trust), VerifyError::AnchorMismatch { .. }));
    let elsewhere = verify(&evidence, &ReportData([1; 64]), &trust, AT);
    assert_eq!(elsewhere, Err(VerifyError::ReportDataMismatch));
}

#[test]
fn collateral_of_intel_decides_and_its_faults_have_names() {
    let (intel, trust) = intel();
    let evidence = intel.mint(&intel.platform(1), &td(4), &DATA);
    let with = |items: Vec<CollateralItem>| verify(&evidence, &DATA, &with_items(trust.clone(), items), AT);
    let publication = intel.publication(AT - 50);
    let mut revoked = publication.clone();
    revoked.revoked_pcks = vec![PCK_SERIAL];
    assert!(matches!(with(intel.collateral(&revoked)), Err(VerifyError::Revoked { .. })));
    let mut recovery = publication.clone();
    recovery.up_to_date_from = 6;
    let verified = with(intel.collateral(&recovery)).unwrap();
    let reasons = appraise(&verified, &intel_policy(), &[], AT).reasons;
    assert_eq!(reasons, [Reason::StatusNotAccepted("OutOfDate".to_owned())]);
    let mut lenient = intel_policy();
    lenient.tdx.tcb.statuses.insert("OutOfDate".to_owned(), Some(100));
    assert!(appraise(&verified, &lenient, &[], AT).accepted());
    assert!(matches!(appraise(&verified, &lenient, &[], AT + 100).reasons[..], [Reason::GraceOver { .. }]));
    let mut other = publication.clone();
    other.fmspc = [1; 6];
    let CollateralItem::TcbInfo(elsewhere) = &intel.collateral(&other)[4] else { panic!() };
    let mut misplaced = trust.clone();
    let mut items: BTreeMap<_, _> = misplaced.collateral.items().clone();
    items.insert("tcb_info:tdx:50806f000000".to_owned(), CollateralItem::TcbInfo(elsewhere.clone()));
    misplaced.collateral = Collateral::from_items(items);
    assert!(matches!(refused(&evidence, &misplaced), VerifyError::FmspcMismatch { field: "FMSPC", .. }));
    let future = intel.collateral(&intel.publication(AT + 500)).split_off(4);
    assert!(matches!(with(future), Err(VerifyError::CollateralNotYetValid { .. })));
    let past = intel.collateral(&intel.publication(AT - 31 * 86_400)).split_off(4);
    assert!(matches!(with(past), Err(VerifyError::CollateralExpired { .. })));
    let CollateralItem::TcbInfo(mut forged) = intel.collateral(&publication)[4].clone() else { panic!() };
    forged.text = forged.text.replace("OutOfDate", "UpToDate");
    let forged = with(vec![CollateralItem::TcbInfo(forged)]);
    assert_eq!(forged, Err(VerifyError::CollateralSignatureInvalid { what: "TCB info" }));
    let mut below = intel.platform(1);
    below.svn = 0;
    let below = intel.mint(&below, &td(4), &DATA);
    assert_eq!(refused(&below, &trust), VerifyError::TcbLevelNotFound);
}

#[test]
fn older_collateral_never_takes_the_place_of_newer() {
    let (intel, trust) = intel();
    let anchors = &trust.anchors;
    let submit = |change: &dyn Fn(&mut coco_testpki::intel::Publication)| {
        let mut publication = intel.publication(AT - 50);
        change(&mut publication);
        let items = intel.collateral(&publication);
        [1, 4].map(|i| judge(&items[i], &trust.collateral, anchors, AT).map(drop))
    };
    assert_eq!(submit(&|_| {}), [Ok(()), Ok(())]);
    let [list, text] = submit(&|publication| publication.at = AT - 200);
    assert!(matches!(list, Err(CollateralError::Older { .. })));
    assert!(matches!(text, Err(CollateralError::Older { .. })));
    let [_, lower] = submit(&|publication| publication.evaluation = 16);
    assert_eq!(lower, Err(CollateralError::LowerEvaluation { submitted: 16, stored: 17 }));
    let stranger = Intel::new(AT);
    let forged = &stranger.collateral(&stranger.publication(AT))[4];
    assert!(matches!(
        judge(forged, &trust.collateral, anchors, AT),
        Err(CollateralError::NotGenuine(VerifyError::AnchorMismatch { .. }))
    ));
}

#[test]
fn an_item_that_says_the_same_is_no_news_however_its_chain_is_written() {
    let (intel, trust) = intel();
    let publication = intel.publication(AT - 50);
    let mut stored = Collateral::default();
    for item in intel.collateral(&publication) {
        assert!(judge(&item, &stored, &trust.anchors, AT).unwrap().is_news);
        stored.insert(item).unwrap();
    }
    let padded = |padding: usize| {
        intel.collateral(&publication).into_iter().map(move |mut item| {
            match &mut item {
                CollateralItem::Crl { chain, .. } => chain.insert_str(0, &" ".repeat(padding)),
                CollateralItem::TcbInfo(text) | CollateralItem::QeIdentity(text) => {
                    text.chain.insert_str(0, &" ".repeat(padding));
                }
            }
            item
        })
    };
    for item in padded(1000) {
        assert!(!judge(&item, &stored, &trust.anchors, AT).unwrap().is_news);
    }
    for item in padded(1 << 20) {
        let judged = judge(&item, &Collateral::default(), &trust.anchors, AT);
        assert!(matches!(judged, Err(CollateralError::TooLarge { .. })), "{judged:?}");
    }
    let newer = intel.collateral(&intel.publication(AT - 40));
    assert!(newer.iter().all(|item| judge(item, &stored, &trust.anchors, AT).unwrap().is_news));
}

#[test]
fn trust_domains_and_enclaves_are_judged_by_every_rule_of_their_section() {
    let (intel, trust) = intel();
    let judged = |guest: Guest, policy: &Policy| {
        decision(&intel.mint(&intel.platform(1), &guest, &DATA), &trust, policy).reasons
    };
    let policy = intel_policy();
    let td = |attributes| Guest::Td { mrtd: CODE, attributes, version: 4 };
    assert!(judged(td(1 << 28 | 1), &policy).contains(&Reason::Debug));
    let mut bare = policy.clone();
    bare.tdx.allowed_attributes = Some(0);
    assert!(matches!(judged(td(1 << 28), &bare)[..], [Reason::AttributesNotAccepted { .. }]));
    for (attributes, why) in [
        (1 << 28 | 1 << 29, "it can be migrated"),
        (1 << 28 | 1 << 40, "a reserved one is set"),
        (0, "its host can inject page faults"),
    ] {
        let evidence = intel.mint(&intel.platform(1), &td(attributes), &DATA);
        assert_eq!(refused(&evidence, &trust), VerifyError::TdAttributesUnsafe { why });
    }
    let other = Guest::Td { mrtd: [1; 48], attributes: 1 << 28, version: 4 };
    assert!(matches!(judged(other, &policy)[..], [Reason::MeasurementNotAccepted(_)]));
    let debug = Guest::Enclave { mrenclave: [0xc0; 32], mrsigner: [0x51; 32], flags: 7 };
    assert_eq!(judged(debug, &policy), [Reason::Debug]);
    let mut strict = policy.clone();
    strict.sgx.tcb.min_evaluation_number = 18;
    strict.sgx.tcb.forbid_smt = true;
    let reasons = judged(enclave(), &strict);
    assert!(matches!(reasons[..], [Reason::EvaluationNumberTooLow { .. }, Reason::PlatformSetting(_)]));
}

#[test]
fn nitro_documents_are_accepted_for_their_image_and_refused_in_debug_mode() {
    let nitro = Nitro::new(AT);
    let mut trust = Trust::default();
    nitro.trust(&mut trust.anchors);
    let mut policy = Policy::default();
    policy.nitro.images.push([(0, hex::encode(CODE))].into());
    assert!(decision(&nitro.mint(CODE, &DATA, AT), &trust, &policy).accepted());
    let debug = decision(&nitro.mint([0; 48], &DATA, AT), &trust, &policy).reasons;
    assert_eq!(debug, [Reason::Debug, Reason::MeasurementNotAccepted("00".repeat(48))]);
    let late = verify(&nitro.mint(CODE, &DATA, AT), &DATA, &trust, AT + 3 * 3600 + 1);
    assert!(matches!(late, Err(VerifyError::CertificateExpired { .. })));
    let mut flipped = nitro.mint(CODE, &DATA, AT);
    *flipped.raw.last_mut().unwrap() ^= 1;
    assert_eq!(refused(&flipped, &trust), VerifyError::SignatureInvalid { what: "document" });
}

#[test]
fn arm_tokens_are_accepted_for_their_realm_on_a_secured_platform() {
    let arm = Arm::new(3);
    let mut trust = Trust::default();
    arm.trust(&mut trust.anchors);
    let mut policy = Policy::default();
    policy.cca.realms.push(CcaRealm { rim: "c0".repeat(32), rems: None, personalisation: None });
    policy.cca.components.insert(arm.component());
    assert!(decision(&arm.mint([0xc0; 32], 0x3001, &DATA), &trust, &policy).accepted());
    let reasons = decision(&arm.mint([0xc0; 32], 0x6001, &DATA), &trust, &policy).reasons;
    assert_eq!(reasons, [Reason::LifecycleNotSecured(0x6001)]);
    policy.cca.components.clear();
    let reasons = decision(&arm.mint([1; 32], 0x3001, &DATA), &trust, &policy).reasons;
    assert!(matches!(reasons[..], [Reason::MeasurementNotAccepted(_), Reason::ComponentUnknown(_)]));
    let unknown = refused(&Arm::new(4).mint([0xc0; 32], 0x3001, &DATA), &trust);
    assert!(matches!(unknown, VerifyError::AnchorUnknown { .. }));
    let other_key = refused(&Arm::new(3).mint([0xc0; 32], 0x3001, &DATA), &trust);
    assert_eq!(other_key, VerifyError::SignatureInvalid { what: "platform token" });
}

#[test]
fn windows_enclaves_are_accepted_through_the_boot_log_and_refused_for_each_reason() {
    let windows = Windows::new(AT);
    let mut trust = Trust::default();
    windows.trust(&mut trust.anchors);
    let base = windows.report([0xc0; 32]);
    let mut policy = Policy::default();
    policy.vbs.modules.push(VbsModuleRule { unique_id: Some("c0".repeat(32)), ..VbsModuleRule::default() });
    policy.vbs.boot.insert("00050012".to_owned(), 1);
    let decided = decision(&windows.mint(&base, &DATA), &trust, &policy);
    assert!(decided.accepted(), "{decided}");
    let mint = |change: &dyn Fn(&mut coco_testpki::vbs::Report)| {
        let mut report = base.clone();
        change(&mut report);
        windows.mint(&report, &DATA)
    };
    assert_eq!(refused(&mint(&|report| report.scheme = 2), &trust), VerifyError::SchemeUnsupported { found: 2 });
    assert_eq!(refused(&mint(&|report| report.keys = 0), &trust), VerifyError::IdksMissing);
    assert_eq!(refused(&mint(&|report| report.keys = 2), &trust), VerifyError::IdksAmbiguous);
    let debug = decision(&mint(&|report| report.flags = 1), &trust, &policy).reasons;
    assert_eq!(debug, [Reason::Debug]);
    let boot = decision(&mint(&|report| report.settings.clear()), &trust, &policy).reasons;
    assert!(matches!(boot[..], [Reason::BootSetting { .. }]));
    let other = mint(&|report| report.settings.push((0x0005_0003, 1)));
    let swapped = windows.mint(&base, &DATA).with(Aux::EventLog, other.aux[&Aux::EventLog].clone());
    assert_eq!(refused(&swapped, &trust), VerifyError::EventLogPcrMismatch { pcr: 12 });
    let stranger = Windows::new(AT).mint(&base, &DATA);
    assert!(matches!(refused(&stranger, &trust), VerifyError::AkUntrusted { .. }));
    let replayed = windows.mint(&base, &ReportData([1; 64])).aux[&Aux::TpmQuote].clone();
    let replayed = windows.mint(&base, &DATA).with(Aux::TpmQuote, replayed);
    assert_eq!(refused(&replayed, &trust), VerifyError::TpmNonceMismatch);
}

#[test]
fn what_a_windows_machine_s_administrator_measures_after_the_boot_counts_for_nothing() {
    let windows = Windows::new(AT);
    let mut trust = Trust::default();
    windows.trust(&mut trust.anchors);
    let base = windows.report([0xc0; 32]);
    let mut policy = Policy::default();
    policy.vbs.modules.push(VbsModuleRule { unique_id: Some("c0".repeat(32)), ..VbsModuleRule::default() });
    policy.vbs.boot.insert("00050012".to_owned(), 1);
    let mint = |change: &dyn Fn(&mut coco_testpki::vbs::Report)| {
        let mut report = base.clone();
        change(&mut report);
        windows.mint(&report, &DATA)
    };
    // A key of his own, with which he signs what he likes.
    assert_eq!(refused(&mint(&|report| report.late_keys = true), &trust), VerifyError::IdksMissing);
    // In place of a key that the loader did measure, nothing changes.
    let plain =
        |report: &mut coco_testpki::vbs::Report| report.late_settings = vec![(0x0005_0003, 1), (0x0005_0012, 0)];
    let decided = decision(&mint(&plain), &trust, &policy);
    assert!(decided.accepted(), "{decided}");
    // He says that the boot was what it was not.
    let late = |report: &mut coco_testpki::vbs::Report| {
        report.settings.clear();
        report.late_settings = vec![(0x0005_0012, 1)];
    };
    let reasons = decision(&mint(&late), &trust, &policy).reasons;
    assert!(matches!(reasons[..], [Reason::BootSetting { .. }]), "{reasons:?}");
    // Outside of what the loader says of the boot.
    let elsewhere = mint(&|report| report.key_within = 0x4001_0003);
    assert_eq!(refused(&elsewhere, &trust), VerifyError::IdksMissing);
    let twice = mint(&|report| report.settings = vec![(0x0005_0012, 0), (0x0005_0012, 1)]);
    assert_eq!(refused(&twice, &trust), VerifyError::EventLogMalformed { why: "a boot setting has two values" });
}

#[test]
fn azure_guests_are_accepted_for_their_boot_and_their_challenge() {
    let (amd, trust) = amd(Product::Milan);
    let azure = Azure::default();
    let report = amd.report(CODE, 1);
    let mut policy = Policy::default();
    policy.azure_snp.snp = snp_policy(Product::Milan).sev_snp;
    let pcr4 = hex::encode(azure.boot().pcrs[&4]);
    policy.azure_snp.boots.push([(4, pcr4)].into());
    policy.azure_snp.require_secure_boot = true;
    policy.azure_snp.forbid_console = true;
    let evidence = azure.mint_snp(&amd, &report, &DATA);
    let decided = decision(&evidence, &trust, &policy);
    assert!(decided.accepted(), "{decided}");
    policy.azure_snp.boots[0].insert(4, "00".repeat(32));
    assert_eq!(decision(&evidence, &trust, &policy).reasons, [Reason::BootNotAccepted]);
    assert_eq!(verify(&evidence, &ReportData([1; 64]), &trust, AT), Err(VerifyError::TpmNonceMismatch));
    let other = Azure::default().mint_snp(&amd, &report, &DATA);
    let swapped = evidence.with(Aux::TpmQuote, other.aux[&Aux::TpmQuote].clone());
    assert_eq!(refused(&swapped, &trust), VerifyError::TpmSignatureInvalid);
}

#[test]
fn rules_about_nodes_together_count_the_applicant() {
    let (amd, trust) = amd(Product::Milan);
    let verified = verify(&amd.mint(&amd.report(CODE, 1), &DATA), &DATA, &trust, AT).unwrap();
    let claims: &Claims = verified.claims();
    let peer = |kind, hardware_id: Option<String>| Peer { node: NodeId(Digest([9; 32])), kind, hardware_id };
    let mut policy = snp_policy(Product::Milan);
    policy.network.max_per_kind = Some(1);
    policy.network.max_per_vendor = Some(1);
    policy.network.hardware = HardwareRule::Unique;
    let judged = |peers: &[Peer], policy: &Policy| appraise(&verified, policy, peers, AT).reasons;
    assert_eq!(judged(&[peer(TeeKind::Tdx, None)], &policy), []);
    let same = judged(&[peer(TeeKind::SevSnp, claims.hardware_id.clone())], &policy);
    assert!(matches!(
        same[..],
        [Reason::TooManyOfKind { count: 2, .. }, Reason::TooManyOfVendor { .. }, Reason::HardwareIdInUse { .. }]
    ));
    policy.network.hardware = HardwareRule::Pinned;
    assert!(matches!(judged(&[], &policy)[..], [Reason::HardwareIdNotAllowed(_)]));
    policy.network.allowed_hardware.extend(claims.hardware_id.clone());
    assert_eq!(judged(&[], &policy), []);
    policy.network.denied_hardware.extend(claims.hardware_id.clone());
    assert!(matches!(judged(&[], &policy)[..], [Reason::HardwareDenied(_)]));
}

#[test]
fn no_cut_of_minted_evidence_is_accepted_and_none_panics() {
    let (amd, amd_trust) = amd(Product::Milan);
    let (intel, intel_trust) = intel();
    let windows = Windows::new(AT);
    let arm = Arm::new(3);
    let samples = [
        (amd.mint(&amd.report(CODE, 1), &DATA), &amd_trust),
        (intel.mint(&intel.platform(1), &td(5), &DATA), &intel_trust),
        (windows.mint(&windows.report([0xc0; 32]), &DATA), &intel_trust),
        (arm.mint([0xc0; 32], 0x3001, &DATA), &intel_trust),
        (Nitro::new(AT).mint(CODE, &DATA, AT), &intel_trust),
    ];
    for (evidence, trust) in samples {
        for len in (0..evidence.raw.len()).step_by(31) {
            let mut cut = evidence.clone();
            cut.raw.truncate(len);
            assert!(examine(&cut, trust, AT).is_err(), "{} cut to {len}", evidence.kind);
        }
        for part in evidence.aux.keys() {
            for len in (0..evidence.aux[part].len()).step_by(101) {
                let mut cut = evidence.clone();
                cut.aux.get_mut(part).unwrap().truncate(len);
                assert!(examine(&cut, trust, AT).is_err(), "{} {} cut to {len}", evidence.kind, part.label());
            }
        }
    }
}
