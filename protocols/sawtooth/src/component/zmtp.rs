//! ZMTP 3, the wire protocol of ZeroMQ, as far as a ROUTER without encryption needs it: greeting, handshake, frames.
//!
//! ```text
//!   both: greeting (64 bytes)      ff 00…00 7f │ 3 0 │ "NULL" padded to 20 │ as-server 0 │ 31 zeros
//!   both: READY command            04 len │ 5 "READY" │ (name length, name, value length in 4 bytes, value)…
//!   then: frames                   flags (1 more, 2 long, 4 command) │ length in 1 or 8 bytes │ bytes
//! ```
//!
//! The identity that a ROUTER prepends is its own business and never on the wire: a connection is told from others by being one.

use crate::limits::{COMMAND_BYTES_MAX, MESSAGE_BYTES_MAX};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use coco_protocol::{SocketClosed, Stream, StreamEnded};

const GREETING_BYTES: usize = 64;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What arrives on one connection.
pub struct Incoming {
    buffer: BytesMut,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Greeting,
    Handshake,
    Messages { in_message: bool },
}

/// What a connection said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// A message of one frame.
    Message(Bytes),
    /// A heartbeat of the library's own; the answer to it.
    Ping(Bytes),
}

impl Incoming {
    pub fn new() -> Self {
        Self { buffer: BytesMut::new(), stage: Stage::Greeting }
    }

    pub fn received(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What is kept of what is not complete.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether messages may come.
    pub fn is_greeted(&self) -> bool {
        matches!(self.stage, Stage::Messages { .. })
    }

    /// The next thing that is complete.
    pub fn next(&mut self) -> Result<Option<Heard>, StreamEnded> {
        loop {
            match self.stage {
                Stage::Greeting => {
                    if self.buffer.len() < GREETING_BYTES {
                        return self.check_early_greeting().map(|()| None);
                    }
                    check_greeting(&self.buffer.split_to(GREETING_BYTES))?;
                    self.stage = Stage::Handshake;
                }
                Stage::Handshake => {
                    let Some((flags, body)) = self.frame()? else { return Ok(None) };
                    if flags & COMMAND == 0 || !is_command(&body, "READY") {
                        return Err(ended("the handshake is not that of ZMTP 3 without encryption"));
                    }
                    check_ready(&body)?;
                    self.stage = Stage::Messages { in_message: false };
                }
                Stage::Messages { in_message } => {
                    let Some((flags, body)) = self.frame()? else { return Ok(None) };
                    if flags & COMMAND != 0 {
                        if let Some(heard) = pong(&body) {
                            return Ok(Some(heard));
                        }
                        continue;
                    }
                    let more = flags & MORE != 0;
                    self.stage = Stage::Messages { in_message: more };
                    // Nothing that is spoken here has several frames: those are dropped.
                    if !in_message && !more {
                        return Ok(Some(Heard::Message(body)));
                    }
                }
            }
        }
    }

    /// Whoever speaks another protocol is found out at its first bytes, not after 64.
    fn check_early_greeting(&self) -> Result<(), StreamEnded> {
        let is_zmtp = self.buffer.first().is_none_or(|first| *first == 0xff)
            && self.buffer.get(9).is_none_or(|last| last & 1 == 1);
        if is_zmtp { Ok(()) } else { Err(ended("no ZMTP greeting")) }
    }

    fn frame(&mut self) -> Result<Option<(u8, Bytes)>, StreamEnded> {
        let Some(flags) = self.buffer.first().copied() else { return Ok(None) };
        if flags & !(MORE | LONG | COMMAND) != 0 {
            return Err(ended("a frame has unknown flags"));
        }
        let (head, length) = if flags & LONG == 0 {
            let Some(length) = self.buffer.get(1) else { return Ok(None) };
            (2, u64::from(*length))
        } else {
            let Some(length) = self.buffer.get(1..9) else { return Ok(None) };
            (9, u64::from_be_bytes(length.try_into().expect("eight bytes")))
        };
        let max = if flags & COMMAND == 0 { MESSAGE_BYTES_MAX } else { COMMAND_BYTES_MAX };
        let length = usize::try_from(length).ok().filter(|length| *length <= max);
        let length = length.ok_or_else(|| ended("a frame is too large"))?;
        if self.buffer.len() < head + length {
            return Ok(None);
        }
        self.buffer.advance(head);
        Ok(Some((flags, self.buffer.split_to(length).freeze())))
    }
}

/// Sends messages on one connection.
pub struct Outgoing {
    stream: Arc<dyn Stream>,
}

impl Outgoing {
    /// Greets; our READY goes out with the greeting, as it does not depend on the other's.
    pub fn new(stream: Arc<dyn Stream>) -> Self {
        let mut hello = greeting().to_vec();
        let mut ready = b"\x05READY".to_vec();
        ready.extend(b"\x0bSocket-Type\0\0\0\x06ROUTER");
        hello.extend(frame(COMMAND, &ready));
        // A connection that is gone already is noticed by whoever reads it.
        let _ = stream.send(hello.into());
        Self { stream }
    }

    pub fn message(&self, bytes: &[u8]) -> Result<(), SocketClosed> {
        self.stream.send(frame(0, bytes).into())
    }

    pub fn command(&self, bytes: &[u8]) -> Result<(), SocketClosed> {
        self.stream.send(frame(COMMAND, bytes).into())
    }
}

fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

fn check_greeting(greeting: &[u8]) -> Result<(), StreamEnded> {
    let is_zmtp = greeting.first() == Some(&0xff) && greeting.get(9) == Some(&0x7f);
    let version = greeting.get(10).copied().unwrap_or(0);
    let mechanism = greeting.get(12..32).unwrap_or_default();
    if !is_zmtp || version < 3 {
        return Err(ended("ZMTP 3 is spoken here"));
    }
    if mechanism.strip_prefix(b"NULL").is_none_or(|padding| padding.iter().any(|byte| *byte != 0)) {
        return Err(ended("there is no security mechanism here but NULL"));
    }
    Ok(())
}

fn is_command(body: &[u8], name: &str) -> bool {
    body.split_first()
        .is_some_and(|(length, rest)| usize::from(*length) == name.len() && rest.starts_with(name.as_bytes()))
}

/// A ROUTER talks to DEALER, REQ and ROUTER sockets; requests of a REQ have an empty frame first and would never be understood.
fn check_ready(body: &[u8]) -> Result<(), StreamEnded> {
    let mut rest = body.get(6..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first() {
        let malformed = || ended("malformed metadata");
        let (name, after) = after.split_at_checked(usize::from(*length)).ok_or_else(malformed)?;
        let (length, after) = after.split_at_checked(4).ok_or_else(malformed)?;
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        let (value, after) =
            usize::try_from(length).ok().and_then(|length| after.split_at_checked(length)).ok_or_else(malformed)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") && value != b"DEALER" && value != b"ROUTER" {
            return Err(ended("only DEALER sockets are served"));
        }
        rest = after;
    }
    Ok(())
}

/// PING (ZMTP 3.1): two bytes of time to live, then a context that is sent back.
fn pong(body: &[u8]) -> Option<Heard> {
    let context = is_command(body, "PING").then(|| body.get(7..)).flatten()?;
    Some(Heard::Ping([&b"\x04PONG"[..], context.get(..context.len().min(16)).unwrap_or_default()].concat().into()))
}

fn frame(flags: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(bytes.len() + 9);
    match u8::try_from(bytes.len()) {
        Ok(length) => frame.extend([flags, length]),
        Err(_) => {
            frame.push(flags | LONG);
            frame.extend((bytes.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(bytes);
    frame
}

fn ended(why: &str) -> StreamEnded {
    StreamEnded(why.to_owned())
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// What a DEALER says first.
    pub fn hello() -> Vec<u8> {
        let mut ready = b"\x05READY".to_vec();
        ready.extend(b"\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x02me");
        [greeting().to_vec(), frame(COMMAND, &ready)].concat()
    }

    pub fn message(bytes: &[u8]) -> Vec<u8> {
        frame(0, bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(bytes: &[u8], piece: usize) -> Result<Vec<Heard>, StreamEnded> {
        let mut incoming = Incoming::new();
        let mut heard = Vec::new();
        for piece in bytes.chunks(piece.max(1)) {
            incoming.received(piece);
            while let Some(next) = incoming.next()? {
                heard.push(next);
            }
        }
        Ok(heard)
    }

    #[test]
    fn messages_arrive_however_they_are_cut() {
        let long = vec![7; 300];
        let wire = [testing::hello(), frame(0, b"a"), frame(COMMAND, b"\x04PING\0\x01ctx"), frame(0, &long)].concat();
        let expected = [
            Heard::Message(Bytes::from_static(b"a")),
            Heard::Ping(Bytes::from_static(b"\x04PONGctx")),
            Heard::Message(long.into()),
        ];
        for piece in [1, 2, 7, 64, 1_000] {
            assert_eq!(heard(&wire, piece).unwrap(), expected);
        }
    }

    #[test]
    fn messages_of_several_frames_are_dropped() {
        let wire = [testing::hello(), frame(MORE, b""), frame(0, b"a"), frame(0, b"b")].concat();
        assert_eq!(heard(&wire, 9).unwrap(), [Heard::Message(Bytes::from_static(b"b"))]);
    }

    #[test]
    fn other_protocols_sizes_and_sockets_are_refused() {
        let with = |at: usize, byte: u8| {
            let mut hello = testing::hello();
            hello[at] = byte;
            heard(&hello, 64)
        };
        assert!(heard(b"GET / HTTP/1.1\r\n", 4).is_err());
        assert!(with(0, 0).is_err() && with(10, 2).is_err() && with(12, b'C').is_err() && with(64, 0).is_err());
        let mut subscriber = testing::hello();
        let at = subscriber.windows(6).position(|window| window == b"DEALER").unwrap();
        subscriber[at..at + 6].copy_from_slice(b"XSUBXX");
        assert!(heard(&subscriber, 64).is_err());
        let huge = [testing::hello(), vec![LONG, 0, 0, 0, 0, 1, 0, 0, 1]].concat();
        assert!(heard(&huge, 64).is_err(), "16 MiB and a byte");
        assert!(heard(&[testing::hello(), vec![0x80, 0]].concat(), 64).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_bytes_do_harm(after_hello in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1..50usize) {
            let hello = if after_hello { testing::hello() } else { Vec::new() };
            let _ = heard(&[hello, bytes].concat(), piece);
        }
    }
}
