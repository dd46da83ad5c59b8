//! Randomness and signatures that are a function of a seed, so that a simulated network replays byte for byte.
//!
//! The backend cannot be seeded, so signatures come from the RustCrypto curves with deterministic nonces (RFC 6979): slower
//! than the backend by far, and of no use to a real node, whose randomness must not be known.

use std::collections::BTreeMap;

use p256::ecdsa::signature::hazmat::PrehashSigner;
use parking_lot::Mutex;

use crate::sign::{Curve, Signature, SigningKey};
use crate::{Crypto, Domain, SymmetricKey, hkdf_sha256, hmac_sha256};

const RANDOM_DOMAIN: Domain = Domain::new("coco seeded randomness");

/// See the module's text. Every draw advances the same stream, so callers on several threads would race for its values.
pub struct SeededCrypto {
    key: SymmetricKey,
    blocks_drawn: Mutex<u64>,
    /// By their scalars: a key is made with its public key, which takes as long as a signature.
    p384: Mutex<BTreeMap<Vec<u8>, p384::ecdsa::SigningKey>>,
}

impl SeededCrypto {
    pub fn new(seed: u64) -> Self {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        let key = hkdf_sha256(&SymmetricKey::from_bytes(secret), RANDOM_DOMAIN, &[]);
        Self { key, blocks_drawn: Mutex::new(0), p384: Mutex::default() }
    }
}

impl Crypto for SeededCrypto {
    fn fill(&self, bytes: &mut [u8]) {
        let mut blocks_drawn = self.blocks_drawn.lock();
        for chunk in bytes.chunks_mut(32) {
            let block = hmac_sha256(self.key.expose(), &blocks_drawn.to_le_bytes());
            chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
            *blocks_drawn += 1;
        }
    }

    fn sign_digest(&self, key: &SigningKey, digest: &[u8]) -> Signature {
        let scalar = key.expose_scalar();
        let fixed = match key.curve() {
            Curve::P256 => {
                let key = p256::ecdsa::SigningKey::from_slice(&scalar).expect("a signing key's scalar is in range");
                let signature: p256::ecdsa::Signature = key.sign_prehash(digest).expect("the digest has 32 bytes");
                signature.to_bytes().to_vec()
            }
            Curve::P384 => {
                let mut keys = self.p384.lock();
                let key = keys.entry(scalar.to_vec()).or_insert_with(|| {
                    p384::ecdsa::SigningKey::from_slice(&scalar).expect("a signing key's scalar is in range")
                });
                let signature: p384::ecdsa::Signature = key.sign_prehash(digest).expect("the digest has 48 bytes");
                signature.to_bytes().to_vec()
            }
        };
        Signature::from_fixed(fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_its_keys_and_signatures_and_another_does_not() {
        for curve in [Curve::P256, Curve::P384] {
            let run = |seed| {
                let crypto = SeededCrypto::new(seed);
                let key = SigningKey::generate(&crypto, curve);
                let signature = key.sign(&crypto, b"message");
                key.public_key().verify(b"message", &signature.der()).unwrap();
                (key.public_key().spki_der(), signature.fixed().to_vec())
            };
            assert_eq!(run(1), run(1));
            assert_ne!(run(1), run(2));
        }
    }

    #[test]
    fn draws_never_repeat_within_a_stream() {
        let crypto = SeededCrypto::new(1);
        let (mut a, mut b) = ([0u8; 40], [0u8; 40]);
        crypto.fill(&mut a);
        crypto.fill(&mut b);
        assert_ne!(a, b);
    }
}
