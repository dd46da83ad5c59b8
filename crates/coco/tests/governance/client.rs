//! HTTPS to a node of one service, a connection for each request: the test's own, so that what it asks with is not what it tests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use coco_crypto::Certificate;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned, client::WantsClientCert};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Client {
    pub node: SocketAddr,
    config: Arc<ClientConfig>,
}

pub struct Answer {
    pub status: u16,
    /// As they came.
    pub headers: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(node: SocketAddr, service: &Certificate) -> Self {
        Self { node, config: Arc::new(trusting(service).with_no_client_auth()) }
    }

    /// Shows a certificate: `chain` in DER, the caller's own first, and its key in PEM.
    pub fn with_identity(node: SocketAddr, service: &Certificate, chain: &[Vec<u8>], key: &str) -> Self {
        let chain = chain.iter().map(|der| der.clone().into()).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        Self { node, config: Arc::new(trusting(service).with_client_auth_cert(chain, key).unwrap()) }
    }

    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.call_as(method, path, "application/octet-stream", body)
    }

    pub fn call_as(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(method, path, &format!("content-type: {content_type}"), body)
    }

    /// Shows a token.
    pub fn bearing(&self, token: &str, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(method, path, &format!("authorization: Bearer {token}"), body)
    }

    fn send(&self, method: &str, path: &str, header: &str, body: &[u8]) -> io::Result<Answer> {
        let socket = TcpStream::connect_timeout(&self.node, TIMEOUT)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        let tls = ClientConnection::new(self.config.clone(), self.node.ip().into()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, socket);
        let (host, length) = (self.node, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{header}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        // Whoever refuses a body need not read all of it: what matters is the answer.
        drop(stream.write_all(&[head.as_bytes(), body].concat()).and_then(|()| stream.flush()));
        let mut said = Vec::new();
        if let Err(error) = stream.read_to_end(&mut said)
            && said.is_empty()
        {
            return Err(error);
        }
        Answer::read(&said).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The certificate that the node shows.
    pub fn shown(&self) -> io::Result<Certificate> {
        let mut socket = TcpStream::connect_timeout(&self.node, TIMEOUT)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let tls = ClientConnection::new(self.config.clone(), self.node.ip().into());
        let mut tls = tls.map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        let chain = tls.peer_certificates().ok_or(io::ErrorKind::InvalidData)?;
        Certificate::from_der(&chain[0]).map_err(io::Error::other)
    }

    /// Follows an answer that goes on.
    pub fn follow(&self, path: &str, last_event_id: Option<&str>) -> io::Result<Followed> {
        let socket = TcpStream::connect_timeout(&self.node, TIMEOUT)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let tls = ClientConnection::new(self.config.clone(), self.node.ip().into()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, socket);
        let id = last_event_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\n{id}\r\n", self.node)?;
        stream.flush()?;
        Ok(Followed(BufReader::new(stream)))
    }

    /// A request about one transaction.
    pub fn ask_about(&self, txid: &str, path: &str) -> io::Result<Answer> {
        self.send("GET", path, &format!("x-ms-ccf-transaction-id: {txid}"), b"")
    }

    /// The JSON of a successful answer.
    pub fn json(&self, path: &str) -> Option<Value> {
        let answer = self.call("GET", path, b"").ok().filter(|answer| answer.status == 200)?;
        Some(answer.json())
    }
}

fn trusting(service: &Certificate) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(service.der().to_vec().into()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots)
}

/// Events as they come. Each is in one piece of the answer, so that sizes of pieces stand on lines of their own.
pub struct Followed(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Followed {
    /// The next line of this kind.
    pub fn next(&mut self, field: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the events have ended");
            if let Some(value) = line.strip_prefix(&format!("{field}: ")) {
                return value.trim_end().to_owned();
            }
        }
    }
}

impl Answer {
    fn read(said: &[u8]) -> Option<Self> {
        let end = said.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&said[..end]).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Self { status, headers: head.to_ascii_lowercase(), body: said[end + 4..].to_vec() })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
