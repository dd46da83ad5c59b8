//! Keys of guest code: constitutions and applications make them, hold them as texts and use them, as CCF's `ccf.crypto` has it. Coco's own are
//! [`crate::SigningKey`] and [`crate::PublicKey`], and nothing that nodes or members sign goes through here.
//!
//! Keys travel in PEM (PKCS#8, SubjectPublicKeyInfo) or by their components, big-endian. They are made with the system's randomness and not through
//! a [`crate::Crypto`] that somebody brings, as are ECDSA and RSA-PSS signatures and RSA-OAEP's padding: no seed replays them. Where that may not be is for
//! the caller to say.

mod ec;
mod okp;
mod rsa;
mod wrap;

pub use ec::{EcCurve, EcKeyPair, EcPublicKey};
pub use okp::{OkpCurve, OkpKeyPair, OkpPublicKey};
pub use rsa::{RSA_BITS_MAX, RSA_BITS_MIN, RsaComponents, RsaKeyPair, RsaPadding};
pub use wrap::{AES_KEY_BITS, AesKey, oaep_unwrap, oaep_wrap, rsa_aes_unwrap, rsa_aes_wrap};

use zeroize::Zeroizing;

use crate::{Error, decode_pem, encode_pem};

const PRIVATE_KEY: &str = "PRIVATE KEY";
const PUBLIC_KEY: &str = "PUBLIC KEY";

/// The DER of a private key: PKCS#8, or the older form of its kind.
fn private_der(text: &str, older: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    decode_pem(PRIVATE_KEY, text).or_else(|_| decode_pem(older, text)).map(Zeroizing::new)
}

fn private_pem(pkcs8: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(encode_pem(PRIVATE_KEY, pkcs8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;

    #[test]
    fn a_key_is_the_same_in_each_of_its_forms_and_of_one_kind_only() {
        for curve in EcCurve::ALL {
            let pair = EcKeyPair::generate(curve).unwrap();
            let public = pair.public_key();
            let (x, y) = public.coordinates();
            let again = EcKeyPair::from_components(curve, &pair.scalar(), x, y).unwrap();
            let signature = EcKeyPair::from_pem(&again.to_pem()).unwrap().sign(Hash::Sha384, b"message").unwrap();
            assert_eq!(signature.len(), 2 * curve.bytes());
            assert_eq!(EcPublicKey::from_pem(&public.to_pem()).unwrap(), public);
            public.verify(Hash::Sha384, b"message", &signature).unwrap();
            assert_eq!(public.verify(Hash::Sha512, b"message", &signature), Err(Error::BadSignature));
            assert!(EcKeyPair::from_components(curve, &pair.scalar(), y, x).is_err());
            assert!(EcPublicKey::from_coordinates(curve, &x[1..], y).is_err());
            assert!(EcPublicKey::from_pem(&pair.to_pem()).is_err() && EcKeyPair::from_pem(&public.to_pem()).is_err());
            assert!(RsaKeyPair::from_pem(&pair.to_pem()).is_err() && OkpKeyPair::from_pem(&pair.to_pem()).is_err());
        }
        for curve in OkpCurve::ALL {
            let pair = OkpKeyPair::generate(curve).unwrap();
            let public = pair.public_key();
            assert_eq!(OkpKeyPair::from_pem(&pair.to_pem()).unwrap().public_key(), public);
            assert_eq!(&OkpPublicKey::from_pem(&public.to_pem()).unwrap(), public);
            assert!(OkpKeyPair::from_components(curve, pair.secret(), public.bytes()).is_ok());
            assert!(OkpKeyPair::from_components(curve, pair.secret(), &[1; 32]).is_err());
            assert_eq!(pair.sign(b"message").is_ok(), curve == OkpCurve::Ed25519);
            assert!(EcKeyPair::from_pem(&pair.to_pem()).is_err());
        }
    }

    #[test]
    fn an_rsa_key_is_taken_by_its_numbers_if_they_belong_together() {
        let pair = RsaKeyPair::generate(2048).unwrap();
        let components = pair.components();
        let again = RsaKeyPair::from_components(&components).unwrap();
        assert_eq!((again.bits(), again.to_pem()), (2048, pair.to_pem()));
        assert_eq!(again.public_key().unwrap().rsa_numbers(), Some((components.n.clone(), components.e.clone())));
        let mut other = components.clone();
        other.d[17] ^= 1;
        assert!(RsaKeyPair::from_components(&other).is_err());
        other.d.clone_from(&components.d);
        other.q.clear();
        assert!(RsaKeyPair::from_components(&other).is_err());
        for bits in [0, 1024, 2049, 8192] {
            assert!(matches!(RsaKeyPair::generate(bits), Err(Error::UnsupportedKey { .. })));
        }
    }

    #[test]
    fn a_key_that_is_longer_than_any_is_not_looked_at() {
        let endless = crate::encode_pem("RSA PRIVATE KEY", &[0x30; 100_000]);
        assert!(matches!(RsaKeyPair::from_pem(&endless), Err(Error::UnsupportedKey { .. })));
    }

    /// As OpenSSL makes it (`id-aes256-wrap-pad`).
    #[test]
    fn wrapping_is_rfc_5649s() {
        let by = AesKey::from_bytes(&(0..32).collect::<Vec<_>>());
        let wrapped = by.wrap(b"a key to be wrapped").unwrap();
        assert_eq!(hex::encode(&wrapped), "0d1150ff47e3011da7deee55eb0c94f1928d80f398ed8b8aa8721f6440947c27");
        assert_eq!(by.unwrap(&wrapped).unwrap().as_slice(), b"a key to be wrapped");
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(by.unwrap(&changed).is_err() && by.unwrap(&wrapped[..at]).is_err());
        }
        assert!(AesKey::from_bytes(&[0; 24]).wrap(b"key").is_err());
    }
}
