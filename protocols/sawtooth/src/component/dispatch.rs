//! The sending half of a connection, and what a processor's answer says.

use bytes::Bytes;
use parking_lot::Mutex;

use super::zmtp::Outgoing;
use crate::messages::Envelope;

/// Sends envelopes; what cannot be sent any more is dropped, and the connection's end is noticed by whoever reads it.
pub struct Outbox {
    outgoing: Outgoing,
    is_open: Mutex<bool>,
}

/// A verdict on a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    pub status: i32,
    pub message: String,
    pub extended_data: Bytes,
}

impl Outbox {
    pub fn new(outgoing: Outgoing) -> Self {
        Self { outgoing, is_open: Mutex::new(true) }
    }

    /// `false` once the connection is gone.
    pub fn send(&self, envelope: &Envelope) -> bool {
        let mut is_open = self.is_open.lock();
        if *is_open {
            *is_open = self.outgoing.message(&envelope.bytes()).is_ok();
        }
        *is_open
    }

    /// An empty message answers an empty one.
    pub fn send_empty(&self) {
        let _ = self.outgoing.message(&[]);
    }

    pub fn send_command(&self, bytes: &[u8]) {
        let _ = self.outgoing.command(bytes);
    }
}
