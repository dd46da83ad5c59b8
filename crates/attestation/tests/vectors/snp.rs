//! AMD SEV-SNP.

use base64::Engine;
use coco_attestation::chain::{self, Revocation};
use coco_attestation::platforms::snp::uvm;
use coco_attestation::policy::Endorser;
use coco_attestation::{
    Anchors, Aux, Claims, Details, Evidence, Policy, Reason, ReportData, Root, SnpClaims, SnpTcb, TeeKind, Trust,
    UvmClaims, VerifyError, appraise, examine, verify,
};
use coco_crypto::encode_pem;

use crate::{day, recorded, trust};

fn pem(bytes: Vec<u8>) -> Vec<u8> {
    if bytes.starts_with(b"-----") { bytes } else { encode_pem("CERTIFICATE", &bytes).into_bytes() }
}

/// A report with its leaf and AMD's two certificates above it.
fn evidence(report: &str, leaf: &str, authorities: &str) -> Option<Evidence> {
    let certificates = [pem(recorded(&format!("snp/{leaf}"))?), recorded(&format!("snp/{authorities}"))?].join(&b'\n');
    let raw = recorded(&format!("snp/{report}"))?;
    Some(Evidence::bare(TeeKind::SevSnp, raw).with(Aux::Certificates, certificates))
}

fn snp(claims: &Claims) -> &SnpClaims {
    let Details::SevSnp(snp) = &claims.details else { panic!("not SEV-SNP") };
    snp
}

fn milan() -> Option<Evidence> {
    evidence("milan_attestation_report.bin", "milan_vcek.pem", "ask_ark_milan.pem")
}

fn policy_for(claims: &Claims) -> Policy {
    let mut policy = Policy::default();
    policy.sev_snp.measurements.insert(claims.measurement());
    policy.sev_snp.minimum_tcb.insert(snp(claims).product.clone(), SnpTcb::default());
    policy
}

#[test]
fn milan_and_genoa_reports_verify_and_are_accepted_when_listed() {
    let at = day(2026, 3, 1);
    let Some(milan) = milan() else { return };
    let genoa = evidence("genoa_attestation_report.bin", "genoa_vcek.pem", "ask_ark_genoa.pem").unwrap();
    for (evidence, product) in [(milan, "Milan"), (genoa, "Genoa")] {
        let claims = examine(&evidence, &trust(), at).unwrap();
        assert_eq!((snp(&claims).product.as_str(), snp(&claims).version, claims.debug), (product, 3, false));
        assert_eq!(snp(&claims).policy, 0x3001f);
        assert!(claims.hardware_id.as_ref().unwrap().starts_with("amd-chip:"));
        let bound = ReportData(claims.report_data().unwrap());
        let verified = verify(&evidence, &bound, &trust(), at).unwrap();
        let decision = appraise(&verified, &policy_for(&claims), &[], at);
        assert!(decision.accepted(), "{decision}");
        let nobody = appraise(&verified, &Policy::default(), &[], at);
        assert!(nobody.reasons.contains(&Reason::PlatformNotAccepted(TeeKind::SevSnp)), "{nobody}");
        assert_eq!(verify(&evidence, &ReportData([9; 64]), &trust(), at), Err(VerifyError::ReportDataMismatch));
    }
}

#[test]
fn a_debuggable_guest_verifies_and_is_never_accepted() {
    let Some(evidence) = evidence("gosev-attestation.bin", "gosev-vcek.testcer", "gosev-milan.testcer") else { return };
    let at = day(2023, 1, 1);
    let claims = examine(&evidence, &trust(), at).unwrap();
    assert!(claims.debug);
    assert_eq!(claims.report_data().unwrap()[..5], [1, 2, 3, 4, 5]);
    let verified = verify(&evidence, &ReportData(claims.report_data().unwrap()), &trust(), at).unwrap();
    let mut policy = policy_for(&claims);
    policy.sev_snp.version_2_products.insert("Milan".to_owned());
    policy.sev_snp.vmpls = Some([0, 1, 2, 3].into());
    assert_eq!(appraise(&verified, &policy, &[], at).reasons, [Reason::Debug]);
}

#[test]
fn an_old_firmware_s_report_verifies_under_the_certificate_of_that_firmware() {
    let Some(evidence) = evidence("trustee-test-report.bin", "trustee-test-vcek.der", "ask_ark_milan.pem") else {
        return;
    };
    let at = day(2024, 1, 1);
    let claims = examine(&evidence, &trust(), at).unwrap();
    assert_eq!((snp(&claims).version, snp(&claims).reported_tcb.microcode), (2, 0x73));
    let verified = verify(&evidence, &ReportData(claims.report_data().unwrap()), &trust(), at).unwrap();
    let mut policy = policy_for(&claims);
    policy.sev_snp.minimum_tcb.insert("Milan".to_owned(), SnpTcb { microcode: 0x74, ..SnpTcb::default() });
    let reasons = appraise(&verified, &policy, &[], at).reasons;
    assert!(reasons.contains(&Reason::ReportVersionNotAccepted("Milan".to_owned())), "{reasons:?}");
    let low = |reason: &Reason| matches!(reason, Reason::TcbTooLow { which: "reported", component: "microcode", .. });
    assert!(reasons.iter().any(low), "{reasons:?}");
}

#[test]
fn a_clouds_loaded_key_names_the_cloud_and_no_chip() {
    let report = "trustee-test-vlek-report.bin";
    let Some(evidence) = evidence(report, "trustee-test-vlek.der", "ask_ark_milan_vlek.pem") else { return };
    let at = day(2025, 6, 1);
    let claims = examine(&evidence, &trust(), at).unwrap();
    assert_eq!(snp(&claims).csp_id.as_deref(), Some("CN=cc-us-east-2.amazonaws.com"));
    assert_eq!((snp(&claims).vmpl, claims.hardware_id.as_ref()), (1, None));
    let verified = verify(&evidence, &ReportData(claims.report_data().unwrap()), &trust(), at).unwrap();
    let mut policy = policy_for(&claims);
    let reasons = appraise(&verified, &policy, &[], at).reasons;
    let csp = Reason::CspNotAccepted("CN=cc-us-east-2.amazonaws.com".to_owned());
    assert_eq!(reasons, [Reason::VmplNotAccepted(1), csp]);
    policy.sev_snp.vmpls = Some([1].into());
    policy.sev_snp.vlek_csps.insert("CN=cc-us-east-2.amazonaws.com".to_owned());
    assert!(appraise(&verified, &policy, &[], at).accepted());
    let expired = examine(&evidence, &trust(), day(2026, 3, 1));
    assert!(matches!(expired, Err(VerifyError::CertificateExpired { .. })), "{expired:?}");
}

/// An Azure container: the utility VM is endorsed, host data name the container's policy.
fn container() -> Option<(Evidence, Policy)> {
    let uvm = recorded("snp/aci_body.uvm_reference_info.bin")?;
    let raw = recorded("snp/aci_snp_report.bin")?;
    let certificates = recorded("snp/aci_uvm_host_amd_certificate.pem")?;
    let evidence =
        Evidence::bare(TeeKind::SevSnp, raw).with(Aux::Certificates, certificates).with(Aux::UvmEndorsement, uvm);
    let claims = examine(&evidence, &trust(), day(2023, 6, 1)).unwrap();
    let uvm = snp(&claims).uvm.clone().unwrap();
    let mut policy = Policy::default();
    policy.sev_snp.endorsers = vec![Endorser { did: uvm.did, feed: uvm.feed, min_svn: 22, signed_after: 0 }];
    policy.sev_snp.host_data.insert(hex::encode(snp(&claims).host_data));
    policy.sev_snp.minimum_tcb.insert("Milan".to_owned(), SnpTcb::default());
    policy.sev_snp.version_2_products.insert("Milan".to_owned());
    Some((evidence, policy))
}

#[test]
fn an_endorsed_utility_vm_needs_its_host_data_listed_too() {
    let Some((evidence, policy)) = container() else { return };
    let at = day(2023, 6, 1);
    let claims = examine(&evidence, &trust(), at).unwrap();
    let uvm = snp(&claims).uvm.clone().unwrap();
    assert_eq!((uvm.svn, uvm.signed_at / 86_400), (22, day(2023, 2, 8) / 86_400));
    assert!(hex::encode(snp(&claims).host_data).starts_with("cadd74f7"));
    let verified = verify(&evidence, &ReportData(claims.report_data().unwrap()), &trust(), at).unwrap();
    let judged = |policy: &Policy| appraise(&verified, policy, &[], at).reasons;
    assert_eq!(judged(&policy), []);
    let mut newer = policy.clone();
    newer.sev_snp.endorsers[0].min_svn = 23;
    assert_eq!(judged(&newer), [Reason::UvmSvnTooLow { found: 22, minimum: 23 }]);
    let mut later = policy.clone();
    later.sev_snp.endorsers[0].signed_after = day(2024, 1, 1);
    assert!(matches!(judged(&later)[..], [Reason::UvmSignedTooEarly { .. }]));
    let mut anywhere = policy.clone();
    anywhere.sev_snp.host_data.clear();
    assert!(matches!(judged(&anywhere)[..], [Reason::HostDataNotAccepted(_)]));
    let mut stranger = policy;
    stranger.sev_snp.endorsers[0].feed = "ConfAKS-AMD-UVM".to_owned();
    assert!(matches!(judged(&stranger)[..], [Reason::EndorserNotAllowed { .. }]));
}

#[test]
fn endorsements_of_other_utility_vms_are_genuine_and_about_another_measurement() {
    let Some((evidence, _)) = container() else { return };
    for name in ["ecdsa_test1.cose", "rsa_test1.cose", "uvm_0.2.9.cose"] {
        let swapped = evidence.clone().with(Aux::UvmEndorsement, recorded(&format!("snp/uvm/{name}")).unwrap());
        assert_eq!(examine(&swapped, &trust(), day(2023, 6, 1)), Err(VerifyError::UvmMeasurementMismatch), "{name}");
    }
}

#[test]
fn no_flipped_bit_of_an_endorsement_passes() {
    let Some((evidence, _)) = container() else { return };
    let uvm = evidence.aux[&Aux::UvmEndorsement].clone();
    let message = coco_crypto::cose::Sign1::decode(&uvm).unwrap();
    let unprotected = uvm.windows(message.unprotected.len()).position(|window| window == message.unprotected).unwrap();
    let unsigned = unprotected..unprotected + message.unprotected.len();
    // Only some bits: all of them take minutes.
    for bit in (0..uvm.len() * 8).step_by(125).filter(|bit| !unsigned.contains(&(bit / 8))) {
        let mut flipped = uvm.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let changed = evidence.clone().with(Aux::UvmEndorsement, flipped);
        assert!(examine(&changed, &trust(), day(2023, 6, 1)).is_err(), "bit {bit}");
    }
}

#[test]
fn no_flipped_bit_of_a_report_passes() {
    let Some(evidence) = milan() else { return };
    // Thirteen and eight have no common factor: every position in a byte is met.
    for bit in (0..evidence.raw.len() * 8).step_by(13) {
        let mut flipped = evidence.clone();
        flipped.raw[bit / 8] ^= 1 << (bit % 8);
        assert!(examine(&flipped, &trust(), day(2026, 3, 1)).is_err(), "bit {bit}");
    }
}

#[test]
fn no_flipped_bit_of_a_certificate_passes() {
    let Some(evidence) = milan() else { return };
    let text = String::from_utf8(evidence.aux[&Aux::Certificates].clone()).unwrap();
    let ders = coco_crypto::decode_pem_all("CERTIFICATE", &text).unwrap();
    for (i, der) in ders.iter().enumerate() {
        for bit in (0..der.len() * 8).step_by(61) {
            let mut changed = ders.clone();
            changed[i][bit / 8] ^= 1 << (bit % 8);
            let pem: String = changed.iter().map(|der| encode_pem("CERTIFICATE", der)).collect();
            let changed = evidence.clone().with(Aux::Certificates, pem.into_bytes());
            assert!(examine(&changed, &trust(), day(2026, 3, 1)).is_err(), "certificate {i}, bit {bit}");
        }
    }
}

#[test]
fn every_other_length_is_refused() {
    let Some(evidence) = milan() else { return };
    for len in (0..evidence.raw.len()).chain([evidence.raw.len() + 1, 4096]) {
        let mut cut = evidence.clone();
        cut.raw.resize(len, 0);
        let expected = Err(VerifyError::BadLength { found: len, expected: 1184 });
        assert_eq!(examine(&cut, &trust(), day(2026, 3, 1)), expected);
    }
}

#[test]
fn time_is_judged_to_the_second() {
    let Some(evidence) = milan() else { return };
    let window = examine(&evidence, &trust(), day(2026, 3, 1)).unwrap().validity;
    for at in [window.not_before, window.not_after] {
        examine(&evidence, &trust(), at).unwrap();
    }
    let early = examine(&evidence, &trust(), window.not_before - 1);
    assert!(matches!(early, Err(VerifyError::CertificateNotYetValid { .. })), "{early:?}");
    let late = examine(&evidence, &trust(), window.not_after + 1);
    assert!(matches!(late, Err(VerifyError::CertificateExpired { .. })), "{late:?}");
}

#[test]
fn another_chain_another_product_and_a_root_that_nobody_voted_are_refused() {
    let Some(milan) = milan() else { return };
    let at = day(2026, 3, 1);
    let with = |leaf: &str, authorities: &str| {
        evidence("milan_attestation_report.bin", leaf, authorities)
            .map(|changed| examine(&changed, &trust(), at))
            .unwrap()
    };
    assert!(matches!(with("genoa_vcek.pem", "ask_ark_genoa.pem"), Err(VerifyError::ProductMismatch { .. })));
    assert!(matches!(with("milan_vcek.pem", "ask_ark_genoa.pem"), Err(VerifyError::ChainBroken { .. })));
    assert!(matches!(with("trustee-test-vcek.der", "ask_ark_milan.pem"), Err(VerifyError::SignatureInvalid { .. })));
    assert!(matches!(with("trustee-test-vlek.der", "ask_ark_milan_vlek.pem"), Err(VerifyError::SigningKeyMismatch)));
    let nobody = Trust { anchors: Anchors::default(), ..trust() };
    assert_eq!(examine(&milan, &nobody, at), Err(VerifyError::AnchorMissing { root: "amd_milan" }));
    let mut other = trust();
    other.anchors.roots.insert(Root::AmdMilan, [coco_types::Digest([1; 32])].into());
    assert!(matches!(examine(&milan, &other, at), Err(VerifyError::AnchorMismatch { .. })));
    let strict = Trust { crl_optional: Default::default(), ..trust() };
    assert!(matches!(examine(&milan, &strict, at), Err(VerifyError::CrlMissing { .. })));
    let bare = Evidence::bare(TeeKind::SevSnp, milan.raw);
    assert_eq!(examine(&bare, &trust(), at), Err(VerifyError::AuxMissing { what: "certificates" }));
}

#[test]
fn the_vendor_s_authorities_verify_up_to_the_published_roots_from_2023_to_2045() {
    for (file, root) in [
        ("ask_ark_milan.pem", Root::AmdMilan),
        ("ask_ark_milan_vlek.pem", Root::AmdMilan),
        ("ask_ark_genoa.pem", Root::AmdGenoa),
        ("ask_ark_genoa_vlek.pem", Root::AmdGenoa),
        ("ask_ark_turin_vcek.pem", Root::AmdTurin),
        ("ask_ark_turin_vlek.pem", Root::AmdTurin),
    ] {
        let Some(pem) = recorded(&format!("snp/{file}")) else { return };
        let certificates = chain::from_pem(&pem).unwrap();
        assert_eq!(certificates.len(), 2, "{file}");
        let built = chain::build(certificates[0].clone(), &certificates).unwrap();
        let from = if root == Root::AmdTurin { day(2024, 1, 1) } else { day(2023, 1, 1) };
        for at in [from, day(2035, 1, 1), day(2045, 1, 1)] {
            chain::verify(&built, root, Revocation::Unchecked, &trust(), at.into())
                .unwrap_or_else(|error| panic!("{file} at {at}: {error}"));
        }
    }
    assert_eq!(recorded("snp/gosev-milan.testcer"), recorded("snp/ask_ark_milan.pem"));
    assert_eq!(recorded("snp/gosev-milanvlek.testcer"), recorded("snp/ask_ark_milan_vlek.pem"));
}

#[test]
fn endorsements_verify_by_themselves_and_say_who_vouches_for_what() {
    let root = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1";
    for (file, usage, feed, svn, signed_at, measurement) in [
        ("ecdsa_test1.cose", 5, "ConfAKS-AMD-UVM", 1, 1_728_857_236, "1b66347c"),
        ("rsa_test1.cose", 2, "ContainerPlat-AMD-UVM", 100, 1_699_989_632, "02c3b0d5"),
        ("uvm_0.2.9.cose", 2, "ContainerPlat-AMD-UVM", 103, 1_759_253_046, "d0c9e2be"),
    ] {
        let Some(bytes) = recorded(&format!("snp/uvm/{file}")) else { return };
        let payload = coco_crypto::cose::Sign1::decode(&bytes).unwrap().payload.unwrap();
        let json: serde_json::Value = serde_json::from_slice(payload).unwrap();
        let measured = json["x-ms-sevsnpvm-launchmeasurement"].as_str().unwrap();
        assert!(measured.starts_with(measurement), "{file}");
        let claims = uvm::verify(&bytes, &hex::decode(measured).unwrap().try_into().unwrap()).unwrap();
        assert_eq!(claims, UvmClaims { did: format!("{root}.{usage}"), feed: feed.to_owned(), svn, signed_at });
        assert_eq!(uvm::verify(&bytes, &[0; 48]), Err(VerifyError::UvmMeasurementMismatch));
    }
}

#[test]
fn host_data_are_the_digest_of_the_container_s_policy() {
    let Some((evidence, _)) = container() else { return };
    let policy = recorded("snp/aci_uvm_security_policy.base64").unwrap();
    let policy = base64::engine::general_purpose::STANDARD.decode(policy.trim_ascii()).unwrap();
    let claims = examine(&evidence, &trust(), day(2023, 6, 1)).unwrap();
    assert_eq!(snp(&claims).host_data, coco_crypto::sha256(&policy).0);
}
