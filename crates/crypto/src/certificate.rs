//! X.509 certificates: what the service issues for itself and its nodes, and what members hold.
//!
//! The service certificate is a CA; node certificates are issued from a public key alone, because a joining node has proved
//! its key by its channel and its evidence. There is no clock here: validity and the time of a check are arguments.

use std::net::IpAddr;

use coco_types::{Digest, NodeId};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa};
use rcgen::{Issuer, KeyUsagePurpose, SanType, SerialNumber};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::{Crypto, Curve, Error, PublicKey, SigningKey, decode_pem, encode_pem, sha256};

const LABEL: &str = "CERTIFICATE";
/// 9999-12-31T23:59:59Z: "no well-defined expiration" (RFC 5280 §4.1.2.5).
const UNIX_SECONDS_MAX: u64 = 253_402_300_799;
/// AlgorithmIdentifier in DER (RFC 5758 §3.2).
const ECDSA_WITH_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_WITH_SHA384: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const SERIAL_BYTES: usize = 16;

/// Unix seconds, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    pub not_before: u64,
    pub not_after: u64,
}

/// An extension that is not ours to interpret, such as attestation evidence. Never critical.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    pub oid: Vec<u64>,
    /// DER.
    pub content: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SubjectAltName {
    Dns(String),
    Ip(IpAddr),
}

impl SubjectAltName {
    /// An address if the text is one, else a DNS name.
    pub fn from_host(host: &str) -> Self {
        host.parse().map_or_else(|_| Self::Dns(host.to_owned()), Self::Ip)
    }
}

/// What the service puts into a node's certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeCertificateRequest {
    pub public_key: PublicKey,
    pub common_name: String,
    /// At least one: verifiers insist on the extension.
    pub subject_alt_names: Vec<SubjectAltName>,
    pub validity: Validity,
    pub extensions: Vec<Extension>,
}

/// The service's own certificate: a CA that may sign node certificates and its predecessors.
pub fn self_signed_service_certificate(
    crypto: &dyn Crypto,
    key: &SigningKey,
    common_name: &str,
    validity: Validity,
    extensions: &[Extension],
) -> Result<Certificate, Error> {
    let mut params = params(crypto, common_name, validity, extensions)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    let issued = params.self_signed(&IssuingKey::new(crypto, key)).map_err(|_| content("service certificate"))?;
    Certificate::from_der(issued.der())
}

/// A self-signed certificate that issues nothing: a member's or a client's, and a node's before it has joined.
pub fn self_signed_certificate(
    crypto: &dyn Crypto,
    key: &SigningKey,
    common_name: &str,
    subject_alt_names: &[SubjectAltName],
    validity: Validity,
    extensions: &[Extension],
) -> Result<Certificate, Error> {
    let mut params = params(crypto, common_name, validity, extensions)?;
    params.subject_alt_names = alt_names(subject_alt_names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let issued = params.self_signed(&IssuingKey::new(crypto, key)).map_err(|_| content("certificate"))?;
    Certificate::from_der(issued.der())
}

/// A node's certificate, endorsed by the service, for both ends of TLS.
pub fn issue_node_certificate(
    crypto: &dyn Crypto,
    service: &Certificate,
    service_key: &SigningKey,
    request: &NodeCertificateRequest,
) -> Result<Certificate, Error> {
    if request.subject_alt_names.is_empty() {
        return Err(content("a node certificate needs a subject alternative name"));
    }
    let mut params = params(crypto, &request.common_name, request.validity, &request.extensions)?;
    params.subject_alt_names = alt_names(&request.subject_alt_names)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    issue(crypto, service, service_key, &params, &request.public_key)
}

/// A past service's certificate, issued again by its successor: same name and key, so that what the past service issued
/// verifies over it up to the successor.
pub fn endorse_service_certificate(
    crypto: &dyn Crypto,
    service: &Certificate,
    service_key: &SigningKey,
    past: &Certificate,
) -> Result<Certificate, Error> {
    let common_name = past.common_name().ok_or(Error::MalformedCertificate)?;
    let mut params = params(crypto, &common_name, past.validity, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    issue(crypto, service, service_key, &params, &past.public_key)
}

/// A certificate whose structure and key were checked, but nothing that it claims.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    public_key: PublicKey,
    validity: Validity,
}

impl Certificate {
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let x509 = parse(der)?;
        let public_key = PublicKey::from_spki_der(x509.public_key().raw)?;
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let validity =
            Validity { not_before: seconds(x509.validity().not_before), not_after: seconds(x509.validity().not_after) };
        Ok(Self { der: der.to_vec(), public_key, validity })
    }

    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_der(&decode_pem(LABEL, text)?)
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub fn to_pem(&self) -> String {
        encode_pem(LABEL, &self.der)
    }

    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    pub fn node_id(&self) -> NodeId {
        self.public_key.node_id()
    }

    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// SHA-256 of the DER: names a member.
    pub fn fingerprint(&self) -> Digest {
        sha256(&self.der)
    }

    /// The content of an extension, if it is there.
    pub fn extension(&self, oid: &[u64]) -> Option<Vec<u8>> {
        let x509 = parse(&self.der).ok()?;
        let of_oid = |extension: &&x509_parser::extensions::X509Extension<'_>| {
            extension.oid.iter().is_some_and(|mut arcs| arcs.by_ref().eq(oid.iter().copied()))
        };
        x509.extensions().iter().find(of_oid).map(|extension| extension.value.to_vec())
    }

    /// The first common name of the subject.
    pub fn common_name(&self) -> Option<String> {
        let x509 = parse(&self.der).ok()?;
        let name = x509.subject().iter_common_name().next()?;
        name.as_str().ok().map(ToOwned::to_owned)
    }

    /// The names of which Coco knows the kind.
    pub fn subject_alt_names(&self) -> Vec<SubjectAltName> {
        let Ok(x509) = parse(&self.der) else { return Vec::new() };
        let Ok(Some(names)) = x509.subject_alternative_name() else { return Vec::new() };
        names.value.general_names.iter().filter_map(known_name).collect()
    }

    /// Checks that this certificate was issued by `service`, a CA, and that both are valid at `at` (Unix seconds).
    pub fn verify_issued_by(&self, service: &Self, at: u64) -> Result<(), Error> {
        self.verify_signed_by(service)?;
        for Validity { not_before, not_after } in [self.validity, service.validity] {
            if !(not_before..=not_after).contains(&at) {
                return Err(Error::OutsideValidity { at, not_before, not_after });
            }
        }
        Ok(())
    }

    /// As [`Certificate::verify_issued_by`], at no particular time: an auditor reads ledgers whose certificates have expired.
    pub fn verify_signed_by(&self, service: &Self) -> Result<(), Error> {
        let (leaf, issuer) = (parse(&self.der)?, parse(&service.der)?);
        let not_issued = |why| Error::NotIssuedByService { why };
        if leaf.issuer().as_raw() != issuer.subject().as_raw() {
            return Err(not_issued("another issuer is named"));
        }
        let may_sign = issuer.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
        if !issuer.is_ca() || !may_sign {
            return Err(not_issued("the issuer is not a CA"));
        }
        self.verify_signed_by_key(&service.public_key)
    }

    /// That this key signed it, whatever certificate the key has: of a service that is known by its endorsed key only.
    pub fn verify_signed_by_key(&self, key: &PublicKey) -> Result<(), Error> {
        let leaf = parse(&self.der)?;
        let not_issued = |why| Error::NotIssuedByService { why };
        let signed = leaf.tbs_certificate.as_ref();
        let signature = &leaf.signature_value;
        if !self.der.ends_with(&signed_suffix(key.curve(), &signature.data)) {
            return Err(not_issued("its signature is not one of the issuer's curve in DER"));
        }
        key.verify(signed, &signature.data).map_err(|_| not_issued("the signature does not verify"))
    }
}

/// A request for a certificate of this key (PKCS #10), DER.
pub(crate) fn request(
    crypto: &dyn Crypto,
    key: &SigningKey,
    common_name: &str,
    subject_alt_names: &[SubjectAltName],
) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = alt_names(subject_alt_names)?;
    let request =
        params.serialize_request(&IssuingKey::new(crypto, key)).map_err(|_| content("certificate request"))?;
    Ok(request.der().to_vec())
}

fn issue(
    crypto: &dyn Crypto,
    service: &Certificate,
    service_key: &SigningKey,
    params: &CertificateParams,
    subject: &PublicKey,
) -> Result<Certificate, Error> {
    let issuer = Issuer::from_ca_cert_der(&service.der().into(), IssuingKey::new(crypto, service_key))
        .map_err(|_| Error::MalformedCertificate)?;
    let issued = params.signed_by(&SubjectKey(subject), &issuer).map_err(|_| content("issued certificate"))?;
    Certificate::from_der(issued.der())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Error::MalformedCertificate),
    }
}

/// What follows the signed part of a certificate: the algorithm and the signature. The parser accepts other encodings of
/// them, which nobody signed.
fn signed_suffix(curve: Curve, signature_der: &[u8]) -> Vec<u8> {
    let algorithm = match curve {
        Curve::P256 => ECDSA_WITH_SHA256,
        Curve::P384 => ECDSA_WITH_SHA384,
    };
    // A signature of 127 bytes or more is none of these curves'; its wrong length byte then matches nothing.
    let len = u8::try_from(signature_der.len() + 1).ok().filter(|len| *len < 0x80).unwrap_or(0);
    [algorithm, &[0x03, len, 0x00], signature_der].concat()
}

pub(crate) fn known_name(name: &GeneralName<'_>) -> Option<SubjectAltName> {
    match name {
        GeneralName::DNSName(name) => Some(SubjectAltName::Dns((*name).to_owned())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from).ok();
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from).ok();
            v4.or(v6).map(SubjectAltName::Ip)
        }
        _ => None,
    }
}

fn params(
    crypto: &dyn Crypto,
    common_name: &str,
    validity: Validity,
    extensions: &[Extension],
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if validity.not_before > validity.not_after || validity.not_after > UNIX_SECONDS_MAX {
        return Err(content("validity"));
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + std::time::Duration::from_secs(validity.not_before);
    params.not_after = epoch + std::time::Duration::from_secs(validity.not_after);
    let mut serial = [0; SERIAL_BYTES];
    crypto.fill(&mut serial);
    // Positive and of full length (RFC 5280 §4.1.2.2).
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let custom = |extension: &Extension| CustomExtension::from_oid_content(&extension.oid, extension.content.clone());
    params.custom_extensions = extensions.iter().map(custom).collect();
    Ok(params)
}

fn alt_names(names: &[SubjectAltName]) -> Result<Vec<SanType>, Error> {
    let alt_name = |name: &SubjectAltName| match name {
        SubjectAltName::Ip(address) => Ok(SanType::IpAddress(*address)),
        SubjectAltName::Dns(name) => {
            name.as_str().try_into().map(SanType::DnsName).map_err(|_| content("subject alternative name"))
        }
    };
    names.iter().map(alt_name).collect()
}

fn content(what: &'static str) -> Error {
    Error::InvalidCertificateContent { what }
}

fn rcgen_algorithm(curve: Curve) -> &'static rcgen::SignatureAlgorithm {
    match curve {
        Curve::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        Curve::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
    }
}

/// A subject's key as `rcgen` wants it.
struct SubjectKey<'a>(&'a PublicKey);

impl rcgen::PublicKeyData for SubjectKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        rcgen_algorithm(self.0.curve())
    }
}

/// The issuer's key as `rcgen` wants it: signing through the one object.
struct IssuingKey<'a> {
    crypto: &'a dyn Crypto,
    key: &'a SigningKey,
}

impl<'a> IssuingKey<'a> {
    fn new(crypto: &'a dyn Crypto, key: &'a SigningKey) -> Self {
        Self { crypto, key }
    }
}

impl rcgen::PublicKeyData for IssuingKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.public_key().point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        rcgen_algorithm(self.key.curve())
    }
}

impl rcgen::SigningKey for IssuingKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(self.crypto, message).der())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededCrypto;

    const VALIDITY: Validity = Validity { not_before: 1_700_000_000, not_after: 1_800_000_000 };

    struct Service {
        crypto: SeededCrypto,
        key: SigningKey,
        certificate: Certificate,
    }

    impl Service {
        fn new(seed: u64) -> Self {
            let crypto = SeededCrypto::new(seed);
            let key = SigningKey::generate(&crypto, Curve::P384);
            let certificate = self_signed_service_certificate(&crypto, &key, "Service", VALIDITY, &[]).unwrap();
            Self { crypto, key, certificate }
        }

        fn node(&self, change: impl Fn(&mut NodeCertificateRequest)) -> Result<Certificate, Error> {
            let key = SigningKey::generate(&self.crypto, Curve::P256);
            let mut request = NodeCertificateRequest {
                public_key: key.public_key().clone(),
                common_name: "Node".to_owned(),
                subject_alt_names: ["127.0.0.1", "::1", "node.example"].map(SubjectAltName::from_host).to_vec(),
                validity: VALIDITY,
                extensions: vec![Extension { oid: vec![1, 3, 6, 1, 4, 1, 5], content: vec![5, 0] }],
            };
            change(&mut request);
            issue_node_certificate(&self.crypto, &self.certificate, &self.key, &request)
        }
    }

    #[test]
    fn a_node_certificate_carries_what_was_asked_and_verifies_under_its_service() {
        let service = Service::new(1);
        let node = service.node(|_| ()).unwrap();
        node.verify_issued_by(&service.certificate, VALIDITY.not_before).unwrap();
        node.verify_issued_by(&service.certificate, VALIDITY.not_after).unwrap();
        assert_eq!(node.validity(), VALIDITY);
        assert_eq!(node.extension(&[1, 3, 6, 1, 4, 1, 5]), Some(vec![5, 0]));
        assert_eq!(node.extension(&[1, 3, 6, 1, 4, 1]), None);
        let names = ["127.0.0.1", "::1", "node.example"].map(SubjectAltName::from_host);
        assert_eq!(node.subject_alt_names(), names);
        assert_eq!(Certificate::from_pem(&node.to_pem()).unwrap(), node);
        assert_eq!(node.node_id().0, sha256(&node.public_key().spki_der()));
    }

    #[test]
    fn a_certificate_of_another_service_or_time_is_refused() {
        let (service, other) = (Service::new(1), Service::new(2));
        let node = service.node(|_| ()).unwrap();
        let refused = |service: &Service, at| node.verify_issued_by(&service.certificate, at).unwrap_err();
        assert!(matches!(refused(&other, VALIDITY.not_before), Error::NotIssuedByService { .. }));
        assert!(matches!(refused(&service, VALIDITY.not_before - 1), Error::OutsideValidity { .. }));
        assert!(matches!(refused(&service, VALIDITY.not_after + 1), Error::OutsideValidity { .. }));
        assert!(matches!(node.verify_signed_by(&node), Err(Error::NotIssuedByService { .. })));
    }

    #[test]
    fn a_self_signed_leaf_is_no_service() {
        let crypto = SeededCrypto::new(3);
        let key = SigningKey::generate(&crypto, Curve::P384);
        let member = self_signed_certificate(&crypto, &key, "member0", &[], VALIDITY, &[]).unwrap();
        assert_eq!(member.verify_signed_by(&member), Err(Error::NotIssuedByService { why: "the issuer is not a CA" }));
    }

    #[test]
    fn what_a_past_service_issued_verifies_over_its_endorsement() {
        let (past, present) = (Service::new(1), Service::new(2));
        let node = past.node(|_| ()).unwrap();
        let endorsed =
            endorse_service_certificate(&present.crypto, &present.certificate, &present.key, &past.certificate)
                .unwrap();
        assert_eq!(endorsed.common_name().as_deref(), Some("Service"));
        node.verify_signed_by(&endorsed).unwrap();
        endorsed.verify_signed_by(&present.certificate).unwrap();
        assert!(node.verify_signed_by(&present.certificate).is_err());
    }

    #[test]
    fn impossible_requests_are_refused() {
        let service = Service::new(1);
        let refused = |change: fn(&mut NodeCertificateRequest)| {
            assert!(matches!(service.node(change), Err(Error::InvalidCertificateContent { .. })));
        };
        refused(|request| request.subject_alt_names.clear());
        refused(|request| request.subject_alt_names.push(SubjectAltName::Dns("käse".to_owned())));
        refused(|request| request.validity.not_before = request.validity.not_after + 1);
        refused(|request| request.validity.not_after = u64::MAX);
    }

    #[test]
    fn truncated_extended_or_altered_certificates_never_verify() {
        let service = Service::new(1);
        let der = service.node(|_| ()).unwrap().der().to_vec();
        assert!(Certificate::from_der(&[&der[..], &[0]].concat()).is_err());
        for at in 0..der.len() {
            assert!(Certificate::from_der(&der[..at]).is_err());
            let mut changed = der.clone();
            changed[at] ^= 1;
            let verified = Certificate::from_der(&changed).and_then(|it| it.verify_signed_by(&service.certificate));
            assert!(verified.is_err(), "byte {at}");
        }
    }
}
