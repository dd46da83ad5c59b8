//! What is answered: by a function, or instead of it. In a ledger transaction's outcome it is encoded.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_governance::application::{Reaction, RuntimeOptions};
use coco_governance::{Error, Failure};
use coco_types::TxId;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Value, json};

const TRANSACTION_ID: HeaderName = HeaderName::from_static("x-ms-ccf-transaction-id");
/// Connections are the node's, and so is the transaction's id.
const NOT_ITS_OWN: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-ms-ccf-transaction-id",
];

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Answer {
    /// An error in CCF's form.
    pub fn error(status: StatusCode, code: &str, message: &str, details: &[Value]) -> Self {
        let mut error = json!({"code": code, "message": message});
        if !details.is_empty() {
            error["details"] = details.into();
        }
        Self::json(status, &json!({ "error": error }))
    }

    pub fn json(status: StatusCode, body: &Value) -> Self {
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        Self { status, headers, body: body.to_string().into() }
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What the function said, if HTTP can say it.
    pub fn of(reaction: &Reaction) -> Result<Self, String> {
        let status = StatusCode::from_u16(reaction.status).map_err(|error| error.to_string())?;
        let header = |(name, value): &(String, String)| {
            if NOT_ITS_OWN.contains(&name.as_str()) {
                return Err(format!("the header {name} is not an application's to set"));
            }
            let parsed = name.parse().ok().zip(HeaderValue::from_str(value).ok());
            parsed.ok_or_else(|| format!("the header {name} is malformed"))
        };
        let headers = reaction.headers.iter().map(header).collect::<Result<_, _>>()?;
        Ok(Self { status, headers, body: reaction.body.clone() })
    }

    /// The function gave no answer. What was thrown is told only if the members want it.
    pub fn thrown(failure: &Failure, options: &RuntimeOptions) -> Self {
        let details = options.return_exception_details.then(|| {
            let mut detail = json!({"code": "JSException", "message": failure.reason});
            if let Some(trace) = &failure.trace {
                detail["trace"] = trace.as_str().into();
            }
            detail
        });
        let details: Vec<_> = details.into_iter().collect();
        let message = "the application threw an exception, or gave no proper response";
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message, &details)
    }

    /// A row of the application that this software cannot read.
    pub fn unreadable(error: &Error) -> Self {
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &error.to_string(), &[])
    }

    pub fn not_found(path: &str) -> Self {
        let message = format!("the application has nothing at {path}");
        Self::error(StatusCode::NOT_FOUND, "ResourceNotFound", &message, &[])
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Status in two bytes, the headers' length in four (big-endian), headers as JSON, body.
    pub fn encode(&self) -> Bytes {
        let text = |(name, value): &(HeaderName, HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers: Vec<_> = self.headers.iter().map(text).collect();
        let headers = serde_json::to_vec(&headers).expect("pairs of texts have JSON");
        let mut out = BytesMut::with_capacity(6 + headers.len() + self.body.len());
        out.put_u16(self.status.as_u16());
        out.put_u32(u32::try_from(headers.len()).unwrap_or(u32::MAX));
        out.put_slice(&headers);
        out.put_slice(&self.body);
        out.freeze()
    }

    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < 6 {
            return None;
        }
        let (status, length) = (bytes.get_u16(), bytes.get_u32() as usize);
        if length > bytes.len() {
            return None;
        }
        let headers: Vec<(String, String)> = serde_json::from_slice(&bytes.split_to(length)).ok()?;
        let parsed = |(name, value): (String, String)| Some((name.parse().ok()?, HeaderValue::from_str(&value).ok()?));
        let headers = headers.into_iter().map(parsed).collect::<Option<_>>()?;
        Some(Self { status: StatusCode::from_u16(status).ok()?, headers, body: bytes })
    }

    /// Of this transaction, or as of it.
    pub fn into_response(self, txid: Option<TxId>) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        if let Some(value) = txid.and_then(|txid| HeaderValue::from_str(&txid.to_string()).ok()) {
            response.headers_mut().insert(TRANSACTION_ID, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaction(headers: &[(&str, &str)]) -> Reaction {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Reaction { status: 201, headers, body: Bytes::from_static(b"made"), applies: true, claims: None }
    }

    #[test]
    fn an_encoded_answer_is_the_same_answer_and_no_other_bytes_are_one() {
        let answer = Answer::of(&reaction(&[("content-type", "text/plain"), ("x-a", "1"), ("x-a", "2")])).unwrap();
        let encoded = answer.encode();
        assert_eq!(Answer::decode(encoded.clone()), Some(answer));
        for end in 0..encoded.len() - 4 {
            assert_eq!(Answer::decode(encoded.slice(..end)), None, "{end}");
        }
    }

    #[test]
    fn headers_that_are_the_nodes_own_or_malformed_are_no_answer() {
        for header in [("content-length", "1"), ("x-ms-ccf-transaction-id", "2.1"), ("a b", "1"), ("a", "1\r\nb: 2")] {
            assert!(Answer::of(&reaction(&[header])).is_err(), "{header:?}");
        }
    }
}
