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
//! The store is advisory: every record is in the ledger, and the watermark says up to which transaction the store has them. It is sealed with a [`Census`]
//! of the keys: a host that could raise it, or take records out, would make what lies below look as if it had never been. One that is not this
//! store's, or none, costs reading the ledger again. Beside the records lie, each a value of form 0:
//!
//! ```text
//! key of a group of the census = HMAC-SHA-256(blinding key, 2^64 - 3 (u64 le) || its number, of sixteen)
//! key of the whole             = HMAC-SHA-256(blinding key, 2^64 - 3 (u64 le))
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use coco_crypto::{AeadKey, Crypto, Domain, MacKey, NONCE_BYTES, Nonce, SymmetricKey, TAG_BYTES, hkdf_sha256};
use coco_types::MapName;
use parking_lot::Mutex;

use crate::census::{Code, GROUPS};
use crate::{Census, Error};

const BLINDING_DOMAIN: Domain = Domain::new("coco history blinding");
const CENSUS_DOMAIN: Domain = Domain::new("coco history census");
const SEALING_DOMAIN: Domain = Domain::new("coco history sealing");
const STORE_ID_BYTES: usize = 16;
/// Where a part's key is made, this stands for the length of a map's name: no name is as long.
const PARTS: u64 = u64::MAX;
/// Where a key of the census is made, likewise. 2^64 - 2 stands for a census in another form, which is none.
const CENSUS: u64 = u64::MAX - 2;
const PART_BYTES: usize = 32 << 10;
/// Longer values are kept in parts.
const WHOLE_BYTES_MAX: usize = 64 << 10;
const FORM_WHOLE: u32 = 0;
const FORM_PARTS: u32 = 1;
/// Sealing keys of earlier openings kept; beyond it they are derived again.
const OPENINGS_CACHED_MAX: usize = 64;

/// What a record is stored under.
pub type BlindedKey = [u8; 32];

/// A value as it is stored, and under what.
pub type SealedRecord = (BlindedKey, Vec<u8>);

/// Blinds keys and seals values of one store.
pub struct HistoryKeys {
    secret: SymmetricKey,
    blinding_key: MacKey,
    census_key: MacKey,
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
            census_key: MacKey::new(&hkdf_sha256(secret, CENSUS_DOMAIN, &[])),
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
    pub fn seal(&self, key: &BlindedKey, value: &[u8], records: &mut Vec<SealedRecord>) {
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

    /// What a key counts as in a [`Census`].
    pub fn code(&self, key: &BlindedKey) -> Code {
        self.census_key.tag(key).0
    }

    /// What is to be kept of a census: the groups that changed since it was last sealed, and the whole.
    pub fn seal_census(&self, census: &mut Census) -> Vec<SealedRecord> {
        let mut sealed = Vec::new();
        census.settle(|number, tallies| {
            let key = self.blind_census(&[number]);
            sealed.push((key, self.seal_as(FORM_WHOLE, &key, tallies)));
            self.group_code(number, tallies)
        });
        let key = self.blind_census(&[]);
        let whole = [&census.sum()[..], census.watermark().to_string().as_bytes()].concat();
        sealed.push((key, self.seal_as(FORM_WHOLE, &key, &whole)));
        sealed
    }

    /// Reads it back; `None` if there is none. Fails unless all of it was sealed at the same time.
    pub fn open_census<E: From<Error>>(
        &self,
        read: impl Fn(&BlindedKey) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Census>, E> {
        let key = self.blind_census(&[]);
        let Some(sealed) = read(&key)? else { return Ok(None) };
        let (_, whole) = self.open_sealed(&key, sealed)?;
        let (sum, watermark) = whole.split_first_chunk::<32>().ok_or(Error::MalformedHistory)?;
        let watermark = std::str::from_utf8(watermark).ok().and_then(|text| text.parse().ok());
        let mut census = Census::default();
        census.set_watermark(watermark.ok_or(Error::MalformedHistory)?);
        for number in 0..GROUPS {
            let key = self.blind_census(&[number]);
            let Some(sealed) = read(&key)? else { continue };
            let (_, tallies) = self.open_sealed(&key, sealed)?;
            census.restore(number, &tallies, self.group_code(number, &tallies))?;
        }
        (census.sum() == *sum).then_some(Some(census)).ok_or(Error::MalformedHistory.into())
    }

    /// In place of a census: from the next opening on there is none that could be believed.
    pub fn no_census(&self) -> SealedRecord {
        (self.blind_census(&[]), Vec::new())
    }

    fn group_code(&self, number: u8, tallies: &[u8]) -> Code {
        self.census_key.tag(&[&[number], tallies].concat()).0
    }

    fn blind_census(&self, group: &[u8]) -> BlindedKey {
        self.blinding_key.tag(&[&CENSUS.to_le_bytes(), group].concat()).0
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

    /// Writes records and what is sealed of their census together: all of it survives a crash, or nothing.
    fn write(&self, records: &[SealedRecord], census: &[SealedRecord]) -> Result<(), Error>;

    /// What was written of the census under a key.
    fn census(&self, key: &BlindedKey) -> Result<Option<Vec<u8>>, Error>;

    fn has(&self, key: &BlindedKey) -> Result<bool, Error>;

    /// Names all keys of records that begin with this byte.
    fn keys(&self, first: u8, each: &mut dyn FnMut(&BlindedKey)) -> Result<(), Error>;

    /// Forgets everything, the census first.
    fn clear(&self) -> Result<(), Error>;
}

/// A store without a disk: for tests, the simulator and `--nodes 1` without history on disk.
#[derive(Default)]
pub struct MemoryHistory {
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    records: BTreeMap<BlindedKey, Vec<u8>>,
    census: BTreeMap<BlindedKey, Vec<u8>>,
}

impl MemoryHistory {
    pub fn new() -> Self {
        Self::default()
    }

    /// What a host may do: a record is there no more, and the census says nothing of it.
    pub fn take(&self, key: &BlindedKey) -> Option<Vec<u8>> {
        self.content.lock().records.remove(key)
    }
}

impl HistoryStore for MemoryHistory {
    fn read(&self, key: &BlindedKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.content.lock().records.get(key).cloned())
    }

    fn write(&self, records: &[SealedRecord], census: &[SealedRecord]) -> Result<(), Error> {
        let mut content = self.content.lock();
        content.records.extend(records.iter().cloned());
        content.census.extend(census.iter().cloned());
        Ok(())
    }

    fn census(&self, key: &BlindedKey) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.content.lock().census.get(key).cloned())
    }

    fn has(&self, key: &BlindedKey) -> Result<bool, Error> {
        Ok(self.content.lock().records.contains_key(key))
    }

    fn keys(&self, first: u8, each: &mut dyn FnMut(&BlindedKey)) -> Result<(), Error> {
        let mut lowest = [0; 32];
        lowest[0] = first;
        let content = self.content.lock();
        content.records.range(lowest..).map(|(key, _)| key).take_while(|key| key[0] == first).for_each(each);
        Ok(())
    }

    fn clear(&self) -> Result<(), Error> {
        *self.content.lock() = Content::default();
        Ok(())
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
    fn a_census_is_what_this_store_s_own_secret_sealed_at_one_time() {
        let keys = keys(1);
        let mut census = Census::default();
        let mut held = BTreeMap::new();
        let mut states = Vec::new();
        for (seqno, first) in [(1, 7), (2, 7), (3, 9)] {
            census.set_watermark(format!("2.{seqno}").parse().unwrap());
            census.count(&[first; 32], keys.code(&[first; 32]));
            let sealed = keys.seal_census(&mut census);
            assert_eq!(sealed.len(), 2, "the group that changed, and the whole");
            held.extend(sealed);
            states.push(held.clone());
        }
        let open = |keys: &HistoryKeys, held: &Records| keys.open_census(|key| Ok::<_, Error>(held.get(key).cloned()));
        let opened = open(&super::tests::keys(2), &held).unwrap().unwrap();
        assert_eq!(opened.watermark(), census.watermark());
        assert!((0..=u8::MAX).all(|first| opened.tally(first) == census.tally(first)));
        assert!(open(&keys, &BTreeMap::new()).unwrap().is_none());
        let stranger = HistoryKeys::new(&SymmetricKey::from_bytes([5; 32]), &SeededCrypto::new(1));
        assert!(open(&stranger, &held).unwrap().is_none());
        for key in held.keys().copied().collect::<Vec<_>>() {
            let of_before = states.iter().filter_map(|state| state.get(&key)).filter(|value| **value != held[&key]);
            for value in of_before.cloned().chain([Vec::new(), b"9.9".to_vec(), held[&keys.no_census().0].clone()]) {
                let mut changed = held.clone();
                if changed.insert(key, value.clone()) != Some(value) {
                    assert!(open(&keys, &changed).is_err());
                }
            }
            let mut without = held.clone();
            without.remove(&key);
            assert!(!matches!(open(&keys, &without), Ok(Some(_))));
        }
        held.extend([keys.no_census()]);
        assert!(open(&keys, &held).is_err());
    }

    #[test]
    fn the_store_keeps_records_and_their_census() {
        let store: Box<dyn HistoryStore> = Box::new(MemoryHistory::new());
        store.write(&[([1; 32], b"value".to_vec())], &[([2; 32], b"sealed".to_vec())]).unwrap();
        assert_eq!(store.read(&[1; 32]).unwrap().as_deref(), Some(&b"value"[..]));
        assert_eq!(store.read(&[2; 32]).unwrap(), None);
        assert_eq!(store.census(&[2; 32]).unwrap().as_deref(), Some(&b"sealed"[..]));
        assert!(store.has(&[1; 32]).unwrap() && !store.has(&[2; 32]).unwrap());
        let keys = |first| {
            let mut found = Vec::new();
            store.keys(first, &mut |key| found.push(*key)).unwrap();
            found
        };
        assert_eq!((keys(0), keys(1), keys(2)), (vec![], vec![[1; 32]], vec![]));
        store.clear().unwrap();
        assert!(!store.has(&[1; 32]).unwrap() && store.census(&[2; 32]).unwrap().is_none());
    }
}
