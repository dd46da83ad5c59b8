//! SGX under Gramine: write the report data, read the quote.

use std::path::Path;

use super::{Files, answer, device};
use crate::platforms::dcap::trimmed;
use crate::{Evidence, EvidenceSource, ReportData, SourceError, TeeKind};

pub const FOLDER: &str = "/dev/attestation";
/// `dcap`, `epid` or `none`.
const TYPE: &str = "/dev/attestation/attestation_type";
const REPORT_DATA: &str = "/dev/attestation/user_report_data";
const QUOTE: &str = "/dev/attestation/quote";

pub struct Gramine {
    files: Box<dyn Files>,
}

impl Gramine {
    /// Absent in old versions, `attestation_type` must say `dcap` where it is.
    pub fn open(files: Box<dyn Files>) -> Result<Self, SourceError> {
        let path = Path::new(TYPE);
        if files.exists(path) {
            let found = files.read(path).map_err(device(path))?;
            if found.trim_ascii() != b"dcap" {
                let why = format!("Gramine attests by {}, not by dcap", String::from_utf8_lossy(found.trim_ascii()));
                return Err(SourceError::Unsupported { why });
            }
        }
        Ok(Self { files })
    }
}

impl EvidenceSource for Gramine {
    fn kind(&self) -> TeeKind {
        TeeKind::Sgx
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        let (report_data_path, quote_path) = (Path::new(REPORT_DATA), Path::new(QUOTE));
        self.files.write(report_data_path, &report_data.0).map_err(device(report_data_path))?;
        let quote = self.files.read(quote_path).map_err(device(quote_path))?;
        if quote.is_empty() {
            return Err(answer("the quote is empty"));
        }
        Ok(Evidence::bare(TeeKind::Sgx, trimmed(quote)))
    }
}
