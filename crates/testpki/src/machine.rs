//! Machines that do not exist, as a node sees them: devices, folders and a cloud's metadata service, that answer with minted evidence.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use coco_attestation::sources::{Devices, gramine, nsm, sev_guest, tsm};
use coco_attestation::{Aux, Evidence, ReportData};
use minicbor::{Decoder, Encoder};
use zeroize::Zeroizing;

use crate::vtpm::Vtpm;

type Mint = Box<dyn Fn(&ReportData) -> Evidence + Send + Sync>;
type Metadata = Box<dyn Fn(&str, Option<&str>) -> Option<Vec<u8>> + Send + Sync>;

/// The same for every machine: what is sealed in a test is nobody's secret.
const SEALING_KEY: [u8; 32] = [0x5e; 32];

/// What is not there does not answer.
#[derive(Default)]
pub struct Machine {
    /// Devices exist as files without content.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    pub variables: BTreeMap<String, String>,
    pub nsm: Option<Mint>,
    pub sev_guest: Option<Mint>,
    /// Who provides configfs-tsm, and what it answers with.
    pub tsm: Option<(&'static str, Mint)>,
    pub gramine: Option<Mint>,
    pub amd_certificates: Option<Vec<u8>>,
    pub tpm: Option<Mutex<Vtpm>>,
    pub metadata: Option<Metadata>,
    /// The report data that were written last.
    pub written: Mutex<Vec<u8>>,
}

impl Machine {
    pub fn with(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    pub fn with_nsm(mint: Mint) -> Self {
        Self { nsm: Some(mint), ..Self::default() }.with(nsm::DEVICE, [])
    }

    pub fn with_sev_guest(mint: Mint) -> Self {
        Self { sev_guest: Some(mint), ..Self::default() }.with(sev_guest::DEVICE, [])
    }

    pub fn with_tsm(provider: &'static str, mint: Mint) -> Self {
        Self { tsm: Some((provider, mint)), ..Self::default() }.with(tsm::FOLDER, [])
    }

    pub fn with_gramine(mint: Mint) -> Self {
        let machine = Self { gramine: Some(mint), ..Self::default() }.with(gramine::FOLDER, []);
        let machine = machine.with(Path::new(gramine::FOLDER).join("attestation_type"), *b"dcap");
        machine.with(Path::new(gramine::FOLDER).join("keys/_sgx_mrenclave"), [0x5e; 16])
    }

    /// Evidence over what was written last.
    fn minted(&self, mint: &Mint) -> io::Result<Evidence> {
        let written = self.written.lock().expect("no test panics while it holds this");
        let report_data = written.as_slice().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(mint(&ReportData(report_data)))
    }

    fn in_tsm(&self, path: &Path) -> io::Result<&(&'static str, Mint)> {
        absent(self.tsm.as_ref().filter(|_| path.starts_with(tsm::FOLDER)))
    }
}

fn absent<T>(found: Option<T>) -> io::Result<T> {
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Devices for Machine {
    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.in_tsm(path).map(drop)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.in_tsm(path).map(drop)
    }

    fn write(&self, _: &Path, bytes: &[u8]) -> io::Result<()> {
        *self.written.lock().expect("no test panics while it holds this") = bytes.to_vec();
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(fixed) = self.files.get(path) {
            return Ok(fixed.clone());
        }
        match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
            "quote" => Ok(self.minted(absent(self.gramine.as_ref())?)?.raw),
            "provider" => Ok(self.in_tsm(path)?.0.into()),
            "generation" => self.in_tsm(path).map(|_| b"1".to_vec()),
            "outblob" => Ok(self.minted(&self.in_tsm(path)?.1)?.raw),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn tpm(&self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut tpm = absent(self.tpm.as_ref())?.lock().expect("no test panics while it holds this");
        Ok(tpm.answer(command))
    }

    fn nsm(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mint = absent(self.nsm.as_ref())?;
        let user_data = user_data(request).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(answer_of_nsm(&mint(&ReportData(user_data)).raw))
    }

    fn sev_guest(&self, report_data: &[u8; 64], _: u32) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let evidence = absent(self.sev_guest.as_ref())?(&ReportData(*report_data));
        let pem = String::from_utf8_lossy(&evidence.aux[&Aux::Certificates]).into_owned();
        let mut message = [0u32.to_le_bytes(), (evidence.raw.len() as u32).to_le_bytes()].concat();
        message.resize(32, 0);
        message.extend(evidence.raw);
        message.resize(4000, 0);
        Ok((message, certificate_table(&coco_crypto::decode_pem_all("CERTIFICATE", &pem).unwrap_or_default())))
    }

    fn sev_derived_key(&self, _: u64, _: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        absent(self.sev_guest.as_ref())?;
        Ok(Zeroizing::new([[0; 32], SEALING_KEY].concat()))
    }

    fn amd_certificates(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.amd_certificates.clone())
    }

    fn metadata(&self, path: &str, body: Option<&str>) -> io::Result<Vec<u8>> {
        absent(self.metadata.as_ref().and_then(|metadata| metadata(path, body)))
    }
}

/// Of a request for a document.
fn user_data(request: &[u8]) -> Result<[u8; 64], minicbor::decode::Error> {
    let mut decoder = Decoder::new(request);
    decoder.map()?;
    decoder.str()?;
    for _ in 0..decoder.map()?.unwrap_or_default() {
        if decoder.str()? == "user_data" {
            let bytes = decoder.bytes()?.try_into();
            return bytes.map_err(|_| minicbor::decode::Error::message("user data of another length"));
        }
        decoder.skip()?;
    }
    Err(minicbor::decode::Error::message("no user data"))
}

fn answer_of_nsm(document: &[u8]) -> Vec<u8> {
    let ok = "a vector takes any bytes";
    let mut bytes = Vec::new();
    let mut answer = Encoder::new(&mut bytes);
    answer.map(1).expect(ok).str("Attestation").expect(ok).map(1).expect(ok);
    answer.str("document").expect(ok).bytes(document).expect(ok);
    bytes
}

/// As the host lays them out: rows of GUID, offset, length, a row of zeros, the certificates; whole pages.
fn certificate_table(ders: &[Vec<u8>]) -> Vec<u8> {
    let mut place = 24 * (ders.len() + 1);
    let mut rows = Vec::new();
    for der in ders {
        rows.extend([0x63; 16]);
        rows.extend((place as u32).to_le_bytes());
        rows.extend((der.len() as u32).to_le_bytes());
        place += der.len();
    }
    let mut table = [rows, vec![0; 24], ders.concat()].concat();
    table.resize(table.len().next_multiple_of(4096), 0);
    table
}
