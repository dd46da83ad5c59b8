//! One WebSocket: its subscriptions, and the order in which answers and notifications leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use coco_protocol::{Caller, Socket};
use parking_lot::Mutex;

use super::error::RpcError;
use super::json::push_object;
use super::limits::{NOTIFICATIONS_HELD_MAX, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_CONNECTION_MAX};
use crate::events::{Channel, Events, Keep, Listener, ListenerId};

/// A connection that can be told things.
pub struct Connection {
    pub caller: Caller,
    events: Arc<Events>,
    socket: Arc<dyn Socket>,
    /// Subscription id to listener.
    subscriptions: Mutex<BTreeMap<String, ListenerId>>,
    outbox: Mutex<Outbox>,
}

/// Notifications wait here while the answer that names their subscription has not left: clients drop what they do not know.
#[derive(Default)]
struct Outbox {
    holds: usize,
    held: Vec<String>,
    closed: bool,
}

impl Connection {
    pub fn new(caller: Caller, events: Arc<Events>, socket: Arc<dyn Socket>) -> Arc<Self> {
        Arc::new(Self { caller, events, socket, subscriptions: Mutex::default(), outbox: Mutex::default() })
    }

    pub fn subscribe(&self, id: &str, channel: Channel, listener: Listener) -> Result<(), RpcError> {
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions.len() >= SUBSCRIPTIONS_PER_CONNECTION_MAX {
            return Err(RpcError::limit(format!("{SUBSCRIPTIONS_PER_CONNECTION_MAX} subscriptions of one connection")));
        }
        if self.events.listeners() >= SUBSCRIPTIONS_MAX {
            return Err(RpcError::limit(format!("{SUBSCRIPTIONS_MAX} subscriptions of one node")));
        }
        subscriptions.insert(id.to_owned(), self.events.listen(channel, listener));
        Ok(())
    }

    /// Whether there was one.
    pub fn unsubscribe(&self, id: &str) -> bool {
        let listener = self.subscriptions.lock().remove(id);
        listener.inspect(|listener| self.events.forget(*listener)).is_some()
    }

    /// Notifications wait until [`Connection::release`].
    pub fn hold(&self) {
        self.outbox.lock().holds += 1;
    }

    /// Ends `count` holds; with the last one, what was held leaves.
    pub fn release(&self, count: usize) {
        let mut outbox = self.outbox.lock();
        outbox.holds = outbox.holds.saturating_sub(count);
        if outbox.holds > 0 {
            return;
        }
        for text in std::mem::take(&mut outbox.held) {
            outbox.closed |= self.socket.send(text).is_err();
        }
    }

    /// Sends the answer to a request.
    pub fn answer(&self, text: String) {
        let mut outbox = self.outbox.lock();
        outbox.closed |= self.socket.send(text).is_err();
    }

    /// Sends a notification; [`Keep::No`] once the connection is gone.
    pub fn notify(&self, subscription: &str, result: &str) -> Keep {
        let mut outbox = self.outbox.lock();
        if outbox.closed {
            return Keep::No;
        }
        let text = notification(subscription, result);
        if outbox.holds == 0 {
            outbox.closed = self.socket.send(text).is_err();
        } else if outbox.held.len() < NOTIFICATIONS_HELD_MAX {
            outbox.held.push(text);
        } else {
            // An answer that is so late has lost its client; a gap in the notifications would be a lie.
            outbox.closed = true;
            outbox.held.clear();
        }
        if outbox.closed { Keep::No } else { Keep::Yes }
    }

    /// The connection ended.
    pub fn close(&self) {
        self.outbox.lock().closed = true;
        for listener in std::mem::take(&mut *self.subscriptions.lock()).into_values() {
            self.events.forget(listener);
        }
    }
}

fn notification(subscription: &str, result: &str) -> String {
    let mut text = String::with_capacity(result.len() + 140);
    push_object(&mut text, |object| {
        object.string("jsonrpc", "2.0");
        object.string("method", "eth_subscription");
        object.object("params", |object| {
            object.string("subscription", subscription);
            object.json("result", result);
        });
    });
    text
}
