//! AWS Nitro Enclaves: the security module makes the whole document.

use std::path::Path;
use std::sync::Arc;

use super::{Devices, device};
use crate::{Evidence, EvidenceSource, ReportData, SourceError, TeeKind};

pub const DEVICE: &str = "/dev/nsm";

pub struct Nsm {
    pub devices: Arc<dyn Devices>,
}

impl EvidenceSource for Nsm {
    fn kind(&self) -> TeeKind {
        TeeKind::Nitro
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        let document = self.devices.nsm_document(&report_data.0).map_err(device(Path::new(DEVICE)))?;
        Ok(Evidence::bare(TeeKind::Nitro, document))
    }
}
