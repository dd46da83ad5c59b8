//! A service that does what its client asks for, and a client that writes bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_crypto::Certificate;
use coco_governance::tables;
use coco_kv::Store;
use coco_protocol::{Caller, Mount, Reply, Rest, Service, Socket, SocketSession};
use coco_rpc::authentication::{Authenticator, Facts};
use coco_rpc::metrics::Metrics;
use coco_rpc::{Listener, ListenerLimits, Server};
use coco_types::Seqno;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// No test waits longer for anything; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the service below answers when there is no room.
pub const BUSY: &[u8] = b"not now";

/// `/echo` answers the body, `/drop` drops the reply, `/panic` panics, `/hold` hands the reply to the test, and so does `/long`, which takes until that
/// is used. `/single` takes no batches. A socket echoes, on `flood` sends until it may no more, and on `long` takes long.
pub struct Obedient {
    held: mpsc::UnboundedSender<Reply>,
}

impl Obedient {
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Reply>) {
        let (held, holds) = mpsc::unbounded_channel();
        (Arc::new(Self { held }), holds)
    }
}

impl Service for Obedient {
    fn mount(&self) -> Mount {
        Mount::Listener("test")
    }

    fn takes_batches(&self, path: &str) -> bool {
        path != "/single"
    }

    fn call(&self, _caller: Caller, request: Request<Bytes>, reply: Reply) {
        match request.uri().path() {
            "/drop" => drop(reply),
            "/panic" => panic!("on purpose"),
            "/hold" => self.held.send(reply).unwrap_or_else(|_| panic!("the test holds the receiver")),
            _ => reply(Response::new(request.into_body())),
        }
    }

    fn busy(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(BUSY));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }

    fn begin(&self, caller: Caller, request: Request<Bytes>, reply: Reply) -> Option<Rest> {
        if request.uri().path() == "/long" {
            return Some(long(&self.held, reply));
        }
        self.call(caller, request, reply);
        None
    }

    fn open_socket(&self, _caller: Caller, socket: Arc<dyn Socket>) -> Option<Box<dyn SocketSession>> {
        Some(Box::new(Echo(socket, self.held.clone())))
    }
}

/// Blocks its thread until the test has used, or dropped, what it is handed.
fn long(held: &mpsc::UnboundedSender<Reply>, reply: Reply) -> Rest {
    let held = held.clone();
    let job = move || {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let releasing: Reply = Box::new(move |response| {
            reply(response);
            drop(release);
        });
        held.send(releasing).unwrap_or_else(|_| panic!("the test holds the receiver"));
        released.recv().expect_err("nothing is sent");
    };
    Rest { job: Box::new(job), held_bytes: 0 }
}

struct Echo(Arc<dyn Socket>, mpsc::UnboundedSender<Reply>);

impl SocketSession for Echo {
    fn message(&mut self, text: &str) {
        if text == "flood" {
            while self.0.send("x".repeat(1 << 16)).is_ok() {}
        } else {
            let _ = self.0.send(text.to_owned());
        }
    }

    fn begin(&mut self, text: &str) -> Option<Rest> {
        if text == "long" {
            let socket = self.0.clone();
            let answer = move |_| socket.send("after long".to_owned()).expect("open");
            return Some(long(&self.1, Box::new(answer)));
        }
        self.message(text);
        None
    }
}

pub fn server(threads: usize, queued_max: usize) -> Server {
    Server::new(Handle::current(), threads, queued_max, Metrics::new())
}

pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub fn listen(server: &Server, service: Arc<dyn Service>, limits: ListenerLimits) -> Listener {
    server.listen("test", any_port(), service, limits).expect("a free port")
}

/// Knows these members by their certificates.
pub fn knowing(members: &[&Certificate]) -> Arc<Authenticator> {
    let store = Store::new();
    let mut tx = store.begin();
    for member in members {
        tx.put(&tables::MEMBER_CERTS, member.fingerprint().to_string().into_bytes(), member.to_pem().into_bytes());
    }
    store.apply(Seqno(1), tx.writes()).expect("the first version");
    store.commit(Seqno(1));
    Authenticator::new(move || Facts { state: store.snapshot(), actors_version: 1, now_s: 1_800_000_000 })
}

/// Writes raw HTTP and reads answers.
pub struct Client {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("the listener accepts"), unread: Vec::new() }
    }

    pub async fn post(&mut self, path: &str, body: &[u8]) {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        self.send(&[head.as_bytes(), body].concat()).await;
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the listener reads");
    }

    /// The next answer: status and body. `None` if the connection ended instead.
    pub async fn answer(&mut self) -> Option<(u16, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, self.read_answer()).await.expect("an answer or an end in time")
    }

    async fn read_answer(&mut self) -> Option<(u16, Vec<u8>)> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(self.unread[..end].to_vec()).expect("ASCII").to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                let length: usize = length.map_or(0, |digits| digits.parse().expect("a number"));
                if self.unread.len() >= end + 4 + length {
                    let status = head[9..12].parse().expect("a status");
                    let body = self.unread[end + 4..end + 4 + length].to_vec();
                    self.unread.drain(..end + 4 + length);
                    return Some((status, body));
                }
            }
            if !matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..)) {
                return None;
            }
        }
    }
}
