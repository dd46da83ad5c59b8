//! Channels between nodes, over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_crypto::{
    Certificate, Curve, NodeCertificateRequest, SigningKey, SubjectAltName, SystemCrypto, Validity,
    endorse_service_certificate, issue_node_certificate, self_signed_service_certificate,
};
use coco_rpc::channel::{Channels, Frame, Hello, Inbound, Lane, Link, NoAnswer, Respond, Trusted};
use coco_rpc::tls::Identity;
use coco_types::{NodeId, ReplicaId, limits};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(20);
const VALIDITY: Validity = Validity { not_before: 1_700_000_000, not_after: 4_000_000_000 };

/// Request kinds of the test's node.
const ECHO: u16 = 0;
const HOLD: u16 = 1;
const DROP: u16 = 2;

struct Service {
    key: SigningKey,
    certificate: Certificate,
}

/// A key and the certificate that some service issued for it.
struct Node {
    key: SigningKey,
    certificate: Certificate,
}

impl Service {
    fn new() -> Self {
        let key = SigningKey::generate(&SystemCrypto, Curve::P384);
        let certificate = self_signed_service_certificate(&SystemCrypto, &key, "service", VALIDITY, &[]);
        Self { key, certificate: certificate.expect("valid content") }
    }

    fn issue(&self, validity: Validity) -> Node {
        let key = SigningKey::generate(&SystemCrypto, Curve::P384);
        let request = NodeCertificateRequest {
            public_key: key.public_key().clone(),
            common_name: "node".to_owned(),
            subject_alt_names: vec![SubjectAltName::from_host("127.0.0.1")],
            validity,
            extensions: Vec::new(),
        };
        let certificate = issue_node_certificate(&SystemCrypto, &self.certificate, &self.key, &request);
        Node { key, certificate: certificate.expect("valid content") }
    }
}

/// Notes consensus messages, answers requests as their kind says, and admits everyone but one.
struct Owner {
    raft: mpsc::UnboundedSender<(ReplicaId, Bytes)>,
    held: mpsc::UnboundedSender<Respond>,
    refused: Option<NodeId>,
}

impl Inbound for Owner {
    fn admits(&self, node: NodeId, _hello: Hello) -> bool {
        self.refused != Some(node)
    }

    fn raft(&self, from: ReplicaId, message: Bytes) {
        let _ = self.raft.send((from, message));
    }

    fn request(&self, _from: ReplicaId, kind: u16, body: Bytes, respond: Respond) {
        match kind {
            ECHO => respond(body),
            HOLD => drop(self.held.send(respond)),
            _ => {}
        }
    }
}

struct Running {
    channels: Channels,
    raft: mpsc::UnboundedReceiver<(ReplicaId, Bytes)>,
    held: mpsc::UnboundedReceiver<Respond>,
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn start(replica: u64, node: &Node, trusted: &Service) -> Running {
    start_at(any_port(), replica, node, trusted, None)
}

fn start_at(address: SocketAddr, replica: u64, node: &Node, trusted: &Service, refused: Option<NodeId>) -> Running {
    let identity = Identity::new(std::slice::from_ref(&node.certificate), &node.key).expect("they match");
    start_with(address, replica, identity, trusted, refused)
}

fn start_with(
    address: SocketAddr,
    replica: u64,
    identity: Arc<Identity>,
    trusted: &Service,
    refused: Option<NodeId>,
) -> Running {
    let ((raft, raft_received), (held, held_received)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let own = Hello { replica: ReplicaId(replica), node: 0 };
    let inbound = Arc::new(Owner { raft, held, refused });
    let trusted = Trusted::only(trusted.certificate.clone());
    let channels = Channels::start(&Handle::current(), address, identity, trusted, own, inbound).expect("a free port");
    Running { channels, raft: raft_received, held: held_received }
}

impl Running {
    fn dial(&self, peers: &[(u64, SocketAddr)]) {
        let peers: BTreeMap<_, _> = peers.iter().map(|(id, address)| (ReplicaId(*id), *address)).collect();
        self.channels.set_peers(&peers);
    }

    async fn until_up(&self, peer: u64) {
        self.until(peer, |link| *link == Link::Up).await;
    }

    /// The reason why the link is down.
    async fn until_down(&self, peer: u64) -> String {
        match self.until(peer, |link| matches!(link, Link::Down(_))).await {
            Link::Down(reason) => reason,
            Link::Up => panic!("waited for the opposite"),
        }
    }

    async fn until(&self, peer: u64, wanted: impl Fn(&Link) -> bool) -> Link {
        let mut links = self.channels.links();
        let waiting = links.wait_for(|links| links.get(&ReplicaId(peer)).is_some_and(&wanted));
        let links = tokio::time::timeout(PATIENCE, waiting).await.expect("in time").expect("the channels live");
        links.get(&ReplicaId(peer)).expect("just seen").clone()
    }

    async fn ask(&self, peer: u64, kind: u16, body: Bytes, timeout: Duration) -> Result<Bytes, NoAnswer> {
        let (reply, replied) = oneshot::channel();
        let answer = Box::new(move |answer| drop(reply.send(answer)));
        self.channels.request(ReplicaId(peer), kind, body, timeout, answer);
        tokio::time::timeout(PATIENCE, replied).await.expect("in time").expect("exactly one answer")
    }

    async fn next_raft(&mut self) -> (ReplicaId, Bytes) {
        tokio::time::timeout(PATIENCE, self.raft.recv()).await.expect("in time").expect("the owner lives")
    }
}

#[tokio::test]
async fn nodes_of_one_service_exchange_messages_and_requests_of_every_size() {
    let service = Service::new();
    let (mut a, mut b) = (start(1, &service.issue(VALIDITY), &service), start(2, &service.issue(VALIDITY), &service));
    a.dial(&[(1, a.channels.address()), (2, b.channels.address())]);
    b.dial(&[(1, a.channels.address())]);
    a.until_up(2).await;
    b.until_up(1).await;
    let large = Bytes::from(vec![7; 3 << 20]);
    a.channels.send_raft(ReplicaId(2), Lane::Ordered, large.clone());
    a.channels.send_raft(ReplicaId(2), Lane::Ordered, Bytes::from_static(b"after"));
    assert_eq!(b.next_raft().await, (ReplicaId(1), large.clone()));
    assert_eq!(b.next_raft().await, (ReplicaId(1), Bytes::from_static(b"after")));
    b.channels.send_raft(ReplicaId(1), Lane::Urgent, Bytes::from_static(b"heartbeat"));
    assert_eq!(a.next_raft().await, (ReplicaId(2), Bytes::from_static(b"heartbeat")));
    assert_eq!(a.ask(2, ECHO, large.clone(), PATIENCE).await, Ok(large));
    assert_eq!(b.ask(1, ECHO, Bytes::new(), PATIENCE).await, Ok(Bytes::new()));
}

#[tokio::test]
async fn a_request_without_an_answer_ends_without_one() {
    let service = Service::new();
    let (a, mut b) = (start(1, &service.issue(VALIDITY), &service), start(2, &service.issue(VALIDITY), &service));
    a.dial(&[(2, b.channels.address())]);
    a.until_up(2).await;
    assert_eq!(a.ask(2, DROP, Bytes::new(), 10 * PATIENCE).await, Err(NoAnswer::Lost), "the owner dropped it");
    assert_eq!(a.ask(2, HOLD, Bytes::new(), Duration::from_millis(20)).await, Err(NoAnswer::Lost), "too late");
    b.held.recv().await.expect("held")(Bytes::from_static(b"late"));
    assert_eq!(a.ask(2, ECHO, Bytes::from_static(b"x"), PATIENCE).await, Ok(Bytes::from_static(b"x")));
    assert_eq!(a.ask(9, ECHO, Bytes::new(), PATIENCE).await, Err(NoAnswer::NotSent), "no such peer");
}

#[tokio::test]
async fn a_peer_that_comes_back_is_connected_again() {
    let service = Service::new();
    let (a, b) = (start(1, &service.issue(VALIDITY), &service), start(2, &service.issue(VALIDITY), &service));
    let address = b.channels.address();
    a.dial(&[(2, address)]);
    a.until_up(2).await;
    let (reply, lost) = oneshot::channel();
    let answer = Box::new(move |answer| drop(reply.send(answer)));
    a.channels.request(ReplicaId(2), HOLD, Bytes::new(), 10 * PATIENCE, answer);
    drop(b);
    assert_eq!(lost.await, Ok(Err(NoAnswer::Lost)), "its connection was lost");
    a.until_down(2).await;
    let b = start_at(address, 2, &service.issue(VALIDITY), &service, None);
    a.until_up(2).await;
    assert_eq!(a.ask(2, ECHO, Bytes::from_static(b"x"), PATIENCE).await, Ok(Bytes::from_static(b"x")));
    let moved = start(2, &service.issue(VALIDITY), &service);
    a.dial(&[(2, moved.channels.address())]);
    drop(b);
    a.until_up(2).await;
    assert_eq!(a.ask(2, ECHO, Bytes::from_static(b"y"), PATIENCE).await, Ok(Bytes::from_static(b"y")));
}

#[tokio::test]
async fn a_certificate_of_another_service_or_an_expired_one_is_refused() {
    let (service, other) = (Service::new(), Service::new());
    let (good, foreign) = (service.issue(VALIDITY), other.issue(VALIDITY));
    let expired = service.issue(Validity { not_before: 1_500_000_000, not_after: 1_500_000_001 });
    let node = start(1, &good, &service);
    for (bad, why) in [(&foreign, "NotIssuedByService"), (&expired, "OutsideValidity")] {
        let stranger = start(2, bad, &service);
        node.dial(&[(2, stranger.channels.address())]);
        let reason = node.until_down(2).await;
        assert!(reason.contains(why), "as the one dialled: {reason}");
        stranger.dial(&[(1, node.channels.address())]);
        let reason = stranger.until_down(1).await;
        assert!(reason.contains("alert"), "as the one dialling: {reason}");
        node.dial(&[]);
    }
}

#[tokio::test]
async fn the_owner_may_refuse_a_node_and_nobody_answers_for_another_replica() {
    let service = Service::new();
    let (refused, node) = (service.issue(VALIDITY), service.issue(VALIDITY));
    let strict = start_at(any_port(), 1, &node, &service, Some(refused.certificate.node_id()));
    let unwanted = start(2, &refused, &service);
    unwanted.dial(&[(1, strict.channels.address())]);
    unwanted.until_down(1).await;
    strict.dial(&[(2, unwanted.channels.address())]);
    let reason = strict.until_down(2).await;
    assert!(reason.contains("not to be that replica"), "{reason}");
    let third = start(3, &service.issue(VALIDITY), &service);
    third.dial(&[(7, strict.channels.address())]);
    let reason = third.until_down(7).await;
    assert!(reason.contains("replica 1 answers in place of replica 7"), "{reason}");
}

#[tokio::test]
async fn a_disconnected_peer_loses_what_it_asked_and_may_come_back() {
    let service = Service::new();
    let (a, mut b) = (start(1, &service.issue(VALIDITY), &service), start(2, &service.issue(VALIDITY), &service));
    a.dial(&[(2, b.channels.address())]);
    a.until_up(2).await;
    let asking = a.ask(2, HOLD, Bytes::new(), 10 * PATIENCE);
    let disconnecting = async {
        let _held = b.held.recv().await.expect("held");
        b.channels.disconnect(ReplicaId(1));
        b.held.recv().await
    };
    tokio::select! {
        answer = asking => assert_eq!(answer, Err(NoAnswer::Lost)),
        _ = disconnecting => panic!("nothing more is held"),
    }
    a.until_up(2).await;
}

#[tokio::test]
async fn a_rotated_service_is_trusted_once_the_owner_says_so() {
    let (old, new) = (Service::new(), Service::new());
    let (a, b) = (start(1, &old.issue(VALIDITY), &old), start(2, &new.issue(VALIDITY), &old));
    a.dial(&[(2, b.channels.address())]);
    assert!(a.until_down(2).await.contains("NotIssuedByService"));
    a.channels.trust(Trusted::only(new.certificate.clone()));
    a.until_up(2).await;
}

#[tokio::test]
async fn a_node_that_has_not_heard_of_a_rotation_trusts_who_shows_that_its_service_led_there() {
    let (old, new) = (Service::new(), Service::new());
    let bridge = endorse_service_certificate(&SystemCrypto, &old.certificate, &old.key, &new.certificate).unwrap();
    let stranger = Service::new();
    let astray = endorse_service_certificate(&SystemCrypto, &stranger.certificate, &stranger.key, &new.certificate);
    let late = start(1, &old.issue(VALIDITY), &old);
    let node = new.issue(VALIDITY);
    for (replica, between, trusts) in [(2, bridge, true), (3, astray.unwrap(), false)] {
        let identity = Identity::new(&[node.certificate.clone(), between], &node.key).expect("they match");
        let ahead = start_with(any_port(), replica, identity, &old, None);
        late.dial(&[(replica, ahead.channels.address())]);
        match trusts {
            true => late.until_up(replica).await,
            false => drop(late.until_down(replica).await),
        }
    }
}

#[tokio::test]
async fn what_a_service_issued_before_its_rotation_counts_for_the_nodes_that_it_still_has() {
    let (old, new) = (Service::new(), Service::new());
    let (stays, removed) = (old.issue(VALIDITY), old.issue(VALIDITY));
    let ahead = start(1, &new.issue(VALIDITY), &new);
    let earlier = vec![old.certificate.clone()];
    let nodes = [stays.certificate.node_id()].into();
    ahead.channels.trust(Trusted { service: new.certificate.clone(), earlier, nodes });
    for (replica, node, admitted) in [(2, &stays, true), (3, &removed, false)] {
        let late = start(replica, node, &new);
        late.dial(&[(1, ahead.channels.address())]);
        match admitted {
            true => late.until_up(1).await,
            false => drop(late.until_down(1).await),
        }
    }
}

#[tokio::test]
async fn who_looks_for_another_replica_is_told_and_ends_no_connection() {
    let service = Service::new();
    let (a, b) = (start(1, &service.issue(VALIDITY), &service), start(2, &service.issue(VALIDITY), &service));
    a.dial(&[(2, b.channels.address()), (3, b.channels.address())]);
    a.until_up(2).await;
    let mut mistaken = dial_raw(&b, &service).await;
    mistaken.write_all(&sized(&hello(1, 3))).await.expect("open");
    let mut read = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, mistaken.read_to_end(&mut read)).await.expect("ended in time");
    assert!(ended.is_err() || read == sized(&hello(2, 1)), "it learns who is here");
    a.until_up(2).await;
}

#[tokio::test]
async fn a_node_gets_through_while_strangers_hold_every_place_and_the_oldest_makes_way() {
    let service = Service::new();
    let (a, b) = (start(1, &service.issue(VALIDITY), &service), start(2, &service.issue(VALIDITY), &service));
    let mut silent = Vec::new();
    for _ in 0..limits::CHANNEL_STRANGERS_PER_ADDRESS_MAX {
        silent.push(tokio::net::TcpStream::connect(b.channels.address()).await.expect("it listens"));
    }
    a.dial(&[(2, b.channels.address())]);
    a.until_up(2).await;
    let oldest = tokio::time::timeout(PATIENCE, silent[0].read_u8()).await.expect("ended in time");
    assert!(oldest.is_err(), "it was ended");
}

fn hello(replica: u64, to: u64) -> Frame {
    Frame::Hello { own: Hello { replica: ReplicaId(replica), node: 0 }, to: ReplicaId(to) }
}

#[tokio::test]
async fn an_oversized_frame_or_one_out_of_place_ends_the_connection() {
    let service = Service::new();
    let target = start(1, &service.issue(VALIDITY), &service);
    let hello = |replica, to| sized(&hello(replica, to));
    let large = u32::try_from(limits::NODE_FRAME_BYTES_MAX + 1).expect("fits").to_le_bytes().to_vec();
    let no_response_is_owed = sized(&Frame::Response { id: 1, body: None });
    let nested = sized(&Frame::Part { last: true, bytes: Frame::Part { last: true, bytes: Bytes::new() }.encode() });
    for (replica, bad) in
        [(2, large), (3, no_response_is_owed), (4, nested), (5, vec![1, 0, 0, 0, 99]), (6, hello(6, 1))]
    {
        let mut stream = dial_raw(&target, &service).await;
        stream.write_all(&[hello(replica, 1), bad].concat()).await.expect("open");
        let mut read = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("ended in time");
        assert!(ended.is_err() || read == hello(1, replica), "nothing but its hello");
    }
    let mut silent = dial_raw(&target, &service).await;
    silent.write_all(&sized(&Frame::Raft(Bytes::from_static(b"no hello")))).await.expect("open");
    assert!(silent.read_u8().await.is_err(), "refused before any answer");
}

#[tokio::test]
async fn a_flood_for_a_peer_that_is_away_is_bounded_and_each_request_ends() {
    let service = Service::new();
    let deaf = tokio::net::TcpListener::bind(any_port()).await.expect("a free port");
    let a = start(1, &service.issue(VALIDITY), &service);
    a.dial(&[(2, deaf.local_addr().expect("bound"))]);
    let megabyte = Bytes::from(vec![0; 1 << 20]);
    (0..100).for_each(|_| a.channels.send_raft(ReplicaId(2), Lane::Ordered, megabyte.clone()));
    let (ended, mut answers) = mpsc::unbounded_channel();
    let requests = limits::CHANNEL_REQUESTS_MAX + 10;
    for _ in 0..requests {
        let ended = ended.clone();
        let answer = Box::new(move |answer: Result<Bytes, NoAnswer>| drop(ended.send(answer)));
        a.channels.request(ReplicaId(2), ECHO, Bytes::new(), 10 * PATIENCE, answer);
    }
    for _ in 0..10 {
        assert_eq!(answers.try_recv(), Ok(Err(NoAnswer::NotSent)), "beyond the limit: at once");
    }
    drop(a);
    for _ in 10..requests {
        assert_eq!(answers.recv().await, Some(Err(NoAnswer::Lost)), "when the channels close: the rest");
    }
}

/// A frame with its length before it.
fn sized(frame: &Frame) -> Vec<u8> {
    let frame = frame.encode();
    [&u32::try_from(frame.len()).expect("small").to_le_bytes(), &frame[..]].concat()
}

/// A node of the service that speaks bytes of its own.
async fn dial_raw(target: &Running, service: &Service) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let node = service.issue(VALIDITY);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(service.certificate.der().to_vec())).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(node.key.to_pkcs8_der().to_vec()));
    let chain = vec![CertificateDer::from(node.certificate.der().to_vec())];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("they match");
    let stream = tokio::net::TcpStream::connect(target.channels.address()).await.expect("it listens");
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}
