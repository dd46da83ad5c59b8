//! AWS Nitro Enclaves: a COSE_Sign1 document by the hypervisor, under a chain whose leaf lives three hours.
//!
//! The document has no place for 64 bytes but `user_data`; its `public_key` and `nonce` are not used, because the report data already
//! binds key and challenge.

use std::collections::BTreeMap;

use coco_crypto::{Hash, Scheme, cose};
use minicbor::Decoder;
use minicbor::data::Type;

use crate::chain::{self, CHAIN_MAX, Revocation};
use crate::claims::{Bound, Claims, Details, Isolation, NitroClaims};
use crate::trust::{Root, Trust};
use crate::{Evidence, Moment, TeeKind, VerifyError};

const ES384: i64 = -35;
/// `{1: -35}`, the only protected header there is.
const PROTECTED: [u8; 4] = [0xa1, 0x01, 0x38, 0x22];
const EMPTY_MAP: &[u8] = &[0xa0];
const TAG_SIGN1: u8 = 0xd2;
const CERTIFICATE_BYTES_MAX: usize = 1024;
const PUBLIC_KEY_BYTES_MAX: usize = 1024;
const USER_DATA_BYTES_MAX: usize = 512;
const PCRS_MAX: u64 = 32;

pub(crate) fn verify(evidence: &Evidence, trust: &Trust, at: Moment) -> Result<Claims, VerifyError> {
    let message = decode_sign1(&evidence.raw)?;
    if message.protected != PROTECTED {
        let found = protected_algorithm(message.protected).unwrap_or(0);
        return Err(VerifyError::AlgorithmUnsupported { found });
    }
    if message.unprotected != EMPTY_MAP {
        return Err(VerifyError::CoseMalformed { why: "it has unprotected headers" });
    }
    let payload = message.payload.ok_or(VerifyError::CoseMalformed { why: "it has no payload" })?;
    let document = Document::decode(payload)?;
    let leaf = chain::from_der(&document.certificate)?;
    let authorities = document.cabundle.iter().rev().map(|der| chain::from_der(der));
    let chain = [Ok(leaf)].into_iter().chain(authorities).collect::<Result<Vec<_>, _>>()?;
    let validity = chain::verify(&chain, Root::AwsNitro, Revocation::Unchecked, trust, at)?;
    let made_at = document.claims.timestamp_ms / 1000;
    if !(validity.not_before..=validity.not_after).contains(&made_at) {
        return Err(VerifyError::TimestampOutsideChain { timestamp: made_at });
    }
    let leaf = chain.first().ok_or_else(|| chain::broken("there is no certificate"))?;
    let signed = cose::to_be_signed(message.protected, payload);
    leaf.key()
        .verify(Scheme::EcdsaFixed(Hash::Sha384), &signed, message.signature)
        .map_err(|_| VerifyError::SignatureInvalid { what: "document" })?;
    Ok(Claims {
        kind: TeeKind::Nitro,
        debug: document.is_debug(),
        isolation: Isolation::Hardware,
        // The module id names an instance, not a machine.
        hardware_id: None,
        validity,
        roots: chain.last().map(|root| root.fingerprint()).into_iter().collect(),
        bound: Bound::UserData(document.user_data),
        details: Details::Nitro(Box::new(document.claims)),
    })
}

/// Untagged in practice; a tag 18 is accepted too.
fn decode_sign1(raw: &[u8]) -> Result<cose::Sign1<'_>, VerifyError> {
    let malformed = |_| VerifyError::CoseMalformed { why: "it is no COSE_Sign1 of four fields" };
    match raw.first() {
        Some(&TAG_SIGN1) => cose::Sign1::decode(raw).map_err(malformed),
        _ => cose::Sign1::decode_untagged(raw).map_err(malformed),
    }
}

fn protected_algorithm(protected: &[u8]) -> Option<i64> {
    let mut decoder = Decoder::new(protected);
    decoder.map().ok()?;
    let label = decoder.i64().ok()?;
    decoder.i64().ok().filter(|algorithm| label == cose::LABEL_ALG && *algorithm != ES384)
}

/// The signed document.
struct Document {
    claims: NitroClaims,
    certificate: Vec<u8>,
    /// Root first.
    cabundle: Vec<Vec<u8>>,
    user_data: Option<Vec<u8>>,
}

/// As far as it was read.
#[derive(Default)]
struct Fields {
    module_id: Option<String>,
    digest: Option<String>,
    timestamp_ms: Option<u64>,
    pcrs: Option<BTreeMap<u8, String>>,
    certificate: Option<Vec<u8>>,
    cabundle: Option<Vec<Vec<u8>>>,
    public_key: Option<Option<Vec<u8>>>,
    user_data: Option<Option<Vec<u8>>>,
    nonce: Option<Option<Vec<u8>>>,
}

impl Document {
    fn decode(payload: &[u8]) -> Result<Self, VerifyError> {
        let mut decoder = Decoder::new(payload);
        let fields = Fields::decode(&mut decoder).map_err(|error| malformed(&error.to_string()))?;
        if decoder.position() != payload.len() {
            return Err(malformed("bytes after it"));
        }
        let missing = |what: &str| malformed(&format!("{what} is missing"));
        let module_id = fields.module_id.filter(|id| !id.is_empty()).ok_or_else(|| missing("module_id"))?;
        if fields.digest.ok_or_else(|| missing("digest"))? != "SHA384" {
            return Err(malformed("its digest is not SHA384"));
        }
        let pcrs = fields.pcrs.filter(|pcrs| !pcrs.is_empty()).ok_or_else(|| missing("pcrs"))?;
        let timestamp_ms = fields.timestamp_ms.ok_or_else(|| missing("timestamp"))?;
        Ok(Self {
            claims: NitroClaims { module_id, timestamp_ms, pcrs },
            certificate: fields.certificate.ok_or_else(|| missing("certificate"))?,
            cabundle: fields.cabundle.ok_or_else(|| missing("cabundle"))?,
            user_data: fields.user_data.flatten(),
        })
    }

    /// The hypervisor measures nothing for an enclave in debug mode.
    fn is_debug(&self) -> bool {
        [0, 1, 2]
            .iter()
            .any(|index| self.claims.pcrs.get(index).is_none_or(|pcr| pcr.bytes().all(|digit| digit == b'0')))
    }
}

type Read<T> = Result<T, minicbor::decode::Error>;

impl Fields {
    fn decode(decoder: &mut Decoder<'_>) -> Read<Self> {
        let mut fields = Self::default();
        let mut left = decoder.map()?;
        while left != Some(0) {
            if left.is_none() && decoder.datatype()? == Type::Break {
                decoder.skip()?;
                break;
            }
            left = left.map(|left| left - 1);
            fields.field(decoder)?;
        }
        Ok(fields)
    }

    fn field(&mut self, decoder: &mut Decoder<'_>) -> Read<()> {
        match decoder.str()? {
            "module_id" => once(&mut self.module_id, decoder.str()?.to_owned()),
            "digest" => once(&mut self.digest, decoder.str()?.to_owned()),
            "timestamp" => once(&mut self.timestamp_ms, decoder.u64()?),
            "pcrs" => once(&mut self.pcrs, pcrs(decoder)?),
            "certificate" => once(&mut self.certificate, certificate(decoder)?),
            "cabundle" => once(&mut self.cabundle, cabundle(decoder)?),
            "public_key" => once(&mut self.public_key, optional(decoder, PUBLIC_KEY_BYTES_MAX)?),
            "user_data" => once(&mut self.user_data, optional(decoder, USER_DATA_BYTES_MAX)?),
            "nonce" => once(&mut self.nonce, optional(decoder, USER_DATA_BYTES_MAX)?),
            other => Err(message(format!("the field {other} is unknown"))),
        }
    }
}

fn once<T>(field: &mut Option<T>, value: T) -> Read<()> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(message("a field appears twice")),
    }
}

fn pcrs(decoder: &mut Decoder<'_>) -> Read<BTreeMap<u8, String>> {
    let count = decoder.map()?.filter(|count| *count <= PCRS_MAX).ok_or_else(|| message("too many PCRs"))?;
    let mut pcrs = BTreeMap::new();
    for _ in 0..count {
        let index = decoder.u8()?;
        let value = decoder.bytes()?;
        if u64::from(index) >= PCRS_MAX || !matches!(value.len(), 32 | 48 | 64) {
            return Err(message("a PCR's index or length"));
        }
        if pcrs.insert(index, hex::encode(value)).is_some() {
            return Err(message("a PCR appears twice"));
        }
    }
    Ok(pcrs)
}

fn certificate(decoder: &mut Decoder<'_>) -> Read<Vec<u8>> {
    let der = decoder.bytes()?;
    let fits = (1..=CERTIFICATE_BYTES_MAX).contains(&der.len());
    if fits { Ok(der.to_vec()) } else { Err(message("a certificate's length")) }
}

fn cabundle(decoder: &mut Decoder<'_>) -> Read<Vec<Vec<u8>>> {
    let count = decoder.array()?.filter(|count| (1..CHAIN_MAX as u64).contains(count));
    let count = count.ok_or_else(|| message("the number of certificates"))?;
    (0..count).map(|_| certificate(decoder)).collect()
}

fn optional(decoder: &mut Decoder<'_>, bytes_max: usize) -> Read<Option<Vec<u8>>> {
    if decoder.datatype()? == Type::Null {
        decoder.null()?;
        return Ok(None);
    }
    let bytes = decoder.bytes()?;
    if bytes.len() > bytes_max { Err(message("a field is too long")) } else { Ok(Some(bytes.to_vec())) }
}

fn message(why: impl std::fmt::Display) -> minicbor::decode::Error {
    minicbor::decode::Error::message(why)
}

fn malformed(why: &str) -> VerifyError {
    VerifyError::DocumentMalformed { why: why.to_owned() }
}
