//! Clients that write all the time, and remember what was acknowledged to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::{Client, Connection};
use crate::until;

const WRITERS: usize = 3;
/// Between two writes of one: five nodes share a small machine.
const PAUSE: Duration = Duration::from_millis(25);

pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// The nodes that clients know of.
    nodes: Mutex<Vec<Client>>,
    acknowledged: Mutex<Vec<(String, SocketAddr)>>,
    stopped: AtomicBool,
}

/// Keys that were acknowledged. The value of each is its key.
pub struct Written(Vec<(String, SocketAddr)>);

impl Load {
    pub fn start(nodes: Vec<Client>) -> Self {
        let shared =
            Shared { nodes: Mutex::new(nodes), acknowledged: Mutex::new(Vec::new()), stopped: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let writer = |number| {
            let shared = shared.clone();
            thread::spawn(move || shared.write(number))
        };
        Self { writers: (0..WRITERS).map(writer).collect(), shared }
    }

    /// Clients turn to these nodes from now on; so many more writes are acknowledged, and by each of the nodes some.
    pub fn takes_in(&self, nodes: Vec<Client>, more: usize) {
        let known: Vec<SocketAddr> = nodes.iter().map(|client| client.node).collect();
        *self.shared.nodes.lock().unwrap() = nodes;
        let before = self.shared.acknowledged.lock().unwrap().len();
        until("the load goes on at every node", || {
            let acknowledged = self.shared.acknowledged.lock().unwrap();
            let new = &acknowledged[before..];
            let by_each = known.iter().all(|node| new.iter().any(|(_, by)| by == node));
            (new.len() >= more && by_each).then_some(())
        });
    }

    pub fn stop(self) -> Written {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.writers.into_iter().for_each(|writer| writer.join().unwrap());
        Written(self.shared.acknowledged.lock().unwrap().clone())
    }
}

impl Shared {
    /// The same write is tried at one node after the other until one acknowledges it.
    fn write(&self, number: usize) {
        let mut connections = BTreeMap::new();
        let mut turn = number;
        for count in 0.. {
            let key = format!("w{number}-{count}");
            loop {
                if self.stopped.load(Ordering::Relaxed) {
                    return;
                }
                turn += 1;
                let node = {
                    let nodes = self.nodes.lock().unwrap();
                    nodes[turn % nodes.len()].clone()
                };
                thread::park_timeout(PAUSE);
                if put(&mut connections, &node, &key) {
                    self.acknowledged.lock().unwrap().push((key, node.node));
                    break;
                }
            }
        }
    }
}

/// Whether the node acknowledges it. A connection that fails is opened anew the next time.
fn put(connections: &mut BTreeMap<SocketAddr, Connection>, node: &Client, key: &str) -> bool {
    let connection = connections.remove(&node.node).map_or_else(|| node.connect(), Ok);
    let answered = connection.and_then(|mut connection| {
        let answer = connection.call("PUT", &format!("/app/records/{key}"), key.as_bytes())?;
        connections.insert(node.node, connection);
        Ok(answer.status)
    });
    answered.is_ok_and(|status| (200..300).contains(&status))
}

impl Written {
    /// Every node has them all, once it has caught up.
    pub fn stand_at(&self, nodes: &[Client]) {
        for node in nodes {
            let mut connection = node.connect().unwrap();
            for (key, by) in &self.0 {
                let path = format!("/app/records/{key}");
                until(&format!("{key}, acknowledged by {by}, at {}", node.node), || {
                    let answer = connection.call("GET", &path, b"").unwrap();
                    (answer.status == 200 && answer.body == key.as_bytes()).then_some(())
                });
            }
        }
    }
}
