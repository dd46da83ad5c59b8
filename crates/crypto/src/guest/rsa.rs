//! RSA keys of 2,048 to 4,096 bits. Public ones are [`crate::ForeignKey`]s.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, RsaEncoding};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{private_der, private_pem};
use crate::der::{self, INTEGER, OCTET_STRING, SEQUENCE};
use crate::random::of_backend;
use crate::{Error, ForeignKey, Hash};

/// What OpenSSL calls the form of RFC 8017.
const OLDER_FORM: &str = "RSA PRIVATE KEY";
pub const RSA_BITS_MIN: usize = 2048;
/// Larger ones take too long.
pub const RSA_BITS_MAX: usize = 4096;
/// Of a key of that size; none that is larger is looked at.
const DER_BYTES_MAX: usize = 2_560;
const WRONG_SIZE: Error = Error::UnsupportedKey { why: "RSA keys that sign or unwrap have 2048 to 4096 bits" };

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RsaPadding {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
    /// RSASSA-PSS with MGF1 of the same hash and a salt as long as it.
    Pss,
}

/// A private key. No `Debug`; erased when dropped.
pub struct RsaKeyPair {
    pair: signature::RsaKeyPair,
    /// RSAPrivateKey (RFC 8017 §A.1.2).
    der: Zeroizing<Vec<u8>>,
}

/// The numbers of a private key, big-endian, with JOSE's names (RFC 7518 §6.3).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RsaComponents {
    pub n: Vec<u8>,
    pub e: Vec<u8>,
    pub d: Vec<u8>,
    pub p: Vec<u8>,
    pub q: Vec<u8>,
    pub dp: Vec<u8>,
    pub dq: Vec<u8>,
    pub qi: Vec<u8>,
}

impl RsaKeyPair {
    /// Of 2,048, 3,072 or 4,096 bits, with the exponent 65,537. Takes from a tenth of a second to several.
    pub fn generate(bits: usize) -> Result<Self, Error> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => return Err(Error::UnsupportedKey { why: "RSA keys are made of 2048, 3072 or 4096 bits" }),
        };
        let pair = signature::RsaKeyPair::generate(size).map_err(|_| Error::MalformedPrivateKey)?;
        let document: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| Error::MalformedPrivateKey)?;
        let der = unwrapped(document.as_ref()).ok_or(Error::MalformedPrivateKey)?;
        Ok(Self { pair, der })
    }

    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let der = private_der(text, OLDER_FORM)?;
        Self::from_der(unwrapped(&der).unwrap_or(der))
    }

    pub fn from_components(components: &RsaComponents) -> Result<Self, Error> {
        let RsaComponents { n, e, d, p, q, dp, dq, qi } = components;
        let version = Vec::new();
        let numbers = [&version, n, e, d, p, q, dp, dq, qi].map(|number| Zeroizing::new(der::unsigned(number)));
        let content = numbers.iter().fold(Zeroizing::new(Vec::new()), |mut content, number| {
            content.extend_from_slice(number);
            content
        });
        Self::from_der(Zeroizing::new(der::value(SEQUENCE, &content)))
    }

    pub fn components(&self) -> RsaComponents {
        self.read().expect("its form was checked when it was taken")
    }

    /// PKCS#8.
    pub fn to_pem(&self) -> Zeroizing<String> {
        private_pem(&self.pkcs8_der())
    }

    pub fn public_key(&self) -> Result<ForeignKey, Error> {
        let RsaComponents { n, e, .. } = &self.components();
        ForeignKey::from_rsa(n, e)
    }

    /// Bits of the modulus, as whole bytes.
    pub fn bits(&self) -> usize {
        self.pair.public_modulus_len() * 8
    }

    pub fn sign(&self, padding: RsaPadding, hash: Hash, message: &[u8]) -> Result<Vec<u8>, Error> {
        let encoding: &'static dyn RsaEncoding = match (padding, hash) {
            (RsaPadding::Pkcs1, Hash::Sha256) => &signature::RSA_PKCS1_SHA256,
            (RsaPadding::Pkcs1, Hash::Sha384) => &signature::RSA_PKCS1_SHA384,
            (RsaPadding::Pkcs1, Hash::Sha512) => &signature::RSA_PKCS1_SHA512,
            (RsaPadding::Pss, Hash::Sha256) => &signature::RSA_PSS_SHA256,
            (RsaPadding::Pss, Hash::Sha384) => &signature::RSA_PSS_SHA384,
            (RsaPadding::Pss, Hash::Sha512) => &signature::RSA_PSS_SHA512,
        };
        let mut signed = vec![0; self.pair.public_modulus_len()];
        let done = self.pair.sign(encoding, &of_backend(), message, &mut signed);
        done.map(|()| signed).map_err(|_| Error::MalformedPrivateKey)
    }

    pub(super) fn pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        /// Version 0, rsaEncryption.
        const HEAD: &[u8] = &[
            0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
        ];
        let key = Zeroizing::new(der::value(OCTET_STRING, &self.der));
        let content = Zeroizing::new([HEAD, &key].concat());
        Zeroizing::new(der::value(SEQUENCE, &content))
    }

    fn from_der(der: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        if der.len() > DER_BYTES_MAX {
            return Err(WRONG_SIZE);
        }
        let pair = signature::RsaKeyPair::from_der(&der).map_err(|_| Error::MalformedPrivateKey)?;
        let key = Self { pair, der };
        key.read().ok_or(Error::MalformedPrivateKey)?;
        if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&key.bits()) {
            return Ok(key);
        }
        Err(WRONG_SIZE)
    }

    fn read(&self) -> Option<RsaComponents> {
        let (numbers, []) = der::split(SEQUENCE, &self.der)? else { return None };
        let (_version, mut rest) = der::split(INTEGER, numbers)?;
        let mut next = || {
            let (number, after) = der::split(INTEGER, rest)?;
            rest = after;
            Some(number.strip_prefix(&[0]).unwrap_or(number).to_vec())
        };
        let (n, e, d) = (next()?, next()?, next()?);
        let (p, q, dp, dq, qi) = (next()?, next()?, next()?, next()?, next()?);
        rest.is_empty().then_some(RsaComponents { n, e, d, p, q, dp, dq, qi })
    }
}

/// The RSAPrivateKey in a PKCS#8 document.
fn unwrapped(pkcs8: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (content, _) = der::split(SEQUENCE, pkcs8)?;
    let (_version, rest) = der::split(INTEGER, content)?;
    let (_algorithm, rest) = der::split(SEQUENCE, rest)?;
    let (key, _) = der::split(OCTET_STRING, rest)?;
    Some(Zeroizing::new(key.to_vec()))
}
