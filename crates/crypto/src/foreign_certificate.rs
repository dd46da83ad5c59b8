//! Certificates and revocation lists of others, as attestation meets them: RSA and PSS, missing extensions, serial number 0.
//!
//! Parsing says nothing about trust. [`ForeignCertificate::check_issued_by`] is one link; who is an anchor, and at what time all
//! of it must hold, is the caller's business. The whole encoding is rebuilt from its signed part, so that no unsigned byte of a
//! certificate is free to change.

use coco_types::Digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::foreign::{ForeignKey, Hash, Scheme};
use crate::{Error, Validity, decode_pem, sha256};

mod name;

/// A parsed certificate. Nothing that it says is trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignCertificate {
    der: Vec<u8>,
    key: ForeignKey,
    validity: Validity,
    subject: Vec<u8>,
    subject_text: String,
    issuer: Vec<u8>,
    serial: Vec<u8>,
    authority: Authority,
    extended_key_usages: Vec<String>,
    extensions: Vec<(String, Vec<u8>)>,
    signed: Signed,
}

/// What a certificate says about issuing others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Authority {
    ca: bool,
    path_len: Option<u32>,
    /// `None`: the extension is absent.
    may_sign_certificates: Option<bool>,
    may_sign_crls: Option<bool>,
    /// An extension that must be understood and is not.
    unknown_critical: bool,
}

/// The signed bytes, and their signature.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Signed {
    tbs: Vec<u8>,
    scheme: Scheme,
    signature: Vec<u8>,
}

/// A revocation list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevocationList {
    der: Vec<u8>,
    issuer: Vec<u8>,
    issuer_text: String,
    /// Unix seconds.
    pub this_update: u64,
    pub next_update: u64,
    serials: Vec<Vec<u8>>,
    signed: Signed,
}

impl ForeignCertificate {
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let Ok(([], x509)) = X509Certificate::from_der(der) else { return Err(Error::MalformedCertificate) };
        let signed = Signed::read(der, x509.tbs_certificate.as_ref(), x509.signature_value.data.as_ref())?;
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        Ok(Self {
            key: ForeignKey::from_spki_der(x509.public_key().raw)?,
            validity: Validity {
                not_before: seconds(x509.validity().not_before),
                not_after: seconds(x509.validity().not_after),
            },
            subject: x509.subject().as_raw().to_vec(),
            subject_text: x509.subject().to_string(),
            issuer: x509.issuer().as_raw().to_vec(),
            serial: x509.raw_serial().to_vec(),
            authority: authority(&x509),
            extended_key_usages: extended_key_usages(&x509),
            extensions: unique_extensions(&x509)?,
            signed,
            der: der.to_vec(),
        })
    }

    pub fn from_pem(text: &str) -> Result<Self, Error> {
        Self::from_der(&decode_pem("CERTIFICATE", text)?)
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the DER.
    pub fn fingerprint(&self) -> Digest {
        sha256(&self.der)
    }

    pub fn key(&self) -> &ForeignKey {
        &self.key
    }

    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The subject's name, for people.
    pub fn subject(&self) -> &str {
        &self.subject_text
    }

    /// The subject's name as RFC 4514 writes it. Different names have different texts; nothing if it is empty.
    pub fn distinguished_name(&self) -> Option<String> {
        name::text(&self.subject)
    }

    /// Whether it may issue certificates.
    pub fn is_ca(&self) -> bool {
        self.authority.ca && self.authority.may_sign_certificates != Some(false)
    }

    /// How many CAs there may be between this one and a leaf; nothing if it does not say.
    pub fn path_len(&self) -> Option<u32> {
        self.authority.path_len
    }

    /// The subject's name as it is encoded.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// The issuer's name as it is encoded.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    pub fn extended_key_usages(&self) -> &[String] {
        &self.extended_key_usages
    }

    /// The content of an extension by its dotted id.
    pub fn extension(&self, oid: &str) -> Option<&[u8]> {
        self.extensions.iter().find(|(id, _)| id == oid).map(|(_, content)| content.as_slice())
    }

    /// One link of a chain: names, the issuer's authority and its signature. Not the time.
    pub fn check_issued_by(&self, issuer: &Self) -> Result<(), Error> {
        let refused = |why| Err(Error::BrokenChain { why });
        if self.issuer != issuer.subject {
            return refused("another issuer is named");
        }
        if self.authority.unknown_critical || issuer.authority.unknown_critical {
            return refused("a critical extension is unknown");
        }
        if !issuer.authority.ca {
            return refused("the issuer is not a CA");
        }
        if issuer.authority.may_sign_certificates == Some(false) {
            return refused("the issuer's key may not sign certificates");
        }
        if self.authority.ca && !self.is_self_issued() && issuer.authority.path_len == Some(0) {
            return refused("the issuer may not have a CA below it");
        }
        self.signed.check(&issuer.key).or(refused("a signature does not verify"))
    }

    /// Whether `list` names this certificate.
    pub fn is_revoked_by(&self, list: &RevocationList) -> bool {
        self.issuer == list.issuer && list.serials.contains(&self.serial)
    }

    /// Whether `list` is of the authority that issued this certificate.
    pub fn is_covered_by(&self, list: &RevocationList) -> bool {
        self.issuer == list.issuer
    }
}

impl RevocationList {
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let Ok(([], crl)) = CertificateRevocationList::from_der(der) else { return Err(Error::MalformedCertificate) };
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        Ok(Self {
            issuer: crl.issuer().as_raw().to_vec(),
            issuer_text: crl.issuer().to_string(),
            this_update: seconds(crl.last_update()),
            next_update: crl.next_update().map(seconds).ok_or(Error::MalformedCertificate)?,
            serials: crl.iter_revoked_certificates().map(|revoked| revoked.raw_serial().to_vec()).collect(),
            signed: Signed::read(der, crl.tbs_cert_list.as_ref(), crl.signature_value.data.as_ref())?,
            der: der.to_vec(),
        })
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The issuer's name, for people.
    pub fn issuer(&self) -> &str {
        &self.issuer_text
    }

    /// The issuer's name as it is encoded.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    pub fn check_issued_by(&self, issuer: &ForeignCertificate) -> Result<(), Error> {
        if self.issuer != issuer.subject {
            return Err(Error::BrokenChain { why: "the list names another issuer" });
        }
        if issuer.authority.may_sign_crls == Some(false) {
            return Err(Error::BrokenChain { why: "the issuer's key may not sign revocation lists" });
        }
        self.signed.check(&issuer.key)
    }
}

impl Signed {
    /// The outer sequence is exactly: what was signed, the algorithm named inside it, the signature.
    fn read(der: &[u8], tbs: &[u8], signature: &[u8]) -> Result<Self, Error> {
        for (algorithm, scheme) in algorithms() {
            let tail = [&algorithm[..], &encode(0x03, &[&[0], signature].concat())].concat();
            let whole = encode(0x30, &[tbs, &tail].concat());
            // The signed part names the algorithm too (RFC 5280 §4.1.1.2).
            let named_inside = tbs.windows(algorithm.len()).any(|window| window == algorithm);
            if whole == der && named_inside {
                return Ok(Self { tbs: tbs.to_vec(), scheme, signature: signature.to_vec() });
            }
        }
        Err(Error::MalformedCertificate)
    }

    fn check(&self, key: &ForeignKey) -> Result<(), Error> {
        key.verify(self.scheme, &self.tbs, &self.signature)
    }
}

fn authority(x509: &X509Certificate<'_>) -> Authority {
    let mut authority = Authority::default();
    for extension in x509.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => {
                authority.ca = constraints.ca;
                authority.path_len = constraints.path_len_constraint;
            }
            ParsedExtension::KeyUsage(usage) => {
                authority.may_sign_certificates = Some(usage.key_cert_sign());
                authority.may_sign_crls = Some(usage.crl_sign());
            }
            ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::SubjectAlternativeName(_) => {}
            _ => authority.unknown_critical |= extension.critical,
        }
    }
    authority
}

fn extended_key_usages(x509: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(usage)) = x509.extended_key_usage() else { return Vec::new() };
    usage.value.other.iter().map(|oid| oid.to_id_string()).collect()
}

/// An extension appears once (RFC 5280 §4.2).
fn unique_extensions(x509: &X509Certificate<'_>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut extensions: Vec<(String, Vec<u8>)> = Vec::new();
    for extension in x509.extensions() {
        let oid = extension.oid.to_id_string();
        if extensions.iter().any(|(id, _)| *id == oid) {
            return Err(Error::MalformedCertificate);
        }
        extensions.push((oid, extension.value.to_vec()));
    }
    Ok(extensions)
}

/// The addresses that a certificate names for its issuer's revocation list.
pub fn distribution_points(der: &[u8]) -> Vec<String> {
    let Ok((_, x509)) = X509Certificate::from_der(der) else { return Vec::new() };
    let mut addresses = Vec::new();
    for extension in x509.extensions() {
        let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else { continue };
        for point in points.iter() {
            let Some(x509_parser::extensions::DistributionPointName::FullName(names)) = &point.distribution_point
            else {
                continue;
            };
            addresses.extend(names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            }));
        }
    }
    addresses
}

/// Every AlgorithmIdentifier that is accepted, in DER.
fn algorithms() -> Vec<(Vec<u8>, Scheme)> {
    let hashes = [(Hash::Sha256, 1u8, 0x20u8, 2u8), (Hash::Sha384, 2, 0x30, 3), (Hash::Sha512, 3, 0x40, 4)];
    let mut all = Vec::with_capacity(18);
    for (hash, hash_id, salt, ecdsa_id) in hashes {
        let ecdsa = encode(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, ecdsa_id]);
        all.push((encode(0x30, &ecdsa), Scheme::EcdsaDer(hash)));
        let pkcs1 = encode(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 10 + hash_id]);
        all.push((encode(0x30, &[&pkcs1[..], &[5, 0]].concat()), Scheme::RsaPkcs1(hash)));
        // RFC 4055 §3.1: a hash's parameters may be NULL or absent, the trailer field may be written or left to its default.
        for null in [&[5u8, 0][..], &[]] {
            for trailer in [&[][..], &[0xa3, 3, 2, 1, 1]] {
                let id = encode(0x06, &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash_id]);
                let hash_algorithm = encode(0x30, &[&id, null].concat());
                let mgf1 = encode(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 8]);
                let mask = encode(0x30, &[&mgf1[..], &hash_algorithm].concat());
                let parameters = encode(
                    0x30,
                    &[&encode(0xa0, &hash_algorithm)[..], &encode(0xa1, &mask), &[0xa2, 3, 2, 1, salt], trailer]
                        .concat(),
                );
                let pss = encode(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 10]);
                all.push((encode(0x30, &[pss, parameters].concat()), Scheme::RsaPss(hash)));
            }
        }
    }
    all
}

fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let bytes = len.to_be_bytes();
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let head = match u8::try_from(len) {
        Ok(len) if len < 0x80 => vec![tag, len],
        _ => [&[tag, 0x80 | u8::try_from(significant.len()).unwrap_or(8)], significant].concat(),
    };
    [&head, content].concat()
}
