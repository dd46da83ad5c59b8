//! The node's API over TLS: routes, identities, errors, receipts.

#[allow(dead_code, reason = "shared with tests that speak plain HTTP")]
mod harness;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_crypto::{Certificate, Curve, SigningKey, SystemCrypto, Validity, self_signed_certificate};
use coco_protocol::{ApiError, Caller, Idempotent, TransactionStatus};
use coco_rpc::endpoints::{
    Attestation, NetworkInfo, NodeApi, NodeEndpoints, NodeEntry, NodeInfo, NodeStateInfo, Receipt, ReceiptAnswer,
    StoppedNetwork,
};
use coco_rpc::tls::{Identity, api_config};
use coco_rpc::{Listener, ListenerLimits};
use coco_types::{Digest, NodeId, Seqno, TxId, View};
use harness::{PATIENCE, any_port, server};
use http::StatusCode;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ID: NodeId = NodeId(Digest([7; 32]));

fn attestation(nonce: &[u8]) -> Attestation {
    let evidence = serde_json::json!({"nonce": nonce});
    Attestation { node_id: ID, platform: "virtual".to_owned(), certificate: "pem".to_owned(), evidence }
}

/// Receipt answers by seqno: 1 there, 2 pending, 3 unknown, 4 invalid, 5 a signature, 6 COSE only.
struct Node;

impl NodeApi for Node {
    fn network(&self, _: &Caller) -> NetworkInfo {
        NetworkInfo {
            service_bridges: Vec::new(),
            service_status: "Open".to_owned(),
            service_certificate: "pem".to_owned(),
            current_view: Some(View(2)),
            primary_id: None,
            recovery_count: 0,
        }
    }

    fn nodes(&self, _: &Caller) -> Vec<NodeEntry> {
        let address = "127.0.0.1:8000".to_owned();
        vec![NodeEntry {
            node_id: ID,
            status: "Trusted".to_owned(),
            primary: true,
            index: 0,
            published_address: address,
        }]
    }

    fn state(&self, _: &Caller) -> NodeStateInfo {
        let state = "PartOfNetwork".to_owned();
        NodeStateInfo { node_id: ID, state, last_signed_seqno: Seqno(9), startup_seqno: Seqno(0) }
    }

    fn version(&self, _: &Caller) -> NodeInfo {
        let text = |text: &str| text.to_owned();
        NodeInfo {
            name: text("coco"),
            version: text("0"),
            platform: text("virtual"),
            unprotected: true,
            anchors: text("00"),
            foreign_roots: Vec::new(),
        }
    }

    fn ready(&self, _: &Caller) -> bool {
        false
    }

    fn committed(&self, _: &Caller) -> TxId {
        TxId::new(View(2), Seqno(9))
    }

    fn transaction_status(&self, _: &Caller, txid: TxId) -> TransactionStatus {
        if txid.seqno.0 <= 9 { TransactionStatus::Committed } else { TransactionStatus::Unknown }
    }

    fn receipt(&self, _: &Caller, txid: TxId, wait: Duration, reply: Box<dyn FnOnce(ReceiptAnswer) + Send>) {
        let cose = Bytes::from_static(b"\xd2cose");
        reply(match txid.seqno.0 {
            1 => ReceiptAnswer::Receipt(Receipt { cose, json: Some(serde_json::json!({"wait": wait.as_secs()})) }),
            2 => ReceiptAnswer::Pending,
            3 => ReceiptAnswer::Unknown,
            4 => ReceiptAnswer::Invalid,
            5 => ReceiptAnswer::None,
            7 => ReceiptAnswer::NotHeld,
            _ => ReceiptAnswer::Receipt(Receipt { cose, json: None }),
        });
    }

    fn submit_collateral(
        &self,
        _: &Caller,
        body: Bytes,
        _: Option<Idempotent>,
        reply: Box<dyn FnOnce(Result<Bytes, ApiError>) + Send>,
    ) {
        reply(Ok(body));
    }

    fn policy_decisions(&self, _: &Caller) -> Result<serde_json::Value, ApiError> {
        Ok(serde_json::json!({}))
    }

    fn judgements(&self, _: &Caller) -> Result<serde_json::Value, ApiError> {
        Ok(serde_json::json!({}))
    }

    fn renew(&self, _: &Caller, body: Bytes, reply: Box<dyn FnOnce(Result<Bytes, ApiError>) + Send>) {
        reply(Ok(body));
    }

    fn attestation_policy(&self, _: &Caller) -> Result<serde_json::Value, ApiError> {
        Ok(serde_json::json!({}))
    }

    fn attestations(&self, _: &Caller) -> Vec<Attestation> {
        vec![attestation(&[])]
    }

    fn attest(&self, _: &Caller, nonce: Vec<u8>, reply: Box<dyn FnOnce(Result<Attestation, ApiError>) + Send>) {
        let busy = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TooManyAttestations", "later");
        reply(if nonce == [0xbb] { Err(busy()) } else { Ok(attestation(&nonce)) });
    }

    fn join_challenge(&self, _: &Caller) -> Result<Bytes, ApiError> {
        Ok(Bytes::from_static(b"{\"nonce\":1}"))
    }

    fn join(
        &self,
        caller: &Caller,
        certificate: Option<Bytes>,
        body: Bytes,
        reply: Box<dyn FnOnce(Result<Bytes, ApiError>) + Send>,
    ) {
        let body = serde_json::json!({
            "caller": caller, "certificate": certificate.map_or(0, |der| der.len()), "body": body.len(),
        });
        reply(Ok(Bytes::from(body.to_string())));
    }

    fn stop_network(&self, caller: &Caller, reply: Box<dyn FnOnce(Result<StoppedNetwork, ApiError>) + Send>) {
        let refused = ApiError::new(StatusCode::FORBIDDEN, "AuthorizationFailed", "members only");
        let stopped = StoppedNetwork { stopping: vec![0], silent: vec![1] };
        reply(if *caller == Caller::Anonymous { Err(refused) } else { Ok(stopped) });
    }
}

struct Holder {
    key: SigningKey,
    certificate: Certificate,
}

impl Holder {
    fn new(name: &str) -> Self {
        let key = SigningKey::generate(&SystemCrypto, Curve::P256);
        let validity = Validity { not_before: 1_700_000_000, not_after: 4_000_000_000 };
        let names = [coco_crypto::SubjectAltName::from_host("localhost")];
        let certificate = self_signed_certificate(&SystemCrypto, &key, name, &names, validity, &[]).expect("valid");
        Self { key, certificate }
    }
}

/// Knows one member by its certificate.
fn listen(node: &Holder, member: &Holder) -> Listener {
    let identity =
        Identity::new(std::slice::from_ref(&node.certificate), &node.key).expect("key and certificate match");
    let lookup = harness::knowing(&[&member.certificate]);
    let services: Vec<Arc<dyn coco_protocol::Service>> = vec![NodeEndpoints::new(Arc::new(Node))];
    let tls = api_config(identity).expect("a configuration");
    server(1, 16).listen_tls("api", any_port(), services, ListenerLimits::default(), tls, lookup).expect("a free port")
}

fn client_config(node: &Holder, as_whom: Option<(&Holder, usize)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(node.certificate.der().to_vec())).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let builder = builder.with_root_certificates(roots);
    match as_whom {
        None => builder.with_no_client_auth(),
        Some((holder, certificates)) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(holder.key.to_pkcs8_der().to_vec()));
            let chain = vec![CertificateDer::from(holder.certificate.der().to_vec()); certificates];
            builder.with_client_auth_cert(chain, key).expect("key and certificate match")
        }
    }
}

#[tokio::test]
async fn a_chain_of_fifty_certificates_ends_the_handshake() {
    let (node, member) = (Holder::new("node"), Holder::new("member"));
    let listener = listen(&node, &member);
    for (certificates, taken) in [(1, true), (6, true), (7, false), (50, false)] {
        let config = client_config(&node, Some((&member, certificates)));
        let stream = tokio::net::TcpStream::connect(listener.address()).await.expect("the listener accepts");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = connector.connect(name, stream).await.expect("the node's own half of the handshake");
        let request = b"GET /node/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let mut answer = Vec::new();
        let asked = async {
            stream.write_all(request).await?;
            stream.read_to_end(&mut answer).await
        };
        let ended = tokio::time::timeout(PATIENCE, asked).await.expect("an answer or an end in time");
        assert_eq!(ended.is_ok() && answer.starts_with(b"HTTP/1.1 200"), taken, "{certificates}");
    }
}

/// One request on a connection of its own: status, head and body.
async fn ask(listener: &Listener, node: &Holder, as_whom: Option<&Holder>, request: &str) -> (u16, String, Vec<u8>) {
    let config = client_config(node, as_whom.map(|holder| (holder, 1)));
    let asking = async {
        let stream = tokio::net::TcpStream::connect(listener.address()).await.expect("the listener accepts");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = connector.connect(name, stream).await.expect("a handshake");
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("a clean end");
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await.expect("an answer in time");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("ASCII");
    (head[9..12].parse().expect("a status"), head, answer[end + 4..].to_vec())
}

async fn get(target: &str, more: &str) -> (u16, String, String) {
    let node = Holder::new("node");
    let listener = listen(&node, &Holder::new("member"));
    let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n");
    let (status, head, body) = ask(&listener, &node, None, &request).await;
    (status, head, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_client_certificate_says_who_calls_and_an_unknown_one_is_anonymous() {
    let (node, member, stranger) = (Holder::new("node"), Holder::new("member"), Holder::new("stranger"));
    let listener = listen(&node, &member);
    let request = "POST /node/join HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    let mut callers = Vec::new();
    for whom in [Some(&member), Some(&stranger), None] {
        let (status, _, body) = ask(&listener, &node, whom, request).await;
        assert_eq!(status, 200);
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let presented = whom.map_or(0, |holder| holder.certificate.der().len());
        assert_eq!((body["certificate"].as_u64(), body["body"].as_u64()), (Some(presented as u64), Some(2)));
        callers.push(body["caller"].clone());
    }
    assert_eq!(callers[0]["Identified"][0]["Member"], member.certificate.fingerprint().to_string());
    assert_eq!(callers[1..], ["Anonymous", "Anonymous"]);
}

#[tokio::test]
async fn every_route_answers() {
    for target in
        ["api", "network", "network/nodes", "state", "version", "commit", "tx?transaction_id=2.9", "attestations"]
    {
        let (status, head, body) = get(&format!("/node/{target}"), "").await;
        assert_eq!(status, 200, "{target}: {body}");
        assert!(head.contains("content-type: application/json"), "{target}");
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{target}");
    }
    assert_eq!(get("/node/ready", "").await.0, 503);
    let (_, head, body) = get("/node/commit", "").await;
    assert!(head.contains("x-ms-ccf-transaction-id: 2.9"), "{head}");
    assert_eq!(body, r#"{"transaction_id":"2.9"}"#);
    let (_, _, body) = get("/node/tx?transaction_id=2.9", "").await;
    assert_eq!(body, r#"{"status":"Committed","transaction_id":"2.9"}"#);
}

#[tokio::test]
async fn a_receipt_comes_in_the_form_asked_for_or_says_why_not() {
    let receipt = |seqno: u64, more: &'static str| async move {
        get(&format!("/node/receipt?transaction_id=2.{seqno}"), more).await
    };
    let (status, head, body) = receipt(1, "accept: application/cose\r\n").await;
    assert_eq!((status, head.contains("content-type: application/cose"), body.ends_with("cose")), (200, true, true));
    assert_eq!(receipt(1, "prefer: wait=7\r\n").await.2, r#"{"wait":7}"#);
    assert_eq!(receipt(1, "accept: */*\r\nprefer: wait=9999\r\n").await.2, r#"{"wait":60}"#);
    let (status, _, body) = receipt(1, "accept: text/html\r\n").await;
    assert_eq!((status, body.contains("UnsupportedContentType")), (406, true), "{body}");
    let (status, head, _) = receipt(2, "").await;
    assert_eq!((status, head.contains("retry-after")), (202, true));
    let (status, head, body) = receipt(3, "").await;
    assert_eq!((status, head.contains("cache-control: no-cache")), (404, true));
    assert!(body.contains("TransactionPendingOrUnknown"));
    assert!(receipt(4, "").await.2.contains("TransactionInvalid"));
    assert!(receipt(5, "").await.2.contains("ResourceNotFound"));
    assert_eq!(receipt(6, "").await.0, 406);
    let (status, head, body) = receipt(7, "").await;
    assert_eq!((status, head.contains("cache-control: no-cache")), (404, true));
    assert!(body.contains("TransactionNotHeld") && body.contains("2.7"), "{body}");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_in_ccf_words() {
    for (target, status, code) in [
        ("/node/tx", 400, "InvalidQueryParameterValue"),
        ("/node/tx?transaction_id=2", 400, "InvalidQueryParameterValue"),
        ("/node/tx?transaction_id=2.1&transaction_id=2.2", 400, "InvalidQueryParameterValue"),
        ("/node/receipt?transaction_id=x", 400, "InvalidQueryParameterValue"),
        ("/node/attestations/self?nonce=xyz", 400, "InvalidQueryParameterValue"),
        ("/node/attestations/self?nonce=", 400, "InvalidQueryParameterValue"),
        ("/node/nothing", 404, "ResourceNotFound"),
        ("/elsewhere", 404, "ResourceNotFound"),
        ("/node/join", 405, "UnsupportedHttpVerb"),
        ("/node/ready", 503, "NodeCannotHandleRequest"),
    ] {
        let (found, _, body) = get(target, "").await;
        assert_eq!(found, status, "{target}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["error"]["code"], code, "{target}");
        assert!(body["error"]["message"].is_string(), "{target}");
    }
    assert_eq!(get("/node/attestations/self?nonce=00ff", "").await.0, 200);
}

#[tokio::test]
async fn who_asks_for_evidence_when_too_many_wait_is_told_when_to_come_again() {
    let (status, head, body) = get("/node/attestations/self?nonce=bb", "").await;
    assert_eq!((status, head.contains("retry-after: 1")), (503, true), "{head}");
    assert!(body.contains("TooManyAttestations"), "{body}");
}

#[tokio::test]
async fn a_renewed_certificate_is_presented_to_connections_made_after() {
    let (old, new) = (Holder::new("old"), Holder::new("new"));
    let identity = Identity::new(std::slice::from_ref(&old.certificate), &old.key).expect("they match");
    assert!(identity.replace(std::slice::from_ref(&new.certificate), &old.key).is_err(), "another key's certificate");
    let tls = api_config(Arc::clone(&identity)).expect("a configuration");
    let services: Vec<Arc<dyn coco_protocol::Service>> = vec![NodeEndpoints::new(Arc::new(Node))];
    let listener = server(1, 16)
        .listen_tls("api", any_port(), services, ListenerLimits::default(), tls, harness::knowing(&[]))
        .expect("a free port");
    let request = "GET /node/version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(ask(&listener, &old, None, request).await.0, StatusCode::OK);
    identity.replace(std::slice::from_ref(&new.certificate), &new.key).expect("they match");
    assert_eq!(ask(&listener, &new, None, request).await.0, StatusCode::OK);
}
