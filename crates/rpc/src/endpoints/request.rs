//! What handlers share: parameters in, bodies out.

use bytes::Bytes;
use coco_protocol::ApiError;
use coco_types::TxId;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use serde::Serialize;

const TRANSACTION_ID: HeaderName = HeaderName::from_static("x-ms-ccf-transaction-id");

/// A query parameter as it stands. None of ours needs percent-decoding: they are hexadecimal and decimal numbers.
pub(crate) fn parameter<'a>(request: &'a Request<Bytes>, name: &str) -> Result<&'a str, ApiError> {
    let pairs = request.uri().query().unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(invalid(format!("the query parameter {name} is missing"))),
        (Some(_), Some(_)) => Err(invalid(format!("the query parameter {name} is given twice"))),
    }
}

pub(crate) fn transaction_id(request: &Request<Bytes>) -> Result<TxId, ApiError> {
    parameter(request, "transaction_id")?.parse().map_err(|error: coco_types::ParseError| invalid(error.to_string()))
}

pub(crate) fn invalid(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "InvalidQueryParameterValue", message)
}

pub(crate) fn json(value: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(value).expect("the API's own types have text keys and no failing parts");
    content("application/json", body.into())
}

pub(crate) fn content(media_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Says of which transaction, or as of which, the answer speaks.
pub(crate) fn with_transaction_id(mut response: Response<Bytes>, txid: TxId) -> Response<Bytes> {
    if let Ok(value) = HeaderValue::from_str(&txid.to_string()) {
        response.headers_mut().insert(TRANSACTION_ID, value);
    }
    response
}
