//! Signatures over headers: ECDSA on secp256k1 over SHA-256, written as 128 hex digits, which are the id of what was signed.
//!
//! Only the one canonical form of a signature and of a key is taken. The original also takes upper-case hex, which gives one and
//! the same transaction a second id.

use bytes::Bytes;
use coco_crypto::sha256;
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};

use crate::address::is_id;

/// Whether `id` is the signature of `header` by `public_key`.
pub fn verify(header: &[u8], id: &str, public_key: &str) -> bool {
    let mut signature = [0; 64];
    let Some(key) = parse_key(public_key) else { return false };
    if !is_id(id) || hex::decode_to_slice(id, &mut signature).is_err() {
        return false;
    }
    // The library takes low-S signatures only.
    let message = Message::from_digest(sha256(header).0);
    Signature::from_compact(&signature)
        .is_ok_and(|signature| SECP256K1.verify_ecdsa(&message, &signature, &key).is_ok())
}

pub fn is_public_key(text: &str) -> bool {
    parse_key(text).is_some()
}

/// 66 lower-case hex digits: a compressed point.
fn parse_key(text: &str) -> Option<PublicKey> {
    let mut bytes = [0; 33];
    let is_canonical = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_canonical || hex::decode_to_slice(text, &mut bytes).is_err() {
        return None;
    }
    PublicKey::from_slice(&bytes).ok()
}

/// The key that signs blocks: one for the whole service, so that the signer does not change with the primary. There is a new one in each epoch of
/// the ledger, since whoever is shown an epoch that has ended sees the key that was written in it.
pub struct SignerKey {
    key: SecretKey,
    public_hex: String,
}

impl SignerKey {
    /// `None` for the few byte strings that are no key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let key = SecretKey::from_byte_array(bytes).ok()?;
        let public_hex = hex::encode(key.public_key(SECP256K1).serialize());
        Some(Self { key, public_hex })
    }

    pub fn public_hex(&self) -> &str {
        &self.public_hex
    }

    /// The signature of a header, which is its id.
    pub fn sign(&self, header: &[u8]) -> String {
        let signature = SECP256K1.sign_ecdsa(&Message::from_digest(sha256(header).0), &self.key);
        hex::encode(signature.serialize_compact())
    }

    /// For deriving what only this network's nodes know.
    pub fn secret(&self) -> [u8; 32] {
        self.key.secret_bytes()
    }

    /// For the ledger's sealed map.
    pub fn secret_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.key.secret_bytes())
    }
}

impl Drop for SignerKey {
    fn drop(&mut self) {
        self.key.non_secure_erase();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_original() {
        let key = SignerKey::from_bytes(&[1; 32]).unwrap();
        assert_eq!(key.public_hex(), "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f");
        let id = key.sign(b"hello");
        assert_eq!(
            id,
            "d13b19c8baa53851839efe1fe790b6f6d51028400902bb79d2fa50c65295e0ed\
             697d0a44907237350d71ab31d6adbc973749cf2c2d1f4096b765c65be58cfca9"
        );
        assert!(verify(b"hello", &id, key.public_hex()));
        assert!(!verify(b"hallo", &id, key.public_hex()));
        assert!(!verify(b"hello", &id.to_uppercase(), key.public_hex()));
        assert!(!verify(b"hello", &id, &key.public_hex().to_uppercase()));
    }

    #[test]
    fn the_high_twin_of_a_signature_is_refused() {
        let key = SignerKey::from_bytes(&[1; 32]).unwrap();
        let signature = hex::decode(key.sign(b"hello")).unwrap();
        let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap();
        let mut borrow = 0i16;
        let mut high = signature.clone();
        for place in (0..32).rev() {
            let digit = i16::from(order[place]) - i16::from(signature[32 + place]) - borrow;
            borrow = i16::from(digit < 0);
            high[32 + place] = digit.rem_euclid(256) as u8;
        }
        assert!(!verify(b"hello", &hex::encode(high), key.public_hex()));
    }
}
