//! What evidence is bound to: one 64-byte value for every platform.

use coco_crypto::{PublicKey, constant_time_eq, sha512};
use coco_types::Digest;
use minicbor::{Decoder, Encoder};
use serde::{Deserialize, Serialize};

use crate::TeeKind;

/// The 64 bytes that a platform signs for its guest.
#[derive(Clone, Copy)]
pub struct ReportData(pub [u8; 64]);

/// The facts a node's evidence covers. Whoever verifies rebuilds the hash from what the node says about itself.
#[derive(Clone, Debug)]
pub struct Binding<'a> {
    pub node_key: &'a PublicKey,
    /// A key agreement key made for this one join: secrets for the joiner are sealed to it.
    pub exchange_key: &'a [u8],
    /// SHA-256 of the service's public key; `None` only for a network's first node.
    pub service: Option<Digest>,
    /// Hash of the security-relevant configuration.
    pub config: Digest,
    pub tee: TeeKind,
    /// The service's challenge, single use; `None` only for a network's first node.
    pub nonce: Option<[u8; 32]>,
}

/// What report data bind besides the node's key: whoever judges a node later needs it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundFacts {
    #[serde(with = "hex::serde")]
    pub exchange_key: Vec<u8>,
    /// SHA-256 of the service's public key; absent for the first node.
    pub service: Option<Digest>,
    pub config: Digest,
    /// Absent for the first node.
    pub nonce: Option<Digest>,
}

impl BoundFacts {
    pub fn binding<'a>(&'a self, node_key: &'a PublicKey, tee: TeeKind) -> Binding<'a> {
        Binding {
            node_key,
            exchange_key: &self.exchange_key,
            service: self.service,
            config: self.config,
            tee,
            nonce: self.nonce.map(|nonce| nonce.0),
        }
    }

    /// CBOR `[exchange key, service | null, config, nonce | null]`, as it travels in certificates.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        let ok = "a vector takes any bytes";
        encoder.array(4).expect(ok).bytes(&self.exchange_key).expect(ok);
        for digest in [self.service, Some(self.config), self.nonce] {
            match digest {
                Some(digest) => encoder.bytes(&digest.0).expect(ok),
                None => encoder.null().expect(ok),
            };
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        let error = minicbor::decode::Error::message;
        let mut decoder = Decoder::new(bytes);
        if decoder.array()? != Some(4) {
            return Err(error("four facts are bound"));
        }
        let digest = |decoder: &mut Decoder<'_>| {
            if decoder.datatype()? == minicbor::data::Type::Null {
                return decoder.null().map(|()| None);
            }
            Digest::try_from(decoder.bytes()?).map(Some).map_err(|_| error("a digest has 32 bytes"))
        };
        let exchange_key = decoder.bytes()?.to_vec();
        let (service, config) = (digest(&mut decoder)?, digest(&mut decoder)?);
        let nonce = digest(&mut decoder)?;
        let config = config.filter(|_| decoder.position() == bytes.len()).ok_or_else(|| error("bytes after it"))?;
        Ok(Self { exchange_key, service, config, nonce })
    }
}

impl Binding<'_> {
    /// `SHA-512(CBOR ["coco-node-v1", node key SPKI, exchange key, service | null, config digest, tee, nonce | null])`.
    pub fn report_data(&self) -> ReportData {
        let mut bytes = Vec::with_capacity(320);
        self.encode(&mut Encoder::new(&mut bytes)).expect("encoding to memory cannot fail");
        ReportData(sha512(&bytes))
    }

    fn encode(
        &self,
        encoder: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
        encoder.array(7)?.str("coco-node-v1")?.bytes(&self.node_key.spki_der())?.bytes(self.exchange_key)?;
        match &self.service {
            Some(service) => encoder.bytes(service.as_ref())?,
            None => encoder.null()?,
        };
        encoder.bytes(self.config.as_ref())?.str(self.tee.as_str())?;
        match &self.nonce {
            Some(nonce) => encoder.bytes(nonce)?,
            None => encoder.null()?,
        };
        Ok(())
    }
}

/// What a running node's fresh evidence covers: its certificate (PEM, so the TLS key too) and the caller's nonce.
pub fn fresh_report_data(certificate_pem: &str, nonce: &[u8]) -> ReportData {
    let certificate = coco_crypto::sha256(certificate_pem.as_bytes());
    ReportData(sha512(&[&b"coco-node-fresh-v1"[..], &certificate.0, nonce].concat()))
}

/// What the evidence of a program covers that talks to a node: the service, whose certificate it checked the node against (SHA-256 of its
/// public key), and the TLS connection, by key material exported from it. Nobody else can present it, and on no other connection.
pub fn program_report_data(service: &Digest, channel: &[u8; 32]) -> ReportData {
    ReportData(sha512(&[&b"coco-program-v1"[..], &service.0, channel].concat()))
}

impl PartialEq for ReportData {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use coco_crypto::{Curve, SeededCrypto, SigningKey};

    use super::*;

    #[test]
    fn every_bound_fact_changes_the_report_data() {
        let crypto = SeededCrypto::new(1);
        let keys = [0, 1].map(|_| SigningKey::generate(&crypto, Curve::P384));
        let base = Binding {
            node_key: keys[0].public_key(),
            exchange_key: &[1; 32],
            service: None,
            config: Digest::ZERO,
            tee: TeeKind::Virtual,
            nonce: None,
        };
        let variants = [
            Binding { node_key: keys[1].public_key(), ..base.clone() },
            Binding { exchange_key: &[2; 32], ..base.clone() },
            Binding { service: Some(Digest::ZERO), ..base.clone() },
            Binding { config: Digest([1; 32]), ..base.clone() },
            Binding { nonce: Some([0; 32]), ..base.clone() },
        ];
        assert!(base.report_data() == base.clone().report_data());
        for variant in variants {
            assert!(variant.report_data() != base.report_data(), "{variant:?}");
        }
    }
}
