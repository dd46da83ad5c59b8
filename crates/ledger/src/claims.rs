//! What a transaction claims in its leaf: its protocol's own id and result, salted so that nobody can guess and confirm it.

use coco_crypto::{cbor, sha256};
use coco_types::Digest;
use minicbor::{Decoder, Encoder};

use crate::Error;

/// A deterministic CBOR map {0: salt, 1: protocol, 2: kind, 3: id, 4: result, 5: [hash, number]}. The receipt's holder gets
/// the map; the leaf has its SHA-256.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// From [`EntryKeys::claims_salt`](crate::EntryKeys::claims_salt).
    pub salt: [u8; 32],
    pub protocol: String,
    /// What was done, in the protocol's words.
    pub kind: String,
    /// The protocol's own id: Ethereum transaction hash, Sawtooth batch id.
    pub id: Vec<u8>,
    pub result: Digest,
    pub container: Option<Container>,
}

/// The block that holds the transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Container {
    pub hash: Digest,
    pub number: u64,
}

impl Claims {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128 + self.protocol.len() + self.kind.len() + self.id.len());
        let mut e = Encoder::new(&mut bytes);
        let ok = "a vector takes any bytes";
        e.map(5 + u64::from(self.container.is_some())).expect(ok);
        e.u8(0).expect(ok).bytes(&self.salt).expect(ok);
        e.u8(1).expect(ok).str(&self.protocol).expect(ok);
        e.u8(2).expect(ok).str(&self.kind).expect(ok);
        e.u8(3).expect(ok).bytes(&self.id).expect(ok);
        e.u8(4).expect(ok).bytes(self.result.as_bytes()).expect(ok);
        if let Some(container) = &self.container {
            e.u8(5).expect(ok).array(2).expect(ok);
            e.bytes(container.hash.as_bytes()).expect(ok).u64(container.number).expect(ok);
        }
        bytes
    }

    /// Accepts exactly what [`Claims::encode`] gives.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        cbor::check_deterministic(bytes).map_err(|_| malformed("not deterministic CBOR"))?;
        let claims = Self::decode_map(&mut Decoder::new(bytes)).map_err(|_| malformed("not a claims map"))?;
        if claims.encode() == bytes { Ok(claims) } else { Err(malformed("not a claims map")) }
    }

    /// What the leaf holds.
    pub fn digest(&self) -> Digest {
        sha256(&self.encode())
    }

    fn decode_map(d: &mut Decoder<'_>) -> Result<Self, minicbor::decode::Error> {
        let pairs = d.map()?;
        let salt = bytes_at(d, 0)?;
        d.u8()?;
        let protocol = d.str()?.to_owned();
        d.u8()?;
        let kind = d.str()?.to_owned();
        d.u8()?;
        let id = d.bytes()?.to_vec();
        let result = Digest(bytes_at(d, 4)?);
        let container = if pairs == Some(6) {
            d.u8()?;
            d.array()?;
            let hash = Digest::try_from(d.bytes()?).map_err(minicbor::decode::Error::custom)?;
            Some(Container { hash, number: d.u64()? })
        } else {
            None
        };
        Ok(Self { salt, protocol, kind, id, result, container })
    }
}

/// A label, then 32 bytes. That the label is right is seen when the map is encoded again.
fn bytes_at(d: &mut Decoder<'_>, label: u8) -> Result<[u8; 32], minicbor::decode::Error> {
    if d.u8()? != label {
        return Err(minicbor::decode::Error::message("unexpected label"));
    }
    d.bytes()?.try_into().map_err(minicbor::decode::Error::custom)
}

fn malformed(why: &'static str) -> Error {
    Error::MalformedClaims { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(container: Option<Container>) -> Claims {
        Claims {
            salt: [1; 32],
            protocol: "ethereum".to_owned(),
            kind: "transaction".to_owned(),
            id: vec![2; 32],
            result: Digest([3; 32]),
            container,
        }
    }

    #[test]
    fn claims_survive_their_encoding_and_every_other_form_is_refused() {
        for container in [None, Some(Container { hash: Digest([4; 32]), number: 300 })] {
            let claims = claims(container);
            let bytes = claims.encode();
            assert_eq!(Claims::decode(&bytes).unwrap(), claims);
            assert!(Claims::decode(&[&bytes[..], &[0]].concat()).is_err());
            for at in 0..bytes.len() {
                assert!(Claims::decode(&bytes[..at]).is_err());
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert!(Claims::decode(&changed).ok().as_ref() != Some(&claims), "byte {at}");
            }
        }
    }
}
