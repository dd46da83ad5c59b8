//! The way to other nodes: mutual TLS 1.3 between holders of certificates that the service endorsed.
//!
//! Each node dials each other node. What it sends goes over the connection that it dialled; answers to its requests come back on
//! the same one. A frame is a u32 length (little-endian), a kind byte and a body.
//!
//! Consensus messages may be lost: a full queue drops them. Requests that cannot be sent are answered with nothing at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_protocol::{Protocol, Rejection, RejectionReason};
use coco_types::{ReplicaId, limits};
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::events::{ExecutorEvent, ReplicaEvent};
use crate::handle::{Peers, Shared, submit_here, unavailable};
use crate::identity::Identity;
use crate::shell::NodeError;
use crate::shell::admission::Admission;
use crate::wire::{self, ForwardedSubmissions, kind};

/// Frames and bytes that may wait for one peer.
const QUEUED_FRAMES_MAX: usize = 4_096;
const QUEUED_BYTES_MAX: usize = 128 << 20;
const REDIAL: Duration = Duration::from_millis(100);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests of one peer that may be under way.
const REQUESTS_MAX: usize = 1_024;

const HELLO: u8 = 0;
const RAFT: u8 = 1;
const REQUEST: u8 = 2;
const RESPONSE: u8 = 3;

/// See the module's text.
pub struct Network {
    own: ReplicaId,
    runtime: Handle,
    peers: Mutex<BTreeMap<ReplicaId, Arc<Peer>>>,
    tls: Mutex<Option<TlsConnector>>,
    accepting: Mutex<Option<AbortHandle>>,
}

/// What a node does with what its peers send.
pub struct Inbound {
    pub shared: Arc<Shared>,
    pub protocols: Vec<Arc<dyn Protocol>>,
    pub admission: Arc<Admission>,
}

type Answer = Box<dyn FnOnce(Option<Bytes>) + Send>;

/// One peer: the queue to it, and the requests it has not answered.
struct Peer {
    address: SocketAddr,
    queue: mpsc::Sender<Bytes>,
    queued_bytes: AtomicUsize,
    next_request: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Answer>>,
    dialling: Mutex<Option<AbortHandle>>,
}

impl Network {
    pub fn new(own: ReplicaId, runtime: Handle) -> Self {
        Self { own, runtime, peers: Mutex::default(), tls: Mutex::default(), accepting: Mutex::default() }
    }

    /// Listens, and can dial from now on.
    pub fn listen(&self, address: SocketAddr, identity: &Identity, inbound: Inbound) -> Result<(), NodeError> {
        let (server, client) = tls_configs(identity).map_err(|error| NodeError::Tls(error.to_string()))?;
        *self.tls.lock() = Some(TlsConnector::from(Arc::new(client)));
        let listen = |source| NodeError::Serve(coco_rpc::Error::Listen { address, source });
        let socket = std::net::TcpListener::bind(address).map_err(listen)?;
        socket.set_nonblocking(true)?;
        let _in_runtime = self.runtime.enter();
        let socket = TcpListener::from_std(socket)?;
        let accepting = self.runtime.spawn(accept(socket, TlsAcceptor::from(Arc::new(server)), Arc::new(inbound)));
        *self.accepting.lock() = Some(accepting.abort_handle());
        Ok(())
    }

    pub fn close(&self) {
        for peer in std::mem::take(&mut *self.peers.lock()).values() {
            peer.close();
        }
        if let Some(accepting) = self.accepting.lock().take() {
            accepting.abort();
        }
    }

    fn peer(&self, id: ReplicaId) -> Option<Arc<Peer>> {
        self.peers.lock().get(&id).cloned()
    }
}

impl Peers for Network {
    fn send(&self, to: ReplicaId, message: Bytes) {
        if let Some(peer) = self.peer(to) {
            peer.enqueue(frame(RAFT, &[&message]));
        }
    }

    fn request(&self, to: ReplicaId, kind: u16, body: Bytes, timeout: Duration, reply: Answer) {
        let Some(peer) = self.peer(to) else { return reply(None) };
        let id = peer.next_request.fetch_add(1, Ordering::Relaxed);
        peer.waiting.lock().insert(id, reply);
        if !peer.enqueue(frame(REQUEST, &[&id.to_le_bytes(), &kind.to_le_bytes(), &body])) {
            return peer.answer(id, None);
        }
        self.runtime.spawn(async move {
            tokio::time::sleep(timeout).await;
            peer.answer(id, None);
        });
    }

    fn connect(&self, addresses: &BTreeMap<ReplicaId, SocketAddr>) {
        let Some(tls) = self.tls.lock().clone() else { return };
        let mut peers = self.peers.lock();
        peers.retain(|id, peer| {
            let keep = addresses.get(id) == Some(&peer.address);
            if !keep {
                peer.close();
            }
            keep
        });
        for (id, address) in addresses {
            if *id == self.own || peers.contains_key(id) {
                continue;
            }
            let (queue, frames) = mpsc::channel(QUEUED_FRAMES_MAX);
            let peer = Arc::new(Peer {
                address: *address,
                queue,
                queued_bytes: AtomicUsize::new(0),
                next_request: AtomicU64::new(0),
                waiting: Mutex::default(),
                dialling: Mutex::default(),
            });
            let task = self.runtime.spawn(dial(peer.clone(), frames, tls.clone(), self.own));
            *peer.dialling.lock() = Some(task.abort_handle());
            peers.insert(*id, peer);
        }
    }
}

impl Peer {
    fn enqueue(&self, frame: Bytes) -> bool {
        let len = frame.len();
        if self.queued_bytes.fetch_add(len, Ordering::Relaxed) + len > QUEUED_BYTES_MAX
            || self.queue.try_send(frame).is_err()
        {
            self.queued_bytes.fetch_sub(len, Ordering::Relaxed);
            return false;
        }
        true
    }

    fn answer(&self, id: u64, body: Option<Bytes>) {
        let waiting = self.waiting.lock().remove(&id);
        if let Some(reply) = waiting {
            reply(body);
        }
    }

    /// Nobody will answer what was asked on a lost connection.
    fn abandon(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for reply in waiting.into_values() {
            reply(None);
        }
    }

    fn close(&self) {
        if let Some(task) = self.dialling.lock().take() {
            task.abort();
        }
        self.abandon();
    }
}

/// Keeps one peer's connection up, and writes what is queued for it.
async fn dial(peer: Arc<Peer>, mut frames: mpsc::Receiver<Bytes>, tls: TlsConnector, own: ReplicaId) {
    loop {
        match connect(&peer, &tls).await {
            Ok(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                let answers = tokio::spawn(read_answers(reader, peer.clone()));
                let written = write_frames(writer, &peer, &mut frames, own, &answers).await;
                answers.abort();
                peer.abandon();
                tracing::debug!(address = %peer.address, ?written, "lost a peer");
            }
            Err(error) => tracing::debug!(address = %peer.address, %error, "a peer does not answer"),
        }
        // What queued up meanwhile is old: consensus sends it again, and requests were told.
        while let Ok(frame) = frames.try_recv() {
            peer.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        }
        peer.abandon();
        tokio::time::sleep(REDIAL).await;
    }
}

async fn connect(peer: &Peer, tls: &TlsConnector) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let connected = async {
        let socket = TcpStream::connect(peer.address).await?;
        socket.set_nodelay(true)?;
        tls.connect(ServerName::IpAddress(peer.address.ip().into()), socket).await
    };
    tokio::time::timeout(HANDSHAKE_TIMEOUT, connected).await?
}

async fn write_frames(
    mut writer: impl AsyncWriteExt + Unpin,
    peer: &Peer,
    frames: &mut mpsc::Receiver<Bytes>,
    own: ReplicaId,
    answers: &tokio::task::JoinHandle<()>,
) -> std::io::Result<()> {
    writer.write_all(&frame(HELLO, &[&own.0.to_le_bytes()])).await?;
    writer.flush().await?;
    let mut check = tokio::time::interval(REDIAL);
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            _ = check.tick() => {
                if answers.is_finished() {
                    return Err(std::io::ErrorKind::ConnectionReset.into());
                }
                continue;
            }
        };
        let Some(frame) = frame else { return Ok(()) };
        peer.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        writer.write_all(&frame).await?;
        while let Ok(frame) = frames.try_recv() {
            peer.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
            writer.write_all(&frame).await?;
        }
        writer.flush().await?;
    }
}

async fn read_answers(mut reader: impl AsyncReadExt + Unpin, peer: Arc<Peer>) {
    while let Ok((kind, mut body)) = read_frame(&mut reader).await {
        if kind != RESPONSE || body.len() < 8 {
            return;
        }
        let id = body.get_u64_le();
        peer.answer(id, Some(body));
    }
}

async fn accept(socket: TcpListener, tls: TlsAcceptor, inbound: Arc<Inbound>) {
    loop {
        match socket.accept().await {
            Ok((socket, address)) => {
                let (tls, inbound) = (tls.clone(), inbound.clone());
                tokio::spawn(async move {
                    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await;
                    match accepted {
                        Ok(Ok(stream)) => drop(serve_peer(stream, inbound).await),
                        Ok(Err(error)) => tracing::warn!(%address, %error, "refused a node's connection"),
                        Err(_) => tracing::warn!(%address, "a node's handshake took too long"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a node's connection");
                tokio::time::sleep(REDIAL).await;
            }
        }
    }
}

async fn serve_peer(stream: tokio_rustls::server::TlsStream<TcpStream>, inbound: Arc<Inbound>) -> std::io::Result<()> {
    stream.get_ref().0.set_nodelay(true)?;
    let (mut reader, writer) = tokio::io::split(stream);
    let (answers, queued) = mpsc::unbounded_channel();
    let writing = tokio::spawn(write_answers(writer, queued));
    let under_way = Arc::new(tokio::sync::Semaphore::new(REQUESTS_MAX));
    let from = match read_frame(&mut reader).await? {
        (HELLO, body) if body.len() == 8 => ReplicaId(body.clone().get_u64_le()),
        _ => return Err(std::io::ErrorKind::InvalidData.into()),
    };
    let served = async {
        loop {
            let (kind, mut body) = read_frame(&mut reader).await?;
            match kind {
                RAFT => inbound.raft(from, body),
                REQUEST if body.len() >= 10 => {
                    let permit = under_way.clone().acquire_owned().await.map_err(std::io::Error::other)?;
                    let (id, request) = (body.get_u64_le(), body.get_u16_le());
                    let answers = answers.clone();
                    let respond = Box::new(move |answer: Bytes| {
                        drop(permit);
                        let _ = answers.send(frame(RESPONSE, &[&id.to_le_bytes(), &answer]));
                    });
                    tokio::task::block_in_place(|| inbound.request(request, body, respond));
                }
                _ => return Err::<(), std::io::Error>(std::io::ErrorKind::InvalidData.into()),
            }
        }
    };
    let ended = served.await;
    writing.abort();
    ended
}

async fn write_answers(mut writer: impl AsyncWriteExt + Unpin, mut queued: mpsc::UnboundedReceiver<Bytes>) {
    while let Some(frame) = queued.recv().await {
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

async fn read_frame(reader: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<(u8, Bytes)> {
    let len = reader.read_u32_le().await? as usize;
    if len == 0 || len > limits::NODE_FRAME_BYTES_MAX {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    // Grows with what arrives, not with what is announced.
    let mut body = BytesMut::with_capacity(len.min(1 << 20));
    let mut limited = reader.take(len as u64);
    while body.len() < len {
        if limited.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let kind = body.get_u8();
    Ok((kind, body.freeze()))
}

fn frame(kind: u8, parts: &[&[u8]]) -> Bytes {
    let len = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut frame = BytesMut::with_capacity(4 + len);
    frame.put_u32_le(u32::try_from(len).expect("a frame is smaller than 4 GiB"));
    frame.put_u8(kind);
    parts.iter().for_each(|part| frame.put_slice(part));
    frame.freeze()
}

impl Inbound {
    fn raft(&self, from: ReplicaId, message: Bytes) {
        // A full queue drops it, as a network may.
        let _ = self.shared.replica.try_send(ReplicaEvent::Message { from, message });
    }

    fn request(&self, kind: u16, body: Bytes, respond: Box<dyn FnOnce(Bytes) + Send>) {
        match kind {
            kind::SUBMIT => self.submit(body, respond),
            kind::ASK => match wire::decode_question(body) {
                Ok(question) if self.shared.is_primary() => {
                    let reply = Box::new(move |result| respond(wire::encode_result(&result)));
                    submit_here(&self.shared, ExecutorEvent::Ask { question, reply });
                }
                _ => respond(wire::encode_result(&Err(unavailable()))),
            },
            kind::READ_INDEX => self.read_index(respond),
            kind::JOIN => {
                let reply = Box::new(move |result: Result<Bytes, String>| {
                    let result = result.map_err(|message| Rejection::new(RejectionReason::Refused, 0, message));
                    respond(wire::encode_result(&result));
                });
                self.admission.join_here(&body, reply);
            }
            _ => respond(Bytes::new()),
        }
    }

    fn submit(&self, body: Bytes, respond: Box<dyn FnOnce(Bytes) + Send>) {
        let Ok(ForwardedSubmissions { ledger, until, submissions }) = wire::decode_submissions(body) else {
            return respond(wire::encode_answers(&[]));
        };
        let count = submissions.len();
        let Some(protocol) = self.protocols.get(ledger).filter(|_| self.shared.is_primary()) else {
            return respond(wire::encode_answers(&vec![coco_protocol::Submitted::Unavailable; count]));
        };
        let readmitted = submissions.into_iter().map(|(raw, finding, caller)| protocol.readmit(raw, finding, caller));
        match readmitted.collect::<Result<Vec<_>, _>>() {
            Ok(admitted) => {
                let reply = Box::new(move |answers: Vec<_>| respond(wire::encode_answers(&answers)));
                submit_here(&self.shared, ExecutorEvent::Submit { ledger, admitted, until, reply });
            }
            Err(rejection) => {
                respond(wire::encode_answers(&vec![coco_protocol::Submitted::Rejected(rejection); count]));
            }
        }
    }

    fn read_index(&self, respond: Box<dyn FnOnce(Bytes) + Send>) {
        let visible = self.shared.visible.clone();
        let reply: Box<dyn FnOnce(bool) + Send> = Box::new(move |confirmed: bool| {
            let seqno = visible.txid().seqno.0.to_le_bytes();
            respond(if confirmed { Bytes::copy_from_slice(&seqno) } else { Bytes::new() });
        });
        if self.shared.is_primary() {
            let _ = self.shared.replica.send(ReplicaEvent::Linearizable { reply });
        } else {
            reply(false);
        }
    }
}

/// Both ends present a certificate of the service; TLS 1.3 only.
fn tls_configs(identity: &Identity) -> Result<(ServerConfig, ClientConfig), rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.service.certificate.der().to_vec()))?;
    let roots = Arc::new(roots);
    let chain = vec![
        CertificateDer::from(identity.node_certificate.der().to_vec()),
        CertificateDer::from(identity.service.certificate.der().to_vec()),
    ];
    let key = || PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.node_key.to_pkcs8_der().to_vec()));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key())?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key())?;
    Ok((server, client))
}
