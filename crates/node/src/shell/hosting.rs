//! A ledger's wire APIs where the network does not host that ledger, not yet or no more: they say so, whatever they are asked.
//!
//! Every ledger of the node's code is mounted when the node starts, and one that members add is served from its first transaction on. One that they remove
//! is served no more from the transaction that removes it: who is connected is sent away with what it says next.

use std::sync::Arc;

use bytes::Bytes;
use coco_governance::{not_hosted, tables};
use coco_protocol::{
    ApiError, Caller, ChannelBinding, Mount, Reply, Rest, Service, Socket, SocketSession, Standing, Stream,
    StreamEnded, StreamService, StreamSession,
};
use http::{Request, Response, StatusCode};

use crate::handle::Shared;

/// See the module's text.
pub struct IfHosted {
    pub ledger: &'static str,
    pub shared: Arc<Shared>,
    pub inner: Arc<dyn Service>,
}

impl Service for IfHosted {
    fn mount(&self) -> Mount {
        self.inner.mount()
    }

    fn body_bytes_max(&self) -> Option<usize> {
        self.inner.body_bytes_max()
    }

    fn takes_batches(&self, path: &str) -> bool {
        self.inner.takes_batches(path)
    }

    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply) {
        if let Some(rest) = self.begin(caller, request, reply) {
            (rest.job)();
        }
    }

    fn begin(&self, caller: Caller, request: Request<Bytes>, reply: Reply) -> Option<Rest> {
        if self.shared.visible.hosts(self.ledger) {
            return self.inner.begin(caller, request, reply);
        }
        let why = not_hosted(&mut self.shared.visible.state(), self.ledger);
        reply(ApiError::new(StatusCode::NOT_FOUND, "LedgerNotHosted", why).into_response());
        None
    }

    fn busy(&self) -> Response<Bytes> {
        self.inner.busy()
    }

    fn tick(&self) {
        self.inner.tick();
    }

    fn open_socket(&self, caller: Caller, socket: Arc<dyn Socket>) -> Option<Box<dyn SocketSession>> {
        if !self.shared.visible.hosts(self.ledger) {
            return None;
        }
        let inner = self.inner.open_socket(caller, socket.clone())?;
        Some(Box::new(SocketIfHosted { ledger: self.ledger, shared: self.shared.clone(), socket, inner }))
    }
}

struct SocketIfHosted {
    ledger: &'static str,
    shared: Arc<Shared>,
    socket: Arc<dyn Socket>,
    inner: Box<dyn SocketSession>,
}

impl SocketSession for SocketIfHosted {
    fn message(&mut self, text: &str) {
        if let Some(rest) = self.begin(text) {
            (rest.job)();
        }
    }

    fn begin(&mut self, text: &str) -> Option<Rest> {
        if self.shared.visible.hosts(self.ledger) {
            return self.inner.begin(text);
        }
        self.socket.finish();
        None
    }
}

/// The same of a wire API that is no HTTP. Its programs may connect before the ledger is there: they are sent away only once it is removed.
pub struct StreamUnlessRemoved {
    pub ledger: &'static str,
    pub shared: Arc<Shared>,
    pub inner: Arc<dyn StreamService>,
}

impl StreamService for StreamUnlessRemoved {
    fn listener(&self) -> &'static str {
        self.inner.listener()
    }

    fn is_secured(&self) -> bool {
        self.inner.is_secured()
    }

    fn open(&self, stream: Arc<dyn Stream>, binding: Option<ChannelBinding>) -> Box<dyn StreamSession> {
        let inner = self.inner.open(stream, binding);
        Box::new(SessionUnlessRemoved { ledger: self.ledger, shared: self.shared.clone(), inner })
    }

    fn tick(&self) {
        self.inner.tick();
    }
}

struct SessionUnlessRemoved {
    ledger: &'static str,
    shared: Arc<Shared>,
    inner: Box<dyn StreamSession>,
}

impl StreamSession for SessionUnlessRemoved {
    fn received(&mut self, bytes: &[u8]) -> Result<(), StreamEnded> {
        let visible = &self.shared.visible;
        if !visible.hosts(self.ledger) {
            let mut state = visible.state();
            if state.get(&tables::REMOVED_LEDGERS, self.ledger.as_bytes()).is_some() {
                return Err(StreamEnded(not_hosted(&mut state, self.ledger)));
            }
        }
        self.inner.received(bytes)
    }

    fn has_more(&self) -> bool {
        self.inner.has_more()
    }

    fn held_bytes(&self) -> usize {
        self.inner.held_bytes()
    }

    fn standing(&self) -> Standing {
        self.inner.standing()
    }
}
