//! Certificates and revocation lists, as odd as vendors make them.

use coco_crypto::encode_pem;

use crate::der;
use crate::key::Key;

/// What a certificate says.
#[derive(Clone)]
pub struct Spec {
    pub subject: String,
    pub serial: u64,
    pub not_before: u64,
    pub not_after: u64,
    pub ca: bool,
    /// Id, critical, content.
    pub extensions: Vec<(String, bool, Vec<u8>)>,
}

impl Spec {
    /// Named and timed; no extension says anything.
    pub fn leaf(subject: &str, not_before: u64, not_after: u64) -> Self {
        Self { subject: subject.to_owned(), serial: 7, not_before, not_after, ca: false, extensions: Vec::new() }
    }

    pub fn authority(subject: &str, not_before: u64, not_after: u64) -> Self {
        Self { ca: true, ..Self::leaf(subject, not_before, not_after) }
    }

    pub fn with(mut self, oid: &str, content: Vec<u8>) -> Self {
        self.extensions.push((oid.to_owned(), false, content));
        self
    }
}

/// A certificate with its key.
pub struct Issued {
    pub subject: String,
    pub der: Vec<u8>,
    pub key: Key,
}

impl Issued {
    pub fn root(spec: &Spec, key: Key) -> Self {
        let der = sign(spec, &spec.subject, &key, &key);
        Self { subject: spec.subject.clone(), der, key }
    }

    pub fn issue(&self, spec: &Spec, key: Key) -> Self {
        let der = sign(spec, &self.subject, &key, &self.key);
        Self { subject: spec.subject.clone(), der, key }
    }

    pub fn pem(&self) -> String {
        encode_pem("CERTIFICATE", &self.der)
    }

    /// A list of what this authority takes back.
    pub fn revoke(&self, serials: &[u64], this_update: u64, next_update: u64) -> Vec<u8> {
        let (scheme, algorithm) = self.key.certificate_scheme();
        let entry = |serial: &u64| der::sequence(&[&der::integer(&serial.to_be_bytes()), &der::time(this_update)]);
        let entries: Vec<u8> = serials.iter().flat_map(entry).collect();
        let revoked = if serials.is_empty() { Vec::new() } else { der::tlv(0x30, &entries) };
        // Always the number 1, as Intel's.
        let number = der::sequence(&[&der::oid("2.5.29.20"), &der::octet_string(&der::byte(1))]);
        let tbs = der::sequence(&[
            &der::byte(1),
            &algorithm,
            &der::name(&self.subject),
            &der::time(this_update),
            &der::time(next_update),
            &revoked,
            &der::tlv(0xa0, &der::sequence(&[&number])),
        ]);
        let signature = der::bit_string(&self.key.sign(scheme, &tbs));
        der::sequence(&[&tbs, &algorithm, &signature])
    }
}

fn sign(spec: &Spec, issuer: &str, subject_key: &Key, issuer_key: &Key) -> Vec<u8> {
    let (scheme, algorithm) = issuer_key.certificate_scheme();
    let mut extensions = spec.extensions.clone();
    if spec.ca {
        extensions.push(("2.5.29.19".to_owned(), true, der::sequence(&[&der::boolean(true)])));
        // keyCertSign and cRLSign.
        extensions.push(("2.5.29.15".to_owned(), true, vec![3, 2, 1, 0x06]));
    }
    let extension = |(id, critical, content): &(String, bool, Vec<u8>)| {
        let critical = if *critical { der::boolean(true) } else { Vec::new() };
        der::sequence(&[&der::oid(id), &critical, &der::octet_string(content)])
    };
    let encoded: Vec<u8> = extensions.iter().flat_map(extension).collect();
    let extensions = if encoded.is_empty() { Vec::new() } else { der::tlv(0xa3, &der::tlv(0x30, &encoded)) };
    let tbs = der::sequence(&[
        &der::tlv(0xa0, &der::byte(2)),
        &der::integer(&spec.serial.to_be_bytes()),
        &algorithm,
        &der::name(issuer),
        &der::sequence(&[&der::time(spec.not_before), &der::time(spec.not_after)]),
        &der::name(&spec.subject),
        &subject_key.spki(),
        &extensions,
    ]);
    let signature = der::bit_string(&issuer_key.sign(scheme, &tbs));
    der::sequence(&[&tbs, &algorithm, &signature])
}
