//! Requests that are signed as a whole.

use bytes::Bytes;
use coco_crypto::cose::{self, Sign1};
use coco_crypto::{
    Certificate, Curve, SeededCrypto, SigningKey, Validity, self_signed_certificate, self_signed_service_certificate,
    sha256,
};
use coco_governance::tables;
use coco_protocol::{Caller, Identity};
use coco_types::limits::SIGNED_REQUEST_AGE_MAX_S;
use http::Request;
use minicbor::Encoder;
use serde_json::json;

use crate::{NOW_S, Network};

const TARGET: &str = "/app/records/x?y=1";
const VALIDITY: Validity = Validity { not_before: 0, not_after: 4_000_000_000 };

struct Signer {
    network: Network,
    key: SigningKey,
    certificate: Certificate,
    service: String,
}

/// The protected headers, by label; texts and numbers.
#[derive(Clone)]
struct Draft {
    alg: i64,
    kid: String,
    texts: Vec<(&'static str, String)>,
    created_at: u64,
    content_type: Option<&'static str>,
}

impl Signer {
    fn new() -> Self {
        let (network, crypto) = (Network::new(), SeededCrypto::new(21));
        let service_key = SigningKey::generate(&crypto, Curve::P384);
        let service = self_signed_service_certificate(&crypto, &service_key, "test", VALIDITY, &[]).unwrap();
        let info = json!({"cert": service.to_pem(), "status": "Open"}).to_string();
        network.write(|tx| tx.put(&tables::SERVICE_INFO, tables::SINGLETON.to_vec(), info.into_bytes()));
        let key = SigningKey::generate(&crypto, Curve::P384);
        let certificate = self_signed_certificate(&crypto, &key, "shop", &[], VALIDITY, &[]).unwrap();
        network.put(&tables::USER_CERTS, &certificate.fingerprint().to_string(), &certificate.to_pem());
        Self { network, key, certificate, service: sha256(service.der()).to_string() }
    }

    fn draft(&self) -> Draft {
        Draft {
            alg: -35,
            kid: self.certificate.fingerprint().to_string(),
            texts: vec![
                ("coco.request.method", "PUT".to_owned()),
                ("coco.request.target", TARGET.to_owned()),
                ("coco.request.service", self.service.clone()),
            ],
            created_at: NOW_S,
            content_type: Some("text/plain"),
        }
    }

    fn message(&self, draft: &Draft) -> Vec<u8> {
        let protected = draft.protected();
        let signature = cose::sign(&SeededCrypto::new(1), &self.key, &protected, b"hello");
        Sign1 { protected: &protected, unprotected: &[0xa0], payload: Some(b"hello"), signature: &signature }.encode()
    }

    fn judge(&self, message: Vec<u8>) -> Result<(Caller, Request<Bytes>), String> {
        let request = Request::put(TARGET).header("content-type", "application/cose").body(message.into());
        let mut request = request.unwrap();
        let caller = self.network.caller(None, &mut request).map_err(|denied| denied.message)?;
        Ok((caller, request))
    }

    fn refuses(&self, change: impl FnOnce(&mut Draft), why: &str) {
        let mut draft = self.draft();
        change(&mut draft);
        let message = self.judge(self.message(&draft)).unwrap_err();
        assert!(message.contains(why), "{message}, expected {why}");
    }
}

impl Draft {
    fn protected(&self) -> Vec<u8> {
        let mut e = Encoder::new(Vec::new());
        let count = 3 + self.texts.len() as u64 + u64::from(self.content_type.is_some());
        e.map(count).unwrap().i64(1).unwrap().i64(self.alg).unwrap().i64(4).unwrap();
        e.bytes(self.kid.as_bytes()).unwrap();
        for (label, text) in &self.texts {
            e.str(label).unwrap().str(text).unwrap();
        }
        e.str("coco.request.created_at").unwrap().u64(self.created_at).unwrap();
        if let Some(content_type) = self.content_type {
            e.i64(3).unwrap().str(content_type).unwrap();
        }
        e.into_writer()
    }
}

#[test]
fn a_signed_request_becomes_what_was_signed_in_the_name_of_its_signer() {
    let signer = Signer::new();
    let message = signer.message(&signer.draft());
    let (caller, request) = signer.judge(message.clone()).unwrap();
    let id = signer.certificate.fingerprint().to_string();
    assert_eq!(caller, Caller::Identified(vec![Identity::Participant(id)]));
    assert_eq!(
        (&request.body()[..], &request.headers()["content-type"]),
        (&b"hello"[..], &"text/plain".parse().unwrap())
    );
    // Other bytes beside what was signed make no other request.
    let decoded = Sign1::decode(&message).unwrap();
    let varied = Sign1 { unprotected: &[0xa1, 0x01, 0x02], ..decoded }.encode();
    assert_ne!(varied, message);
    let again = signer.judge(varied).unwrap().1;
    assert_eq!(again.headers()["idempotency-key"], request.headers()["idempotency-key"]);
    let mut later = signer.draft();
    later.created_at += 1;
    let later = signer.judge(signer.message(&later)).unwrap().1;
    assert_ne!(later.headers()["idempotency-key"], request.headers()["idempotency-key"]);
    // Elsewhere the body is the service's own business.
    let other = Request::put("/gov/x").header("content-type", "application/cose").body(Bytes::from(message));
    assert_eq!(signer.network.caller(None, &mut other.unwrap()), Ok(Caller::Anonymous));
}

#[test]
fn a_signature_is_good_for_one_request_on_one_service_at_one_time() {
    let signer = Signer::new();
    let set = |at: usize, text: &'static str| move |draft: &mut Draft| draft.texts[at].1 = text.to_owned();
    signer.refuses(set(0, "GET"), "not those of the request");
    signer.refuses(set(1, "/app/records/x"), "not those of the request");
    signer.refuses(set(2, "00"), "not the digest of this service");
    signer.refuses(|draft| drop(draft.texts.pop()), "not the digest of this service");
    signer.refuses(|draft| drop(draft.texts.remove(0)), "not those of the request");
    signer.refuses(|draft| draft.created_at = NOW_S - SIGNED_REQUEST_AGE_MAX_S - 1, "is dated");
    signer.refuses(|draft| draft.created_at = NOW_S + SIGNED_REQUEST_AGE_MAX_S + 1, "is dated");
    signer.refuses(|draft| draft.created_at = u64::MAX, "is dated");
}

#[test]
fn keys_and_algorithms_that_are_not_the_signers_are_refused() {
    let signer = Signer::new();
    signer.refuses(|draft| draft.kid = "00".repeat(32), "no participant's id");
    signer.refuses(|draft| draft.kid = "\u{0}".to_owned(), "no participant's id");
    for alg in [-7, -36, -37, -8, 5] {
        signer.refuses(|draft| draft.alg = alg, "alg is missing or does not fit");
    }
    let mut other = Signer::new();
    other.key = SigningKey::generate(&SeededCrypto::new(5), Curve::P384);
    other.refuses(|_| (), "does not verify");
}

#[test]
fn malformed_messages_are_refused() {
    let signer = Signer::new();
    signer.refuses(|draft| draft.texts.push(("coco.request.method", "PUT".to_owned())), "twice");
    signer.refuses(|draft| draft.content_type = Some("a\nb"), "no header");
    signer.refuses(|draft| draft.texts.extend((0..40).map(|_| ("x", String::new()))), "more than");
    let message = signer.message(&signer.draft());
    for bytes in [Vec::new(), message[..message.len() - 1].to_vec(), [&message[..], &[0]].concat(), vec![0xff; 100]] {
        assert!(signer.judge(bytes).is_err());
    }
    // The text "1" is not the number 1.
    signer.refuses(
        |draft| {
            draft.alg = 0;
            draft.texts.push(("1", "ES384".to_owned()));
        },
        "alg",
    );
}
