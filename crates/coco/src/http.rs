//! A small HTTP/1.1 client over one kept-alive connection, plain or TLS.
//!
//! Blocking and without a connection pool: a load generator wants to know what its connections do, and the other commands
//! ask one question at a time. Follows no redirects. Answers are bounded: a hostile server costs a megabyte, not memory.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Answers larger than this are refused. A block of ten thousand transactions' receipts fits.
const BODY_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;

/// `http://host:port/path` or `https://…`, split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Begins with `/`; without a trailing one when it is a base to append to.
    pub path: String,
}

impl std::str::FromStr for Url {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = text.split_once("://").with_context(|| format!("{text}: expected http:// or https://"))?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            other => bail!("{text}: unknown scheme {other}, expected http or https"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().with_context(|| format!("{text}: {port} is no port"))?)
            }
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        ensure!(!host.is_empty(), "{text}: the host is missing");
        Ok(Self { tls, host, port, path: path.to_owned() })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl Url {
    /// The same server at `path`, which begins with `/`.
    pub fn at(&self, path: &str) -> Self {
        Self { path: format!("{}{path}", self.path.trim_end_matches('/')), ..self.clone() }
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// An answer. Header names are lower case.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// One connection. Requests may be written ahead of their answers ([`Connection::send`], [`Connection::receive`]).
pub struct Connection {
    stream: Stream,
    authority: String,
    /// Bytes read and not yet consumed.
    buffer: Vec<u8>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    /// Connects; `tls` is needed for `https`. Every read and write must progress within `timeout`.
    pub fn open(url: &Url, tls: Option<&Arc<ClientConfig>>, timeout: Duration) -> anyhow::Result<Self> {
        let authority = url.authority();
        let unreachable = || format!("cannot connect to {authority}");
        let address = (url.host.as_str(), url.port).to_socket_addrs().with_context(unreachable)?.next();
        let address = address.with_context(|| format!("{} has no address", url.host))?;
        let tcp = TcpStream::connect_timeout(&address, timeout).with_context(unreachable)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(timeout))?;
        tcp.set_write_timeout(Some(timeout))?;
        let stream = if url.tls {
            let config = tls.ok_or_else(|| anyhow!("https needs a trusted certificate"))?;
            let name = ServerName::try_from(url.host.clone())?;
            Stream::Tls(Box::new(StreamOwned::new(ClientConnection::new(config.clone(), name)?, tcp)))
        } else {
            Stream::Plain(tcp)
        };
        Ok(Self { stream, authority, buffer: Vec::new() })
    }

    /// What the server presented, DER; known once something was exchanged.
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.conn.peer_certificates()?.first().map(|certificate| certificate.to_vec()),
        }
    }

    /// Sends a request and waits for its answer.
    pub fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        self.send(method, path, headers, body)?;
        self.receive()
    }

    /// Writes one request.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<()> {
        let path = if path.is_empty() { "/" } else { path };
        let mut request = Vec::with_capacity(256 + body.len());
        write!(request, "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", self.authority, body.len())?;
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n")?;
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.stream.write_all(&request).with_context(|| format!("sending to {}", self.authority))
    }

    /// Reads the answer to the oldest request that has none yet.
    pub fn receive(&mut self) -> anyhow::Result<Response> {
        let mut response = self.receive_head()?;
        response.body = if response.is_chunked() {
            self.chunked_body()?
        } else {
            let length = response.header("content-length").map_or(Ok(0), str::parse).context("content-length")?;
            self.take(length)?
        };
        Ok(response)
    }

    /// The same without its body, which follows by [`Connection::chunk`].
    pub fn receive_head(&mut self) -> anyhow::Result<Response> {
        let (response, head_bytes) = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            ensure!(self.buffer.len() < HEAD_BYTES_MAX, "{} sent an endless header", self.authority);
            self.fill()?;
        };
        self.buffer.drain(..head_bytes);
        Ok(response)
    }

    fn chunked_body(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk()? {
            ensure!(
                body.len().saturating_add(chunk.len()) <= BODY_BYTES_MAX,
                "the answer exceeds {BODY_BYTES_MAX} bytes"
            );
            body.extend(chunk);
        }
        Ok(body)
    }

    /// The next part of a chunked body; `None` at its end.
    pub fn chunk(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let size = loop {
            match httparse::parse_chunk_size(&self.buffer).map_err(|_| anyhow!("malformed chunk size"))? {
                httparse::Status::Complete((line, size)) => {
                    self.buffer.drain(..line);
                    break usize::try_from(size)?;
                }
                httparse::Status::Partial => self.fill()?,
            }
        };
        let chunk = self.take(size)?;
        ensure!(self.take(2)? == b"\r\n", "malformed chunk");
        Ok((size > 0).then_some(chunk))
    }

    fn take(&mut self, bytes: usize) -> anyhow::Result<Vec<u8>> {
        ensure!(bytes <= BODY_BYTES_MAX, "the answer exceeds {BODY_BYTES_MAX} bytes");
        while self.buffer.len() < bytes {
            self.fill()?;
        }
        let rest = self.buffer.split_off(bytes);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let mut chunk = [0; 64 << 10];
        let count = match self.stream.read(&mut chunk) {
            // This process was stopped, and goes on: callers fill again.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            read => read.with_context(|| format!("waiting for {}", self.authority))?,
        };
        ensure!(count > 0, "{} closed the connection", self.authority);
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// The head of an answer and its length in bytes, when it is complete.
fn parse_head(bytes: &[u8]) -> anyhow::Result<Option<(Response, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).context("malformed answer")? else {
        return Ok(None);
    };
    let text = |header: &httparse::Header<'_>| {
        (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
    };
    let status = head.code.context("an answer without a status")?;
    Ok(Some((Response { status, headers: head.headers.iter().map(text).collect(), body: Vec::new() }, length)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers its only connection with `answer` and closes it.
    fn served(answer: &'static [u8]) -> anyhow::Result<Response> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url: Url = format!("http://{}/x", listener.local_addr().unwrap()).parse().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        let response = Connection::open(&url, None, Duration::from_secs(5))?.call("GET", &url.path, &[("a", "b")], b"");
        let request = server.join().unwrap();
        assert!(request.starts_with("GET /x HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
        assert!(request.contains("\r\na: b\r\n"), "{request}");
        response
    }

    #[test]
    fn a_body_of_known_length_is_read_to_its_end() {
        let response = served(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-Thing: y\r\n\r\nhello").unwrap();
        assert_eq!((response.status, response.body.as_slice()), (201, &b"hello"[..]));
        assert_eq!(response.header("x-thing"), Some("y"));
    }

    #[test]
    fn a_chunked_body_is_put_together() {
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(served(answer).unwrap().body, b"abcde");
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        assert!(served(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").is_err());
    }

    #[test]
    fn an_answer_that_claims_to_be_huge_is_refused() {
        let error = served(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").unwrap_err();
        assert!(error.to_string().contains("exceeds"), "{error}");
    }

    #[test]
    fn urls_name_host_port_and_path() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert_eq!(url("http://h:1/p"), Url { tls: false, host: "h".into(), port: 1, path: "/p".into() });
        assert_eq!(url("https://h"), Url { tls: true, host: "h".into(), port: 443, path: String::new() });
        assert_eq!(url("http://[::1]:8545").to_string(), "http://[::1]:8545");
        assert_eq!(url("https://h:8000/").at("/node/network").path, "/node/network");
        for bad in ["", "h:1", "ftp://h", "http://", "http://h:port"] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
