//! WebSockets over real sockets.

#[allow(dead_code, reason = "shared with tests that speak HTTP only")]
mod harness;

use std::net::SocketAddr;
use std::time::Duration;

use coco_rpc::ListenerLimits;
use futures_util::{SinkExt, StreamExt};
use harness::{Obedient, PATIENCE, listen, server};
use http::Response;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

async fn connect(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("the listener accepts");
    let request = format!("ws://{address}/any/path");
    tokio_tungstenite::client_async(request, stream).await.expect("an upgrade").0
}

/// Reads until the close frame and gives its code; `None` if the connection just ended.
async fn close_code(socket: &mut WebSocketStream<TcpStream>) -> Option<CloseCode> {
    let reading = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an end in time")
}

#[tokio::test]
async fn messages_reach_the_session_in_order_and_answers_return() {
    let listener = listen(&server(4, 16), Obedient::new().0, ListenerLimits::default());
    let mut socket = connect(listener.address()).await;
    for index in 0..500 {
        socket.feed(Message::text(index.to_string())).await.expect("open");
    }
    socket.send(Message::binary("in bytes")).await.expect("open");
    for index in 0..500 {
        assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text(index.to_string()));
    }
    assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text("in bytes"));
}

#[tokio::test]
async fn a_message_that_takes_long_holds_up_its_own_socket_only() {
    let (service, mut holds) = Obedient::new();
    let listener = listen(&server(1, 16), service, ListenerLimits::default());
    let mut socket = connect(listener.address()).await;
    for text in ["before", "long", "next"] {
        socket.feed(Message::text(text)).await.expect("open");
    }
    socket.flush().await.expect("open");
    let answer = holds.recv().await.expect("held");
    let mut other = connect(listener.address()).await;
    other.send(Message::text("other")).await.expect("open");
    assert_eq!(other.next().await.expect("open").expect("a message"), Message::text("other"));
    answer(Response::default());
    for expected in ["before", "after long", "next"] {
        assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text(expected));
    }
}

#[tokio::test]
async fn a_message_over_the_limit_closes_with_1009() {
    let limits = ListenerLimits { body_bytes_max: 1 << 10, batch_bytes_max: 1 << 20, ..ListenerLimits::default() };
    let listener = listen(&server(1, 16), Obedient::new().0, limits);
    let mut socket = connect(listener.address()).await;
    let batch = format!("[{}", " ".repeat(1 << 12));
    socket.send(Message::text(batch.clone())).await.expect("open");
    assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text(batch));
    socket.send(Message::text(" ".repeat(1 << 12))).await.expect("open");
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Size));

    let mut socket = connect(listener.address()).await;
    socket.send(Message::text("[".repeat(3 << 20))).await.expect("open");
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Size));
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_closed_with_1013() {
    let limits = ListenerLimits { socket_queue_bytes_max: 1 << 20, ..ListenerLimits::default() };
    let listener = listen(&server(1, 16), Obedient::new().0, limits);
    let mut socket = connect(listener.address()).await;
    socket.send(Message::text("flood")).await.expect("open");
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Again));
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_dropped() {
    let limits = ListenerLimits { socket_ping: Duration::from_millis(20), ..ListenerLimits::default() };
    let listener = listen(&server(1, 16), Obedient::new().0, limits);
    let mut socket = connect(listener.address()).await;
    let mut silent = connect(listener.address()).await;
    let silent = silent.get_mut();
    let read_until_end = async {
        let mut thrown_away = [0; 256];
        while matches!(tokio::io::AsyncReadExt::read(silent, &mut thrown_away).await, Ok(1..)) {}
    };
    tokio::select! {
        () = async { tokio::time::timeout(PATIENCE, read_until_end).await.expect("dropped in time") } => {}
        code = close_code(&mut socket) => panic!("the other, which answers, was closed with {code:?}"),
    }
}

#[tokio::test]
async fn a_listener_that_shuts_down_says_goodbye() {
    let listener = listen(&server(1, 16), Obedient::new().0, ListenerLimits::default());
    let mut socket = connect(listener.address()).await;
    let (code, ()) = tokio::join!(close_code(&mut socket), listener.shut_down(PATIENCE));
    assert_eq!(code, Some(CloseCode::Away));
}

#[tokio::test]
async fn an_upgrade_to_another_version_is_refused() {
    let listener = listen(&server(1, 16), Obedient::new().0, ListenerLimits::default());
    let mut client = harness::Client::connect(listener.address()).await;
    client
        .send(
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 8\r\n\
              sec-websocket-key: eA==\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer().await.map(|(status, _)| status), Some(426));
}

#[tokio::test]
async fn what_is_to_be_sent_counts_for_all_clients_together() {
    let limits = ListenerLimits { client_bytes_max: 1 << 20, ..ListenerLimits::default() };
    let listener = listen(&server(1, 16), Obedient::new().0, limits);
    let mut socket = connect(listener.address()).await;
    // Each message is so small that it is not counted by itself.
    socket.send(Message::text("flood")).await.expect("open");
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Again));
}

#[tokio::test]
async fn what_has_arrived_of_a_message_counts_before_it_is_whole_and_no_more_once_it_is_delivered() {
    let limits = ListenerLimits { client_bytes_per_address_max: 512 << 10, ..ListenerLimits::default() };
    let listener = listen(&server(1, 16), Obedient::new().0, limits);
    let mut socket = connect(listener.address()).await;
    let text = Message::text("[".repeat(200 << 10));
    for _ in 0..5 {
        socket.send(text.clone()).await.expect("open");
        assert!(socket.next().await.expect("open").expect("a message") == text);
    }
    // Pings and pongs count for nothing, and leave what came of a message before them counted: of one in parts of 100 KiB the sixth is too much.
    for _ in 0..8_000 {
        socket.feed(Message::Pong(vec![0; 125].into())).await.expect("open");
    }
    socket.flush().await.expect("open");
    let mut parts = connect(listener.address()).await;
    for part in 0..6u8 {
        let head = [&[u8::from(part == 0), 0xff][..], &(100u64 << 10).to_be_bytes(), &[0; 4]].concat();
        let pong = [0x8a, 0x80, 0, 0, 0, 0];
        let bytes = [head, vec![b'['; 100 << 10], pong.to_vec()].concat();
        parts.get_mut().write_all(&bytes).await.expect("open");
    }
    assert_eq!(close_code(&mut parts).await, Some(CloseCode::Again));
    // Of a frame of 1 MiB, masked with zeros, the first 600 KiB (RFC 6455 §5.2).
    let head = [&[0x81, 0xff][..], &(1u64 << 20).to_be_bytes(), &[0; 4]].concat();
    let part = [head, vec![b'['; 600 << 10]].concat();
    socket.get_mut().write_all(&part).await.expect("open");
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Again));
}

#[tokio::test]
async fn an_upgrade_without_its_key_or_of_another_version_is_refused() {
    let listener = listen(&server(1, 16), Obedient::new().0, ListenerLimits::default());
    for (headers, status, code) in [
        ("", 400, "MissingRequiredHeader"),
        ("sec-websocket-key: x\r\nsec-websocket-version: 7\r\n", 426, "InvalidHeaderValue"),
    ] {
        let mut client = harness::Client::connect(listener.address()).await;
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n{headers}\r\n");
        client.send(head.as_bytes()).await;
        let (found, body) = client.answer().await.expect("an answer");
        assert_eq!((found, String::from_utf8_lossy(&body).contains(code)), (status, true), "{headers}");
    }
}
