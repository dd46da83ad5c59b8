//! History records: write-once records (blocks, receipts, logs) kept on disk beside the ledger, sealed and under blinded
//! keys, so that a disk tells neither what they say nor what they are about.
//!
//! ```text
//! blinded key = HMAC-SHA-256(blinding key, length of map (u64 le) || map || key)
//! value       = store id (16 bytes) || nonce (12: counter u64 le, zeros) || AES-256-GCM ciphertext || tag;
//!               additional data = the blinded key
//! ```
//!
//! Nonces: each *opening* of a store draws a fresh random store id (16 bytes, kept in clear in every value) and derives a
//! sealing key from it, under which a counter from 0 gives the nonces. So no (key, nonce) repeats even when a host rolls the
//! disk back: the next opening draws another id. The blinding key is the same for all openings.
//!
//! The store is advisory: every record is in the ledger, and the watermark says up to which transaction the store has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coco_crypto::{AeadKey, Crypto, Domain, MacKey, NONCE_BYTES, Nonce, SymmetricKey, TAG_BYTES, hkdf_sha256};
use coco_types::{MapName, TxId};
use parking_lot::Mutex;

use crate::Error;

const BLINDING_DOMAIN: Domain = Domain::new("coco history blinding");
const SEALING_DOMAIN: Domain = Domain::new("coco history sealing");
const STORE_ID_BYTES: usize = 16;
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

    pub fn seal(&self, key: &BlindedKey, value: &[u8]) -> Vec<u8> {
        let counter = self.next_nonce.fetch_add(1, Ordering::Relaxed);
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&counter.to_le_bytes());
        let mut sealed = Vec::with_capacity(STORE_ID_BYTES + NONCE_BYTES + value.len() + TAG_BYTES);
        sealed.extend_from_slice(&self.store_id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value);
        let tag = self.sealing_key.seal(Nonce(nonce), key, &mut sealed[STORE_ID_BYTES + NONCE_BYTES..]);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Fails if the value was altered, or belongs to another key.
    pub fn open(&self, key: &BlindedKey, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (store_id, sealed) = sealed.split_first_chunk::<STORE_ID_BYTES>().ok_or(Error::MalformedHistory)?;
        self.sealing_key_of(store_id).open_from_slice(key, sealed).map_err(|_| Error::MalformedHistory)
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

    #[test]
    fn a_record_opens_under_its_own_key_in_any_later_opening_of_the_store() {
        let (first, later) = (keys(1), keys(2));
        let key = first.blind(&MAP, b"17");
        let sealed = first.seal(&key, b"block");
        assert_eq!(later.blind(&MAP, b"17"), key);
        assert_eq!(later.open(&key, &sealed).unwrap(), b"block");
        assert!(later.open(&later.blind(&MAP, b"18"), &sealed).is_err());
    }

    #[test]
    fn an_altered_or_cut_record_is_refused() {
        let keys = keys(1);
        let key = keys.blind(&MAP, b"17");
        let sealed = keys.seal(&key, b"block");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(keys.open(&key, &changed).is_err());
            assert!(keys.open(&key, &sealed[..at]).is_err());
        }
    }

    #[test]
    fn no_two_records_share_a_key_and_a_nonce() {
        let (first, later) = (keys(1), keys(2));
        let key = first.blind(&MAP, b"17");
        let nonce = |sealed: Vec<u8>| sealed[..STORE_ID_BYTES + NONCE_BYTES].to_vec();
        let nonces = [nonce(first.seal(&key, b"a")), nonce(first.seal(&key, b"a")), nonce(later.seal(&key, b"a"))];
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
