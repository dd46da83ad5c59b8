//! Requests a second through a listener with a service that does nothing: what serving itself costs.
//!
//! `cargo run --release -p coco-rpc --example throughput -- [connections] [pipelined] [seconds]`. Server and client share the
//! machine; divide the processor time, printed for the whole process, by what a client of this kind costs.

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
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = Server::new(runtime.handle().clone(), cores, 4096, Metrics::new());
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = server.listen("nothing", any_port, Arc::new(Nothing), ListenerLimits::default()).expect("a port");
    let address = listener.address();

    let (answered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..connections)
        .map(|_| {
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            std::thread::spawn(move || client(address, pipelined, &answered, &stop))
        })
        .collect();
    let started = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    let count = answered.load(Ordering::Relaxed);
    let per_second = count as f64 / started.elapsed().as_secs_f64();
    println!("{connections} connections, {pipelined} pipelined: {per_second:.0} requests/s");
    println!(
        "{}",
        std::fs::read_to_string("/proc/self/stat").map_or(String::new(), |stat| processor_time(&stat, count))
    );
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

/// Fields 14 and 15 of `stat`, in ticks of 10 ms.
fn processor_time(stat: &str, count: u64) -> String {
    let fields: Vec<u64> = stat.split(' ').skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    let micros = fields.iter().sum::<u64>() * 10_000;
    format!("{:.1} µs of processor a request, client and server together", micros as f64 / count.max(1) as f64)
}
