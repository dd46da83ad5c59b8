//! Azure's paravisor and vTPM.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use coco_attestation::chain::{self, Revocation};
use coco_attestation::platforms::dcap::quote::Quote;
use coco_attestation::platforms::tpm::TpmQuote;
use coco_attestation::{Aux, Details, Evidence, Isolation, ReportData, Root, TeeKind, VerifyError, examine, verify};
use coco_crypto::ForeignKey;
use serde_json::Value;

use crate::{day, recorded, trust};

/// The recordings frame a quote with lengths of eight bytes.
fn quote(bytes: &[u8]) -> Vec<u8> {
    let mut rest = bytes;
    let number = |rest: &mut &[u8]| {
        let (head, after) = rest.split_first_chunk().unwrap();
        *rest = after;
        usize::try_from(u64::from_le_bytes(*head)).unwrap()
    };
    let sized = |rest: &mut &[u8]| {
        let len = number(rest);
        let (taken, after) = rest.split_at(len);
        *rest = after;
        taken.to_vec()
    };
    let (signature, message) = (sized(&mut rest), sized(&mut rest));
    let (count, pcrs) = rest.split_at(8);
    assert_eq!(count[0] as usize * 32, pcrs.len());
    let pcrs: BTreeMap<u8, [u8; 32]> = (0..).zip(pcrs.chunks_exact(32).map(|pcr| pcr.try_into().unwrap())).collect();
    TpmQuote { message, signature, pcrs }.encode()
}

fn with_chain(leaf: Vec<u8>) -> Option<Vec<u8>> {
    Some([leaf, recorded("snp/ask_ark_milan.pem")?].join(&b'\n'))
}

fn snp() -> Option<Evidence> {
    let raw = recorded("azure-vtpm/trustee-snp-hcl-report.bin")?;
    let quote = quote(&recorded("azure-vtpm/trustee-snp-quote.bin")?);
    let chain = with_chain(recorded("azure-vtpm/trustee-snp-vcek.pem")?)?;
    Some(Evidence::bare(TeeKind::AzureSnp, raw).with(Aux::TpmQuote, quote).with(Aux::Certificates, chain))
}

#[test]
fn a_whole_bundle_verifies_from_the_processor_to_the_pcrs() {
    let Some(evidence) = snp() else { return };
    let claims = examine(&evidence, &trust(), day(2024, 1, 1)).unwrap();
    assert_eq!(claims.isolation, Isolation::HardwareWithParavisor);
    let Details::Azure(azure) = &claims.details else { panic!() };
    assert_eq!(azure.pcrs.len(), 24);
    // Its challenge was another's.
    let foreign = verify(&evidence, &ReportData([0; 64]), &trust(), day(2024, 1, 1));
    assert_eq!(foreign, Err(VerifyError::TpmNonceMismatch));
}

#[test]
fn a_newer_bundle_verifies_too() {
    let Some(bytes) = recorded("azure-vtpm/trustee-snp-evidence-v2.json") else { return };
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    let decode = |name: &str| {
        let text = json[name].as_str().unwrap();
        URL_SAFE.decode(text).or_else(|_| STANDARD.decode(text)).unwrap()
    };
    let (raw, vcek) = (decode("hcl_report"), decode("vcek"));
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let tpm = &json["tpm_quote"];
    let pcrs = (0..).zip(tpm["pcrs"].as_array().unwrap().iter().map(|pcr| bytes(pcr).try_into().unwrap())).collect();
    let quote = TpmQuote { message: bytes(&tpm["message"]), signature: bytes(&tpm["signature"]), pcrs };
    let chain = with_chain(coco_crypto::encode_pem("CERTIFICATE", &vcek).into_bytes()).unwrap();
    let evidence =
        Evidence::bare(TeeKind::AzureSnp, raw).with(Aux::TpmQuote, quote.encode()).with(Aux::Certificates, chain);
    let claims = examine(&evidence, &trust(), day(2026, 1, 1)).unwrap();
    let Details::Azure(azure) = &claims.details else { panic!() };
    let Details::SevSnp(hardware) = &azure.hardware else { panic!() };
    assert_eq!((hardware.version, hardware.product.as_str()), (3, "Milan"));
    let quoted = TpmQuote::decode(&evidence.aux[&Aux::TpmQuote]).unwrap();
    let (_, runtime) = bound_and_runtime(&evidence.raw, 0x50);
    assert_eq!(quoted.verify(&attestation_key(runtime), &[]).unwrap().extra_data.len(), 48);
}

#[test]
fn another_chip_s_certificate_and_another_key_s_quote_are_refused() {
    let Some(evidence) = snp() else { return };
    let at = day(2024, 1, 1);
    let other = evidence.clone().with(Aux::Certificates, recorded("azure-vtpm/certs.pem").unwrap());
    assert!(examine(&other, &trust(), at).is_err());
    let stranger = evidence.clone().with(Aux::TpmQuote, quote(&recorded("azure-vtpm/quote.bin").unwrap()));
    assert_eq!(examine(&stranger, &trust(), at), Err(VerifyError::TpmSignatureInvalid));
    let mut changed = TpmQuote::decode(&evidence.aux[&Aux::TpmQuote]).unwrap();
    changed.pcrs.insert(4, [0; 32]);
    let changed = evidence.clone().with(Aux::TpmQuote, changed.encode());
    assert_eq!(examine(&changed, &trust(), at), Err(VerifyError::PcrDigestMismatch));
    let mut json = evidence.clone();
    json.raw[1300] ^= 1;
    assert_eq!(examine(&json, &trust(), at), Err(VerifyError::HclBindingMismatch));
}

#[test]
fn no_flipped_bit_of_the_hardware_report_or_the_quote_passes() {
    let Some(evidence) = snp() else { return };
    let at = day(2024, 1, 1);
    for bit in (32 * 8..(32 + 1184) * 8).step_by(13) {
        let mut flipped = evidence.clone();
        flipped.raw[bit / 8] ^= 1 << (bit % 8);
        assert!(examine(&flipped, &trust(), at).is_err(), "report bit {bit}");
    }
    let quote = TpmQuote::decode(&evidence.aux[&Aux::TpmQuote]).unwrap();
    for bit in (0..quote.message.len() * 8).step_by(3) {
        let mut flipped = quote.clone();
        flipped.message[bit / 8] ^= 1 << (bit % 8);
        let flipped = evidence.clone().with(Aux::TpmQuote, flipped.encode());
        assert!(examine(&flipped, &trust(), at).is_err(), "quote bit {bit}");
    }
}

#[test]
fn a_trust_domain_behind_the_paravisor_needs_its_collateral() {
    let Some(raw) = recorded("azure-vtpm/trustee-tdx-hcl-report.bin") else { return };
    let tpm = quote(&recorded("azure-vtpm/trustee-tdx-quote.bin").unwrap());
    let td_quote = coco_attestation::platforms::dcap::trimmed(recorded("azure-vtpm/trustee-tdx-td-quote.bin").unwrap());
    let evidence = Evidence::bare(TeeKind::AzureTdx, raw.clone()).with(Aux::TpmQuote, tpm).with(Aux::TdQuote, td_quote);
    let without = examine(&evidence, &trust(), day(2024, 6, 1));
    assert!(matches!(without, Err(VerifyError::CrlMissing { .. })), "{without:?}");
    let mut other = evidence;
    other.raw = recorded("azure-vtpm/hcl-report-tdx.bin").unwrap();
    assert_eq!(examine(&other, &trust(), day(2024, 6, 1)), Err(VerifyError::QuoteReportMismatch));
}

/// Where the parts of a paravisor's envelope lie: report data of the hardware report, and the runtime data behind it.
fn bound_and_runtime(envelope: &[u8], report_data_at: usize) -> (&[u8], &[u8]) {
    let len = usize::try_from(u32::from_le_bytes(envelope[1232..1236].try_into().unwrap())).unwrap();
    let at = 32 + report_data_at;
    (&envelope[at..at + 64], &envelope[1236..1236 + len])
}

fn binds(envelope: &[u8], report_data_at: usize) -> usize {
    let (bound, runtime) = bound_and_runtime(envelope, report_data_at);
    assert_eq!(bound, [&coco_crypto::sha256(runtime).0[..], &[0; 32]].concat());
    runtime.len()
}

#[test]
fn older_envelopes_bind_their_runtime_data_and_have_nothing_to_verify_them_with() {
    let Some(snp) = recorded("azure-vtpm/hcl-report-snp.bin") else { return };
    let tdx = recorded("azure-vtpm/hcl-report-tdx.bin").unwrap();
    assert_eq!((snp.len(), binds(&snp, 0x50)), (2048, 583));
    assert_eq!((tdx.len(), binds(&tdx, 128)), (2600, 1202));
    let (_, runtime) = bound_and_runtime(&tdx, 128);
    assert!(String::from_utf8_lossy(runtime).contains(r#""secure-boot":false"#));
    let bare = Evidence::bare(TeeKind::AzureSnp, snp.clone());
    assert_eq!(examine(&bare, &trust(), day(2024, 1, 1)), Err(VerifyError::AuxMissing { what: "certificates" }));
    let bare = Evidence::bare(TeeKind::AzureTdx, tdx);
    assert_eq!(examine(&bare, &trust(), day(2024, 1, 1)), Err(VerifyError::AuxMissing { what: "td-quote" }));
    // A chain of another chip.
    let other =
        Evidence::bare(TeeKind::AzureSnp, snp).with(Aux::Certificates, recorded("azure-vtpm/certs.pem").unwrap());
    let expected = Err(VerifyError::SignatureInvalid { what: "report" });
    assert_eq!(examine(&other, &trust(), day(2024, 1, 1)), expected);
}

#[test]
fn a_chain_without_its_report_verifies_by_itself() {
    let Some(pem) = recorded("azure-vtpm/certs.pem") else { return };
    let certificates = chain::from_pem(&pem).unwrap();
    let leaf = certificates.iter().find(|one| one.subject().contains("VCEK")).unwrap().clone();
    let built = chain::build(leaf, &certificates).unwrap();
    assert_eq!(built.len(), 3);
    chain::verify(&built, Root::AmdMilan, Revocation::Unchecked, &trust(), day(2024, 1, 1).into()).unwrap();
}

#[test]
fn a_quote_alone_verifies_under_its_key_and_no_other() {
    let Some(recording) = recorded("azure-vtpm/quote.bin") else { return };
    let pem = String::from_utf8(recorded("azure-vtpm/akpub.pem").unwrap()).unwrap();
    let key = ForeignKey::from_spki_der(&coco_crypto::decode_pem("PUBLIC KEY", &pem).unwrap()).unwrap();
    let quote = TpmQuote::decode(&quote(&recording)).unwrap();
    let quoted = quote.verify(&key, &[0, 7]).unwrap();
    assert_eq!((quoted.extra_data.as_slice(), quoted.pcrs.len()), (&b"challenge"[..], 24));
    for envelope in ["hcl-report-snp.bin", "hcl-report-tdx.bin", "trustee-snp-hcl-report.bin"] {
        let envelope = recorded(&format!("azure-vtpm/{envelope}")).unwrap();
        let at = if envelope.len() == 2600 { 128 } else { 0x50 };
        let other = attestation_key(bound_and_runtime(&envelope, at).1);
        assert_eq!(quote.verify(&other, &[]), Err(VerifyError::TpmSignatureInvalid));
    }
}

#[test]
fn the_bundles_quotes_answer_their_own_challenges() {
    let Some(evidence) = snp() else { return };
    let (_, runtime) = bound_and_runtime(&evidence.raw, 0x50);
    let quoted = TpmQuote::decode(&evidence.aux[&Aux::TpmQuote]).unwrap().verify(&attestation_key(runtime), &[]);
    assert_eq!(quoted.unwrap().extra_data, b"challenge");
    let tdx = recorded("azure-vtpm/trustee-tdx-hcl-report.bin").unwrap();
    binds(&tdx, 128);
    let (bound, runtime) = bound_and_runtime(&tdx, 128);
    let tpm = TpmQuote::decode(&quote(&recorded("azure-vtpm/trustee-tdx-quote.bin").unwrap())).unwrap();
    tpm.verify(&attestation_key(runtime), &[0, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    let raw = recorded("azure-vtpm/trustee-tdx-td-quote.bin").unwrap();
    let fmspc = crate::dcap::fmspc_of_signed(&raw, day(2024, 6, 1));
    assert_eq!(fmspc, "00806f050000");
    let td_quote = coco_attestation::platforms::dcap::trimmed(raw);
    assert_eq!(&Quote::parse(&td_quote).unwrap().report_data(), bound);
}

#[test]
fn runtime_data_alone_belong_to_no_recorded_report() {
    let Some(runtime) = recorded("azure-vtpm/var-data.bin") else { return };
    assert_eq!(runtime.len(), 1110);
    let json: Value = serde_json::from_slice(&runtime).unwrap();
    let kids: Vec<&str> = json["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, ["HCLAkPub", "HCLEkPub"]);
    assert_eq!(json["user-data"].as_str().unwrap(), "0".repeat(128));
    let Some(mut evidence) = snp() else { return };
    evidence.raw.truncate(1236);
    evidence.raw[1232..1236].copy_from_slice(&1110u32.to_le_bytes());
    evidence.raw.extend(&runtime);
    assert_eq!(examine(&evidence, &trust(), day(2024, 1, 1)), Err(VerifyError::HclBindingMismatch));
}

fn attestation_key(runtime: &[u8]) -> ForeignKey {
    let json: Value = serde_json::from_slice(runtime).unwrap();
    let key = json["keys"].as_array().unwrap().iter().find(|key| key["kid"] == "HCLAkPub").unwrap();
    let number = |name: &str| {
        let text = key[name].as_str().unwrap().trim_end_matches('=');
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    ForeignKey::from_rsa(&number("n"), &number("e")).unwrap()
}
