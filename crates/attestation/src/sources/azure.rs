//! Azure confidential VMs: the paravisor's vTPM holds the report in an NV index, and quotes.
//!
//! The guest's 64 bytes are written to one index and appear in the report that is read from the other; the quote covers their hash.
//! Certificates of the processor, and a quote of the trust domain, come from the cloud's metadata service.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_crypto::sha256;
use serde::Deserialize;

use super::container::Cached;
use super::{Devices, answer, tpm};
use crate::evidence::AUX_BYTES_MAX;
use crate::platforms::azure::Envelope;
use crate::platforms::dcap::trimmed;
use crate::{Aux, Evidence, EvidenceSource, ReportData, SourceError, TeeKind};

const REPORT_INDEX: u32 = 0x0140_0001;
const USER_DATA_INDEX: u32 = 0x0140_0002;
const ATTESTATION_KEY: u32 = 0x8100_0003;
const BOOT_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
const CERTIFICATES_PATH: &str = "/metadata/THIM/amd/certification";
const TD_QUOTE_PATH: &str = "/acc/tdquote";
/// Of the hardware report's field, in a trust domain.
const TD_REPORT_BYTES: usize = 1024;
/// A report may be read before the paravisor has made it anew.
const ATTEMPTS_MAX: usize = 5;

pub struct Azure {
    devices: Arc<dyn Devices>,
    kind: TeeKind,
    report_bytes: u16,
}

#[derive(Deserialize)]
struct TdQuote {
    quote: String,
}

impl Azure {
    /// `None`: there is a TPM, and it is not such a paravisor's.
    pub fn open(devices: Arc<dyn Devices>) -> Result<Option<Self>, SourceError> {
        let Some(report_bytes) = tpm::nv_size(devices.as_ref(), REPORT_INDEX)? else { return Ok(None) };
        let report = tpm::nv_read(devices.as_ref(), REPORT_INDEX, report_bytes)?;
        let kind = Envelope::parse(&report).ok().and_then(|envelope| envelope.kind());
        let kind = kind.ok_or_else(|| answer("the paravisor's report is of an unknown kind"))?;
        Ok(Some(Self { devices, kind, report_bytes }))
    }

    /// The report, once it repeats the report data.
    fn report(&self, report_data: &ReportData) -> Result<Vec<u8>, SourceError> {
        tpm::nv_write(self.devices.as_ref(), USER_DATA_INDEX, &report_data.0)?;
        for _ in 0..ATTEMPTS_MAX {
            let report = tpm::nv_read(self.devices.as_ref(), REPORT_INDEX, self.report_bytes)?;
            let envelope = Envelope::parse(&report).map_err(|error| answer(&error.to_string()))?;
            match envelope.user_data() {
                // Older paravisors do not repeat it: the quote alone binds it then.
                None => return Ok(report),
                Some(user_data) if user_data == report_data.0 => return Ok(report),
                Some(_) => {}
            }
        }
        Err(answer("the paravisor's report does not take up the report data"))
    }

    fn certificates(&self) -> Result<String, SourceError> {
        Cached::from_json(&self.metadata(CERTIFICATES_PATH, None)?)
    }

    fn td_quote(&self, report: &[u8]) -> Result<Vec<u8>, SourceError> {
        let envelope = Envelope::parse(report).map_err(|error| answer(&error.to_string()))?;
        let td_report = envelope.hardware.get(..TD_REPORT_BYTES).unwrap_or_default();
        let body = serde_json::json!({ "report": URL_SAFE_NO_PAD.encode(td_report) }).to_string();
        let answered = self.metadata(TD_QUOTE_PATH, Some(&body))?;
        let malformed = |error: &dyn std::fmt::Display| answer(&format!("the trust domain's quote: {error}"));
        let TdQuote { quote } = serde_json::from_slice(&answered).map_err(|error| malformed(&error))?;
        let quote = URL_SAFE_NO_PAD.decode(quote.trim_end_matches('=')).map_err(|error| malformed(&error))?;
        Ok(trimmed(quote))
    }

    fn metadata(&self, path: &str, body: Option<&str>) -> Result<Vec<u8>, SourceError> {
        let what = format!("the metadata service's {path}");
        self.devices.metadata(path, body).map_err(|source| SourceError::Device { what, source })
    }
}

impl EvidenceSource for Azure {
    fn kind(&self) -> TeeKind {
        self.kind
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        let report = self.report(report_data)?;
        let quote = tpm::quote(self.devices.as_ref(), ATTESTATION_KEY, &sha256(&report_data.0).0)?;
        let beside = match self.kind {
            TeeKind::AzureSnp => (Aux::Certificates, self.certificates()?.into_bytes()),
            _ => (Aux::TdQuote, self.td_quote(&report)?),
        };
        let mut evidence =
            Evidence::bare(self.kind, report).with(Aux::TpmQuote, quote.encode()).with(beside.0, beside.1);
        // Only policies that list events need it; without room it stays away.
        let log = self.devices.read(Path::new(BOOT_LOG)).unwrap_or_default();
        let others: usize = evidence.aux.values().map(Vec::len).sum();
        if !log.is_empty() && log.len() + others <= AUX_BYTES_MAX {
            evidence.aux.insert(Aux::EventLog, log);
        }
        Ok(evidence)
    }
}
