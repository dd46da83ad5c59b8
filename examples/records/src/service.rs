//! The HTTP side: `PUT` submits, `GET` reads committed state through the disclosure gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use coco_protocol::{Caller, LedgerHandle, Mount, Protocol, Rejection, Reply, Service, Subject, Submitted, Until};
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};

use crate::{NAME, Put, REQUEST_BYTES, Records, VALUES};

const PATH: &str = "/app/records";
const TRANSACTION_ID: &str = "x-ms-ccf-transaction-id";

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
            Method::PUT => self.put(&caller, key, request.into_body(), reply),
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
            Some(value) => answer(StatusCode::OK, CONTENT_TYPE.as_str(), "application/octet-stream", value),
            None => error(StatusCode::NOT_FOUND, "ResourceNotFound", "there is no such record"),
        }
    }

    fn put(&self, caller: &Caller, key: Bytes, value: Bytes, reply: Reply) {
        let admitted =
            Put::new(self.next_request(), key, value).and_then(|put| self.protocol.admit(put.encode(), caller));
        match admitted {
            Err(rejection) => reply(rejected(&rejection)),
            Ok(admitted) => {
                let respond = move |ends: Vec<Submitted>| reply(end(ends.into_iter().next()));
                self.handle.submit(vec![admitted], Until::Committed, Box::new(respond));
            }
        }
    }

    fn next_request(&self) -> Bytes {
        let mut request = BytesMut::with_capacity(REQUEST_BYTES);
        request.put_u32(self.handle.status().node);
        request.put_u64(self.requests.fetch_add(1, Ordering::Relaxed));
        request.freeze()
    }
}

/// The answer to a `PUT`.
fn end(end: Option<Submitted>) -> Response<Bytes> {
    match end {
        Some(Submitted::Committed { txid, .. }) => {
            answer(StatusCode::NO_CONTENT, TRANSACTION_ID, &txid.to_string(), Bytes::new())
        }
        Some(Submitted::Rejected(rejection)) => rejected(&rejection),
        Some(Submitted::Unknown(txid)) => {
            let message = format!("the primary was lost; ask /node/tx for the outcome of {txid}");
            error(StatusCode::GATEWAY_TIMEOUT, "TransactionOutcomeUnknown", &message)
        }
        Some(Submitted::Accepted | Submitted::Unavailable) | None => {
            error(StatusCode::SERVICE_UNAVAILABLE, "PrimaryNotFound", "there is no primary now: try again")
        }
    }
}

fn rejected(rejection: &Rejection) -> Response<Bytes> {
    let status = u16::try_from(rejection.code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    error(status.unwrap_or(StatusCode::BAD_REQUEST), "RecordRefused", &rejection.message)
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    answer(status, CONTENT_TYPE.as_str(), "application/json", body.to_string().into())
}

fn answer(status: StatusCode, header: &str, value: &str, body: Bytes) -> Response<Bytes> {
    let response = Response::builder().status(status).header(header, value).body(body);
    response.expect("the headers above are well-formed")
}
