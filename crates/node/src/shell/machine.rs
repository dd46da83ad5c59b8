//! The machine that a node runs on, as sources of evidence ask it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coco_attestation::sources::{Devices, nsm, sev_guest, tpm};
use zeroize::Zeroizing;

/// Link-local: the host's own metadata service, on every cloud.
const METADATA: (Ipv4Addr, u16) = (Ipv4Addr::new(169, 254, 169, 254), 80);
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// What the kernel's resource manager answers with at most.
const TPM_BYTES_MAX: usize = 4096;

#[derive(Default)]
pub struct Machine {
    /// What whoever runs the node has put beside it, for a host that supplies no certificates.
    pub amd_certificates: Option<PathBuf>,
}

impl Devices for Machine {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::write(path, bytes)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn tpm(&self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut device = open(tpm::DEVICE)?;
        exchange(&mut device, command)
    }

    fn nsm(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        coco_devices::nsm(open(nsm::DEVICE)?, request)
    }

    /// A host that knows nothing of certificates refuses the call for both; the report alone may still be had.
    fn sev_guest(&self, report_data: &[u8; 64], vmpl: u32) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let device = open(sev_guest::DEVICE)?;
        match coco_devices::sev_guest_extended_report(&device, report_data, vmpl) {
            Ok(answer) => Ok((answer.message, answer.certificates)),
            Err(error) => {
                tracing::warn!(%error, "no certificates of the host's: asking for the report alone");
                Ok((coco_devices::sev_guest_report(&device, report_data, vmpl)?, Vec::new()))
            }
        }
    }

    fn sev_derived_key(&self, fields: u64, tcb_version: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        coco_devices::sev_guest_derived_key(open(sev_guest::DEVICE)?, fields, tcb_version)
    }

    fn amd_certificates(&self) -> io::Result<Option<Vec<u8>>> {
        self.amd_certificates.as_ref().map(fs::read).transpose()
    }

    fn metadata(&self, path: &str, body: Option<&str>) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from(METADATA), METADATA_TIMEOUT)?;
        stream.set_read_timeout(Some(METADATA_TIMEOUT))?;
        stream.set_write_timeout(Some(METADATA_TIMEOUT))?;
        ask_metadata(&mut stream, path, body)
    }
}

fn open(device: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(device)
}

/// One write, one read: the device keeps an answer until it is read.
fn exchange(device: &mut (impl Read + Write), command: &[u8]) -> io::Result<Vec<u8>> {
    device.write_all(command)?;
    let mut answer = vec![0; TPM_BYTES_MAX];
    let length = device.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// HTTP 1.0, so that the answer ends with the connection and has no chunks.
fn ask_metadata(stream: &mut (impl Read + Write), path: &str, body: Option<&str>) -> io::Result<Vec<u8>> {
    let head = format!("{path} HTTP/1.0\r\nHost: 169.254.169.254\r\nMetadata: true\r\nConnection: close\r\n");
    let request = match body {
        None => format!("GET {head}\r\n"),
        Some(body) => {
            let length = body.len();
            format!("POST {head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        }
    };
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("the answer has no end of its head"))?;
    let status = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
    let status = status.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("it answers {status}")));
    }
    Ok(answer.split_off(end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device, or a service, that says one thing and remembers what it was told.
    struct Says {
        told: Vec<u8>,
        answer: io::Cursor<Vec<u8>>,
    }

    impl Says {
        fn this(answer: &[u8]) -> Self {
            Self { told: Vec::new(), answer: io::Cursor::new(answer.to_vec()) }
        }
    }

    impl Read for Says {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.answer.read(buffer)
        }
    }

    impl Write for Says {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.told.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_metadata_service_is_asked_as_it_insists_and_only_success_counts() {
        let mut service = Says::this(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"a\": 1}");
        assert_eq!(ask_metadata(&mut service, "/metadata/x", None).unwrap(), b"{\"a\": 1}");
        let told = String::from_utf8(service.told).unwrap();
        assert!(told.starts_with("GET /metadata/x HTTP/1.0\r\n") && told.contains("\r\nMetadata: true\r\n"), "{told}");
        let mut service = Says::this(b"HTTP/1.1 200 OK\r\n\r\nok");
        assert_eq!(ask_metadata(&mut service, "/acc/tdquote", Some("{}")).unwrap(), b"ok");
        assert!(String::from_utf8(service.told).unwrap().ends_with("Content-Length: 2\r\n\r\n{}"));
        for refused in [&b"HTTP/1.1 404 Not Found\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\n", b"", b"\r\n\r\n"] {
            assert!(ask_metadata(&mut Says::this(refused), "/", None).is_err());
        }
    }

    #[test]
    fn a_tpm_gets_one_command_and_gives_one_answer() {
        let mut device = Says::this(&[1, 2, 3]);
        assert_eq!(exchange(&mut device, &[9, 9]).unwrap(), [1, 2, 3]);
        assert_eq!(device.told, [9, 9]);
    }

    #[test]
    fn devices_that_are_not_there_are_errors() {
        let machine = Machine::default();
        assert!(machine.nsm(b"request").is_err());
        assert!(machine.sev_guest(&[0; 64], 0).is_err());
        assert!(machine.sev_derived_key(1, 0).is_err());
        assert_eq!(machine.amd_certificates().unwrap(), None);
        assert!(Machine { amd_certificates: Some("/nowhere".into()) }.amd_certificates().is_err());
    }
}
