//! Bearer tokens (RFC 6750): JWTs (RFC 7519) of issuers that the members accepted.
//!
//! The key is found by its id among those voted in, and by nothing that the token says. The algorithm must be on the list, and must be one
//! of that key: a public key is never a secret for a MAC, and `none` is no algorithm. Time is the node's, as for certificates.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_crypto::{Hash, Scheme};
use coco_governance::jwt::{IssuerRow, KeyRow};
use coco_governance::tables::Read;
use coco_kv::Snapshot;
use coco_protocol::{Identity, TokenClaims};
use coco_types::limits::{TOKEN_AHEAD_MAX_S, TOKEN_BYTES_MAX};
use http::header::{AUTHORIZATION, HeaderMap};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Denied;

/// Longer names of issuers and subjects are nobody's.
const NAME_BYTES_MAX: usize = 1 << 10;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(default)]
    aud: Audience,
    exp: Option<NumericDate>,
    nbf: Option<NumericDate>,
    iat: Option<NumericDate>,
    /// The tenant, in tokens of Entra.
    tid: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Audience {
    #[default]
    Nobody,
    One(String),
    Several(Vec<String>),
}

/// Seconds since 1970, possibly with a fraction.
#[derive(Deserialize, Clone, Copy)]
struct NumericDate(f64);

/// The token of a request, which it loses: whoever serves the request has no use for it. Other schemes are not ours.
pub(super) fn bearer(headers: &mut HeaderMap) -> Result<Option<String>, Denied> {
    let mut given = headers.get_all(AUTHORIZATION).iter().filter_map(|value| value.to_str().ok()).filter_map(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let (token, another) = (given.next(), given.next());
    if another.is_some() {
        return Err(Denied::token("more than one token is given"));
    }
    let Some(token) = token else { return Ok(None) };
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Denied::token(format!("a token has at most {TOKEN_BYTES_MAX} bytes")));
    }
    let token = token.to_owned();
    headers.remove(AUTHORIZATION);
    Ok(Some(token))
}

/// For whom the token speaks, and what it says, if it holds.
pub(super) fn judge(token: &str, state: &mut Snapshot, now_s: u64) -> Result<(Identity, TokenClaims), Denied> {
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header_text, claims_text) = signed.split_once('.').ok_or_else(malformed)?;
    let (header, claims): (Header, Claims) = (decoded(header_text)?, decoded(claims_text)?);
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
    if header.crit.is_some() {
        return Err(Denied::token("critical extensions of tokens are not known here"));
    }
    let scheme = scheme(&header.alg).ok_or_else(|| Denied::token("the token's alg is none of those that are taken"))?;
    let kid = header.kid.ok_or_else(|| Denied::token("the token names no key (kid)"))?;
    let rows = KeyRow::of(state, &kid).map_err(unreadable)?;
    if rows.is_empty() {
        return Err(Denied::token("no accepted issuer has a key of this id"));
    }
    let mut rows = rows.iter().filter(|row| row.accepts_issuer(&claims.iss, claims.tid.as_deref())).peekable();
    if rows.peek().is_none() {
        return Err(Denied::token("the token's iss is not that of the key's issuer"));
    }
    let mut rows = rows.filter(|row| row.alg.as_ref().is_none_or(|alg| *alg == header.alg)).peekable();
    if rows.peek().is_none() {
        return Err(Denied::token("the token's key is for another alg"));
    }
    // Issuers that differ by the tenant may have keys of one id.
    let verifies = |row: &&KeyRow| {
        row.key().is_ok_and(|key| key.fits(scheme) && key.verify(scheme, signed.as_bytes(), &signature).is_ok())
    };
    let row = rows.find(verifies).ok_or_else(|| Denied::token("the token's signature does not verify"))?;
    check_time(&claims, now_s)?;
    check_audience(&row.issuer, &claims.aud, state)?;
    if claims.sub.is_empty() || claims.sub.len() > NAME_BYTES_MAX || claims.iss.len() > NAME_BYTES_MAX {
        return Err(Denied::token("the token's sub or iss is empty or too long"));
    }
    let key_issuer = row.issuer.clone();
    let said = TokenClaims { key_issuer, header: decoded(header_text)?, payload: decoded(claims_text)? };
    Ok((Identity::Token { issuer: claims.iss, subject: claims.sub }, said))
}

/// The algorithms that are taken (RFC 7518 §3.1).
fn scheme(alg: &str) -> Option<Scheme> {
    Some(match alg {
        "RS256" => Scheme::RsaPkcs1(Hash::Sha256),
        "RS384" => Scheme::RsaPkcs1(Hash::Sha384),
        "RS512" => Scheme::RsaPkcs1(Hash::Sha512),
        "PS256" => Scheme::RsaPss(Hash::Sha256),
        "PS384" => Scheme::RsaPss(Hash::Sha384),
        "PS512" => Scheme::RsaPss(Hash::Sha512),
        "ES256" => Scheme::EcdsaFixed(Hash::Sha256),
        "ES384" => Scheme::EcdsaFixed(Hash::Sha384),
        "ES512" => Scheme::EcdsaFixed(Hash::Sha512),
        _ => return None,
    })
}

fn check_time(claims: &Claims, now_s: u64) -> Result<(), Denied> {
    // Exact up to 2^53.
    #[allow(clippy::cast_precision_loss)]
    let (now, ahead) = (now_s as f64, (now_s.saturating_add(TOKEN_AHEAD_MAX_S)) as f64);
    let Some(NumericDate(exp)) = claims.exp else { return Err(Denied::token("the token never expires")) };
    // JSON has no infinity and nothing that is no number.
    if exp <= now {
        return Err(Denied::token("the token has expired"));
    }
    let later = [claims.nbf, claims.iat].into_iter().flatten().any(|NumericDate(at)| at > ahead);
    if later { Err(Denied::token("the token is of the future")) } else { Ok(()) }
}

fn check_audience(issuer: &str, aud: &Audience, state: &mut Snapshot) -> Result<(), Denied> {
    let row = IssuerRow::read(state as &mut dyn Read, issuer).map_err(unreadable)?;
    let row = row.ok_or_else(|| Denied::token("the token's issuer is not accepted any more"))?;
    let wanted = |aud: &String| row.audience.iter().flatten().any(|wanted| wanted == aud);
    let meant = match aud {
        _ if row.audience.is_none() => true,
        Audience::Nobody => false,
        Audience::One(aud) => wanted(aud),
        Audience::Several(all) => all.iter().any(wanted),
    };
    if meant { Ok(()) } else { Err(Denied::token("the token is meant for others (aud)")) }
}

fn decoded<T: DeserializeOwned>(part: &str) -> Result<T, Denied> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed())?;
    serde_json::from_slice(&bytes).map_err(|_| malformed())
}

fn malformed() -> Denied {
    Denied::token("the token is not a signed JWT with iss and sub")
}

fn unreadable(error: coco_governance::Error) -> Denied {
    tracing::error!(%error, "the rows of token issuers");
    Denied::token("the keys of this token's issuer cannot be read here")
}
