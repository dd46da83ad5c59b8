//! What a method has at hand: who asks, the state to read, and how long it may take.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coco_protocol::{Caller, LedgerHandle, Reader};

use super::connection::Connection;
use super::error::RpcError;
use super::limits::{READ_MS_MAX, TRACE_MS_MAX};
use super::params::Params;
use super::reply::{Answer, Responder};
use super::server::Server;
use super::view::ChainView;

/// One method of the API. Every file of a namespace ends in a table of these.
pub struct Method {
    pub name: &'static str,
    pub run: Run,
    /// Only with developer options: the node holds keys, or changes history.
    pub developer: bool,
}

/// How a method is run.
#[derive(Clone, Copy)]
pub enum Run {
    /// Answers at once, from committed state.
    Read(fn(&Call<'_>, &Params<'_>) -> Answer),
    /// Answers when another part of the network has answered.
    Later(fn(&Call<'_>, &Params<'_>, Responder)),
    /// Hands a signed transaction in; the submissions of one batch travel together.
    Submit,
}

/// One message being served.
pub struct Call<'a> {
    pub server: &'a Arc<Server>,
    pub caller: &'a Caller,
    /// Where subscriptions go; `None` over plain HTTP.
    pub connection: Option<&'a Arc<Connection>>,
    /// Subscriptions made by this message: their notifications wait until its answer has left.
    pub holds: &'a AtomicUsize,
    reader: OnceCell<Reader>,
    ends_ms: u64,
}

/// The end of the time for one read, by the node's clock.
#[derive(Clone)]
pub struct Deadline {
    handle: Arc<dyn LedgerHandle>,
    ends_ms: u64,
}

impl Method {
    pub const fn read(name: &'static str, run: fn(&Call<'_>, &Params<'_>) -> Answer) -> Self {
        Self { name, run: Run::Read(run), developer: false }
    }

    pub const fn later(name: &'static str, run: fn(&Call<'_>, &Params<'_>, Responder)) -> Self {
        Self { name, run: Run::Later(run), developer: false }
    }

    pub const fn submit(name: &'static str) -> Self {
        Self { name, run: Run::Submit, developer: false }
    }

    /// The same, but only for developers.
    pub const fn for_developers(self) -> Self {
        Self { name: self.name, run: self.run, developer: true }
    }
}

impl<'a> Call<'a> {
    /// `budget_ms`: what all reads of this message may take together.
    pub fn new(
        server: &'a Arc<Server>,
        caller: &'a Caller,
        connection: Option<&'a Arc<Connection>>,
        holds: &'a AtomicUsize,
        budget_ms: u64,
    ) -> Self {
        let ends_ms = server.handle.now_ms().saturating_add(budget_ms);
        Self { server, caller, connection, holds, reader: OnceCell::new(), ends_ms }
    }

    /// Committed state, the same version for all requests of a message.
    pub fn reader(&self) -> &Reader {
        self.reader.get_or_init(|| self.server.handle.reader(self.caller))
    }

    pub fn chain(&self) -> ChainView<'_> {
        ChainView::new(self.server, self.reader())
    }

    /// For a read that starts now.
    pub fn deadline(&self) -> Deadline {
        let handle = self.server.handle.clone();
        let ends_ms = handle.now_ms().saturating_add(READ_MS_MAX).min(self.ends_ms);
        Deadline { handle, ends_ms }
    }

    /// For traces, which may take longer.
    pub fn trace_deadline(&self) -> Deadline {
        let handle = self.server.handle.clone();
        let ends_ms = handle.now_ms().saturating_add(TRACE_MS_MAX);
        Deadline { handle, ends_ms }
    }

    /// Holds notifications back until the answer of this message has left.
    pub fn hold(&self, connection: &Connection) {
        self.holds.fetch_add(1, Ordering::Relaxed);
        connection.hold();
    }
}

impl Deadline {
    pub fn passed(&self) -> bool {
        self.handle.now_ms() > self.ends_ms
    }

    pub fn check(&self) -> Result<(), RpcError> {
        if self.passed() { Err(RpcError::too_slow(READ_MS_MAX)) } else { Ok(()) }
    }
}
