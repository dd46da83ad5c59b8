//! A request on its way to where it is run: what was sent, which endpoint it means, and what its sender proved.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_crypto::encode_pem;
use coco_protocol::{ClientCertificate, Rejection, RejectionReason, SignedRequest, TokenClaims};
use http::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::route::Params;

/// Of a request's number: who received it, and how many it had received.
pub const NUMBER_BYTES: usize = 12;

/// See the module's text.
#[derive(Clone, PartialEq, Debug)]
pub struct Incoming {
    /// Tells it from its equals.
    pub number: Bytes,
    pub head: Head,
    pub body: Bytes,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Head {
    pub method: String,
    /// With `/app`.
    pub path: String,
    pub query: String,
    pub hostname: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// The template of its endpoint, below `/app`.
    pub route: String,
    pub params: Params,
    pub proofs: Proofs,
}

/// What its sender proved, besides the identities that follow from it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Proofs {
    /// PEM.
    pub certificate: Option<String>,
    pub token: Option<TokenClaims>,
    /// The request itself is signed, and nothing else counts.
    pub signed: bool,
}

impl Incoming {
    pub fn new(number: Bytes, request: Request<Bytes>, route: &str, params: Params) -> Self {
        let (parts, body) = request.into_parts();
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            let all = headers.entry(name.as_str().to_owned()).or_default();
            if !all.is_empty() {
                all.push_str(", ");
            }
            all.push_str(&value);
        }
        // HTTP/2 has it in the target.
        let authority = parts.uri.authority().map(ToString::to_string);
        let certificate = parts.extensions.get::<ClientCertificate>();
        let head = Head {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            hostname: headers.get("host").cloned().or(authority),
            headers,
            route: route.to_owned(),
            params,
            proofs: Proofs {
                certificate: certificate.map(|certificate| encode_pem("CERTIFICATE", &certificate.0)),
                token: parts.extensions.get::<TokenClaims>().cloned(),
                signed: parts.extensions.get::<SignedRequest>().is_some(),
            },
        };
        Self { number, head, body }
    }

    /// CCF's request object, without its body.
    pub fn object(&self, caller: &Value) -> Value {
        let Head { method, path, query, hostname, headers, route, params, .. } = &self.head;
        let url = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        json!({
            "headers": headers,
            "params": params,
            "query": query,
            "path": path,
            "route": format!("/app{route}"),
            "method": method,
            "hostname": hostname,
            "url": url,
            "caller": caller,
        })
    }

    /// Method and path, as a receipt names it.
    pub fn target(&self) -> String {
        format!("{} {}", self.head.method, self.head.path)
    }

    /// Its number, then its head as JSON and its body, each behind its length in four bytes (big-endian).
    pub fn encode(&self) -> Bytes {
        let head = serde_json::to_vec(&self.head).expect("a head has only text keys");
        let mut out = BytesMut::with_capacity(NUMBER_BYTES + 8 + head.len() + self.body.len());
        out.put_slice(&self.number);
        for part in [&head[..], &self.body] {
            out.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
            out.put_slice(part);
        }
        out.freeze()
    }

    pub fn decode(bytes: &Bytes) -> Result<Self, Rejection> {
        let malformed = || Rejection::new(RejectionReason::Invalid, 400, "malformed submission");
        let mut rest = bytes.clone();
        if rest.len() < NUMBER_BYTES {
            return Err(malformed());
        }
        let number = rest.split_to(NUMBER_BYTES);
        let mut part = || {
            let length = rest.try_get_u32().ok()? as usize;
            (length <= rest.len()).then(|| rest.split_to(length))
        };
        let (head, body) = part().zip(part()).ok_or_else(malformed)?;
        let head = serde_json::from_slice(&head).map_err(|_| malformed())?;
        if rest.is_empty() { Ok(Self { number, head, body }) } else { Err(malformed()) }
    }
}
