//! A signed request in the making: the same headers, in the same order, as the tool `ccf_cose_sign1` writes.

use coco_crypto::cose::{self, Sign1};
use coco_crypto::{Crypto, Curve, SigningKey};
use minicbor::Encoder;

use crate::message::{HEADER_CREATED_AT, HEADER_PROPOSAL, HEADER_TYPE};

/// What a member is about to sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// The member's id, in hex.
    pub key_id: String,
    /// `proposal`, `ballot`, `withdrawal`, `ack`, `state_digest`.
    pub kind: String,
    pub proposal_id: Option<String>,
    /// Unix seconds.
    pub created_at: u64,
    pub payload: Vec<u8>,
}

impl Draft {
    pub fn sign(&self, crypto: &dyn Crypto, key: &SigningKey) -> Vec<u8> {
        let protected = self.protected(key.curve());
        let signature = cose::sign(crypto, key, &protected, &self.payload);
        self.with_signature(key.curve(), &signature)
    }

    /// What an external signer signs with the hash of the key's curve.
    pub fn to_be_signed(&self, curve: Curve) -> Vec<u8> {
        cose::to_be_signed(&self.protected(curve), &self.payload)
    }

    /// The message with a signature made elsewhere: r then s.
    pub fn with_signature(&self, curve: Curve, signature: &[u8]) -> Vec<u8> {
        let protected = self.protected(curve);
        Sign1 { protected: &protected, unprotected: &[0xa0], payload: Some(&self.payload), signature }.encode()
    }

    fn protected(&self, curve: Curve) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut e = Encoder::new(&mut bytes);
        let ok = "a vector takes any bytes";
        e.map(if self.proposal_id.is_some() { 5 } else { 4 }).expect(ok);
        e.i64(cose::LABEL_ALG).expect(ok).i64(cose::algorithm(curve)).expect(ok);
        e.i64(cose::LABEL_KID).expect(ok).bytes(self.key_id.as_bytes()).expect(ok);
        e.str(HEADER_TYPE).expect(ok).str(&self.kind).expect(ok);
        if let Some(proposal) = &self.proposal_id {
            e.str(HEADER_PROPOSAL).expect(ok).str(proposal).expect(ok);
        }
        e.str(HEADER_CREATED_AT).expect(ok).u64(self.created_at).expect(ok);
        bytes
    }
}
