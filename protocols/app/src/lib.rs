//! Applications in JavaScript that the members install by vote, as CCF has them, below `/app`.
//!
//! ```text
//!   request ──▶ Service: route, policy ──▶ read-only: run here, on what is committed ──────────────────────▶ answer
//!                                     └──▶ writing: a submission ──▶ Pool ──▶ prepare: run beside the executor, on the newest state
//!                                                                     ▲           │ what it read, what it wrote, its answer
//!                                                                     └ run again ┴▶ execute: what it read still holds ──▶ answer, once committed
//! ```
//!
//! One request that may write is one ledger transaction, whatever it answers: nobody is told anything that is not committed, and each answer
//! has a receipt. A function runs on threads of its own, so that one that loops holds up its own application at most, for as long as
//! the members allow.
//!
//! All state is in maps: what members install in those of governance (`coco_governance::application`), what applications store in
//! `app.<name>`, or under its own name where that begins with `public:`. Deliberately absent: compiled modules that are kept, interpreters
//! that are used again, and anything that one call could leave for the next besides rows.

mod answer;
mod authorize;
mod builtin;
mod incoming;
mod past;
mod pool;
mod route;
mod run;
mod service;
mod workers;

use std::sync::{Arc, Weak};

use bytes::Bytes;
use coco_crypto::sha256;
use coco_kv::Tx;
use coco_protocol::{
    Admitted, Caller, Claims, Context, Job, LedgerHandle, Outcome, Pool, Protocol, Rejection, Service,
};
use coco_types::WriteSet;
use parking_lot::Mutex;

use incoming::Incoming;
use run::Runner;
use workers::Crew;

pub use workers::Workers;

/// The ledger's name.
pub const NAME: &str = "app";
/// Requests that run at a time on one node: of those that may write, and of all others.
pub const THREADS: usize = 4;

/// Where randomness comes from.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// The ledger.
pub struct App {
    runner: Arc<Runner>,
    writing: Crew,
    reading: Crew,
    /// This node, once it serves.
    handle: Arc<Mutex<Option<Weak<dyn LedgerHandle>>>>,
}

/// How a prepared request ended.
pub(crate) struct Ran {
    /// Encoded.
    answer: Bytes,
    /// What is to be written: nothing if it failed.
    writes: WriteSet,
    claims: Claims,
}

impl App {
    pub fn new(random: Random, workers: Workers) -> Self {
        let handle = Arc::new(Mutex::new(None));
        let runner = Arc::new(Runner::new(random, handle.clone()));
        Self { runner, writing: workers.crew("write"), reading: workers.crew("read"), handle }
    }
}

impl Protocol for App {
    fn name(&self) -> &'static str {
        NAME
    }

    fn admit(&self, submission: Bytes, caller: &Caller) -> Result<Admitted, Rejection> {
        let incoming = Incoming::decode(&submission)?;
        Ok(Admitted {
            id: incoming.number.clone(),
            raw: submission,
            finding: Bytes::new(),
            caller: caller.clone(),
            decoded: Arc::new(incoming),
        })
    }

    fn pool(&self) -> Box<dyn Pool> {
        Box::<pool::Requests>::default()
    }

    fn prepare(&self, admitted: &Admitted, mut job: Job) {
        let (admitted, runner) = (admitted.clone(), self.runner.clone());
        self.writing.give(move || {
            let now_ms = job.now_ms();
            let ran = job.lend(|tx| runner.write(tx, &admitted, now_ms));
            job.finish(Box::new(ran));
        });
    }

    fn execute(&self, tx: &mut Tx, _admitted: &Admitted, context: &Context<'_>) -> Result<Outcome, Rejection> {
        let ran = context.prepared::<Result<Ran, Rejection>>().ok_or_else(pool::contended)?;
        let Ran { answer, writes, claims } = ran.as_ref().map_err(Clone::clone)?;
        for (map, rows) in writes.iter() {
            for (key, value) in rows {
                match value {
                    Some(value) => tx.put(map, key.clone(), value.clone()),
                    None => tx.remove(map, key),
                }
            }
        }
        Ok(Outcome { claims: Some(claims.clone()), response: answer.clone() })
    }

    fn serve(self: Arc<Self>, handle: Arc<dyn LedgerHandle>) -> Arc<dyn Service> {
        *self.handle.lock() = Some(Arc::downgrade(&handle));
        Arc::new(service::AppService::new(self, handle))
    }
}

impl Ran {
    /// The receipt binds which request was answered and, unless the function chose something else, with what.
    fn claims(target: &str, answered: &[u8], chosen: Option<coco_types::Digest>) -> Claims {
        let result = chosen.unwrap_or_else(|| sha256(answered));
        Claims {
            protocol: NAME,
            kind: "request",
            id: Bytes::copy_from_slice(target.as_bytes()),
            result,
            container: None,
        }
    }
}
