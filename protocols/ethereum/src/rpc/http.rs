//! JSON-RPC over HTTP POST. A JSON-RPC error is an HTTP success: status codes are about the transport alone, as 503 is of a node without room.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request, Response, StatusCode};

use super::error::RpcError;
use super::limits::{REQUEST_BODY_BYTES_MAX, RPC_BATCH_BYTES_MAX};
use super::reply::render;
use super::{Options, sourcify};

/// What a request's head and size already decide: an answer, or that its body is to be served.
pub fn refuse(request: &Request<Bytes>, options: &Options) -> Option<Response<Bytes>> {
    let sources = request.uri().path().starts_with(sourcify::PREFIX);
    // Uploads come one at a time: what begins like a batch is none.
    let too_large = match sources {
        true => request.body().len() > REQUEST_BODY_BYTES_MAX,
        false => is_too_large(request.body()),
    };
    match *request.method() {
        Method::GET if sources => None,
        Method::POST if too_large => Some(text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n")),
        Method::POST => None,
        Method::OPTIONS => Some(preflight(request, options)),
        _ => {
            let mut response = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "this is an Ethereum JSON-RPC endpoint: POST a request, or open a WebSocket\n",
            );
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            Some(response)
        }
    }
}

/// The answer to a message; `None` when it had only notifications.
pub fn respond(reply: Option<String>, origin: Option<HeaderValue>) -> Response<Bytes> {
    let mut response = match reply {
        Some(text) => {
            let mut response = Response::new(Bytes::from(text));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        None => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
    };
    allow_origin(&mut response, origin);
    response
}

/// The answer to a message that nobody here has room to read, so that its id is not known.
pub fn busy() -> Response<Bytes> {
    let error = render("null", Err(RpcError::limit("busy, try again later")));
    let mut response = respond(Some(error), None);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// The value of `Access-Control-Allow-Origin` for a request, if its origin is allowed.
pub fn allowed_origin(request: &Request<Bytes>, options: &Options) -> Option<HeaderValue> {
    let origin = request.headers().get(ORIGIN)?;
    if options.cors_origins.iter().any(|allowed| allowed == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    let allowed = options.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
    allowed.then(|| origin.clone())
}

fn preflight(request: &Request<Bytes>, options: &Options) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let origin = allowed_origin(request, options);
    if origin.is_some() {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, authorization"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    allow_origin(&mut response, origin);
    response
}

pub fn allow_origin(response: &mut Response<Bytes>, origin: Option<HeaderValue>) {
    if let Some(origin) = origin {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
    }
}

/// A batch may be larger than a single request.
pub fn is_too_large(body: &[u8]) -> bool {
    let batch = body.trim_ascii_start().starts_with(b"[");
    body.len() > if batch { RPC_BATCH_BYTES_MAX } else { REQUEST_BODY_BYTES_MAX }
}

fn text(status: StatusCode, message: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(message.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
