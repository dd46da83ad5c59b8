//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a write that a client sends again happens once.
//!
//! ```text
//!   key known, same request ───────▶ its answer again, with its transaction's id
//!   key known, another request ────▶ 422        the first is not committed yet ──▶ 409
//!   key unknown ──▶ executed; key, request and answer are rows of the same ledger transaction
//! ```
//!
//! As the row is written with the effect, there is no moment at which one is there without the other, whoever leads; what was refused had
//! no effect and is forgotten. Rows are sealed in the ledger and expire by ledger time, or sooner when there are too many: then a repeated
//! request is a new one.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_crypto::sha256_of;
use coco_kv::{Snapshot, Tx};
use coco_types::limits::{
    IDEMPOTENCY_BYTES_MAX, IDEMPOTENCY_KEPT_MS, IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENCY_KEYS_MAX,
    IDEMPOTENT_ANSWER_BYTES_MAX,
};
use coco_types::{Digest, MapName, Seqno, TxId, View};
use http::header::HeaderName;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{ApiError, Caller, Rejection, RejectionReason};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Digest of caller and key → digest of the request, transaction, time, answer.
const KEYS: MapName = MapName::from_static("coco.idempotency.keys");
/// Time and place → digest of caller and key, for forgetting the oldest.
const ORDER: MapName = MapName::from_static("coco.idempotency.order");
/// One row: how many there are, and their bytes.
const TOTALS: MapName = MapName::from_static("coco.idempotency.totals");
const SINGLETON: &[u8] = &[0; 8];
const HEAD_BYTES: usize = 32 + 24;

/// A request that may come again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Idempotent {
    /// Of whose and which key.
    pub key: Digest,
    /// Of what is asked for.
    pub request: Digest,
}

/// What became of an earlier request with the same key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Earlier {
    /// There was none.
    None,
    /// This was its transaction and answer.
    Same(TxId, Bytes),
    /// It was another request.
    Other,
}

struct Row {
    request: Digest,
    txid: TxId,
    at_ms: u64,
    answer: Bytes,
}

#[derive(Default)]
struct Totals {
    rows: u64,
    bytes: u64,
}

impl Idempotent {
    /// What a request's header says, if it has one. A key is the own one of what `caller` proved first: another's is another key.
    pub fn of(caller: &Caller, request: &Request<Bytes>) -> Result<Option<Self>, ApiError> {
        let mut values = request.headers().get_all(HEADER).iter();
        let (value, another) = (values.next(), values.next());
        let Some(value) = value else { return Ok(None) };
        let key = value.to_str().ok().and_then(key).filter(|_| another.is_none()).ok_or_else(malformed)?;
        let caller = serde_json::to_vec(&caller.principal()).expect("identities have only string keys");
        let (head, target) =
            (request.method().as_str(), request.uri().path_and_query().map_or("", |target| target.as_str()));
        let content_type = request.headers().get(http::header::CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
        Ok(Some(Self {
            key: digest("key", &[&caller, key.as_bytes()]),
            request: digest("request", &[head.as_bytes(), target.as_bytes(), content_type, request.body()]),
        }))
    }

    /// As of this version.
    pub fn earlier(&self, state: &Snapshot, now_ms: u64) -> Earlier {
        self.judged(state.get(&KEYS, self.key.as_bytes()), now_ms)
    }

    /// The same inside a transaction.
    pub fn earlier_in(&self, tx: &mut Tx, now_ms: u64) -> Earlier {
        self.judged(tx.get(&KEYS, self.key.as_bytes()), now_ms)
    }

    /// Writes down that the request is carried out by this transaction. An answer that is too long is not kept: its transaction's id is.
    pub fn keep(&self, tx: &mut Tx, txid: TxId, answer: &[u8], now_ms: u64) {
        let mut totals = Totals::read(tx);
        if let Some(row) = tx.get(&KEYS, self.key.as_bytes()) {
            forget(tx, &mut totals, &self.key, &row);
        }
        let answer = if answer.len() > IDEMPOTENT_ANSWER_BYTES_MAX { &[] } else { answer };
        let row = Row { request: self.request, txid, at_ms: now_ms, answer: Bytes::copy_from_slice(answer) };
        let encoded = row.encode();
        totals.rows += 1;
        totals.bytes += encoded.len() as u64;
        tx.put(&ORDER, row.place(), self.key.as_bytes().to_vec());
        tx.put(&KEYS, self.key.as_bytes().to_vec(), encoded);
        forget_oldest(tx, &mut totals, now_ms);
        tx.put(&TOTALS, SINGLETON.to_vec(), totals.encode());
    }

    /// The refusal of a key that was another request's.
    pub fn reused() -> Rejection {
        let message = "this Idempotency-Key was used with another request: use a new one";
        Rejection::new(RejectionReason::Duplicate, 422, message)
    }

    /// The refusal of a request whose first sending is not decided yet.
    pub fn in_use() -> Rejection {
        Rejection::new(RejectionReason::Busy, 409, "the first request with this Idempotency-Key is still under way")
    }

    fn judged(&self, row: Option<Bytes>, now_ms: u64) -> Earlier {
        match row.and_then(Row::decode) {
            Some(row) if now_ms >= row.at_ms.saturating_add(IDEMPOTENCY_KEPT_MS) => Earlier::None,
            Some(row) if row.request == self.request => Earlier::Same(row.txid, row.answer),
            Some(_) => Earlier::Other,
            None => Earlier::None,
        }
    }
}

/// A structured string (RFC 9651 §3.3.3), or what many clients send instead: the same without quotation marks.
fn key(value: &str) -> Option<&str> {
    let value = value.trim();
    let inner = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let plain = |byte: u8| (0x21..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\' | b',' | b';');
    (!inner.is_empty() && inner.len() <= IDEMPOTENCY_KEY_BYTES_MAX && inner.bytes().all(plain)).then_some(inner)
}

fn malformed() -> ApiError {
    let message = format!(
        "Idempotency-Key is one text of 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible characters, such as a UUID, in quotation marks or not"
    );
    ApiError::new(StatusCode::BAD_REQUEST, "InvalidHeaderValue", message)
}

/// Each part with its length, so that no two lists of parts have one digest.
fn digest(what: &str, parts: &[&[u8]]) -> Digest {
    let lengths: Vec<_> = parts.iter().map(|part| (part.len() as u64).to_le_bytes()).collect();
    let mut all: Vec<&[u8]> = vec![b"coco idempotency ", what.as_bytes()];
    for (length, part) in lengths.iter().zip(parts) {
        all.extend([&length[..], part]);
    }
    sha256_of(&all)
}

/// Those that have expired, a few at a time, and those that are too many.
fn forget_oldest(tx: &mut Tx, totals: &mut Totals, now_ms: u64) {
    const EXPIRED_AT_A_TIME: usize = 4;
    for at in 0.. {
        let oldest = tx.prefix(&ORDER, b"").next();
        let Some((place, key)) = oldest else { return };
        let at_ms = place.get(..8).map_or(0, |mut bytes| bytes.get_u64());
        let expired = now_ms >= at_ms.saturating_add(IDEMPOTENCY_KEPT_MS) && at < EXPIRED_AT_A_TIME;
        if !expired && totals.rows <= IDEMPOTENCY_KEYS_MAX && totals.bytes <= IDEMPOTENCY_BYTES_MAX {
            return;
        }
        let digest = key.as_ref().try_into().map(Digest);
        let row = digest.ok().and_then(|digest| Some((digest, tx.get(&KEYS, digest.as_bytes())?)));
        match row {
            Some((digest, row)) => forget(tx, totals, &digest, &row),
            None => tx.remove(&ORDER, &place),
        }
    }
}

fn forget(tx: &mut Tx, totals: &mut Totals, key: &Digest, row: &Bytes) {
    totals.rows = totals.rows.saturating_sub(1);
    totals.bytes = totals.bytes.saturating_sub(row.len() as u64);
    if let Some(row) = Row::decode(row.clone()) {
        tx.remove(&ORDER, row.place());
    }
    tx.remove(&KEYS, key.as_bytes());
}

impl Row {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + self.answer.len());
        bytes.put_slice(self.request.as_bytes());
        bytes.put_u64(self.txid.view.0);
        bytes.put_u64(self.txid.seqno.0);
        bytes.put_u64(self.at_ms);
        bytes.put_slice(&self.answer);
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < HEAD_BYTES {
            return None;
        }
        let request = Digest(bytes.split_to(32).as_ref().try_into().ok()?);
        let txid = TxId::new(View(bytes.get_u64()), Seqno(bytes.get_u64()));
        Some(Self { request, txid, at_ms: bytes.get_u64(), answer: bytes })
    }

    /// Where it stands among the others: oldest first.
    fn place(&self) -> Vec<u8> {
        [self.at_ms.to_be_bytes(), self.txid.seqno.0.to_be_bytes()].concat()
    }
}

impl Totals {
    fn read(tx: &mut Tx) -> Self {
        match tx.get(&TOTALS, SINGLETON) {
            Some(mut bytes) if bytes.len() == 16 => Self { rows: bytes.get_u64(), bytes: bytes.get_u64() },
            _ => Self::default(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        [self.rows.to_be_bytes(), self.bytes.to_be_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use coco_kv::Store;

    use super::*;
    use crate::Identity;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn request(header: Option<&str>, target: &str, body: &str) -> Request<Bytes> {
        let mut request = Request::put(target);
        if let Some(value) = header {
            request = request.header("idempotency-key", value);
        }
        request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    fn once(key: u64, request: u8) -> Idempotent {
        Idempotent { key: sha256_of(&[&key.to_le_bytes()]), request: Digest([request; 32]) }
    }

    fn txid(seqno: u64) -> TxId {
        TxId::new(View(2), Seqno(seqno))
    }

    fn count(tx: &mut Tx) -> (usize, usize, u64) {
        (tx.prefix(&KEYS, b"").count(), tx.prefix(&ORDER, b"").count(), Totals::read(tx).rows)
    }

    #[test]
    fn a_key_is_a_text_in_quotation_marks_or_without() {
        let of = |header| Idempotent::of(&Caller::Anonymous, &request(header, "/app/records/a", "1"));
        assert_eq!(of(None), Ok(None));
        let quoted = of(Some("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"")).unwrap();
        assert!(quoted.is_some());
        assert_eq!(of(Some(" 8e03978e-40d5-43dd-bc93-6894a57f9324")).unwrap(), quoted);
        let long = "x".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
        for bad in ["", "\"\"", "\"a", "a b", "a,b", "\"a\";p=1", "\u{e9}", &long] {
            let error = of(Some(bad)).unwrap_err();
            assert_eq!((error.status.as_u16(), error.code), (400, "InvalidHeaderValue"), "{bad}");
        }
        let mut twice = request(Some("a"), "/", "");
        twice.headers_mut().append("idempotency-key", "b".parse().unwrap());
        assert!(Idempotent::of(&Caller::Anonymous, &twice).is_err());
    }

    #[test]
    fn a_key_is_its_callers_own_and_goes_with_one_request() {
        let of =
            |caller: &Caller, target, body| Idempotent::of(caller, &request(Some("k"), target, body)).unwrap().unwrap();
        let ann = Caller::from(vec![Identity::Participant("ann".to_owned())]);
        let first = of(&ann, "/app/records/a", "1");
        assert_eq!(of(&ann, "/app/records/a", "1"), first);
        assert_ne!(of(&Caller::Anonymous, "/app/records/a", "1").key, first.key);
        for (target, body) in [("/app/records/a", "2"), ("/app/records/b", "1"), ("/app/records/a?x", "1")] {
            let other = of(&ann, target, body);
            assert_eq!(other.key, first.key);
            assert_ne!(other.request, first.request);
        }
    }

    #[test]
    fn an_earlier_request_is_known_until_its_time_is_over() {
        let mut tx = Store::new().begin();
        assert_eq!(once(1, 1).earlier_in(&mut tx, NOW_MS), Earlier::None);
        once(1, 1).keep(&mut tx, txid(5), b"done", NOW_MS);
        let end = NOW_MS + IDEMPOTENCY_KEPT_MS;
        assert_eq!(once(1, 1).earlier_in(&mut tx, end - 1), Earlier::Same(txid(5), Bytes::from_static(b"done")));
        assert_eq!(once(1, 2).earlier_in(&mut tx, end - 1), Earlier::Other);
        assert_eq!(once(1, 2).earlier_in(&mut tx, end), Earlier::None);
        once(1, 2).keep(&mut tx, txid(6), &vec![0; IDEMPOTENT_ANSWER_BYTES_MAX + 1], end);
        assert_eq!(once(1, 2).earlier_in(&mut tx, end), Earlier::Same(txid(6), Bytes::new()));
        assert_eq!(count(&mut tx), (1, 1, 1));
    }

    #[test]
    fn what_has_expired_is_forgotten_and_so_are_the_oldest_of_too_many() {
        let mut tx = Store::new().begin();
        for at in 0..10 {
            once(at, 1).keep(&mut tx, txid(at), b"", NOW_MS);
        }
        for at in 10..13 {
            once(at, 1).keep(&mut tx, txid(at), b"", NOW_MS + IDEMPOTENCY_KEPT_MS);
        }
        assert_eq!(count(&mut tx), (3, 3, 3));
        let mut totals = Totals { rows: IDEMPOTENCY_KEYS_MAX + 2, bytes: 1000 };
        forget_oldest(&mut tx, &mut totals, NOW_MS);
        assert_eq!((totals.rows, tx.prefix(&KEYS, b"").count()), (IDEMPOTENCY_KEYS_MAX, 1));
        let mut totals = Totals { rows: 1, bytes: IDEMPOTENCY_BYTES_MAX + 1 };
        forget_oldest(&mut tx, &mut totals, NOW_MS);
        assert_eq!((totals.rows, tx.prefix(&ORDER, b"").count()), (0, 0));
    }
}
