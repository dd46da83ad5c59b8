//! Runs the function that answers a request, on a state that somebody else chose.

use std::sync::{Arc, Weak};
use std::time::Instant;

use coco_governance::Failure;
use coco_governance::application::{self, Call, Endpoint, Mode, Past, Positions, RuntimeOptions};
use coco_kv::Tx;
use coco_protocol::{Admitted, Caller, LedgerHandle, Rejection, TransactionStatus};
use coco_types::{Digest, Seqno, TxId, View, WriteSet};
use http::StatusCode;
use parking_lot::Mutex;

use crate::answer::Answer;
use crate::incoming::Incoming;
use crate::pool::refusal;
use crate::{Ran, Random, authorize, past};

/// See the module's text.
pub struct Runner {
    random: Random,
    handle: Arc<Mutex<Option<Weak<dyn LedgerHandle>>>>,
}

/// What a request is run with.
struct Run<'a> {
    incoming: &'a Incoming,
    caller: &'a Caller,
    writes: bool,
    now_ms: u64,
    past: Option<Past>,
}

/// What came of it.
struct Called {
    answer: Answer,
    applies: bool,
    claims: Option<Digest>,
}

impl Runner {
    pub fn new(random: Random, handle: Arc<Mutex<Option<Weak<dyn LedgerHandle>>>>) -> Self {
        Self { random, handle }
    }

    /// On the primary: what is to be written, and what is to be answered once it is.
    pub fn write(&self, tx: Tx, admitted: &Admitted, now_ms: u64) -> (Tx, Result<Ran, Rejection>) {
        let incoming: &Incoming = admitted.decoded().expect("admitted by this protocol");
        let run = Run { incoming, caller: &admitted.caller, writes: true, now_ms, past: None };
        let (tx, called) = self.run(tx, run);
        let ran = called.map(|Called { answer, applies, claims }| {
            let writes = if applies { tx.writes().clone() } else { WriteSet::new() };
            let claims = Ran::claims(&incoming.target(), answer.body(), claims);
            Ran { answer: answer.encode(), writes, claims }
        });
        (tx, ran.map_err(|answer| refusal(&answer, "the application does not take this request now")))
    }

    /// Anywhere. What it writes goes nowhere, and it may not try.
    pub fn read(&self, tx: Tx, incoming: &Incoming, caller: &Caller, now_ms: u64, past: Option<Past>) -> Answer {
        let (_, called) = self.run(tx, Run { incoming, caller, writes: false, now_ms, past });
        called.map_or_else(|refused| refused, |called| called.answer)
    }

    /// An error is an answer too, of a request for which no function was called.
    fn run(&self, mut tx: Tx, run: Run<'_>) -> (Tx, Result<Called, Answer>) {
        let head = &run.incoming.head;
        let found = Endpoint::read(&mut tx, &head.method, &head.route).map_err(|error| Answer::unreadable(&error));
        // The members may have installed something else since the request was sent on.
        let endpoint = found.and_then(|endpoint| {
            let endpoint = endpoint.filter(|endpoint| (endpoint.mode == Mode::ReadWrite) == run.writes);
            endpoint.ok_or_else(|| Answer::not_found(&head.path))
        });
        let prepared = endpoint.and_then(|endpoint| {
            let caller = authorize::caller_of(&endpoint, run.caller, &head.proofs, &mut tx)?;
            let options = RuntimeOptions::read(&mut tx).map_err(|error| Answer::unreadable(&error))?;
            Ok((endpoint, caller, options))
        });
        match prepared {
            Ok((endpoint, caller, options)) => {
                let (tx, called) = self.call(tx, &endpoint, &caller, options, run);
                (tx, Ok(called))
            }
            Err(refused) => (tx, Err(refused)),
        }
    }

    fn call(
        &self,
        tx: Tx,
        endpoint: &Endpoint,
        caller: &serde_json::Value,
        options: RuntimeOptions,
        run: Run<'_>,
    ) -> (Tx, Called) {
        let mut seed = [0; 32];
        (self.random)(&mut seed);
        let began = Instant::now();
        let call = Call {
            module: endpoint.js_module.clone(),
            function: endpoint.js_function.clone(),
            writes: run.writes,
            request: run.incoming.object(caller),
            body: run.incoming.body.clone(),
            options,
            now_ms: run.now_ms,
            seed,
            positions: self.positions(),
            past: run.past,
            history: self.history(run.caller),
            clock: Some(Box::new(move || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))),
        };
        let (tx, called) = application::call(tx, call);
        let target = run.incoming.target();
        if options.log_exception_details {
            called.console.iter().for_each(|line| tracing::info!(target, line, "the application says"));
        }
        let called = called.answered.and_then(|reaction| match Answer::of(&reaction) {
            Ok(answer) => Ok(Called { answer, applies: reaction.applies, claims: reaction.claims }),
            Err(problem) => Err(Failure::of(problem)),
        });
        let thrown = |failure: Failure| {
            if options.log_exception_details {
                tracing::warn!(target, ?failure, "the application threw");
            }
            Called { answer: Answer::thrown(&failure, &options), applies: false, claims: None }
        };
        (tx, called.unwrap_or_else(thrown))
    }

    fn history(&self, caller: &Caller) -> Box<dyn Fn(Seqno) -> Option<Past>> {
        let (handle, caller) = (self.node(), caller.clone());
        Box::new(move |seqno| past::at(seqno, &caller, &**handle.as_ref()?))
    }

    fn node(&self) -> Option<Arc<dyn LedgerHandle>> {
        self.handle.lock().as_ref().and_then(Weak::upgrade)
    }

    fn positions(&self) -> Positions {
        let handle = self.node();
        let (of_status, of_view) = (handle.clone(), handle.clone());
        let nowhere = TxId::new(View(0), Seqno(0));
        Positions {
            committed: Box::new(move || handle.as_ref().map_or(nowhere, |handle| handle.status().committed)),
            status: Box::new(move |txid| {
                of_status.as_ref().map_or("Unknown", |handle| status_name(handle.transaction_status(txid)))
            }),
            view_of: Box::new(move |seqno| of_view.as_ref().and_then(|handle| handle.view_of(seqno))),
        }
    }
}

pub fn status_name(status: TransactionStatus) -> &'static str {
    match status {
        TransactionStatus::Unknown => "Unknown",
        TransactionStatus::Pending => "Pending",
        TransactionStatus::Committed => "Committed",
        TransactionStatus::Invalid => "Invalid",
    }
}

/// The answer to whom the node has no time for.
pub fn busy() -> Answer {
    let message = "too many requests to the application are waiting: try again later";
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, "TooManyPendingTransactions", message, &[])
}
