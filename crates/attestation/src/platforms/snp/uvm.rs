//! Endorsements of utility VMs (Azure container instances, AKS): a cloud's signed word that a launch measurement is its own.
//!
//! COSE_Sign1 with the signer's chain in the protected header and an issuer `did:x509` that pins a CA of that chain. The chain is judged
//! at the signing time, which is the signer's own word: the leaf lives a year, the measured image runs longer. Policy bounds that
//! time and the version; revocation is a vote to raise the minimum version.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_crypto::{ForeignCertificate, Hash, Scheme, cose};
use minicbor::Decoder;
use minicbor::data::Type;

use crate::VerifyError;
use crate::chain::{self, CHAIN_MAX};
use crate::claims::UvmClaims;

/// An endorsement, bytes.
const BYTES_MAX: usize = 64 << 10;
const HEADER_CONTENT_TYPE: i64 = 3;
const HEADER_X5CHAIN: i64 = 33;
/// COSE hash envelope (draft), the newer form.
const HEADER_HASH_ENVELOPE: [i64; 3] = [258, 259, 260];
const CWT_ISSUER: i64 = 1;
const CWT_SUBJECT: i64 = 2;
const CWT_ISSUED_AT: i64 = 6;

/// A genuine word about this launch measurement, at the time at which it was given.
pub fn verify(bytes: &[u8], measurement: &[u8; 48]) -> Result<UvmClaims, VerifyError> {
    if bytes.len() > BYTES_MAX {
        return Err(malformed("it is too large"));
    }
    let message = cose::Sign1::decode(bytes).map_err(|error| malformed(&error.to_string()))?;
    let header = Header::decode(message.protected)?;
    let chain = header.chain()?;
    check_chain(&chain, header.signed_at)?;
    let leaf = chain.first().ok_or_else(|| broken("there is no certificate"))?;
    check_did(&header.issuer, &chain)?;
    let payload = message.payload.ok_or_else(|| malformed("it has no payload"))?;
    let signed = cose::to_be_signed(message.protected, payload);
    leaf.key().verify(header.scheme, &signed, message.signature).map_err(|_| VerifyError::UvmSignatureInvalid)?;
    let statement = Statement::parse(payload)?;
    if statement.measurement != *measurement {
        return Err(VerifyError::UvmMeasurementMismatch);
    }
    Ok(UvmClaims { did: header.issuer, feed: header.feed, svn: statement.svn, signed_at: header.signed_at })
}

/// What the protected header says.
struct Header {
    scheme: Scheme,
    certificates: Vec<Vec<u8>>,
    issuer: String,
    feed: String,
    /// Unix seconds.
    signed_at: u64,
}

/// As far as it was read.
#[derive(Default)]
struct Partial {
    algorithm: Option<i64>,
    content_type: Option<String>,
    certificates: Vec<Vec<u8>>,
    issuer: Option<String>,
    feed: Option<String>,
    signed_at: Option<u64>,
    hash_envelope: bool,
}

impl Header {
    fn decode(bytes: &[u8]) -> Result<Self, VerifyError> {
        let partial = Partial::decode(bytes).map_err(|error| malformed(&error.to_string()))?;
        if partial.hash_envelope {
            return Err(unsupported("a hash envelope"));
        }
        let scheme = match partial.algorithm {
            Some(-7) => Scheme::EcdsaFixed(Hash::Sha256),
            Some(-35) => Scheme::EcdsaFixed(Hash::Sha384),
            Some(-36) => Scheme::EcdsaFixed(Hash::Sha512),
            Some(-37) => Scheme::RsaPss(Hash::Sha256),
            Some(-38) => Scheme::RsaPss(Hash::Sha384),
            Some(-39) => Scheme::RsaPss(Hash::Sha512),
            other => return Err(unsupported(&format!("algorithm {other:?}"))),
        };
        if partial.content_type.as_deref().is_some_and(|content| content != "application/json") {
            return Err(unsupported("its content is not JSON"));
        }
        let missing = |what: &str| malformed(&format!("it has no {what}"));
        Ok(Self {
            scheme,
            certificates: partial.certificates,
            issuer: partial.issuer.ok_or_else(|| missing("issuer"))?,
            feed: partial.feed.ok_or_else(|| missing("feed"))?,
            signed_at: partial.signed_at.ok_or_else(|| missing("signing time"))?,
        })
    }

    fn chain(&self) -> Result<Vec<ForeignCertificate>, VerifyError> {
        let certificates: Result<Vec<_>, _> = self.certificates.iter().map(|der| chain::from_der(der)).collect();
        certificates.map_err(|error| broken(&error.to_string()))
    }
}

impl Partial {
    fn decode(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        let mut decoder = Decoder::new(bytes);
        let mut found = Self::default();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..decoder.map()?.ok_or_else(|| minicbor::decode::Error::message("an indefinite map"))? {
            let start = decoder.position();
            if decoder.datatype()? == Type::String {
                found.text_field(&mut decoder)?;
            } else {
                found.numbered_field(&mut decoder)?;
            }
            // A label that appears twice could be read differently by others.
            let mut label = Decoder::new(bytes.get(start..).unwrap_or_default());
            label.skip()?;
            if !seen.insert(bytes.get(start..start + label.position()).unwrap_or_default().to_vec()) {
                return Err(minicbor::decode::Error::message("a header appears twice"));
            }
        }
        if decoder.position() != bytes.len() {
            return Err(minicbor::decode::Error::message("bytes after the headers"));
        }
        Ok(found)
    }

    fn text_field(&mut self, decoder: &mut Decoder<'_>) -> Result<(), minicbor::decode::Error> {
        match decoder.str()? {
            "iss" => self.issuer = Some(decoder.str()?.to_owned()),
            "feed" => self.feed = Some(decoder.str()?.to_owned()),
            "signingtime" => self.signed_at = Some(epoch_time(decoder)?),
            _ => decoder.skip()?,
        }
        Ok(())
    }

    fn numbered_field(&mut self, decoder: &mut Decoder<'_>) -> Result<(), minicbor::decode::Error> {
        match decoder.i64()? {
            cose::LABEL_ALG => self.algorithm = Some(decoder.i64()?),
            HEADER_CONTENT_TYPE if decoder.datatype()? == Type::String => {
                self.content_type = Some(decoder.str()?.to_owned());
            }
            HEADER_X5CHAIN => self.certificates = x5chain(decoder)?,
            cose::LABEL_CWT_CLAIMS => self.cwt_claims(decoder)?,
            label if HEADER_HASH_ENVELOPE.contains(&label) => {
                self.hash_envelope = true;
                decoder.skip()?;
            }
            _ => decoder.skip()?,
        }
        Ok(())
    }

    fn cwt_claims(&mut self, decoder: &mut Decoder<'_>) -> Result<(), minicbor::decode::Error> {
        for _ in 0..decoder.map()?.unwrap_or(0) {
            if decoder.datatype()? == Type::String {
                decoder.skip()?;
                decoder.skip()?;
                continue;
            }
            match decoder.i64()? {
                CWT_ISSUER => self.issuer = Some(decoder.str()?.to_owned()),
                CWT_SUBJECT => self.feed = Some(decoder.str()?.to_owned()),
                CWT_ISSUED_AT => self.signed_at = Some(epoch_time(decoder)?),
                _ => decoder.skip()?,
            }
        }
        Ok(())
    }
}

fn x5chain(decoder: &mut Decoder<'_>) -> Result<Vec<Vec<u8>>, minicbor::decode::Error> {
    if decoder.datatype()? == Type::Bytes {
        return Ok(vec![decoder.bytes()?.to_vec()]);
    }
    let count = decoder.array()?.filter(|count| *count <= CHAIN_MAX as u64);
    let count = count.ok_or_else(|| minicbor::decode::Error::message("too many certificates"))?;
    (0..count).map(|_| decoder.bytes().map(<[u8]>::to_vec)).collect()
}

/// Seconds since 1970, with or without tag 1.
fn epoch_time(decoder: &mut Decoder<'_>) -> Result<u64, minicbor::decode::Error> {
    if decoder.datatype()? == Type::Tag && decoder.tag()?.as_u64() != 1 {
        return Err(minicbor::decode::Error::message("a time of another kind"));
    }
    decoder.u64()
}

fn check_chain(certificates: &[ForeignCertificate], signed_at: u64) -> Result<(), VerifyError> {
    let root = certificates.last().ok_or_else(|| broken("there is no certificate"))?;
    let links = certificates.iter().zip(certificates.iter().skip(1)).chain(Some((root, root)));
    for (certificate, issuer) in links {
        certificate.check_issued_by(issuer).map_err(|error| broken(&error.to_string()))?;
        let validity = certificate.validity();
        if !(validity.not_before..=validity.not_after).contains(&signed_at) {
            return Err(broken(&format!("{} was not valid when it was signed", certificate.subject())));
        }
    }
    Ok(())
}

/// `did:x509:0:sha256:<fingerprint of a CA>::eku:<usage of the leaf>`.
fn check_did(did: &str, certificates: &[ForeignCertificate]) -> Result<(), VerifyError> {
    let mismatch = |why: &str| VerifyError::UvmDidMismatch { why: why.to_owned() };
    let rest = did.strip_prefix("did:x509:0:sha256:").ok_or_else(|| mismatch("it is no did:x509 of version 0"))?;
    let (fingerprint, policy) = rest.split_once("::").ok_or_else(|| mismatch("it names no policy"))?;
    let usage = policy.strip_prefix("eku:").filter(|usage| !usage.contains("::") && !usage.contains('%'));
    let usage = usage.ok_or_else(|| mismatch("its policy is not one key usage"))?;
    let authorities = certificates.iter().skip(1);
    let named = |certificate: &ForeignCertificate| URL_SAFE_NO_PAD.encode(certificate.fingerprint().0) == fingerprint;
    if !authorities.into_iter().any(named) {
        return Err(mismatch("none of the authorities has its fingerprint"));
    }
    let leaf = certificates.first().map(ForeignCertificate::extended_key_usages).unwrap_or_default();
    if leaf.iter().any(|found| found == usage) { Ok(()) } else { Err(mismatch("the signer lacks its key usage")) }
}

struct Statement {
    measurement: [u8; 48],
    svn: u64,
}

impl Statement {
    fn parse(payload: &[u8]) -> Result<Self, VerifyError> {
        let json: serde_json::Value = serde_json::from_slice(payload).map_err(|error| malformed(&error.to_string()))?;
        let text = json.get("x-ms-sevsnpvm-launchmeasurement").and_then(serde_json::Value::as_str);
        let mut measurement = [0; 48];
        hex::decode_to_slice(text.unwrap_or_default(), &mut measurement)
            .map_err(|_| malformed("its measurement is not 48 bytes in hex"))?;
        let svn =
            json.get("x-ms-sevsnpvm-guestsvn").and_then(number).ok_or_else(|| malformed("its svn is no number"))?;
        if json.get("x-ms-sevsnpvm-guestsvn-int").is_some_and(|other| number(other) != Some(svn)) {
            return Err(malformed("its two svn differ"));
        }
        Ok(Self { measurement, svn })
    }
}

/// A number, or digits in a string.
fn number(value: &serde_json::Value) -> Option<u64> {
    match value {
        serde_json::Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        other => other.as_u64(),
    }
}

fn malformed(why: &str) -> VerifyError {
    VerifyError::UvmMalformed { why: why.to_owned() }
}

fn unsupported(why: &str) -> VerifyError {
    VerifyError::UvmFormatUnsupported { why: why.to_owned() }
}

fn broken(why: &str) -> VerifyError {
    VerifyError::UvmChainBroken { why: why.to_owned() }
}
