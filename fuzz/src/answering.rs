//! A machine whose devices, and so whose host, answer with an input's bytes.

use std::io;
use std::path::Path;

use coco_attestation::sources::Devices;
use zeroize::Zeroizing;

/// What the firmware's message of a guest device takes; what is behind it in an input is the host's table of certificates.
const MESSAGE_BYTES: usize = 4000;

pub struct Answering(pub Vec<u8>);

impl Answering {
    fn absent<T>(&self) -> io::Result<T> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl Devices for Answering {
    fn exists(&self, _: &Path) -> bool {
        true
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        self.absent()
    }

    fn remove_folder(&self, _: &Path) -> io::Result<()> {
        self.absent()
    }

    fn write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        self.absent()
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        self.absent()
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn tpm(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        self.absent()
    }

    fn nsm(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }

    fn sev_guest(&self, _: &[u8; 64], _: u32) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (message, table) = self.0.split_at(self.0.len().min(MESSAGE_BYTES));
        Ok((message.to_vec(), table.to_vec()))
    }

    fn sev_derived_key(&self, _: u64, _: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        Ok(Zeroizing::new(self.0.clone()))
    }

    fn amd_certificates(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn metadata(&self, _: &str, _: Option<&str>) -> io::Result<Vec<u8>> {
        self.absent()
    }
}
