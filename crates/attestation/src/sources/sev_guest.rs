//! SEV-SNP on kernels before 6.7: the guest device, which gives the report and the host's certificates in one call.

use std::path::Path;
use std::sync::Arc;

use coco_crypto::SymmetricKey;

use super::{Devices, amd, answer, certificate_table, device, sealing_key};
use crate::platforms::snp::report::{REPORT_BYTES, Report};
use crate::{Aux, Evidence, EvidenceSource, ReportData, SealingKey, SourceError, TeeKind};

pub const DEVICE: &str = "/dev/sev-guest";
/// The guest's own privilege level, the highest.
const VMPL: u32 = 0;
/// Before the report in the firmware's message: status, length, 24 reserved bytes (AMD 56860, MSG_REPORT_RSP).
const HEAD_BYTES: usize = 32;
/// A derived key stands behind as many.
const KEY_BYTES: usize = 32;
/// GUEST_FIELD_SELECT: guest policy, launch digest, firmware version (AMD 56860, MSG_KEY_REQ).
const MIXED: u64 = 1 | 1 << 3 | 1 << 5;

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

    fn sealing_key(&self, kept: Option<&[u8]>) -> Result<Option<SealingKey>, SourceError> {
        derived_key(self.devices.as_ref(), kept)
    }
}

/// A key of the processor's for this guest: mixed from its policy, its launch digest, and a version of the firmware, so that neither another image nor
/// firmware that was withdrawn before is given the same. The version is the one that is committed now. What was kept is a host's word: where it names an
/// earlier version, which that version's holes may have given away, its key only opens what an earlier start sealed.
pub(super) fn derived_key(devices: &dyn Devices, kept: Option<&[u8]>) -> Result<Option<SealingKey>, SourceError> {
    let path = Path::new(DEVICE);
    if !devices.exists(path) {
        return Ok(None);
    }
    let (message, _) = devices.sev_guest(&[0; 64], VMPL).map_err(device(path))?;
    let committed =
        Report::parse(&report(&message)?).map_err(|error| answer(&error.to_string()))?.committed_tcb_bytes();
    let kept: Option<[u8; 8]> = kept
        .map(|kept| kept.try_into().map_err(|_| answer("what was kept of the sealing key has another length")))
        .transpose()?;
    // Each byte is a part's own version, whatever the processor.
    let is_older = |kept: &[u8; 8]| kept.iter().zip(&committed).any(|(kept, committed)| kept < committed);
    let before = kept.filter(is_older).map(|kept| key_of(devices, kept)).transpose()?;
    let version = kept.filter(|kept| !is_older(kept)).unwrap_or(committed);
    Ok(Some(SealingKey { key: key_of(devices, version)?, keep: version.to_vec(), before }))
}

fn key_of(devices: &dyn Devices, version: [u8; 8]) -> Result<SymmetricKey, SourceError> {
    let message = devices.sev_derived_key(MIXED, u64::from_le_bytes(version)).map_err(device(Path::new(DEVICE)))?;
    let status = message.first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
    let key =
        message.get(HEAD_BYTES..HEAD_BYTES + KEY_BYTES).filter(|key| status == 0 && key.iter().any(|byte| *byte != 0));
    let key = key.ok_or_else(|| answer(&format!("the firmware gives no key: status {status:#x}")))?;
    Ok(sealing_key(key))
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
