//! Intel SGX and TDX.

use coco_attestation::collateral::{Collateral, CollateralError, CollateralItem, SignedText, judge};
use coco_attestation::platforms::dcap::quote::Quote;
use coco_attestation::platforms::dcap::{check_signed, trimmed};
use coco_attestation::policy::TdImage;
use coco_attestation::{
    Anchors, Claims, Details, Evidence, Policy, Reason, ReportData, Root, TeeKind, Trust, VerifyError, appraise,
    examine, verify,
};
use serde_json::Value;

use crate::{day, recorded, trust};

/// The collateral beside a recorded quote, in the form in which it was fetched.
fn items(name: &str) -> Option<Vec<CollateralItem>> {
    let json: Value = serde_json::from_slice(&recorded(name)?).unwrap();
    Some(CollateralItem::from_quote_collateral(&json).unwrap())
}

fn with_items(items: Vec<CollateralItem>) -> Trust {
    let mut collateral = Collateral::default();
    for item in items {
        collateral.insert(item).unwrap();
    }
    Trust { collateral, ..trust() }
}

fn sgx() -> Option<(Evidence, Trust)> {
    let trust = with_items(items("sgx-tdx/sgx_quote_collateral.json")?);
    Some((Evidence::bare(TeeKind::Sgx, trimmed(recorded("sgx-tdx/sgx_quote")?)), trust))
}

fn tdx() -> Option<(Evidence, Trust)> {
    let trust = with_items(items("sgx-tdx/tdx_quote_collateral.json")?);
    Some((Evidence::bare(TeeKind::Tdx, trimmed(recorded("sgx-tdx/tdx_quote")?)), trust))
}

const AT: fn() -> u64 = || day(2025, 6, 20);

fn policy(claims: &Claims) -> Policy {
    let mut policy = Policy::default();
    policy.sgx.enclaves.insert(claims.measurement());
    policy.tdx.images.push(TdImage { mrtd: claims.measurement(), ..TdImage::default() });
    policy
}

#[test]
fn a_verified_sgx_quote_is_accepted_only_with_a_status_that_was_voted() {
    let Some((evidence, trust)) = sgx() else { return };
    let claims = examine(&evidence, &trust, AT()).unwrap();
    let Details::Sgx(sgx) = &claims.details else { panic!() };
    assert_eq!(sgx.tcb.status, "ConfigurationAndSWHardeningNeeded");
    assert_eq!(sgx.tcb.fmspc, "00a067110000");
    assert!(!claims.debug);
    let report_data = claims.report_data().unwrap();
    assert!(report_data.starts_with(b"Hello, world!"));
    let verified = verify(&evidence, &ReportData(report_data), &trust, AT()).unwrap();
    let mut policy = policy(&claims);
    policy.sgx.tcb.statuses.insert("UpToDate".to_owned(), None);
    let refused = Reason::StatusNotAccepted("ConfigurationAndSWHardeningNeeded".to_owned());
    assert_eq!(appraise(&verified, &policy, &[], AT()).reasons, [refused]);
    policy.sgx.tcb.statuses.insert("ConfigurationAndSWHardeningNeeded".to_owned(), None);
    assert!(appraise(&verified, &policy, &[], AT()).accepted());
    policy.sgx.tcb.statuses.insert("ConfigurationAndSWHardeningNeeded".to_owned(), Some(1));
    assert!(matches!(appraise(&verified, &policy, &[], AT()).reasons[..], [Reason::GraceOver { .. }]));
}

#[test]
fn a_tdx_quote_is_up_to_date_and_its_measurement_must_be_listed() {
    let Some((evidence, trust)) = tdx() else { return };
    let claims = examine(&evidence, &trust, AT()).unwrap();
    let Details::Tdx(tdx) = &claims.details else { panic!() };
    assert_eq!((tdx.tcb.status.as_str(), tdx.tcb.fmspc.as_str()), ("UpToDate", "b0c06f000000"));
    let verified = verify(&evidence, &ReportData(claims.report_data().unwrap()), &trust, AT()).unwrap();
    let mut policy = policy(&claims);
    policy.tdx.tcb.statuses.insert("UpToDate".to_owned(), None);
    let decision = appraise(&verified, &policy, &[], AT());
    assert!(decision.accepted(), "{decision}");
    policy.tdx.images[0].rtmrs.insert(0, "00".repeat(48));
    assert!(matches!(appraise(&verified, &policy, &[], AT()).reasons[..], [Reason::MeasurementNotAccepted(_)]));
}

#[test]
fn padding_after_a_quote_is_refused_until_it_is_cut_off() {
    let (Some((_, trust)), Some(raw)) = (tdx(), recorded("sgx-tdx/tdx_quote")) else { return };
    assert_eq!(raw.len(), 5006);
    let padded = Evidence::bare(TeeKind::Tdx, raw);
    assert_eq!(examine(&padded, &trust, AT()), Err(VerifyError::TrailingBytes { count: 70 }));
    let nonzero = trimmed(recorded("sgx-tdx/gotdx-tdx_prod_quote_SPR_E4.dat").unwrap());
    assert_eq!(nonzero.len(), 4935);
}

/// The text of a member's value, as it was signed.
fn signed_text(name: &str, member: &str, chain: &str) -> SignedText {
    let text = String::from_utf8(recorded(name).unwrap()).unwrap();
    let members: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_str(&text).unwrap();
    let signature: String = serde_json::from_str(members["signature"].get()).unwrap();
    SignedText {
        text: members[member].get().to_owned(),
        signature: hex::decode(signature).unwrap(),
        chain: chain.to_owned(),
    }
}

fn signer_chain() -> Option<String> {
    let json: Value = serde_json::from_slice(&recorded("sgx-tdx/tdx_quote_collateral.json")?).unwrap();
    Some(json["tcb_info_issuer_chain"].as_str().unwrap().to_owned())
}

#[test]
fn a_platform_below_every_level_is_refused_even_though_all_signatures_hold() {
    let Some(chain) = signer_chain() else { return };
    let raw = trimmed(recorded("sgx-tdx/gotdx-tdx_prod_quote_SPR_E4.dat").unwrap());
    let quote = Quote::parse(&raw).unwrap();
    let pck_chain = String::from_utf8_lossy(quote.certificates).trim_end_matches('\0').to_owned();
    let ders = coco_crypto::decode_pem_all("CERTIFICATE", &pck_chain).unwrap();
    // The list's issuer first.
    let crl = |name: &str, skip: usize| CollateralItem::Crl {
        list: recorded(&format!("sgx-tdx/{name}")).unwrap(),
        root: Root::Intel,
        chain: ders[skip..].iter().map(|der| coco_crypto::encode_pem("CERTIFICATE", der)).collect(),
    };
    let trust = with_items(vec![
        crl("gotdx-pckcrl", 1),
        crl("gotdx-rootcrl.der", 2),
        CollateralItem::TcbInfo(signed_text("sgx-tdx/gotdx-sample_tcbInfo_response", "tcbInfo", &chain)),
        CollateralItem::QeIdentity(signed_text("sgx-tdx/gotdx-sample_qeIdentity_response", "enclaveIdentity", &chain)),
    ]);
    // The signer's certificate among the recordings is of 2025, the texts of 2023: at the quote's time that certificate does not hold yet,
    // at the certificate's the texts have expired, which is looked at after their signatures.
    let at_quote = examine(&Evidence::bare(TeeKind::Tdx, raw.clone()), &trust, day(2023, 6, 20));
    assert!(matches!(at_quote, Err(VerifyError::CertificateNotYetValid { .. })), "{at_quote:?}");
    for item in trust.collateral.items().values().filter(|item| !matches!(item, CollateralItem::Crl { .. })) {
        let late = judge(item, &Collateral::default(), &Anchors::vendors(), AT());
        assert!(matches!(late, Err(CollateralError::NotGenuine(VerifyError::CollateralExpired { .. }))), "{late:?}");
    }
    for list in trust.collateral.items().values().filter(|item| matches!(item, CollateralItem::Crl { .. })) {
        judge(list, &Collateral::default(), &Anchors::vendors(), day(2023, 6, 20)).unwrap();
    }
    assert_eq!(fmspc_of_signed(&raw, day(2023, 6, 20)), "50806f000000");
    // By hand: the processor is below every level in one of its components.
    let CollateralItem::TcbInfo(info) = &trust.collateral.items()["tcb_info:tdx:50806f000000"] else { panic!() };
    let info: Value = serde_json::from_str(&info.text).unwrap();
    let found = components(&pck_chain);
    assert_eq!(found[..8], [3, 3, 2, 2, 2, 1, 0, 2]);
    for level in info["tcbLevels"].as_array().unwrap() {
        assert!(!reaches(&found, level), "{level}");
    }
}

#[test]
fn a_quote_of_version_5_without_its_collateral_names_what_is_missing() {
    let Some(raw) = recorded("sgx-tdx/gotdx-quote_v5_sample.dat") else { return };
    let at = day(2026, 2, 10);
    let raw = trimmed(raw);
    assert_eq!(fmspc_of_signed(&raw, at), "90c06f000000");
    let item = signed_text("sgx-tdx/gotdx-sample_tcbinfo_response_v5", "tcbInfo", &signer_chain().unwrap());
    let item = CollateralItem::TcbInfo(item);
    judge(&item, &Collateral::default(), &Anchors::vendors(), at).unwrap();
    let quote = Quote::parse(&raw).unwrap();
    let found = components(&String::from_utf8_lossy(quote.certificates));
    let CollateralItem::TcbInfo(text) = &item else { panic!() };
    let info: Value = serde_json::from_str(&text.text).unwrap();
    let reached = info["tcbLevels"].as_array().unwrap().iter().find(|level| reaches(&found, level)).unwrap();
    assert_eq!(reached["tcbStatus"], "UpToDate");
    let without = examine(&Evidence::bare(TeeKind::Tdx, raw.clone()), &with_items(vec![item]), at);
    assert!(matches!(without, Err(VerifyError::CrlMissing { .. })), "{without:?}");
}

/// Chain and signatures hold; the platform that they name.
pub fn fmspc_of_signed(raw: &[u8], at: u64) -> String {
    check_signed(&Quote::parse(&trimmed(raw.to_vec())).unwrap(), &trust(), at).unwrap()
}

/// The versions of the sixteen components, read off the processor's certificate: `{id …2.n, INTEGER}`.
fn components(pem: &str) -> [u64; 16] {
    let ders = coco_crypto::decode_pem_all("CERTIFICATE", pem.trim_end_matches('\0')).unwrap();
    std::array::from_fn(|n| {
        let id = [0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01, 0x02, u8::try_from(n + 1).unwrap(), 0x02];
        let at = ders[0].windows(id.len()).position(|window| window == id).unwrap() + id.len();
        let len = usize::from(ders[0][at]);
        ders[0][at + 1..=at + len].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    })
}

fn reaches(found: &[u64; 16], level: &Value) -> bool {
    let needed = level["tcb"]["sgxtcbcomponents"].as_array().unwrap();
    needed.iter().zip(found).all(|(needed, found)| *found >= needed["svn"].as_u64().unwrap())
}

#[test]
fn other_times_roots_and_missing_parts_have_their_own_reasons() {
    let Some((evidence, trust)) = tdx() else { return };
    let late = examine(&evidence, &trust, day(2025, 7, 25));
    assert!(matches!(late, Err(VerifyError::CrlExpired { .. } | VerifyError::CollateralExpired { .. })), "{late:?}");
    let early = examine(&evidence, &trust, day(2025, 6, 1));
    assert!(
        matches!(early, Err(VerifyError::CrlNotYetValid { .. } | VerifyError::CollateralNotYetValid { .. })),
        "{early:?}"
    );
    let nobody = Trust { anchors: Anchors::default(), ..trust.clone() };
    assert_eq!(examine(&evidence, &nobody, AT()), Err(VerifyError::AnchorMissing { root: "intel" }));
    let without = |skip: &str| {
        let items = items("sgx-tdx/tdx_quote_collateral.json").unwrap();
        let kept = items.into_iter().filter(|item| !item.key().unwrap().starts_with(skip)).collect();
        examine(&evidence, &with_items(kept), AT())
    };
    assert!(matches!(without("crl"), Err(VerifyError::CrlMissing { .. })));
    assert!(matches!(without("tcb_info"), Err(VerifyError::CollateralMissing { .. })));
    assert!(matches!(without("qe_identity"), Err(VerifyError::CollateralMissing { .. })));
    let relabelled = Evidence { kind: TeeKind::Sgx, ..evidence };
    assert!(matches!(examine(&relabelled, &trust, AT()), Err(VerifyError::TeeTypeMismatch { .. })));
}

#[test]
fn no_flipped_bit_of_a_quote_passes() {
    for (evidence, trust) in [sgx(), tdx()].into_iter().flatten() {
        let quote = Quote::parse(&evidence.raw).unwrap();
        let pem = evidence.raw.len() - quote.certificates.len();
        // Nobody signs the PEM's line breaks; its content is covered by the chain.
        for bit in (0..pem * 8).step_by(13) {
            let mut flipped = evidence.clone();
            flipped.raw[bit / 8] ^= 1 << (bit % 8);
            assert!(examine(&flipped, &trust, AT()).is_err(), "{} bit {bit}", evidence.kind);
        }
        for len in (0..evidence.raw.len()).step_by(97) {
            let mut cut = evidence.clone();
            cut.raw.truncate(len);
            assert!(examine(&cut, &trust, AT()).is_err(), "{} cut to {len}", evidence.kind);
        }
    }
}

#[test]
fn collateral_is_taken_from_anyone_if_genuine_and_not_older() {
    let Some(items) = items("sgx-tdx/tdx_quote_collateral.json") else { return };
    let anchors = Anchors::vendors();
    let mut stored = Collateral::default();
    for item in &items {
        assert!(judge(item, &stored, &anchors, AT()).unwrap().is_news);
        stored.insert(item.clone()).unwrap();
        assert!(!judge(item, &stored, &anchors, AT()).unwrap().is_news);
        let nobody = judge(item, &stored, &Anchors::default(), AT());
        assert!(matches!(nobody, Err(CollateralError::NotGenuine(VerifyError::AnchorMissing { .. }))));
        let CollateralItem::TcbInfo(text) = item else { continue };
        let mut changed = text.clone();
        changed.text = changed.text.replacen("UpToDate", "Revoked", 1);
        let forged = judge(&CollateralItem::TcbInfo(changed), &stored, &anchors, AT());
        let expected = VerifyError::CollateralSignatureInvalid { what: "TCB info" };
        assert_eq!(forged, Err(CollateralError::NotGenuine(expected)));
    }
}
