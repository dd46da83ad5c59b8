//! Ways for envelopes out of the node, and what a processor's answer says.

use bytes::Bytes;
use parking_lot::Mutex;

use super::zmtp::Outgoing;
use crate::messages::Envelope;

/// The way to whoever is connected, here or at another node.
pub trait Outbox: Send + Sync {
    /// `false` once nobody is there any more; what cannot be sent is dropped.
    fn send(&self, envelope: &Envelope) -> bool;
}

/// A connection to this node. Its end is noticed by whoever reads it.
pub struct Connected {
    outgoing: Outgoing,
    is_open: Mutex<bool>,
}

/// Answers that are taken away together.
#[derive(Default)]
pub struct Answers(Mutex<Vec<Envelope>>);

/// A verdict on a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    pub status: i32,
    pub message: String,
    pub extended_data: Bytes,
}

impl Connected {
    pub fn new(outgoing: Outgoing) -> Self {
        Self { outgoing, is_open: Mutex::new(true) }
    }

    /// An empty message answers an empty one.
    pub fn send_empty(&self) {
        let _ = self.outgoing.message(&[]);
    }

    pub fn send_command(&self, bytes: &[u8]) {
        let _ = self.outgoing.command(bytes);
    }
}

impl Outbox for Connected {
    fn send(&self, envelope: &Envelope) -> bool {
        let mut is_open = self.is_open.lock();
        if *is_open {
            *is_open = self.outgoing.message(&envelope.bytes()).is_ok();
        }
        *is_open
    }
}

impl Answers {
    pub fn take(&self) -> Vec<Envelope> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Outbox for Answers {
    fn send(&self, envelope: &Envelope) -> bool {
        self.0.lock().push(envelope.clone());
        true
    }
}
