//! Azure's paravisor and vTPM.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use coco_attestation::platforms::tpm::TpmQuote;
use coco_attestation::{Aux, Details, Evidence, Isolation, ReportData, TeeKind, VerifyError, examine, verify};
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
    assert!(claims.measurement().len() == 96);
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
