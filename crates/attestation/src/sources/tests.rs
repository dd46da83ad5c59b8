//! Machines that do not exist: the kernel's behaviour in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use zeroize::Zeroizing;

use super::*;
use crate::{Aux, ReportData, TeeKind};

const DATA: ReportData = ReportData([0x42; 64]);

#[derive(Default)]
struct Fake {
    /// Fixed files.
    files: BTreeMap<PathBuf, Vec<u8>>,
    provider: &'static str,
    auxblob: Vec<u8>,
    /// Reads of `generation` that meet another's write.
    races: Mutex<usize>,
    generation: Mutex<u32>,
    folders: Mutex<Vec<PathBuf>>,
    written: Mutex<Vec<u8>>,
    /// The firmware's message and the host's table.
    sev_guest: Option<(Vec<u8>, Vec<u8>)>,
    amd_certificates: Option<Vec<u8>>,
}

impl Devices for &'static Fake {
    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.folders.lock().unwrap().push(path.to_owned());
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.folders.lock().unwrap().retain(|folder| folder != path);
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        assert!(path.ends_with("inblob") || path.ends_with("user_report_data"));
        *self.written.lock().unwrap() = bytes.to_vec();
        *self.generation.lock().unwrap() += 1;
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(fixed) = self.files.get(path) {
            return Ok(fixed.clone());
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name {
            "provider" => Ok(format!("{}\n", self.provider).into_bytes()),
            "outblob" | "quote" => Ok([b"report of ", &self.written.lock().unwrap()[..]].concat()),
            "auxblob" => Ok(self.auxblob.clone()),
            "generation" => {
                let mut races = self.races.lock().unwrap();
                let mut generation = self.generation.lock().unwrap();
                if *races > 0 {
                    *races -= 1;
                    *generation += 1;
                }
                Ok(generation.to_string().into_bytes())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn tpm(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        Ok(vec![0x80, 0x01, 0, 0, 0, 10, 0, 0, 1, 0x8b])
    }

    fn nsm(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn sev_guest(&self, _: &[u8; 64], _: u32) -> io::Result<(Vec<u8>, Vec<u8>)> {
        self.sev_guest.clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Another key for each version and each selection.
    fn sev_derived_key(&self, fields: u64, tcb_version: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        let key = coco_crypto::sha256(&[fields.to_le_bytes(), tcb_version.to_le_bytes()].concat());
        Ok(Zeroizing::new([&[0; 32], &key.0[..]].concat()))
    }

    fn amd_certificates(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.amd_certificates.clone())
    }

    fn metadata(&self, _: &str, _: Option<&str>) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn machine(folder: &str, fake: Fake) -> &'static Fake {
    let mut fake = fake;
    fake.files.insert(folder.into(), Vec::new());
    Box::leak(Box::new(fake))
}

fn source(fake: &'static Fake) -> Box<dyn EvidenceSource> {
    detect(Arc::new(fake)).unwrap().unwrap()
}

#[test]
fn a_machine_without_a_device_has_no_platform() {
    assert!(detect(Arc::new(machine("/dev/null", Fake::default()))).unwrap().is_none());
}

#[test]
fn configfs_tsm_is_asked_by_its_provider_and_left_as_it_was() {
    for (provider, kind) in
        [("sev_guest", TeeKind::SevSnp), ("tdx_guest", TeeKind::Tdx), ("arm-cca-guest", TeeKind::Cca)]
    {
        let amd_certificates = Some(b"pem".to_vec());
        let fake = machine(tsm::FOLDER, Fake { provider, amd_certificates, ..Fake::default() });
        let evidence = source(fake).evidence(&DATA).unwrap();
        assert_eq!((evidence.kind, evidence.raw), (kind, [&b"report of "[..], &DATA.0].concat()));
        assert!(fake.folders.lock().unwrap().is_empty());
    }
    let unknown = detect(Arc::new(machine(tsm::FOLDER, Fake { provider: "other", ..Fake::default() })));
    assert!(matches!(unknown, Err(SourceError::Unsupported { .. })));
}

#[test]
fn a_write_in_between_is_noticed_and_endless_ones_end_in_an_error() {
    let fake =
        |races| machine(tsm::FOLDER, Fake { provider: "tdx_guest", races: Mutex::new(races), ..Fake::default() });
    assert!(source(fake(1)).evidence(&DATA).is_ok());
    let endless = source(fake(1000)).evidence(&DATA);
    assert!(matches!(endless, Err(SourceError::Answer { .. })), "{endless:?}");
}

#[test]
fn the_host_s_table_of_certificates_becomes_pem_and_a_broken_one_an_error() {
    let table = |offset: u32, end: usize| {
        let mut table = [&[1; 16][..], &offset.to_le_bytes(), &6u32.to_le_bytes()].concat();
        table.extend(vec![0; end]);
        table.extend([0x30, 0x82, 0, 2, 1, 1]);
        table
    };
    let ask = |auxblob: Vec<u8>| {
        source(machine(tsm::FOLDER, Fake { provider: "sev_guest", auxblob, ..Fake::default() })).evidence(&DATA)
    };
    let evidence = ask(table(48, 24)).unwrap();
    let pem = String::from_utf8(evidence.aux[&Aux::Certificates].clone()).unwrap();
    assert_eq!(coco_crypto::decode_pem("CERTIFICATE", &pem).unwrap(), [0x30, 0x82, 0, 2, 1, 1]);
    assert!(ask(table(4000, 24)).is_err());
    assert!(ask(table(24, 0)).is_err(), "a table without an end");
    let refused = ask(Vec::new()).unwrap_err().to_string();
    assert!(refused.contains("supplies no certificate"), "{refused}");
}

#[test]
fn gramine_quotes_by_dcap_only() {
    let with_type = |kind: &str| {
        let files = [(PathBuf::from("/dev/attestation/attestation_type"), kind.as_bytes().to_vec())];
        machine(gramine::FOLDER, Fake { files: files.into(), ..Fake::default() })
    };
    let evidence = source(with_type("dcap\n")).evidence(&DATA).unwrap();
    assert_eq!((evidence.kind, evidence.raw), (TeeKind::Sgx, [&b"report of "[..], &DATA.0].concat()));
    assert!(matches!(detect(Arc::new(with_type("none"))), Err(SourceError::Unsupported { .. })));
}

#[test]
fn a_tpm_without_a_paravisor_s_report_is_no_platform() {
    assert!(detect(Arc::new(machine(tpm::DEVICE, Fake::default()))).unwrap().is_none());
}

#[test]
fn a_device_that_does_not_answer_is_named() {
    for (path, kind) in [(nsm::DEVICE, TeeKind::Nitro), (sev_guest::DEVICE, TeeKind::SevSnp)] {
        let source = source(machine(path, Fake::default()));
        assert_eq!(source.kind(), kind);
        let error = source.evidence(&DATA).unwrap_err();
        assert!(matches!(&error, SourceError::Device { what, .. } if what == path), "{error}");
    }
}

#[test]
fn the_guest_device_s_message_is_taken_apart_and_a_refusal_or_another_length_is_an_error() {
    let ask = |status: u32, length: u32, bytes: usize| {
        let mut message = [status.to_le_bytes(), length.to_le_bytes()].concat();
        message.resize(32, 0);
        message.resize(bytes, 7);
        let amd_certificates = Some(b"pem".to_vec());
        let fake = Fake { sev_guest: Some((message, vec![0; 4096])), amd_certificates, ..Fake::default() };
        source(machine(sev_guest::DEVICE, fake)).evidence(&DATA)
    };
    let evidence = ask(0, 1184, 4000).unwrap();
    assert_eq!((evidence.raw, &*evidence.aux[&Aux::Certificates]), (vec![7; 1184], &b"pem"[..]));
    for (status, length, bytes) in [(0x16, 1184, 4000), (0, 1185, 4000), (0, 0, 4000), (0, 1184, 1000), (0, 0, 6)] {
        let refused = ask(status, length, bytes);
        assert!(matches!(refused, Err(SourceError::Answer { .. })), "{refused:?}");
    }
}

/// A guest device whose firmware is of this version.
fn guest(firmware: u8) -> Box<dyn EvidenceSource> {
    let mut report = vec![0; 1184];
    (report[0], report[0x34], report[0x1e0]) = (3, 1, firmware);
    let mut message = [0u32.to_le_bytes(), 1184u32.to_le_bytes()].concat();
    message.resize(32, 0);
    message.extend(report);
    let fake = Fake { sev_guest: Some((message, Vec::new())), ..Fake::default() };
    source(machine(sev_guest::DEVICE, fake))
}

#[test]
fn a_guest_seals_with_the_committed_firmware_s_key_and_only_opens_with_an_older_one() {
    let key = |source: &dyn EvidenceSource, kept: Option<&[u8]>| source.sealing_key(kept).unwrap().unwrap();
    let first = key(guest(5).as_ref(), None);
    assert_eq!(first.keep, [5, 0, 0, 0, 0, 0, 0, 0]);
    let again = key(guest(5).as_ref(), Some(&first.keep));
    assert!(again.key.expose() == first.key.expose() && again.keep == first.keep && again.before.is_none());
    let updated = key(guest(6).as_ref(), Some(&first.keep));
    assert!(updated.key.expose() != first.key.expose() && updated.keep == [6, 0, 0, 0, 0, 0, 0, 0]);
    assert!(updated.before.is_some_and(|before| before.expose() == first.key.expose()));
    assert!(key(guest(6).as_ref(), None).before.is_none());
    assert!(matches!(guest(6).sealing_key(Some(b"short")), Err(SourceError::Answer { .. })));
}

#[test]
fn an_enclave_has_its_own_sealing_key_and_a_trust_domain_none() {
    let enclave = |key: &[u8]| {
        let files = [
            (PathBuf::from("/dev/attestation/attestation_type"), b"dcap".to_vec()),
            (PathBuf::from("/dev/attestation/keys/_sgx_mrenclave"), key.to_vec()),
        ];
        source(machine(gramine::FOLDER, Fake { files: files.into(), ..Fake::default() })).sealing_key(None)
    };
    let [one, other] = [[1; 16], [2; 16]].map(|key| enclave(&key).unwrap().unwrap().key);
    assert!(one.expose() != other.expose());
    assert!(enclave(&[1; 15]).is_err());
    let domain = source(machine(tsm::FOLDER, Fake { provider: "tdx_guest", ..Fake::default() }));
    assert!(domain.sealing_key(None).unwrap().is_none());
}
