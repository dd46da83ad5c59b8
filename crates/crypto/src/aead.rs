//! AES-256-GCM with explicit nonces.
//!
//! The caller owns the promise that a key never meets a nonce twice; each user says in its own documentation how it keeps it.

use std::fmt;

use aws_lc_rs::aead;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Crypto, Error};

pub const NONCE_BYTES: usize = 12;
pub const TAG_BYTES: usize = 16;

/// 96 bits, used at most once under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonce(pub [u8; NONCE_BYTES]);

/// The authentication tag, kept apart from the ciphertext.
pub type Tag = [u8; TAG_BYTES];

/// 32 secret bytes: a ledger secret, or a key derived from one. No `Debug`; zeroed when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SymmetricKey([u8; 32]);

impl SymmetricKey {
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn generate(crypto: &dyn Crypto) -> Self {
        let mut key = Self::zeroed();
        crypto.fill(&mut key.0);
        key
    }

    /// The secret itself: for wrapping and for derivation, never for text.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn zeroed() -> Self {
        Self([0; 32])
    }

    pub(crate) fn expose_mut(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }
}

impl PartialEq for SymmetricKey {
    fn eq(&self, other: &Self) -> bool {
        crate::constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for SymmetricKey {}

/// A key with its AES schedule computed, ready to seal and open. The backend erases the schedule when it is dropped.
pub struct AeadKey(aead::LessSafeKey);

impl AeadKey {
    pub fn new(key: &SymmetricKey) -> Self {
        let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, key.expose()).expect("AES-256 takes 32 bytes");
        Self(aead::LessSafeKey::new(unbound))
    }

    /// Encrypts `in_out` in place. `(key, nonce)` must be new.
    pub fn seal(&self, nonce: Nonce, additional_data: &[u8], in_out: &mut [u8]) -> Tag {
        let nonce = aead::Nonce::assume_unique_for_key(nonce.0);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, aead::Aad::from(additional_data), in_out)
            .expect("GCM seals any message below 64 GiB");
        tag.as_ref().try_into().expect("a GCM tag is 16 bytes")
    }

    /// Decrypts `in_out` in place. On failure its content is meaningless.
    pub fn open(&self, nonce: Nonce, additional_data: &[u8], in_out: &mut [u8], tag: &Tag) -> Result<(), Error> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce.0);
        self.0
            .open_in_place_separate_tag(nonce, aead::Aad::from(additional_data), tag, in_out)
            .map(|_| ())
            .map_err(|_| Error::NotAuthentic)
    }

    /// `nonce || ciphertext || tag` of a copy of `plaintext`: the form in which secrets and records are stored.
    pub fn seal_to_vec(&self, nonce: Nonce, additional_data: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(NONCE_BYTES + plaintext.len() + TAG_BYTES);
        sealed.extend_from_slice(&nonce.0);
        sealed.extend_from_slice(plaintext);
        let tag = self.seal(nonce, additional_data, &mut sealed[NONCE_BYTES..]);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// The inverse of [`AeadKey::seal_to_vec`].
    pub fn open_from_slice(&self, additional_data: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Error::NotAuthentic)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Error::NotAuthentic)?;
        let mut plaintext = ciphertext.to_vec();
        self.open(Nonce(*nonce), additional_data, &mut plaintext, tag)?;
        Ok(plaintext)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> AeadKey {
        AeadKey::new(&SymmetricKey::from_bytes([byte; 32]))
    }

    #[test]
    fn sealing_matches_the_published_vector() {
        // McGrew and Viega, GCM test case 14: zero key, zero nonce, one zero block.
        let mut block = [0u8; 16];
        let tag = key(0).seal(Nonce([0; 12]), b"", &mut block);
        assert_eq!(hex::encode(block), "cea7403d4d606b6e074ec5d3baf39d18");
        assert_eq!(hex::encode(tag), "d0d1c8a799996bf0265b98b5d48ab919");
    }

    #[test]
    fn sealed_bytes_open_only_unchanged_under_the_same_key_nonce_and_data() {
        let sealed = key(1).seal_to_vec(Nonce([2; 12]), b"data", b"message");
        assert_eq!(key(1).open_from_slice(b"data", &sealed).unwrap(), b"message");
        assert_eq!(key(2).open_from_slice(b"data", &sealed), Err(Error::NotAuthentic));
        assert_eq!(key(1).open_from_slice(b"other", &sealed), Err(Error::NotAuthentic));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key(1).open_from_slice(b"data", &changed), Err(Error::NotAuthentic));
            assert_eq!(key(1).open_from_slice(b"data", &sealed[..at]), Err(Error::NotAuthentic));
        }
    }
}
