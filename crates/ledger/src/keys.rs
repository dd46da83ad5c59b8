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
use coco_types::{Digest, ReplicaId, Seqno, TxId, WriteSet};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::{Entry, Error};

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
    /// Absent where only what opens this epoch's entries was disclosed.
    secret: Option<SymmetricKey>,
    /// The next epoch begins here, as far as a disclosure says.
    until: Option<Seqno>,
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
        self.epochs.iter().filter_map(|(first, epoch)| Some((*first, epoch.secret.as_ref()?)))
    }

    /// What was disclosed opens its epoch, and no other.
    pub fn add_disclosed(&mut self, disclosed: &DisclosedEpoch) {
        self.epochs.insert(disclosed.first, Arc::new(Epoch::disclosed(disclosed)));
    }

    /// What a transaction wrote, in a view led by `primary`. Whether it belongs into the ledger is for others to check.
    pub fn open(&self, entry: &Entry<'_>, primary: ReplicaId) -> Result<WriteSet, Error> {
        entry.open(self.entry_key(entry.txid().seqno, primary)?.as_ref())
    }

    /// The key that seals `seqno` in a view led by `primary`.
    pub(crate) fn entry_key(&self, seqno: Seqno, primary: ReplicaId) -> Result<Arc<AeadKey>, Error> {
        let epoch = self.epoch(seqno)?;
        let mut cached = epoch.by_primary.lock();
        if let Some(key) = cached.get(&primary) {
            return Ok(Arc::clone(key));
        }
        let secret = epoch.secret.as_ref().ok_or(Error::NoSecret { seqno })?;
        if cached.len() >= PRIMARIES_CACHED_MAX {
            cached.clear();
        }
        let key = Arc::new(AeadKey::new(&entry_secret(secret, primary)));
        cached.insert(primary, Arc::clone(&key));
        Ok(key)
    }

    /// The key that seals one snapshot file, which ends at `seqno`.
    pub(crate) fn snapshot_key(&self, seqno: Seqno, file_id: &[u8]) -> Result<AeadKey, Error> {
        let secret = self.epoch(seqno)?.secret.as_ref().ok_or(Error::NoSecret { seqno })?;
        Ok(AeadKey::new(&hkdf_sha256(secret, crate::snapshot::KEY_DOMAIN, file_id)))
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
        let epoch = self.epochs.range(..=seqno).next_back().map(|(_, epoch)| epoch.as_ref());
        epoch.filter(|epoch| epoch.until.is_none_or(|until| seqno < until)).ok_or(Error::NoSecret { seqno })
    }
}

/// The text of a commit evidence.
pub fn commit_evidence(txid: TxId, nonce: &Digest) -> String {
    format!("ce:{txid}:{nonce}")
}

/// What opens the entries of one epoch and nothing else: not its ledger secret, which would open every epoch before it as well, nor any
/// snapshot. For an auditor.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisclosedEpoch {
    pub first: Seqno,
    /// Where the next epoch begins.
    pub until: Seqno,
    /// In hex, as all of these.
    commit_secret: String,
    claims_secret: String,
    entry_secrets: BTreeMap<ReplicaId, String>,
}

impl DisclosedEpoch {
    /// `primaries`: every replica that may have led in this epoch.
    pub fn new(first: Seqno, until: Seqno, secret: &SymmetricKey, primaries: impl Iterator<Item = ReplicaId>) -> Self {
        let text = |key: SymmetricKey| hex::encode(key.expose());
        Self {
            first,
            until,
            commit_secret: text(hkdf_sha256(secret, COMMIT_DOMAIN, &[])),
            claims_secret: text(hkdf_sha256(secret, CLAIMS_DOMAIN, &[])),
            entry_secrets: primaries.map(|primary| (primary, text(entry_secret(secret, primary)))).collect(),
        }
    }
}

impl Drop for DisclosedEpoch {
    fn drop(&mut self) {
        self.commit_secret.zeroize();
        self.claims_secret.zeroize();
        self.entry_secrets.values_mut().for_each(Zeroize::zeroize);
    }
}

fn entry_secret(secret: &SymmetricKey, primary: ReplicaId) -> SymmetricKey {
    hkdf_sha256(secret, ENTRY_DOMAIN, &primary.0.to_le_bytes())
}

/// One that is not 32 bytes in hex opens nothing.
fn disclosed_key(text: &str) -> SymmetricKey {
    let mut bytes = [0; 32];
    if hex::decode_to_slice(text, &mut bytes).is_err() {
        bytes = [0; 32];
    }
    SymmetricKey::from_bytes(bytes)
}

impl Epoch {
    fn disclosed(disclosed: &DisclosedEpoch) -> Self {
        let entry = |(primary, text): (&ReplicaId, &String)| (*primary, Arc::new(AeadKey::new(&disclosed_key(text))));
        Self {
            secret: None,
            until: Some(disclosed.until),
            commit_key: MacKey::new(&disclosed_key(&disclosed.commit_secret)),
            claims_key: MacKey::new(&disclosed_key(&disclosed.claims_secret)),
            by_primary: Mutex::new(disclosed.entry_secrets.iter().map(entry).collect()),
        }
    }

    fn new(secret: &SymmetricKey) -> Self {
        Self {
            secret: Some(secret.clone()),
            until: None,
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
    fn a_disclosed_epoch_opens_its_own_entries_and_no_others() {
        let secret = SymmetricKey::from_bytes([1; 32]);
        let mut whole = EntryKeys::new();
        whole.add_epoch(Seqno(5), &secret);
        let disclosed = DisclosedEpoch::new(Seqno(5), Seqno(9), &secret, [ReplicaId(1)].into_iter());
        let text = serde_json::to_string(&disclosed).unwrap();
        assert!(!text.contains(&hex::encode(secret.expose())));
        let mut keys = EntryKeys::new();
        keys.add_disclosed(&serde_json::from_str(&text).unwrap());
        assert_eq!(keys.commit_evidence(seqno(8)).unwrap(), whole.commit_evidence(seqno(8)).unwrap());
        assert_eq!(keys.claims_salt(seqno(8)).unwrap(), whole.claims_salt(seqno(8)).unwrap());
        assert!(keys.entry_key(Seqno(5), ReplicaId(1)).is_ok());
        let closed = |result: Result<_, Error>| assert!(matches!(result, Err(Error::NoSecret { .. })));
        closed(keys.entry_key(Seqno(5), ReplicaId(2)));
        closed(keys.entry_key(Seqno(9), ReplicaId(1)));
        closed(keys.entry_key(Seqno(4), ReplicaId(1)));
        assert!(keys.snapshot_key(Seqno(5), b"file").is_err());
        assert_eq!(keys.epochs().count(), 0);
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
