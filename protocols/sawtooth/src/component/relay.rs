//! A backup's half of the relay: processors may connect to any node, and only the primary hands out work.
//!
//! ```text
//!   processor ──▶ Relay ── poll: who is there ──▶ Guests ──▶ processors of the primary
//!                    ◀──── work for them ───────    │
//!             ──▶    ── said: about that work ──▶ Serving
//!                    ◀──── the answer ──────────
//! ```
//!
//! One poll is under way all the time; the primary answers it when there is work, or after a while. What a processor says about work
//! of the primary's goes there and comes back as an answer; everything else is answered here. A processor notices a change of the primary by
//! nothing but contexts that have ended: it stays connected and registered here.

use crate::limits::RELAYED_CONTEXTS_MAX;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use coco_protocol::LedgerHandle;
use parking_lot::Mutex;
use prost::Message as _;

use super::processors::{ConnectionId, Processors};
use super::serving::Serving;
use crate::messages::relay::{ContextOnly, Handed, Item, Offer, Poll, Relayed, Said};
use crate::messages::{Envelope, kind};

/// See the module's text.
pub struct Relay {
    this: Weak<Self>,
    handle: Arc<dyn LedgerHandle>,
    processors: Arc<Processors>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    primary: Option<u32>,
    /// Who this node is to that primary. A name anew under each.
    link: String,
    /// What the newest poll said.
    offered: Vec<Offer>,
    polls: u64,
    is_polling: bool,
    /// Contexts of the primary's, and who was given them.
    given: BTreeMap<String, ConnectionId>,
}

impl Relay {
    pub fn new(handle: Arc<dyn LedgerHandle>, processors: Arc<Processors>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self { this: this.clone(), handle, processors, inner: Mutex::default() })
    }

    /// Something that a processor said.
    pub fn serve(&self, serving: &Serving, envelope: Envelope) {
        if let Some(link) = self.link_of(serving.id, &envelope) {
            return self.say(link, serving.clone(), envelope);
        }
        serving.serve(&envelope);
        if matches!(envelope.message_type, kind::TP_REGISTER_REQUEST | kind::TP_UNREGISTER_REQUEST) {
            self.look();
        }
    }

    /// Whether the primary has to be told something: about once a second, and when something has changed here.
    pub fn look(&self) {
        let poll = {
            let mut inner = self.inner.lock();
            let status = self.handle.status();
            let primary = status.primary.filter(|_| !status.is_primary);
            let offers = if primary.is_some() { self.processors.offers() } else { Vec::new() };
            if inner.primary != primary {
                let polls = inner.polls;
                *inner = Inner { primary, link: self.processors.name(), polls, ..Inner::default() };
            }
            let is_news = offers != inner.offered;
            if primary.is_none() || (!is_news && (inner.is_polling || offers.is_empty())) {
                return;
            }
            inner.is_polling = true;
            inner.polls += 1;
            inner.offered.clone_from(&offers);
            Relayed { link: inner.link.clone(), poll: Some(Poll { number: inner.polls, offers }), said: None }
        };
        let number = poll.poll.as_ref().map_or(0, |poll| poll.number);
        let (relay, link) = (self.this.clone(), poll.link.clone());
        let answered = move |answer: Option<Bytes>| {
            if let Some(relay) = relay.upgrade() {
                relay.polled(&link, number, answer);
            }
        };
        self.handle.relay(poll.encode_to_vec().into(), Box::new(answered));
    }

    /// A poll has ended. Without an answer the next look tries again, as if nothing had been said.
    fn polled(&self, link: &str, number: u64, answer: Option<Bytes>) {
        let handed = answer.and_then(|answer| Handed::decode(answer).ok());
        {
            let mut inner = self.inner.lock();
            if inner.link != link {
                return;
            }
            if inner.polls == number {
                inner.is_polling = false;
            }
            let items = handed.as_ref().map(|handed| handed.items.as_slice()).unwrap_or_default();
            items.iter().for_each(|item| inner.note(item));
        }
        let Some(handed) = handed else { return };
        self.pass(handed.items);
        self.look();
    }

    /// The way to the primary, if it is its work that this is about.
    fn link_of(&self, id: ConnectionId, envelope: &Envelope) -> Option<String> {
        let context = match envelope.message_type {
            kind::TP_PROCESS_RESPONSE => envelope.correlation_id.clone(),
            kind::TP_STATE_GET_REQUEST
            | kind::TP_STATE_SET_REQUEST
            | kind::TP_STATE_DELETE_REQUEST
            | kind::TP_RECEIPT_ADD_DATA_REQUEST
            | kind::TP_EVENT_ADD_REQUEST => ContextOnly::decode(envelope.content.clone()).ok()?.context_id,
            _ => return None,
        };
        let mut inner = self.inner.lock();
        if inner.given.get(&context) != Some(&id) {
            return None;
        }
        if envelope.message_type == kind::TP_PROCESS_RESPONSE {
            inner.given.remove(&context);
        }
        Some(inner.link.clone())
    }

    /// If the primary does not answer, the processor is answered as about a context that has ended.
    fn say(&self, link: String, serving: Serving, envelope: Envelope) {
        let said = Said { connection: serving.id, envelope: Some(envelope.clone()) };
        let message = Relayed { link, poll: None, said: Some(said) };
        let relay = self.this.clone();
        let answered = move |answer: Option<Bytes>| {
            let handed = answer.and_then(|answer| Handed::decode(answer).ok());
            match (handed, relay.upgrade()) {
                (Some(handed), Some(relay)) => relay.pass(handed.items),
                _ => serving.serve(&envelope),
            }
        };
        self.handle.relay(message.encode_to_vec().into(), Box::new(answered));
    }

    fn pass(&self, items: Vec<Item>) {
        for Item { connection, envelope } in items {
            if let Some(envelope) = envelope {
                self.processors.pass(connection, &envelope);
            }
        }
    }
}

impl Inner {
    /// What the primary gave out, to know whom it concerns when something is said about it.
    fn note(&mut self, item: &Item) {
        let work = item.envelope.as_ref().filter(|envelope| envelope.message_type == kind::TP_PROCESS_REQUEST);
        let Some(envelope) = work else { return };
        if self.given.len() >= RELAYED_CONTEXTS_MAX {
            self.given.pop_first();
        }
        self.given.insert(envelope.correlation_id.clone(), item.connection);
    }
}
