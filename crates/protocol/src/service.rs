//! A protocol's wire API, free of any async runtime: requests in, replies by callback.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use crate::{ApiError, Caller};

/// Serves a protocol's own clients.
pub trait Service: Send + Sync {
    /// Where it is reached.
    fn mount(&self) -> Mount;

    /// Bytes of a request's body, where this service's clients send larger ones than others.
    fn body_bytes_max(&self) -> Option<usize> {
        None
    }

    /// Whether a body sent to this path that begins with `[` is many requests in one, and may be as large as those together.
    fn takes_batches(&self, _path: &str) -> bool {
        false
    }

    /// Handles one HTTP request, on a worker thread that may compute but must not block on others. `reply` is called exactly once,
    /// from any thread; dropping it answers [`Service::busy`].
    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply);

    /// The same for a listener, where short requests wait for the thread: what is left of a request as soon as it proves to take long, for
    /// threads that nobody waits for. Services whose requests never do need no more than [`Service::call`].
    fn begin(&self, caller: Caller, request: Request<Bytes>, reply: Reply) -> Option<Rest> {
        self.call(caller, request, reply);
        None
    }

    /// What answers a request that the node has no room for, in the words of this service's clients. The listener adds `Retry-After`.
    fn busy(&self) -> Response<Bytes> {
        ApiError::busy().into_response()
    }

    /// Called several times a second, for answers that are due because time passed. Must not block.
    fn tick(&self) {}

    /// Opens a WebSocket session, for services that have them.
    fn open_socket(&self, _caller: Caller, _socket: Arc<dyn Socket>) -> Option<Box<dyn SocketSession>> {
        None
    }
}

/// Where a service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A path of the node's HTTPS API, such as `/app/records`.
    Path(&'static str),
    /// Below `/app` of the node's HTTPS API, by the ledger's name.
    Ledger(&'static str),
    /// A listener of its own, HTTP and WebSocket, named in the node's configuration.
    Listener(&'static str),
}

/// The way back for one response.
pub type Reply = Box<dyn FnOnce(Response<Bytes>) + Send>;

/// What is left to do of a request that takes long. Dropping it drops what would have been answered.
pub struct Rest {
    pub job: Box<dyn FnOnce() + Send>,
    /// What it holds in memory until it is done, bytes: of the request, and of what is answered so far.
    pub held_bytes: usize,
}

/// A response that goes on behind its body, for as long as the client and the service want: put among the response's extensions.
#[derive(Clone)]
pub struct Feed(Arc<Open>);

type Open = dyn Fn(Arc<dyn Socket>) -> Box<dyn Send> + Send + Sync;

impl Feed {
    /// `open` is given where to send to. What it gives back is dropped when the client has gone.
    pub fn new(open: impl Fn(Arc<dyn Socket>) -> Box<dyn Send> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    pub fn open(&self, socket: Arc<dyn Socket>) -> Box<dyn Send> {
        (self.0)(socket)
    }
}

/// The sending half of a WebSocket, text frames only, or of a [`Feed`].
pub trait Socket: Send + Sync {
    /// Queues a message. An error means that the connection is gone, or was closed because the client reads too slowly.
    fn send(&self, text: String) -> Result<(), SocketClosed>;

    /// Ends the connection once everything that is queued has left.
    fn finish(&self) {}
}

/// The receiving half. Dropped when the connection ends.
pub trait SocketSession: Send {
    /// One text message of the client; the next one is delivered when this returns.
    fn message(&mut self, text: &str);

    /// The same as [`Service::begin`]: the next message is delivered when what is left of this one is done.
    fn begin(&mut self, text: &str) -> Option<Rest> {
        self.message(text);
        None
    }
}

/// See [`Socket::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct SocketClosed;
