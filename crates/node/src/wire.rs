//! What nodes ask of each other besides consensus: forwarded submissions and questions.
//!
//! All integers little-endian; byte strings are a u32 length and the bytes. Both ends are attested, yet every field is checked: a damaged
//! frame is an error, never a panic, and no count is believed before its bytes are there.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use coco_protocol::{Admitted, Caller, Idempotent, Rejection, RejectionReason, Submitted, Until};
use coco_types::{Digest, Seqno, TxId, View};

/// The kinds of request on a node channel.
pub mod kind {
    /// [`super::ForwardedSubmissions`], answered by the encoded [`super::Submitted`]s.
    pub const SUBMIT: u16 = 1;
    /// [`super::Question`], answered by a result.
    pub const ASK: u16 = 2;
    /// The newest committed position, answered by eight bytes: a linearizable read's first half.
    pub const READ_INDEX: u16 = 3;
    /// A join request in JSON, as on the HTTP API.
    pub const JOIN: u16 = 4;
    /// A member's signed request in JSON, answered in JSON.
    pub const GOVERN: u16 = 5;
    /// [`super::PieceRequest`], answered by a [`super::PieceAnswer`], or by nothing if the file is not there.
    pub const PIECE: u16 = 6;
    /// A question of a replica that comes back: see [`crate::comeback`].
    pub const RETURNING: u16 = 7;
    /// The network ends; answered by nothing.
    pub const STOP: u16 = 8;
    /// Fresh evidence of a node of the network, in the form of a join request; answered by a result in JSON.
    pub const RENEW: u16 = 10;
    /// A signed item of collateral in JSON, as on the HTTP API; answered by a result.
    pub const COLLATERAL: u16 = 11;
    /// Whether the sender has left the network; empty, answered by one byte.
    pub const MEMBERSHIP: u16 = 12;
    /// [`super::Question`] to the primary's protocol itself, which answers in its own words.
    pub const RELAY: u16 = 9;
    /// [`super::ForwardedSubmissions`] that the primary has pooled, for this node to remember; answered by nothing.
    pub const ENTRUST: u16 = 13;
    /// An [`super::Idempotent`] to be kept, answered by a result.
    pub const CLAIM: u16 = 20;
    /// A change of identity bindings in JSON behind its key, answered as submissions are.
    pub const BIND: u16 = 21;
}

/// Bytes that are not what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} from a peer")]
pub struct Malformed {
    what: &'static str,
}

/// Submissions that a peer admitted for its clients.
#[derive(Debug, PartialEq, Eq)]
pub struct ForwardedSubmissions {
    /// Index of the hosted ledger.
    pub ledger: usize,
    pub until: Until,
    /// Raw submission, finding, caller.
    pub submissions: Vec<(Bytes, Bytes, Caller)>,
}

/// A question to one ledger on the primary: to its pool, or to the protocol itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    pub ledger: usize,
    pub question: Bytes,
}

/// A file that another node may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Snapshot(Seqno),
    /// The committed chunk that begins with this transaction.
    ChunkFrom(Seqno),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceRequest {
    pub wanted: Wanted,
    pub offset: u64,
    pub bytes_max: u32,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceAnswer {
    /// The last transaction that the file covers.
    pub last: Seqno,
    /// The file's length.
    pub total: u64,
    pub bytes: Bytes,
}

/// What a primary tells with the offer of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotNote {
    pub seqno: Seqno,
    pub bytes: u64,
}

impl PieceRequest {
    pub(crate) const BYTES: usize = 21;

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(Self::BYTES);
        let (what, seqno) = match self.wanted {
            Wanted::Snapshot(seqno) => (0, seqno),
            Wanted::ChunkFrom(first) => (1, first),
        };
        out.put_u8(what);
        out.put_u64_le(seqno.0);
        out.put_u64_le(self.offset);
        out.put_u32_le(self.bytes_max);
        out.freeze()
    }

    pub fn decode(body: Bytes) -> Result<Self, Malformed> {
        let mut input = Input { bytes: body, what: "request for a piece" };
        let (what, seqno) = (input.u8()?, Seqno(input.u64()?));
        let wanted = match what {
            0 => Wanted::Snapshot(seqno),
            1 => Wanted::ChunkFrom(seqno),
            _ => return Err(input.malformed()),
        };
        let request = Self { wanted, offset: input.u64()?, bytes_max: input.u32()? };
        input.end()?;
        Ok(request)
    }
}

impl PieceAnswer {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.bytes.len() + 20);
        out.put_u64_le(self.last.0);
        out.put_u64_le(self.total);
        put(&mut out, &self.bytes);
        out.freeze()
    }

    pub fn decode(body: Bytes) -> Result<Self, Malformed> {
        let mut input = Input { bytes: body, what: "piece" };
        let answer = Self { last: Seqno(input.u64()?), total: input.u64()?, bytes: input.string()? };
        input.end()?;
        Ok(answer)
    }
}

impl SnapshotNote {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16);
        out.put_u64_le(self.seqno.0);
        out.put_u64_le(self.bytes);
        out.freeze()
    }

    pub fn decode(note: Bytes) -> Result<Self, Malformed> {
        let mut input = Input { bytes: note, what: "offer of a snapshot" };
        let note = Self { seqno: Seqno(input.u64()?), bytes: input.u64()? };
        input.end()?;
        Ok(note)
    }
}

pub fn encode_submissions(ledger: usize, until: Until, admitted: &[Admitted]) -> Bytes {
    let bytes: usize = admitted.iter().map(|one| one.raw.len() + one.finding.len() + 64).sum();
    let mut out = BytesMut::with_capacity(bytes + 16);
    out.put_u32_le(narrow(ledger));
    match until {
        Until::Accepted => out.put_u8(0),
        Until::Committed => out.put_u8(1),
        Until::Once(key) => {
            out.put_u8(2);
            put_key(&mut out, key);
        }
    }
    out.put_u32_le(narrow(admitted.len()));
    for one in admitted {
        put(&mut out, &one.raw);
        put(&mut out, &one.finding);
        put_caller(&mut out, &one.caller);
    }
    out.freeze()
}

pub fn decode_submissions(body: Bytes) -> Result<ForwardedSubmissions, Malformed> {
    let mut input = Input { bytes: body, what: "submissions" };
    let ledger = input.u32()? as usize;
    let until = match input.u8()? {
        0 => Until::Accepted,
        1 => Until::Committed,
        2 => Until::Once(input.key()?),
        _ => return Err(input.malformed()),
    };
    let count = input.u32()?;
    let mut submissions = Vec::new();
    for _ in 0..count {
        submissions.push((input.string()?, input.string()?, input.caller()?));
    }
    input.end()?;
    Ok(ForwardedSubmissions { ledger, until, submissions })
}

pub fn encode_answers(answers: &[Submitted]) -> Bytes {
    let mut out = BytesMut::with_capacity(answers.len() * 8 + 16);
    out.put_u32_le(narrow(answers.len()));
    for answer in answers {
        match answer {
            Submitted::Accepted => out.put_u8(0),
            Submitted::Committed { txid, response } => {
                out.put_u8(1);
                put_txid(&mut out, *txid);
                put(&mut out, response);
            }
            Submitted::Rejected(rejection) => {
                out.put_u8(2);
                put_rejection(&mut out, rejection);
            }
            Submitted::Unknown(Some(txid)) => {
                out.put_u8(3);
                put_txid(&mut out, *txid);
            }
            Submitted::Unavailable => out.put_u8(4),
            Submitted::Unknown(None) => out.put_u8(5),
        }
    }
    out.freeze()
}

pub fn decode_answers(body: Bytes) -> Result<Vec<Submitted>, Malformed> {
    let mut input = Input { bytes: body, what: "answers" };
    let count = input.u32()?;
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(match input.u8()? {
            0 => Submitted::Accepted,
            1 => Submitted::Committed { txid: input.txid()?, response: input.string()? },
            2 => Submitted::Rejected(input.rejection()?),
            3 => Submitted::Unknown(Some(input.txid()?)),
            4 => Submitted::Unavailable,
            5 => Submitted::Unknown(None),
            _ => return Err(input.malformed()),
        });
    }
    input.end()?;
    Ok(answers)
}

pub fn encode_question(question: &Question) -> Bytes {
    let mut out = BytesMut::with_capacity(question.question.len() + 8);
    out.put_u32_le(narrow(question.ledger));
    put(&mut out, &question.question);
    out.freeze()
}

pub fn decode_question(body: Bytes) -> Result<Question, Malformed> {
    let mut input = Input { bytes: body, what: "question" };
    let question = Question { ledger: input.u32()? as usize, question: input.string()? };
    input.end()?;
    Ok(question)
}

pub fn encode_result(result: &Result<Bytes, Rejection>) -> Bytes {
    let mut out = BytesMut::new();
    match result {
        Ok(answer) => {
            out.put_u8(0);
            put(&mut out, answer);
        }
        Err(rejection) => {
            out.put_u8(1);
            put_rejection(&mut out, rejection);
        }
    }
    out.freeze()
}

pub fn decode_result(body: Bytes) -> Result<Result<Bytes, Rejection>, Malformed> {
    let mut input = Input { bytes: body, what: "result" };
    let result = match input.u8()? {
        0 => Ok(input.string()?),
        1 => Err(input.rejection()?),
        _ => return Err(input.malformed()),
    };
    input.end()?;
    Ok(result)
}

/// With what precedes it, if anything.
pub fn encode_key(key: Option<Idempotent>, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(body.len() + 98);
    out.put_u8(key.is_some().into());
    if let Some(key) = key {
        put_key(&mut out, key);
    }
    out.put_slice(body);
    out.freeze()
}

/// A key, if there is one, and the rest.
pub fn decode_key(body: Bytes) -> Result<(Option<Idempotent>, Bytes), Malformed> {
    let mut input = Input { bytes: body, what: "idempotency key" };
    let key = match input.u8()? {
        0 => None,
        1 => Some(input.key()?),
        _ => return Err(input.malformed()),
    };
    Ok((key, input.bytes))
}

fn put_key(out: &mut BytesMut, key: Idempotent) {
    for digest in [key.key, key.request, key.owner] {
        out.put_slice(digest.as_bytes());
    }
    out.put_u8(key.signed.into());
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32_le(narrow(bytes.len()));
    out.put_slice(bytes);
}

fn put_txid(out: &mut BytesMut, txid: TxId) {
    out.put_u64_le(txid.view.0);
    out.put_u64_le(txid.seqno.0);
}

/// Empty for the common case, so that it costs four bytes.
fn put_caller(out: &mut BytesMut, caller: &Caller) {
    match caller {
        Caller::Anonymous => put(out, b""),
        Caller::Identified(_) => put(out, &serde_json::to_vec(caller).expect("a caller has only string keys")),
    }
}

fn put_rejection(out: &mut BytesMut, rejection: &Rejection) {
    out.put_u8(match rejection.reason {
        RejectionReason::Invalid => 0,
        RejectionReason::Duplicate => 1,
        RejectionReason::Refused => 2,
        RejectionReason::Busy => 3,
        RejectionReason::Closed => 4,
    });
    out.put_i64_le(rejection.code);
    put(out, rejection.message.as_bytes());
    out.put_u8(rejection.data.is_some().into());
    put(out, rejection.data.as_deref().unwrap_or_default());
}

/// Frames are far below 4 GiB: the channel refuses larger ones.
fn narrow(len: usize) -> u32 {
    u32::try_from(len).expect("a frame is smaller than 4 GiB")
}

struct Input {
    bytes: Bytes,
    what: &'static str,
}

impl Input {
    fn malformed(&self) -> Malformed {
        Malformed { what: self.what }
    }

    fn need(&self, len: usize) -> Result<(), Malformed> {
        if self.bytes.remaining() < len { Err(self.malformed()) } else { Ok(()) }
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.need(1)?;
        Ok(self.bytes.get_u8())
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.need(4)?;
        Ok(self.bytes.get_u32_le())
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.need(8)?;
        Ok(self.bytes.get_u64_le())
    }

    fn string(&mut self) -> Result<Bytes, Malformed> {
        let len = self.u32()? as usize;
        self.need(len)?;
        Ok(self.bytes.split_to(len))
    }

    fn txid(&mut self) -> Result<TxId, Malformed> {
        Ok(TxId::new(View(self.u64()?), Seqno(self.u64()?)))
    }

    fn key(&mut self) -> Result<Idempotent, Malformed> {
        let (key, request, owner) = (self.digest()?, self.digest()?, self.digest()?);
        let signed = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(self.malformed()),
        };
        Ok(Idempotent { key, request, owner, signed })
    }

    fn digest(&mut self) -> Result<Digest, Malformed> {
        self.need(32)?;
        let bytes = self.bytes.split_to(32);
        bytes.as_ref().try_into().map(Digest).map_err(|_| self.malformed())
    }

    fn caller(&mut self) -> Result<Caller, Malformed> {
        let json = self.string()?;
        if json.is_empty() {
            return Ok(Caller::Anonymous);
        }
        serde_json::from_slice(&json).map_err(|_| self.malformed())
    }

    fn rejection(&mut self) -> Result<Rejection, Malformed> {
        let reason = match self.u8()? {
            0 => RejectionReason::Invalid,
            1 => RejectionReason::Duplicate,
            2 => RejectionReason::Refused,
            3 => RejectionReason::Busy,
            4 => RejectionReason::Closed,
            _ => return Err(self.malformed()),
        };
        self.need(8)?;
        let code = self.bytes.get_i64_le();
        let message = String::from_utf8(self.string()?.to_vec()).map_err(|_| self.malformed())?;
        let has_data = self.u8()? == 1;
        let data = self.string()?;
        Ok(Rejection { reason, code, message, data: has_data.then_some(data) })
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coco_protocol::Identity;

    use super::*;

    fn answers() -> Vec<Submitted> {
        let txid = TxId::new(View(3), Seqno(9));
        let mut rejection = Rejection::new(RejectionReason::Refused, -32000, "nonce too low");
        rejection.data = Some(Bytes::from_static(b"data"));
        vec![
            Submitted::Accepted,
            Submitted::Committed { txid, response: Bytes::from_static(b"ok") },
            Submitted::Rejected(rejection),
            Submitted::Unknown(Some(txid)),
            Submitted::Unknown(None),
            Submitted::Unavailable,
        ]
    }

    #[test]
    fn answers_and_submissions_survive_the_wire() {
        assert_eq!(decode_answers(encode_answers(&answers())), Ok(answers()));
        let caller = Caller::Identified(vec![Identity::Member("ab".to_owned())]);
        let admitted = Admitted {
            raw: Bytes::from_static(b"raw"),
            id: Bytes::from_static(b"id"),
            finding: Bytes::from_static(b"sender"),
            caller: caller.clone(),
            decoded: Arc::new(()),
        };
        let decoded =
            decode_submissions(encode_submissions(2, Until::Committed, &[admitted.clone(), admitted])).unwrap();
        let one = (Bytes::from_static(b"raw"), Bytes::from_static(b"sender"), caller);
        let submissions = vec![one.clone(), one];
        assert_eq!(decoded, ForwardedSubmissions { ledger: 2, until: Until::Committed, submissions });
        let key = Idempotent { key: Digest([1; 32]), request: Digest([2; 32]), owner: Digest([3; 32]), signed: true };
        let decoded = decode_submissions(encode_submissions(0, Until::Once(key), &[])).unwrap();
        assert_eq!(decoded.until, Until::Once(key));
        for key in [None, Some(key)] {
            assert_eq!(decode_key(encode_key(key, b"rest")), Ok((key, Bytes::from_static(b"rest"))));
        }
        assert!(decode_key(encode_key(Some(key), b"").slice(..97)).is_err());
    }

    #[test]
    fn truncated_and_extended_frames_are_refused() {
        let bytes = encode_answers(&answers());
        for len in 0..bytes.len() {
            assert!(decode_answers(bytes.slice(..len)).is_err(), "{len}");
        }
        assert!(decode_answers([&bytes[..], &[0]].concat().into()).is_err());
        assert!(decode_submissions(Bytes::from_static(&[0, 0, 0, 0, 0, 255, 255, 255, 255])).is_err());
    }
}
