//! `dcap-qvl` over Coco's cryptography: it has no features on, so it brings neither its own backend nor a network client.
//!
//! It matches TCB levels, quoting enclave and module identities, and converges their statuses; and it repeats every signature check
//! that [`super`] makes first, so that two implementations must agree on each quote.

use coco_crypto::{ForeignCertificate, ForeignKey, Hash, Scheme};
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::config::{Config, CryptoProvider, EcdsaSigEncoder, ParsedCert, PckCa, X509Codec};
use dcap_qvl::verify::{QuoteVerifier, VerifiedReport};
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

/// Runs the whole verification; what it refuses, in its words. Debug and service TDs are judged by our policy.
pub fn verify(
    quote: &[u8],
    collateral: &QuoteCollateralV3,
    root_der: &[u8],
    at: u64,
) -> Result<VerifiedReport, String> {
    QuoteVerifier::<OurConfig>::new_with_config(root_der.to_vec())
        .allow_debug(true)
        .allow_service_td(true)
        .verify(quote, collateral, at)
        .map_err(|error| error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

struct OurConfig;

impl Config for OurConfig {
    type X509 = OurX509;
    type SigEncoder = OurEncoder;
    type Crypto = OurCrypto;
}

struct OurX509;
struct OurCertificate(ForeignCertificate);
struct OurEncoder;
struct OurCrypto;

impl X509Codec for OurX509 {
    type Parsed<'a> = OurCertificate;

    fn from_der(der: &[u8]) -> anyhow::Result<OurCertificate> {
        Ok(OurCertificate(ForeignCertificate::from_der(der)?))
    }
}

impl ParsedCert for OurCertificate {
    fn pck_ca(&self) -> Option<PckCa> {
        let issuer = self.0.issuer_der();
        let names = |name: &str| issuer.windows(name.len()).any(|window| window == name.as_bytes());
        if names("Intel SGX PCK Processor CA") {
            Some(PckCa::Processor)
        } else {
            names("Intel SGX PCK Platform CA").then_some(PckCa::Platform)
        }
    }

    /// `oid` is the encoded body. The only one that is asked for is Intel's.
    fn extension(&self, oid: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        let intel = oid == dcap_qvl::oids::SGX_EXTENSION.as_bytes();
        Ok(intel.then(|| self.0.extension(super::pck::SGX_EXTENSION)).flatten().map(<[u8]>::to_vec))
    }
}

impl EcdsaSigEncoder for OurEncoder {
    fn encode_ecdsa_sig(r: &[u8], s: &[u8]) -> anyhow::Result<Vec<u8>> {
        let integer = |magnitude: &[u8]| {
            let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
            let significant = magnitude.get(zeros..).unwrap_or_default();
            let sign = if significant.first().is_none_or(|byte| *byte >= 0x80) { &[0][..] } else { &[] };
            let content = [sign, significant].concat();
            let len = u8::try_from(content.len())?;
            anyhow::ensure!(len < 0x40, "a scalar of P-256 is shorter");
            Ok([&[0x02, len][..], &content].concat())
        };
        let content = [integer(r)?, integer(s)?].concat();
        let len = u8::try_from(content.len())?;
        Ok([&[0x30, len][..], &content].concat())
    }
}

impl CryptoProvider for OurCrypto {
    fn sig_algo() -> &'static dyn SignatureVerificationAlgorithm {
        &EcdsaP256Sha256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        coco_crypto::sha256(data).0
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        coco_crypto::sha384(data)
    }
}

#[derive(Debug)]
struct EcdsaP256Sha256;

impl SignatureVerificationAlgorithm for EcdsaP256Sha256 {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let coordinates =
            key.strip_prefix(&[4]).and_then(|point| point.split_at_checked(32)).ok_or(InvalidSignature)?;
        let key = ForeignKey::from_point(coordinates.0, coordinates.1).map_err(|_| InvalidSignature)?;
        key.verify(Scheme::EcdsaDer(Hash::Sha256), message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}
