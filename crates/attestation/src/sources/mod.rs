//! Where a node gets its evidence: the devices and folders through which a guest asks its platform.
//!
//! | found | platform | how |
//! |---|---|---|
//! | `/dev/attestation` | SGX under Gramine | [`gramine`] |
//! | `/sys/kernel/config/tsm/report` | SEV-SNP, TDX, CCA on Linux 6.7 or newer | [`tsm`] |
//! | `/dev/nsm`, `/dev/sev-guest` alone | Nitro, SEV-SNP on older kernels | not here: both need an `ioctl`, and this workspace forbids `unsafe` |
//!
//! Detection is not trust: a host may put anything there, and the verifiers decide. Sources see the machine through [`Files`], so that a
//! test stands in for the kernel; this is the one place in the core that touches the outside.

pub mod gramine;
pub mod tsm;

use std::io;
use std::path::Path;

use crate::{EvidenceSource, SourceError};

/// What sources ask of the machine.
pub trait Files: Send + Sync {
    fn exists(&self, path: &Path) -> bool;
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The machine itself.
pub struct Machine;

impl Files for Machine {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        std::fs::write(path, bytes)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

/// Devices that are known and cannot be asked without an `ioctl`.
const UNSUPPORTED: [(&str, &str); 2] = [
    ("/dev/nsm", "Nitro's device needs an ioctl, which this build does not make"),
    ("/dev/sev-guest", "this kernel offers SEV-SNP only by ioctl: use Linux 6.7 or newer, for configfs-tsm"),
];

/// The platform that this machine offers; `None`: no TEE is to be seen.
pub fn detect(files: Box<dyn Files>) -> Result<Option<Box<dyn EvidenceSource>>, SourceError> {
    if files.exists(Path::new(gramine::FOLDER)) {
        return Ok(Some(Box::new(gramine::Gramine::open(files)?)));
    }
    if files.exists(Path::new(tsm::FOLDER)) {
        return Ok(Some(Box::new(tsm::Tsm::open(files)?)));
    }
    match UNSUPPORTED.iter().find(|(device, _)| files.exists(Path::new(device))) {
        Some((_, why)) => Err(SourceError::Unsupported { why: (*why).to_owned() }),
        None => Ok(None),
    }
}

fn device(what: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let what = what.display().to_string();
    move |source| SourceError::Device { what, source }
}

fn answer(why: &str) -> SourceError {
    SourceError::Answer { why: why.to_owned() }
}

#[cfg(test)]
mod tests;
