//! SEV-SNP on kernels before 6.7: the guest device, which gives the report and the host's certificates in one call.

use std::path::Path;
use std::sync::Arc;

use coco_crypto::encode_pem;

use super::{Devices, container, device};
use crate::{Aux, Evidence, EvidenceSource, ReportData, SourceError, TeeKind};

pub const DEVICE: &str = "/dev/sev-guest";

pub struct SevGuest {
    pub devices: Arc<dyn Devices>,
}

impl EvidenceSource for SevGuest {
    fn kind(&self) -> TeeKind {
        TeeKind::SevSnp
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        let (report, certificates) =
            self.devices.sev_guest_report(&report_data.0).map_err(device(Path::new(DEVICE)))?;
        let pem: String = certificates.iter().map(|der| encode_pem("CERTIFICATE", der)).collect();
        let evidence = Evidence::bare(TeeKind::SevSnp, report).with(Aux::Certificates, pem.into_bytes());
        container::complete(self.devices.as_ref(), evidence)
    }
}
