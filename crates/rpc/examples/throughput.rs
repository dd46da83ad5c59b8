//! Requests a second through a listener with a service that does nothing: what serving itself costs.
//!
//! `cargo run --release -p coco-rpc --example throughput -- [connections] [pipelined] [seconds] [runtime threads]`. Server and client share the
//! machine; the processor time printed is the server's alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coco_protocol::{Caller, Mount, Reply, Service};
use coco_rpc::metrics::Metrics;
use coco_rpc::{ListenerLimits, Server};
use http::{Request, Response};

struct Nothing;

impl Service for Nothing {
    fn mount(&self) -> Mount {
        Mount::Listener("nothing")
    }

    fn call(&self, _caller: Caller, _request: Request<Bytes>, reply: Reply) {
        reply(Response::new(Bytes::from_static(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"0x1\"}")));
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let connections = arguments.next().unwrap_or(32);
    let pipelined = arguments.next().unwrap_or(1) as usize;
    let seconds = arguments.next().unwrap_or(5);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let threads = arguments.next().map_or(2 * cores, |threads| threads as usize);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let server = Server::new(runtime.handle().clone(), cores, 4096, Metrics::new());
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = server.listen("nothing", any_port, Arc::new(Nothing), ListenerLimits::default()).expect("a port");
    let address = listener.address();

    let (answered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            let running = move || client(address, pipelined, &answered, &stop);
            std::thread::Builder::new().name("client".to_owned()).spawn(running).expect("a thread")
        })
        .collect();
    let started = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    let count = answered.load(Ordering::Relaxed);
    let per_second = count as f64 / started.elapsed().as_secs_f64();
    println!("{connections} connections, {pipelined} pipelined: {per_second:.0} requests/s");
    println!("{:.1} µs of the server's processor a request", server_micros() as f64 / count.max(1) as f64);
    clients.into_iter().for_each(|client| client.join().expect("no panic"));
}

fn client(address: SocketAddr, pipelined: usize, answered: &AtomicU64, stop: &AtomicBool) {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x02f8"]}"#;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let requests = format!("{head}{body}").repeat(pipelined);
    let mut stream = TcpStream::connect(address).expect("the listener accepts");
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = vec![0; 64 << 10];
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(requests.as_bytes()).expect("open");
        let mut missing = pipelined;
        while missing > 0 {
            let read = stream.read(&mut buffer).expect("open");
            // The answer's last byte occurs nowhere else in it.
            missing -= buffer[..read].iter().filter(|byte| **byte == b'}').count();
        }
        answered.fetch_add(pipelined as u64, Ordering::Relaxed);
    }
}

/// Processor time of every thread that is no client, in microseconds: fields 14 and 15 of `stat`, in ticks of 10 ms.
fn server_micros() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(") ")?;
        let ticks = || rest.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
        (!name.ends_with("(client")).then(ticks)
    };
    tasks.filter_map(of_task).sum::<u64>() * 10_000
}
