//! ECDSA on the curves that CCF knows.

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair};
use aws_lc_rs::signature::{ParsedPublicKey, UnparsedPublicKey};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use super::{PUBLIC_KEY, private_der, private_pem};
use crate::der::{self, BIT_STRING, SEQUENCE};
use crate::{Error, Hash, decode_pem, encode_pem};

/// What OpenSSL calls the form of RFC 5915.
const OLDER_FORM: &str = "EC PRIVATE KEY";
const OID_EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EcCurve {
    P256,
    P384,
    P521,
    K256,
}

impl EcCurve {
    pub const ALL: [Self; 4] = [Self::P256, Self::P384, Self::P521, Self::K256];

    /// SEC 2's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "secp256r1",
            Self::P384 => "secp384r1",
            Self::P521 => "secp521r1",
            Self::K256 => "secp256k1",
        }
    }

    /// JOSE's name (RFC 7518 §6.2.1.1, RFC 8812 §3.1).
    pub fn jose_name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::K256 => "secp256k1",
        }
    }

    /// Bytes of a coordinate, a scalar, and half a signature.
    pub fn bytes(self) -> usize {
        match self {
            Self::P256 | Self::K256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn oid(self) -> (&'static str, &'static [u8]) {
        match self {
            Self::P256 => ("1.2.840.10045.3.1.7", &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
            Self::P384 => ("1.3.132.0.34", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]),
            Self::P521 => ("1.3.132.0.35", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]),
            Self::K256 => ("1.3.132.0.10", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a]),
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            Self::K256 => &signature::ECDSA_P256K1_SHA256_FIXED_SIGNING,
        }
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED,
            Self::K256 => &signature::ECDSA_P256K1_SHA256_FIXED,
        }
    }

    /// What is signed is the hash as a number, of which the bits beyond the curve's order are dropped (FIPS 186-5 §6.4.1). So any hash has the
    /// length of the one that the backend knows with this curve: by zeros in front, or cut.
    fn digest(self, hash: Hash, message: &[u8]) -> digest::Digest {
        let (algorithm, length) = match self {
            Self::P256 | Self::K256 => (&digest::SHA256, 32),
            Self::P384 => (&digest::SHA384, 48),
            Self::P521 => (&digest::SHA512, 64),
        };
        let whole = hash.of(message);
        let kept = &whole[..whole.len().min(length)];
        let mut fitting = vec![0; length];
        fitting[length - kept.len()..].copy_from_slice(kept);
        digest::Digest::import_less_safe(&fitting, algorithm).expect("it has the algorithm's length")
    }
}

/// A private key. No `Debug`; the backend erases it when dropped.
pub struct EcKeyPair {
    curve: EcCurve,
    pair: EcdsaKeyPair,
}

impl EcKeyPair {
    pub fn generate(curve: EcCurve) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::generate(curve.signing()).map_err(|_| Error::MalformedPrivateKey)?;
        Ok(Self { curve, pair })
    }

    /// The key must name its curve.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let der = private_der(text, OLDER_FORM)?;
        let names = |curve: &EcCurve| der.windows(curve.oid().1.len()).any(|bytes| bytes == curve.oid().1);
        let of = |curve: EcCurve| {
            let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), &der).ok()?;
            Some(Self { curve, pair })
        };
        EcCurve::ALL.into_iter().filter(names).find_map(of).ok_or(Error::MalformedPrivateKey)
    }

    /// Scalar and coordinates, each of the curve's length.
    pub fn from_components(curve: EcCurve, d: &[u8], x: &[u8], y: &[u8]) -> Result<Self, Error> {
        let public = EcPublicKey::from_coordinates(curve, x, y)?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), d, &public.point);
        Ok(Self { curve, pair: pair.map_err(|_| Error::MalformedPrivateKey)? })
    }

    /// PKCS#8.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let document = self.pair.to_pkcs8v1().expect("a key pair has a PKCS#8 form");
        private_pem(document.as_ref())
    }

    pub fn public_key(&self) -> EcPublicKey {
        EcPublicKey { curve: self.curve, point: self.pair.public_key().as_ref().to_vec() }
    }

    pub fn scalar(&self) -> Zeroizing<Vec<u8>> {
        let scalar = self.pair.private_key().as_be_bytes().expect("a key pair has a scalar");
        Zeroizing::new(scalar.as_ref().to_vec())
    }

    /// r then s, each of the curve's length.
    pub fn sign(&self, hash: Hash, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.pair.sign_digest(&self.curve.digest(hash, message));
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| Error::MalformedPrivateKey)
    }
}

/// A curve and an uncompressed point that is on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EcPublicKey {
    curve: EcCurve,
    point: Vec<u8>,
}

impl EcPublicKey {
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_spki_der(&decode_pem(PUBLIC_KEY, text)?)
    }

    pub fn from_spki_der(der: &[u8]) -> Result<Self, Error> {
        let malformed = Error::MalformedForeignKey;
        let Ok(([], spki)) = SubjectPublicKeyInfo::from_der(der) else { return Err(malformed) };
        let named =
            spki.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok()).map(|oid| oid.to_id_string());
        let curve = EcCurve::ALL.into_iter().find(|curve| named.as_deref() == Some(curve.oid().0));
        match curve.filter(|_| spki.algorithm.algorithm.to_id_string() == OID_EC_PUBLIC_KEY) {
            Some(curve) => Self::checked(curve, spki.subject_public_key.data.to_vec()),
            None => Err(malformed),
        }
    }

    /// Each of the curve's length.
    pub fn from_coordinates(curve: EcCurve, x: &[u8], y: &[u8]) -> Result<Self, Error> {
        if (x.len(), y.len()) != (curve.bytes(), curve.bytes()) {
            return Err(Error::MalformedForeignKey);
        }
        Self::checked(curve, [&[4], x, y].concat())
    }

    /// SubjectPublicKeyInfo.
    pub fn to_pem(&self) -> String {
        const EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        let algorithm = der::value(SEQUENCE, &[EC_PUBLIC_KEY, self.curve.oid().1].concat());
        let bits = der::value(BIT_STRING, &[&[0], &self.point[..]].concat());
        encode_pem(PUBLIC_KEY, &der::value(SEQUENCE, &[algorithm, bits].concat()))
    }

    pub fn curve(&self) -> EcCurve {
        self.curve
    }

    /// x and y.
    pub fn coordinates(&self) -> (&[u8], &[u8]) {
        self.point.get(1..).unwrap_or_default().split_at(self.curve.bytes())
    }

    /// Of r then s, each of the curve's length.
    pub fn verify(&self, hash: Hash, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let key = UnparsedPublicKey::new(self.curve.verification(), &self.point);
        key.verify_digest(&self.curve.digest(hash, message), signature).map_err(|_| Error::BadSignature)
    }

    fn checked(curve: EcCurve, point: Vec<u8>) -> Result<Self, Error> {
        let is_uncompressed = point.len() == 1 + 2 * curve.bytes() && point.first() == Some(&4);
        if is_uncompressed && ParsedPublicKey::new(curve.verification(), &point).is_ok() {
            return Ok(Self { curve, point });
        }
        Err(Error::MalformedForeignKey)
    }
}
