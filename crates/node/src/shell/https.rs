//! A minimal blocking HTTPS client for joining: one request a connection, trusting one service certificate.
//!
//! It deliberately does no redirects, proxies, pools or compression; answers are bounded.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use coco_crypto::Certificate;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const TIMEOUT: Duration = Duration::from_secs(20);
/// An answer to a joiner holds the secrets of all epochs. Of one that another node gives, this is what a channel's frame carries.
const ANSWER_BYTES_MAX: usize = coco_types::limits::NODE_FRAME_BYTES_MAX;

#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    #[error("{address}: {source}")]
    Unreachable { address: SocketAddr, source: io::Error },
    #[error("{address}: its certificate is not of the service that is expected here")]
    OtherService { address: SocketAddr },
    #[error("the service certificate is not usable: {0}")]
    Trust(rustls::Error),
    #[error("{address} answered something that is not HTTP")]
    NotHttp { address: SocketAddr },
    #[error("{address} answered {status}: {body}")]
    Status { address: SocketAddr, status: u16, body: String },
}

/// Talks to nodes of one service.
pub struct HttpsClient {
    config: Arc<ClientConfig>,
}

impl HttpsClient {
    pub fn new(service: &Certificate) -> Result<Self, HttpsError> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(service.der().to_vec())).map_err(HttpsError::Trust)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(HttpsError::Trust)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config) })
    }

    /// `POST path` with a JSON body; the body of a 2xx answer.
    pub fn post(&self, address: SocketAddr, path: &str, body: &[u8]) -> Result<Vec<u8>, HttpsError> {
        self.call(address, "POST", path, body)
    }

    /// `GET path`; the body of a 2xx answer.
    pub fn get(&self, address: SocketAddr, path: &str) -> Result<Vec<u8>, HttpsError> {
        self.call(address, "GET", path, b"")
    }

    fn call(&self, address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, HttpsError> {
        let failed = |source| match is_other_service(&source) {
            true => HttpsError::OtherService { address },
            false => HttpsError::Unreachable { address, source },
        };
        let answer = self.exchange(address, method, path, body).map_err(failed)?;
        let not_http = || HttpsError::NotHttp { address };
        let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(not_http)?;
        let (head, rest) = answer.split_at(head_end);
        let body = rest.get(4..).unwrap_or_default().to_vec();
        let head = std::str::from_utf8(head).map_err(|_| not_http())?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).ok_or_else(not_http)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let body = String::from_utf8_lossy(&body).chars().take(500).collect();
        Err(HttpsError::Status { address, status, body })
    }

    fn exchange(&self, address: SocketAddr, method: &str, path: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        let name = ServerName::IpAddress(address.ip().into());
        let connection = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        stream.flush()?;
        let mut answer = Vec::new();
        match stream.take(ANSWER_BYTES_MAX as u64 + 1).read_to_end(&mut answer) {
            // Closed without TLS's own goodbye: what was read is judged by its form.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        // A part of an answer is none.
        if answer.len() > ANSWER_BYTES_MAX {
            let message = format!("an answer of more than {ANSWER_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(answer)
    }
}

/// The other end answered, and nobody that is trusted has issued its certificate.
fn is_other_service(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        tls,
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature))
    )
}

#[cfg(test)]
mod tests {
    use coco_crypto::{SeededCrypto, SymmetricKey};
    use coco_types::{ReplicaId, Seqno};

    use super::*;
    use crate::fixture::identity;
    use crate::identity::ServiceSecrets;
    use crate::join::{JoinAnswer, open_answer, seal_answer};

    #[test]
    fn the_secrets_of_five_thousand_epochs_reach_a_joiner() {
        let crypto = SeededCrypto::new(1);
        let identity = identity(&crypto);
        let mut service = identity.service.copy();
        for epoch in 1..5_000 {
            service.epochs.add_epoch(Seqno(1 + epoch * 1_000_000), &SymmetricKey::generate(&crypto));
        }
        let answer = JoinAnswer {
            replica: ReplicaId(2),
            certificate: identity.node_certificate.to_pem(),
            secrets: hex::encode(&*service.to_bytes()),
            peers: Vec::new(),
        };
        let sealed = seal_answer(&crypto, identity.exchange.public(), &answer).unwrap();
        let body = serde_json::to_vec(&sealed).unwrap();
        // A million bytes hold fewer than three thousand.
        assert!(body.len() > 1 << 20);
        assert!(body.len() * 10 < ANSWER_BYTES_MAX, "{}", body.len());
        let opened = open_answer(&identity.exchange, &body).unwrap();
        let secrets = hex::decode(&opened.secrets).unwrap();
        let received = ServiceSecrets::from_bytes(&secrets).unwrap();
        assert_eq!(received.epochs.epochs().count(), 5_000);
    }
}
