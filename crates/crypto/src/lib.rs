//! Hashing, signing, sealing, key derivation, X.509 and COSE: thin safe faces over one backend (aws-lc-rs).
//!
//! Randomness and signing go through one object, [`Crypto`], which the simulator replaces by [`SeededCrypto`] so that a
//! seed replays byte for byte. Everything else here is a pure function of its arguments, but for RSA-OAEP's padding and the keys of [`guest`]: no clock, no
//! global state.
//!
//! Every derived key and every hash that could be mistaken for another carries a [`Domain`].

mod aead;
pub mod cbor;
mod certificate;
mod certificate_request;
pub mod cose;
mod der;
mod exchange;
mod foreign;
mod foreign_certificate;
pub mod guest;
mod hash;
mod oaep;
mod pem;
mod random;
mod seeded;
mod shares;
mod sign;

pub use aead::{AeadKey, NONCE_BYTES, Nonce, SymmetricKey, TAG_BYTES, Tag};
pub use certificate::{
    Certificate, Extension, NodeCertificateRequest, SubjectAltName, Validity, endorse_service_certificate,
    issue_node_certificate, self_signed_certificate, self_signed_service_certificate,
};
pub use certificate_request::CertificateRequest;
pub use exchange::{EXCHANGE_KEY_BYTES, ExchangeKey, seal_to};
pub use foreign::{ForeignKey, Hash, Scheme};
pub use foreign_certificate::{ForeignCertificate, RevocationList, distribution_points};
pub use hash::{
    Domain, MacKey, Sha256, constant_time_eq, hkdf_sha256, hmac, hmac_sha256, sha256, sha256_of, sha384, sha512,
};
pub use oaep::{DecryptionKey, EncryptionKey};
pub use pem::{decode_pem, decode_pem_all, encode_pem};
pub use random::{Crypto, SystemCrypto};
pub use seeded::SeededCrypto;
pub use shares::{SHARES_MAX, combine_shares, split_into_shares};
pub use sign::{Curve, PublicKey, Signature, SigningKey};

/// What can be wrong with keys, signatures, sealed bytes and certificates that others handed us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("shares cannot be made or put together: {why}")]
    BadShares { why: &'static str },
    #[error("malformed private key")]
    MalformedPrivateKey,
    #[error("malformed public key, or one of a curve other than P-256 and P-384")]
    MalformedPublicKey,
    #[error("the signature does not verify")]
    BadSignature,
    #[error("the sealed bytes were altered, or sealed under another key")]
    NotAuthentic,
    #[error("malformed PEM, expected {expected}")]
    MalformedPem { expected: &'static str },
    #[error("malformed public key, or one of an unknown kind")]
    MalformedForeignKey,
    #[error("a key cannot be used for this: {why}")]
    UnsupportedKey { why: &'static str },
    #[error("a chain of certificates is broken: {why}")]
    BrokenChain { why: &'static str },
    #[error("malformed certificate")]
    MalformedCertificate,
    #[error("the certificate was not issued by this service: {why}")]
    NotIssuedByService { why: &'static str },
    #[error("the certificate is valid from {not_before} to {not_after}, not at {at} (Unix seconds)")]
    OutsideValidity { at: u64, not_before: u64, not_after: u64 },
    #[error("invalid certificate content: {what}")]
    InvalidCertificateContent { what: &'static str },
    #[error("CBOR is malformed or not in deterministic form: {why}")]
    NotDeterministicCbor { why: &'static str },
    #[error("malformed COSE message: {why}")]
    MalformedCose { why: &'static str },
}
