//! Connections of services that speak no HTTP: pieces of bytes in, in order, to a session on a worker; bytes out through
//! a bounded queue.
//!
//! A client that sends faster than its session computes is slowed down by TCP; one that reads too slowly is cut off. A session that has much to answer at once
//! does so in turns with other work, and only as fast as its client reads. What a session keeps of what
//! has arrived, and what is to be sent, counts into the listener's budget: whoever is over it is cut off too.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{ChannelBinding, SocketClosed, Standing, Stream, StreamService, StreamSession};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::budget::Charge;
use super::connections::{Connection, Order, Phase};
use super::listener::Shared;

const READ_BYTES: usize = 64 << 10;
/// Small pieces are joined up to this size before they are written.
const WRITE_BYTES: usize = 64 << 10;
/// A session that has more to do goes on once what waits to be sent takes up no more than this part of its queue.
const WAITING_PART: usize = 4;

/// Serves one connection to its end.
pub(crate) async fn serve<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    (reader, writer): (R, W),
    binding: Option<ChannelBinding>,
    service: Arc<dyn StreamService>,
    shared: Arc<Shared>,
    connection: Connection,
) {
    // Until it has said what it has to say first.
    connection.enter(Phase::Head);
    let outgoing =
        Arc::new(Outgoing::new(shared.limits.socket_queue_bytes_max, shared.budget.nothing(connection.address())));
    let session = service.open(Arc::clone(&outgoing) as Arc<dyn Stream>, binding);
    tokio::select! {
        () = read(reader, session, &outgoing, &shared, &connection) => {}
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
    outgoing: &Outgoing,
    shared: &Shared,
    connection: &Connection,
) {
    let mut buffer = vec![0; READ_BYTES];
    let mut held = shared.budget.nothing(connection.address());
    let mut phase = Phase::Head;
    let mut more = false;
    loop {
        let count = if more {
            if timeout(shared.limits.idle_timeout, outgoing.relieved()).await.is_err() {
                shared.metrics.refused.increment();
                tracing::debug!("a client asks for much, reads too slowly and is cut off");
                return;
            }
            0
        } else {
            match timeout(shared.limits.idle_timeout, reader.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(count)) => count,
                // Nothing came, but what it is to the session may have changed.
                Err(_) => 0,
            }
        };
        let (back, returned) = oneshot::channel();
        let piece = buffer;
        let ask = move || {
            let arrived = piece.get(..count).unwrap_or_default();
            let received = if arrived.is_empty() && !more { Ok(()) } else { session.received(arrived) };
            let found = received.map(|()| (session.held_bytes(), session.standing(), session.has_more()));
            drop(back.send((found, session, piece)));
        };
        shared.workers.run(connection.address(), ask).await;
        // A session that panicked does not come back.
        let Ok((found, unharmed, piece)) = returned.await else { return };
        let (held_bytes, standing, has_more) = match found {
            Ok(found) => found,
            Err(end) => {
                tracing::debug!(%end, "a client was not understood");
                return;
            }
        };
        if !held.set_to(held_bytes) {
            shared.metrics.refused.increment();
            tracing::debug!("clients have sent more of what is not whole than there is memory for: one is cut off");
            return;
        }
        let next = phase_of(standing);
        if next != phase || (next == Phase::Unused && count > 0) {
            connection.enter(next);
            phase = next;
        }
        (session, buffer, more) = (unharmed, piece, has_more);
    }
}

fn phase_of(standing: Standing) -> Phase {
    match standing {
        Standing::Greeting => Phase::Head,
        Standing::Idle => Phase::Unused,
        Standing::Serving => Phase::Socket,
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
    taken: Notify,
    full: Notify,
    bytes_max: usize,
}

struct Queue {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// Taken out, and not written yet.
    writing: usize,
    /// For both.
    charge: Charge,
    closed: bool,
    overflowed: bool,
}

impl Outgoing {
    fn new(bytes_max: usize, charge: Charge) -> Self {
        let pieces = VecDeque::new();
        let queue = Queue { pieces, bytes: 0, writing: 0, charge, closed: false, overflowed: false };
        let (ready, taken, full) = (Notify::new(), Notify::new(), Notify::new());
        Self { queue: Mutex::new(queue), ready, taken, full, bytes_max }
    }

    async fn next(&self) -> Vec<u8> {
        loop {
            let ready = self.ready.notified();
            let bytes = self.queue.lock().take();
            if !bytes.is_empty() {
                self.taken.notify_one();
                return bytes;
            }
            ready.await;
        }
    }

    /// Waits until there is room for further answers.
    async fn relieved(&self) {
        loop {
            let taken = self.taken.notified();
            if self.queue.lock().bytes <= self.bytes_max / WAITING_PART {
                return;
            }
            taken.await;
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
        queue.clear();
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
        self.writing = joined.len();
        self.charge.set_to(self.bytes + self.writing);
        joined
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
        self.charge.set_to(self.writing);
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
        let total = queue.bytes.saturating_add(bytes.len());
        let held = total.saturating_add(queue.writing);
        if total > self.bytes_max || !queue.charge.set_to(held) {
            queue.overflowed = true;
            queue.clear();
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
