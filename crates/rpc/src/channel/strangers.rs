//! Connections whose other end has not shown yet that it is a node: a few places, of which one address has fewer. Who comes when they are taken has
//! the oldest make way.
//!
//! A node's handshake takes milliseconds: it is through before it is the oldest. Were the newest refused instead, whoever holds the places with
//! connections that say nothing would keep every node out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coco_types::limits;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Strangers {
    waiting: Mutex<Waiting>,
    refusals: Mutex<Refusals>,
}

/// One of them, until it is dropped.
pub(crate) struct Stranger {
    id: u64,
    all: Arc<Strangers>,
    leave: Arc<Notify>,
}

#[derive(Default)]
struct Waiting {
    last_id: u64,
    /// The oldest first.
    places: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
}

/// Strangers may be refused as often as they like; the log's disk is not theirs to fill.
#[derive(Default)]
struct Refusals {
    told: Option<Instant>,
    untold: u64,
}

impl Strangers {
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Stranger {
        let leave = Arc::new(Notify::new());
        let mut waiting = self.waiting.lock();
        waiting.make_way(address);
        waiting.last_id += 1;
        let id = waiting.last_id;
        waiting.places.insert(id, (address, Arc::clone(&leave)));
        Stranger { id, all: Arc::clone(self), leave }
    }

    /// Says so in the log, or counts it for the next time.
    pub(crate) fn refused(&self, address: SocketAddr, error: &io::Error) {
        if let Some(count) = self.refusals.lock().due(Instant::now()) {
            tracing::warn!(%address, %error, count, "connections ended before they were a node's; this one last");
        }
    }
}

impl Stranger {
    /// Waits until it has to make way for others.
    pub(crate) async fn made_way(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.all.waiting.lock().places.remove(&self.id);
    }
}

impl Waiting {
    /// For one more of this address.
    fn make_way(&mut self, address: IpAddr) {
        let places = self.places.iter();
        let of_address: Vec<u64> = places.filter(|(_, (from, _))| *from == address).map(|(id, _)| *id).collect();
        let leaving = if of_address.len() >= limits::CHANNEL_STRANGERS_PER_ADDRESS_MAX {
            of_address.first().copied()
        } else if self.places.len() >= limits::CHANNEL_STRANGERS_MAX {
            self.places.keys().next().copied()
        } else {
            None
        };
        // Its place is free from now on; its own task ends it.
        if let Some((_, leave)) = leaving.and_then(|id| self.places.remove(&id)) {
            leave.notify_one();
        }
    }
}

impl Refusals {
    /// How many to tell of, this one included, unless some were told of a moment ago.
    fn due(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        let pause = Duration::from_millis(limits::CHANNEL_STRANGERS_TOLD_MS);
        if self.told.is_some_and(|told| now.duration_since(told) < pause) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    /// Which of them have to leave, by their places in the list.
    fn leaving(strangers: &[Stranger]) -> Vec<usize> {
        let mut context = Context::from_waker(Waker::noop());
        let mut has_to_leave = |stranger: &Stranger| pin!(stranger.made_way()).poll(&mut context).is_ready();
        strangers.iter().enumerate().filter_map(|(index, one)| has_to_leave(one).then_some(index)).collect()
    }

    #[test]
    fn who_comes_when_every_place_is_taken_has_the_oldest_make_way() {
        let all = Arc::new(Strangers::default());
        let many = u8::try_from(limits::CHANNEL_STRANGERS_MAX).expect("few");
        let mut here: Vec<_> = (0..many).map(|last| all.admit(address(last))).collect();
        assert!(leaving(&here).is_empty());
        here.push(all.admit(address(many)));
        assert_eq!(leaving(&here), [0]);
        assert_eq!(all.waiting.lock().places.len(), limits::CHANNEL_STRANGERS_MAX);
        drop(here.pop());
        here.push(all.admit(address(many)));
        assert!(leaving(&here).is_empty(), "a node that has said hello leaves its place to another");
        drop(here);
        assert!(all.waiting.lock().places.is_empty());
    }

    #[test]
    fn an_address_that_has_all_its_places_takes_none_of_the_others() {
        let all = Arc::new(Strangers::default());
        let mut here = vec![all.admit(address(1))];
        here.extend((0..limits::CHANNEL_STRANGERS_PER_ADDRESS_MAX).map(|_| all.admit(address(2))));
        assert!(leaving(&here).is_empty());
        here.extend([all.admit(address(2)), all.admit(address(3))]);
        assert_eq!(leaving(&here), [1], "its own oldest, and not the oldest of all");
    }

    #[test]
    fn refusals_are_told_of_once_in_a_while_with_their_number() {
        let (mut refusals, began) = (Refusals::default(), Instant::now());
        let pause = Duration::from_millis(limits::CHANNEL_STRANGERS_TOLD_MS);
        let mut due = |after| refusals.due(began + after);
        assert_eq!(due(Duration::ZERO), Some(1));
        assert_eq!(due(pause / 2), None);
        assert_eq!(due(pause / 2), None);
        assert_eq!(due(pause), Some(3));
        assert_eq!(due(pause), None);
    }
}
