//! `ccf.crypto`: hashes, signatures, keys, and keys under keys.
//!
//! Whoever audits a decision makes it again. So `validate`, `resolve` and ballots have what depends on its arguments alone: checks, conversions,
//! unwrapping, signatures by EdDSA, HMAC and RSA PKCS #1. What draws randomness is for `apply`, which no audit repeats where it asks for
//! `Math.random` either, and for applications, which run once. All of it is paid for ahead.

use std::rc::Rc;

use coco_crypto::guest::{
    AesKey, EcCurve, EcKeyPair, EcPublicKey, OkpCurve, OkpKeyPair, OkpPublicKey, RSA_BITS_MAX, RsaKeyPair, RsaPadding,
    oaep_unwrap, oaep_wrap, rsa_aes_unwrap, rsa_aes_wrap,
};
use coco_crypto::{ForeignCertificate, ForeignKey, Hash, Scheme, constant_time_eq, decode_pem, hmac};
use rquickjs::{ArrayBuffer, Ctx, Exception, Object, Result};
use serde::Deserialize;

use super::access::Role;
use super::budget::{Budget, STEP_BYTES};
use super::host::{Binary, add, pay};

/// Reading a key, for each byte.
const KEY_COST: usize = 16;
/// Steps of one operation on an elliptic curve, and of one with an RSA public key.
const CURVE_STEPS: usize = 4;
const RSA_PUBLIC_STEPS: usize = 2;
/// Of one with an RSA private key of 1,024 bits: it takes eight times as long for twice as many.
const RSA_PRIVATE_STEPS: usize = 1;
const RSA_EXPONENT: f64 = 65_537.0;

/// CCF's, and Web Crypto's, description of what is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Algorithm {
    name: String,
    hash: Option<String>,
    salt_length: Option<f64>,
    aes_key_size: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Signing {
    Ecdsa(Hash),
    Rsa(RsaPadding, Hash),
    EdDsa,
    Hmac(Hash),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrapping {
    RsaOaep,
    AesKwp,
    RsaOaepAesKwp,
}

pub(crate) fn natives<'js>(ctx: &Ctx<'js>, to: &Object<'js>, budget: &Rc<Budget>, role: Role) -> Result<()> {
    let b = budget.clone();
    add(ctx, to, "digest", move |ctx: Ctx<'js>, name: String, data: Binary| -> Result<ArrayBuffer<'js>> {
        pay(&ctx, &b, data.0.len())?;
        let hash =
            known_hash(&name).ok_or_else(|| Exception::throw_type(&ctx, &format!("there is no digest {name}")))?;
        ArrayBuffer::new_copy(ctx, hash.of(&data.0))
    })?;
    signatures(ctx, to, budget, role)?;
    keys(ctx, to, budget, role)?;
    wrapping(ctx, to, budget, role)
}

fn signatures<'js>(ctx: &Ctx<'js>, to: &Object<'js>, budget: &Rc<Budget>, role: Role) -> Result<()> {
    let b = budget.clone();
    add(
        ctx,
        to,
        "sign",
        move |ctx: Ctx<'js>, algorithm: String, key: Binary, data: Binary| -> Result<ArrayBuffer<'js>> {
            pay(&ctx, &b, key.0.len() * KEY_COST + data.0.len())?;
            let algorithm = Algorithm::read(&ctx, &algorithm)?;
            let signature = sign(&ctx, &b, role, &algorithm, &key.0, &data.0)?;
            ArrayBuffer::new_copy(ctx, signature)
        },
    )?;
    let b = budget.clone();
    add(
        ctx,
        to,
        "verifySignature",
        move |ctx: Ctx<'js>, algorithm: String, key: Binary, signature: Binary, data: Binary| -> Result<bool> {
            pay(&ctx, &b, key.0.len() * KEY_COST + data.0.len())?;
            let algorithm = Algorithm::read(&ctx, &algorithm)?;
            verify(&ctx, &b, &algorithm, &key.0, &signature.0, &data.0)
        },
    )
}

fn keys<'js>(ctx: &Ctx<'js>, to: &Object<'js>, budget: &Rc<Budget>, role: Role) -> Result<()> {
    let b = budget.clone();
    add(ctx, to, "generateAesKey", move |ctx: Ctx<'js>, bits: f64| -> Result<ArrayBuffer<'js>> {
        needs_randomness(&ctx, role, "generateAesKey")?;
        pay(&ctx, &b, KEY_COST)?;
        let key = AesKey::generate(whole(bits)).map_err(|error| out_of_range(&ctx, &error))?;
        ArrayBuffer::new_copy(ctx.clone(), key.expose())
    })?;
    let b = budget.clone();
    add(ctx, to, "generateRsaKeyPair", move |ctx: Ctx<'js>, bits: f64, exponent: f64| -> Result<Object<'js>> {
        needs_randomness(&ctx, role, "generateRsaKeyPair")?;
        if exponent != RSA_EXPONENT {
            return Err(Exception::throw_range(&ctx, "generateRsaKeyPair: the exponent is 65537"));
        }
        pay(&ctx, &b, generation_steps(whole(bits)) * STEP_BYTES)?;
        let pair = RsaKeyPair::generate(whole(bits)).map_err(|error| out_of_range(&ctx, &error))?;
        let public = pair.public_key().map_err(|error| unusable(&ctx, &error))?;
        key_pair(&ctx, &pair.to_pem(), &coco_crypto::encode_pem("PUBLIC KEY", public.spki_der()))
    })?;
    let b = budget.clone();
    add(ctx, to, "generateEcdsaKeyPair", move |ctx: Ctx<'js>, curve: String| -> Result<Object<'js>> {
        needs_randomness(&ctx, role, "generateEcdsaKeyPair")?;
        pay(&ctx, &b, CURVE_STEPS * STEP_BYTES)?;
        let known = EcCurve::ALL.into_iter().find(|known| known.name() == curve);
        let known = known.ok_or_else(|| unknown_curve(&ctx, &curve, &EcCurve::ALL.map(EcCurve::name)))?;
        let pair = EcKeyPair::generate(known).map_err(|error| unusable(&ctx, &error))?;
        key_pair(&ctx, &pair.to_pem(), &pair.public_key().to_pem())
    })?;
    let b = budget.clone();
    add(ctx, to, "generateEddsaKeyPair", move |ctx: Ctx<'js>, curve: String| -> Result<Object<'js>> {
        needs_randomness(&ctx, role, "generateEddsaKeyPair")?;
        pay(&ctx, &b, CURVE_STEPS * STEP_BYTES)?;
        let known = OkpCurve::ALL.into_iter().find(|known| known.name() == curve);
        let known = known.ok_or_else(|| unknown_curve(&ctx, &curve, &OkpCurve::ALL.map(OkpCurve::name)))?;
        let pair = OkpKeyPair::generate(known).map_err(|error| unusable(&ctx, &error))?;
        key_pair(&ctx, &pair.to_pem(), &pair.public_key().to_pem())
    })
}

fn wrapping<'js>(ctx: &Ctx<'js>, to: &Object<'js>, budget: &Rc<Budget>, role: Role) -> Result<()> {
    let b = budget.clone();
    add(
        ctx,
        to,
        "wrapKey",
        move |ctx: Ctx<'js>, algorithm: String, key: Binary, by: Binary, label: Binary| -> Result<ArrayBuffer<'js>> {
            pay(&ctx, &b, (by.0.len() + key.0.len() + label.0.len()) * KEY_COST)?;
            let algorithm = Algorithm::read(&ctx, &algorithm)?;
            let wrapping = algorithm.wrapping(&ctx)?;
            if wrapping != Wrapping::AesKwp {
                needs_randomness(&ctx, role, &format!("wrapKey by {}", algorithm.name))?;
                pay(&ctx, &b, RSA_PUBLIC_STEPS * STEP_BYTES)?;
            }
            let aes_bits = whole(algorithm.aes_key_size.unwrap_or_default());
            let wrapped = match wrapping {
                Wrapping::AesKwp => AesKey::from_bytes(&by.0).wrap(&key.0),
                Wrapping::RsaOaep => oaep_wrap(&key.0, &text_of(&by.0), &label.0),
                Wrapping::RsaOaepAesKwp => rsa_aes_wrap(&key.0, &text_of(&by.0), aes_bits, &label.0),
            };
            ArrayBuffer::new_copy(ctx.clone(), wrapped.map_err(|error| unusable(&ctx, &error))?)
        },
    )?;
    let b = budget.clone();
    add(
        ctx,
        to,
        "unwrapKey",
        move |ctx: Ctx<'js>,
              algorithm: String,
              wrapped: Binary,
              by: Binary,
              label: Binary|
              -> Result<ArrayBuffer<'js>> {
            pay(&ctx, &b, (by.0.len() + wrapped.0.len() + label.0.len()) * KEY_COST)?;
            let wrapping = Algorithm::read(&ctx, &algorithm)?.wrapping(&ctx)?;
            if wrapping != Wrapping::AesKwp {
                pay(&ctx, &b, private_steps(bits_at_most(&by.0)) * STEP_BYTES)?;
            }
            let key = match wrapping {
                Wrapping::AesKwp => AesKey::from_bytes(&by.0).unwrap(&wrapped.0),
                Wrapping::RsaOaep => oaep_unwrap(&wrapped.0, &text_of(&by.0), &label.0),
                Wrapping::RsaOaepAesKwp => rsa_aes_unwrap(&wrapped.0, &text_of(&by.0), &label.0),
            };
            let key = key.map_err(|error| unusable(&ctx, &error))?;
            ArrayBuffer::new_copy(ctx.clone(), &*key)
        },
    )
}

fn sign(ctx: &Ctx<'_>, budget: &Budget, role: Role, algorithm: &Algorithm, key: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    let signing = algorithm.signing(ctx)?;
    if matches!(signing, Signing::Ecdsa(_) | Signing::Rsa(RsaPadding::Pss, _)) {
        needs_randomness(ctx, role, &format!("sign by {}", algorithm.name))?;
    }
    let failed = |error: coco_crypto::Error| unusable(ctx, &error);
    let text = text_of(key);
    pay(ctx, budget, signing.steps(bits_at_most(key)) * STEP_BYTES)?;
    match signing {
        Signing::Ecdsa(hash) => EcKeyPair::from_pem(&text).and_then(|pair| pair.sign(hash, data)).map_err(failed),
        Signing::EdDsa => OkpKeyPair::from_pem(&text).and_then(|pair| pair.sign(data)).map_err(failed),
        Signing::Rsa(padding, hash) => {
            RsaKeyPair::from_pem(&text).and_then(|pair| pair.sign(padding, hash, data)).map_err(failed)
        }
        Signing::Hmac(hash) => Ok(hmac(hash, key, data)),
    }
}

fn verify(
    ctx: &Ctx<'_>,
    budget: &Budget,
    algorithm: &Algorithm,
    key: &[u8],
    signature: &[u8],
    data: &[u8],
) -> Result<bool> {
    let signing = algorithm.signing(ctx)?;
    if let Signing::Hmac(hash) = signing {
        return Ok(constant_time_eq(&hmac(hash, key, data), signature));
    }
    let steps = if matches!(signing, Signing::Rsa(..)) { RSA_PUBLIC_STEPS } else { CURVE_STEPS };
    pay(ctx, budget, steps * STEP_BYTES)?;
    let failed = |error: coco_crypto::Error| unusable(ctx, &error);
    let spki = public_key(&text_of(key)).map_err(failed)?;
    let verified = match signing {
        Signing::Ecdsa(hash) => EcPublicKey::from_spki_der(&spki).map_err(failed)?.verify(hash, data, signature),
        Signing::Rsa(padding, hash) => {
            let key = ForeignKey::from_spki_der(&spki).map_err(failed)?;
            let scheme = match padding {
                RsaPadding::Pkcs1 => Scheme::RsaPkcs1(hash),
                RsaPadding::Pss => Scheme::RsaPss(hash),
            };
            if !key.fits(scheme) {
                return Err(unusable(ctx, &coco_crypto::Error::MalformedForeignKey));
            }
            key.verify(scheme, data, signature)
        }
        Signing::EdDsa | Signing::Hmac(_) => {
            OkpPublicKey::from_spki_der(&spki).map_err(failed)?.verify(data, signature)
        }
    };
    match verified {
        Ok(()) => Ok(true),
        Err(coco_crypto::Error::BadSignature) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

impl Algorithm {
    fn read(ctx: &Ctx<'_>, json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Exception::throw_type(ctx, &format!("the algorithm: {error}")))
    }

    fn signing(&self, ctx: &Ctx<'_>) -> Result<Signing> {
        match self.name.as_str() {
            "EdDSA" => Ok(Signing::EdDsa),
            "ECDSA" => self.hash(ctx).map(Signing::Ecdsa),
            "HMAC" => self.hash(ctx).map(Signing::Hmac),
            "RSASSA-PKCS1-v1_5" => Ok(Signing::Rsa(RsaPadding::Pkcs1, self.hash(ctx)?)),
            "RSA-PSS" => {
                let hash = self.hash(ctx)?;
                // The backend knows no other.
                let length = hash.bytes();
                if self.salt_length.is_none_or(|given| whole(given) != length) {
                    return Err(Exception::throw_range(
                        ctx,
                        &format!("RSA-PSS: saltLength is the hash's length, {length}"),
                    ));
                }
                Ok(Signing::Rsa(RsaPadding::Pss, hash))
            }
            name => {
                const KNOWN: &str = "ECDSA, EdDSA, RSA-PSS, RSASSA-PKCS1-v1_5, HMAC";
                Err(Exception::throw_range(ctx, &format!("signatures by {name} are not known here, but by {KNOWN}")))
            }
        }
    }

    fn wrapping(&self, ctx: &Ctx<'_>) -> Result<Wrapping> {
        match self.name.as_str() {
            "RSA-OAEP" => Ok(Wrapping::RsaOaep),
            "AES-KWP" => Ok(Wrapping::AesKwp),
            "RSA-OAEP-AES-KWP" => Ok(Wrapping::RsaOaepAesKwp),
            name => {
                const KNOWN: &str = "RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP";
                Err(Exception::throw_range(ctx, &format!("wrapping by {name} is not known here, but by {KNOWN}")))
            }
        }
    }

    fn hash(&self, ctx: &Ctx<'_>) -> Result<Hash> {
        let name = self.hash.as_deref().unwrap_or("undefined");
        let unknown = || format!("the hash {name} is not known here, but SHA-256, SHA-384, SHA-512");
        known_hash(name).ok_or_else(|| Exception::throw_range(ctx, &unknown()))
    }
}

impl Signing {
    /// Of making one with an RSA key of so many bits, or with any other.
    fn steps(self, rsa_bits: usize) -> usize {
        match self {
            Self::Ecdsa(_) | Self::EdDsa => CURVE_STEPS,
            Self::Rsa(..) => private_steps(rsa_bits),
            Self::Hmac(_) => 0,
        }
    }
}

fn known_hash(name: &str) -> Option<Hash> {
    match name {
        "SHA-256" => Some(Hash::Sha256),
        "SHA-384" => Some(Hash::Sha384),
        "SHA-512" => Some(Hash::Sha512),
        _ => None,
    }
}

/// The SubjectPublicKeyInfo of a key or certificate in PEM.
fn public_key(pem: &str) -> std::result::Result<Vec<u8>, coco_crypto::Error> {
    if pem.trim_start().starts_with("-----BEGIN CERTIFICATE") {
        return Ok(ForeignCertificate::from_pem(pem)?.key().spki_der().to_vec());
    }
    decode_pem("PUBLIC KEY", pem)
}

fn key_pair<'js>(ctx: &Ctx<'js>, private: &str, public: &str) -> Result<Object<'js>> {
    let pair = Object::new(ctx.clone())?;
    pair.set("privateKey", private)?;
    pair.set("publicKey", public)?;
    Ok(pair)
}

fn needs_randomness(ctx: &Ctx<'_>, role: Role, what: &str) -> Result<()> {
    if role == Role::Read {
        return Err(Exception::throw_type(ctx, &format!("{what} is not available here: decisions must replay")));
    }
    Ok(())
}

/// The most bits that the modulus of a private key in PEM can have: six characters for each byte of it.
fn bits_at_most(pem: &[u8]) -> usize {
    (pem.len() * 8 / 6).min(RSA_BITS_MAX)
}

fn private_steps(bits: usize) -> usize {
    RSA_PRIVATE_STEPS + RSA_PRIVATE_STEPS * bits.pow(3) / 1024_usize.pow(3)
}

/// On average; it may be several times as long.
fn generation_steps(bits: usize) -> usize {
    match bits {
        0..=2048 => 1_000,
        2049..=3072 => 4_000,
        _ => 12_000,
    }
}

fn text_of(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A number of a script that is no whole one, or no number, becomes one that nothing has.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> usize {
    if number.fract() == 0.0 && (0.0..1e6).contains(&number) { number as usize } else { 0 }
}

fn unusable(ctx: &Ctx<'_>, error: &coco_crypto::Error) -> rquickjs::Error {
    Exception::throw_type(ctx, &error.to_string())
}

fn out_of_range(ctx: &Ctx<'_>, error: &coco_crypto::Error) -> rquickjs::Error {
    Exception::throw_range(ctx, &error.to_string())
}

fn unknown_curve(ctx: &Ctx<'_>, curve: &str, known: &[&str]) -> rquickjs::Error {
    Exception::throw_range(ctx, &format!("the curve {curve} is not known here, but {}", known.join(", ")))
}

#[cfg(test)]
mod tests;
