//! Keys under other keys, by the mechanisms that CCF names after PKCS#11: RSA-OAEP with SHA-256 (RFC 8017 §7.1), AES with padding (RFC 5649),
//! and both together: a fresh AES key by the former, and what is wrapped by the latter.

use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrapPadded};
use zeroize::Zeroizing;

use super::RsaKeyPair;
use crate::{Crypto, DecryptionKey, EncryptionKey, Error, SystemCrypto};

/// What [`AesKey::generate`] makes. The backend wraps with those of 128 and 256 bits only.
pub const AES_KEY_BITS: [usize; 3] = [128, 192, 256];
/// Beyond what is wrapped: the length of its head, and padding.
const PADDING_BYTES_MAX: usize = 15;

/// An AES key. No `Debug`; erased when dropped.
pub struct AesKey(Zeroizing<Vec<u8>>);

impl AesKey {
    pub fn generate(bits: usize) -> Result<Self, Error> {
        if !AES_KEY_BITS.contains(&bits) {
            return Err(Error::UnsupportedKey { why: "AES keys have 128, 192 or 256 bits" });
        }
        let mut key = Zeroizing::new(vec![0; bits / 8]);
        SystemCrypto.fill(&mut key);
        Ok(Self(key))
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The same again gives the same.
    pub fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, Error> {
        let mut wrapped = vec![0; key.len() + PADDING_BYTES_MAX];
        let length = self.kek()?.wrap_with_padding(key, &mut wrapped);
        let length = length.map_err(|_| Error::UnsupportedKey { why: "nothing, or too much, to wrap" })?.len();
        wrapped.truncate(length);
        Ok(wrapped)
    }

    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut key = Zeroizing::new(vec![0; wrapped.len()]);
        let length = self.kek()?.unwrap_with_padding(wrapped, &mut key).map_err(|_| Error::NotAuthentic)?.len();
        key.truncate(length);
        Ok(key)
    }

    fn kek(&self) -> Result<AesKek, Error> {
        let cipher = if self.0.len() * 8 == 128 { &AES_128 } else { &AES_256 };
        AesKek::new(cipher, &self.0)
            .map_err(|_| Error::UnsupportedKey { why: "AES keys that wrap have 128 or 256 bits" })
    }
}

/// Fails if `key` is longer than the public key (SubjectPublicKeyInfo in PEM) allows: 190 bytes for 2,048 bits.
pub fn oaep_wrap(key: &[u8], public_pem: &str, label: &[u8]) -> Result<Vec<u8>, Error> {
    EncryptionKey::from_pem(public_pem)?.encrypt_labelled(key, label)
}

pub fn oaep_unwrap(wrapped: &[u8], private_pem: &str, label: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let key = RsaKeyPair::from_pem(private_pem)?;
    DecryptionKey::from_pkcs8_der(&key.pkcs8_der())?.decrypt_labelled(wrapped, label)
}

/// The AES key wrapped, then `key` wrapped under it.
pub fn rsa_aes_wrap(key: &[u8], public_pem: &str, aes_bits: usize, label: &[u8]) -> Result<Vec<u8>, Error> {
    let between = AesKey::generate(aes_bits)?;
    let wrapped = between.wrap(key)?;
    Ok([oaep_wrap(between.expose(), public_pem, label)?, wrapped].concat())
}

pub fn rsa_aes_unwrap(wrapped: &[u8], private_pem: &str, label: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let key = RsaKeyPair::from_pem(private_pem)?;
    let (between, wrapped) = wrapped.split_at_checked(key.bits() / 8).ok_or(Error::NotAuthentic)?;
    let between = DecryptionKey::from_pkcs8_der(&key.pkcs8_der())?.decrypt_labelled(between, label)?;
    AesKey(between).unwrap(wrapped)
}
