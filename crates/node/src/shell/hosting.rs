//! A ledger's wire API where the network does not host that ledger, or not yet: it says so, whatever it is asked.
//!
//! Every ledger of the node's code is mounted when the node starts, and one that members add is served from its first transaction on.

use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{ApiError, Caller, Mount, Reply, Service, Socket, SocketSession};
use http::{Request, StatusCode};

use crate::handle::Shared;
use crate::members_will::not_hosted;

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
        if self.shared.visible.hosts(self.ledger) {
            return self.inner.call(caller, request, reply);
        }
        reply(ApiError::new(StatusCode::NOT_FOUND, "LedgerNotHosted", not_hosted(self.ledger)).into_response());
    }

    fn tick(&self) {
        self.inner.tick();
    }

    fn open_socket(&self, caller: Caller, socket: Arc<dyn Socket>) -> Option<Box<dyn SocketSession>> {
        if self.shared.visible.hosts(self.ledger) { self.inner.open_socket(caller, socket) } else { None }
    }
}
