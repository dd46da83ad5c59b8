//! Connections that peers dialled to this node: their consensus messages and requests in, responses out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coco_types::{ReplicaId, limits};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::frame::{Frame, Hello};
use super::lanes::Lanes;
use super::strangers::{Stranger, Strangers};
use super::trust::node_of;
use super::wire::{Reader, prepare, write_hello, write_lanes};
use super::{Inbound, Shared};
use crate::serve::{OWN, Workers};

/// Threads on which requests are taken in, for all peers together.
const WORKERS: usize = 2;

type ReadHalf = tokio::io::ReadHalf<TlsStream<TcpStream>>;
type WriteHalf = tokio::io::WriteHalf<TlsStream<TcpStream>>;
/// Of a node that may be the replica that it says it is.
type Opened = (Hello, Reader<ReadHalf>, WriteHalf);

/// What accepted connections share beyond [`Shared`].
struct Accepted {
    shared: Arc<Shared>,
    workers: Workers,
    strangers: Arc<Strangers>,
}

/// Accepts until aborted, and then takes every connection along.
pub(crate) async fn accept(socket: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let workers = Workers::start(WORKERS, limits::CHANNEL_REQUESTS_MAX, 0);
    let accepted = Arc::new(Accepted { shared, workers, strangers: Arc::default() });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            incoming = socket.accept() => match incoming {
                Ok((stream, address)) => {
                    let (accepted, acceptor) = (Arc::clone(&accepted), acceptor.clone());
                    let stranger = accepted.strangers.admit(address.ip());
                    connections.spawn(async move {
                        match greet(stream, acceptor, &accepted.shared, stranger).await {
                            Ok(opened) => {
                                if let Err(error) = serve(opened, &accepted).await {
                                    tracing::warn!(%address, %error, "a node's connection ended");
                                }
                            }
                            // It will learn who is here now.
                            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                                tracing::debug!(%address, %error, "a node's connection ended");
                            }
                            Err(error) => accepted.strangers.refused(address, &error),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a node's connection");
                    tokio::time::sleep(Duration::from_millis(limits::CHANNEL_RETRY_MS)).await;
                }
            },
        }
    }
}

/// Until the other end has shown that it is a node, or has to make way for others.
async fn greet(stream: TcpStream, acceptor: TlsAcceptor, shared: &Shared, stranger: Stranger) -> io::Result<Opened> {
    let timeout = Duration::from_millis(limits::CHANNEL_OPEN_TIMEOUT_MS);
    tokio::select! {
        opened = tokio::time::timeout(timeout, open(stream, acceptor, shared)) => opened?,
        () = stranger.made_way() => Err(io::Error::other("it made way for others before it said hello")),
    }
}

async fn serve((hello, reader, mut write): Opened, accepted: &Arc<Accepted>) -> io::Result<()> {
    let ordered_to_end = accepted.succeed(hello.replica);
    let responses = Arc::new(Lanes::default());
    let ended = tokio::select! {
        error = read(hello, reader, accepted, &responses) => error,
        error = write_lanes(&mut write, &responses) => error,
        () = ordered_to_end.notified() => io::Error::other("the peer has connected again, or is no longer wanted"),
    };
    accepted.forget(hello.replica, &ordered_to_end);
    if ended.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(ended) }
}

async fn open(stream: TcpStream, acceptor: TlsAcceptor, shared: &Shared) -> io::Result<Opened> {
    prepare(&stream)?;
    let stream = acceptor.accept(stream).await?;
    let node = node_of(stream.get_ref().1.peer_certificates());
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = Reader::new(read);
    let (hello, to) = reader.hello().await?;
    // It is told who is here, and does not end the connection that it keeps to this replica already.
    if to != shared.own.replica {
        write_hello(&mut write, shared.own, hello.replica).await?;
        let message = format!("replica {} looks for replica {to}, and this is {}", hello.replica, shared.own.replica);
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    if !node.is_some_and(|node| shared.inbound.admits(node, hello)) {
        let message = format!("the node is not to be replica {}", hello.replica);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    write_hello(&mut write, shared.own, hello.replica).await?;
    Ok((hello, reader, write))
}

impl Accepted {
    /// The newest connection of a replica puts the one before to an end.
    fn succeed(&self, replica: ReplicaId) -> Arc<Notify> {
        let mine = Arc::new(Notify::new());
        if let Some(before) = self.shared.accepted.lock().insert(replica, Arc::clone(&mine)) {
            before.notify_one();
        }
        mine
    }

    fn forget(&self, replica: ReplicaId, mine: &Arc<Notify>) {
        let mut newest = self.shared.accepted.lock();
        if newest.get(&replica).is_some_and(|current| Arc::ptr_eq(current, mine)) {
            newest.remove(&replica);
        }
    }
}

async fn read(
    hello: Hello,
    mut reader: Reader<ReadHalf>,
    accepted: &Arc<Accepted>,
    responses: &Arc<Lanes>,
) -> io::Error {
    let (requests, queued) = mpsc::unbounded_channel();
    let under_way = Arc::new(UnderWay::default());
    let delivering = deliver(hello.replica, queued, accepted, responses);
    let reading = async {
        loop {
            match reader.next().await {
                Ok(Frame::Raft(message)) => accepted.shared.inbound.raft(hello.replica, message),
                Ok(Frame::Request { id, kind, body }) => match under_way.begin(body.len()) {
                    Some(place) => drop(requests.send(Request { id, kind, body, place })),
                    None => drop(responses.put_request(&Frame::Response { id, body: None }, 0)),
                },
                Ok(_) => return io::Error::new(io::ErrorKind::InvalidData, "a frame out of place"),
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        error = reading => error,
        () = delivering => io::Error::other("requests are no longer taken"),
    }
}

struct Request {
    id: u64,
    kind: u16,
    body: Bytes,
    place: Place,
}

/// Hands requests to the owner one after another, so that a sender's order is kept, and off the thread that reads heartbeats.
async fn deliver(
    from: ReplicaId,
    mut queued: mpsc::UnboundedReceiver<Request>,
    accepted: &Accepted,
    responses: &Arc<Lanes>,
) {
    while let Some(Request { id, kind, body, place }) = queued.recv().await {
        let inbound: Arc<dyn Inbound> = Arc::clone(&accepted.shared.inbound);
        let mut response = Responding { id, responses: Arc::clone(responses), _place: place, answered: false };
        let (done, taken) = oneshot::channel::<()>();
        let respond = Box::new(move |answer: Bytes| response.answer(answer));
        accepted
            .workers
            .run(OWN, move || {
                inbound.request(from, kind, body, respond);
                drop(done);
            })
            .await;
        // An error is the signal: nothing is ever sent.
        let _ = taken.await;
    }
}

/// A response that is owed. Dropped unanswered, it says that there is none.
struct Responding {
    id: u64,
    responses: Arc<Lanes>,
    _place: Place,
    answered: bool,
}

impl Responding {
    fn answer(&mut self, body: Bytes) {
        let bytes = body.len();
        let fits = bytes < limits::NODE_FRAME_BYTES_MAX - 64;
        self.answered = fits && self.responses.put_request(&Frame::Response { id: self.id, body: Some(body) }, bytes);
    }
}

impl Drop for Responding {
    fn drop(&mut self) {
        if !self.answered {
            self.responses.put_request(&Frame::Response { id: self.id, body: None }, 0);
        }
    }
}

/// Requests of one peer that are being answered.
#[derive(Default)]
struct UnderWay {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

struct Place {
    of: Arc<UnderWay>,
    bytes: usize,
}

impl UnderWay {
    fn begin(self: &Arc<Self>, bytes: usize) -> Option<Place> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        // Dropped at once where it is refused, which takes it out of the counts again.
        let place = Place { of: Arc::clone(self), bytes };
        (count <= limits::CHANNEL_REQUESTS_MAX && total <= limits::CHANNEL_REQUEST_BYTES_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.count.fetch_sub(1, Ordering::Relaxed);
        self.of.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
