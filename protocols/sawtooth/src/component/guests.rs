//! The primary's half of the relay: processors that are connected to backups, as if they were connected here. See [`super::relay`].

use crate::limits::{GUEST_CONNECTIONS_MAX, GUEST_LINKS_MAX, GUESTS_GONE_MS, HANDED_BYTES_MAX, POLL_HELD_MS};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;

use super::dispatch::{Answers, Outbox};
use super::processors::{ConnectionId, Processors};
use super::serving::Serving;
use crate::messages::Envelope;
use crate::messages::processor::TpRegisterRequest;
use crate::messages::relay::{Handed, Item, Offer, Poll, Relayed, Said};

type Reply = Box<dyn FnOnce(Bytes) + Send>;

/// See the module's text.
pub struct Guests {
    processors: Arc<Processors>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    links: BTreeMap<String, Link>,
    now_ms: u64,
}

/// A backup.
struct Link {
    /// Number of its newest poll.
    poll: u64,
    heard_ms: u64,
    guests: BTreeMap<u64, Guest>,
    way: Arc<Way>,
}

struct Guest {
    id: ConnectionId,
    families: Vec<TpRegisterRequest>,
}

/// What is for a backup's processors, until it asks for it.
#[derive(Default)]
struct Way(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    poll: Option<Reply>,
}

/// The way to one of them.
struct GuestOutbox {
    way: Arc<Way>,
    connection: u64,
}

impl Guests {
    pub fn new(processors: Arc<Processors>) -> Self {
        Self { processors, inner: Mutex::default() }
    }

    /// A message of a backup. One that does not decode gets no answer.
    pub fn relayed(&self, message: Bytes, reply: Reply) {
        match Relayed::decode(message) {
            Ok(Relayed { link, poll: Some(poll), said: None }) => self.polled(link, poll, reply),
            Ok(Relayed { link, poll: None, said: Some(said) }) => self.said(&link, said, reply),
            _ => tracing::warn!("a backup relays what does not decode"),
        }
    }

    /// Time passes, here and for all processors: a poll is not held for long, and a backup that no longer polls is gone.
    pub fn tick(&self, now_ms: u64) {
        let mut inner = self.inner.lock();
        inner.now_ms = inner.now_ms.max(now_ms);
        for link in inner.links.values().filter(|link| link.heard_ms + POLL_HELD_MS <= now_ms) {
            link.way.answer_anyway();
        }
        let is_gone = |link: &Link| link.heard_ms + GUESTS_GONE_MS <= now_ms;
        let gone: Vec<_> = inner.links.extract_if(.., |_, link| is_gone(link)).collect();
        for guest in gone.iter().flat_map(|(_, link)| link.guests.values()) {
            self.processors.disconnect(guest.id);
        }
        drop(inner);
        self.processors.tick(now_ms);
    }

    fn polled(&self, name: String, poll: Poll, reply: Reply) {
        let mut inner = self.inner.lock();
        let now_ms = inner.now_ms;
        if inner.links.len() >= GUEST_LINKS_MAX && !inner.links.contains_key(&name) {
            return;
        }
        let (way, guests) = (Arc::default(), BTreeMap::new());
        let link = inner.links.entry(name).or_insert(Link { poll: 0, heard_ms: now_ms, guests, way });
        if poll.number <= link.poll {
            return reply(Handed::default().bytes());
        }
        (link.poll, link.heard_ms) = (poll.number, now_ms);
        link.take_in(&self.processors, poll.offers);
        link.guests.values().for_each(|guest| self.processors.heard(guest.id));
        link.way.polled(reply);
    }

    fn said(&self, name: &str, said: Said, reply: Reply) {
        let Said { connection, envelope: Some(envelope) } = said else { return };
        let id = {
            let inner = self.inner.lock();
            let guest = inner.links.get(name).and_then(|link| link.guests.get(&connection));
            guest.map(|guest| guest.id)
        };
        // Without an answer the backup says itself that the context has ended.
        let Some(id) = id else { return };
        self.processors.heard(id);
        let answers = Arc::new(Answers::default());
        Serving { processors: Arc::clone(&self.processors), id, outbox: answers.clone() }.serve(&envelope);
        let item = |envelope| Item { connection, envelope: Some(envelope) };
        reply(Handed { items: answers.take().into_iter().map(item).collect() }.bytes());
    }
}

impl Link {
    /// Those who came register here; those who left are gone here too.
    fn take_in(&mut self, processors: &Processors, offers: Vec<Offer>) {
        let offered: BTreeMap<u64, Offer> =
            offers.into_iter().take(GUEST_CONNECTIONS_MAX).map(|offer| (offer.connection, offer)).collect();
        for (_, guest) in self.guests.extract_if(.., |connection, _| !offered.contains_key(connection)) {
            processors.disconnect(guest.id);
        }
        for (connection, Offer { families, attested, .. }) in offered {
            let way = Arc::clone(&self.way);
            let guest = self.guests.entry(connection).or_insert_with(|| {
                let id = processors.connect_guest(Arc::new(GuestOutbox { way, connection }), attested);
                Guest { id, families: Vec::new() }
            });
            if guest.families == families {
                continue;
            }
            if guest.families.iter().any(|family| !families.contains(family)) {
                processors.unregister(guest.id);
                guest.families.clear();
            }
            for family in families.iter().filter(|family| !guest.families.contains(family)) {
                processors.register(guest.id, family, |_| {});
            }
            guest.families = families;
        }
    }
}

impl Way {
    fn push(&self, item: Item) {
        let mut waiting = self.0.lock();
        waiting.items.push_back(item);
        waiting.answer_poll();
    }

    fn polled(&self, reply: Reply) {
        let mut waiting = self.0.lock();
        if let Some(earlier) = waiting.poll.replace(reply) {
            earlier(Handed::default().bytes());
        }
        if !waiting.items.is_empty() {
            waiting.answer_poll();
        }
    }

    fn answer_anyway(&self) {
        self.0.lock().answer_poll();
    }
}

impl Waiting {
    fn answer_poll(&mut self) {
        let Some(reply) = self.poll.take() else { return };
        let (mut items, mut bytes) = (Vec::new(), 0);
        while let Some(item) = self.items.pop_front_if(|item| bytes == 0 || bytes + item.bytes() <= HANDED_BYTES_MAX) {
            bytes += item.bytes();
            items.push(item);
        }
        reply(Handed { items }.bytes());
    }
}

impl Outbox for GuestOutbox {
    fn send(&self, envelope: &Envelope) -> bool {
        self.way.push(Item { connection: self.connection, envelope: Some(envelope.clone()) });
        true
    }
}
