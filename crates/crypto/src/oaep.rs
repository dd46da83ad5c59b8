//! RSA-OAEP with SHA-256: how a member is given its recovery share, in the form that CCF's members have keys for.
//!
//! Encryption draws its padding from the backend, not from [`Crypto`](crate::Crypto): a seed does not replay it.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use zeroize::Zeroizing;

use crate::{Error, decode_pem, encode_pem};

/// A member's public key. 2048 bits and more.
pub struct EncryptionKey(OaepPublicEncryptingKey);

impl EncryptionKey {
    /// SubjectPublicKeyInfo in PEM.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let der = decode_pem("PUBLIC KEY", text)?;
        let key = PublicEncryptingKey::from_der(&der).map_err(|_| Error::MalformedForeignKey)?;
        OaepPublicEncryptingKey::new(key).map(Self).map_err(|_| Error::MalformedForeignKey)
    }

    /// Fails if the message is longer than the key allows: 190 bytes for 2048 bits.
    pub fn encrypt(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.encrypt_labelled(message, &[])
    }

    /// The label is not encrypted, and has to be the same where the message is decrypted.
    pub fn encrypt_labelled(&self, message: &[u8], label: &[u8]) -> Result<Vec<u8>, Error> {
        let mut encrypted = vec![0; self.0.ciphertext_size()];
        let length = self.0.encrypt(&OAEP_SHA256_MGF1SHA256, message, &mut encrypted, Some(label));
        let length = length.map_err(|_| Error::MalformedForeignKey)?.len();
        encrypted.truncate(length);
        Ok(encrypted)
    }
}

/// A member's private key.
pub struct DecryptionKey {
    key: OaepPrivateDecryptingKey,
    /// PKCS#8.
    private_der: Zeroizing<Vec<u8>>,
    public_der: Vec<u8>,
}

impl DecryptionKey {
    /// A fresh key of 2048 bits, from the backend's randomness: for development networks.
    pub fn generate() -> Result<Self, Error> {
        Self::of(PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| Error::MalformedPrivateKey)?)
    }

    /// PKCS#8 in PEM.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_pkcs8_der(&Zeroizing::new(decode_pem("PRIVATE KEY", text)?))
    }

    pub(crate) fn from_pkcs8_der(der: &[u8]) -> Result<Self, Error> {
        Self::of(PrivateDecryptingKey::from_pkcs8(der).map_err(|_| Error::MalformedPrivateKey)?)
    }

    fn of(key: PrivateDecryptingKey) -> Result<Self, Error> {
        let private: Pkcs8V1Der<'_> = key.as_der().map_err(|_| Error::MalformedPrivateKey)?;
        let private_der = Zeroizing::new(private.as_ref().to_vec());
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| Error::MalformedPrivateKey)?;
        let public_der = public.as_ref().to_vec();
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| Error::MalformedPrivateKey)?;
        Ok(Self { key, private_der, public_der })
    }

    /// PKCS#8.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_pem("PRIVATE KEY", &self.private_der))
    }

    /// SubjectPublicKeyInfo.
    pub fn public_pem(&self) -> String {
        encode_pem("PUBLIC KEY", &self.public_der)
    }

    pub fn decrypt(&self, encrypted: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.decrypt_labelled(encrypted, &[])
    }

    /// Of [`EncryptionKey::encrypt_labelled`].
    pub fn decrypt_labelled(&self, encrypted: &[u8], label: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut message = Zeroizing::new(vec![0; self.key.min_output_size()]);
        let length = self.key.decrypt(&OAEP_SHA256_MGF1SHA256, encrypted, &mut message, Some(label));
        let length = length.map_err(|_| Error::NotAuthentic)?.len();
        message.truncate(length);
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_member_opens_what_was_encrypted_to_it() {
        let [member, other] = [(); 2].map(|()| DecryptionKey::generate().unwrap());
        let public = EncryptionKey::from_pem(&member.public_pem()).unwrap();
        let encrypted = public.encrypt(b"share").unwrap();
        assert_eq!(encrypted.len(), 256);
        let again = DecryptionKey::from_pem(&member.to_pem()).unwrap();
        assert_eq!(again.decrypt(&encrypted).unwrap().as_slice(), b"share");
        assert!(other.decrypt(&encrypted).is_err());
        assert!(member.decrypt(&encrypted[1..]).is_err());
        assert!(public.encrypt(&[0; 191]).is_err());
    }

    #[test]
    fn what_is_no_rsa_key_is_refused() {
        let key = crate::SigningKey::generate(&crate::SystemCrypto, crate::Curve::P256);
        assert!(EncryptionKey::from_pem(&key.public_key().to_pem()).is_err());
        assert!(DecryptionKey::from_pem(&key.to_pem()).is_err());
        assert!(EncryptionKey::from_pem("no key").is_err());
    }
}
