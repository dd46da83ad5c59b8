//! Connections that carry bytes, over real sockets.

#[allow(dead_code, reason = "shared with tests that speak HTTP")]
mod harness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_protocol::{ChannelBinding, Standing, Stream, StreamEnded, StreamService, StreamSession};
use coco_rpc::{Listener, ListenerLimits};
use harness::{PATIENCE, any_port, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Each byte is an order: `h` ends the greeting, `s` makes it serve, `i` idle, `f` sends until it may no more, and each is answered with a byte. `m` takes a turn
/// of its own, and is answered with [`TURN_BYTES`]. All others it keeps.
struct Orders;

const TURN_BYTES: usize = 8 << 10;

struct Session {
    stream: Arc<dyn Stream>,
    standing: Standing,
    kept: Vec<u8>,
    turns: usize,
}

impl StreamService for Orders {
    fn listener(&self) -> &'static str {
        "test"
    }

    fn open(&self, stream: Arc<dyn Stream>, _binding: Option<ChannelBinding>) -> Box<dyn StreamSession> {
        Box::new(Session { stream, standing: Standing::Greeting, kept: Vec::new(), turns: 0 })
    }
}

impl StreamSession for Session {
    fn received(&mut self, bytes: &[u8]) -> Result<(), StreamEnded> {
        if bytes.is_empty() {
            self.turns -= 1;
            let _ = self.stream.send(Bytes::from(vec![b'.'; TURN_BYTES]));
        }
        for byte in bytes {
            match byte {
                b'h' | b'i' => self.standing = Standing::Idle,
                b's' => self.standing = Standing::Serving,
                b'f' => while self.stream.send(Bytes::from(vec![0; 1 << 10])).is_ok() {},
                b'm' => {
                    self.turns += 1;
                    continue;
                }
                other => {
                    self.kept.push(*other);
                    continue;
                }
            }
            let _ = self.stream.send(Bytes::from_static(b"."));
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.turns > 0
    }

    fn held_bytes(&self) -> usize {
        self.kept.len()
    }

    fn standing(&self) -> Standing {
        self.standing
    }
}

fn listen(limits: ListenerLimits) -> Listener {
    server(2, 16).listen_stream("test", any_port(), Arc::new(Orders), limits, None).expect("a free port")
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the listener accepts")
}

/// Gives an order twice: once the second is obeyed, the listener knows what came of the first. `false` if the connection ended instead.
async fn obeyed(stream: &mut TcpStream, order: u8) -> bool {
    for _ in 0..2 {
        let mut answer = [0];
        let told = async { stream.write_all(&[order]).await.is_ok() && stream.read_exact(&mut answer).await.is_ok() };
        if !tokio::time::timeout(PATIENCE, told).await.expect("an answer or an end in time") {
            return false;
        }
    }
    true
}

/// How much arrives until the connection ends.
async fn until_end(stream: &mut TcpStream) -> usize {
    let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
    let reading = async {
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            total += count;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an end in time");
    total
}

#[tokio::test]
async fn whoever_does_not_finish_its_greeting_is_closed_and_whoever_is_idle_afterwards_is_not() {
    let soon = Duration::from_millis(30);
    let listener = listen(ListenerLimits { head_timeout: soon, idle_timeout: soon, ..ListenerLimits::default() });
    let mut greeted = connect(listener.address()).await;
    let is_greeted = obeyed(&mut greeted, b'h').await;
    for said in ["", "not yet"] {
        let mut slow = connect(listener.address()).await;
        slow.write_all(said.as_bytes()).await.expect("open");
        assert_eq!(until_end(&mut slow).await, 0, "{said:?}");
    }
    assert!(is_greeted && obeyed(&mut greeted, b'h').await, "it was silent for as long");
}

#[tokio::test]
async fn a_full_listener_closes_connections_that_nobody_relies_on() {
    let listener = listen(ListenerLimits { connections_max: 2, ..ListenerLimits::default() });
    let (mut serving, mut idle) = (connect(listener.address()).await, connect(listener.address()).await);
    assert!(obeyed(&mut serving, b's').await && obeyed(&mut idle, b'h').await);
    let mut newcomer = connect(listener.address()).await;
    assert!(obeyed(&mut newcomer, b's').await);
    assert_eq!(until_end(&mut idle).await, 0);
    let mut refused = connect(listener.address()).await;
    assert_eq!(until_end(&mut refused).await, 0, "somebody relies on both");
    assert!(obeyed(&mut serving, b'i').await);
    let mut last = connect(listener.address()).await;
    assert!(obeyed(&mut last, b's').await && obeyed(&mut newcomer, b's').await);
}

#[tokio::test]
async fn what_has_arrived_in_part_is_bounded_for_all_clients_together() {
    let listener = listen(ListenerLimits { client_bytes_max: 150 << 10, ..ListenerLimits::default() });
    let (mut first, mut second) = (connect(listener.address()).await, connect(listener.address()).await);
    for stream in [&mut first, &mut second] {
        assert!(obeyed(stream, b'h').await);
        // It may be cut off while it is still sending.
        let _ = stream.write_all(&[b'x'; 100 << 10]).await;
    }
    tokio::select! {
        count = until_end(&mut first) => assert_eq!(count, 0),
        count = until_end(&mut second) => assert_eq!(count, 0),
    }
}

#[tokio::test]
async fn what_a_session_does_in_turns_it_does_as_fast_as_its_client_reads() {
    let listener = listen(ListenerLimits { socket_queue_bytes_max: 64 << 10, ..ListenerLimits::default() });
    let mut stream = connect(listener.address()).await;
    let turns = 2_000;
    stream.write_all(&[&b"h"[..], &vec![b'm'; turns][..]].concat()).await.expect("open");
    let mut answers = vec![0; 1 + turns * TURN_BYTES];
    let reading = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answers)).await.expect("answers in time");
    reading.expect("it is not cut off for what it was not sent yet");
    assert!(obeyed(&mut stream, b's').await);
}

#[tokio::test]
async fn what_is_to_be_sent_in_small_pieces_is_bounded_for_all_clients_together() {
    let listener = listen(ListenerLimits { client_bytes_max: 150 << 10, ..ListenerLimits::default() });
    let mut stream = connect(listener.address()).await;
    stream.write_all(b"hf").await.expect("open");
    // What the system's own buffers hold comes on top.
    assert!(until_end(&mut stream).await < ListenerLimits::default().socket_queue_bytes_max);
}
