//! Connections of services that speak no HTTP: pieces of bytes in, in order, to a session on a worker; bytes out through
//! a bounded queue.
//!
//! A client that sends faster than its session computes is slowed down by TCP; one that reads too slowly is cut off.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{ChannelBinding, SocketClosed, Stream, StreamService, StreamSession};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};

use super::connections::{Connection, Order, Phase};
use super::listener::Shared;
use super::workers::{Asker, Workers};

const READ_BYTES: usize = 64 << 10;
/// Small pieces are joined up to this size before they are written.
const WRITE_BYTES: usize = 64 << 10;

/// Serves one connection to its end.
pub(crate) async fn serve<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    (reader, writer): (R, W),
    binding: Option<ChannelBinding>,
    service: Arc<dyn StreamService>,
    shared: Arc<Shared>,
    connection: Connection,
) {
    connection.enter(Phase::Socket);
    let outgoing = Arc::new(Outgoing::new(shared.limits.socket_queue_bytes_max));
    let session = service.open(Arc::clone(&outgoing) as Arc<dyn Stream>, binding);
    tokio::select! {
        () = read(reader, session, &shared.workers, connection.address()) => {}
        () = write(writer, &outgoing) => {}
        () = outgoing.overflowed() => {
            shared.metrics.refused.increment();
            tracing::debug!("a client reads too slowly and is cut off");
        }
        _ = connection.ordered(Order::Continue) => {}
    }
    outgoing.close();
}

async fn read(
    mut reader: impl AsyncRead + Unpin,
    mut session: Box<dyn StreamSession>,
    workers: &Workers,
    asker: Asker,
) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let (back, returned) = oneshot::channel();
        let piece = buffer;
        workers
            .run(asker, move || {
                let received = session.received(piece.get(..count).unwrap_or_default());
                drop(back.send((received, session, piece)));
            })
            .await;
        // A session that panicked does not come back.
        let Ok((received, unharmed, piece)) = returned.await else { return };
        if let Err(end) = received {
            tracing::debug!(%end, "a client was not understood");
            return;
        }
        (session, buffer) = (unharmed, piece);
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, outgoing: &Outgoing) {
    loop {
        let bytes = outgoing.next().await;
        // TLS keeps what it has not been told to send.
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

/// What is to be sent to one client.
struct Outgoing {
    queue: Mutex<Queue>,
    ready: Notify,
    full: Notify,
    bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    closed: bool,
    overflowed: bool,
}

impl Outgoing {
    fn new(bytes_max: usize) -> Self {
        Self { queue: Mutex::default(), ready: Notify::new(), full: Notify::new(), bytes_max }
    }

    async fn next(&self) -> Vec<u8> {
        loop {
            let ready = self.ready.notified();
            let bytes = self.queue.lock().take();
            if !bytes.is_empty() {
                return bytes;
            }
            ready.await;
        }
    }

    async fn overflowed(&self) {
        loop {
            let full = self.full.notified();
            if self.queue.lock().overflowed {
                return;
            }
            full.await;
        }
    }

    fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.pieces.clear();
    }
}

impl Queue {
    fn take(&mut self) -> Vec<u8> {
        let mut joined = Vec::new();
        while let Some(piece) =
            self.pieces.pop_front_if(|piece| joined.is_empty() || joined.len() + piece.len() <= WRITE_BYTES)
        {
            self.bytes -= piece.len();
            joined.extend_from_slice(&piece);
        }
        joined
    }
}

impl Stream for Outgoing {
    fn send(&self, bytes: Bytes) -> Result<(), SocketClosed> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut queue = self.queue.lock();
        if queue.closed || queue.overflowed {
            return Err(SocketClosed);
        }
        if queue.bytes.saturating_add(bytes.len()) > self.bytes_max {
            queue.overflowed = true;
            queue.pieces.clear();
            drop(queue);
            self.full.notify_one();
            return Err(SocketClosed);
        }
        queue.bytes += bytes.len();
        queue.pieces.push_back(bytes);
        drop(queue);
        self.ready.notify_one();
        Ok(())
    }
}
