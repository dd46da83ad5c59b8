//! History records: write-once records (blocks, receipts, logs) kept on disk beside the ledger, sealed and under blinded
//! keys, so that a disk tells neither what they say nor what they are about.
//!
//! ```text
//! blinded key = HMAC-SHA-256(blinding key, length of map (u64 le) || map || key)
//! value       = store id (16 bytes) || nonce (12: counter u64 le, form u32 le) || AES-256-GCM ciphertext || tag;
//!               additional data = the blinded key
//! ```
//!
//! Form 0 is a value. One of more than 64 KiB is kept in parts of 32 KiB, so that who needs a piece of it opens no more than that; what
//! stands under its key is of form 1, its length (u64 le), and each part is a value under a key of its own:
//!
//! ```text
//! key of a part = HMAC-SHA-256(blinding key, 2^64 - 1 (u64 le) || blinded key || number (u32 le))
//! ```
//!
//! Nonces: each *opening* of a store draws a fresh random store id (16 bytes, kept in clear in every value) and derives a
//! sealing key from it, under which a counter from 0 gives the nonces. So no (key, nonce) repeats even when a host rolls the
//! disk back: the next opening draws another id. The blinding key is the same for all openings.
//!
//! The store is advisory: every record is in the ledger, and the watermark says up to which transaction the store has them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use coco_crypto::{AeadKey, Crypto, Domain, MacKey, NONCE_BYTES, Nonce, SymmetricKey, TAG_BYTES, hkdf_sha256};
use coco_types::{MapName, TxId};
use parking_lot::Mutex;

use crate::Error;

const BLINDING_DOMAIN: Domain = Domain::new("coco history blinding");
const SEALING_DOMAIN: Domain = Domain::new("coco history sealing");
const STORE_ID_BYTES: usize = 16;
/// Where a part's key is made, this stands for the length of a map's name: no name is as long.
const PARTS: u64 = u64::MAX;
const PART_BYTES: usize = 32 << 10;
/// Longer values are kept in parts.
const WHOLE_BYTES_MAX: usize = 64 << 10;
const FORM_WHOLE: u32 = 0;
const FORM_PARTS: u32 = 1;
/// Sealing keys of earlier openings kept; beyond it they are derived again.
const OPENINGS_CACHED_MAX: usize = 64;

/// What a record is stored under.
pub type BlindedKey = [u8; 32];

/// Blinds keys and seals values of one store.
pub struct HistoryKeys {
    secret: SymmetricKey,
    blinding_key: MacKey,
    store_id: [u8; STORE_ID_BYTES],
    /// Of this opening.
    sealing_key: AeadKey,
    next_nonce: AtomicU64,
    by_store: Mutex<BTreeMap<[u8; STORE_ID_BYTES], Arc<AeadKey>>>,
}

impl HistoryKeys {
    /// `secret` is this node's own, kept with its sealed state; draws the store id of this opening.
    pub fn new(secret: &SymmetricKey, crypto: &dyn Crypto) -> Self {
        let mut store_id = [0; STORE_ID_BYTES];
        crypto.fill(&mut store_id);
        Self {
            secret: secret.clone(),
            blinding_key: MacKey::new(&hkdf_sha256(secret, BLINDING_DOMAIN, &[])),
            store_id,
            sealing_key: sealing_key(secret, &store_id),
            next_nonce: AtomicU64::new(0),
            by_store: Mutex::default(),
        }
    }

    pub fn blind(&self, map: &MapName, key: &[u8]) -> BlindedKey {
        let map = map.as_str().as_bytes();
        let mut message = Vec::with_capacity(8 + map.len() + key.len());
        message.extend_from_slice(&(map.len() as u64).to_le_bytes());
        message.extend_from_slice(map);
        message.extend_from_slice(key);
        self.blinding_key.tag(&message).0
    }

    /// Seals a value, which becomes one record, or several if it is long.
    pub fn seal(&self, key: &BlindedKey, value: &[u8], records: &mut Vec<(BlindedKey, Vec<u8>)>) {
        if value.len() <= WHOLE_BYTES_MAX {
            records.push((*key, self.seal_as(FORM_WHOLE, key, value)));
            return;
        }
        records.push((*key, self.seal_as(FORM_PARTS, key, &(value.len() as u64).to_le_bytes())));
        for (number, part) in (0..).zip(value.chunks(PART_BYTES)) {
            let key = self.blind_part(key, number);
            records.push((key, self.seal_as(FORM_WHOLE, &key, part)));
        }
    }

    /// Reads the bytes of a value that lie within `range`, all of them if there is none. `read` gives what is stored under a key. `None` if
    /// the value is absent, or shorter than that; fails if it was altered, or belongs to another key.
    pub fn open<E: From<Error>>(
        &self,
        key: &BlindedKey,
        range: Option<Range<usize>>,
        read: impl Fn(&BlindedKey) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Bytes>, E> {
        let Some(sealed) = read(key)? else { return Ok(None) };
        let (form, value) = self.open_sealed(key, sealed)?;
        if form == FORM_WHOLE {
            let range = range.unwrap_or(0..value.len());
            return Ok((range.start <= range.end && range.end <= value.len()).then(|| value.slice(range)));
        }
        let length = value[..].try_into().map(u64::from_le_bytes).ok().and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|_| form == FORM_PARTS).ok_or(Error::MalformedHistory)?;
        let range = range.unwrap_or(0..length);
        if range.start > range.end || range.end > length {
            return Ok(None);
        }
        let mut joined = Vec::with_capacity(range.len());
        for number in range.start / PART_BYTES..range.end.div_ceil(PART_BYTES) {
            let key = self.blind_part(key, u32::try_from(number).map_err(|_| Error::MalformedHistory)?);
            let sealed = read(&key)?.ok_or(Error::MalformedHistory)?;
            let (_, part) = self.open_sealed(&key, sealed)?;
            let first = number * PART_BYTES;
            let within = range.start.saturating_sub(first)..(range.end - first).min(PART_BYTES);
            joined.extend_from_slice(part.get(within).ok_or(Error::MalformedHistory)?);
        }
        Ok(Some(joined.into()))
    }

    fn blind_part(&self, key: &BlindedKey, number: u32) -> BlindedKey {
        let mut message = [0; 8 + 32 + 4];
        message[..8].copy_from_slice(&PARTS.to_le_bytes());
        message[8..40].copy_from_slice(key);
        message[40..].copy_from_slice(&number.to_le_bytes());
        self.blinding_key.tag(&message).0
    }

    fn seal_as(&self, form: u32, key: &BlindedKey, value: &[u8]) -> Vec<u8> {
        let counter = self.next_nonce.fetch_add(1, Ordering::Relaxed);
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&counter.to_le_bytes());
        nonce[8..].copy_from_slice(&form.to_le_bytes());
        let mut sealed = Vec::with_capacity(STORE_ID_BYTES + NONCE_BYTES + value.len() + TAG_BYTES);
        sealed.extend_from_slice(&self.store_id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value);
        let tag = self.sealing_key.seal(Nonce(nonce), key, &mut sealed[STORE_ID_BYTES + NONCE_BYTES..]);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Opens it where it lies.
    fn open_sealed(&self, key: &BlindedKey, mut sealed: Vec<u8>) -> Result<(u32, Bytes), Error> {
        let (store_id, rest) = sealed.split_first_chunk_mut::<STORE_ID_BYTES>().ok_or(Error::MalformedHistory)?;
        let (nonce, rest) = rest.split_first_chunk_mut::<NONCE_BYTES>().ok_or(Error::MalformedHistory)?;
        let (value, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().ok_or(Error::MalformedHistory)?;
        let opened = self.sealing_key_of(store_id).open(Nonce(*nonce), key, value, tag);
        opened.map_err(|_| Error::MalformedHistory)?;
        let [.., a, b, c, d] = *nonce;
        let value = STORE_ID_BYTES + NONCE_BYTES..sealed.len() - TAG_BYTES;
        Ok((u32::from_le_bytes([a, b, c, d]), Bytes::from(sealed).slice(value)))
    }

    fn sealing_key_of(&self, store_id: &[u8; STORE_ID_BYTES]) -> Arc<AeadKey> {
        let mut by_store = self.by_store.lock();
        if let Some(key) = by_store.get(store_id) {
            return Arc::clone(key);
        }
        if by_store.len() >= OPENINGS_CACHED_MAX {
            by_store.clear();
        }
        let key = Arc::new(sealing_key(&self.secret, store_id));
        by_store.insert(*store_id, Arc::clone(&key));
        key
    }
}

fn sealing_key(secret: &SymmetricKey, store_id: &[u8; STORE_ID_BYTES]) -> AeadKey {
    AeadKey::new(&hkdf_sha256(secret, SEALING_DOMAIN, store_id))
}

/// Where history records are. They arrive blinded and sealed: a store knows nothing.
pub trait HistoryStore: Send + Sync {
    fn read(&self, key: &BlindedKey) -> Result<Option<Vec<u8>>, Error>;

    /// Writes records and the watermark together: all of them survive a crash, or none.
    fn write(&self, records: &[(BlindedKey, Vec<u8>)], watermark: TxId) -> Result<(), Error>;

    /// Writes records that this node derived from others: all of them, or none. The watermark says nothing about them.
    fn keep(&self, records: &[(BlindedKey, Vec<u8>)]) -> Result<(), Error>;

    /// Records of transactions up to here are in the store; 0.0 if it is new.
    fn watermark(&self) -> Result<TxId, Error>;
}

/// A store without a disk: for tests, the simulator and `--nodes 1` without history on disk.
#[derive(Default)]
pub struct MemoryHistory {
    content: Mutex<(BTreeMap<BlindedKey, Vec<u8>>, TxId)>,
}

impl MemoryHistory {
    pub fn new() -> Self {
        Self::default()
    }
}

impl HistoryStore for MemoryHistory {
    fn read(&self, key: &BlindedKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.content.lock().0.get(key).cloned())
    }

    fn write(&self, records: &[(BlindedKey, Vec<u8>)], watermark: TxId) -> Result<(), Error> {
        let mut content = self.content.lock();
        content.0.extend(records.iter().cloned());
        content.1 = watermark;
        Ok(())
    }

    fn keep(&self, records: &[(BlindedKey, Vec<u8>)]) -> Result<(), Error> {
        self.content.lock().0.extend(records.iter().cloned());
        Ok(())
    }

    fn watermark(&self) -> Result<TxId, Error> {
        Ok(self.content.lock().1)
    }
}

#[cfg(test)]
mod tests {
    use coco_crypto::SeededCrypto;

    use super::*;

    const MAP: MapName = MapName::from_static("history:blocks");

    fn keys(seed: u64) -> HistoryKeys {
        HistoryKeys::new(&SymmetricKey::from_bytes([4; 32]), &SeededCrypto::new(seed))
    }

    type Records = BTreeMap<BlindedKey, Vec<u8>>;

    fn sealed(keys: &HistoryKeys, key: &BlindedKey, value: &[u8]) -> Records {
        let mut records = Vec::new();
        keys.seal(key, value, &mut records);
        records.into_iter().collect()
    }

    fn open(
        keys: &HistoryKeys,
        key: &BlindedKey,
        range: Option<Range<usize>>,
        records: &Records,
    ) -> Result<Option<Bytes>, Error> {
        keys.open(key, range, |key| Ok(records.get(key).cloned()))
    }

    #[test]
    fn a_record_opens_under_its_own_key_in_any_later_opening_of_the_store() {
        let (first, later) = (keys(1), keys(2));
        let key = first.blind(&MAP, b"17");
        let records = sealed(&first, &key, b"block");
        assert_eq!(later.blind(&MAP, b"17"), key);
        assert_eq!(open(&later, &key, None, &records).unwrap().unwrap(), b"block"[..]);
        assert_eq!(open(&later, &key, Some(1..3), &records).unwrap().unwrap(), b"lo"[..]);
        assert_eq!(open(&later, &key, Some(1..6), &records).unwrap(), None);
        let other = later.blind(&MAP, b"18");
        let moved = BTreeMap::from([(other, records[&key].clone())]);
        assert!(open(&later, &other, None, &moved).is_err());
    }

    #[test]
    fn an_altered_or_cut_record_is_refused() {
        let keys = keys(1);
        let key = keys.blind(&MAP, b"17");
        let sealed = sealed(&keys, &key, b"block").remove(&key).unwrap();
        let refused = |sealed: Vec<u8>| open(&keys, &key, None, &BTreeMap::from([(key, sealed)])).is_err();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(refused(changed));
            assert!(refused(sealed[..at].to_vec()));
        }
    }

    #[test]
    fn of_a_long_value_only_the_parts_that_are_asked_for_are_read() {
        let (keys, later) = (keys(1), keys(2));
        let key = keys.blind(&MAP, b"17");
        let value: Vec<u8> = (0..WHOLE_BYTES_MAX + PART_BYTES + 5).map(|at| (at % 251) as u8).collect();
        let records = sealed(&keys, &key, &value);
        assert_eq!(records.len(), 5);
        assert_eq!(open(&later, &key, None, &records).unwrap().unwrap(), value);
        for range in
            [0..1, 0..PART_BYTES, PART_BYTES - 1..PART_BYTES + 1, PART_BYTES..3 * PART_BYTES, 7..value.len(), 9..9]
        {
            let mut reads = Vec::new();
            let reads = std::cell::RefCell::new(&mut reads);
            let read = |key: &BlindedKey| -> Result<_, Error> {
                reads.borrow_mut().push(*key);
                Ok(records.get(key).cloned())
            };
            assert_eq!(later.open(&key, Some(range.clone()), read).unwrap().unwrap(), value[range.clone()]);
            let parts = range.end.div_ceil(PART_BYTES) - range.start / PART_BYTES;
            assert_eq!(reads.borrow().len(), 1 + parts, "{range:?}");
        }
        assert_eq!(open(&later, &key, Some(0..value.len() + 1), &records).unwrap(), None);
    }

    #[test]
    fn a_long_value_of_which_a_part_is_missing_or_stands_elsewhere_is_refused() {
        let keys = keys(1);
        let key = keys.blind(&MAP, b"17");
        let records = sealed(&keys, &key, &vec![7; WHOLE_BYTES_MAX + 1]);
        for part in 0..3 {
            let (here, there) = (keys.blind_part(&key, part), keys.blind_part(&key, (part + 1) % 3));
            let (mut missing, mut swapped) = (records.clone(), records.clone());
            missing.remove(&here);
            assert!(open(&keys, &key, None, &missing).is_err());
            swapped.insert(here, records[&there].clone());
            assert!(open(&keys, &key, None, &swapped).is_err());
        }
    }

    #[test]
    fn no_two_records_share_a_key_and_a_nonce() {
        let (first, later) = (keys(1), keys(2));
        let key = first.blind(&MAP, b"17");
        let nonce = |keys: &HistoryKeys| sealed(keys, &key, b"a")[&key][..STORE_ID_BYTES + NONCE_BYTES].to_vec();
        let nonces = [nonce(&first), nonce(&first), nonce(&later)];
        assert!(nonces[0] != nonces[1] && nonces[0] != nonces[2] && nonces[1] != nonces[2]);
    }

    #[test]
    fn map_and_key_do_not_run_into_each_other() {
        let keys = keys(1);
        let blind = |map: &'static str, key: &[u8]| keys.blind(&MapName::from_static(map), key);
        assert_ne!(blind("history:a", b"bc"), blind("history:ab", b"c"));
    }

    #[test]
    fn the_store_keeps_records_and_watermark() {
        let store: Box<dyn HistoryStore> = Box::new(MemoryHistory::new());
        assert_eq!(store.watermark().unwrap(), TxId::default());
        let watermark = "2.5".parse().unwrap();
        store.write(&[([1; 32], b"value".to_vec())], watermark).unwrap();
        assert_eq!(store.read(&[1; 32]).unwrap().as_deref(), Some(&b"value"[..]));
        assert_eq!(store.read(&[2; 32]).unwrap(), None);
        assert_eq!(store.watermark().unwrap(), watermark);
    }
}
