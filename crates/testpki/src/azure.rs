//! A paravisor that does not exist, over a minted processor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_attestation::{Aux, Evidence, ReportData, TeeKind};
use coco_crypto::sha256;
use serde_json::Value;

use crate::intel::{Guest, Intel, Platform};
use crate::key::Key;
use crate::snp::{Amd, Report};
use crate::tpm::{self, BootLog};

const REPORT_TYPE_SNP: u32 = 2;
const REPORT_TYPE_TDX: u32 = 4;

pub struct Azure {
    pub ak: Key,
}

impl Default for Azure {
    fn default() -> Self {
        Self { ak: Key::rsa() }
    }
}

impl Azure {
    /// The vTPM's attestation key, for another holder.
    pub fn key(&self) -> Key {
        self.ak.clone()
    }

    /// The registers after one fixed boot.
    pub fn boot(&self) -> BootLog {
        let mut log = BootLog::default();
        log.event(4, 8, b"kernel");
        log
    }

    /// Behind SEV-SNP.
    pub fn mint_snp(&self, amd: &Amd, report: &Report, report_data: &ReportData) -> Evidence {
        self.mint_snp_over(amd, report, &self.runtime(report_data), report_data)
    }

    /// The same, with other runtime data.
    pub fn mint_snp_over(&self, amd: &Amd, report: &Report, runtime: &Value, report_data: &ReportData) -> Evidence {
        let json = runtime.to_string().into_bytes();
        let hardware = amd.mint(report, &bound(&json));
        let raw = envelope(&hardware.raw, REPORT_TYPE_SNP, &json);
        let certificates = hardware.aux[&Aux::Certificates].clone();
        self.quoted(Evidence::bare(TeeKind::AzureSnp, raw), report_data).with(Aux::Certificates, certificates)
    }

    /// Behind TDX: the host made the quote of the report in the envelope.
    pub fn mint_tdx(&self, intel: &Intel, platform: &Platform, guest: &Guest, report_data: &ReportData) -> Evidence {
        let json = self.runtime(report_data).to_string().into_bytes();
        let bound = bound(&json);
        let mut td_report = vec![0; 1184];
        td_report[128..192].copy_from_slice(&bound.0);
        let raw = envelope(&td_report, REPORT_TYPE_TDX, &json);
        let quote = intel.mint(platform, guest, &bound).raw;
        self.quoted(Evidence::bare(TeeKind::AzureTdx, raw), report_data).with(Aux::TdQuote, quote)
    }

    pub fn runtime(&self, report_data: &ReportData) -> Value {
        let (modulus, exponent) = self.ak.rsa_numbers();
        serde_json::json!({
            "keys": [{
                "kid": "HCLAkPub", "kty": "RSA", "key_ops": ["encrypt"],
                "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent),
            }],
            "vm-configuration": {"secure-boot": true, "console-enabled": false},
            "user-data": hex::encode_upper(report_data.0),
        })
    }

    fn quoted(&self, evidence: Evidence, report_data: &ReportData) -> Evidence {
        let boot = self.boot();
        let quote = tpm::quote(&self.ak, &boot.pcrs, &sha256(&report_data.0).0);
        evidence.with(Aux::TpmQuote, quote.encode()).with(Aux::EventLog, boot.bytes().to_vec())
    }
}

fn bound(json: &[u8]) -> ReportData {
    let mut bound = [0; 64];
    bound[..32].copy_from_slice(&sha256(json).0);
    ReportData(bound)
}

fn envelope(hardware: &[u8], report_type: u32, json: &[u8]) -> Vec<u8> {
    let word = |value: u32| value.to_le_bytes();
    let mut raw = [&b"HCLA"[..], &word(2), &word(0), &word(2), &word(0), &[0; 12], hardware].concat();
    raw.extend([word(0), word(1), word(report_type), word(1), word(json.len() as u32)].concat());
    raw.extend(json);
    raw.resize(2600.max(raw.len()), 0);
    raw
}
