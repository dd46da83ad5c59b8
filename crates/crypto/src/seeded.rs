//! Randomness and signatures that are a function of a seed, so that a simulated network replays byte for byte.
//!
//! The backend cannot be seeded, so signatures come from the RustCrypto curves, with deterministic nonces (RFC 6979): slower than the
//! backend by far. A simulation signs so often that its nonces are a few small numbers instead, whose points are computed once: nearly all of a
//! signature's time otherwise. Whoever sees two signatures with one nonce can compute the key, which is no loss there; a real node, whose
//! randomness must not be known, can use nothing of this.

use std::sync::LazyLock;

use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::elliptic_curve::ff::PrimeField;
use p256::elliptic_curve::group::Curve as _;
use p256::elliptic_curve::ops::{Invert, Reduce};
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::{CurveArithmetic, FieldBytes, Group, Scalar};
use parking_lot::Mutex;

use crate::sign::{Curve, Signature, SigningKey};
use crate::{Crypto, Domain, SymmetricKey, hkdf_sha256, hmac_sha256};

const RANDOM_DOMAIN: Domain = Domain::new("coco seeded randomness");
const NONCES: u64 = 64;

static P256: LazyLock<Vec<Nonce<p256::NistP256>>> = LazyLock::new(nonces);
static P384: LazyLock<Vec<Nonce<p384::NistP384>>> = LazyLock::new(nonces);

/// See the module's text. Every draw advances the same stream, so callers on several threads would race for its values.
pub struct SeededCrypto {
    key: SymmetricKey,
    blocks_drawn: Mutex<u64>,
    few_nonces: bool,
}

impl SeededCrypto {
    pub fn new(seed: u64) -> Self {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        let key = hkdf_sha256(&SymmetricKey::from_bytes(secret), RANDOM_DOMAIN, &[]);
        Self { key, blocks_drawn: Mutex::new(0), few_nonces: false }
    }

    /// The same randomness, and quick signatures.
    pub fn of_simulation(seed: u64) -> Self {
        Self { few_nonces: true, ..Self::new(seed) }
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
        Signature::from_fixed(match key.curve() {
            Curve::P256 if self.few_nonces => signed(&P256, &scalar, digest),
            Curve::P384 if self.few_nonces => signed(&P384, &scalar, digest),
            Curve::P256 => {
                let key = p256::ecdsa::SigningKey::from_slice(&scalar).expect("a signing key's scalar is in range");
                let signature: p256::ecdsa::Signature = key.sign_prehash(digest).expect("the digest has 32 bytes");
                signature.to_bytes().to_vec()
            }
            Curve::P384 => {
                let key = p384::ecdsa::SigningKey::from_slice(&scalar).expect("a signing key's scalar is in range");
                let signature: p384::ecdsa::Signature = key.sign_prehash(digest).expect("the digest has 48 bytes");
                signature.to_bytes().to_vec()
            }
        })
    }
}

/// What a signature needs of its nonce: r, the x coordinate of its point, and its inverse.
struct Nonce<C: CurveArithmetic> {
    r: Scalar<C>,
    inverse: Scalar<C>,
}

fn nonces<C>() -> Vec<Nonce<C>>
where
    C: CurveArithmetic,
    Scalar<C>: Reduce<C::Uint, Bytes = FieldBytes<C>>,
{
    let nonce = |number| {
        let scalar = Scalar::<C>::from(number);
        let point = (C::ProjectivePoint::generator() * scalar).to_affine();
        Nonce { r: Scalar::<C>::reduce_bytes(&point.x()), inverse: scalar.invert().expect("it is not zero") }
    };
    (1..=NONCES).map(nonce).collect()
}

/// ECDSA (SEC 1, section 4.1.3) of a digest as long as the curve's field: r and s, one behind the other.
fn signed<C>(nonces: &[Nonce<C>], key: &[u8], digest: &[u8]) -> Vec<u8>
where
    C: CurveArithmetic,
    Scalar<C>: Reduce<C::Uint, Bytes = FieldBytes<C>>,
{
    let scalar = |bytes: &[u8]| Scalar::<C>::reduce_bytes(bytes.into());
    let nonce = &nonces[usize::from(digest[0]) % nonces.len()];
    let s = nonce.inverse * (scalar(digest) + nonce.r * scalar(key));
    [nonce.r.to_repr(), s.to_repr()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_its_keys_and_signatures_and_another_does_not() {
        let ways: [fn(u64) -> SeededCrypto; 2] = [SeededCrypto::new, SeededCrypto::of_simulation];
        for (curve, way) in [Curve::P256, Curve::P384].into_iter().flat_map(|curve| ways.map(|way| (curve, way))) {
            let run = |seed| {
                let crypto = way(seed);
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
