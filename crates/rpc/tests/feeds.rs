//! Responses that go on, over real sockets.

#[allow(dead_code, reason = "shared with other tests")]
mod harness;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_protocol::{Caller, Feed, Mount, Reply, Service, Socket};
use coco_rpc::{Listener, ListenerLimits};
use harness::{PATIENCE, server};
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Hands each feed's sending half to the test; `None` once its client has gone.
struct Feeding(mpsc::UnboundedSender<Option<Arc<dyn Socket>>>);

struct Gone(mpsc::UnboundedSender<Option<Arc<dyn Socket>>>);

impl Drop for Gone {
    fn drop(&mut self) {
        // The test may have seen enough.
        let _ = self.0.send(None);
    }
}

impl Service for Feeding {
    fn mount(&self) -> Mount {
        Mount::Listener("test")
    }

    fn call(&self, _caller: Caller, request: Request<Bytes>, reply: Reply) {
        if request.uri().path() != "/feed" {
            return reply(Response::new(Bytes::from_static(b"whole")));
        }
        let opened = self.0.clone();
        let mut response = Response::new(Bytes::from_static(b"first;"));
        response.extensions_mut().insert(Feed::new(move |socket| {
            let _ = opened.send(Some(socket));
            Box::new(Gone(opened.clone()))
        }));
        reply(response);
    }
}

type Opened = mpsc::UnboundedReceiver<Option<Arc<dyn Socket>>>;

fn serve(limits: ListenerLimits) -> (Listener, Opened) {
    let (opened, feeds) = mpsc::unbounded_channel();
    (harness::listen(&server(2, 16), Arc::new(Feeding(opened)), limits), feeds)
}

struct Client {
    stream: TcpStream,
    read: String,
}

impl Client {
    async fn ask(address: SocketAddr, path: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the listener accepts");
        let mut client = Self { stream, read: String::new() };
        client.again(path).await;
        client
    }

    async fn again(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.expect("the listener reads");
    }

    /// Reads until this has come.
    async fn reads(&mut self, text: &str) {
        let reading = async {
            while !self.read.contains(text) {
                let mut piece = [0; 4096];
                let count = self.stream.read(&mut piece).await.expect("open");
                assert!(count > 0, "it ended with {}", self.read);
                self.read.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("an answer in time");
        self.read.clear();
    }

    /// All that comes until the connection ends.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let reading = self.stream.read_to_end(&mut rest);
        // A connection that is cut off may be reset.
        let _ = tokio::time::timeout(PATIENCE, reading).await.expect("an end in time");
        rest
    }
}

async fn next(feeds: &mut Opened) -> Option<Arc<dyn Socket>> {
    tokio::time::timeout(PATIENCE, feeds.recv()).await.expect("in time").expect("the service is there")
}

#[tokio::test]
async fn a_response_goes_on_as_there_is_news_and_ends_when_there_is_no_more() {
    let soon = Duration::from_millis(400);
    let (listener, mut feeds) = serve(ListenerLimits { idle_timeout: soon, ..ListenerLimits::default() });
    let mut client = Client::ask(listener.address(), "/feed").await;
    let feed = next(&mut feeds).await.expect("a feed");
    client.reads("first;").await;
    // Nothing to tell for longer than a connection may idle is no reason to end it.
    tokio::time::timeout(soon * 2, client.stream.readable()).await.expect_err("still open, and nothing said");
    feed.send("second;".to_owned()).unwrap();
    client.reads("second;").await;
    feed.send("last;".to_owned()).unwrap();
    feed.finish();
    assert!(feed.send("too late".to_owned()).is_err());
    client.reads("last;\r\n0\r\n\r\n").await;
    assert!(next(&mut feeds).await.is_none());
    client.again("/whole").await;
    client.reads("whole").await;
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_cut_off_in_the_middle() {
    let limits = ListenerLimits { socket_queue_bytes_max: 1 << 20, ..ListenerLimits::default() };
    let (listener, mut feeds) = serve(limits);
    let mut client = Client::ask(listener.address(), "/feed").await;
    let feed = next(&mut feeds).await.expect("a feed");
    while feed.send("x".repeat(1 << 16)).is_ok() {}
    assert!(next(&mut feeds).await.is_none());
    let rest = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks whole");
}

#[tokio::test]
async fn one_address_has_a_few_feeds_and_gets_another_when_one_has_ended() {
    let limits = ListenerLimits { feeds_per_address_max: 2, ..ListenerLimits::default() };
    let (listener, mut feeds) = serve(limits);
    let first = Client::ask(listener.address(), "/feed").await;
    let mut second = Client::ask(listener.address(), "/feed").await;
    second.reads("first;").await;
    for _ in 0..2 {
        assert!(next(&mut feeds).await.is_some());
    }
    let mut third = Client::ask(listener.address(), "/feed").await;
    third.reads("503").await;
    drop(first);
    assert!(next(&mut feeds).await.is_none());
    let mut third = Client::ask(listener.address(), "/feed").await;
    third.reads("first;").await;
}

#[tokio::test]
async fn a_listener_that_shuts_down_ends_what_goes_on() {
    let (listener, mut feeds) = serve(ListenerLimits::default());
    let mut client = Client::ask(listener.address(), "/feed").await;
    client.reads("first;").await;
    assert!(next(&mut feeds).await.is_some());
    listener.shut_down(PATIENCE).await;
    assert!(client.rest().await.ends_with(b"0\r\n\r\n"));
    assert!(next(&mut feeds).await.is_none());
}
