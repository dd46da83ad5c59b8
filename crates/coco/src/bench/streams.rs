//! One HTTP/2 connection (RFC 9113) of a load generator: many requests under way, each answered when it is ready.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http::{Response, Url};

/// Its name in the handshake (ALPN, RFC 7301).
const HTTP_2: &[u8] = b"h2";
/// Larger answers are refused.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A request to be made: method, path and body.
pub type Made = ((&'static str, String), Vec<u8>);

/// Makes all the requests, `in_flight` at a time, over one connection of its own, and gives the latency of each.
pub fn run(
    url: &Url,
    tls: &Arc<ClientConfig>,
    timeout: Duration,
    numbers: std::ops::Range<u32>,
    in_flight: usize,
    make: &dyn Fn(u32) -> Made,
    answered: &dyn Fn(u32, &Response) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Duration>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sender = tokio::time::timeout(timeout, connect(url, tls)).await.context("connecting took too long")??;
        let next = std::cell::RefCell::new(numbers);
        let lane = || async {
            let mut sender = sender.clone();
            let mut latencies = Vec::new();
            loop {
                let Some(number) = next.borrow_mut().next() else { return anyhow::Ok(latencies) };
                let ((method, path), body) = make(number);
                let request = hyper::Request::builder().method(method).uri(url.at(&path).to_string());
                let sent = Instant::now();
                let exchange = exchange(&mut sender, request.body(Full::new(Bytes::from(body)))?);
                let response = tokio::time::timeout(timeout, exchange).await.context("no answer in time")??;
                latencies.push(sent.elapsed());
                answered(number, &response)?;
            }
        };
        let lanes = try_join_all((0..in_flight).map(|_| lane())).await?;
        Ok(lanes.into_iter().flatten().collect())
    })
}

async fn connect(url: &Url, tls: &Arc<ClientConfig>) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let tcp =
        TcpStream::connect((url.host.as_str(), url.port)).await.with_context(|| format!("cannot connect to {url}"))?;
    tcp.set_nodelay(true)?;
    let mut config = ClientConfig::clone(tls);
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(url.host.clone())?, tcp).await?;
    if stream.get_ref().1.alpn_protocol() != Some(HTTP_2) {
        bail!("{url} does not speak HTTP/2: several requests cannot be under way on one connection");
    }
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    // Its errors are those of the requests on it.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
) -> anyhow::Result<Response> {
    sender.ready().await?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Response { status: head.status.as_u16(), headers, body: body.to_bytes().to_vec() })
}
