//! TPM 2.0 quotes (TPM part 2, TPMS_ATTEST): big-endian, signed by an attestation key, over PCRs of the SHA-256 bank.
//!
//! Beside evidence a quote travels as CBOR `[message, signature, {PCR index: value}]`.

use std::collections::BTreeMap;

use coco_crypto::{ForeignKey, Hash, Scheme, constant_time_eq, sha256};
use minicbor::{Decoder, Encoder};

use crate::VerifyError;

const MAGIC: u32 = 0xff54_4347;
const TYPE_QUOTE: u16 = 0x8018;
const ALG_SHA256: u16 = 0x000b;
const PCRS: u8 = 24;

/// A quote as it travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TpmQuote {
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
    pub pcrs: BTreeMap<u8, [u8; 32]>,
}

/// What a genuine quote says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quoted {
    pub extra_data: Vec<u8>,
    pub pcrs: BTreeMap<u8, [u8; 32]>,
}

impl TpmQuote {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        let ok = "a vector takes any bytes";
        encoder.array(3).expect(ok).bytes(&self.message).expect(ok).bytes(&self.signature).expect(ok);
        encoder.map(self.pcrs.len() as u64).expect(ok);
        for (index, value) in &self.pcrs {
            encoder.u8(*index).expect(ok).bytes(value).expect(ok);
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, VerifyError> {
        let mut decoder = Decoder::new(bytes);
        let quote = Self::decode_fields(&mut decoder).map_err(|_| malformed("its frame"))?;
        if decoder.position() == bytes.len() { Ok(quote) } else { Err(malformed("bytes after it")) }
    }

    fn decode_fields(decoder: &mut Decoder<'_>) -> Result<Self, minicbor::decode::Error> {
        let error = minicbor::decode::Error::message;
        if decoder.array()? != Some(3) {
            return Err(error("a quote has three parts"));
        }
        let (message, signature) = (decoder.bytes()?.to_vec(), decoder.bytes()?.to_vec());
        let count = decoder.map()?.filter(|count| *count <= PCRS.into()).ok_or_else(|| error("too many PCRs"))?;
        let mut pcrs = BTreeMap::new();
        for _ in 0..count {
            let index = decoder.u8()?;
            let value = decoder.bytes()?.try_into().map_err(|_| error("a PCR has 32 bytes"))?;
            if pcrs.insert(index, value).is_some() {
                return Err(error("a PCR appears twice"));
            }
        }
        Ok(Self { message, signature, pcrs })
    }

    /// Whether the values are those that were quoted; no signature is looked at.
    pub fn is_of_its_pcrs(&self) -> bool {
        Attested::parse(&self.message).is_ok_and(|attested| attested.is_over(&self.pcrs))
    }

    /// Signature, kind and PCR values. `required` must be among the quoted PCRs: a quote over none is validly signed.
    pub fn verify(&self, key: &ForeignKey, required: &[u8]) -> Result<Quoted, VerifyError> {
        let schemes = [Scheme::RsaPkcs1(Hash::Sha256), Scheme::RsaPss(Hash::Sha256), Scheme::EcdsaFixed(Hash::Sha256)];
        let signed = schemes.into_iter().any(|scheme| key.verify(scheme, &self.message, &self.signature).is_ok());
        // What it says first: a wrong magic is a better reason than the signature of something else.
        let attested = Attested::parse(&self.message)?;
        if !signed {
            return Err(VerifyError::TpmSignatureInvalid);
        }
        if let Some(missing) = required.iter().find(|pcr| !attested.selected.contains(pcr)) {
            return Err(VerifyError::PcrSelectionIncomplete { missing: *missing });
        }
        if !attested.is_over(&self.pcrs) {
            return Err(VerifyError::PcrDigestMismatch);
        }
        Ok(Quoted { extra_data: attested.extra_data, pcrs: self.pcrs.clone() })
    }
}

/// TPMS_ATTEST of a quote.
struct Attested {
    extra_data: Vec<u8>,
    /// Ascending.
    selected: Vec<u8>,
    pcr_digest: Vec<u8>,
}

impl Attested {
    fn parse(message: &[u8]) -> Result<Self, VerifyError> {
        let mut rest = message;
        let magic = u32::from_be_bytes(take(&mut rest)?);
        if magic != MAGIC {
            return Err(VerifyError::TpmMagicWrong { found: magic });
        }
        let kind = u16::from_be_bytes(take(&mut rest)?);
        if kind != TYPE_QUOTE {
            return Err(VerifyError::TpmTypeWrong { found: kind });
        }
        sized(&mut rest)?;
        let extra_data = sized(&mut rest)?.to_vec();
        // Clock and firmware version: recorded by the TPM, not judged.
        take::<25>(&mut rest)?;
        if u32::from_be_bytes(take(&mut rest)?) != 1 || u16::from_be_bytes(take(&mut rest)?) != ALG_SHA256 {
            return Err(malformed("it selects something other than one SHA-256 bank"));
        }
        let [len] = take(&mut rest)?;
        let (bitmap, after) =
            rest.split_at_checked(len.into()).filter(|_| len <= PCRS / 8).ok_or_else(|| malformed("its selection"))?;
        rest = after;
        let is_selected = |pcr: &u8| {
            let byte = bitmap.get(usize::from(pcr / 8)).copied().unwrap_or(0);
            byte >> (pcr % 8) & 1 == 1
        };
        let selected = (0..PCRS).filter(is_selected).collect();
        let pcr_digest = sized(&mut rest)?.to_vec();
        if rest.is_empty() { Ok(Self { extra_data, selected, pcr_digest }) } else { Err(malformed("bytes after it")) }
    }

    fn is_over(&self, pcrs: &BTreeMap<u8, [u8; 32]>) -> bool {
        let values: Option<Vec<[u8; 32]>> = self.selected.iter().map(|pcr| pcrs.get(pcr).copied()).collect();
        let values = values.filter(|values| values.len() == pcrs.len());
        values.is_some_and(|values| constant_time_eq(&sha256(&values.concat()).0, &self.pcr_digest))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], VerifyError> {
    let (taken, after) = rest.split_first_chunk().ok_or_else(|| malformed("it is cut off"))?;
    *rest = after;
    Ok(*taken)
}

/// A field behind its length in two bytes.
fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], VerifyError> {
    let len = u16::from_be_bytes(take(rest)?);
    let (taken, after) = rest.split_at_checked(len.into()).ok_or_else(|| malformed("it is cut off"))?;
    *rest = after;
    Ok(taken)
}

fn malformed(why: &'static str) -> VerifyError {
    VerifyError::TpmMalformed { why }
}
