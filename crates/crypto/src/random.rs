//! The plug for randomness and signing.

use aws_lc_rs::rand;

use crate::sign::{Signature, SigningKey};

/// Where randomness comes from, and who computes signatures (ECDSA needs randomness too).
///
/// A node has [`SystemCrypto`]; a simulated one [`SeededCrypto`](crate::SeededCrypto). Nothing else in the core draws
/// entropy or signs.
pub trait Crypto: Send + Sync {
    /// Fills `bytes` with unpredictable bytes. Does not return if the system has none: nothing safe can be done without.
    fn fill(&self, bytes: &mut [u8]);

    /// Signs a message digest of the curve's own length (P-256: 32 bytes, P-384: 48). Called by [`SigningKey`].
    ///
    /// # Panics
    /// If the digest has another length: the caller chose it, not a peer.
    fn sign_digest(&self, key: &SigningKey, digest: &[u8]) -> Signature;
}

/// For calls of the backend that want a source, and use their own.
pub(crate) fn of_backend() -> rand::SystemRandom {
    rand::SystemRandom::new()
}

/// The operating system's randomness and the backend's randomised ECDSA.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemCrypto;

impl Crypto for SystemCrypto {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes).expect("the operating system gives random bytes");
    }

    fn sign_digest(&self, key: &SigningKey, digest: &[u8]) -> Signature {
        key.sign_digest_randomised(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        let (mut a, mut b) = ([0u8; 32], [0u8; 32]);
        SystemCrypto.fill(&mut a);
        SystemCrypto.fill(&mut b);
        assert_ne!(a, b);
    }
}
