//! A paravisor that does not exist, over a minted processor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_attestation::{Aux, Evidence, ReportData, TeeKind};
use coco_crypto::sha256;

use crate::key::Key;
use crate::snp::{Amd, Report};
use crate::tpm::{self, BootLog};

pub struct Azure {
    ak: Key,
}

impl Default for Azure {
    fn default() -> Self {
        Self { ak: Key::rsa() }
    }
}

impl Azure {
    /// The registers after one fixed boot.
    pub fn boot(&self) -> BootLog {
        let mut log = BootLog::default();
        log.event(4, 8, b"kernel");
        log
    }

    pub fn mint_snp(&self, amd: &Amd, report: &Report, report_data: &ReportData) -> Evidence {
        let (modulus, exponent) = self.ak.rsa_numbers();
        let json = serde_json::json!({
            "keys": [{
                "kid": "HCLAkPub", "kty": "RSA", "key_ops": ["encrypt"],
                "n": URL_SAFE_NO_PAD.encode(modulus), "e": URL_SAFE_NO_PAD.encode(exponent),
            }],
            "vm-configuration": {"secure-boot": true, "console-enabled": false},
            "user-data": hex::encode_upper(report_data.0),
        });
        let json = json.to_string().into_bytes();
        let mut bound = [0; 64];
        bound[..32].copy_from_slice(&sha256(&json).0);
        let hardware = amd.mint(report, &ReportData(bound));
        let word = |value: u32| value.to_le_bytes();
        let mut raw = [&b"HCLA"[..], &word(2), &word(0), &word(2), &word(0), &[0; 12], &hardware.raw].concat();
        raw.extend([word(0), word(1), word(2), word(1), word(json.len() as u32)].concat());
        raw.extend(&json);
        raw.resize(2600.max(raw.len()), 0);
        let quote = tpm::quote(&self.ak, &self.boot().pcrs, &sha256(&report_data.0).0);
        let certificates = hardware.aux[&Aux::Certificates].clone();
        Evidence::bare(TeeKind::AzureSnp, raw).with(Aux::Certificates, certificates).with(Aux::TpmQuote, quote.encode())
    }
}
