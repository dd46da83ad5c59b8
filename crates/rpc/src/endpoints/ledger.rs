//! A ledger's own wire API once more, on the node's HTTPS API: `/app/{ledger}`, for callers who prove who they are.
//!
//! A ledger's own listener speaks plain text, as its clients expect, and knows nobody. Here the same service is reached by certificate,
//! token or signed request, so that what the disclosure gate keeps for somebody can be read by them. It asks for an identity at all so that
//! an API that is open to the world does not open a listener that was kept on a loopback address.

use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{ApiError, Caller, Mount, Reply, Rest, Service, Socket, SocketSession};
use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri};

/// What a proxy would tell of how it was reached.
const FORWARDED_PATH: HeaderName = HeaderName::from_static("x-forwarded-path");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HTTPS: HeaderValue = HeaderValue::from_static("https");
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"JWT bearer token access\"");

/// See the module's text.
pub struct LedgerEndpoints {
    name: &'static str,
    inner: Arc<dyn Service>,
}

impl LedgerEndpoints {
    /// `name`: that of the service's own listener.
    pub fn new(name: &'static str, inner: Arc<dyn Service>) -> Arc<Self> {
        Arc::new(Self { name, inner })
    }

    /// The request as the service would get it on a listener of its own.
    fn stripped(&self, mut request: Request<Bytes>) -> Request<Bytes> {
        let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let rest = self.below(target);
        let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        // What was a path and query is one behind its beginning too.
        *request.uri_mut() = Uri::try_from(rest).unwrap_or_default();
        let headers = request.headers_mut();
        headers.extend(HeaderValue::from_str(&self.mounted()).map(|mounted| (FORWARDED_PATH, mounted)));
        headers.insert(FORWARDED_PROTO, HTTPS);
        request
    }

    fn below<'a>(&self, target: &'a str) -> &'a str {
        target.strip_prefix(&self.mounted()).unwrap_or(target)
    }

    fn mounted(&self) -> String {
        format!("/app/{}", self.name)
    }
}

impl Service for LedgerEndpoints {
    fn mount(&self) -> Mount {
        Mount::Ledger(self.name)
    }

    fn takes_batches(&self, path: &str) -> bool {
        self.inner.takes_batches(self.below(path))
    }

    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply) {
        if let Some(rest) = self.begin(caller, request, reply) {
            (rest.job)();
        }
    }

    fn begin(&self, caller: Caller, request: Request<Bytes>, reply: Reply) -> Option<Rest> {
        if caller == Caller::Anonymous {
            let message =
                "this ledger is served here for callers with a certificate or token; for others, on its own listener";
            let mut refused =
                ApiError::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationInfo", message).into_response();
            refused.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
            reply(refused);
            return None;
        }
        self.inner.begin(caller, self.stripped(request), reply)
    }

    fn busy(&self) -> Response<Bytes> {
        self.inner.busy()
    }

    fn open_socket(&self, caller: Caller, socket: Arc<dyn Socket>) -> Option<Box<dyn SocketSession>> {
        if caller == Caller::Anonymous { None } else { self.inner.open_socket(caller, socket) }
    }
}

#[cfg(test)]
mod tests {
    use coco_protocol::Identity;
    use parking_lot::Mutex;

    use super::*;

    /// Answers with the path it was asked for.
    struct Asked;

    impl Service for Asked {
        fn mount(&self) -> Mount {
            Mount::Listener("asked")
        }

        fn takes_batches(&self, path: &str) -> bool {
            path == "/many"
        }

        fn call(&self, _: Caller, request: Request<Bytes>, reply: Reply) {
            reply(Response::new(Bytes::from(request.uri().to_string())));
        }

        fn busy(&self) -> Response<Bytes> {
            Response::new(Bytes::from_static(b"asked too much"))
        }

        fn begin(&self, caller: Caller, request: Request<Bytes>, reply: Reply) -> Option<Rest> {
            if request.uri().path() != "/long" {
                self.call(caller, request, reply);
                return None;
            }
            Some(Rest { job: Box::new(move || reply(Response::new(Bytes::from_static(b"at last")))), held_bytes: 7 })
        }
    }

    #[test]
    fn a_ledger_without_room_says_so_in_its_own_words() {
        assert_eq!(LedgerEndpoints::new("asked", Arc::new(Asked)).busy().into_body(), "asked too much");
    }

    #[test]
    fn what_takes_long_is_left_to_whoever_serves_it() {
        let endpoints = LedgerEndpoints::new("asked", Arc::new(Asked));
        let begin = |caller| {
            let request = Request::get("/app/asked/long").body(Bytes::new()).unwrap();
            endpoints.begin(caller, request, Box::new(drop))
        };
        assert_eq!(begin(Caller::from(vec![Identity::Member("a".to_owned())])).map(|rest| rest.held_bytes), Some(7));
        assert!(begin(Caller::Anonymous).is_none());
    }

    fn ask(caller: Caller, target: &str) -> (u16, String) {
        let answered = Arc::new(Mutex::new((0, String::new())));
        let answer = answered.clone();
        let reply = Box::new(move |response: Response<Bytes>| {
            *answer.lock() = (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned());
        });
        LedgerEndpoints::new("asked", Arc::new(Asked)).call(
            caller,
            Request::get(target).body(Bytes::new()).unwrap(),
            reply,
        );
        let answer = answered.lock();
        answer.clone()
    }

    #[test]
    fn whoever_is_known_gets_the_ledgers_own_answers_and_nobody_else() {
        let known = || Caller::from(vec![Identity::Member("a".to_owned())]);
        assert_eq!(ask(known(), "/app/asked"), (200, "/".to_owned()));
        assert_eq!(ask(known(), "/app/asked/state/ab?limit=1"), (200, "/state/ab?limit=1".to_owned()));
        assert_eq!(ask(known(), "/app/asked?id=1"), (200, "/?id=1".to_owned()));
        assert_eq!(ask(Caller::Anonymous, "/app/asked").0, 401);
        let endpoints = LedgerEndpoints::new("asked", Arc::new(Asked));
        assert!(endpoints.takes_batches("/app/asked/many") && !endpoints.takes_batches("/app/asked"));
    }
}
