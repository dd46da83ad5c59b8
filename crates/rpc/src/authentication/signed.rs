//! Signed requests: a COSE_Sign1 whose payload is a request's body and whose protected headers say what it is asked for.
//!
//! For keys that cannot speak TLS: in an HSM, behind a proxy that ends TLS, or offline. Only below `/app`; `/gov` has its own form, which
//! is CCF's. Which request, on which service and when is signed with it, so that it is good for nothing else. Within the time that it is
//! good for, the same bytes again are the same request: its digest is its `Idempotency-Key`.

use bytes::Bytes;
use coco_crypto::cose::{self, Sign1};
use coco_crypto::{ForeignCertificate, decode_pem, sha256};
use coco_governance::{ServiceInfo, tables};
use coco_kv::Snapshot;
use coco_protocol::{Identity, SignedRequest};
use coco_types::limits::SIGNED_REQUEST_AGE_MAX_S;
use http::Request;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use minicbor::Decoder;
use minicbor::data::Type;

use super::{Denied, registered};

/// Protected headers: method, path with query, SHA-256 of the service's certificate in hex, Unix seconds.
const METHOD: &str = "coco.request.method";
const TARGET: &str = "coco.request.target";
const SERVICE: &str = "coco.request.service";
const CREATED_AT: &str = "coco.request.created_at";
const HEADERS_MAX: u64 = 32;
const COSE: &str = "application/cose";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[derive(Default)]
struct Headers {
    algorithm: Option<i64>,
    key_id: Option<String>,
    content_type: Option<String>,
    method: Option<String>,
    target: Option<String>,
    service: Option<String>,
    created_at: Option<u64>,
}

pub(super) fn is_signed<B>(request: &Request<B>) -> bool {
    let cose = request.headers().get(CONTENT_TYPE).is_some_and(|value| value == COSE);
    cose && request.uri().path().starts_with("/app/")
}

/// Who signed it. The request becomes what was signed.
pub(super) fn open(state: &mut Snapshot, now_s: u64, request: &mut Request<Bytes>) -> Result<Vec<Identity>, Denied> {
    let body = request.body().clone();
    let sign1 = Sign1::decode(&body).map_err(|error| Denied::signed(error.to_string()))?;
    let headers = Headers::read(sign1.protected).map_err(|why| Denied::signed(format!("the signed headers: {why}")))?;
    let payload = sign1.payload.ok_or_else(|| Denied::signed("the message has no payload"))?;
    headers.check(state, now_s, request)?;
    let signer = headers.signer(state, &sign1, payload)?;
    let content_type = headers.content_type.as_deref().unwrap_or("application/octet-stream");
    let content_type = HeaderValue::from_str(content_type).map_err(|_| Denied::signed("content type is no header"))?;
    // Of what was signed: the signature and the headers beside it can be other bytes and say the same.
    let digest = sha256(&cose::to_be_signed(sign1.protected, payload)).to_string();
    let digest = HeaderValue::from_str(&digest).expect("hexadecimal digits are a header");
    let headers = request.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(IDEMPOTENCY_KEY, digest);
    request.extensions_mut().insert(SignedRequest);
    *request.body_mut() = Bytes::copy_from_slice(payload);
    Ok(signer)
}

impl Headers {
    /// Any order; no label twice; what is not ours is skipped unless it is critical.
    fn read(protected: &[u8]) -> Result<Self, String> {
        let text = |error: minicbor::decode::Error| error.to_string();
        let mut decoder = Decoder::new(protected);
        let count = decoder.map().map_err(text)?.ok_or("an indefinite length")?;
        if count > HEADERS_MAX {
            return Err(format!("more than {HEADERS_MAX} of them"));
        }
        let (mut headers, mut seen) = (Self::default(), Vec::new());
        for _ in 0..count {
            let start = decoder.position();
            let label = match decoder.datatype().map_err(text)? {
                Type::String => decoder.str().map_err(text)?.to_owned(),
                _ => decoder.i64().map_err(text)?.to_string(),
            };
            let encoded = protected.get(start..decoder.position()).unwrap_or_default();
            if seen.contains(&encoded) {
                return Err("a label occurs twice".to_owned());
            }
            seen.push(encoded);
            headers.note(encoded, &label, &mut decoder).map_err(text)?;
        }
        if decoder.position() == protected.len() { Ok(headers) } else { Err("bytes after them".to_owned()) }
    }

    fn note(&mut self, encoded: &[u8], label: &str, decoder: &mut Decoder<'_>) -> Result<(), minicbor::decode::Error> {
        // Texts begin with major type 3: "1" is not 1.
        let number = encoded.first().is_some_and(|byte| byte >> 5 != 3).then(|| label.parse().ok()).flatten();
        match (number, label) {
            (Some(cose::LABEL_ALG), _) => self.algorithm = Some(decoder.i64()?),
            (Some(cose::LABEL_KID), _) => {
                self.key_id = Some(String::from_utf8_lossy(decoder.bytes()?).to_ascii_lowercase());
            }
            (Some(cose::LABEL_CONTENT_TYPE), _) => self.content_type = Some(decoder.str()?.to_owned()),
            (Some(cose::LABEL_CRITICAL), _) => {
                return Err(minicbor::decode::Error::message("critical headers are not known here"));
            }
            (None, METHOD) => self.method = Some(decoder.str()?.to_owned()),
            (None, TARGET) => self.target = Some(decoder.str()?.to_owned()),
            (None, SERVICE) => self.service = Some(decoder.str()?.to_ascii_lowercase()),
            (None, CREATED_AT) => self.created_at = Some(decoder.u64()?),
            _ => decoder.skip()?,
        }
        Ok(())
    }

    /// It was signed for this service, this request and this time.
    fn check<B>(&self, state: &mut Snapshot, now_s: u64, request: &Request<B>) -> Result<(), Denied> {
        let service =
            ServiceInfo::read(state).ok().flatten().and_then(|info| decode_pem("CERTIFICATE", &info.cert).ok());
        let service = service.map(|der| sha256(&der).to_string());
        if self.service.is_none() || self.service != service {
            return Err(Denied::signed(format!("{SERVICE} is not the digest of this service's certificate")));
        }
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        if self.method.as_deref() != Some(request.method().as_str()) || self.target.as_deref() != Some(target) {
            return Err(Denied::signed(format!("{METHOD} and {TARGET} are not those of the request")));
        }
        let created_at = self.created_at.ok_or_else(|| Denied::signed(format!("the message has no {CREATED_AT}")))?;
        if created_at.abs_diff(now_s) > SIGNED_REQUEST_AGE_MAX_S {
            let message = format!("the request is dated {created_at}, and it is {now_s} (Unix seconds)");
            return Err(Denied::signed(message));
        }
        Ok(())
    }

    fn signer(&self, state: &Snapshot, sign1: &Sign1<'_>, payload: &[u8]) -> Result<Vec<Identity>, Denied> {
        let key_id = self.key_id.as_deref().ok_or_else(|| Denied::signed("the message has no kid"))?;
        let maps = [&tables::MEMBER_CERTS, &tables::USER_CERTS];
        let pem = maps.into_iter().find_map(|map| state.get(map, key_id.as_bytes()));
        let pem = pem.ok_or_else(|| Denied::signed("kid is no member's and no participant's id"))?;
        let certificate = std::str::from_utf8(&pem).ok().and_then(|pem| ForeignCertificate::from_pem(pem).ok());
        let certificate = certificate.ok_or_else(|| Denied::signed("the signer's certificate is of no known kind"))?;
        let scheme = self.algorithm.and_then(cose::scheme).filter(|scheme| certificate.key().fits(*scheme));
        let scheme = scheme.ok_or_else(|| Denied::signed("alg is missing or does not fit the signer's key"))?;
        let signed = cose::to_be_signed(sign1.protected, payload);
        let verified = certificate.key().verify(scheme, &signed, sign1.signature);
        verified.map_err(|error| Denied::signed(error.to_string()))?;
        Ok(registered(state, key_id))
    }
}
