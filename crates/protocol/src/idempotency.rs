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
//! request is a new one. Each caller fills its own part only, and those who prove nothing share one.
//!
//! A *signed* request must never become a new one while its signature is taken: whoever holds a copy would execute it again. So those
//! are counted apart, and none is forgotten within that time; when there is no room, further ones have to wait.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_crypto::sha256_of;
use coco_kv::{Snapshot, Tx};
use coco_types::limits::{
    IDEMPOTENCY_BYTES_MAX, IDEMPOTENCY_BYTES_PER_CALLER_MAX, IDEMPOTENCY_KEPT_MS, IDEMPOTENCY_KEY_BYTES_MAX,
    IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_KEYS_PER_CALLER_MAX, IDEMPOTENT_ANSWER_BYTES_MAX, SIGNED_REQUEST_KEPT_MS,
    SIGNED_REQUESTS_KEPT_MAX, SIGNED_REQUESTS_PER_CALLER_MAX,
};
use coco_types::{Digest, MapName, Seqno, TxId, View};
use http::header::HeaderName;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{ApiError, Caller, Rejection, RejectionReason};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Digest of caller and key → digest of the request, whose it is, transaction, time, answer.
const KEYS: MapName = MapName::from_static("coco.idempotency.keys");
/// Part, time and place → digest of caller and key, for forgetting the oldest.
const ORDER: MapName = MapName::from_static("coco.idempotency.order");
/// Part → how many of it there are, and their bytes.
const TOTALS: MapName = MapName::from_static("coco.idempotency.totals");
const HEAD_BYTES: usize = 64 + 1 + 24;
const PLACE_BYTES: usize = 16;

/// A request that may come again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Idempotent {
    /// Of whose and which key.
    pub key: Digest,
    /// Of what is asked for.
    pub request: Digest,
    /// Whose part it takes room of: that of what the caller proved. One for all who proved nothing.
    pub owner: Digest,
    /// The key is a signed request itself.
    pub signed: bool,
}

/// Beside a request that somebody signed as a whole, which is its own key.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest;

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
    part: Part,
    txid: TxId,
    at_ms: u64,
    answer: Bytes,
}

/// Whose rows, and of which kind.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part {
    /// `None`: everybody's.
    owner: Option<Digest>,
    signed: bool,
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
            owner: digest("owner", &[&caller]),
            signed: request.extensions().get::<SignedRequest>().is_some(),
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

    /// Before the request is carried out: whether it can be remembered for as long as it must.
    pub fn check_room(&self, tx: &mut Tx, now_ms: u64) -> Result<(), Rejection> {
        if !self.signed || tx.get(&KEYS, self.key.as_bytes()).is_some() {
            return Ok(());
        }
        for part in self.parts() {
            let is_full = Totals::read(tx, part).rows >= part.rows_max();
            let oldest = is_full.then(|| part.oldest(tx)).flatten();
            if oldest.is_some_and(|(at_ms, _)| now_ms < at_ms.saturating_add(SIGNED_REQUEST_KEPT_MS)) {
                let message = "too many signed requests are remembered: try again later";
                return Err(Rejection::new(RejectionReason::Busy, -32005, message));
            }
        }
        Ok(())
    }

    /// Writes down that the request is carried out by this transaction. An answer that is too long is not kept: its transaction's id is.
    pub fn keep(&self, tx: &mut Tx, txid: TxId, answer: &[u8], now_ms: u64) {
        forget(tx, &self.key);
        let kept = answer.len() <= IDEMPOTENT_ANSWER_BYTES_MAX && self.has_bytes(tx, HEAD_BYTES + answer.len());
        let answer = if kept { Bytes::copy_from_slice(answer) } else { Bytes::new() };
        let part = Part { owner: Some(self.owner), signed: self.signed };
        let row = Row { request: self.request, part, txid, at_ms: now_ms, answer };
        let encoded = row.encode();
        for part in self.parts() {
            forget_oldest(tx, part, encoded.len() as u64, now_ms);
        }
        for part in self.parts() {
            let mut totals = Totals::read(tx, part);
            totals.rows += 1;
            totals.bytes += encoded.len() as u64;
            totals.write(tx, part);
            tx.put(&ORDER, part.place(&row), self.key.as_bytes().to_vec());
        }
        tx.put(&KEYS, self.key.as_bytes().to_vec(), encoded);
    }

    /// Its answer makes no signed request be forgotten.
    fn has_bytes(&self, tx: &mut Tx, bytes: usize) -> bool {
        !self.signed
            || self.parts().into_iter().all(|part| Totals::read(tx, part).bytes + bytes as u64 <= part.bytes_max())
    }

    fn parts(&self) -> [Part; 2] {
        [None, Some(self.owner)].map(|owner| Part { owner, signed: self.signed })
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

/// Those that have expired, a few at a time, and those that are too many once there is one more.
fn forget_oldest(tx: &mut Tx, part: Part, bytes: u64, now_ms: u64) {
    const EXPIRED_AT_A_TIME: usize = 4;
    for at in 0.. {
        let Some((at_ms, key)) = part.oldest(tx) else { return };
        let totals = Totals::read(tx, part);
        let expired = now_ms >= at_ms.saturating_add(IDEMPOTENCY_KEPT_MS) && at < EXPIRED_AT_A_TIME;
        // A signed one's answer was left out instead.
        let too_long = !part.signed && totals.bytes + bytes > part.bytes_max();
        if !expired && totals.rows < part.rows_max() && !too_long {
            return;
        }
        forget(tx, &key);
    }
}

fn forget(tx: &mut Tx, key: &Digest) {
    let Some(encoded) = tx.get(&KEYS, key.as_bytes()) else { return };
    tx.remove(&KEYS, key.as_bytes());
    let bytes = encoded.len() as u64;
    let Some(row) = Row::decode(encoded) else { return };
    for part in [Part { owner: None, ..row.part }, row.part] {
        tx.remove(&ORDER, part.place(&row));
        let mut totals = Totals::read(tx, part);
        totals.rows = totals.rows.saturating_sub(1);
        totals.bytes = totals.bytes.saturating_sub(bytes);
        totals.write(tx, part);
    }
}

impl Row {
    fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + self.answer.len());
        bytes.put_slice(self.request.as_bytes());
        bytes.put_slice(self.part.owner.unwrap_or(Digest::ZERO).as_bytes());
        bytes.put_u8(self.part.signed.into());
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
        let owner = Digest(bytes.split_to(32).as_ref().try_into().ok()?);
        let part = Part { owner: Some(owner), signed: bytes.get_u8() != 0 };
        let txid = TxId::new(View(bytes.get_u64()), Seqno(bytes.get_u64()));
        Some(Self { request, part, txid, at_ms: bytes.get_u64(), answer: bytes })
    }
}

impl Part {
    fn key(self) -> Vec<u8> {
        let kind = [u8::from(self.owner.is_some()), u8::from(self.signed)];
        [&kind[..], self.owner.as_ref().map_or(&[][..], |owner| owner.as_bytes())].concat()
    }

    /// Where a row stands among the others of this part: oldest first.
    fn place(self, row: &Row) -> Vec<u8> {
        [&self.key()[..], &row.at_ms.to_be_bytes(), &row.txid.seqno.0.to_be_bytes()].concat()
    }

    /// Its time and key.
    fn oldest(self, tx: &mut Tx) -> Option<(u64, Digest)> {
        let (place, key) = tx.prefix(&ORDER, &self.key()).next()?;
        let at = place.len().checked_sub(PLACE_BYTES)?;
        Some((place.get(at..)?.get_u64(), Digest(key.as_ref().try_into().ok()?)))
    }

    fn rows_max(self) -> u64 {
        match (self.owner.is_some(), self.signed) {
            (false, false) => IDEMPOTENCY_KEYS_MAX,
            (true, false) => IDEMPOTENCY_KEYS_PER_CALLER_MAX,
            (false, true) => SIGNED_REQUESTS_KEPT_MAX,
            (true, true) => SIGNED_REQUESTS_PER_CALLER_MAX,
        }
    }

    fn bytes_max(self) -> u64 {
        if self.owner.is_some() { IDEMPOTENCY_BYTES_PER_CALLER_MAX } else { IDEMPOTENCY_BYTES_MAX }
    }
}

impl Totals {
    fn read(tx: &mut Tx, part: Part) -> Self {
        match tx.get(&TOTALS, &part.key()) {
            Some(mut bytes) if bytes.len() == 16 => Self { rows: bytes.get_u64(), bytes: bytes.get_u64() },
            _ => Self::default(),
        }
    }

    fn write(&self, tx: &mut Tx, part: Part) {
        match self.rows {
            0 => tx.remove(&TOTALS, part.key()),
            _ => tx.put(&TOTALS, part.key(), [self.rows.to_be_bytes(), self.bytes.to_be_bytes()].concat()),
        }
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
        of_owner(key, request, 0, false)
    }

    fn of_owner(key: u64, request: u8, owner: u8, signed: bool) -> Idempotent {
        let key = sha256_of(&[&key.to_le_bytes(), &[owner]]);
        Idempotent { key, request: Digest([request; 32]), owner: Digest([owner; 32]), signed }
    }

    fn txid(seqno: u64) -> TxId {
        TxId::new(View(2), Seqno(seqno))
    }

    const ALL: Part = Part { owner: None, signed: false };

    /// Each is in order twice: among all, and among its owner's.
    fn count(tx: &mut Tx) -> (usize, usize, u64) {
        (tx.prefix(&KEYS, b"").count(), tx.prefix(&ORDER, b"").count() / 2, Totals::read(tx, ALL).rows)
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
        Totals { rows: IDEMPOTENCY_KEYS_MAX + 1, bytes: 1000 }.write(&mut tx, ALL);
        forget_oldest(&mut tx, ALL, 1, NOW_MS);
        assert_eq!((Totals::read(&mut tx, ALL).rows, tx.prefix(&KEYS, b"").count()), (IDEMPOTENCY_KEYS_MAX - 1, 1));
        Totals { rows: 1, bytes: IDEMPOTENCY_BYTES_MAX }.write(&mut tx, ALL);
        forget_oldest(&mut tx, ALL, 1, NOW_MS);
        assert_eq!(count(&mut tx), (0, 0, 0));
    }

    #[test]
    fn a_flood_of_one_callers_keys_makes_no_others_be_forgotten() {
        let mut tx = Store::new().begin();
        of_owner(1, 1, 1, false).keep(&mut tx, txid(1), b"done", NOW_MS);
        of_owner(2, 1, 1, true).keep(&mut tx, txid(2), b"done", NOW_MS);
        for at in 0..IDEMPOTENCY_KEYS_PER_CALLER_MAX + 5 {
            once(at, 1).keep(&mut tx, txid(10 + at), b"", NOW_MS);
        }
        let long = vec![0; IDEMPOTENT_ANSWER_BYTES_MAX];
        for at in 0..200 {
            of_owner(at, 1, 2, false).keep(&mut tx, txid(1_000_000 + at), &long, NOW_MS);
        }
        let own = |owner: u8| Part { owner: Some(Digest([owner; 32])), signed: false };
        assert_eq!(Totals::read(&mut tx, own(0)).rows, IDEMPOTENCY_KEYS_PER_CALLER_MAX);
        assert!(Totals::read(&mut tx, own(2)).bytes <= IDEMPOTENCY_BYTES_PER_CALLER_MAX);
        assert_eq!(once(4, 1).earlier_in(&mut tx, NOW_MS), Earlier::None);
        for (key, seqno) in [(of_owner(1, 1, 1, false), 1), (of_owner(2, 1, 1, true), 2)] {
            assert_eq!(key.earlier_in(&mut tx, NOW_MS), Earlier::Same(txid(seqno), Bytes::from_static(b"done")));
        }
    }

    #[test]
    fn no_signed_request_is_forgotten_while_its_signature_is_taken() {
        let mut tx = Store::new().begin();
        let signed = |key| of_owner(key, 1, 1, true);
        signed(1).keep(&mut tx, txid(1), b"", NOW_MS);
        for (part, max) in [(None, SIGNED_REQUESTS_KEPT_MAX), (Some(Digest([1; 32])), SIGNED_REQUESTS_PER_CALLER_MAX)] {
            let part = Part { owner: part, signed: true };
            let few = Totals::read(&mut tx, part);
            Totals { rows: max, bytes: 1000 }.write(&mut tx, part);
            let busy = signed(2).check_room(&mut tx, NOW_MS + SIGNED_REQUEST_KEPT_MS - 1);
            assert_eq!(busy.map_err(|rejection| rejection.reason), Err(RejectionReason::Busy));
            assert_eq!(signed(1).check_room(&mut tx, NOW_MS), Ok(()));
            assert_eq!(signed(2).check_room(&mut tx, NOW_MS + SIGNED_REQUEST_KEPT_MS), Ok(()));
            few.write(&mut tx, part);
        }
        // There is no room for answers: it is known all the same.
        Totals { rows: 1, bytes: IDEMPOTENCY_BYTES_MAX }.write(&mut tx, Part { owner: None, signed: true });
        signed(3).keep(&mut tx, txid(3), b"answer", NOW_MS);
        assert_eq!(signed(3).earlier_in(&mut tx, NOW_MS), Earlier::Same(txid(3), Bytes::new()));
        assert_eq!(signed(1).earlier_in(&mut tx, NOW_MS), Earlier::Same(txid(1), Bytes::new()));
    }
}
