//! configfs-tsm (Linux 6.7): one folder a request; write `inblob`, read `outblob`.
//!
//! `generation` counts writes to the folder's attributes: it must be the same before and after, else somebody wrote in between and the
//! report may be another's. Read again then, a bounded number of times.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Devices, amd, answer, certificate_table, device, sev_guest};
use crate::platforms::dcap::trimmed;
use crate::{Aux, Evidence, EvidenceSource, ReportData, SealingKey, SourceError, TeeKind};

pub const FOLDER: &str = "/sys/kernel/config/tsm/report";
const ATTEMPTS_MAX: usize = 5;

pub struct Tsm {
    devices: Arc<dyn Devices>,
    kind: TeeKind,
}

/// What one request gave.
struct Blobs {
    out: Vec<u8>,
    aux: Vec<u8>,
}

impl Tsm {
    /// Asks who answers.
    pub fn open(devices: Arc<dyn Devices>) -> Result<Self, SourceError> {
        let folder = Path::new(FOLDER).join("coco-probe");
        let provider = within(devices.as_ref(), &folder, || read(devices.as_ref(), &folder, "provider"))?;
        let provider = String::from_utf8_lossy(provider.trim_ascii()).into_owned();
        let kind = match provider.as_str() {
            "sev_guest" => TeeKind::SevSnp,
            "tdx_guest" => TeeKind::Tdx,
            other if other.starts_with("arm-cca") || other.starts_with("arm_cca") => TeeKind::Cca,
            other => return Err(SourceError::Unsupported { why: format!("configfs-tsm is provided by {other}") }),
        };
        Ok(Self { devices, kind })
    }

    fn request(&self, folder: &Path, report_data: &ReportData) -> Result<Blobs, SourceError> {
        let devices = self.devices.as_ref();
        for _ in 0..ATTEMPTS_MAX {
            let inblob = folder.join("inblob");
            devices.write(&inblob, &report_data.0).map_err(device(&inblob))?;
            let before = read(devices, folder, "generation")?;
            let out = read(devices, folder, "outblob")?;
            // Absent where the host supplies nothing.
            let aux = read(devices, folder, "auxblob").unwrap_or_default();
            if read(devices, folder, "generation")? == before {
                return Ok(Blobs { out, aux });
            }
        }
        Err(answer("others keep writing to the same request"))
    }
}

impl EvidenceSource for Tsm {
    fn kind(&self) -> TeeKind {
        self.kind
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        // Report data are a hash over a challenge: no two requests share a name.
        let name: PathBuf =
            format!("coco-{}", hex::encode(report_data.0.first_chunk::<16>().unwrap_or(&[0; 16]))).into();
        let folder = Path::new(FOLDER).join(name);
        let blobs = within(self.devices.as_ref(), &folder, || self.request(&folder, report_data))?;
        let bare = |raw| Evidence::bare(self.kind, raw);
        Ok(match self.kind {
            TeeKind::SevSnp => {
                let supplied = certificate_table::pem(&blobs.aux)?.into_bytes();
                amd::complete(self.devices.as_ref(), bare(blobs.out).with(Aux::Certificates, supplied))?
            }
            TeeKind::Tdx => bare(trimmed(blobs.out)),
            _ => bare(blobs.out),
        })
    }

    /// The folder gives evidence only; SEV-SNP's device stands beside it. TDX and CCA have no such key.
    fn sealing_key(&self, kept: Option<&[u8]>) -> Result<Option<SealingKey>, SourceError> {
        match self.kind {
            TeeKind::SevSnp => sev_guest::derived_key(self.devices.as_ref(), kept),
            _ => Ok(None),
        }
    }
}

/// The folder exists while `work` runs, and not afterwards.
fn within<T>(
    devices: &dyn Devices,
    folder: &Path,
    work: impl FnOnce() -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    devices.create_folder(folder).map_err(device(folder))?;
    let result = work();
    devices.remove_folder(folder).map_err(device(folder))?;
    result
}

fn read(devices: &dyn Devices, folder: &Path, name: &str) -> Result<Vec<u8>, SourceError> {
    let path = folder.join(name);
    devices.read(&path).map_err(device(&path))
}
