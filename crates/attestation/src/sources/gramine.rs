//! SGX under Gramine: write the report data, read the quote.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Devices, answer, device, sealing_key};
use crate::platforms::dcap::trimmed;
use crate::{Evidence, EvidenceSource, ReportData, SealingKey, SourceError, TeeKind};

pub const FOLDER: &str = "/dev/attestation";
/// `dcap`, `epid` or `none`.
const TYPE: &str = "/dev/attestation/attestation_type";
const REPORT_DATA: &str = "/dev/attestation/user_report_data";
const QUOTE: &str = "/dev/attestation/quote";
/// The processor's key for this enclave, whoever signed it: another version of the code gets another.
const SEALING: &str = "/dev/attestation/keys/_sgx_mrenclave";
const SEALING_BYTES: usize = 16;

pub struct Gramine {
    devices: Arc<dyn Devices>,
}

impl Gramine {
    /// Absent in old versions, `attestation_type` must say `dcap` where it is.
    pub fn open(devices: Arc<dyn Devices>) -> Result<Self, SourceError> {
        let path = Path::new(TYPE);
        if devices.exists(path) {
            let found = devices.read(path).map_err(device(path))?;
            if found.trim_ascii() != b"dcap" {
                let why = format!("Gramine attests by {}, not by dcap", String::from_utf8_lossy(found.trim_ascii()));
                return Err(SourceError::Unsupported { why });
            }
        }
        Ok(Self { devices })
    }
}

impl EvidenceSource for Gramine {
    fn kind(&self) -> TeeKind {
        TeeKind::Sgx
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        let (report_data_path, quote_path) = (Path::new(REPORT_DATA), Path::new(QUOTE));
        self.devices.write(report_data_path, &report_data.0).map_err(device(report_data_path))?;
        let quote = self.devices.read(quote_path).map_err(device(quote_path))?;
        if quote.is_empty() {
            return Err(answer("the quote is empty"));
        }
        Ok(Evidence::bare(TeeKind::Sgx, trimmed(quote)))
    }

    fn sealing_key(&self, _: Option<&[u8]>) -> Result<Option<SealingKey>, SourceError> {
        let path = Path::new(SEALING);
        if !self.devices.exists(path) {
            return Ok(None);
        }
        let secret = Zeroizing::new(self.devices.read(path).map_err(device(path))?);
        if secret.len() != SEALING_BYTES {
            return Err(answer("the enclave's sealing key has another length"));
        }
        Ok(Some(SealingKey { key: sealing_key(&secret), keep: Vec::new(), before: None }))
    }
}
