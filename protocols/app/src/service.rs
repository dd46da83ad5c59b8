//! The HTTP side: which endpoint a request means, who may call it, and where it is run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use coco_governance::application::{self, Endpoint, Mode};
use coco_governance::{ServiceInfo, ServiceStatus};
use coco_kv::Snapshot;
use coco_protocol::{
    Caller, Idempotent, LedgerHandle, Mount, Protocol, Reader, Reply, Service, Subject, Submitted, Until, answer_to,
};
use coco_types::TxId;
use coco_types::limits::APP_REQUESTS_MAX;
use http::header::{ALLOW, HeaderValue};
use http::{Request, Response, StatusCode};

use crate::answer::Answer;
use crate::incoming::Incoming;
use crate::route::{self, Params, Route};
use crate::run::busy;
use crate::{App, NAME, authorize, builtin, past};

const PATH: &str = "/app";

pub struct AppService {
    app: Arc<App>,
    handle: Arc<dyn LedgerHandle>,
    /// Starts at this node's clock, far above what an earlier life of it can have counted to.
    requests: AtomicU64,
    /// Reads that run, or wait to.
    reading: Arc<AtomicUsize>,
}

impl Service for AppService {
    /// What other services answer below it is theirs: they are mounted more precisely.
    fn mount(&self) -> Mount {
        Mount::Path(PATH)
    }

    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply) {
        let reader = self.handle.reader(&caller);
        let (mut state, path) = (reader.state().clone(), request.uri().path().to_owned());
        let below = path.strip_prefix(PATH).unwrap_or_default();
        if let Some(answer) = builtin::answer(below, &request, &*self.handle, &mut state) {
            return reply(answer.into_response(self.as_of(&state)));
        }
        if !is_open(&mut state) {
            let message = "the service is not open yet: its members have not voted to open it";
            return reply(Answer::error(StatusCode::NOT_FOUND, "FrontendNotOpen", message, &[]).into_response(None));
        }
        match self.find(&reader, &mut state, &request, below) {
            Err(answer) => reply(answer.into_response(None)),
            Ok((endpoint, template, params)) => {
                let key = Idempotent::of(&caller, &request);
                let incoming = Incoming::new(self.next_request(), request, &template, params);
                // Who may not call it is told here, and nobody else is bothered.
                match authorize::caller_of(&endpoint, &caller, &incoming.head.proofs, &mut state) {
                    Err(refused) => reply(refused.into_response(None)),
                    Ok(_) if endpoint.mode == Mode::ReadWrite => match key {
                        Ok(key) => self.write(&caller, &incoming, key, reply),
                        Err(malformed) => reply(malformed.into_response()),
                    },
                    Ok(_) => self.read(&endpoint, caller, incoming, reply),
                }
            }
        }
    }
}

impl AppService {
    pub fn new(app: Arc<App>, handle: Arc<dyn LedgerHandle>) -> Self {
        let requests = AtomicU64::new(handle.now_ms() << 20);
        Self { app, handle, requests, reading: Arc::default() }
    }

    /// The endpoint that a request means, if its caller is to know of it.
    fn find(
        &self,
        reader: &Reader,
        state: &mut Snapshot,
        request: &Request<Bytes>,
        below: &str,
    ) -> Result<(Endpoint, String, Params), Answer> {
        let method = request.method().as_str();
        let not_found = || Answer::not_found(request.uri().path());
        let routes = application::routes(state);
        let (template, params) = match route::find(&routes, method, below) {
            Route::Found(template, params) => (template.to_owned(), params),
            Route::OtherMethods(methods) => return Err(other_methods(request.uri().path(), &methods.join(", "))),
            Route::None => return Err(not_found()),
        };
        let endpoint = Endpoint::read(state, method, &template).map_err(|error| Answer::unreadable(&error))?;
        let name = format!("{method} {template}");
        let subject = Subject { ledger: NAME, kind: "endpoint", name: name.as_bytes(), parties: &[] };
        let endpoint = endpoint.and_then(|endpoint| reader.disclose(&subject, endpoint)).ok_or_else(not_found)?;
        Ok((endpoint, template, params))
    }

    fn write(&self, caller: &Caller, incoming: &Incoming, once: Option<Idempotent>, reply: Reply) {
        match self.app.admit(incoming.encode(), caller) {
            Err(rejection) => reply(answered(Some(Submitted::Rejected(rejection)))),
            Ok(admitted) => {
                let respond = move |ends: Vec<Submitted>| reply(answered(ends.into_iter().next()));
                let until = once.map_or(Until::Committed, Until::Once);
                self.handle.submit(vec![admitted], until, Box::new(respond));
            }
        }
    }

    /// At this node, on what is committed; where the endpoint always wants to be forwarded, on all that was committed anywhere before.
    fn read(&self, endpoint: &Endpoint, caller: Caller, incoming: Incoming, reply: Reply) {
        let at = match endpoint.mode {
            Mode::Historical => match past::asked_for(&incoming, &*self.handle) {
                Ok(txid) => Some(txid),
                Err(refused) => return reply(refused.into_response(None)),
            },
            _ => None,
        };
        if self.reading.fetch_add(1, Ordering::Relaxed) >= APP_REQUESTS_MAX {
            self.reading.fetch_sub(1, Ordering::Relaxed);
            return reply(busy().into_response(None));
        }
        let reading = Reading {
            app: self.app.clone(),
            handle: self.handle.clone(),
            _place: Place(self.reading.clone()),
            caller,
            incoming,
            at,
            reply,
        };
        if endpoint.forwarding_required == "always" {
            return self.handle.linearizable(Box::new(move |is_current| reading.once_current(is_current)));
        }
        reading.run();
    }

    fn as_of(&self, state: &Snapshot) -> Option<TxId> {
        as_of(&*self.handle, state)
    }

    fn next_request(&self) -> Bytes {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        [&self.handle.status().node.to_be_bytes()[..], &number.to_be_bytes()].concat().into()
    }
}

/// A request that reads.
struct Reading {
    app: Arc<App>,
    handle: Arc<dyn LedgerHandle>,
    _place: Place,
    caller: Caller,
    incoming: Incoming,
    /// The transaction that it asks about, in historical mode.
    at: Option<TxId>,
    reply: Reply,
}

/// One of [`APP_REQUESTS_MAX`].
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reading {
    fn once_current(self, is_current: bool) {
        if is_current {
            return self.run();
        }
        let message = "there is no primary now: try again";
        let answer = Answer::error(StatusCode::SERVICE_UNAVAILABLE, "PrimaryNotFound", message, &[]);
        (self.reply)(answer.into_response(None));
    }

    fn run(self) {
        let app = self.app.clone();
        app.reading.give(move || {
            let (answer, txid) = self.answer();
            (self.reply)(answer.into_response(txid));
        });
    }

    /// And of which transaction it speaks.
    fn answer(&self) -> (Answer, Option<TxId>) {
        let state = self.handle.reader(&self.caller).state().clone();
        let past = match self.at.map(|txid| past::read(txid, &self.caller, &*self.handle)).transpose() {
            Ok(past) => past,
            Err(refused) => return (refused, None),
        };
        let now_ms = self.handle.now_ms();
        let answer = self.app.runner.read(state.begin(), &self.incoming, &self.caller, now_ms, past);
        (answer, self.at.or_else(|| as_of(&*self.handle, &state)))
    }
}

/// A ledger of which governance knows nothing is alone, and open.
fn is_open(state: &mut Snapshot) -> bool {
    ServiceInfo::read(state).is_ok_and(|info| info.is_none_or(|info| info.status == ServiceStatus::Open))
}

fn as_of(handle: &dyn LedgerHandle, state: &Snapshot) -> Option<TxId> {
    let seqno = state.version();
    handle.view_of(seqno).map(|view| TxId::new(view, seqno))
}

/// What the function answered, or why there is no answer of it.
fn answered(end: Option<Submitted>) -> Response<Bytes> {
    let (encoded, txid) = match &end {
        Some(Submitted::Committed { txid, response }) => (Some(response.clone()), Some(*txid)),
        Some(Submitted::Rejected(rejection)) => (rejection.data.clone(), None),
        _ => (None, None),
    };
    let answer = encoded.and_then(Answer::decode);
    answer.map_or_else(|| answer_to(end), |answer| answer.into_response(txid))
}

fn other_methods(path: &str, methods: &str) -> Answer {
    let message = format!("{path} answers {methods} only");
    let answer = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", &message, &[]);
    match HeaderValue::from_str(methods) {
        Ok(methods) => answer.with_header(ALLOW, methods),
        Err(_) => answer,
    }
}
