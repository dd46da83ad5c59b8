//! Machines that do not exist, as a node sees them: devices, folders and a cloud's metadata service, that answer with minted evidence.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coco_attestation::sources::Devices;
use coco_attestation::{Aux, Evidence, ReportData};

use crate::vtpm::Vtpm;

type Mint = Box<dyn Fn(&ReportData) -> Evidence + Send + Sync>;
type Metadata = Box<dyn Fn(&str, Option<&str>) -> Option<Vec<u8>> + Send + Sync>;

/// What is not there does not answer.
#[derive(Default)]
pub struct Machine {
    /// Devices exist as files without content.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    pub variables: BTreeMap<String, String>,
    pub nsm: Option<Mint>,
    pub sev_guest: Option<Mint>,
    pub tpm: Option<Mutex<Vtpm>>,
    pub metadata: Option<Metadata>,
}

impl Machine {
    pub fn with(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }
}

fn absent<T>(found: Option<T>) -> io::Result<T> {
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Devices for Machine {
    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn remove_folder(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        absent(self.files.get(path).cloned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn tpm(&self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut tpm = absent(self.tpm.as_ref())?.lock().expect("no test panics while it holds this");
        Ok(tpm.answer(command))
    }

    fn nsm_document(&self, user_data: &[u8; 64]) -> io::Result<Vec<u8>> {
        absent(self.nsm.as_ref()).map(|mint| mint(&ReportData(*user_data)).raw)
    }

    fn sev_guest_report(&self, report_data: &[u8; 64]) -> io::Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let evidence = absent(self.sev_guest.as_ref())?(&ReportData(*report_data));
        let pem = String::from_utf8_lossy(&evidence.aux[&Aux::Certificates]).into_owned();
        let ders = coco_crypto::decode_pem_all("CERTIFICATE", &pem).unwrap_or_default();
        Ok((evidence.raw, ders))
    }

    fn metadata(&self, path: &str, body: Option<&str>) -> io::Result<Vec<u8>> {
        absent(self.metadata.as_ref().and_then(|metadata| metadata(path, body)))
    }
}
