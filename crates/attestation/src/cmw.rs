//! Evidence as a conceptual message wrapper (CMW, RFC 9999): JSON on the ledger and in APIs, CBOR in certificates.
//!
//! Evidence alone is a record `[media type, value]`; with what belongs to it, a collection whose member `evidence` is that record.
//! The media types are Coco's own: no vendor has registered one for these formats.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decoder, Encoder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::evidence::{AUX_BYTES_MAX, EVIDENCE_BYTES_MAX};
use crate::{Aux, Evidence, TeeKind};

/// id-pe-cmw: the certificate extension that carries evidence.
pub const EXTENSION_OID: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 35];
pub const EXTENSION_OID_TEXT: &str = "1.3.6.1.5.5.7.1.35";

const MEDIA_TYPE: &str = "application/vnd.coco.evidence.";
const AUX_MEDIA_TYPE: &str = "application/vnd.coco.evidence-part.";
const COLLECTION_TYPE: &str = "tag:coco,2026:evidence";
const COLLECTION_TYPE_LABEL: &str = "__cmwc_t";
const EVIDENCE_LABEL: &str = "evidence";
/// Encoded, with its parts.
const CMW_BYTES_MAX: usize = (EVIDENCE_BYTES_MAX + AUX_BYTES_MAX) * 2;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not evidence in a CMW: {0}")]
pub struct CmwError(String);

impl Serialize for Evidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_json(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_json(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

pub fn to_json(evidence: &Evidence) -> Value {
    let record = |media: &str, name: &str, bytes: &[u8]| {
        Value::from(vec![format!("{media}{name}"), URL_SAFE_NO_PAD.encode(bytes)])
    };
    let main = record(MEDIA_TYPE, evidence.kind.as_str(), &evidence.raw);
    if evidence.aux.is_empty() {
        return main;
    }
    let mut collection = Map::new();
    collection.insert(COLLECTION_TYPE_LABEL.to_owned(), COLLECTION_TYPE.into());
    collection.insert(EVIDENCE_LABEL.to_owned(), main);
    for (aux, bytes) in &evidence.aux {
        collection.insert(aux.label().to_owned(), record(AUX_MEDIA_TYPE, aux.label(), bytes));
    }
    Value::Object(collection)
}

pub fn from_json(value: &Value) -> Result<Evidence, CmwError> {
    let Value::Object(collection) = value else {
        let (kind, raw) = main_record(value)?;
        return Ok(Evidence::bare(kind, raw));
    };
    if collection.get(COLLECTION_TYPE_LABEL).and_then(Value::as_str) != Some(COLLECTION_TYPE) {
        return Err(malformed("another collection"));
    }
    let (kind, raw) = main_record(collection.get(EVIDENCE_LABEL).unwrap_or(&Value::Null))?;
    let mut aux = BTreeMap::new();
    for (label, record) in collection {
        if label == COLLECTION_TYPE_LABEL || label == EVIDENCE_LABEL {
            continue;
        }
        let part = Aux::ALL.into_iter().find(|part| part.label() == label);
        let part = part.ok_or_else(|| malformed(&format!("the part {label} is unknown")))?;
        let (media, bytes) = json_record(record)?;
        if media.strip_prefix(AUX_MEDIA_TYPE) != Some(part.label()) {
            return Err(malformed("a part of another media type"));
        }
        aux.insert(part, bytes);
    }
    Ok(Evidence { kind, raw, aux })
}

/// The CBOR form: an array `[media type, bytes]`, or a map of them.
pub fn to_cbor(evidence: &Evidence) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(evidence.raw.len() + 64);
    let mut encoder = Encoder::new(&mut bytes);
    encode_cbor(evidence, &mut encoder).expect("a vector takes any bytes");
    bytes
}

pub fn from_cbor(bytes: &[u8]) -> Result<Evidence, CmwError> {
    if bytes.len() > CMW_BYTES_MAX {
        return Err(malformed("it is too large"));
    }
    let mut decoder = Decoder::new(bytes);
    let evidence = decode_cbor(&mut decoder).map_err(|error| malformed(&error.to_string()))??;
    if decoder.position() == bytes.len() { Ok(evidence) } else { Err(malformed("bytes after it")) }
}

fn encode_cbor(
    evidence: &Evidence,
    encoder: &mut Encoder<&mut Vec<u8>>,
) -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
    let main = format!("{MEDIA_TYPE}{}", evidence.kind);
    if !evidence.aux.is_empty() {
        encoder.map(evidence.aux.len() as u64 + 2)?;
        encoder.str(COLLECTION_TYPE_LABEL)?.str(COLLECTION_TYPE)?;
        encoder.str(EVIDENCE_LABEL)?;
    }
    encoder.array(2)?.str(&main)?.bytes(&evidence.raw)?;
    for (aux, bytes) in &evidence.aux {
        let media = format!("{AUX_MEDIA_TYPE}{}", aux.label());
        encoder.str(aux.label())?.array(2)?.str(&media)?.bytes(bytes)?;
    }
    Ok(())
}

type Decoded<T> = Result<Result<T, CmwError>, minicbor::decode::Error>;

fn decode_cbor(decoder: &mut Decoder<'_>) -> Decoded<Evidence> {
    if decoder.datatype()? == minicbor::data::Type::Array {
        let (media, raw) = cbor_record(decoder)?;
        return Ok(kind_of(&media).map(|kind| Evidence::bare(kind, raw)));
    }
    let members = decoder.map()?.unwrap_or(0);
    let (mut main, mut aux, mut collection_type) = (None, BTreeMap::new(), None);
    for _ in 0..members.min(16) {
        let label = decoder.str()?.to_owned();
        match label.as_str() {
            COLLECTION_TYPE_LABEL => collection_type = Some(decoder.str()?.to_owned()),
            EVIDENCE_LABEL => main = Some(cbor_record(decoder)?),
            _ => {
                let (media, bytes) = cbor_record(decoder)?;
                let part = Aux::ALL.into_iter().find(|part| part.label() == label);
                let Some(part) = part.filter(|part| media.strip_prefix(AUX_MEDIA_TYPE) == Some(part.label())) else {
                    return Ok(Err(malformed("an unknown part")));
                };
                aux.insert(part, bytes);
            }
        }
    }
    let Some((media, raw)) = main.filter(|_| collection_type.as_deref() == Some(COLLECTION_TYPE)) else {
        return Ok(Err(malformed("another collection")));
    };
    Ok(kind_of(&media).map(|kind| Evidence { kind, raw, aux }))
}

fn cbor_record(decoder: &mut Decoder<'_>) -> Result<(String, Vec<u8>), minicbor::decode::Error> {
    if decoder.array()? != Some(2) {
        return Err(minicbor::decode::Error::message("a record has two elements"));
    }
    Ok((decoder.str()?.to_owned(), decoder.bytes()?.to_vec()))
}

fn main_record(value: &Value) -> Result<(TeeKind, Vec<u8>), CmwError> {
    let (media, raw) = json_record(value)?;
    Ok((kind_of(media)?, raw))
}

fn json_record(value: &Value) -> Result<(&str, Vec<u8>), CmwError> {
    let Some([Value::String(media), Value::String(encoded)]) = value.as_array().map(Vec::as_slice) else {
        return Err(malformed("a record is [media type, base64url]"));
    };
    if encoded.len() > CMW_BYTES_MAX {
        return Err(malformed("it is too large"));
    }
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|error| malformed(&error.to_string()))?;
    Ok((media, bytes))
}

fn kind_of(media: &str) -> Result<TeeKind, CmwError> {
    let name = media.strip_prefix(MEDIA_TYPE).ok_or_else(|| malformed("another media type"))?;
    name.parse().map_err(|error: String| malformed(&error))
}

pub(crate) fn malformed(why: &str) -> CmwError {
    CmwError(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> [Evidence; 2] {
        let bare = Evidence::bare(TeeKind::SevSnp, vec![1, 2, 3]);
        [bare.clone(), bare.with(Aux::Certificates, b"pem".to_vec()).with(Aux::UvmEndorsement, vec![0; 40])]
    }

    #[test]
    fn evidence_survives_both_forms() {
        for evidence in samples() {
            assert_eq!(from_json(&to_json(&evidence)).unwrap(), evidence);
            assert_eq!(from_cbor(&to_cbor(&evidence)).unwrap(), evidence);
            let cbor = to_cbor(&evidence);
            assert!(from_cbor(&[&cbor[..], &[0]].concat()).is_err());
            assert!((0..cbor.len()).all(|len| from_cbor(&cbor[..len]).is_err()));
        }
    }

    #[test]
    fn the_json_form_is_fixed() {
        let [bare, collection] = samples();
        assert_eq!(to_json(&bare).to_string(), r#"["application/vnd.coco.evidence.sev_snp","AQID"]"#);
        assert_eq!(to_json(&collection)["certificates"][1], "cGVt");
    }

    #[test]
    fn unknown_kinds_parts_and_shapes_are_refused() {
        for text in [
            "null",
            "[]",
            r#"["application/vnd.coco.evidence.tpm9","AQID"]"#,
            r#"["application/vnd.coco.evidence.tdx","A Q"]"#,
            r#"["application/vnd.coco.evidence.tdx","AQID",1]"#,
            r#"{"__cmwc_t":"tag:coco,2026:evidence"}"#,
            r#"{"__cmwc_t":"tag:coco,2026:evidence","evidence":["application/vnd.coco.evidence.tdx","AQID"],"x":["a","AQID"]}"#,
            r#"{"evidence":["application/vnd.coco.evidence.tdx","AQID"]}"#,
        ] {
            assert!(from_json(&serde_json::from_str(text).unwrap()).is_err(), "{text}");
        }
    }
}
