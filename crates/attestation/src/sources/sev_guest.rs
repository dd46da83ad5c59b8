//! SEV-SNP on kernels before 6.7: the guest device, which gives the report and the host's certificates in one call.

use std::path::Path;
use std::sync::Arc;

use super::{Devices, amd, answer, certificate_table, device};
use crate::platforms::snp::report::REPORT_BYTES;
use crate::{Aux, Evidence, EvidenceSource, ReportData, SourceError, TeeKind};

pub const DEVICE: &str = "/dev/sev-guest";
/// The guest's own privilege level, the highest.
const VMPL: u32 = 0;
/// Before the report in the firmware's message: status, length, 24 reserved bytes (AMD 56860, MSG_REPORT_RSP).
const HEAD_BYTES: usize = 32;

pub struct SevGuest {
    pub devices: Arc<dyn Devices>,
}

impl EvidenceSource for SevGuest {
    fn kind(&self) -> TeeKind {
        TeeKind::SevSnp
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        let (message, table) = self.devices.sev_guest(&report_data.0, VMPL).map_err(device(Path::new(DEVICE)))?;
        let evidence = Evidence::bare(TeeKind::SevSnp, report(&message)?);
        let supplied = certificate_table::pem(&table)?.into_bytes();
        amd::complete(self.devices.as_ref(), evidence.with(Aux::Certificates, supplied))
    }
}

fn report(message: &[u8]) -> Result<Vec<u8>, SourceError> {
    let word = |at: usize| message.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_le_bytes(*bytes));
    let (Some(status), Some(length)) = (word(0), word(4)) else { return Err(answer("the message has no head")) };
    if status != 0 {
        return Err(answer(&format!("the firmware refuses a report with status {status:#x}")));
    }
    let report = message.get(HEAD_BYTES..HEAD_BYTES + REPORT_BYTES);
    match report.filter(|report| report.len() == length as usize) {
        Some(report) => Ok(report.to_vec()),
        None => Err(answer(&format!("a report of {length} bytes"))),
    }
}
