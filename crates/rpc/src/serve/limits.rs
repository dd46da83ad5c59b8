//! What a listener grants its clients. Defaults are those of `coco_types::limits`.

use std::time::Duration;

use coco_types::limits;

/// Every bound of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    /// From a request's first byte (or a TLS connection's) to the end of its head (or of the handshake).
    pub head_timeout: Duration,
    /// From a request's head to the end of its body.
    pub body_timeout: Duration,
    /// From the end of its body until somebody has time for it, where many wait.
    pub queued_max: Duration,
    /// Without a request; also without progress in sending an answer.
    pub idle_timeout: Duration,
    pub body_bytes_max: usize,
    /// The same for a body, where the service takes batches there, or a WebSocket message that starts with `[`.
    pub batch_bytes_max: usize,
    /// Held for all clients together.
    pub client_bytes_max: usize,
    /// Held for those of one address.
    pub client_bytes_per_address_max: usize,
    /// So many bytes of large answers a connection takes in each such time, or it is closed.
    pub answer_pace_bytes: usize,
    pub answer_pace: Duration,
    pub socket_queue_messages_max: usize,
    pub socket_queue_bytes_max: usize,
    pub socket_ping: Duration,
    /// Responses that go on.
    pub feeds_max: usize,
    pub feeds_per_address_max: usize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_address_max: limits::CONNECTIONS_PER_ADDRESS_MAX,
            head_timeout: Duration::from_millis(limits::REQUEST_HEAD_TIMEOUT_MS),
            body_timeout: Duration::from_millis(limits::REQUEST_BODY_TIMEOUT_MS),
            queued_max: Duration::from_millis(limits::REQUEST_QUEUED_MS_MAX),
            idle_timeout: Duration::from_millis(limits::CONNECTION_IDLE_MS),
            body_bytes_max: limits::REQUEST_BODY_BYTES_MAX,
            batch_bytes_max: limits::RPC_BATCH_BYTES_MAX,
            client_bytes_max: limits::CLIENT_BYTES_MAX,
            client_bytes_per_address_max: limits::CLIENT_BYTES_PER_ADDRESS_MAX,
            answer_pace_bytes: limits::ANSWER_PACE_BYTES,
            answer_pace: Duration::from_millis(limits::ANSWER_PACE_MS),
            socket_queue_messages_max: limits::SOCKET_QUEUE_MESSAGES_MAX,
            socket_queue_bytes_max: limits::SOCKET_QUEUE_BYTES_MAX,
            socket_ping: Duration::from_millis(limits::SOCKET_PING_MS),
            feeds_max: limits::EVENT_STREAMS_MAX,
            feeds_per_address_max: limits::EVENT_STREAMS_PER_ADDRESS_MAX,
        }
    }
}

/// How large one piece of content may be, bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContentMax {
    pub one: usize,
    pub batch: usize,
}

impl ListenerLimits {
    pub(crate) fn of_bodies(&self, take_batches: bool) -> ContentMax {
        let one = self.body_bytes_max;
        ContentMax { one, batch: if take_batches { self.batch_bytes_max } else { one } }
    }

    pub(crate) fn of_messages(&self) -> ContentMax {
        self.of_bodies(true)
    }
}

impl ContentMax {
    /// For content that begins like this; white space before the first character does not count.
    pub(crate) fn beginning_with(self, beginning: &[u8]) -> usize {
        let first = beginning.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'[') { self.batch } else { self.one }
    }
}
