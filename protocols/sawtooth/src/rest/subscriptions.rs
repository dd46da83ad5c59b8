//! `/subscriptions`: what each block changed in the state, over a WebSocket.

use crate::limits::PREFIXES_MAX;
use std::sync::Arc;

use coco_protocol::{Caller, Rest, Socket, SocketSession};
use serde::Deserialize;
use serde_json::{Value, json};

use super::json;
use crate::address::{ADDRESS_BYTES, is_id};
use crate::events::{BlockEvents, Subscriber, Told, WholeBlock};
use crate::query::Node;

/// One client's connection.
pub struct Session {
    node: Arc<Node>,
    caller: Caller,
    socket: Arc<dyn Socket>,
    subscriber: Option<Arc<Subscriber>>,
}

#[derive(Deserialize)]
struct Order {
    action: Option<String>,
    #[serde(default)]
    address_prefixes: Vec<String>,
    block_id: Option<String>,
}

impl Session {
    pub fn new(node: Arc<Node>, caller: Caller, socket: Arc<dyn Socket>) -> Self {
        Self { node, caller, socket, subscriber: None }
    }

    /// What is left to do of what the client orders, if that takes long.
    fn obey(&mut self, text: &str) -> Result<Option<Rest>, &'static str> {
        let order: Order =
            serde_json::from_str(text).map_err(|_| "Unable to parse message: it is no JSON object with an action")?;
        if order.address_prefixes.len() > PREFIXES_MAX {
            return Err("Too many address prefixes");
        }
        if order.address_prefixes.iter().any(|prefix| prefix.len() > 2 * ADDRESS_BYTES) {
            return Err("An address prefix is longer than an address");
        }
        match order.action.as_deref() {
            Some("subscribe") => self.subscribe(order.address_prefixes).map(|()| None),
            Some("unsubscribe") => {
                self.subscriber = None;
                Ok(None)
            }
            Some("get_block_deltas") => {
                let id = order.block_id.ok_or("Requires block_id")?;
                Ok(Some(self.deltas(id, order.address_prefixes, text.len())))
            }
            Some(_) => Err("Unknown action"),
            None => Err("No action was given"),
        }
    }

    /// The newest block first, then every one that follows.
    fn subscribe(&mut self, prefixes: Vec<String>) -> Result<(), &'static str> {
        let newest = self.node.view(&self.caller).head().map_or(0, |(header, _)| header.block_num);
        let (node, reading) = (Arc::clone(&self.node), Arc::clone(&self.node));
        let (caller, socket) = (self.caller.clone(), Arc::clone(&self.socket));
        let sink = move |block: &WholeBlock| match node.view(&caller).shown(block) {
            Some(block) if socket.send(frame(&block, &prefixes).to_string()).is_err() => Told::Gone,
            Some(_) | None => Told::Heard { effort: 0 },
        };
        let subscriber = Subscriber::new(newest, 0, move |number| reading.block_to_tell(number), sink);
        if !self.node.subscribe(&subscriber, || {}) {
            return Err("This node has as many subscribers as it can serve");
        }
        self.subscriber = Some(subscriber);
        Ok(())
    }

    /// A block is read whole for it.
    fn deltas(&self, id: String, prefixes: Vec<String>, held_bytes: usize) -> Rest {
        let (node, caller, socket) = (Arc::clone(&self.node), self.caller.clone(), Arc::clone(&self.socket));
        let job = move || {
            let view = node.view(&caller);
            let number = is_id(&id).then(|| view.number_of_block(&id)).flatten();
            match number.and_then(|number| view.block_events(number)) {
                Some(block) => send(&*socket, &frame(&block, &prefixes)),
                None => send(&*socket, &json!({ "error": "There is no such block" })),
            }
        };
        Rest { job: Box::new(job), held_bytes }
    }
}

impl SocketSession for Session {
    fn message(&mut self, text: &str) {
        if let Some(rest) = self.begin(text) {
            (rest.job)();
        }
    }

    fn begin(&mut self, text: &str) -> Option<Rest> {
        self.obey(text).unwrap_or_else(|error| {
            send(&*self.socket, &json!({ "error": error }));
            None
        })
    }
}

fn send(socket: &dyn Socket, frame: &Value) {
    // A client that is gone needs no answer.
    let _ = socket.send(frame.to_string());
}

/// A block's changes below some prefixes; without prefixes, all of them.
fn frame(block: &BlockEvents, prefixes: &[String]) -> Value {
    let wanted =
        |address: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| address.starts_with(prefix.as_str()));
    let changes = block.state_changes();
    let changes: Vec<_> = changes.iter().filter(|change| wanted(&change.address)).map(json::change).collect();
    json!({
        "block_id": block.id,
        "block_num": block.header.block_num.to_string(),
        "previous_block_id": block.header.previous_block_id,
        "state_changes": changes,
    })
}
