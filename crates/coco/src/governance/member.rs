//! A member: its certificate, and its key if that is at hand.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use coco_crypto::{Certificate, SigningKey, SystemCrypto};
use coco_governance::Draft;

use super::token::{SCHEME, Token};
use crate::output::Hinted;

pub struct Member {
    /// SHA-256 of the certificate, in hex.
    pub id: String,
    pub certificate: Certificate,
    key: Option<Key>,
}

enum Key {
    File(SigningKey),
    /// It signs, and does nothing else for us.
    Token(Token),
}

impl Member {
    pub fn read(certificate: &Path, key: Option<&Path>) -> anyhow::Result<Self> {
        let named = |path: &Path| path.display().to_string();
        let text = read_text(certificate)?;
        let parsed = Certificate::from_pem(&text).with_context(|| named(certificate))?;
        let key = match key {
            Some(path) if path.to_string_lossy().starts_with(SCHEME) => {
                Some(Key::Token(Token::parse(&path.to_string_lossy())?))
            }
            Some(path) => {
                let key = SigningKey::from_pem(&read_text(path)?).with_context(|| named(path))?;
                if key.public_key() != parsed.public_key() {
                    anyhow::bail!("the key does not belong to the certificate {}", named(certificate));
                }
                Some(Key::File(key))
            }
            None => None,
        };
        Ok(Self { id: parsed.fingerprint().to_string(), certificate: parsed, key })
    }

    pub fn draft(&self, kind: &str, proposal: Option<&str>, payload: &[u8]) -> anyhow::Result<Draft> {
        Ok(Draft {
            key_id: self.id.clone(),
            kind: kind.to_owned(),
            proposal_id: proposal.map(str::to_owned),
            created_at: now_s()?,
            payload: payload.to_vec(),
        })
    }

    pub fn sign(&self, kind: &str, proposal: Option<&str>, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        let draft = self.draft(kind, proposal, payload)?;
        let key = self.key.as_ref().ok_or_else(|| {
            Hinted::error(
                "a member's key is needed to sign",
                "name it with --key, or have it signed elsewhere with --prepare",
            )
        })?;
        let token = match key {
            Key::File(key) => return Ok(draft.sign(&SystemCrypto, key)),
            Key::Token(token) => token,
        };
        let (key, curve) = (self.certificate.public_key(), self.certificate.public_key().curve());
        let signed = draft.to_be_signed(curve);
        let signature = token.sign(curve, &signed)?;
        if key.verify_fixed(&signed, &signature).is_err() {
            anyhow::bail!("the token's key does not belong to the certificate");
        }
        Ok(draft.with_signature(curve, &signature))
    }

    /// The key itself, to prove oneself to TLS with. A token's stays where it is.
    pub fn key(&self) -> Option<&SigningKey> {
        match &self.key {
            Some(Key::File(key)) => Some(key),
            Some(Key::Token(_)) | None => None,
        }
    }
}

fn now_s() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs())
}

pub fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
