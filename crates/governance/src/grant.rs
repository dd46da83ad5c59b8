//! Disclosing one epoch of the ledger to an auditor, by vote.
//!
//! ```text
//!   content ◀─AES-GCM─ fresh key ─RSA-OAEP─▶ the auditor's key
//! ```
//!
//! Only an epoch that has ended is disclosed: what comes after the vote must not be. What the content is, the ledger knows; it does not open
//! the epochs before, as a ledger secret would.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use coco_crypto::{
    AeadKey, DecryptionKey, EncryptionKey, NONCE_BYTES, Nonce, SymmetricKey, decode_pem, encode_pem, sha256,
};
use coco_kv::Tx;
use coco_types::{ReplicaId, Seqno};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Error;
use crate::secrets::{self, Vault};
use crate::tables::{self, Read};

/// The key seals this one message.
const NONCE: Nonce = Nonce([0; NONCE_BYTES]);

/// What members voted for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantOrder {
    /// A transaction of the epoch.
    pub at: Seqno,
    /// The auditor's key in PEM.
    pub key: String,
}

/// What is to be disclosed, for [`GrantRow::write`].
pub struct Disclosable {
    pub first: Seqno,
    /// Where the next epoch begins.
    pub until: Seqno,
    pub secret: SymmetricKey,
    /// The newest replica that may have led in it.
    pub last_replica: ReplicaId,
}

/// The row of a grant.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRow {
    /// Where the epoch begins.
    pub first: Seqno,
    /// SHA-256 of the auditor's public key, hex.
    pub granted_to: String,
    /// Base64: the content's key, encrypted to the auditor.
    encrypted_key: String,
    /// Base64: the content.
    encrypted_content: String,
}

impl fmt::Debug for GrantRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantRow").field("first", &self.first).field("granted_to", &self.granted_to).finish()
    }
}

impl GrantOrder {
    /// Checked when it is applied, so that a vote for what cannot be done fails as a whole.
    pub(crate) fn new(state: &mut dyn Read, at: Seqno, key: &str) -> Result<Self, Error> {
        EncryptionKey::from_pem(key).map_err(|error| Error::Secrets(format!("the auditor's key: {error}")))?;
        secrets::span(state, at)?;
        Ok(Self { at, key: key.to_owned() })
    }

    /// The epoch's own secret, from this node's copy of the newest.
    pub fn find(&self, tx: &mut Tx, vault: &Vault) -> Result<Disclosable, Error> {
        let (first, until) = secrets::span(tx, self.at)?;
        let newest = secrets::current(tx, vault)?;
        let all = secrets::earlier(tx, newest)?;
        let found = all.into_iter().find(|(version, _)| *version == first);
        let (_, secret) =
            found.ok_or_else(|| Error::Secrets(format!("the secret of the epoch of {first} is not known")))?;
        let last = tables::read::<ReplicaId>(tx, &tables::LAST_REPLICA, &tables::SINGLETON)?;
        Ok(Disclosable { first, until, secret, last_replica: last.unwrap_or(ReplicaId(0)) })
    }

    /// Writes the disclosure of an epoch for the auditor alone.
    pub fn write(&self, tx: &mut Tx, vault: &Vault, first: Seqno, content: &[u8]) -> Result<(), Error> {
        let unusable = |error: coco_crypto::Error| Error::Secrets(format!("the auditor's key: {error}"));
        let key = SymmetricKey::generate(vault.crypto.as_ref());
        let encrypted_key =
            EncryptionKey::from_pem(&self.key).and_then(|to| to.encrypt(key.expose())).map_err(unusable)?;
        let granted_to = key_id(&self.key)?;
        let row = GrantRow {
            first,
            encrypted_key: BASE64.encode(encrypted_key),
            encrypted_content: BASE64.encode(AeadKey::new(&key).seal_to_vec(NONCE, granted_to.as_bytes(), content)),
            granted_to,
        };
        let name = format!("{:020}:{}", first.0, row.granted_to);
        tables::write(tx, &tables::AUDIT_GRANTS, name.as_bytes(), &row);
        Ok(())
    }
}

impl GrantRow {
    pub fn parse(row: &[u8]) -> Option<Self> {
        serde_json::from_slice(row).ok()
    }

    /// The content, if it was granted to the holder of this key.
    pub fn open(&self, key: &DecryptionKey) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        if key_id(&key.public_pem())? != self.granted_to {
            return Ok(None);
        }
        let unreadable = || Error::Secrets(format!("the grant of the epoch of {} does not open", self.first));
        let encrypted = BASE64.decode(&self.encrypted_key).map_err(|_| unreadable())?;
        let opened = Zeroizing::new(key.decrypt(&encrypted).map_err(|_| unreadable())?.to_vec());
        let content_key = secrets::secret_of(&opened)?;
        let content = BASE64.decode(&self.encrypted_content).map_err(|_| unreadable())?;
        let content = AeadKey::new(&content_key).open_from_slice(self.granted_to.as_bytes(), &content);
        Ok(Some(Zeroizing::new(content.map_err(|_| unreadable())?)))
    }
}

/// Of the key itself, however its PEM is wrapped.
fn key_id(pem: &str) -> Result<String, Error> {
    const LABEL: &str = "PUBLIC KEY";
    let der = decode_pem(LABEL, pem).map_err(|error| Error::Secrets(format!("the auditor's key: {error}")))?;
    Ok(sha256(encode_pem(LABEL, &der).as_bytes()).to_string())
}
