//! What a method has at hand: who asks, the state to read, and how long it may take.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use coco_protocol::{Caller, LedgerHandle, Reader};

use super::connection::Connection;
use super::error::RpcError;
use super::limits::{BRIEF_MS_MAX, READ_MS_MAX, TRACE_MS_MAX};
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
    /// Known to take long: nothing of it is done where others wait.
    pub long: bool,
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
    brief: Option<Brief>,
}

/// The end of the time that a message has where others wait, and whether a read was told that it is over.
#[derive(Clone)]
struct Brief {
    ends_ms: u64,
    told: Arc<AtomicBool>,
}

/// The end of the time for one read, by the node's clock.
#[derive(Clone)]
pub struct Deadline {
    handle: Arc<dyn LedgerHandle>,
    ends_ms: u64,
    brief: Option<Brief>,
}

impl Method {
    pub const fn read(name: &'static str, run: fn(&Call<'_>, &Params<'_>) -> Answer) -> Self {
        Self { name, run: Run::Read(run), developer: false, long: false }
    }

    pub const fn later(name: &'static str, run: fn(&Call<'_>, &Params<'_>, Responder)) -> Self {
        Self { name, run: Run::Later(run), developer: false, long: false }
    }

    pub const fn submit(name: &'static str) -> Self {
        Self { name, run: Run::Submit, developer: false, long: false }
    }

    /// The same, but only for developers.
    pub const fn for_developers(self) -> Self {
        Self { developer: true, ..self }
    }

    /// The same, but from its start where nobody waits: for what executes transactions again, and for what computes before it asks others.
    pub const fn long(self) -> Self {
        Self { long: true, ..self }
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
        Self { server, caller, connection, holds, reader: OnceCell::new(), ends_ms, brief: None }
    }

    /// The same where others wait for the thread.
    pub fn briefly(self) -> Self {
        let ends_ms = self.server.handle.now_ms().saturating_add(BRIEF_MS_MAX);
        Self { brief: Some(Brief { ends_ms, told: Arc::default() }), ..self }
    }

    pub fn is_brief(&self) -> bool {
        self.brief.is_some()
    }

    /// Whether a read ended, or did not begin, for want of time that it has elsewhere.
    pub fn was_cut_short(&self) -> bool {
        self.brief.as_ref().is_some_and(|brief| brief.told.load(Ordering::Relaxed))
    }

    /// Goes on with what another one read.
    pub fn reading(self, reader: Option<Reader>) -> Self {
        Self { reader: reader.map(OnceCell::from).unwrap_or_default(), ..self }
    }

    pub fn into_reader(self) -> Option<Reader> {
        self.reader.into_inner()
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
        Deadline { handle, ends_ms, brief: self.brief.clone() }
    }

    /// For traces, which may take longer.
    pub fn trace_deadline(&self) -> Deadline {
        let handle = self.server.handle.clone();
        let ends_ms = handle.now_ms().saturating_add(TRACE_MS_MAX);
        Deadline { handle, ends_ms, brief: self.brief.clone() }
    }

    /// Holds notifications back until the answer of this message has left.
    pub fn hold(&self, connection: &Connection) {
        self.holds.fetch_add(1, Ordering::Relaxed);
        connection.hold();
    }
}

impl Deadline {
    pub fn passed(&self) -> bool {
        let now_ms = self.handle.now_ms();
        match &self.brief {
            Some(brief) if now_ms > brief.ends_ms => {
                brief.told.store(true, Ordering::Relaxed);
                true
            }
            _ => now_ms > self.ends_ms,
        }
    }

    pub fn check(&self) -> Result<(), RpcError> {
        if self.passed() { Err(RpcError::too_slow(READ_MS_MAX)) } else { Ok(()) }
    }
}
