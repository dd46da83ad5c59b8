//! Curve25519: signatures by Ed25519 (RFC 8032), and keys for X25519 (RFC 7748), which somebody else agrees with.

use aws_lc_rs::agreement;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::{PRIVATE_KEY, PUBLIC_KEY, private_pem};
use crate::{Crypto, Error, SystemCrypto, decode_pem, encode_pem};

const BYTES: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OkpCurve {
    Ed25519,
    X25519,
}

impl OkpCurve {
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::X25519];

    /// CCF's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "curve25519",
            Self::X25519 => "x25519",
        }
    }

    /// JOSE's name (RFC 8037 §2).
    pub fn jose_name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::X25519 => "X25519",
        }
    }

    /// PKCS#8 and SubjectPublicKeyInfo up to the key itself (RFC 8410 §4, §7).
    fn prefixes(self) -> ([u8; 16], [u8; 12]) {
        let algorithm = match self {
            Self::Ed25519 => 0x70,
            Self::X25519 => 0x6e,
        };
        (
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, algorithm, 0x04, 0x22, 0x04, 0x20],
            [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, algorithm, 0x03, 0x21, 0x00],
        )
    }

    fn public_of(self, secret: &[u8; BYTES]) -> Result<[u8; BYTES], Error> {
        let malformed = |_| Error::MalformedPrivateKey;
        let public = match self {
            Self::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(secret).map_err(malformed)?;
                pair.public_key().as_ref().to_vec()
            }
            Self::X25519 => {
                let key = agreement::PrivateKey::from_private_key(&agreement::X25519, secret).map_err(malformed)?;
                key.compute_public_key().map_err(|_| Error::MalformedPrivateKey)?.as_ref().to_vec()
            }
        };
        public.try_into().map_err(|_| Error::MalformedPrivateKey)
    }
}

/// A private key. No `Debug`; erased when dropped.
pub struct OkpKeyPair {
    secret: Zeroizing<[u8; BYTES]>,
    public: OkpPublicKey,
}

impl OkpKeyPair {
    pub fn generate(curve: OkpCurve) -> Result<Self, Error> {
        let mut secret = Zeroizing::new([0; BYTES]);
        SystemCrypto.fill(&mut *secret);
        Self::of(curve, secret)
    }

    /// PKCS#8 without a public key beside the private one.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let der = Zeroizing::new(decode_pem(PRIVATE_KEY, text)?);
        let of = |curve: OkpCurve| Some((curve, der.strip_prefix(&curve.prefixes().0)?));
        let (curve, secret) = OkpCurve::ALL.into_iter().find_map(of).ok_or(Error::MalformedPrivateKey)?;
        let secret = <[u8; BYTES]>::try_from(secret).map_err(|_| Error::MalformedPrivateKey)?;
        Self::of(curve, Zeroizing::new(secret))
    }

    pub fn from_components(curve: OkpCurve, d: &[u8], x: &[u8]) -> Result<Self, Error> {
        let secret = <[u8; BYTES]>::try_from(d).map_err(|_| Error::MalformedPrivateKey)?;
        let pair = Self::of(curve, Zeroizing::new(secret))?;
        if pair.public.bytes == x { Ok(pair) } else { Err(Error::MalformedPrivateKey) }
    }

    /// PKCS#8.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let der = Zeroizing::new([&self.public.curve.prefixes().0[..], &*self.secret].concat());
        private_pem(&der)
    }

    pub fn public_key(&self) -> &OkpPublicKey {
        &self.public
    }

    pub fn secret(&self) -> &[u8; BYTES] {
        &self.secret
    }

    /// Ed25519 only. The same message has the same signature.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        if self.public.curve != OkpCurve::Ed25519 {
            return Err(Error::UnsupportedKey { why: "X25519 does not sign" });
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&*self.secret).map_err(|_| Error::MalformedPrivateKey)?;
        Ok(pair.sign(message).as_ref().to_vec())
    }

    fn of(curve: OkpCurve, secret: Zeroizing<[u8; BYTES]>) -> Result<Self, Error> {
        let bytes = curve.public_of(&secret)?;
        Ok(Self { secret, public: OkpPublicKey { curve, bytes } })
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OkpPublicKey {
    curve: OkpCurve,
    bytes: [u8; BYTES],
}

impl OkpPublicKey {
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_spki_der(&decode_pem(PUBLIC_KEY, text)?)
    }

    pub fn from_spki_der(der: &[u8]) -> Result<Self, Error> {
        let of = |curve: OkpCurve| Some((curve, der.strip_prefix(&curve.prefixes().1)?));
        let (curve, key) = OkpCurve::ALL.into_iter().find_map(of).ok_or(Error::MalformedForeignKey)?;
        Self::from_bytes(curve, key)
    }

    pub fn from_bytes(curve: OkpCurve, bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self { curve, bytes: bytes.try_into().map_err(|_| Error::MalformedForeignKey)? })
    }

    /// SubjectPublicKeyInfo.
    pub fn to_pem(&self) -> String {
        encode_pem(PUBLIC_KEY, &[&self.curve.prefixes().1[..], &self.bytes].concat())
    }

    pub fn curve(&self) -> OkpCurve {
        self.curve
    }

    pub fn bytes(&self) -> &[u8; BYTES] {
        &self.bytes
    }

    /// Ed25519 only.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        if self.curve != OkpCurve::Ed25519 {
            return Err(Error::UnsupportedKey { why: "X25519 does not sign" });
        }
        let key = UnparsedPublicKey::new(&ED25519, &self.bytes);
        key.verify(message, signature).map_err(|_| Error::BadSignature)
    }
}
