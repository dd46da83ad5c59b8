//! What a node must never lose and never show: its keys and the service's.
//!
//! Sealed to this machine's platform and kept beside the ledger, so that a network can *resume* after a power cut of the whole
//! site. Where the platform gives no key to seal with, it lies in a file next to it: no protection.

use std::io;
use std::sync::Arc;

use coco_crypto::{
    AeadKey, Certificate, Crypto, ExchangeKey, Nonce, PublicKey, SigningKey, SymmetricKey, SystemCrypto,
};
use coco_disk::Disk;
use coco_governance::secrets::Vault;
use coco_ledger::{EntryKeys, ServiceKeys};
use coco_types::{ReplicaId, Seqno};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Keys and certificates of one node in one life.
pub struct Identity {
    pub replica: ReplicaId,
    pub node_key: SigningKey,
    pub node_certificate: Certificate,
    /// New ledger secrets are sealed to it.
    pub exchange: ExchangeKey,
    pub service: ServiceSecrets,
    /// It came in the place of this replica, whose folder it keeps.
    pub swaps: Option<ReplicaId>,
    /// It has a consensus log, and may have spoken. From then on it never starts without that log as if it were new: it would vote
    /// twice, or found a second network. A host can put an older file back, in which it has not begun: what follows from `false` must be safe then, too.
    pub begun: bool,
}

/// What every trusted node holds.
pub struct ServiceSecrets {
    pub key: SigningKey,
    pub certificate: Certificate,
    /// The keys that the ledger's service signed with before, each with its last transaction.
    pub earlier: Vec<(Seqno, PublicKey)>,
    /// What the key before signed, for those who trust that one: the present certificate, and how earlier ones lead to it. Newest first.
    pub bridges: Vec<Certificate>,
    /// Of every epoch. During a recovery, of those since its beginning.
    pub epochs: EntryKeys,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("reading or writing the sealed identity: {0}")]
    Disk(#[from] io::Error),
    #[error("the sealed identity was altered, or was sealed on another machine")]
    NotAuthentic,
    #[error("the sealed identity is of an unknown form: {0}")]
    Unreadable(String),
}

const FILE: &str = "identity.sealed";
const CONTEXT: &[u8] = b"coco.identity.v2";
const EPOCHS_FILE: &str = "epochs.sealed";
const EPOCHS_CONTEXT: &[u8] = b"coco.epochs.v1";

/// What lies sealed on the disk, each file with its context.
pub const SEALED: [(&str, &[u8]); 2] = [(FILE, CONTEXT), (EPOCHS_FILE, EPOCHS_CONTEXT)];

#[derive(Serialize, Deserialize)]
struct Stored {
    replica: ReplicaId,
    node_key: String,
    node_certificate: String,
    exchange: String,
    service: StoredService,
    #[serde(default)]
    swaps: Option<ReplicaId>,
    begun: bool,
}

/// The service's secrets in the form in which they travel (sealed) to a joining node.
#[derive(Serialize, Deserialize)]
struct StoredService {
    key: String,
    certificate: String,
    /// Last transactions, and keys in PEM.
    #[serde(default)]
    earlier: Vec<(Seqno, String)>,
    #[serde(default)]
    bridges: Vec<String>,
    epochs: Vec<StoredEpoch>,
}

#[derive(Serialize, Deserialize)]
struct StoredEpoch {
    first: Seqno,
    secret: String,
}

/// Certificates that a node sends beside its own: more rotations ago, whoever trusts that service must be told.
const BRIDGES_SENT_MAX: usize = 4;

impl Identity {
    /// What the node shows to others: its certificate, and what leads from there to the service that they trust.
    pub fn chain(&self) -> Vec<Certificate> {
        let mut chain = vec![self.node_certificate.clone()];
        chain.extend(self.service.bridges.iter().take(BRIDGES_SENT_MAX).cloned());
        if self.service.bridges.is_empty() {
            chain.push(self.service.certificate.clone());
        }
        chain
    }

    /// For another holder in this process.
    pub fn copy(&self) -> Self {
        let node_key = SigningKey::from_pkcs8_der(&self.node_key.to_pkcs8_der());
        Self {
            replica: self.replica,
            node_key: node_key.expect("a key survives its own encoding"),
            node_certificate: self.node_certificate.clone(),
            exchange: ExchangeKey::from_scalar(self.exchange.scalar().clone()),
            service: self.service.copy(),
            swaps: self.swaps,
            begun: self.begun,
        }
    }

    /// What this node makes and opens ledger secrets with.
    pub fn vault(&self) -> Vault {
        Vault {
            node: self.node_key.public_key().node_id(),
            exchange: Arc::new(ExchangeKey::from_scalar(self.exchange.scalar().clone())),
            service_key: Arc::new(self.service.copy().key),
            crypto: Arc::new(SystemCrypto),
            disclose: crate::governor::disclose,
        }
    }

    pub fn store(&self, disk: &dyn Disk, sealing: &SymmetricKey, crypto: &dyn Crypto) -> Result<(), IdentityError> {
        let stored = Stored {
            replica: self.replica,
            node_key: hex::encode(&*self.node_key.to_pkcs8_der()),
            node_certificate: self.node_certificate.to_pem(),
            exchange: hex::encode(self.exchange.scalar().expose()),
            service: self.service.to_stored(),
            swaps: self.swaps,
            begun: self.begun,
        };
        let plain = Zeroizing::new(serde_json::to_vec(&stored).expect("an identity has only string keys"));
        let mut nonce = Nonce([0; 12]);
        crypto.fill(&mut nonce.0);
        // First: a replica that finds the identity finds its secrets.
        store_epochs(&self.service.epochs, disk, sealing, crypto)?;
        disk.replace(FILE, &AeadKey::new(sealing).seal_to_vec(nonce, CONTEXT, &plain))?;
        Ok(())
    }

    /// `None` if this folder has never held a node.
    pub fn load(disk: &dyn Disk, sealing: &SymmetricKey) -> Result<Option<Self>, IdentityError> {
        if !disk.exists(FILE)? {
            return Ok(None);
        }
        let sealed = disk.read_all(FILE)?;
        let plain = AeadKey::new(sealing).open_from_slice(CONTEXT, &sealed).map_err(|_| IdentityError::NotAuthentic)?;
        let plain = Zeroizing::new(plain);
        let stored: Stored = serde_json::from_slice(&plain).map_err(unreadable)?;
        let mut service = ServiceSecrets::from_stored(&stored.service)?;
        if let Some(epochs) = load_epochs(disk, sealing)? {
            service.epochs = epochs;
        }
        Ok(Some(Self {
            replica: stored.replica,
            node_key: signing_key(&stored.node_key)?,
            node_certificate: Certificate::from_pem(&stored.node_certificate).map_err(unreadable)?,
            exchange: ExchangeKey::from_scalar(symmetric_key(&stored.exchange)?),
            service,
            swaps: stored.swaps,
            begun: stored.begun,
        }))
    }
}

impl ServiceSecrets {
    /// Serialised for sealing to a joining node.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(serde_json::to_vec(&self.to_stored()).expect("secrets have only string keys"))
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        Self::from_stored(&serde_json::from_slice(bytes).map_err(unreadable)?)
    }

    pub fn new(key: SigningKey, certificate: Certificate, epochs: EntryKeys) -> Self {
        Self { key, certificate, earlier: Vec::new(), bridges: Vec::new(), epochs }
    }

    /// Whose signatures count where.
    pub fn keys(&self) -> ServiceKeys {
        ServiceKeys::new(self.certificate.public_key().clone(), self.earlier.clone())
    }

    /// For another holder in this process.
    pub fn copy(&self) -> Self {
        Self::from_stored(&self.to_stored()).expect("secrets survive their own encoding")
    }

    fn to_stored(&self) -> StoredService {
        StoredService {
            key: hex::encode(&*self.key.to_pkcs8_der()),
            certificate: self.certificate.to_pem(),
            earlier: self.earlier.iter().map(|(until, key)| (*until, key.to_pem())).collect(),
            bridges: self.bridges.iter().map(Certificate::to_pem).collect(),
            epochs: to_stored_epochs(&self.epochs),
        }
    }

    fn from_stored(stored: &StoredService) -> Result<Self, IdentityError> {
        Ok(Self {
            key: signing_key(&stored.key)?,
            certificate: Certificate::from_pem(&stored.certificate).map_err(unreadable)?,
            earlier: stored.earlier.iter().map(earlier_key).collect::<Result<_, _>>()?,
            bridges: stored.bridges.iter().map(|pem| bridge(pem)).collect::<Result<_, _>>()?,
            epochs: from_stored_epochs(&stored.epochs)?,
        })
    }
}

fn earlier_key((until, pem): &(Seqno, String)) -> Result<(Seqno, PublicKey), IdentityError> {
    Ok((*until, PublicKey::from_pem(pem).map_err(unreadable)?))
}

fn bridge(pem: &str) -> Result<Certificate, IdentityError> {
    Certificate::from_pem(pem).map_err(unreadable)
}

impl Drop for Stored {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.node_key);
        zeroize::Zeroize::zeroize(&mut self.exchange);
    }
}

impl Drop for StoredService {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.key);
    }
}

impl Drop for StoredEpoch {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

/// The epochs' secrets, sealed in a file of their own: they change while the identity stays.
pub fn store_epochs(
    epochs: &EntryKeys,
    disk: &dyn Disk,
    sealing: &SymmetricKey,
    crypto: &dyn Crypto,
) -> Result<(), IdentityError> {
    let plain = serde_json::to_vec(&to_stored_epochs(epochs)).expect("secrets have only string keys");
    let mut nonce = Nonce([0; 12]);
    crypto.fill(&mut nonce.0);
    Ok(disk.replace(EPOCHS_FILE, &AeadKey::new(sealing).seal_to_vec(nonce, EPOCHS_CONTEXT, &Zeroizing::new(plain)))?)
}

fn load_epochs(disk: &dyn Disk, sealing: &SymmetricKey) -> Result<Option<EntryKeys>, IdentityError> {
    if !disk.exists(EPOCHS_FILE)? {
        return Ok(None);
    }
    let sealed = disk.read_all(EPOCHS_FILE)?;
    let plain = AeadKey::new(sealing).open_from_slice(EPOCHS_CONTEXT, &sealed);
    let plain = Zeroizing::new(plain.map_err(|_| IdentityError::NotAuthentic)?);
    let stored: Vec<StoredEpoch> = serde_json::from_slice(&plain).map_err(unreadable)?;
    from_stored_epochs(&stored).map(Some)
}

fn to_stored_epochs(epochs: &EntryKeys) -> Vec<StoredEpoch> {
    let stored = |(first, secret): (Seqno, &SymmetricKey)| StoredEpoch { first, secret: hex::encode(secret.expose()) };
    epochs.epochs().map(stored).collect()
}

fn from_stored_epochs(stored: &[StoredEpoch]) -> Result<EntryKeys, IdentityError> {
    let mut epochs = EntryKeys::new();
    for epoch in stored {
        epochs.add_epoch(epoch.first, &symmetric_key(&epoch.secret)?);
    }
    Ok(epochs)
}

fn symmetric_key(text: &str) -> Result<SymmetricKey, IdentityError> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, bytes.as_mut_slice()).map_err(unreadable)?;
    Ok(SymmetricKey::from_bytes(*bytes))
}

fn signing_key(hex_der: &str) -> Result<SigningKey, IdentityError> {
    let der = Zeroizing::new(hex::decode(hex_der).map_err(unreadable)?);
    SigningKey::from_pkcs8_der(&der).map_err(unreadable)
}

/// The reason must not quote the content.
fn unreadable(error: impl std::error::Error) -> IdentityError {
    IdentityError::Unreadable(error.to_string().chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use coco_crypto::{Curve, SeededCrypto, Validity, self_signed_service_certificate};
    use coco_disk::MemoryDisk;

    use super::*;

    fn identity(crypto: &SeededCrypto) -> Identity {
        let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
        let [node_key, service_key] = [(); 2].map(|()| SigningKey::generate(crypto, Curve::P384));
        let certificate = self_signed_service_certificate(crypto, &service_key, "test", validity, &[]).unwrap();
        let mut epochs = EntryKeys::new();
        epochs.add_epoch(Seqno(1), &SymmetricKey::generate(crypto));
        Identity {
            replica: ReplicaId(3),
            node_certificate: certificate.clone(),
            node_key,
            exchange: ExchangeKey::generate(crypto),
            service: ServiceSecrets::new(service_key, certificate, epochs),
            swaps: None,
            begun: false,
        }
    }

    #[test]
    fn a_sealed_identity_opens_only_with_its_key_and_untouched() {
        let crypto = SeededCrypto::new(1);
        let [sealing, other] = [(); 2].map(|()| SymmetricKey::generate(&crypto));
        let disk = MemoryDisk::new();
        assert!(Identity::load(&disk, &sealing).unwrap().is_none());
        let identity = identity(&crypto);
        identity.store(&disk, &sealing, &crypto).unwrap();
        let loaded = Identity::load(&disk, &sealing).unwrap().unwrap();
        assert_eq!(loaded.replica, identity.replica);
        assert_eq!(loaded.node_key.public_key().id(), identity.node_key.public_key().id());
        assert!(matches!(Identity::load(&disk, &other), Err(IdentityError::NotAuthentic)));
        disk.flip(FILE, 40, 1).unwrap();
        assert!(matches!(Identity::load(&disk, &sealing), Err(IdentityError::NotAuthentic)));
    }

    #[test]
    fn secrets_of_later_epochs_are_found_beside_the_identity() {
        let crypto = SeededCrypto::new(1);
        let sealing = SymmetricKey::generate(&crypto);
        let disk = MemoryDisk::new();
        let mut identity = identity(&crypto);
        identity.store(&disk, &sealing, &crypto).unwrap();
        identity.service.epochs.add_epoch(Seqno(9), &SymmetricKey::generate(&crypto));
        store_epochs(&identity.service.epochs, &disk, &sealing, &crypto).unwrap();
        let loaded = Identity::load(&disk, &sealing).unwrap().unwrap();
        assert_eq!(loaded.service.epochs.newest(), Some(Seqno(9)));
        assert!(loaded.service.epochs.epochs().eq(identity.service.epochs.epochs()));
    }

    #[test]
    fn the_sealed_file_shows_no_key() {
        let crypto = SeededCrypto::new(1);
        let sealing = SymmetricKey::generate(&crypto);
        let disk = MemoryDisk::new();
        let identity = identity(&crypto);
        identity.store(&disk, &sealing, &crypto).unwrap();
        let file = String::from_utf8_lossy(&disk.read_all(FILE).unwrap()).into_owned();
        let (_, secret) = identity.service.epochs.epochs().next().unwrap();
        assert!(!file.contains(&hex::encode(secret.expose())));
    }
}
