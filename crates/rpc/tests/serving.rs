//! A listener over real sockets: what clients get, and what hostile ones do not.

#[allow(dead_code, reason = "shared with tests that speak TLS")]
mod harness;

use std::time::Duration;

use bytes::Bytes;
use coco_rpc::ListenerLimits;
use tokio::io::AsyncWriteExt;

use harness::{BUSY, Client, Obedient, PATIENCE, listen, server};
use http::Response;

fn limits() -> ListenerLimits {
    ListenerLimits::default()
}

#[tokio::test]
async fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    let listener = listen(&server(2, 16), Obedient::new().0, limits());
    let mut client = Client::connect(listener.address()).await;
    for text in ["one", "two", "three"] {
        client.post("/echo", text.as_bytes()).await;
    }
    for text in ["one", "two", "three"] {
        assert_eq!(client.answer().await, Some((200, text.as_bytes().to_vec())));
    }
    client
        .send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await, Some((200, b"abc".to_vec())));
}

#[tokio::test]
async fn a_body_over_the_limit_gets_413_and_the_connection_goes_on() {
    let limits = ListenerLimits { body_bytes_max: 1 << 20, batch_bytes_max: 4 << 20, ..limits() };
    let listener = listen(&server(1, 16), Obedient::new().0, limits);
    let mut client = Client::connect(listener.address()).await;
    let mut large = vec![b' '; 2 << 20];
    client.post("/echo", &large).await;
    assert_eq!(client.answer().await.map(|(status, _)| status), Some(413));
    large[0] = b'[';
    client.post("/echo", &large).await;
    assert_eq!(client.answer().await.map(|(status, body)| (status, body.len())), Some((200, 2 << 20)));
    client.post("/single", &large).await;
    assert_eq!(client.answer().await.map(|(status, _)| status), Some(413), "nobody takes a batch there");
    client.post("/echo", &vec![b'['; 5 << 20]).await;
    assert_eq!(client.answer().await.map(|(status, _)| status), Some(413));
}

#[tokio::test]
async fn a_chunked_body_without_an_end_gets_413_and_a_closed_connection() {
    let limits = ListenerLimits { body_bytes_max: 1 << 10, ..limits() };
    let listener = listen(&server(1, 16), Obedient::new().0, limits);
    let mut client = Client::connect(listener.address()).await;
    client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    for _ in 0..66 {
        // Refused once the listener has heard enough.
        if client.stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    assert_eq!(client.answer().await.map(|(status, _)| status), Some(413));
}

#[tokio::test]
async fn slow_heads_slow_bodies_and_idle_connections_are_closed() {
    let soon = Duration::from_millis(30);
    let limits = ListenerLimits { head_timeout: soon, body_timeout: soon, idle_timeout: soon, ..limits() };
    let listener = listen(&server(1, 16), Obedient::new().0, limits);
    for sent in ["", "POST / HT", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx"] {
        let mut client = Client::connect(listener.address()).await;
        client.send(sent.as_bytes()).await;
        assert_eq!(client.answer().await, None, "{sent:?}");
    }
}

#[tokio::test]
async fn a_request_being_answered_outlives_every_timeout_of_the_listener() {
    let soon = Duration::from_millis(10);
    let limits = ListenerLimits { head_timeout: soon, body_timeout: soon, idle_timeout: soon, ..limits() };
    let (service, mut holds) = Obedient::new();
    let listener = listen(&server(1, 16), service, limits);
    let mut working = Client::connect(listener.address()).await;
    working.post("/hold", b"").await;
    let reply = holds.recv().await.expect("held");
    let mut idle = Client::connect(listener.address()).await;
    assert_eq!(idle.answer().await, None, "idle, and younger than the other");
    reply(Response::new(Bytes::from_static(b"late")));
    assert_eq!(working.answer().await, Some((200, b"late".to_vec())));
}

#[tokio::test]
async fn a_full_listener_closes_idle_connections_first() {
    let (service, mut holds) = Obedient::new();
    let listener = listen(&server(1, 16), service, ListenerLimits { connections_max: 2, ..limits() });
    let mut working = Client::connect(listener.address()).await;
    working.post("/hold", b"").await;
    let reply = holds.recv().await.expect("held");
    let mut idle = Client::connect(listener.address()).await;
    idle.post("/echo", b"x").await;
    assert!(idle.answer().await.is_some());
    let mut newcomer = Client::connect(listener.address()).await;
    newcomer.post("/hold", b"").await;
    assert_eq!(idle.answer().await, None);
    let _second = holds.recv().await.expect("held");
    let mut refused = Client::connect(listener.address()).await;
    assert_eq!(refused.answer().await, None, "everyone else is at work");
    reply(Response::new(Bytes::from_static(b"done")));
    assert_eq!(working.answer().await, Some((200, b"done".to_vec())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_dropped_reply_or_a_panic_gets_503_and_the_service_goes_on() {
    let listener = listen(&server(1, 16), Obedient::new().0, limits());
    let mut client = Client::connect(listener.address()).await;
    for path in ["/drop", "/panic"] {
        client.post(path, b"").await;
        assert_eq!(client.answer().await, Some((503, BUSY.to_vec())), "{path}");
    }
    client.post("/echo", b"still here").await;
    assert_eq!(client.answer().await, Some((200, b"still here".to_vec())));
}

#[tokio::test]
async fn a_listener_without_room_for_work_refuses_at_once_in_the_words_of_its_service() {
    let listener = listen(&server(1, 0), Obedient::new().0, limits());
    let mut client = Client::connect(listener.address()).await;
    client.post("/echo", b"x").await;
    assert_eq!(client.answer().await, Some((503, BUSY.to_vec())));
}

#[tokio::test]
async fn a_websocket_for_which_there_is_no_room_is_refused_likewise() {
    let listener = listen(&server(1, 0), Obedient::new().0, limits());
    let mut client = Client::connect(listener.address()).await;
    client
        .send(
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await, Some((503, BUSY.to_vec())));
}

#[tokio::test]
async fn who_waited_too_long_for_a_worker_gets_503_and_the_service_is_not_asked() {
    let listener = listen(&server(1, 16), Obedient::new().0, ListenerLimits { queued_max: Duration::ZERO, ..limits() });
    let mut client = Client::connect(listener.address()).await;
    client.post("/echo", &[b'x'; 8 << 10]).await;
    assert_eq!(client.answer().await, Some((503, BUSY.to_vec())));
    // Where few wait it is not too much that is asked, and so nobody is refused.
    let roomy =
        listen(&server(1, 1 << 10), Obedient::new().0, ListenerLimits { queued_max: Duration::ZERO, ..limits() });
    let mut client = Client::connect(roomy.address()).await;
    client.post("/echo", &[b'x'; 8 << 10]).await;
    assert_eq!(client.answer().await.map(|(status, _)| status), Some(200));
}

#[tokio::test]
async fn nobody_waits_for_what_takes_long() {
    let (service, mut holds) = Obedient::new();
    let listener = listen(&server(1, 16), service, limits());
    let mut longs = [Client::connect(listener.address()).await, Client::connect(listener.address()).await];
    for long in &mut longs {
        long.post("/long", b"").await;
    }
    let reply = holds.recv().await.expect("held");
    let mut short = Client::connect(listener.address()).await;
    for body in [&b"x"[..], &[b'x'; 8 << 10]] {
        short.post("/echo", body).await;
        assert_eq!(short.answer().await, Some((200, body.to_vec())));
    }
    reply(Response::new(Bytes::from_static(b"late")));
    holds.recv().await.expect("held")(Response::new(Bytes::from_static(b"late")));
    for mut long in longs {
        assert_eq!(long.answer().await, Some((200, b"late".to_vec())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn long_work_that_finds_no_room_is_answered_503_and_short_requests_are_served() {
    let (service, mut holds) = Obedient::new();
    let listener = listen(&server(1, 1), service, limits());
    let mut first = Client::connect(listener.address()).await;
    first.post("/long", b"").await;
    let reply = holds.recv().await.expect("one of two threads, as many as one asker gets");
    let (mut waiting, mut other) =
        (Client::connect(listener.address()).await, Client::connect(listener.address()).await);
    waiting.post("/long", b"").await;
    other.post("/long", b"").await;
    let (refused, patient) = tokio::select! {
        answer = waiting.answer() => (answer, &mut other),
        answer = other.answer() => (answer, &mut waiting),
    };
    assert_eq!(refused.map(|(status, _)| status), Some(503));
    let mut short = Client::connect(listener.address()).await;
    short.post("/echo", b"x").await;
    assert_eq!(short.answer().await, Some((200, b"x".to_vec())));
    reply(Response::new(Bytes::new()));
    holds.recv().await.expect("its turn has come")(Response::new(Bytes::new()));
    assert_eq!(patient.answer().await.map(|(status, _)| status), Some(200));
}

#[tokio::test]
async fn content_for_all_clients_together_is_bounded() {
    let listener =
        listen(&server(1, 16), Obedient::new().0, ListenerLimits { client_bytes_max: 150 << 10, ..limits() });
    let mut first = Client::connect(listener.address()).await;
    first.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 102400\r\n\r\nfirst bytes").await;
    let mut second = Client::connect(listener.address()).await;
    second.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 102400\r\n\r\nfirst bytes").await;
    let mut either = std::pin::pin!(first.answer());
    let status = tokio::select! {
        answer = &mut either => answer,
        answer = second.answer() => answer,
    };
    assert_eq!(status.map(|(status, _)| status), Some(503), "the one that came later");
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_connection_only() {
    let listener = listen(&server(1, 16), Obedient::new().0, limits());
    let long_header = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'x'; 80 << 10]].concat();
    for bytes in [b"\x16\x03\x01\x00\xa5hello there\r\n\r\n".as_slice(), b"GET / HTTP/9\r\n\r\n", &long_header] {
        let mut client = Client::connect(listener.address()).await;
        client.send(bytes).await;
        if let Some((status, _)) = client.answer().await {
            assert!((400..500).contains(&status), "{status}");
            assert_eq!(client.answer().await, None);
        }
    }
    let mut client = Client::connect(listener.address()).await;
    client.post("/echo", b"fine").await;
    assert_eq!(client.answer().await, Some((200, b"fine".to_vec())));
}

#[tokio::test]
async fn shutting_down_lets_a_request_in_flight_finish_and_closes_the_rest() {
    let (service, mut holds) = Obedient::new();
    let listener = listen(&server(1, 16), service, limits());
    let address = listener.address();
    let mut working = Client::connect(address).await;
    working.post("/hold", b"").await;
    let reply = holds.recv().await.expect("held");
    let mut idle = Client::connect(address).await;
    idle.post("/echo", b"x").await;
    assert!(idle.answer().await.is_some());
    let down = tokio::spawn(listener.shut_down(PATIENCE));
    assert_eq!(idle.answer().await, None);
    reply(Response::new(Bytes::from_static(b"done")));
    assert_eq!(working.answer().await, Some((200, b"done".to_vec())));
    assert_eq!(working.answer().await, None, "the connection is not kept");
    tokio::time::timeout(PATIENCE, down).await.expect("in time").expect("no panic");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn shutting_down_does_not_wait_beyond_its_patience() {
    let (service, mut holds) = Obedient::new();
    let listener = listen(&server(1, 16), service, limits());
    let mut working = Client::connect(listener.address()).await;
    working.post("/hold", b"").await;
    let _reply = holds.recv().await.expect("held");
    listener.shut_down(Duration::from_millis(10)).await;
    assert_eq!(working.answer().await, None);
}
