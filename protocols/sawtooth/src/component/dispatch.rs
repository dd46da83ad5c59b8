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
    sent: Mutex<Sent>,
}

/// What became of what was to be sent there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub bytes: usize,
    /// Nobody is there any more.
    pub is_over: bool,
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
        Self { outgoing, sent: Mutex::default() }
    }

    /// What was sent so far.
    pub fn sent(&self) -> Sent {
        *self.sent.lock()
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
        let mut sent = self.sent.lock();
        if !sent.is_over {
            let bytes = envelope.bytes();
            sent.bytes = sent.bytes.saturating_add(bytes.len());
            sent.is_over = self.outgoing.message(&bytes).is_err();
        }
        !sent.is_over
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
