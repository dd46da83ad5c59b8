//! The connection that this node dials to one peer: kept up, written by lanes, and the requests that wait for their answers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_crypto::{Crypto, SystemCrypto};
use coco_types::{ReplicaId, limits};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::frame::Frame;
use super::lanes::{Lane, Lanes};
use super::trust::node_of;
use super::wire::{Reader, prepare, write_hello, write_lanes};
use super::{Answer, Link, NoAnswer, Shared};

pub(crate) struct Peer {
    id: ReplicaId,
    address: SocketAddr,
    lanes: Lanes,
    waiting: Mutex<Waiting>,
    /// An earlier deadline than those known was added.
    sooner: Notify,
    shared: Arc<Shared>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Waiting {
    requests: BTreeMap<u64, (Instant, Answer)>,
    deadlines: BTreeMap<(Instant, u64), ()>,
    last_id: u64,
    closed: bool,
}

impl Peer {
    pub(crate) fn start(runtime: &Handle, id: ReplicaId, address: SocketAddr, shared: Arc<Shared>) -> Arc<Self> {
        let (lanes, waiting, sooner) = (Lanes::default(), Mutex::default(), Notify::new());
        let peer = Arc::new(Self { id, address, lanes, waiting, sooner, shared, task: Mutex::default() });
        let running = Arc::clone(&peer);
        let task = runtime.spawn(async move {
            tokio::select! {
                () = running.keep_up() => {}
                () = running.expire() => {}
            }
        });
        *peer.task.lock() = Some(task.abort_handle());
        peer
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn close(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.waiting.lock().closed = true;
        self.abandon(NoAnswer::Lost);
    }

    pub(crate) fn send_raft(&self, lane: Lane, message: Bytes) {
        self.lanes.put_raft(lane, message);
    }

    pub(crate) fn request(&self, kind: u16, body: Bytes, timeout: Duration, reply: Answer) {
        // Entered and queued in one step, as `abandon` removes and clears in one: a request is never in only one of the two.
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.requests.len() >= limits::CHANNEL_REQUESTS_MAX {
            drop(waiting);
            return reply(Err(NoAnswer::NotSent));
        }
        waiting.last_id += 1;
        let (id, bytes) = (waiting.last_id, body.len());
        if bytes >= limits::NODE_FRAME_BYTES_MAX - 64
            || !self.lanes.put_request(&Frame::Request { id, kind, body }, bytes)
        {
            drop(waiting);
            return reply(Err(NoAnswer::NotSent));
        }
        let deadline = Instant::now() + timeout;
        let soonest = waiting.deadlines.first_key_value().is_none_or(|((known, _), ())| deadline < *known);
        waiting.deadlines.insert((deadline, id), ());
        waiting.requests.insert(id, (deadline, reply));
        drop(waiting);
        if soonest {
            self.sooner.notify_one();
        }
    }

    fn answer(&self, id: u64, body: Option<Bytes>) {
        let mut waiting = self.waiting.lock();
        let Some((deadline, reply)) = waiting.requests.remove(&id) else { return };
        waiting.deadlines.remove(&(deadline, id));
        drop(waiting);
        reply(body.ok_or(NoAnswer::Lost));
    }

    /// Nobody will answer what was asked on a lost connection, and what is queued is stale: consensus sends it again.
    fn abandon(&self, end: NoAnswer) {
        let requests = {
            let mut waiting = self.waiting.lock();
            self.lanes.clear();
            waiting.deadlines.clear();
            std::mem::take(&mut waiting.requests)
        };
        requests.into_values().for_each(|(_, reply)| reply(Err(end)));
    }

    async fn expire(&self) {
        loop {
            let sooner = self.sooner.notified();
            let next = self.waiting.lock().deadlines.first_key_value().map(|(key, ())| *key);
            match next {
                Some((deadline, id)) if deadline <= Instant::now() => self.answer(id, None),
                Some((deadline, _)) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(deadline) => {}
                        () = sooner => {}
                    }
                }
                None => sooner.await,
            }
        }
    }

    async fn keep_up(&self) {
        let mut delay = limits::CHANNEL_RETRY_MS;
        loop {
            // Without a connection nothing that waits can have left.
            let mut end = NoAnswer::NotSent;
            let error = match tokio::time::timeout(OPEN_TIMEOUT, self.open()).await {
                Ok(Ok((stream, reader))) => {
                    delay = limits::CHANNEL_RETRY_MS;
                    self.note(Link::Up);
                    end = NoAnswer::Lost;
                    self.serve(stream, reader).await
                }
                Ok(Err(error)) => error,
                Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no hello in time"),
            };
            tracing::debug!(peer = %self.id, address = %self.address, %error, "channel down");
            self.note(Link::Down(error.to_string()));
            self.abandon(end);
            tokio::time::sleep(jittered(delay)).await;
            delay = (delay * 2).min(limits::CHANNEL_RETRY_MS_MAX);
        }
    }

    /// Connects, and checks that who answers is this peer: the host decides where packets go.
    async fn open(&self) -> io::Result<(WriteHalf, Reader<ReadHalf>)> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await;
        let socket = connected.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
        prepare(&socket)?;
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream = self.shared.connector.connect(name, socket).await?;
        let node = node_of(stream.get_ref().1.peer_certificates());
        let (read, mut write) = tokio::io::split(stream);
        write_hello(&mut write, self.shared.own, self.id).await?;
        let mut reader = Reader::new(read);
        let (hello, _) = reader.hello().await?;
        if hello.replica != self.id {
            let message = format!("replica {} answers in place of replica {}", hello.replica, self.id);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        match node {
            Some(node) if self.shared.inbound.admits(node, hello) => Ok((write, reader)),
            _ => Err(io::Error::new(io::ErrorKind::PermissionDenied, "this node is not to be that replica")),
        }
    }

    async fn serve(&self, mut write: WriteHalf, mut reader: Reader<ReadHalf>) -> io::Error {
        tokio::select! {
            error = write_lanes(&mut write, &self.lanes) => error,
            error = self.read_answers(&mut reader) => error,
        }
    }

    async fn read_answers(&self, reader: &mut Reader<ReadHalf>) -> io::Error {
        loop {
            match reader.next().await {
                Ok(Frame::Response { id, body }) => self.answer(id, body),
                Ok(_) => {
                    return io::Error::new(io::ErrorKind::InvalidData, "only responses come back on a dialled channel");
                }
                Err(error) => return error,
            }
        }
    }

    fn note(&self, link: Link) {
        self.shared.links.send_modify(|links| drop(links.insert(self.id, link)));
    }
}

type WriteHalf = tokio::io::WriteHalf<TlsStream<TcpStream>>;
type ReadHalf = tokio::io::ReadHalf<TlsStream<TcpStream>>;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(limits::CHANNEL_CONNECT_TIMEOUT_MS);
const OPEN_TIMEOUT: Duration = Duration::from_millis(limits::CHANNEL_OPEN_TIMEOUT_MS);

/// Between half of `delay_ms` and all of it, so that nodes cut off together do not come back in step.
fn jittered(delay_ms: u64) -> Duration {
    let mut random = [0; 8];
    SystemCrypto.fill(&mut random);
    Duration::from_millis(delay_ms / 2 + u64::from_le_bytes(random) % (delay_ms / 2 + 1))
}
