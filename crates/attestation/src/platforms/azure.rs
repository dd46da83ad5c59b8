//! Azure confidential VMs: Microsoft's paravisor holds a virtual TPM, and the processor's report vouches for the paravisor.
//!
//! ```text
//!   hardware report ─ report data = SHA-256(runtime JSON) ─▶ attestation key of the vTPM ─▶ quote over PCRs, extra data
//! ```
//!
//! The guest's 64 bytes appear as the JSON's `user-data` and, hashed, as the quote's extra data. Weaker by construction: the paravisor
//! is trusted and holds the key; claims say so. Behind TDX the envelope holds a TDREPORT that only its own machine can check: the
//! quote that the host made of it travels beside it and must carry the same report data.
//!
//! The boot log may travel beside the quote. Then it must lead to the quoted values of the PCRs that firmware and loader fill, and policy
//! can name what may boot instead of the one value that a boot leaves.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_crypto::{ForeignKey, constant_time_eq, sha256};
use serde::Deserialize;

use crate::chain;
use crate::claims::{AzureClaims, Bound, Claims, Details, Isolation};
use crate::platforms::boot_log::BootLog;
use crate::platforms::dcap::{self, quote::Quote};
use crate::platforms::snp;
use crate::platforms::snp::report::REPORT_BYTES;
use crate::platforms::tpm::TpmQuote;
use crate::trust::Trust;
use crate::{Aux, Evidence, Moment, TeeKind, VerifyError, Window};

const HEADER_BYTES: usize = 32;
const RUNTIME_AT: usize = HEADER_BYTES + REPORT_BYTES;
const JSON_AT: usize = RUNTIME_AT + 20;
const REPORT_TYPE_SNP: u32 = 2;
const REPORT_TYPE_TDX: u32 = 4;
const HASH_SHA256: u32 = 1;
/// Of the TDREPORT.
const TD_REPORT_DATA_AT: usize = 128;
const SNP_DEBUG: u64 = 1 << 19;
const ATTESTATION_KEY: &str = "HCLAkPub";
/// What a quote must cover at least: firmware, boot order, loader, secure boot.
const PCRS_REQUIRED: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// The last PCR of which the firmware's log has every event: the loader's. Later ones are extended by the running system.
const LOGGED_PCR_LAST: u8 = 9;

pub(crate) fn verify(evidence: &Evidence, trust: &Trust, at: Moment) -> Result<Claims, VerifyError> {
    let envelope = Envelope::parse(&evidence.raw)?;
    let hardware = match evidence.kind {
        TeeKind::AzureSnp => verify_snp(evidence, &envelope, trust, at)?,
        _ => verify_tdx(evidence, &envelope, trust, at)?,
    };
    let bound = [&sha256(envelope.json).0[..], &[0; 32]].concat();
    if !constant_time_eq(&hardware.report_data, &bound) {
        return Err(VerifyError::HclBindingMismatch);
    }
    let runtime = Runtime::parse(envelope.json)?;
    let quote = TpmQuote::decode(evidence.aux(Aux::TpmQuote)?)?;
    let quoted = quote.verify(&runtime.attestation_key, &PCRS_REQUIRED)?;
    let pcrs = quoted.pcrs.iter().map(|(index, value)| (*index, hex::encode(value))).collect();
    let boot_events = match evidence.aux.get(&Aux::EventLog) {
        Some(log) => Some(boot_events(log, &quoted.pcrs)?),
        None => None,
    };
    Ok(Claims {
        kind: evidence.kind,
        debug: hardware.debug,
        isolation: Isolation::HardwareWithParavisor,
        hardware_id: hardware.hardware_id,
        validity: hardware.validity,
        roots: vec![hardware.root],
        bound: Bound::Vtpm { user_data: runtime.user_data, extra_data: quoted.extra_data },
        details: Details::Azure(Box::new(AzureClaims {
            hardware: hardware.details,
            pcrs,
            boot_events,
            secure_boot: runtime.configuration.secure_boot,
            console_enabled: runtime.configuration.console_enabled,
            tpm_persisted: runtime.configuration.tpm_persisted,
            vm_id: runtime.configuration.vm_id,
        })),
    })
}

fn boot_events(log: &[u8], quoted: &BTreeMap<u8, [u8; 32]>) -> Result<BTreeMap<u8, Vec<String>>, VerifyError> {
    let log = BootLog::parse(log)?;
    let logged = quoted.iter().filter(|(pcr, _)| **pcr <= LOGGED_PCR_LAST).map(|(pcr, value)| (*pcr, *value));
    log.check_replay(&logged.collect())?;
    let measured = log.measured(|pcr| pcr <= LOGGED_PCR_LAST);
    Ok(measured.into_iter().map(|(pcr, digests)| (pcr, digests.iter().map(hex::encode).collect())).collect())
}

/// What the processor says.
struct Hardware {
    details: Details,
    report_data: [u8; 64],
    debug: bool,
    hardware_id: Option<String>,
    validity: Window,
    root: coco_types::Digest,
}

fn verify_snp(
    evidence: &Evidence,
    envelope: &Envelope<'_>,
    trust: &Trust,
    at: Moment,
) -> Result<Hardware, VerifyError> {
    if envelope.report_type != REPORT_TYPE_SNP {
        return Err(malformed("its hardware report is of another kind"));
    }
    let certificates = chain::from_pem(evidence.aux(Aux::Certificates)?)?;
    let verified = snp::verify_report(envelope.hardware, &certificates, trust, at)?;
    Ok(Hardware {
        report_data: verified.report_data,
        debug: verified.claims.policy & SNP_DEBUG != 0,
        hardware_id: verified.hardware_id,
        validity: verified.validity,
        root: verified.root,
        details: Details::SevSnp(Box::new(verified.claims)),
    })
}

fn verify_tdx(
    evidence: &Evidence,
    envelope: &Envelope<'_>,
    trust: &Trust,
    at: Moment,
) -> Result<Hardware, VerifyError> {
    if envelope.report_type != REPORT_TYPE_TDX {
        return Err(malformed("its hardware report is of another kind"));
    }
    let raw = evidence.aux(Aux::TdQuote)?;
    let quote = Quote::parse(raw)?;
    let reported = envelope.hardware.get(TD_REPORT_DATA_AT..TD_REPORT_DATA_AT + 64).unwrap_or_default();
    if !constant_time_eq(&quote.report_data(), reported) {
        return Err(VerifyError::QuoteReportMismatch);
    }
    let verified = dcap::verify_quote(&quote, raw, trust, at)?;
    Ok(Hardware {
        report_data: quote.report_data(),
        debug: verified.debug,
        hardware_id: Some(verified.hardware_id),
        validity: verified.validity,
        root: verified.root,
        details: verified.details,
    })
}

/// The paravisor's report, as it lies in the TPM's memory.
pub(crate) struct Envelope<'a> {
    pub hardware: &'a [u8],
    pub json: &'a [u8],
    report_type: u32,
}

impl<'a> Envelope<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, VerifyError> {
        let word = |at: usize| -> Result<u32, VerifyError> {
            let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
            word.map(|word| u32::from_le_bytes(*word)).ok_or_else(|| malformed("it is cut off"))
        };
        if !bytes.starts_with(b"HCLA") || !matches!(word(4)?, 1 | 2) || word(12)? != 2 || word(16)? != 0 {
            return Err(malformed("its header"));
        }
        let hash_type = word(RUNTIME_AT + 12)?;
        if hash_type != HASH_SHA256 {
            return Err(VerifyError::HclHashTypeUnsupported { found: hash_type });
        }
        let len = word(RUNTIME_AT + 16)? as usize;
        let json = JSON_AT.checked_add(len).and_then(|end| bytes.get(JSON_AT..end));
        let json = json.ok_or_else(|| malformed("its runtime data are cut off"))?;
        // The TPM's memory is larger than what is written to it.
        if bytes.iter().skip(JSON_AT + len).any(|byte| *byte != 0) {
            return Err(malformed("bytes after its runtime data"));
        }
        let hardware = bytes.get(HEADER_BYTES..RUNTIME_AT).ok_or_else(|| malformed("it is cut off"))?;
        Ok(Self { hardware, json, report_type: word(RUNTIME_AT + 8)? })
    }
}

impl Envelope<'_> {
    /// Which processor's report is inside.
    pub fn kind(&self) -> Option<TeeKind> {
        match self.report_type {
            REPORT_TYPE_SNP => Some(TeeKind::AzureSnp),
            REPORT_TYPE_TDX => Some(TeeKind::AzureTdx),
            _ => None,
        }
    }

    /// What the report repeats of the guest's data, for the guest itself: nothing is verified.
    pub fn user_data(&self) -> Option<Vec<u8>> {
        Runtime::parse(self.json).ok()?.user_data
    }
}

#[derive(Deserialize)]
struct RuntimeJson {
    keys: Vec<Jwk>,
    #[serde(rename = "vm-configuration", default)]
    configuration: Configuration,
    #[serde(rename = "user-data", default)]
    user_data: Option<String>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Configuration {
    #[serde(rename = "secure-boot")]
    secure_boot: Option<bool>,
    #[serde(rename = "console-enabled")]
    console_enabled: Option<bool>,
    #[serde(rename = "tpm-persisted")]
    tpm_persisted: Option<bool>,
    #[serde(rename = "vmUniqueId")]
    vm_id: Option<String>,
}

struct Runtime {
    attestation_key: ForeignKey,
    configuration: Configuration,
    user_data: Option<Vec<u8>>,
}

impl Runtime {
    /// Only after its hash matched. Which operations a key claims is not looked at: real reports say `encrypt`.
    fn parse(json: &[u8]) -> Result<Self, VerifyError> {
        let json: RuntimeJson = serde_json::from_slice(json).map_err(|error| malformed(&error.to_string()))?;
        let mut keys = json.keys.iter().filter(|key| key.kid == ATTESTATION_KEY);
        let (Some(key), None) = (keys.next(), keys.next()) else { return Err(VerifyError::AkMissing) };
        let number = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let key = match (key.kty.as_str(), number(&key.n), number(&key.e)) {
            ("RSA", Some(n), Some(e)) => ForeignKey::from_rsa(&n, &e).map_err(|_| VerifyError::AkMissing)?,
            _ => return Err(VerifyError::AkMissing),
        };
        let user_data = match json.user_data {
            Some(text) => Some(hex::decode(text).map_err(|_| malformed("its user data are not hexadecimal"))?),
            None => None,
        };
        Ok(Self { attestation_key: key, configuration: json.configuration, user_data })
    }
}

fn malformed(why: &str) -> VerifyError {
    VerifyError::HclMalformed { why: why.to_owned() }
}
