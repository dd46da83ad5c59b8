//! Channels between nodes: mutual TLS 1.3 between holders of certificates that the service issued.
//!
//! ```text
//!   A dials B:  A ── Hello, Raft, Request ──▶ B          B dials A in the same way, so each direction has
//!               A ◀── Hello, Response ─────── B          a connection of its own.
//! ```
//!
//! Consensus messages may be lost, and are, where a queue is full or a peer is away. A request ends in exactly one answer:
//! the peer's, or none. Urgent messages (heartbeats, votes) never wait behind large ones: those travel in parts.
//!
//! Who may be a peer is decided twice: TLS demands a certificate of the service, and the owner is asked about the node in it.
//! A node without such a certificate joins over the HTTPS API.

mod accept;
mod frame;
mod lanes;
mod peer;
mod strangers;
mod trust;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_types::{NodeId, ReplicaId};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Error;
use crate::serve::bind;
use crate::tls::Identity;
use peer::Peer;
use trust::ServiceTrust;

pub use frame::{Frame, FrameError, Hello};
pub use lanes::Lane;
pub use trust::Trusted;

/// What a node does with what its peers send. Called on threads of the channels; must not block.
pub trait Inbound: Send + Sync {
    /// Whether this node, whose certificate the service issued, may be this replica's channel.
    fn admits(&self, node: NodeId, hello: Hello) -> bool;

    fn raft(&self, from: ReplicaId, message: Bytes);

    /// May compute. Dropping `respond` answers that there is no answer.
    fn request(&self, from: ReplicaId, kind: u16, body: Bytes, respond: Respond);
}

/// The way back for one response.
pub type Respond = Box<dyn FnOnce(Bytes) + Send>;

/// The end of a request: the answer, or why there will be none.
pub type Answer = Box<dyn FnOnce(Result<Bytes, NoAnswer>) + Send>;

/// What the peer may have done with a request that it did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nothing: it never left.
    NotSent,
    /// Anything: the time was up, the connection broke, or the peer declined to answer.
    Lost,
}

/// How the connection to a peer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not yet, or not any more; with the reason of the last failure.
    Down(String),
    Up,
}

/// All channels of one node. Usable from any thread; dropping it closes them.
pub struct Channels {
    runtime: Handle,
    address: SocketAddr,
    shared: Arc<Shared>,
    peers: Mutex<BTreeMap<ReplicaId, Arc<Peer>>>,
    accepting: AbortHandle,
    trust: Arc<ServiceTrust>,
}

/// What all connections share.
pub(crate) struct Shared {
    own: Hello,
    inbound: Arc<dyn Inbound>,
    connector: TlsConnector,
    links: watch::Sender<BTreeMap<ReplicaId, Link>>,
    /// Ends the connection that a replica dialled to this node; each replica has one.
    accepted: Mutex<BTreeMap<ReplicaId, Arc<Notify>>>,
}

impl Channels {
    /// Listens for other nodes.
    pub fn start(
        runtime: &Handle,
        address: SocketAddr,
        identity: Arc<Identity>,
        trusted: Trusted,
        own: Hello,
        inbound: Arc<dyn Inbound>,
    ) -> Result<Self, Error> {
        let _in_runtime = runtime.enter();
        let (socket, address) = bind(address).map_err(|source| Error::Listen { address, source })?;
        let trust = ServiceTrust::new(trusted);
        let acceptor = TlsAcceptor::from(trust.server_config(Arc::clone(&identity))?);
        let connector = TlsConnector::from(trust.client_config(identity)?);
        let shared =
            Arc::new(Shared { own, inbound, connector, links: watch::Sender::default(), accepted: Mutex::default() });
        let accepting = runtime.spawn(accept::accept(socket, acceptor, Arc::clone(&shared))).abort_handle();
        Ok(Self { runtime: runtime.clone(), address, shared, peers: Mutex::default(), accepting, trust })
    }

    /// The address it is bound to, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Keeps connections to exactly these from now on, and to none of itself.
    pub fn set_peers(&self, addresses: &BTreeMap<ReplicaId, SocketAddr>) {
        let mut peers = self.peers.lock();
        peers.retain(|id, peer| {
            let keep = addresses.get(id) == Some(&peer.address());
            if !keep {
                peer.close();
                self.shared.links.send_modify(|links| drop(links.remove(id)));
            }
            keep
        });
        for (id, address) in addresses {
            if *id != self.shared.own.replica && !peers.contains_key(id) {
                peers.insert(*id, Peer::start(&self.runtime, *id, *address, Arc::clone(&self.shared)));
            }
        }
    }

    /// Ends the connection that a replica dialled to this node. It may come back, unless [`Inbound::admits`] says no by now.
    pub fn disconnect(&self, replica: ReplicaId) {
        if let Some(connection) = self.shared.accepted.lock().get(&replica) {
            connection.notify_one();
        }
    }

    /// Trusts another certificate of the service from now on, for new connections: it was renewed, or its key rotated. The node's
    /// own certificate is replaced in its [`Identity`].
    pub fn trust(&self, trusted: Trusted) {
        self.trust.replace(trusted);
    }

    /// Never blocks. Lost if the peer is away; if its queue is full, the oldest message of the lane is.
    pub fn send_raft(&self, to: ReplicaId, lane: Lane, message: Bytes) {
        if let Some(peer) = self.peer(to) {
            peer.send_raft(lane, message);
        }
    }

    /// Never blocks. Without an answer in time, `reply` is told so.
    pub fn request(&self, to: ReplicaId, kind: u16, body: Bytes, timeout: Duration, reply: Answer) {
        match self.peer(to) {
            Some(peer) => peer.request(kind, body, timeout, reply),
            None => reply(Err(NoAnswer::NotSent)),
        }
    }

    /// How the connections that this node dialled stand; changes can be awaited.
    pub fn links(&self) -> watch::Receiver<BTreeMap<ReplicaId, Link>> {
        self.shared.links.subscribe()
    }

    fn peer(&self, id: ReplicaId) -> Option<Arc<Peer>> {
        self.peers.lock().get(&id).cloned()
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.accepting.abort();
        for peer in std::mem::take(&mut *self.peers.lock()).values() {
            peer.close();
        }
    }
}
