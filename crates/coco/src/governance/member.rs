//! A member: its certificate, and its key if that is at hand.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use coco_crypto::{Certificate, SigningKey, SystemCrypto};
use coco_governance::Draft;

use crate::output::Hinted;

pub struct Member {
    /// SHA-256 of the certificate, in hex.
    pub id: String,
    pub certificate: Certificate,
    key: Option<SigningKey>,
}

impl Member {
    pub fn read(certificate: &Path, key: Option<&Path>) -> anyhow::Result<Self> {
        let named = |path: &Path| path.display().to_string();
        let text = read_text(certificate)?;
        let parsed = Certificate::from_pem(&text).with_context(|| named(certificate))?;
        let key = match key {
            Some(path) => Some(SigningKey::from_pem(&read_text(path)?).with_context(|| named(path))?),
            None => None,
        };
        if key.as_ref().is_some_and(|key| key.public_key() != parsed.public_key()) {
            anyhow::bail!("the key does not belong to the certificate {}", named(certificate));
        }
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
        Ok(self.draft(kind, proposal, payload)?.sign(&SystemCrypto, self.key()?))
    }

    pub fn key(&self) -> anyhow::Result<&SigningKey> {
        self.key.as_ref().ok_or_else(|| {
            Hinted::error(
                "a member's key is needed to sign",
                "name it with --key, or have it signed elsewhere with --prepare",
            )
        })
    }
}

fn now_s() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs())
}

pub fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
