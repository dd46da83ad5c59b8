//! Keys and signatures of others: chip vendors, TPMs, clouds. Verification only, over the algorithms that their formats use.
//!
//! Coco's own keys are [`crate::PublicKey`]; this type is wider and never used for what Coco itself signs.

use aws_lc_rs::signature::{self, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::der::{self, BIT_STRING, INTEGER, SEQUENCE};
use crate::{Error, sha256, sha384, sha512};

/// Named by what is hashed and how the signature is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// SEQUENCE { r, s }, as certificates have it.
    EcdsaDer(Hash),
    /// r then s, as COSE and quotes have it.
    EcdsaFixed(Hash),
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// RSASSA-PSS with MGF1 of the same hash and a salt as long as it.
    RsaPss(Hash),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => sha256(bytes).0.to_vec(),
            Self::Sha384 => sha384(bytes).to_vec(),
            Self::Sha512 => sha512(bytes).to_vec(),
        }
    }

    /// Its length.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A public key as another's certificate or document carries it.
#[derive(Clone, PartialEq, Eq)]
pub struct ForeignKey {
    kind: Kind,
    /// An uncompressed point, or an RSAPublicKey in DER.
    bytes: Vec<u8>,
    spki: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    P256,
    P384,
    P521,
    Rsa,
}

const OID_EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const OID_P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

impl ForeignKey {
    pub fn from_spki_der(der: &[u8]) -> Result<Self, Error> {
        let Ok(([], spki)) = SubjectPublicKeyInfo::from_der(der) else { return Err(Error::MalformedForeignKey) };
        let bytes = spki.subject_public_key.data.to_vec();
        let kind = match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.10045.2.1" => {
                let curve = spki.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
                match curve.map(|oid| oid.to_id_string()).as_deref() {
                    Some("1.2.840.10045.3.1.7") => Kind::P256,
                    Some("1.3.132.0.34") => Kind::P384,
                    Some("1.3.132.0.35") => Kind::P521,
                    _ => return Err(Error::MalformedForeignKey),
                }
            }
            "1.2.840.113549.1.1.1" => Kind::Rsa,
            _ => return Err(Error::MalformedForeignKey),
        };
        Self::checked(kind, bytes, der.to_vec())
    }

    /// The coordinates of a point on P-256, P-384 or P-521, big-endian, each of the curve's length.
    pub fn from_point(x: &[u8], y: &[u8]) -> Result<Self, Error> {
        let (kind, oid) = match (x.len(), y.len()) {
            (32, 32) => (Kind::P256, OID_P256),
            (48, 48) => (Kind::P384, OID_P384),
            (66, 66) => (Kind::P521, OID_P521),
            _ => return Err(Error::MalformedForeignKey),
        };
        let point = [&[4], x, y].concat();
        let algorithm = der::value(SEQUENCE, &[OID_EC_PUBLIC_KEY, oid].concat());
        let bits = der::value(BIT_STRING, &[&[0], &point[..]].concat());
        let spki = der::value(SEQUENCE, &[algorithm, bits].concat());
        Self::checked(kind, point, spki)
    }

    /// Modulus and exponent, big-endian.
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, Error> {
        let key = der::value(SEQUENCE, &[der::unsigned(modulus), der::unsigned(exponent)].concat());
        const RSA_ENCRYPTION: &[u8] =
            &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
        let bits = der::value(BIT_STRING, &[&[0], &key[..]].concat());
        let spki = der::value(SEQUENCE, &[RSA_ENCRYPTION, &bits].concat());
        Self::checked(Kind::Rsa, key, spki)
    }

    /// SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn id(&self) -> coco_types::Digest {
        sha256(&self.spki)
    }

    /// The uncompressed point of an elliptic curve key.
    pub fn point(&self) -> Option<&[u8]> {
        (self.kind != Kind::Rsa).then_some(self.bytes.as_slice())
    }

    /// Modulus and exponent of an RSA key, big-endian.
    pub fn rsa_numbers(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let (numbers, _) = der::split(SEQUENCE, &self.bytes).filter(|_| self.kind == Kind::Rsa)?;
        let (modulus, rest) = der::split(INTEGER, numbers)?;
        let (exponent, _) = der::split(INTEGER, rest)?;
        let unsigned = |number: &[u8]| number.strip_prefix(&[0]).unwrap_or(number).to_vec();
        Some((unsigned(modulus), unsigned(exponent)))
    }

    /// Whether this key can have made a signature of this kind.
    pub fn fits(&self, scheme: Scheme) -> bool {
        self.algorithm(scheme).is_some()
    }

    pub fn verify(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let algorithm = self.algorithm(scheme).ok_or(Error::BadSignature)?;
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).map_err(|_| Error::BadSignature)
    }

    fn checked(kind: Kind, bytes: Vec<u8>, spki: Vec<u8>) -> Result<Self, Error> {
        let key = Self { kind, bytes, spki };
        let scheme = if kind == Kind::Rsa { Scheme::RsaPkcs1(Hash::Sha256) } else { Scheme::EcdsaDer(Hash::Sha512) };
        let algorithm = key.algorithm(scheme).ok_or(Error::MalformedForeignKey)?;
        match ParsedPublicKey::new(algorithm, &key.bytes) {
            Ok(_) => Ok(key),
            Err(_) => Err(Error::MalformedForeignKey),
        }
    }

    fn algorithm(&self, scheme: Scheme) -> Option<&'static dyn VerificationAlgorithm> {
        use Hash::{Sha256, Sha384, Sha512};
        use Scheme::{EcdsaDer, EcdsaFixed, RsaPkcs1, RsaPss};
        let algorithm: &'static dyn VerificationAlgorithm = match (self.kind, scheme) {
            (Kind::P256, EcdsaDer(Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
            (Kind::P256, EcdsaDer(Sha384)) => &signature::ECDSA_P256_SHA384_ASN1,
            (Kind::P256, EcdsaDer(Sha512)) => &signature::ECDSA_P256_SHA512_ASN1,
            (Kind::P384, EcdsaDer(Sha256)) => &signature::ECDSA_P384_SHA256_ASN1,
            (Kind::P384, EcdsaDer(Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
            (Kind::P384, EcdsaDer(Sha512)) => &signature::ECDSA_P384_SHA512_ASN1,
            (Kind::P521, EcdsaDer(Sha512)) => &signature::ECDSA_P521_SHA512_ASN1,
            (Kind::P256, EcdsaFixed(Sha256)) => &signature::ECDSA_P256_SHA256_FIXED,
            (Kind::P384, EcdsaFixed(Sha384)) => &signature::ECDSA_P384_SHA384_FIXED,
            (Kind::P521, EcdsaFixed(Sha512)) => &signature::ECDSA_P521_SHA512_FIXED,
            (Kind::Rsa, RsaPkcs1(Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Kind::Rsa, RsaPkcs1(Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Kind::Rsa, RsaPkcs1(Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Kind::Rsa, RsaPss(Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
            (Kind::Rsa, RsaPss(Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
            (Kind::Rsa, RsaPss(Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
            _ => return None,
        };
        Some(algorithm)
    }
}

impl std::fmt::Debug for ForeignKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ForeignKey({:?}, {})", self.kind, self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Curve, SeededCrypto, SigningKey, cose};

    #[test]
    fn a_key_of_coco_verifies_as_a_foreign_one_in_both_forms() {
        let crypto = SeededCrypto::new(1);
        for (curve, hash) in [(Curve::P256, Hash::Sha256), (Curve::P384, Hash::Sha384)] {
            let key = SigningKey::generate(&crypto, curve);
            let foreign = ForeignKey::from_spki_der(&key.public_key().spki_der()).unwrap();
            let (x, y) = key.public_key().point()[1..].split_at(curve.scalar_bytes());
            assert_eq!(foreign, ForeignKey::from_point(x, y).unwrap());
            let signature = key.sign(&crypto, b"message");
            foreign.verify(Scheme::EcdsaDer(hash), b"message", &signature.der()).unwrap();
            foreign.verify(Scheme::EcdsaFixed(hash), b"message", signature.fixed()).unwrap();
            assert_eq!(
                foreign.verify(Scheme::EcdsaFixed(hash), b"massage", signature.fixed()),
                Err(Error::BadSignature)
            );
            assert!(foreign.verify(Scheme::RsaPss(hash), b"message", signature.fixed()).is_err());
            assert!(cose::algorithm(curve) < 0);
        }
    }

    #[test]
    fn points_off_the_curve_and_weak_or_malformed_keys_are_refused() {
        assert!(ForeignKey::from_point(&[1; 32], &[2; 32]).is_err());
        assert!(ForeignKey::from_point(&[1; 31], &[2; 32]).is_err());
        assert!(ForeignKey::from_rsa(&[], &[]).is_err());
        assert!(ForeignKey::from_spki_der(&[0x30, 0]).is_err());
        assert!(ForeignKey::from_spki_der(&[0; 70_000]).is_err());
    }
}
