//! The HTTP side: `PUT` submits, `GET` reads committed state through the disclosure gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use coco_protocol::{
    ApiError, Caller, Idempotent, LedgerHandle, Mount, Protocol, Reply, Service, Subject, Submitted, Until, answer_to,
};
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};

use crate::{NAME, Put, Records, VALUES};

const PATH: &str = "/app/records";

pub struct RecordsService {
    protocol: Arc<Records>,
    handle: Arc<dyn LedgerHandle>,
    /// Starts at this node's clock, far above what an earlier life of it can have counted to.
    requests: AtomicU64,
}

impl Service for RecordsService {
    fn mount(&self) -> Mount {
        Mount::Path(PATH)
    }

    /// The key is the rest of the path as it stands: percent-encoding is part of it.
    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply) {
        let path = request.uri().path();
        let Some(key) = path.strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/')) else {
            return reply(error(StatusCode::NOT_FOUND, "ResourceNotFound", "records are at /app/records/{key}"));
        };
        let key = Bytes::copy_from_slice(key.as_bytes());
        match *request.method() {
            Method::GET => reply(self.record(&caller, &key)),
            Method::PUT => match Idempotent::of(&caller, &request) {
                Ok(once) => self.put(&caller, key, request.into_body(), once, reply),
                Err(malformed) => reply(malformed.into_response()),
            },
            _ => reply(error(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", "a record takes GET and PUT")),
        }
    }
}

impl RecordsService {
    pub fn new(protocol: Arc<Records>, handle: Arc<dyn LedgerHandle>) -> Self {
        let requests = AtomicU64::new(handle.now_ms() << 20);
        Self { protocol, handle, requests }
    }

    fn record(&self, caller: &Caller, key: &[u8]) -> Response<Bytes> {
        let reader = self.handle.reader(caller);
        let subject = Subject { ledger: NAME, kind: "record", name: key, parties: &[] };
        // Absent and not for this caller look the same.
        match reader.state().get(&VALUES, key).and_then(|value| reader.disclose(&subject, value)) {
            Some(value) => {
                let response = Response::builder().header(CONTENT_TYPE, "application/octet-stream").body(value);
                response.expect("the header above is well-formed")
            }
            None => error(StatusCode::NOT_FOUND, "ResourceNotFound", "there is no such record"),
        }
    }

    fn put(&self, caller: &Caller, key: Bytes, value: Bytes, once: Option<Idempotent>, reply: Reply) {
        let put = Put::new(self.next_request(), key, value);
        match put.and_then(|put| self.protocol.admit(put.encode(), caller)) {
            Err(rejection) => reply(ApiError::from(rejection).into_response()),
            Ok(admitted) => {
                let respond = move |ends: Vec<Submitted>| reply(answer_to(ends.into_iter().next()));
                let until = once.map_or(Until::Committed, Until::Once);
                self.handle.submit(vec![admitted], until, Box::new(respond));
            }
        }
    }

    fn next_request(&self) -> Bytes {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        [&self.handle.status().node.to_be_bytes()[..], &number.to_be_bytes()].concat().into()
    }
}

fn error(status: StatusCode, code: &'static str, message: &str) -> Response<Bytes> {
    ApiError::new(status, code, message).into_response()
}
