//! HTTP/2 over TLS: many requests under way on one connection.

#[allow(dead_code, reason = "shared with tests that speak plain HTTP")]
mod harness;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_crypto::{Curve, SigningKey, SystemCrypto, Validity, self_signed_certificate};
use coco_protocol::{Reply, Service};
use coco_rpc::tls::{HTTP_2, Identity, api_config};
use coco_rpc::{Listener, ListenerLimits};
use harness::{Obedient, PATIENCE, any_port, server};
use http::header::{HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::mpsc::UnboundedReceiver;

type Body = BoxBody<Bytes, std::convert::Infallible>;

async fn start(limits: ListenerLimits) -> (Listener, SendRequest<Body>, UnboundedReceiver<Reply>) {
    let key = SigningKey::generate(&SystemCrypto, Curve::P256);
    let validity = Validity { not_before: 1_700_000_000, not_after: 4_000_000_000 };
    let names = [coco_crypto::SubjectAltName::from_host("localhost")];
    let certificate = self_signed_certificate(&SystemCrypto, &key, "node", &names, validity, &[]).expect("valid");
    let identity = Identity::new(std::slice::from_ref(&certificate), &key).expect("they match");
    let (service, holds) = Obedient::new();
    let nobody = harness::knowing(&[]);
    let services: Vec<Arc<dyn Service>> = vec![service];
    let tls = api_config(identity).expect("a configuration");
    let listener = server(2, 16).listen_tls("api", any_port(), services, limits, tls, nobody).expect("a free port");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.der().to_vec())).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    let stream = tokio::net::TcpStream::connect(listener.address()).await.expect("the listener accepts");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost").expect("a name"), stream).await.expect("TLS");
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(async { drop(connection.await) });
    (listener, sender, holds)
}

fn post(path: &str, body: &'static [u8]) -> Request<Body> {
    let uri = format!("https://localhost{path}");
    Request::post(uri).body(Full::new(Bytes::from_static(body)).boxed()).expect("a request")
}

async fn answer(sent: impl Future<Output = hyper::Result<Response<hyper::body::Incoming>>>) -> (StatusCode, Bytes) {
    let response = tokio::time::timeout(PATIENCE, sent).await.expect("in time").expect("an answer");
    let (head, body) = response.into_parts();
    (head.status, body.collect().await.expect("a whole body").to_bytes())
}

#[tokio::test]
async fn a_request_that_takes_its_time_does_not_hold_up_those_behind_it() {
    let (_listener, mut sender, mut holds) = start(ListenerLimits::default()).await;
    let slow = sender.send_request(post("/hold", b""));
    let reply = holds.recv().await.expect("held");
    for _ in 0..3 {
        assert_eq!(answer(sender.send_request(post("/echo", b"quick"))).await.1, "quick");
    }
    reply(Response::new(Bytes::from_static(b"late")));
    assert_eq!(answer(slow).await, (StatusCode::OK, Bytes::from_static(b"late")));
}

#[tokio::test]
async fn a_connection_with_a_request_under_way_is_not_idle() {
    let soon = Duration::from_millis(30);
    let limits = ListenerLimits { head_timeout: soon, idle_timeout: soon, ..ListenerLimits::default() };
    let (_listener, mut sender, mut holds) = start(limits).await;
    let slow = sender.send_request(post("/hold", b""));
    let reply = holds.recv().await.expect("held");
    let other = start(ListenerLimits { idle_timeout: soon, ..ListenerLimits::default() }).await;
    let closed = async {
        while !other.1.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("an idle connection is closed");
    reply(Response::new(Bytes::from_static(b"late")));
    assert_eq!(answer(slow).await.1, "late");
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused_and_the_connection_goes_on() {
    let limits = ListenerLimits { body_timeout: Duration::from_secs(1), ..ListenerLimits::default() };
    let (_listener, mut sender, _holds) = start(limits).await;
    let (_kept, parts) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, std::convert::Infallible>>();
    let endless = StreamBody::new(futures_util::stream::unfold(parts, |mut parts| async {
        let part = parts.recv().await?;
        Some((part, parts))
    }));
    let request = Request::post("https://localhost/echo").body(BodyExt::boxed(endless)).expect("a request");
    assert_eq!(answer(sender.send_request(request)).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(answer(sender.send_request(post("/echo", b"after"))).await.1, "after");
}

#[tokio::test]
async fn a_body_over_the_limit_gets_413_and_the_connection_goes_on() {
    let (_listener, mut sender, _holds) = start(ListenerLimits::default()).await;
    let large = vec![b'x'; ListenerLimits::default().body_bytes_max + 1].leak();
    assert_eq!(answer(sender.send_request(post("/echo", large))).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer(sender.send_request(post("/echo", b"after"))).await.1, "after");
}

/// As many fields as asked for, all the same: a byte or two each on the wire.
fn with_fields(path: &str, count: usize) -> Request<Body> {
    let mut request = post(path, b"");
    request
        .headers_mut()
        .extend(std::iter::repeat_n((HeaderName::from_static("x"), HeaderValue::from_static("y")), count));
    request
}

#[tokio::test]
async fn heads_count_until_their_requests_are_answered() {
    let limits = ListenerLimits { client_bytes_max: 50 << 10, ..ListenerLimits::default() };
    let (_listener, mut sender, mut holds) = start(limits).await;
    let slow = sender.send_request(with_fields("/hold", 400));
    let reply = holds.recv().await.expect("held");
    let refused = answer(sender.send_request(with_fields("/echo", 400))).await.0;
    assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer(sender.send_request(post("/echo", b"small"))).await.1, "small");
    reply(Response::new(Bytes::from_static(b"late")));
    assert_eq!(answer(slow).await.1, "late");
    assert_eq!(answer(sender.send_request(with_fields("/echo", 400))).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_head_over_the_limit_gets_431_and_the_connection_goes_on() {
    let (_listener, mut sender, _holds) = start(ListenerLimits::default()).await;
    let refused = answer(sender.send_request(with_fields("/echo", 800))).await.0;
    assert_eq!(refused, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(answer(sender.send_request(post("/echo", b"after"))).await.1, "after");
}
