//! Keys between PEM and JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037).

use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_crypto::guest::{
    EcCurve, EcKeyPair, EcPublicKey, OkpCurve, OkpKeyPair, OkpPublicKey, RsaComponents, RsaKeyPair,
};
use coco_crypto::{ForeignKey, decode_pem, encode_pem};
use rquickjs::{Ctx, Exception, Object, Result};
use serde_json::{Map, Value};

use super::budget::{Budget, STEP_BYTES};
use super::host::{add, pay};

/// Reading a key, for each byte, and steps of checking that its parts belong together.
const KEY_COST: usize = 16;
const STEPS: usize = 8;

/// What is wrong with a key, in words for whoever wrote the script.
type Found<T> = std::result::Result<T, String>;

/// A key's members.
struct Jwk(Map<String, Value>);

/// The kinds that CCF's names tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Ec,
    Rsa,
    Okp,
}

pub(crate) fn natives<'js>(ctx: &Ctx<'js>, to: &Object<'js>, budget: &Rc<Budget>) -> Result<()> {
    let b = budget.clone();
    add(
        ctx,
        to,
        "toJwk",
        move |ctx: Ctx<'js>, kind: String, private: bool, pem: String, kid: Option<String>| -> Result<String> {
            pay(&ctx, &b, STEPS * STEP_BYTES + pem.len() * KEY_COST)?;
            let jwk = Kind::named(&kind).and_then(|kind| to_jwk(kind, private, &pem));
            let mut jwk = jwk.map_err(|problem| failed(&ctx, &problem))?;
            if let Some(kid) = kid {
                jwk.0.insert("kid".to_owned(), kid.into());
            }
            Ok(Value::Object(jwk.0).to_string())
        },
    )?;
    let b = budget.clone();
    add(ctx, to, "toPem", move |ctx: Ctx<'js>, kind: String, private: bool, jwk: String| -> Result<String> {
        pay(&ctx, &b, STEPS * STEP_BYTES + jwk.len() * KEY_COST)?;
        let jwk = Jwk::read(&jwk).map_err(|problem| failed(&ctx, &problem))?;
        let pem = Kind::named(&kind).and_then(|kind| to_pem(kind, private, &jwk));
        pem.map_err(|problem| failed(&ctx, &problem))
    })
}

fn to_jwk(kind: Kind, private: bool, pem: &str) -> Found<Jwk> {
    let text = |error: coco_crypto::Error| error.to_string();
    let ec = |key: &EcPublicKey| {
        let (x, y) = key.coordinates();
        Jwk::of(kind).on(key.curve().jose_name()).with("x", x).with("y", y)
    };
    let okp = |key: &OkpPublicKey| Jwk::of(kind).on(key.curve().jose_name()).with("x", key.bytes());
    let rsa = |n: &[u8], e: &[u8]| Jwk::of(kind).with("n", n).with("e", e);
    Ok(match (kind, private) {
        (Kind::Ec, false) => ec(&EcPublicKey::from_pem(pem).map_err(text)?),
        (Kind::Ec, true) => {
            let pair = EcKeyPair::from_pem(pem).map_err(text)?;
            ec(&pair.public_key()).with("d", &pair.scalar())
        }
        (Kind::Okp, false) => okp(&OkpPublicKey::from_pem(pem).map_err(text)?),
        (Kind::Okp, true) => {
            let pair = OkpKeyPair::from_pem(pem).map_err(text)?;
            okp(pair.public_key()).with("d", pair.secret())
        }
        (Kind::Rsa, false) => {
            let key = decode_pem("PUBLIC KEY", pem).and_then(|der| ForeignKey::from_spki_der(&der)).map_err(text)?;
            let (n, e) = key.rsa_numbers().ok_or("it is no RSA key")?;
            rsa(&n, &e)
        }
        (Kind::Rsa, true) => {
            let parts = RsaKeyPair::from_pem(pem).map_err(text)?.components();
            let RsaComponents { n, e, d, p, q, dp, dq, qi } = &parts;
            let private = [("d", d), ("p", p), ("q", q), ("dp", dp), ("dq", dq), ("qi", qi)];
            private.into_iter().fold(rsa(n, e), |jwk, (name, number)| jwk.with(name, number))
        }
    })
}

fn to_pem(kind: Kind, private: bool, jwk: &Jwk) -> Found<String> {
    let text = |error: coco_crypto::Error| error.to_string();
    if jwk.text("kty")? != kind.kty() {
        return Err(format!("its kty is not {}", kind.kty()));
    }
    let part = |name: &str| jwk.part(name);
    match (kind, private) {
        (Kind::Ec, _) => {
            let crv = jwk.text("crv")?;
            let curve = EcCurve::ALL.into_iter().find(|curve| curve.jose_name() == crv);
            let curve = curve.ok_or_else(|| format!("the curve {crv} is not known here"))?;
            let (x, y) = (part("x")?, part("y")?);
            if private {
                let pair = EcKeyPair::from_components(curve, &part("d")?, &x, &y).map_err(text)?;
                return Ok(pair.to_pem().to_string());
            }
            Ok(EcPublicKey::from_coordinates(curve, &x, &y).map_err(text)?.to_pem())
        }
        (Kind::Okp, _) => {
            let crv = jwk.text("crv")?;
            let curve = OkpCurve::ALL.into_iter().find(|curve| curve.jose_name() == crv);
            let curve = curve.ok_or_else(|| format!("the curve {crv} is not known here"))?;
            if private {
                let pair = OkpKeyPair::from_components(curve, &part("d")?, &part("x")?).map_err(text)?;
                return Ok(pair.to_pem().to_string());
            }
            Ok(OkpPublicKey::from_bytes(curve, &part("x")?).map_err(text)?.to_pem())
        }
        (Kind::Rsa, false) => {
            let key = ForeignKey::from_rsa(&part("n")?, &part("e")?).map_err(text)?;
            Ok(encode_pem("PUBLIC KEY", key.spki_der()))
        }
        (Kind::Rsa, true) => {
            let components = RsaComponents {
                n: part("n")?,
                e: part("e")?,
                d: part("d")?,
                p: part("p")?,
                q: part("q")?,
                dp: part("dp")?,
                dq: part("dq")?,
                qi: part("qi")?,
            };
            Ok(RsaKeyPair::from_components(&components).map_err(text)?.to_pem().to_string())
        }
    }
}

impl Kind {
    fn kty(self) -> &'static str {
        match self {
            Self::Ec => "EC",
            Self::Rsa => "RSA",
            Self::Okp => "OKP",
        }
    }

    fn named(kty: &str) -> Found<Self> {
        let known = [Self::Ec, Self::Rsa, Self::Okp].into_iter().find(|kind| kind.kty() == kty);
        known.ok_or_else(|| format!("there is no kind {kty}"))
    }
}

impl Jwk {
    fn of(kind: Kind) -> Self {
        Self(Map::from_iter([("kty".to_owned(), kind.kty().into())]))
    }

    fn read(json: &str) -> Found<Self> {
        serde_json::from_str(json).map(Self).map_err(|_| "it is no object".to_owned())
    }

    fn on(mut self, curve: &str) -> Self {
        self.0.insert("crv".to_owned(), curve.into());
        self
    }

    fn with(mut self, name: &str, bytes: &[u8]) -> Self {
        self.0.insert(name.to_owned(), URL_SAFE_NO_PAD.encode(bytes).into());
        self
    }

    fn text(&self, name: &str) -> Found<&str> {
        self.0.get(name).and_then(Value::as_str).ok_or_else(|| format!("it has no {name}"))
    }

    fn part(&self, name: &str) -> Found<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.text(name)?).map_err(|_| format!("its {name} is not base64url"))
    }
}

fn failed(ctx: &Ctx<'_>, problem: &str) -> rquickjs::Error {
    Exception::throw_type(ctx, &format!("the key cannot be converted: {problem}"))
}
