//! Signatures made elsewhere: what is to be signed goes to a file, and comes back with a signature.
//!
//! The file has the fields `alg` and `value` of CCF's `ccf_cose_sign1_prepare`, so that whatever signs for that tool signs here too.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use coco_crypto::{Certificate, Curve, sha256, sha384};
use coco_governance::Draft;
use serde::{Deserialize, Serialize};

use crate::governance::{Member, read_text};

/// A request that waits for its signature.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// ES256 or ES384.
    alg: String,
    /// The digest to sign, base64.
    value: String,
    /// Where the request goes, under `/gov`.
    pub path: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal_id: Option<String>,
    created_at: u64,
    /// Base64.
    payload: String,
    /// PEM.
    certificate: String,
}

#[derive(Deserialize)]
struct Signature {
    value: String,
}

impl Prepared {
    pub fn new(member: &Member, draft: &Draft, path: &str) -> Self {
        let curve = member.certificate.public_key().curve();
        let to_be_signed = draft.to_be_signed(curve);
        let (alg, digest) = match curve {
            Curve::P256 => ("ES256", sha256(&to_be_signed).0.to_vec()),
            Curve::P384 => ("ES384", sha384(&to_be_signed).to_vec()),
        };
        Self {
            alg: alg.to_owned(),
            value: STANDARD.encode(digest),
            path: path.to_owned(),
            kind: draft.kind.clone(),
            proposal_id: draft.proposal_id.clone(),
            created_at: draft.created_at,
            payload: STANDARD.encode(&draft.payload),
            certificate: member.certificate.to_pem(),
        }
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?).with_context(|| path.display().to_string())
    }

    pub fn read(path: &Path) -> anyhow::Result<Self> {
        serde_json::from_str(&read_text(path)?).with_context(|| path.display().to_string())
    }

    /// The signed message, if the signature is the member's.
    pub fn finish(&self, signature: &Path) -> anyhow::Result<Vec<u8>> {
        let parsed: Signature =
            serde_json::from_str(&read_text(signature)?).with_context(|| signature.display().to_string())?;
        let decoders = [&STANDARD, &URL_SAFE, &URL_SAFE_NO_PAD];
        let raw = decoders.iter().find_map(|decoder| decoder.decode(parsed.value.trim()).ok());
        let raw = raw.context("the signature's value is not base64")?;
        let certificate = Certificate::from_pem(&self.certificate)?;
        let key = certificate.public_key();
        let draft = Draft {
            key_id: certificate.fingerprint().to_string(),
            kind: self.kind.clone(),
            proposal_id: self.proposal_id.clone(),
            created_at: self.created_at,
            payload: STANDARD.decode(&self.payload).context("the payload is not base64")?,
        };
        ensure!(
            raw.len() == 2 * key.curve().scalar_bytes(),
            "a signature for {} is r then s, {} bytes",
            self.alg,
            2 * key.curve().scalar_bytes()
        );
        if key.verify_fixed(&draft.to_be_signed(key.curve()), &raw).is_err() {
            bail!("the signature is not this member's over this request");
        }
        Ok(draft.with_signature(key.curve(), &raw))
    }
}

#[cfg(test)]
mod tests {
    use coco_crypto::{SigningKey, SystemCrypto, Validity, self_signed_certificate};
    use coco_governance::Message;

    use super::*;

    #[test]
    fn a_prepared_request_takes_the_signature_of_its_member_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for curve in [Curve::P256, Curve::P384] {
            let [key, other] = [(); 2].map(|()| SigningKey::generate(&SystemCrypto, curve));
            let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
            let certificate = self_signed_certificate(&SystemCrypto, &key, "m", &[], validity, &[]).unwrap();
            fs::write(file("cert.pem"), certificate.to_pem()).unwrap();
            let member = Member::read(&file("cert.pem"), None).unwrap();
            let draft = member.draft("ballot", Some("p"), b"{}").unwrap();
            Prepared::new(&member, &draft, "members/x").write(&file("prepared.json")).unwrap();
            let sign = |key: &SigningKey| {
                let raw = key.sign(&SystemCrypto, &draft.to_be_signed(curve)).fixed().to_vec();
                fs::write(file("signature.json"), format!("{{\"value\": \"{}\"}}", URL_SAFE.encode(raw))).unwrap();
                Prepared::read(&file("prepared.json")).unwrap().finish(&file("signature.json"))
            };
            let message = Message::decode(&sign(&key).unwrap()).unwrap();
            assert_eq!((message.kind.as_deref(), message.proposal_id.as_deref()), (Some("ballot"), Some("p")));
            assert_eq!(message.key_id, member.id);
            assert!(sign(&other).is_err());
        }
    }
}
