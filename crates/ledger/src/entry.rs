//! One ledger entry, as it lies in a chunk file. `docs/formats/ledger.md` has the table.
//!
//! Encoding writes straight into the batch's buffer: the public part, then the private part, sealed in place.
//! Decoding accepts only what encoding produces: maps and keys sorted and unique, no empty map, every reserved field zero.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use coco_crypto::{AeadKey, NONCE_BYTES, Nonce, TAG_BYTES, Tag, sha256};
use coco_types::{Confidentiality, Digest, MapName, MapWrites, Seqno, TxId, View, WriteSet, limits};

use crate::Error;
use crate::leaf::leaf_digest;

/// The chunk ends after this entry.
pub const FLAG_CHUNK_AFTER: u8 = 0x01;

const VERSION: u8 = 1;
/// Version, flags, size.
const HEADER_BYTES: usize = 8;
const TAG: Range<usize> = 8..24;
const PUBLIC_LEN_AT: usize = 36;
/// Up to the public domain.
pub(crate) const HEAD_BYTES: usize = 44;

/// Write set with claims and commit evidence: the only type Coco writes.
const ENTRY_TYPE: u8 = 4;
/// Type, version, claims digest, evidence digest, reserved.
const DOMAIN_HEAD_BYTES: usize = 1 + 8 + 32 + 32 + 8;
/// The nonce holds the view in 31 bits; the top bit marks a snapshot.
const ENTRY_VIEW_MAX: u64 = (1 << 31) - 1;

/// What an entry says about itself in the clear, beside its writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EntryFields {
    pub txid: TxId,
    pub flags: u8,
    pub claims_digest: Digest,
    pub evidence_digest: Digest,
}

/// Appends one entry to `out` and returns where it lies. `key` seals each (seqno, view) once.
pub(crate) fn append_entry(
    out: &mut Vec<u8>,
    fields: &EntryFields,
    writes: &WriteSet,
    key: &AeadKey,
) -> Result<Range<usize>, Error> {
    let start = out.len();
    let nonce = nonce(fields.txid);
    out.extend_from_slice(&[VERSION, fields.flags, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&[0; TAG_BYTES]);
    out.extend_from_slice(&nonce.0);
    out.extend_from_slice(&[0; 8]);
    let public = out.len();
    out.push(ENTRY_TYPE);
    push_u64(out, fields.txid.seqno.0);
    out.extend_from_slice(fields.claims_digest.as_bytes());
    out.extend_from_slice(fields.evidence_digest.as_bytes());
    push_u64(out, 0);
    push_maps(out, writes, Confidentiality::Public);
    let private = out.len();
    push_maps(out, writes, Confidentiality::Private);

    let entry_bytes = (out.len() - start) as u64;
    if entry_bytes > limits::ENTRY_BYTES_MAX {
        out.truncate(start);
        return Err(Error::TooLarge { what: "a transaction", bytes: entry_bytes, bytes_max: limits::ENTRY_BYTES_MAX });
    }
    let size = entry_bytes - HEADER_BYTES as u64;
    out[start + 2..start + HEADER_BYTES].copy_from_slice(&size.to_le_bytes()[..6]);
    out[start + PUBLIC_LEN_AT..public].copy_from_slice(&((private - public) as u64).to_le_bytes());
    let (clear, plaintext) = out.split_at_mut(private);
    let tag = key.seal(nonce, &clear[public..], plaintext);
    out[start + TAG.start..start + TAG.end].copy_from_slice(&tag);
    Ok(start..out.len())
}

/// Where an entry ends and which one it is: all that the files need to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryHead {
    pub txid: TxId,
    pub flags: u8,
    /// Of the whole entry.
    pub entry_bytes: usize,
}

impl EntryHead {
    /// Reads the first [`HEAD_BYTES`] of an entry.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields { rest: bytes };
        let [version, flags, size @ ..] = *fields.array::<HEADER_BYTES>()?;
        if version != VERSION {
            return Err(malformed("unknown version"));
        }
        if flags & !FLAG_CHUNK_AFTER != 0 {
            return Err(malformed("unknown flags"));
        }
        let size = size.iter().rev().fold(0, |size, byte| size << 8 | u64::from(*byte));
        let entry_bytes = size + HEADER_BYTES as u64;
        let least = (HEAD_BYTES + DOMAIN_HEAD_BYTES) as u64;
        if !(least..=limits::ENTRY_BYTES_MAX).contains(&entry_bytes) {
            return Err(malformed("impossible size"));
        }
        fields.take(TAG_BYTES)?;
        let seqno = fields.u64()?;
        if seqno > Seqno::MAX.0 {
            return Err(malformed("an impossible seqno"));
        }
        let view = u64::from(u32::from_le_bytes(*fields.array()?));
        if view > ENTRY_VIEW_MAX {
            return Err(malformed("a snapshot, not a transaction"));
        }
        if fields.u64()? > size {
            return Err(malformed("the public part exceeds the entry"));
        }
        let entry_bytes = usize::try_from(entry_bytes).map_err(|_| malformed("impossible size"))?;
        Ok(Self { txid: TxId::new(View(view), Seqno(seqno)), flags, entry_bytes })
    }
}

/// An entry whose frame was checked. Its maps are not decoded before they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    head: EntryHead,
    claims_digest: Digest,
    evidence_digest: Digest,
    raw: &'a [u8],
    /// The public domain: the additional data of the seal.
    public: &'a [u8],
    /// The encoded maps within it.
    public_maps: &'a [u8],
    sealed: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The first entry of `bytes`, and what follows it.
    pub fn split_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let head = EntryHead::read(bytes)?;
        let (raw, rest) = bytes.split_at_checked(head.entry_bytes).ok_or(malformed("cut off"))?;
        let mut fields = Fields { rest: raw };
        fields.take(PUBLIC_LEN_AT)?;
        let public = fields.len_prefixed()?;
        let sealed = fields.rest;
        let mut domain = Fields { rest: public };
        if *domain.array::<1>()? != [ENTRY_TYPE] {
            return Err(malformed("unknown entry type"));
        }
        if domain.u64()? != head.txid.seqno.0 {
            return Err(malformed("two different seqnos"));
        }
        let claims_digest = Digest(*domain.array()?);
        let evidence_digest = Digest(*domain.array()?);
        if domain.u64()? != 0 {
            return Err(malformed("a reserved field is not zero"));
        }
        let public_maps = domain.rest;
        Ok((Self { head, claims_digest, evidence_digest, raw, public, public_maps, sealed }, rest))
    }

    pub fn txid(&self) -> TxId {
        self.head.txid
    }

    pub fn head(&self) -> EntryHead {
        self.head
    }

    pub fn claims_digest(&self) -> Digest {
        self.claims_digest
    }

    pub fn evidence_digest(&self) -> Digest {
        self.evidence_digest
    }

    /// The entry's bytes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Bytes of the sealed part.
    pub fn sealed_bytes(&self) -> usize {
        self.sealed.len()
    }

    pub fn write_set_digest(&self) -> Digest {
        sha256(self.raw)
    }

    pub fn leaf_digest(&self) -> Digest {
        leaf_digest(&self.write_set_digest(), &self.evidence_digest, &self.claims_digest)
    }

    /// The writes to `public:` maps.
    pub fn public_writes(&self) -> Result<WriteSet, Error> {
        decode_maps(self.public_maps, Confidentiality::Public)
    }

    /// All writes. Fails if anything in the public or the sealed part was altered.
    pub fn open(&self, key: &AeadKey) -> Result<WriteSet, Error> {
        let txid = self.head.txid;
        let tag: &Tag = self.raw.get(TAG).and_then(|tag| tag.try_into().ok()).ok_or(malformed("cut off"))?;
        let mut plaintext = self.sealed.to_vec();
        key.open(nonce(txid), self.public, &mut plaintext, tag).map_err(|_| Error::NotAuthentic { txid })?;
        let public = self.public_writes()?;
        let private = decode_maps(&plaintext, Confidentiality::Private)?;
        Ok(public.into_iter().chain(private).collect())
    }
}

/// Seqno, then view, little-endian.
fn nonce(txid: TxId) -> Nonce {
    let view = u32::try_from(txid.view.0).ok().filter(|view| u64::from(*view) <= ENTRY_VIEW_MAX);
    let view = view.expect("a network has fewer than 2^31 views");
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&txid.seqno.0.to_le_bytes());
    nonce[8..].copy_from_slice(&view.to_le_bytes());
    Nonce(nonce)
}

fn push_maps(out: &mut Vec<u8>, writes: &WriteSet, confidentiality: Confidentiality) {
    for (name, writes) in writes {
        if writes.is_empty() || name.confidentiality() != confidentiality {
            continue;
        }
        push_bytes(out, name.as_str().as_bytes());
        push_u64(out, 0);
        push_u64(out, 0);
        let removed = writes.values().filter(|value| value.is_none()).count();
        push_u64(out, (writes.len() - removed) as u64);
        for (key, value) in writes {
            if let Some(value) = value {
                push_bytes(out, key);
                push_bytes(out, value);
            }
        }
        push_u64(out, removed as u64);
        if removed > 0 {
            writes.iter().filter(|(_, value)| value.is_none()).for_each(|(key, _)| push_bytes(out, key));
        }
    }
}

fn push_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn decode_maps(bytes: &[u8], confidentiality: Confidentiality) -> Result<WriteSet, Error> {
    let mut fields = Fields { rest: bytes };
    let mut maps: Vec<(MapName, MapWrites)> = Vec::new();
    while !fields.rest.is_empty() {
        let name = std::str::from_utf8(fields.len_prefixed()?).map_err(|_| malformed("a map's name is not UTF-8"))?;
        if maps.last().is_some_and(|(previous, _)| previous.as_str() >= name) {
            return Err(malformed("maps are not sorted and unique"));
        }
        let name = MapName::new(name);
        if name.confidentiality() != confidentiality {
            return Err(malformed("a map in the wrong part"));
        }
        if (fields.u64()?, fields.u64()?) != (0, 0) {
            return Err(malformed("a reserved field is not zero"));
        }
        maps.push((name, decode_map(&mut fields)?));
    }
    Ok(maps.into_iter().collect())
}

fn decode_map(fields: &mut Fields<'_>) -> Result<MapWrites, Error> {
    let mut writes = BTreeMap::new();
    // Counts come from the input; memory only grows with the bytes that are there.
    let written = fields.u64()?;
    let mut previous: Option<&[u8]> = None;
    for _ in 0..written {
        let key = fields.next_key(&mut previous)?;
        let value = fields.len_prefixed()?;
        writes.insert(Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(value)));
    }
    let removed = fields.u64()?;
    let mut previous: Option<&[u8]> = None;
    for _ in 0..removed {
        let key = fields.next_key(&mut previous)?;
        if writes.insert(Bytes::copy_from_slice(key), None).is_some() {
            return Err(malformed("a key is both written and removed"));
        }
    }
    if writes.is_empty() { Err(malformed("an empty map")) } else { Ok(writes) }
}

/// Reads fields from untrusted bytes.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(malformed("cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(malformed("cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn len_prefixed(&mut self) -> Result<&'a [u8], Error> {
        let len = usize::try_from(self.u64()?).map_err(|_| malformed("cut off"))?;
        self.take(len)
    }

    /// A key that sorts after the one before it.
    fn next_key(&mut self, previous: &mut Option<&'a [u8]>) -> Result<&'a [u8], Error> {
        let key = self.len_prefixed()?;
        if previous.is_some_and(|previous| previous >= key) {
            return Err(malformed("keys are not sorted and unique"));
        }
        *previous = Some(key);
        Ok(key)
    }
}

fn malformed(why: &'static str) -> Error {
    Error::MalformedEntry { why }
}

#[cfg(test)]
mod tests {
    use coco_crypto::SymmetricKey;

    use super::*;

    fn key() -> AeadKey {
        AeadKey::new(&SymmetricKey::from_bytes([9; 32]))
    }

    fn fields() -> EntryFields {
        let txid = TxId::new(View(3), Seqno(7));
        EntryFields { txid, flags: 0, claims_digest: Digest([1; 32]), evidence_digest: Digest([2; 32]) }
    }

    fn writes() -> WriteSet {
        let mut writes = WriteSet::new();
        let mut insert = |map: &'static str, key: &'static [u8], value: Option<&'static [u8]>| {
            writes.insert(&MapName::from_static(map), Bytes::from_static(key), value.map(Bytes::from_static));
        };
        insert("public:b", b"key", Some(b"value"));
        insert("public:b", b"gone", None);
        insert("public:a", b"", Some(b""));
        insert("records", b"secret", Some(b"canary"));
        insert("records", b"removed", None);
        insert("accounts", b"x", Some(b"y"));
        writes.map_mut(&MapName::from_static("public:empty"));
        writes
    }

    fn encoded() -> Vec<u8> {
        let mut bytes = Vec::new();
        append_entry(&mut bytes, &fields(), &writes(), &key()).unwrap();
        bytes
    }

    #[test]
    fn an_entry_opens_to_what_was_written() {
        let bytes = encoded();
        let (entry, rest) = Entry::split_first(&bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!(entry.txid(), fields().txid);
        assert_eq!(entry.claims_digest(), Digest([1; 32]));
        assert_eq!(entry.evidence_digest(), Digest([2; 32]));
        let mut expected = writes();
        expected = expected.into_iter().filter(|(_, writes)| !writes.is_empty()).collect();
        assert_eq!(entry.open(&key()).unwrap(), expected);
        let public = entry.public_writes().unwrap();
        assert!(public.iter().all(|(name, _)| name.confidentiality() == Confidentiality::Public));
        assert_eq!(public.len(), 3);
    }

    #[test]
    fn private_writes_are_not_readable_in_the_file() {
        let bytes = encoded();
        for canary in [&b"canary"[..], b"records", b"secret", b"removed"] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary));
        }
    }

    #[test]
    fn every_flipped_bit_is_seen_when_opening() {
        let bytes = encoded();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // The chunk flag alone is outside the seal; the leaf covers it.
            if bit == 8 {
                let (entry, _) = Entry::split_first(&changed).unwrap();
                assert_ne!(entry.leaf_digest(), Entry::split_first(&bytes).unwrap().0.leaf_digest());
                continue;
            }
            let opened = Entry::split_first(&changed).and_then(|(entry, _)| entry.open(&key()));
            assert!(opened.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_truncated_entry_is_refused_and_an_extended_one_leaves_the_extension() {
        let bytes = encoded();
        for len in 0..bytes.len() {
            assert!(Entry::split_first(&bytes[..len]).is_err());
        }
        let extended = [&bytes[..], &[1]].concat();
        assert_eq!(Entry::split_first(&extended).unwrap().1, [1]);
    }

    #[test]
    fn maps_in_another_order_or_form_are_refused() {
        let map = |name: &str, body: &[u64]| {
            let mut bytes = Vec::new();
            push_bytes(&mut bytes, name.as_bytes());
            body.iter().for_each(|value| push_u64(&mut bytes, *value));
            bytes
        };
        // Read version, read count, one write of two empty strings, no removal.
        let good = [0, 0, 1, 0, 0, 0];
        let decode = |bytes: Vec<u8>| decode_maps(&bytes, Confidentiality::Public);
        assert!(decode([map("public:a", &good), map("public:b", &good)].concat()).is_ok());
        assert!(decode([map("public:b", &good), map("public:a", &good)].concat()).is_err());
        assert!(decode([map("public:a", &good), map("public:a", &good)].concat()).is_err());
        assert!(decode(map("private", &good)).is_err());
        assert!(decode(map("public:a", &[1, 0, 1, 0, 0, 0])).is_err());
        assert!(decode(map("public:a", &[0, 1, 1, 0, 0, 0])).is_err());
        assert!(decode(map("public:a", &[0, 0, 0, 0])).is_err());
        assert!(decode(map("public:a", &[0, 0, 2, 0, 0, 0, 0, 0])).is_err());
        assert!(decode(map("public:a", &[0, 0, 1, 0, 0, 1, 0])).is_err());
        assert!(decode(map("public:a", &[0, 0, u64::MAX, 0, 0])).is_err());
        assert!(decode(map("public:a", &[0, 0, 1, u64::MAX])).is_err());
    }

    #[test]
    fn an_oversized_entry_is_refused_and_leaves_the_buffer_as_it_was() {
        let mut writes = WriteSet::new();
        let value = Bytes::from(vec![0; usize::try_from(limits::ENTRY_BYTES_MAX).unwrap()]);
        writes.insert(&MapName::from_static("public:a"), Bytes::new(), Some(value));
        let mut bytes = b"before".to_vec();
        let refused = append_entry(&mut bytes, &fields(), &writes, &key());
        assert!(matches!(refused, Err(Error::TooLarge { .. })));
        assert_eq!(bytes, b"before");
    }
}
