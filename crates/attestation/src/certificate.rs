//! Conceptual messages in certificates (RFC 9999): a node's carries the evidence that it was admitted with, the service's names the anchors
//! that its network was founded on.
//!
//! The extension is never critical: clients that know nothing of it go on as before.

use coco_crypto::{Certificate, Extension};
use coco_types::Digest;
use minicbor::{Decoder, Encoder};

use crate::cmw::{self, CmwError, EXTENSION_OID};
use crate::{Anchors, Aux, BoundFacts, Evidence, der};

/// Larger evidence stays out of certificates, which travel with every connection: it is at `/node/attestations` all the same.
const EXTENSION_BYTES_MAX: usize = 24 << 10;
const ANCHORS_MEDIA_TYPE: &str = "application/vnd.coco.anchors";
const OCTET_STRING: u8 = 0x04;

/// For a node's certificate; `None` if the evidence is too large for one.
pub fn node_extension(evidence: &Evidence, bound: &BoundFacts) -> Option<Extension> {
    let cbor = cmw::to_cbor(&evidence.clone().with(Aux::Binding, bound.encode()));
    (cbor.len() <= EXTENSION_BYTES_MAX).then(|| extension(&cbor))
}

/// The evidence in a node's certificate, and what it covers besides the certificate's key; `None` if there is none.
pub fn evidence_in(certificate: &Certificate) -> Result<Option<(Evidence, BoundFacts)>, CmwError> {
    let Some(content) = certificate.extension(&EXTENSION_OID) else { return Ok(None) };
    let cbor = content_of(&content).ok_or_else(|| cmw::malformed("the extension holds no CBOR"))?;
    let mut evidence = cmw::from_cbor(cbor)?;
    let bound =
        evidence.aux.remove(&Aux::Binding).ok_or_else(|| cmw::malformed("it does not say what it is bound to"))?;
    let bound = BoundFacts::decode(&bound).map_err(|error| cmw::malformed(&error.to_string()))?;
    Ok(Some((evidence, bound)))
}

/// For the service's certificate: the digest of the anchors that it begins with.
pub fn service_extension(anchors: &Anchors) -> Extension {
    let mut cbor = Vec::new();
    let ok = "a vector takes any bytes";
    let mut encoder = Encoder::new(&mut cbor);
    encoder.array(2).expect(ok).str(ANCHORS_MEDIA_TYPE).expect(ok).bytes(&anchors.digest().0).expect(ok);
    extension(&cbor)
}

/// The digest of the anchors that a service began with.
pub fn anchors_in(certificate: &Certificate) -> Option<Digest> {
    let content = certificate.extension(&EXTENSION_OID)?;
    let mut decoder = Decoder::new(content_of(&content)?);
    let is_anchors = decoder.array().ok()? == Some(2) && decoder.str().ok()? == ANCHORS_MEDIA_TYPE;
    is_anchors.then(|| Digest::try_from(decoder.bytes().ok()?).ok()).flatten()
}

/// `CMW ::= CHOICE { json UTF8String, cbor OCTET STRING }`.
fn extension(cbor: &[u8]) -> Extension {
    let len = cbor.len();
    let head = match len {
        0..=0x7f => vec![OCTET_STRING, len as u8],
        0x80..=0xff => vec![OCTET_STRING, 0x81, len as u8],
        _ => vec![OCTET_STRING, 0x82, (len >> 8) as u8, len as u8],
    };
    Extension { oid: EXTENSION_OID.to_vec(), content: [head, cbor.to_vec()].concat() }
}

fn content_of(extension: &[u8]) -> Option<&[u8]> {
    der::only(extension).filter(|value| value.tag == OCTET_STRING).map(|value| value.content)
}

#[cfg(test)]
mod tests {
    use coco_crypto::{
        Curve, SeededCrypto, SigningKey, Validity, self_signed_certificate, self_signed_service_certificate,
    };

    use super::*;
    use crate::TeeKind;

    const VALIDITY: Validity = Validity { not_before: 0, not_after: 4_000_000_000 };

    fn certificate(extensions: &[Extension]) -> Certificate {
        let crypto = SeededCrypto::new(1);
        let key = SigningKey::generate(&crypto, Curve::P256);
        self_signed_certificate(&crypto, &key, "node", &[], VALIDITY, extensions).unwrap()
    }

    #[test]
    fn evidence_survives_its_way_through_a_certificate() {
        for len in [20, 200, 20_000] {
            let evidence = Evidence::bare(TeeKind::SevSnp, vec![7; len]).with(Aux::Certificates, b"pem".to_vec());
            for service in [None, Some(Digest([1; 32]))] {
                let bound = BoundFacts { exchange_key: vec![5; 32], service, config: Digest([2; 32]), nonce: service };
                let extension = node_extension(&evidence, &bound).unwrap();
                assert_eq!(evidence_in(&certificate(&[extension])).unwrap(), Some((evidence.clone(), bound)));
            }
        }
        assert_eq!(evidence_in(&certificate(&[])).unwrap(), None);
    }

    #[test]
    fn evidence_that_is_too_large_stays_out_and_a_broken_extension_is_an_error() {
        let bound = BoundFacts { exchange_key: Vec::new(), service: None, config: Digest::ZERO, nonce: None };
        let large = Evidence::bare(TeeKind::AzureSnp, vec![0; EXTENSION_BYTES_MAX]);
        assert!(node_extension(&large, &bound).is_none());
        let unbound = extension(&cmw::to_cbor(&Evidence::bare(TeeKind::Tdx, vec![1])));
        assert!(evidence_in(&certificate(&[unbound])).is_err());
        let garbage = Extension { oid: EXTENSION_OID.to_vec(), content: vec![4, 1, 0x60] };
        assert!(evidence_in(&certificate(&[garbage])).is_err());
    }

    #[test]
    fn a_service_s_certificate_names_its_anchors() {
        let crypto = SeededCrypto::new(1);
        let key = SigningKey::generate(&crypto, Curve::P384);
        let anchors = Anchors::vendors();
        let named = [service_extension(&anchors)];
        let service = self_signed_service_certificate(&crypto, &key, "service", VALIDITY, &named).unwrap();
        assert_eq!(anchors_in(&service), Some(anchors.digest()));
        assert_eq!(anchors_in(&certificate(&[])), None);
        let bound = BoundFacts { exchange_key: Vec::new(), service: None, config: Digest::ZERO, nonce: None };
        let node = node_extension(&Evidence::bare(TeeKind::Tdx, vec![1]), &bound).unwrap();
        assert_eq!(anchors_in(&certificate(&[node])), None);
    }
}
