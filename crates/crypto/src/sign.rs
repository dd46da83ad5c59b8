//! ECDSA keys and signatures on P-256 and P-384.
//!
//! P-384 is the service's curve (COSE ES384), P-256 the nodes': a node signs the Merkle root, a SHA-256 value, as it is.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair};
use aws_lc_rs::signature::{ParsedPublicKey, UnparsedPublicKey};
use coco_types::{Digest, NodeId};
use zeroize::Zeroizing;

use crate::{Crypto, Error, decode_pem, encode_pem, sha256, sha384};

const PUBLIC_KEY_LABEL: &str = "PUBLIC KEY";
const PRIVATE_KEY_LABEL: &str = "PRIVATE KEY";

/// SubjectPublicKeyInfo of an uncompressed point, up to the point itself (RFC 5480 §2).
const SPKI_PREFIX_P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const SPKI_PREFIX_P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];
/// ECPrivateKey (RFC 5915 §3) up to the scalar, and its curve parameter after it.
const EC_PRIVATE_KEY_P256: (&[u8], &[u8]) = (
    &[0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20],
    &[0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
);
const EC_PRIVATE_KEY_P384: (&[u8], &[u8]) =
    (&[0x30, 0x3e, 0x02, 0x01, 0x01, 0x04, 0x30], &[0xa0, 0x07, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Curve {
    P256,
    P384,
}

impl Curve {
    /// Bytes of a scalar, and of half a fixed signature.
    pub fn scalar_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// The message digest that goes with the curve: SHA-256 or SHA-384.
    fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256 => sha256(message).0.to_vec(),
            Self::P384 => sha384(message).to_vec(),
        }
    }

    fn digest_algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::P256 => &digest::SHA256,
            Self::P384 => &digest::SHA384,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        }
    }

    fn verification_der(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::P384 => &signature::ECDSA_P384_SHA384_ASN1,
        }
    }

    fn verification_fixed(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
        }
    }

    fn verification_sha256_der(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::P384 => &signature::ECDSA_P384_SHA256_ASN1,
        }
    }

    fn spki_prefix(self) -> &'static [u8] {
        match self {
            Self::P256 => SPKI_PREFIX_P256,
            Self::P384 => SPKI_PREFIX_P384,
        }
    }
}

/// A private key. No `Debug`; the backend erases it when dropped.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    curve: Curve,
    public_key: PublicKey,
}

impl SigningKey {
    pub fn generate(crypto: &dyn Crypto, curve: Curve) -> Self {
        let (prefix, suffix) = match curve {
            Curve::P256 => EC_PRIVATE_KEY_P256,
            Curve::P384 => EC_PRIVATE_KEY_P384,
        };
        // A random scalar is out of range with a chance below 2^-32: draw again.
        loop {
            let mut der = Zeroizing::new(Vec::with_capacity(prefix.len() + curve.scalar_bytes() + suffix.len()));
            der.extend_from_slice(prefix);
            der.resize(prefix.len() + curve.scalar_bytes(), 0);
            crypto.fill(&mut der[prefix.len()..]);
            der.extend_from_slice(suffix);
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve.signing(), &der) {
                return Self::from_pair(pair, curve);
            }
        }
    }

    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, Error> {
        for curve in [Curve::P384, Curve::P256] {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve.signing(), der) {
                return Ok(Self::from_pair(pair, curve));
            }
        }
        Err(Error::MalformedPrivateKey)
    }

    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let document = self.pair.to_pkcs8v1().expect("a key pair has a PKCS#8 form");
        Zeroizing::new(document.as_ref().to_vec())
    }

    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let der = Zeroizing::new(decode_pem(PRIVATE_KEY_LABEL, text)?);
        Self::from_pkcs8_der(&der)
    }

    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_pem(PRIVATE_KEY_LABEL, &self.to_pkcs8_der()))
    }

    pub fn curve(&self) -> Curve {
        self.curve
    }

    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Signs a message hashed with the curve's own hash: SHA-256 or SHA-384.
    pub fn sign(&self, crypto: &dyn Crypto, message: &[u8]) -> Signature {
        crypto.sign_digest(self, &self.curve.digest(message))
    }

    /// Signs a SHA-256 value as it is.
    ///
    /// # Panics
    /// On P-384, with which the backend signs no SHA-256 values. Node keys are P-256.
    pub fn sign_prehashed(&self, crypto: &dyn Crypto, digest: &Digest) -> Signature {
        assert_eq!(self.curve, Curve::P256, "only P-256 keys sign prehashed SHA-256 values");
        crypto.sign_digest(self, digest.as_bytes())
    }

    pub(crate) fn sign_digest_randomised(&self, digest: &[u8]) -> Signature {
        let digest = digest::Digest::import_less_safe(digest, self.curve.digest_algorithm())
            .expect("the digest has the curve's length");
        let signature = self.pair.sign_digest(&digest).expect("a key pair signs a digest of its curve's length");
        Signature::from_fixed(signature.as_ref().to_vec())
    }

    pub(crate) fn expose_scalar(&self) -> Zeroizing<Vec<u8>> {
        let scalar = self.pair.private_key().as_be_bytes().expect("a key pair has a scalar");
        Zeroizing::new(scalar.as_ref().to_vec())
    }

    fn from_pair(pair: EcdsaKeyPair, curve: Curve) -> Self {
        let point = pair.public_key().as_ref().to_vec();
        Self { pair, curve, public_key: PublicKey { curve, point } }
    }
}

/// A public key: a curve and an uncompressed point that is on it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    curve: Curve,
    point: Vec<u8>,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER. One key has one form here: uncompressed point, named curve.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, Error> {
        for curve in [Curve::P384, Curve::P256] {
            let Some(point) = der.strip_prefix(curve.spki_prefix()) else { continue };
            let uncompressed = point.len() == 1 + 2 * curve.scalar_bytes() && point.first() == Some(&4);
            if uncompressed && ParsedPublicKey::new(curve.verification_der(), point).is_ok() {
                return Ok(Self { curve, point: point.to_vec() });
            }
        }
        Err(Error::MalformedPublicKey)
    }

    pub fn spki_der(&self) -> Vec<u8> {
        [self.curve.spki_prefix(), &self.point].concat()
    }

    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_spki_der(&decode_pem(PUBLIC_KEY_LABEL, text)?)
    }

    pub fn to_pem(&self) -> String {
        encode_pem(PUBLIC_KEY_LABEL, &self.spki_der())
    }

    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The uncompressed point: 4, x, y.
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    /// SHA-256 of the SubjectPublicKeyInfo: what names a node, and a service key in a receipt's `kid`.
    pub fn id(&self) -> Digest {
        sha256(&self.spki_der())
    }

    pub fn node_id(&self) -> NodeId {
        NodeId(self.id())
    }

    /// Checks a DER signature over a message hashed with the curve's own hash.
    pub fn verify(&self, message: &[u8], signature_der: &[u8]) -> Result<(), Error> {
        let key = UnparsedPublicKey::new(self.curve.verification_der(), &self.point);
        key.verify(message, signature_der).map_err(|_| Error::BadSignature)
    }

    /// Checks a fixed-length signature (r then s) over a message hashed with the curve's own hash: COSE's form.
    pub fn verify_fixed(&self, message: &[u8], signature_fixed: &[u8]) -> Result<(), Error> {
        let key = UnparsedPublicKey::new(self.curve.verification_fixed(), &self.point);
        key.verify(message, signature_fixed).map_err(|_| Error::BadSignature)
    }

    /// Checks a DER signature over a SHA-256 value that was signed as it is.
    pub fn verify_prehashed(&self, digest: &Digest, signature_der: &[u8]) -> Result<(), Error> {
        let digest =
            digest::Digest::import_less_safe(digest.as_bytes(), &digest::SHA256).expect("a SHA-256 value has 32 bytes");
        let key = UnparsedPublicKey::new(self.curve.verification_sha256_der(), &self.point);
        key.verify_digest(&digest, signature_der).map_err(|_| Error::BadSignature)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, id {})", self.curve, self.id())
    }
}

/// An ECDSA signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    fixed: Vec<u8>,
}

impl Signature {
    /// From r and s, big-endian, each of the curve's length.
    pub(crate) fn from_fixed(fixed: Vec<u8>) -> Self {
        Self { fixed }
    }

    /// r then s, big-endian, each of the curve's length: COSE's form (RFC 9053 §2.1).
    pub fn fixed(&self) -> &[u8] {
        &self.fixed
    }

    /// ECDSA-Sig-Value in DER (RFC 3279 §2.2.3): X.509's form.
    pub fn der(&self) -> Vec<u8> {
        let (r, s) = self.fixed.split_at(self.fixed.len() / 2);
        let mut body = Vec::with_capacity(self.fixed.len() + 6);
        push_der_integer(&mut body, r);
        push_der_integer(&mut body, s);
        let len = u8::try_from(body.len()).ok().filter(|len| *len < 0x80);
        let len = len.expect("two integers of at most 48 bytes have a short DER length");
        [&[0x30, len], body.as_slice()].concat()
    }
}

fn push_der_integer(der: &mut Vec<u8>, big_endian: &[u8]) {
    let first = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len() - 1);
    let digits = &big_endian[first..];
    let padding = usize::from(digits[0] & 0x80 != 0);
    der.push(0x02);
    der.push(u8::try_from(digits.len() + padding).expect("an integer of at most 48 bytes"));
    der.extend_from_slice(&[0][..padding]);
    der.extend_from_slice(digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemCrypto;

    const CURVES: [Curve; 2] = [Curve::P256, Curve::P384];

    #[test]
    fn signatures_verify_in_both_forms_and_only_over_their_message() {
        for curve in CURVES {
            let key = SigningKey::generate(&SystemCrypto, curve);
            let other = SigningKey::generate(&SystemCrypto, curve);
            let signature = key.sign(&SystemCrypto, b"message");
            key.public_key().verify(b"message", &signature.der()).unwrap();
            key.public_key().verify_fixed(b"message", signature.fixed()).unwrap();
            assert_eq!(key.public_key().verify(b"massage", &signature.der()), Err(Error::BadSignature));
            assert_eq!(other.public_key().verify(b"message", &signature.der()), Err(Error::BadSignature));
            assert_eq!(key.public_key().verify(b"message", signature.fixed()), Err(Error::BadSignature));
        }
    }

    #[test]
    fn a_prehashed_signature_is_one_over_the_message_with_that_hash() {
        let key = SigningKey::generate(&SystemCrypto, Curve::P256);
        let signature = key.sign_prehashed(&SystemCrypto, &sha256(b"message"));
        key.public_key().verify_prehashed(&sha256(b"message"), &signature.der()).unwrap();
        key.public_key().verify(b"message", &signature.der()).unwrap();
        assert_eq!(key.public_key().verify_prehashed(&sha256(b"massage"), &signature.der()), Err(Error::BadSignature));
    }

    #[test]
    fn keys_survive_their_encodings() {
        for curve in CURVES {
            let key = SigningKey::generate(&SystemCrypto, curve);
            let again = SigningKey::from_pem(&key.to_pem()).unwrap();
            assert_eq!(again.public_key(), key.public_key());
            assert_eq!(again.to_pkcs8_der(), key.to_pkcs8_der());
            let public = PublicKey::from_pem(&key.public_key().to_pem()).unwrap();
            assert_eq!(&public, key.public_key());
            assert_eq!(public.spki_der(), rcgen_spki(&key));
        }
    }

    #[test]
    fn malformed_keys_are_refused() {
        let key = SigningKey::generate(&SystemCrypto, Curve::P256);
        let der = key.public_key().spki_der();
        assert_eq!(PublicKey::from_spki_der(&der[..der.len() - 1]), Err(Error::MalformedPublicKey));
        assert_eq!(PublicKey::from_spki_der(&[&der[..], &[0]].concat()), Err(Error::MalformedPublicKey));
        let mut off_curve = der.clone();
        *off_curve.last_mut().unwrap() ^= 1;
        assert_eq!(PublicKey::from_spki_der(&off_curve), Err(Error::MalformedPublicKey));
        let pkcs8 = key.to_pkcs8_der();
        assert!(SigningKey::from_pkcs8_der(&pkcs8[..pkcs8.len() - 1]).is_err());
        assert!(SigningKey::from_pem("no key").is_err());
    }

    #[test]
    fn der_integers_are_minimal_and_positive() {
        let mut fixed = vec![0; 64];
        fixed[31] = 0x80;
        fixed[63] = 0x01;
        assert_eq!(Signature::from_fixed(fixed).der(), [0x30, 0x07, 0x02, 0x02, 0x00, 0x80, 0x02, 0x01, 0x01]);
    }

    fn rcgen_spki(key: &SigningKey) -> Vec<u8> {
        use rcgen::PublicKeyData;
        rcgen::KeyPair::try_from(key.to_pkcs8_der().as_slice()).unwrap().subject_public_key_info()
    }
}
