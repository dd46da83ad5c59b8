//! Keys of vendors that do not exist.

use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _, RsaEncoding};
use coco_crypto::{Curve, Hash, Scheme, SigningKey, SystemCrypto};

use crate::der;

#[derive(Clone)]
pub enum Key {
    Rsa(Arc<KeyPair>),
    Ec(Arc<SigningKey>),
}

impl Key {
    pub fn rsa() -> Self {
        Self::Rsa(Arc::new(KeyPair::generate(KeySize::Rsa2048).expect("RSA keys can be generated")))
    }

    pub fn p256() -> Self {
        Self::Ec(Arc::new(SigningKey::generate(&SystemCrypto, Curve::P256)))
    }

    pub fn p384() -> Self {
        Self::Ec(Arc::new(SigningKey::generate(&SystemCrypto, Curve::P384)))
    }

    pub fn spki(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().as_der().expect("a public key has a form").as_ref().to_vec(),
            Self::Ec(key) => key.public_key().spki_der(),
        }
    }

    /// x then y.
    pub fn coordinates(&self) -> Vec<u8> {
        match self {
            Self::Rsa(_) => panic!("RSA keys have no coordinates"),
            Self::Ec(key) => key.public_key().point()[1..].to_vec(),
        }
    }

    /// Modulus and exponent, big-endian.
    pub fn rsa_numbers(&self) -> (Vec<u8>, Vec<u8>) {
        let Self::Rsa(pair) = self else { panic!("not an RSA key") };
        let bytes = pair.public_key().as_ref();
        // SEQUENCE { INTEGER of 257 bytes, INTEGER of 3 }: the lengths are those of 2048 bits and 65537.
        let modulus = bytes[bytes.len() - 5 - 256..bytes.len() - 5].to_vec();
        (modulus, bytes[bytes.len() - 3..].to_vec())
    }

    pub fn sign(&self, scheme: Scheme, message: &[u8]) -> Vec<u8> {
        match (self, scheme) {
            (Self::Ec(key), Scheme::EcdsaDer(_)) => key.sign(&SystemCrypto, message).der().to_vec(),
            (Self::Ec(key), Scheme::EcdsaFixed(_)) => key.sign(&SystemCrypto, message).fixed().to_vec(),
            (Self::Rsa(pair), _) => {
                let padding: &dyn RsaEncoding = match scheme {
                    Scheme::RsaPkcs1(Hash::Sha256) => &signature::RSA_PKCS1_SHA256,
                    Scheme::RsaPss(Hash::Sha256) => &signature::RSA_PSS_SHA256,
                    Scheme::RsaPss(Hash::Sha384) => &signature::RSA_PSS_SHA384,
                    other => panic!("no minted evidence uses {other:?}"),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).expect("RSA keys sign");
                signature
            }
            (_, other) => panic!("{other:?} is not of this key"),
        }
    }

    /// How this key signs certificates, and the algorithm's identifier in DER.
    pub fn certificate_scheme(&self) -> (Scheme, Vec<u8>) {
        match self {
            // As AMD's: PSS with SHA-384 and a salt of 48 bytes.
            Self::Rsa(_) => {
                let sha384 = der::sequence(&[&der::oid("2.16.840.1.101.3.4.2.2"), &[5, 0]]);
                let mask = der::sequence(&[&der::oid("1.2.840.113549.1.1.8"), &sha384]);
                let parameters =
                    der::sequence(&[&der::tlv(0xa0, &sha384), &der::tlv(0xa1, &mask), &der::tlv(0xa2, &der::byte(48))]);
                let algorithm = der::sequence(&[&der::oid("1.2.840.113549.1.1.10"), &parameters]);
                (Scheme::RsaPss(Hash::Sha384), algorithm)
            }
            Self::Ec(key) => {
                let (hash, id) = match key.curve() {
                    Curve::P256 => (Hash::Sha256, "1.2.840.10045.4.3.2"),
                    Curve::P384 => (Hash::Sha384, "1.2.840.10045.4.3.3"),
                };
                (Scheme::EcdsaDer(hash), der::sequence(&[&der::oid(id)]))
            }
        }
    }
}
