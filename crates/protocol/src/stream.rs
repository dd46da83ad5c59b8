//! A wire API that is no HTTP: bytes in, bytes out, on a listener of its own.

use std::sync::Arc;

use bytes::Bytes;

use crate::SocketClosed;

/// Serves a protocol's clients over connections that carry bytes.
pub trait StreamService: Send + Sync {
    /// The listener's name in the node's configuration.
    fn listener(&self) -> &'static str;

    /// Whether its connections are TLS 1.3, in which the node proves that it is of the network.
    fn is_secured(&self) -> bool {
        false
    }

    /// Somebody connected. The session is dropped when the connection ends. There is a binding where connections are secured.
    fn open(&self, stream: Arc<dyn Stream>, binding: Option<ChannelBinding>) -> Box<dyn StreamSession>;

    /// About once a second: for timeouts. Also where it has no listener, as its ledger goes on there too.
    fn tick(&self) {}
}

/// What names one TLS connection and nothing else: exported key material (RFC 8446 §7.5), known to its two ends only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChannelBinding(pub [u8; 32]);

/// What the key material is exported under.
pub const CHANNEL_BINDING_LABEL: &[u8] = b"EXPORTER-coco-channel";

/// A program at the other end of a connection, of which evidence says what it is: see [`crate::LedgerHandle::attest`].
pub trait Attested: Send + Sync {
    /// Its platform and measurement, for people.
    fn describe(&self) -> String;

    /// Whether it is one of those that this policy accepts; its sections are those of the network's own attestation policy. Otherwise why not.
    fn meets(&self, policy: &serde_json::Value) -> Result<(), String>;
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

    /// Whether it has stopped before the end of what has arrived, so that others have their turn: then [`StreamSession::received`] is called again, with
    /// no bytes, once it is this client's turn and the client has read of what it was sent. Further bytes are delivered only when there is no more.
    fn has_more(&self) -> bool {
        false
    }

    /// Bytes that it keeps until the rest of what they begin has arrived.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Asked after each [`StreamSession::received`], and from time to time while nothing arrives.
    fn standing(&self) -> Standing {
        Standing::Serving
    }
}

/// What a connection is to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has not said yet what has to be said first, and has little time for that.
    Greeting,
    /// Nobody relies on it just now: where others need its place, it goes.
    Idle,
    Serving,
}

/// The client said what cannot be understood: the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StreamEnded(pub String);
