//! Hashes, message authentication and key derivation.

use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use coco_types::Digest;

use crate::{Hash, SymmetricKey};

/// What a derived key or a hash is for. Two purposes never share one, so nothing made for one can be replayed as another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Domain(&'static str);

impl Domain {
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    pub fn as_str(&self) -> &'static str {
        self.0
    }
}

pub fn sha256(bytes: &[u8]) -> Digest {
    to_digest(digest::digest(&digest::SHA256, bytes))
}

/// Up to this length parts are put together before they are hashed: the backend allocates for a hash that is fed in pieces, which costs
/// more than hashing a leaf does.
const TOGETHER_BYTES_MAX: usize = 192;

/// The hash of the parts one after another, without anything between them.
pub fn sha256_of(parts: &[&[u8]]) -> Digest {
    let length = parts.iter().map(|part| part.len()).sum();
    if length <= TOGETHER_BYTES_MAX {
        let (mut together, mut end) = ([0; TOGETHER_BYTES_MAX], 0);
        for part in parts {
            together[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        return sha256(&together[..length]);
    }
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finish()
}

pub fn sha384(bytes: &[u8]) -> [u8; 48] {
    digest::digest(&digest::SHA384, bytes).as_ref().try_into().expect("SHA-384 gives 48 bytes")
}

pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    digest::digest(&digest::SHA512, bytes).as_ref().try_into().expect("SHA-512 gives 64 bytes")
}

/// SHA-256 of bytes that arrive in pieces.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> Digest {
        to_digest(self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// HMAC (RFC 2104) with this hash.
pub fn hmac(hash: Hash, key: &[u8], message: &[u8]) -> Vec<u8> {
    let algorithm = match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
}

pub fn hmac_sha256(key: &[u8], message: &[u8]) -> Digest {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    Digest(tag.as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes"))
}

/// An HMAC-SHA-256 key that was prepared once for many messages. The backend erases it when dropped.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    pub fn new(key: &SymmetricKey) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    pub fn tag(&self, message: &[u8]) -> Digest {
        Digest(hmac::sign(&self.0, message).as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes"))
    }
}

/// HKDF-SHA-256 (RFC 5869) without salt; `info` = domain, a zero byte, then `info`.
pub fn hkdf_sha256(secret: &SymmetricKey, domain: Domain, info: &[u8]) -> SymmetricKey {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret.expose());
    let mut key = SymmetricKey::zeroed();
    extracted
        .expand(&[domain.0.as_bytes(), &[0], info], hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(key.expose_mut()))
        .expect("32 bytes are within HKDF's range");
    key
}

/// Compares secrets without telling by its duration where they differ. The lengths are not secret.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn to_digest(digest: digest::Digest) -> Digest {
    Digest(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_match_the_published_vectors() {
        // FIPS 180-4, "abc".
        let sha256_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc").to_string(), sha256_abc);
        assert_eq!(sha256_of(&[b"a", b"", b"bc"]).to_string(), sha256_abc);
        let long = [7; TOGETHER_BYTES_MAX + 1];
        for length in [0, TOGETHER_BYTES_MAX, TOGETHER_BYTES_MAX + 1] {
            let (one, other) = long[..length].split_at(length / 3);
            assert_eq!(sha256_of(&[one, other]), sha256(&long[..length]));
        }
        assert!(hex::encode(sha384(b"abc")).starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"));
        assert!(hex::encode(sha512(b"abc")).starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"));
        // RFC 4231, test case 2.
        assert_eq!(
            hmac_sha256(b"Jefe", b"what do ya want for nothing?").to_string(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_prepared_key_gives_the_same_tags() {
        let key = SymmetricKey::from_bytes([7; 32]);
        assert_eq!(MacKey::new(&key).tag(b"message"), hmac_sha256(key.expose(), b"message"));
    }

    #[test]
    fn keys_for_two_purposes_or_two_infos_differ() {
        let secret = SymmetricKey::from_bytes([7; 32]);
        let derive = |domain, info: &[u8]| *hkdf_sha256(&secret, Domain::new(domain), info).expose();
        assert_ne!(derive("a", b"x"), derive("b", b"x"));
        assert_ne!(derive("a", b"x"), derive("a", b"y"));
        assert_ne!(derive("ab", b"c"), derive("a", b"bc"));
        assert_eq!(derive("a", b"x"), derive("a", b"x"));
    }

    #[test]
    fn comparison_looks_at_every_byte_and_at_the_length() {
        assert!(constant_time_eq(b"same", b"same"));
        assert!(!constant_time_eq(b"same", b"sama"));
        assert!(!constant_time_eq(b"same", b"sam"));
    }
}
