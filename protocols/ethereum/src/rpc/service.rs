//! The face towards the node's listener.

use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{Caller, LedgerHandle, Mount, Reply, Rest, Service, Socket, SocketSession};
use http::{Request, Response};

use super::connection::Connection;
use super::error::RpcError;
use super::http::{allowed_origin, busy, is_too_large, refuse, respond};
use super::reply::render;
use super::server::Server;
use super::{Ledger, Options, sourcify};

/// Ethereum's JSON-RPC on one listener.
pub struct RpcService {
    server: Arc<Server>,
}

impl RpcService {
    pub fn new(ledger: Ledger, handle: Arc<dyn LedgerHandle>, options: Options) -> Self {
        Self { server: Server::new(ledger, handle, options) }
    }
}

impl Service for RpcService {
    fn mount(&self) -> Mount {
        Mount::Listener("ethereum")
    }

    fn takes_batches(&self, path: &str) -> bool {
        !path.starts_with(sourcify::PREFIX)
    }

    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply) {
        if let Some(rest) = self.begin(caller, request, reply) {
            (rest.job)();
        }
    }

    fn begin(&self, caller: Caller, request: Request<Bytes>, reply: Reply) -> Option<Rest> {
        let origin = allowed_origin(&request, &self.server.options);
        match refuse(&request, &self.server.options) {
            Some(response) => {
                reply(response);
                None
            }
            None if request.uri().path().starts_with(sourcify::PREFIX) => {
                sourcify::serve(&self.server, &caller, &request, origin, reply);
                None
            }
            None => {
                let finish = Box::new(move |text| reply(respond(text, origin)));
                self.server.begin(&caller, None, request.body(), finish)
            }
        }
    }

    fn busy(&self) -> Response<Bytes> {
        busy()
    }

    fn tick(&self) {
        self.server.tick();
    }

    fn open_socket(&self, caller: Caller, socket: Arc<dyn Socket>) -> Option<Box<dyn SocketSession>> {
        let connection = Connection::new(caller, self.server.ledger.events.clone(), socket);
        Some(Box::new(Session { server: self.server.clone(), connection }))
    }
}

struct Session {
    server: Arc<Server>,
    connection: Arc<Connection>,
}

impl SocketSession for Session {
    fn message(&mut self, text: &str) {
        if let Some(rest) = self.begin(text) {
            (rest.job)();
        }
    }

    fn begin(&mut self, text: &str) -> Option<Rest> {
        if is_too_large(text.as_bytes()) {
            let error = RpcError::invalid_request("the message is too large");
            self.connection.answer(render("null", Err(error)));
            return None;
        }
        let connection = self.connection.clone();
        let finish = Box::new(move |reply: Option<String>| {
            if let Some(reply) = reply {
                connection.answer(reply);
            }
        });
        self.server.begin(&self.connection.caller, Some(&self.connection), text.as_bytes(), finish)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.close();
    }
}
