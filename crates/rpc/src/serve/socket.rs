//! WebSockets: text messages in, one at a time and in order, to a session on a worker; messages out through a bounded queue.
//!
//! A client that sends faster than its session computes is slowed down by TCP. A client that reads more slowly than the node
//! has news for it is closed with 1013 once its queue is full: the node neither waits for it nor keeps everything for it.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use coco_protocol::{ApiError, Rest, Service, Socket, SocketClosed, SocketSession};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use super::ListenerLimits;
use super::budget::{Budget, Charge};
use super::connections::{Connection, Order, Phase};
use super::http::busy;
use super::listener::{Client, Shared};
use super::turns::Asker;

/// Messages delivered by one trip to a worker.
const DELIVERED_MAX: usize = 32;
/// Messages written before they are flushed.
const FLUSHED_MAX: usize = 64;
/// For saying goodbye to a client that may not be listening.
const FAREWELL: Duration = Duration::from_secs(1);

type Stream = WebSocketStream<Counted>;

pub(crate) fn wants_upgrade<B>(request: &Request<B>) -> bool {
    let upgrade = request.headers().get(UPGRADE);
    upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket")) && request.method() == Method::GET
}

/// Answers an upgrade request (RFC 6455 §4.2) and leaves a task behind that runs the session.
pub(crate) async fn upgrade(
    mut request: Request<Incoming>,
    service: Arc<dyn Service>,
    shared: &Arc<Shared>,
    client: &Arc<Client>,
    connection: &Arc<Connection>,
) -> Response<Bytes> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).cloned() else {
        return refuse(StatusCode::BAD_REQUEST, "MissingRequiredHeader", "Sec-WebSocket-Key is missing");
    };
    if request.headers().get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
        let mut response = refuse(StatusCode::UPGRADE_REQUIRED, "InvalidHeaderValue", "WebSocket version 13 is served");
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    }
    let caller = match client.identify_by_head(request.headers_mut(), shared.authenticator.as_deref()) {
        Ok(caller) => caller,
        Err(denied) => return denied.into_response(),
    };
    let outgoing = Arc::new(Outgoing::new(&shared.limits, &shared.budget, connection.address()));
    let (opened, session) = oneshot::channel();
    let socket = Arc::clone(&outgoing);
    let asked = Arc::clone(&service);
    let open = move || drop(opened.send(asked.open_socket(caller, socket)));
    if shared.workers.try_run(connection.address(), open).is_err() {
        shared.metrics.busy.increment();
        return busy(&*service);
    }
    let Ok(Some(session)) = session.await else {
        return refuse(StatusCode::NOT_FOUND, "ResourceNotFound", "no WebSocket is served here");
    };
    tokio::spawn(run(request, session, outgoing, Arc::clone(shared), Arc::clone(connection)));
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn refuse(status: StatusCode, code: &'static str, message: &str) -> Response<Bytes> {
    ApiError::new(status, code, message).into_response()
}

/// What has arrived of messages, and is not delivered yet, counts into the listener's budget: a message may take its time.
struct Arrived(Mutex<Undelivered>);

struct Undelivered {
    whole: usize,
    /// Since the last whole message; what follows it in the same read is left out.
    part: usize,
    charge: Charge,
}

/// Of a client's frame without payload (RFC 6455 §5.2): two bytes and the mask.
const CONTROL_HEAD_BYTES: usize = 6;

impl Arrived {
    fn new(charge: Charge) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Undelivered { whole: 0, part: 0, charge })))
    }

    /// `false` if the budget is spent.
    fn grows_by(&self, bytes: usize) -> bool {
        self.counts(|them| them.part += bytes)
    }

    fn is_whole(&self, message: usize) {
        self.counts(|them| (them.whole, them.part) = (them.whole + message, 0));
    }

    /// Such frames may come between the parts of a message.
    fn was_control(&self, payload: usize) {
        self.counts(|them| them.part = them.part.saturating_sub(CONTROL_HEAD_BYTES + payload));
    }

    fn is_delivered(&self) {
        self.counts(|them| them.whole = 0);
    }

    fn counts(&self, change: impl FnOnce(&mut Undelivered)) -> bool {
        let them = &mut *self.0.lock();
        change(them);
        them.charge.set_to(them.whole + them.part)
    }
}

struct Counted {
    stream: TokioIo<Upgraded>,
    arrived: Arc<Arrived>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        let read = into.filled().len() - before;
        Poll::Ready(if self.arrived.grows_by(read) { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) })
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Why a session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The client left, or nothing can be said to it.
    Gone,
    /// It is told why, with a close code of RFC 6455 §7.4.1.
    Told(CloseCode, &'static str),
}

async fn run(
    request: Request<Incoming>,
    session: Box<dyn SocketSession>,
    outgoing: Arc<Outgoing>,
    shared: Arc<Shared>,
    connection: Arc<Connection>,
) {
    let Ok(upgraded) = hyper::upgrade::on(request).await else { return outgoing.close() };
    connection.enter(Phase::Socket);
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(16 << 10)
        .max_message_size(Some(shared.limits.batch_bytes_max))
        .max_frame_size(Some(shared.limits.batch_bytes_max));
    let arrived = Arrived::new(shared.budget.nothing(connection.address()));
    let counted = Counted { stream: TokioIo::new(upgraded), arrived: Arc::clone(&arrived) };
    let stream = WebSocketStream::from_raw_socket(counted, Role::Server, Some(config)).await;
    let (mut sink, mut stream) = stream.split();
    let heard = AtomicBool::new(true);
    let end = tokio::select! {
        end = read(&mut stream, session, &shared, connection.address(), &heard, &arrived) => end,
        end = write(&mut sink, &outgoing, shared.limits.socket_ping, &heard) => end,
        () = outgoing.overflowed() => End::Told(CloseCode::Again, "reads too slowly"),
        order = connection.ordered(Order::Continue) => match order {
            Order::Drain => End::Told(CloseCode::Away, "the node is shutting down"),
            Order::Continue | Order::Close => End::Gone,
        },
    };
    outgoing.close();
    if let End::Told(code, reason) = end {
        let _ = tokio::time::timeout(FAREWELL, say_goodbye(sink, stream, code, reason)).await;
    }
}

/// Sends the close frame and then reads until the client hangs up: closing with bytes unread would reset the connection, and
/// the client would never see why.
async fn say_goodbye(mut sink: SplitSink<Stream, Message>, stream: SplitStream<Stream>, code: CloseCode, reason: &str) {
    let frame = CloseFrame { code, reason: Utf8Bytes::from(reason) };
    if sink.send(Message::Close(Some(frame))).await.is_err() {
        return;
    }
    let Ok(mut whole) = stream.reunite(sink) else { return };
    let mut thrown_away = [0; 4096];
    while matches!(whole.get_mut().read(&mut thrown_away).await, Ok(1..)) {}
}

async fn read(
    stream: &mut SplitStream<Stream>,
    mut session: Box<dyn SocketSession>,
    shared: &Shared,
    asker: Asker,
    heard: &AtomicBool,
    arrived: &Arrived,
) -> End {
    loop {
        let mut texts = VecDeque::new();
        let mut next = stream.next().await;
        // Whatever else has arrived by now shares the trip to the worker.
        let end = loop {
            heard.store(true, Ordering::Relaxed);
            if let Some(Ok(Message::Ping(payload) | Message::Pong(payload))) = &next {
                arrived.was_control(payload.len());
            }
            match accepted(next, &shared.limits) {
                Ok(Some(text)) => {
                    arrived.is_whole(text.len());
                    texts.push_back(text);
                }
                Ok(None) => {}
                Err(end) => break Some(end),
            }
            if texts.len() >= DELIVERED_MAX {
                break None;
            }
            match stream.next().now_or_never() {
                Some(more) => next = more,
                None => break None,
            }
        };
        while !texts.is_empty() {
            let (back, returned) = oneshot::channel();
            let deliver = move || {
                let rest = std::iter::from_fn(|| texts.pop_front()).find_map(|text| session.begin(&text));
                drop(back.send((session, texts, rest)));
            };
            shared.workers.run(asker, deliver).await;
            // A session that panicked does not come back.
            let Ok((unharmed, left, rest)) = returned.await else {
                return End::Told(CloseCode::Error, "internal error");
            };
            (session, texts) = (unharmed, left);
            if let Some(rest) = rest
                && let Err(end) = go_on(shared, asker, rest).await
            {
                return end;
            }
        }
        if let Some(end) = end {
            return end;
        }
        arrived.is_delivered();
    }
}

/// Until what is left of a message is done.
async fn go_on(shared: &Shared, asker: Asker, rest: Rest) -> Result<(), End> {
    let mut charge = shared.budget.nothing(asker);
    if !charge.grow_to(rest.held_bytes) {
        return Err(End::Told(CloseCode::Again, "busy"));
    }
    let (done, ended) = oneshot::channel();
    let job = move || {
        (rest.job)();
        drop(done.send(charge));
    };
    shared.long.run(asker, job).await;
    ended.await.map(drop).map_err(|_| End::Told(CloseCode::Error, "internal error"))
}

/// A text message to deliver; `None` for what only the protocol itself sees.
fn accepted(next: Option<Result<Message, WsError>>, limits: &ListenerLimits) -> Result<Option<Utf8Bytes>, End> {
    let text = match next {
        Some(Ok(Message::Text(text))) => text,
        // Some JSON-RPC clients send JSON as binary messages.
        Some(Ok(Message::Binary(bytes))) => {
            Utf8Bytes::try_from(bytes).map_err(|_| End::Told(CloseCode::Unsupported, "text messages are served"))?
        }
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return Ok(None),
        Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
        Some(Err(WsError::Capacity(CapacityError::MessageTooLong { .. }))) => {
            return Err(End::Told(CloseCode::Size, "message too large"));
        }
        Some(Err(WsError::Io(error))) if error.kind() == io::ErrorKind::OutOfMemory => {
            return Err(End::Told(CloseCode::Again, "busy"));
        }
        Some(Err(WsError::Utf8(_))) => return Err(End::Told(CloseCode::Invalid, "not UTF-8")),
        Some(Err(WsError::Protocol(_))) => return Err(End::Told(CloseCode::Protocol, "protocol error")),
        Some(Err(_)) => return Err(End::Gone),
    };
    if text.len() > limits.of_messages().beginning_with(text.as_bytes()) {
        return Err(End::Told(CloseCode::Size, "message too large"));
    }
    Ok(Some(text))
}

async fn write(sink: &mut SplitSink<Stream, Message>, outgoing: &Outgoing, ping: Duration, heard: &AtomicBool) -> End {
    let mut pings = tokio::time::interval(ping);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pings.tick().await;
    let mut silent = false;
    loop {
        let sent = tokio::select! {
            batch = outgoing.next() => {
                if batch.is_empty() {
                    return End::Told(CloseCode::Away, "what was served here is served no more");
                }
                send_all(sink, batch).await
            }
            _ = pings.tick() => {
                let silent_before = std::mem::replace(&mut silent, !heard.swap(false, Ordering::Relaxed));
                if silent && silent_before {
                    return End::Gone;
                }
                sink.send(Message::Ping(Bytes::new())).await
            }
        };
        if sent.is_err() {
            return End::Gone;
        }
    }
}

async fn send_all(sink: &mut SplitSink<Stream, Message>, batch: Vec<String>) -> Result<(), WsError> {
    for text in batch {
        sink.feed(Message::Text(Utf8Bytes::from(text))).await?;
    }
    sink.flush().await
}

/// The queue of what is to be sent to one client.
pub(crate) struct Outgoing {
    queue: Mutex<Queue>,
    ready: Notify,
    full: Notify,
    messages_max: usize,
    bytes_max: usize,
}

struct Queue {
    messages: VecDeque<String>,
    bytes: usize,
    /// Taken out, and perhaps not sent yet.
    sending: usize,
    /// For both: many small messages take as much as a large one.
    charge: Charge,
    closed: bool,
    /// Nothing more comes.
    finished: bool,
    overflowed: bool,
}

impl Outgoing {
    pub(crate) fn new(limits: &ListenerLimits, budget: &Arc<Budget>, address: IpAddr) -> Self {
        let (messages, charge) = (VecDeque::new(), budget.nothing(address));
        let queue = Queue { messages, bytes: 0, sending: 0, charge, closed: false, finished: false, overflowed: false };
        Self {
            queue: Mutex::new(queue),
            ready: Notify::new(),
            full: Notify::new(),
            messages_max: limits.socket_queue_messages_max,
            bytes_max: limits.socket_queue_bytes_max,
        }
    }

    /// Waits for messages and takes some; none once all have been taken and nothing more comes. They count as queued no longer; the socket itself holds
    /// them now.
    pub(crate) async fn next(&self) -> Vec<String> {
        loop {
            let ready = self.ready.notified();
            {
                let mut queue = self.queue.lock();
                let count = queue.messages.len().min(FLUSHED_MAX);
                let batch: Vec<String> = queue.messages.drain(..count).collect();
                queue.sending = batch.iter().map(String::len).sum();
                queue.bytes -= queue.sending;
                queue.recharge();
                if !batch.is_empty() || queue.finished {
                    return batch;
                }
            }
            ready.await;
        }
    }

    pub(crate) async fn overflowed(&self) {
        loop {
            let full = self.full.notified();
            if self.queue.lock().overflowed {
                return;
            }
            full.await;
        }
    }

    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.clear();
    }
}

impl Queue {
    /// `false` if the budget is spent.
    fn recharge(&mut self) -> bool {
        self.charge.set_to(self.bytes.saturating_add(self.sending))
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
        self.recharge();
    }
}

impl Socket for Outgoing {
    fn send(&self, text: String) -> Result<(), SocketClosed> {
        let mut queue = self.queue.lock();
        if queue.closed || queue.finished || queue.overflowed {
            return Err(SocketClosed);
        }
        let fits = queue.messages.len() < self.messages_max && queue.bytes.saturating_add(text.len()) <= self.bytes_max;
        queue.bytes = queue.bytes.saturating_add(text.len());
        if !fits || !queue.recharge() {
            queue.overflowed = true;
            queue.clear();
            drop(queue);
            self.full.notify_one();
            return Err(SocketClosed);
        }
        let first = queue.messages.is_empty();
        queue.messages.push_back(text);
        drop(queue);
        if first {
            self.ready.notify_one();
        }
        Ok(())
    }

    fn finish(&self) {
        self.queue.lock().finished = true;
        self.ready.notify_one();
    }
}
