//! A wire API that is no HTTP: bytes in, bytes out, on a listener of its own.

use std::sync::Arc;

use bytes::Bytes;

use crate::SocketClosed;

/// Serves a protocol's clients over plain connections.
pub trait StreamService: Send + Sync {
    /// The listener's name in the node's configuration.
    fn listener(&self) -> &'static str;

    /// Somebody connected. The session is dropped when the connection ends.
    fn open(&self, stream: Arc<dyn Stream>) -> Box<dyn StreamSession>;

    /// About once a second: for timeouts.
    fn tick(&self) {}
}

/// The sending half of a connection.
pub trait Stream: Send + Sync {
    /// Queues bytes. An error means that the connection is gone, or is being closed because the client reads too slowly.
    fn send(&self, bytes: Bytes) -> Result<(), SocketClosed>;
}

/// The receiving half.
pub trait StreamSession: Send {
    /// Bytes as they arrived, in pieces of any size. The next ones are delivered when this returns.
    fn received(&mut self, bytes: &[u8]) -> Result<(), StreamEnded>;
}

/// The client said what cannot be understood: the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StreamEnded(pub String);
