//! HTTPS to nodes of one service: the test's own, so that what it asks with is not what it tests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A node, as clients know it.
#[derive(Clone)]
pub struct Client {
    pub node: SocketAddr,
    config: Arc<ClientConfig>,
}

/// Kept open from request to request.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    node: SocketAddr,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(node: SocketAddr, service: &coco_crypto::Certificate) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(service.der().to_vec().into()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { node, config: Arc::new(config) }
    }

    pub fn connect(&self) -> io::Result<Connection> {
        let socket = TcpStream::connect_timeout(&self.node, TIMEOUT)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        let tls = ClientConnection::new(self.config.clone(), self.node.ip().into()).map_err(io::Error::other)?;
        Ok(Connection { stream: BufReader::new(StreamOwned::new(tls, socket)), node: self.node })
    }

    /// One request on a connection of its own.
    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        self.connect()?.call(method, path, body)
    }

    /// The JSON of a successful answer.
    pub fn json(&self, path: &str) -> Option<Value> {
        let answer = self.call("GET", path, b"").ok().filter(|answer| answer.status == 200)?;
        Some(answer.json())
    }
}

impl Connection {
    pub fn call(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let (host, length) = (self.node, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n");
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat())?;
        stream.flush()?;
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        let status = self.line()?.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
        let mut length = 0;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", value)) => length = value.trim().parse().map_err(|_| malformed())?,
                Some(_) => {}
                None if line.is_empty() => break,
                None => return Err(malformed()),
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
