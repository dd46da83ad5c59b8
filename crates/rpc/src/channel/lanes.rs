//! What waits to be written to one peer, and what goes first.
//!
//! Three lanes: urgent before everything; then consensus' ordered messages and requests in turns. Reordering between lanes is
//! harmless to consensus; within one it would cause rejections and retransmissions, so it does not happen.

use std::collections::VecDeque;

use bytes::Bytes;
use coco_types::limits;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::frame::Frame;

/// Pieces of large frames: what an urgent message waits for at most.
const PART_BYTES_MAX: usize = 64 << 10;
/// Urgent messages are small and soon obsolete.
const URGENT_BYTES_MAX: usize = 1 << 20;

/// Where a consensus message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Heartbeats, votes, their answers: small, and useless when late.
    Urgent,
    /// Appends and their answers: in order.
    Ordered,
}

#[derive(Default)]
pub(crate) struct Lanes {
    queues: Mutex<Queues>,
    ready: Notify,
}

#[derive(Default)]
struct Queues {
    urgent: Queue,
    raft: Queue,
    /// Requests, or responses on the accepting side.
    requests: Queue,
    requests_next: bool,
    /// What is left of a frame that is being sent in parts.
    remainder: Option<Bytes>,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Lanes {
    /// Makes room by dropping the oldest. A message larger than the whole lane is dropped itself.
    pub(crate) fn put_raft(&self, lane: Lane, message: Bytes) {
        let mut queues = self.queues.lock();
        let (queue, max) = match lane {
            Lane::Urgent => (&mut queues.urgent, URGENT_BYTES_MAX),
            Lane::Ordered => (&mut queues.raft, limits::CHANNEL_RAFT_BYTES_MAX),
        };
        if message.len() < max {
            queue.put(Frame::Raft(message).encode());
            while queue.bytes > max && queue.take().is_some() {}
        }
        drop(queues);
        self.ready.notify_one();
    }

    /// `false` if there is no room.
    pub(crate) fn put_request(&self, frame: &Frame, bytes: usize) -> bool {
        let mut queues = self.queues.lock();
        if queues.requests.bytes.saturating_add(bytes) > limits::CHANNEL_REQUEST_BYTES_MAX {
            return false;
        }
        queues.requests.put(frame.encode());
        drop(queues);
        self.ready.notify_one();
        true
    }

    /// Waits for something to write.
    pub(crate) async fn next(&self) -> Bytes {
        loop {
            let ready = self.ready.notified();
            if let Some(frame) = self.try_next() {
                return frame;
            }
            ready.await;
        }
    }

    /// The next frame to write, no longer than a part.
    pub(crate) fn try_next(&self) -> Option<Bytes> {
        let mut queues = self.queues.lock();
        if let Some(urgent) = queues.urgent.take() {
            return Some(urgent);
        }
        if let Some(remainder) = queues.remainder.take() {
            return Some(queues.part(remainder));
        }
        queues.requests_next = !queues.requests_next;
        let next = if queues.requests_next {
            queues.requests.take().or_else(|| queues.raft.take())
        } else {
            queues.raft.take().or_else(|| queues.requests.take())
        }?;
        if next.len() > PART_BYTES_MAX { Some(queues.part(next)) } else { Some(next) }
    }

    pub(crate) fn clear(&self) {
        *self.queues.lock() = Queues::default();
    }
}

impl Queues {
    fn part(&mut self, mut rest: Bytes) -> Bytes {
        let bytes = rest.split_to(rest.len().min(PART_BYTES_MAX));
        let last = rest.is_empty();
        self.remainder = (!last).then_some(rest);
        Frame::Part { last, bytes }.encode()
    }
}

impl Queue {
    fn put(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    fn take(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(lanes: &Lanes) -> Option<Frame> {
        lanes.try_next().map(|bytes| Frame::decode(bytes).expect("a frame"))
    }

    fn raft(text: &'static [u8]) -> Option<Frame> {
        Some(Frame::Raft(Bytes::from_static(text)))
    }

    #[test]
    fn an_urgent_message_overtakes_a_large_one_that_is_under_way() {
        let lanes = Lanes::default();
        let large = Bytes::from(vec![7; 150 << 10]);
        lanes.put_raft(Lane::Ordered, large.clone());
        lanes.put_raft(Lane::Ordered, Bytes::from_static(b"after"));
        let mut whole = Vec::new();
        for index in 0..3 {
            lanes.put_raft(Lane::Urgent, Bytes::from_static(b"heartbeat"));
            assert_eq!(next(&lanes), raft(b"heartbeat"));
            let Some(Frame::Part { last, bytes }) = next(&lanes) else { panic!("a part") };
            assert_eq!(last, index == 2);
            whole.extend_from_slice(&bytes);
        }
        assert_eq!(Frame::decode(whole.into()), Ok(Frame::Raft(large)));
        assert_eq!(next(&lanes), raft(b"after"));
        assert_eq!(next(&lanes), None);
    }

    #[test]
    fn a_flood_keeps_the_newest_consensus_messages_and_refuses_requests() {
        let lanes = Lanes::default();
        let megabyte = |mark: u8| Bytes::from(vec![mark; 1 << 20]);
        (0..100).for_each(|mark| lanes.put_raft(Lane::Ordered, megabyte(mark)));
        assert!(lanes.queues.lock().raft.bytes <= limits::CHANNEL_RAFT_BYTES_MAX);
        let newest = lanes.queues.lock().raft.frames.back().and_then(|frame| frame.last().copied());
        assert_eq!(newest, Some(99));
        let frame = Frame::Request { id: 1, kind: 0, body: megabyte(0) };
        let taken = (0..1000).take_while(|_| lanes.put_request(&frame, 1 << 20)).count();
        assert!(taken <= limits::CHANNEL_REQUEST_BYTES_MAX >> 20);
        lanes.clear();
        assert_eq!(next(&lanes), None);
    }

    #[test]
    fn requests_and_consensus_take_turns() {
        let lanes = Lanes::default();
        for text in [b"a", b"b"] {
            lanes.put_raft(Lane::Ordered, Bytes::from_static(text));
            assert!(lanes.put_request(&Frame::Response { id: u64::from(text[0]), body: None }, 0));
        }
        let turns: Vec<bool> =
            std::iter::from_fn(|| next(&lanes)).map(|frame| matches!(frame, Frame::Raft(_))).collect();
        assert_eq!(turns, [false, true, false, true]);
    }
}
