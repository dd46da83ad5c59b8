//! Where a node gets its evidence: the devices and folders through which a guest asks its platform.
//!
//! | found | platform | how |
//! |---|---|---|
//! | `/dev/attestation` | SGX under Gramine | [`gramine`] |
//! | `/dev/nsm` | AWS Nitro Enclaves | [`nsm`] |
//! | `/sys/kernel/config/tsm/report` | SEV-SNP, TDX, CCA on Linux 6.7 or newer | [`tsm`] |
//! | `/dev/sev-guest` | SEV-SNP on older kernels | [`sev_guest`] |
//! | a TPM whose NV index 0x01400001 holds a report | Azure's paravisor, over SEV-SNP or TDX | [`azure`] |
//!
//! Detection is not trust: a host may put anything there, and the verifiers decide. Sources see the machine through [`Devices`], which the
//! node implements, so that a test stands in for the kernel and nothing here touches the outside.

mod amd;
pub mod azure;
mod certificate_table;
pub mod container;
pub mod gramine;
pub mod nsm;
pub mod sev_guest;
pub mod tpm;
pub mod tsm;

use std::io;
use std::path::Path;
use std::sync::Arc;

use coco_crypto::{SymmetricKey, hmac_sha256};
use zeroize::Zeroizing;

use crate::{EvidenceSource, SourceError};

/// What a platform's own key is turned into a node's with.
const SEALING_DOMAIN: &[u8] = b"coco.node.sealing.v1";

/// What sources ask of the machine.
pub trait Devices: Send + Sync {
    fn exists(&self, path: &Path) -> bool;
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// One command of TPM 2.0 and its answer, through the kernel's resource manager.
    fn tpm(&self, command: &[u8]) -> io::Result<Vec<u8>>;
    /// One request of Nitro's security module and its answer, both in CBOR.
    fn nsm(&self, request: &[u8]) -> io::Result<Vec<u8>>;
    /// The SEV guest device: the firmware's message with a report over these bytes at this privilege level, and the host's table of certificates.
    fn sev_guest(&self, report_data: &[u8; 64], vmpl: u32) -> io::Result<(Vec<u8>, Vec<u8>)>;
    /// The SEV guest device: the firmware's message with a key derived from these fields of the guest and this version of the firmware.
    fn sev_derived_key(&self, fields: u64, tcb_version: u64) -> io::Result<Zeroizing<Vec<u8>>>;
    /// The AMD processor's certificates in PEM that whoever runs the node has put beside it.
    fn amd_certificates(&self) -> io::Result<Option<Vec<u8>>>;
    /// The cloud's metadata service: a GET, or a POST of JSON.
    fn metadata(&self, path: &str, body: Option<&str>) -> io::Result<Vec<u8>>;
}

/// The platform that this machine offers; `None`: no TEE is to be seen.
pub fn detect(devices: Arc<dyn Devices>) -> Result<Option<Box<dyn EvidenceSource>>, SourceError> {
    let exists = |path: &str| devices.exists(Path::new(path));
    if exists(gramine::FOLDER) {
        return Ok(Some(Box::new(gramine::Gramine::open(devices)?)));
    }
    if exists(nsm::DEVICE) {
        return Ok(Some(Box::new(nsm::Nsm { devices })));
    }
    if exists(tsm::FOLDER) {
        return Ok(Some(Box::new(tsm::Tsm::open(devices)?)));
    }
    if exists(sev_guest::DEVICE) {
        return Ok(Some(Box::new(sev_guest::SevGuest { devices })));
    }
    if exists(tpm::DEVICE)
        && let Some(azure) = azure::Azure::open(devices)?
    {
        return Ok(Some(Box::new(azure)));
    }
    Ok(None)
}

fn sealing_key(secret: &[u8]) -> SymmetricKey {
    SymmetricKey::from_bytes(hmac_sha256(secret, SEALING_DOMAIN).0)
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
