//! COSE_Sign1 (RFC 9052 §4.2): its frame and what is signed. What headers mean is their users' business.
//!
//! Protected headers are kept as the bytes that were signed and never re-encoded, else the signature breaks.

use minicbor::data::Tag;
use minicbor::{Decoder, Encoder};

use crate::{Crypto, Curve, Error, Hash, PublicKey, Scheme, SigningKey};

/// Header labels (RFC 9052 §3.1, RFC 9597 for the CWT claims).
pub const LABEL_ALG: i64 = 1;
pub const LABEL_CRITICAL: i64 = 2;
pub const LABEL_CONTENT_TYPE: i64 = 3;
pub const LABEL_KID: i64 = 4;
pub const LABEL_CWT_CLAIMS: i64 = 15;

const TAG_SIGN1: u64 = 18;

/// ES256 and ES384 (RFC 9053 §2.1).
pub fn algorithm(curve: Curve) -> i64 {
    match curve {
        Curve::P256 => -7,
        Curve::P384 => -35,
    }
}

/// What an algorithm's number says of a signature (RFC 9053 §2.1, RFC 8230 §2): ES256, ES384, ES512, PS256, PS384, PS512.
pub fn scheme(algorithm: i64) -> Option<Scheme> {
    match algorithm {
        -7 => Some(Scheme::EcdsaFixed(Hash::Sha256)),
        -35 => Some(Scheme::EcdsaFixed(Hash::Sha384)),
        -36 => Some(Scheme::EcdsaFixed(Hash::Sha512)),
        -37 => Some(Scheme::RsaPss(Hash::Sha256)),
        -38 => Some(Scheme::RsaPss(Hash::Sha384)),
        -39 => Some(Scheme::RsaPss(Hash::Sha512)),
        _ => None,
    }
}

/// A COSE_Sign1 message as it lies in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sign1<'a> {
    /// The encoded protected map.
    pub protected: &'a [u8],
    /// The encoded unprotected map.
    pub unprotected: &'a [u8],
    /// `None`: detached.
    pub payload: Option<&'a [u8]>,
    /// r then s.
    pub signature: &'a [u8],
}

impl<'a> Sign1<'a> {
    /// Reads a tagged message. The maps' content is not looked at.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut decoder = Decoder::new(bytes);
        let message = Self::decode_fields(&mut decoder).map_err(|_| malformed("not a tagged COSE_Sign1"))?;
        if decoder.position() != bytes.len() {
            return Err(malformed("bytes after the message"));
        }
        message.ok_or(malformed("not a tagged COSE_Sign1"))
    }

    /// Reads a message without its tag, as some issuers leave it out.
    pub fn decode_untagged(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut decoder = Decoder::new(bytes);
        let message = Self::decode_array(&mut decoder).map_err(|_| malformed("not a COSE_Sign1"))?;
        if decoder.position() != bytes.len() {
            return Err(malformed("bytes after the message"));
        }
        message.ok_or(malformed("not a COSE_Sign1"))
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.protected.len() + self.unprotected.len() + self.signature.len() + 32);
        let mut encoder = Encoder::new(&mut bytes);
        let ok = "a vector takes any bytes";
        encoder.tag(Tag::new(TAG_SIGN1)).expect(ok).array(4).expect(ok).bytes(self.protected).expect(ok);
        encoder.writer_mut().extend_from_slice(self.unprotected);
        match self.payload {
            Some(payload) => encoder.bytes(payload).expect(ok),
            None => encoder.null().expect(ok),
        };
        encoder.bytes(self.signature).expect(ok);
        bytes
    }

    /// Checks the signature; `detached` is the payload of a message that carries none.
    pub fn verify(&self, key: &PublicKey, detached: Option<&[u8]>) -> Result<(), Error> {
        let payload = match (self.payload, detached) {
            (Some(payload), None) | (None, Some(payload)) => payload,
            _ => return Err(malformed("the payload is neither attached nor given, or both")),
        };
        key.verify_fixed(&to_be_signed(self.protected, payload), self.signature)
    }

    fn decode_fields(decoder: &mut Decoder<'a>) -> Result<Option<Self>, minicbor::decode::Error> {
        if decoder.tag()?.as_u64() != TAG_SIGN1 {
            return Ok(None);
        }
        Self::decode_array(decoder)
    }

    fn decode_array(decoder: &mut Decoder<'a>) -> Result<Option<Self>, minicbor::decode::Error> {
        if decoder.array()? != Some(4) {
            return Ok(None);
        }
        let protected = decoder.bytes()?;
        let start = decoder.position();
        decoder.skip()?;
        let unprotected = decoder.input().get(start..decoder.position()).unwrap_or_default();
        let payload = match decoder.datatype()? {
            minicbor::data::Type::Null => decoder.null().map(|()| None)?,
            _ => Some(decoder.bytes()?),
        };
        let signature = decoder.bytes()?;
        Ok(Some(Self { protected, unprotected, payload, signature }))
    }
}

/// Signs `payload` under an encoded protected map; gives the fixed form of the signature.
pub fn sign(crypto: &dyn Crypto, key: &SigningKey, protected: &[u8], payload: &[u8]) -> Vec<u8> {
    key.sign(crypto, &to_be_signed(protected, payload)).fixed().to_vec()
}

/// What a signature covers: Sig_structure (RFC 9052 §4.4) without external data.
pub fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(protected.len() + payload.len() + 32);
    let mut encoder = Encoder::new(&mut bytes);
    let ok = "a vector takes any bytes";
    encoder.array(4).expect(ok).str("Signature1").expect(ok);
    encoder.bytes(protected).expect(ok).bytes(&[]).expect(ok).bytes(payload).expect(ok);
    bytes
}

fn malformed(why: &'static str) -> Error {
    Error::MalformedCose { why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededCrypto;

    #[test]
    fn a_message_verifies_attached_and_detached_until_a_signed_byte_changes() {
        let crypto = SeededCrypto::new(1);
        let key = SigningKey::generate(&crypto, Curve::P384);
        let protected = [0xa1, 0x01, 0x38, 0x22];
        let signature = sign(&crypto, &key, &protected, b"payload");
        let detached = Sign1 { protected: &protected, unprotected: &[0xa0], payload: None, signature: &signature };
        let attached = Sign1 { payload: Some(b"payload"), ..detached };
        let public = key.public_key();
        for message in [detached, attached] {
            let bytes = message.encode();
            assert_eq!(Sign1::decode(&bytes), Ok(message));
            assert!(Sign1::decode(&bytes[..bytes.len() - 1]).is_err());
            assert!(Sign1::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
        detached.verify(public, Some(b"payload")).unwrap();
        attached.verify(public, None).unwrap();
        assert_eq!(detached.verify(public, Some(b"payloaf")), Err(Error::BadSignature));
        assert!(detached.verify(public, None).is_err());
        assert!(attached.verify(public, Some(b"payload")).is_err());
        let other_header = Sign1 { protected: &[0xa1, 0x01, 0x38, 0x23], ..attached };
        assert_eq!(other_header.verify(public, None), Err(Error::BadSignature));
    }

    #[test]
    fn anything_but_a_tagged_message_of_four_fields_is_refused() {
        for text in ["", "80", "d28340a0f6", "d18440a0f640", "8440a0f640", "d28440a0f6", "d29f40a0f640ff"] {
            assert!(Sign1::decode(&hex::decode(text).unwrap()).is_err(), "{text}");
        }
    }
}
