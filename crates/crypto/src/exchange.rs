//! Sealing a message to one recipient: how nodes are handed the service's secrets, when they join and when a ledger secret is new.
//!
//! X25519 with a fresh sender key, HKDF-SHA-256 over the shared point and both public keys, AES-256-GCM. The derived key is used for
//! one message, so its nonce is zero. Anyone can seal to a recipient: who sent it must be established otherwise (here by TLS
//! under the service certificate).

use aws_lc_rs::agreement;

use crate::{AeadKey, Crypto, Domain, Error, NONCE_BYTES, Nonce, SymmetricKey, hkdf_sha256};

const DOMAIN: Domain = Domain::new("coco.exchange.v1");

/// X25519 public keys have this many bytes.
pub const EXCHANGE_KEY_BYTES: usize = 32;

/// A recipient's key: a node keeps one for its life.
pub struct ExchangeKey {
    scalar: SymmetricKey,
    private: agreement::PrivateKey,
    public: [u8; EXCHANGE_KEY_BYTES],
}

impl ExchangeKey {
    pub fn generate(crypto: &dyn Crypto) -> Self {
        Self::from_scalar(SymmetricKey::generate(crypto))
    }

    pub fn from_scalar(scalar: SymmetricKey) -> Self {
        let private = agreement::PrivateKey::from_private_key(&agreement::X25519, scalar.expose())
            .expect("any 32 bytes are an X25519 private key");
        let public = private.compute_public_key().expect("a private key has a public key");
        let public = public.as_ref().try_into().expect("X25519 public keys have 32 bytes");
        Self { scalar, private, public }
    }

    /// The private key itself: for the node's own sealed state.
    pub fn scalar(&self) -> &SymmetricKey {
        &self.scalar
    }

    pub fn public(&self) -> &[u8; EXCHANGE_KEY_BYTES] {
        &self.public
    }

    /// Opens what [`seal_to`] sealed to this key for the same `context`.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (sender, message) = sealed.split_first_chunk::<EXCHANGE_KEY_BYTES>().ok_or(Error::NotAuthentic)?;
        let key = shared_key(&self.private, sender, sender, &self.public)?;
        key.open_from_slice(context, message)
    }
}

/// Seals `plaintext` to the holder of `recipient`. `context` is authenticated, not sent.
pub fn seal_to(crypto: &dyn Crypto, recipient: &[u8], context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let recipient: &[u8; EXCHANGE_KEY_BYTES] = recipient.try_into().map_err(|_| Error::MalformedPublicKey)?;
    let sender = ExchangeKey::generate(crypto);
    let key = shared_key(&sender.private, recipient, &sender.public, recipient)?;
    let mut sealed = sender.public.to_vec();
    sealed.extend(key.seal_to_vec(Nonce([0; NONCE_BYTES]), context, plaintext));
    Ok(sealed)
}

fn shared_key(
    own: &agreement::PrivateKey,
    other: &[u8; EXCHANGE_KEY_BYTES],
    sender: &[u8],
    recipient: &[u8],
) -> Result<AeadKey, Error> {
    let other = agreement::UnparsedPublicKey::new(&agreement::X25519, other);
    let derive = |shared: &[u8]| {
        let shared = shared.try_into().map_err(|_| Error::MalformedPublicKey)?;
        Ok(hkdf_sha256(&SymmetricKey::from_bytes(shared), DOMAIN, &[sender, recipient].concat()))
    };
    let key = agreement::agree(own, other, Error::MalformedPublicKey, derive)?;
    Ok(AeadKey::new(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededCrypto;

    #[test]
    fn only_the_recipient_opens_and_only_in_the_same_context() {
        let crypto = SeededCrypto::new(1);
        let [recipient, other] = [(); 2].map(|()| ExchangeKey::generate(&crypto));
        let sealed = seal_to(&crypto, recipient.public(), b"join", b"secret").unwrap();
        assert_eq!(recipient.open(b"join", &sealed).unwrap(), b"secret");
        assert!(other.open(b"join", &sealed).is_err());
        assert!(recipient.open(b"other", &sealed).is_err());
        assert!(recipient.open(b"join", &sealed[..sealed.len() - 1]).is_err());
        assert!(recipient.open(b"join", &[0; 7]).is_err());
    }

    #[test]
    fn a_key_that_contributes_nothing_is_refused() {
        let crypto = SeededCrypto::new(1);
        assert!(seal_to(&crypto, &[0; 32], b"", b"secret").is_err());
        assert!(seal_to(&crypto, &[1; 31], b"", b"secret").is_err());
    }
}
