//! Responses that go on: news to one client, for as long as it stays, through the same bounded queue as a WebSocket's.
//!
//! A client that takes them more slowly than they come is cut off, in the middle of the response, so that it cannot take what it has for all there was.
//! How many one address may have is bounded, as each lives long.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use coco_protocol::Feed;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::connections::{Connection, Order};
use super::listener::Shared;
use super::socket::Outgoing;

/// A response's content.
pub(crate) enum Content {
    Whole(Full<Bytes>),
    Fed(Fed),
}

/// See the module's text.
pub(crate) struct Fed {
    pieces: mpsc::Receiver<Bytes>,
    cut: Arc<AtomicBool>,
    /// Given back when the client has gone.
    _held: Box<dyn Any + Send>,
}

/// The client was too slow.
#[derive(Debug, thiserror::Error)]
#[error("the client was cut off")]
pub(crate) struct Cut;

/// How many feeds each address has.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<BTreeMap<IpAddr, usize>>);

/// One of them, until it is dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Place {
    /// `None`: there are as many as there may be.
    pub(crate) fn take(shared: &Arc<Shared>, address: IpAddr) -> Option<Self> {
        let mut feeds = shared.feeds.0.lock();
        let of_address = feeds.get(&address).copied().unwrap_or(0);
        if of_address >= shared.limits.feeds_per_address_max || feeds.values().sum::<usize>() >= shared.limits.feeds_max
        {
            return None;
        }
        feeds.insert(address, of_address + 1);
        Some(Self { shared: Arc::clone(shared), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut feeds = self.shared.feeds.0.lock();
        if let Some(count) = feeds.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                feeds.remove(&self.address);
            }
        }
    }
}

impl Fed {
    /// `first` leaves before anything that the feed sends. `held` is dropped when the response has ended.
    pub(crate) fn start(
        feed: &Feed,
        first: Bytes,
        place: Place,
        connection: Arc<Connection>,
        held: Box<dyn Any + Send>,
    ) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let shared = &place.shared;
        let outgoing = Arc::new(Outgoing::new(&shared.limits, &shared.budget, connection.address()));
        let patience = shared.limits.idle_timeout;
        let source = feed.open(outgoing.clone());
        let cut = Arc::new(AtomicBool::new(false));
        let too_slow = Arc::clone(&cut);
        let run = async move {
            let in_time = tokio::select! {
                in_time = send(&sender, first, &outgoing, patience) => in_time,
                () = sender.closed() => true,
                () = outgoing.overflowed() => false,
                _ = connection.ordered(Order::Continue) => true,
            };
            too_slow.store(!in_time, Ordering::Release);
            outgoing.close();
            drop((sender, source, place));
        };
        tokio::spawn(run);
        Self { pieces, cut, _held: held }
    }
}

/// Until nothing more comes; `false`: the client takes nothing for too long.
async fn send(sender: &mpsc::Sender<Bytes>, first: Bytes, outgoing: &Outgoing, patience: Duration) -> bool {
    let mut next = first;
    loop {
        match tokio::time::timeout(patience, sender.send(next)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return true,
            Err(_) => return false,
        }
        let batch = outgoing.next().await;
        if batch.is_empty() {
            return true;
        }
        next = Bytes::from(batch.concat());
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context).map_err(|never| match never {}),
            Self::Fed(fed) => fed.pieces.poll_recv(context).map(|piece| match piece {
                Some(piece) => Some(Ok(Frame::data(piece))),
                None => fed.cut.load(Ordering::Acquire).then_some(Err(Cut)),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Fed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Fed(_) => SizeHint::default(),
        }
    }
}
