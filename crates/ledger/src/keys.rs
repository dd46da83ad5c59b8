//! The key schedule: from a ledger secret to the keys that seal entries and hide commit evidence.
//!
//! ```text
//! ledger secret (of an epoch: from one seqno until the next secret)
//!   ├─ HKDF "coco ledger entry", replica id of the view's primary ─▶ AES-256-GCM key, nonce = seqno, view
//!   ├─ HKDF "coco commit evidence" ─▶ commit secret ─HMAC(view.seqno)─▶ commit nonce
//!   ├─ HKDF "coco snapshot", file id ─▶ AES-256-GCM key of one snapshot file, nonce = piece number
//!   └─ HKDF "coco claims salt" ─▶ HMAC(view.seqno) ─▶ salt of the claims
//! ```
//!
//! A nonce never repeats: a replica id is one life of a node, never reused, and seals a (view, seqno) at most once.

use std::collections::BTreeMap;
use std::sync::Arc;

use coco_crypto::{AeadKey, Domain, MacKey, SymmetricKey, hkdf_sha256, sha256};
use coco_types::{Digest, ReplicaId, Seqno, TxId};
use parking_lot::Mutex;

use crate::Error;

const ENTRY_DOMAIN: Domain = Domain::new("coco ledger entry");
const COMMIT_DOMAIN: Domain = Domain::new("coco commit evidence");
const CLAIMS_DOMAIN: Domain = Domain::new("coco claims salt");
/// Derived keys kept an epoch: one for each primary. Beyond it they are derived again.
const PRIMARIES_CACHED_MAX: usize = 64;

/// The ledger secrets that this node or auditor holds, and what was derived from them. Clones share their cache.
#[derive(Clone, Default)]
pub struct EntryKeys {
    epochs: BTreeMap<Seqno, Arc<Epoch>>,
}

struct Epoch {
    secret: SymmetricKey,
    commit_key: MacKey,
    claims_key: MacKey,
    by_primary: Mutex<BTreeMap<ReplicaId, Arc<AeadKey>>>,
}

impl EntryKeys {
    pub fn new() -> Self {
        Self::default()
    }

    /// `secret` holds from `first` until a later epoch begins.
    pub fn add_epoch(&mut self, first: Seqno, secret: &SymmetricKey) {
        self.epochs.insert(first, Arc::new(Epoch::new(secret)));
    }

    /// Forgets epochs that begin after `seqno`: their transactions were rolled back.
    pub fn truncate_after(&mut self, seqno: Seqno) {
        self.epochs.retain(|first, _| *first <= seqno);
    }

    /// Where the newest epoch begins.
    pub fn newest(&self) -> Option<Seqno> {
        self.epochs.keys().next_back().copied()
    }

    /// Where the epoch that this transaction is of begins.
    pub fn newest_at(&self, seqno: Seqno) -> Option<Seqno> {
        self.epochs.range(..=seqno).next_back().map(|(first, _)| *first)
    }

    /// Nothing is sealed under a secret that is not here.
    pub fn is_whole(&self) -> bool {
        self.epochs.contains_key(&Seqno(1))
    }

    /// Where each epoch begins, and its secret: for wrapping to joiners and for recovery shares.
    pub fn epochs(&self) -> impl Iterator<Item = (Seqno, &SymmetricKey)> {
        self.epochs.iter().map(|(first, epoch)| (*first, &epoch.secret))
    }

    /// The key that seals `seqno` in a view led by `primary`.
    pub(crate) fn entry_key(&self, seqno: Seqno, primary: ReplicaId) -> Result<Arc<AeadKey>, Error> {
        let epoch = self.epoch(seqno)?;
        let mut cached = epoch.by_primary.lock();
        if let Some(key) = cached.get(&primary) {
            return Ok(Arc::clone(key));
        }
        if cached.len() >= PRIMARIES_CACHED_MAX {
            cached.clear();
        }
        let key = hkdf_sha256(&epoch.secret, ENTRY_DOMAIN, &primary.0.to_le_bytes());
        let key = Arc::new(AeadKey::new(&key));
        cached.insert(primary, Arc::clone(&key));
        Ok(key)
    }

    /// The key that seals one snapshot file, which ends at `seqno`.
    pub(crate) fn snapshot_key(&self, seqno: Seqno, file_id: &[u8]) -> Result<AeadKey, Error> {
        Ok(AeadKey::new(&hkdf_sha256(&self.epoch(seqno)?.secret, crate::snapshot::KEY_DOMAIN, file_id)))
    }

    /// The commit evidence of a transaction. It must not leave the node, nor be logged, before the transaction is committed.
    pub fn commit_evidence(&self, txid: TxId) -> Result<String, Error> {
        let epoch = self.epoch(txid.seqno)?;
        let nonce = epoch.commit_key.tag(txid.to_string().as_bytes());
        Ok(commit_evidence(txid, &nonce))
    }

    pub(crate) fn commit_evidence_digest(&self, txid: TxId) -> Result<Digest, Error> {
        Ok(sha256(self.commit_evidence(txid)?.as_bytes()))
    }

    /// The salt of a transaction's claims: without it nobody can guess claims and confirm the guess.
    pub fn claims_salt(&self, txid: TxId) -> Result<[u8; 32], Error> {
        let epoch = self.epoch(txid.seqno)?;
        Ok(epoch.claims_key.tag(txid.to_string().as_bytes()).0)
    }

    fn epoch(&self, seqno: Seqno) -> Result<&Epoch, Error> {
        let epoch = self.epochs.range(..=seqno).next_back();
        epoch.map(|(_, epoch)| epoch.as_ref()).ok_or(Error::NoSecret { seqno })
    }
}

/// The text of a commit evidence.
pub fn commit_evidence(txid: TxId, nonce: &Digest) -> String {
    format!("ce:{txid}:{nonce}")
}

impl Epoch {
    fn new(secret: &SymmetricKey) -> Self {
        Self {
            secret: secret.clone(),
            commit_key: MacKey::new(&hkdf_sha256(secret, COMMIT_DOMAIN, &[])),
            claims_key: MacKey::new(&hkdf_sha256(secret, CLAIMS_DOMAIN, &[])),
            by_primary: Mutex::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use coco_types::View;

    use super::*;

    fn seqno(at: u64) -> TxId {
        TxId::new(View(2), Seqno(at))
    }

    #[test]
    fn an_epoch_holds_from_its_first_seqno_until_the_next() {
        let mut keys = EntryKeys::new();
        keys.add_epoch(Seqno(1), &SymmetricKey::from_bytes([1; 32]));
        let before = keys.commit_evidence(seqno(10)).unwrap();
        keys.add_epoch(Seqno(10), &SymmetricKey::from_bytes([2; 32]));
        assert_ne!(keys.commit_evidence(seqno(10)).unwrap(), before);
        keys.truncate_after(Seqno(9));
        assert_eq!(keys.commit_evidence(seqno(10)).unwrap(), before);
    }

    #[test]
    fn without_a_secret_nothing_is_derived() {
        let mut keys = EntryKeys::new();
        keys.add_epoch(Seqno(5), &SymmetricKey::from_bytes([1; 32]));
        assert!(matches!(keys.commit_evidence(seqno(4)), Err(Error::NoSecret { seqno: Seqno(4) })));
    }

    #[test]
    fn evidence_names_its_transaction_and_differs_from_the_salt() {
        let mut keys = EntryKeys::new();
        keys.add_epoch(Seqno(1), &SymmetricKey::from_bytes([1; 32]));
        let evidence = keys.commit_evidence(seqno(7)).unwrap();
        assert!(evidence.starts_with("ce:2.7:"));
        assert_eq!(evidence.len(), "ce:2.7:".len() + 64);
        assert!(!evidence.ends_with(&hex::encode(keys.claims_salt(seqno(7)).unwrap())));
    }
}
