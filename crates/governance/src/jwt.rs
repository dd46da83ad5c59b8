//! Issuers of tokens that the members accept, and the keys by which they sign: rows in CCF's form, written by the constitution.
//!
//! A key is only ever asked for by its id. What a token itself says about where its key may be found (`jku`, `x5u`, `jwk`, `x5c`) is
//! nobody's business here, and nothing is fetched. Judging a token is the server's (`coco_rpc::authentication`).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD};
use coco_crypto::{ForeignCertificate, ForeignKey};
use coco_kv::Tx;
use coco_types::limits::JWT_KEYS_MAX;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tables::{self, Read};

/// Hosts whose tokens name a tenant, in any of which the one who is asked for may be.
const ENTRA_HOSTS: &[&str] = &["login.microsoftonline.com", "login.windows.net", "sts.windows.net"];
const TENANT: &str = "{tenantid}";
/// What Entra calls all tenants, and all but that of personal accounts, in the address under which it publishes their keys.
const ALL_TENANTS: &str = "common";
const ALL_ORGANIZATIONS: &str = "organizations";
const PERSONAL_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// A token issuer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IssuerRow {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Written by constitutions of CCF; means nothing here, as nodes fetch no keys.
    #[serde(default)]
    pub auto_refresh: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert_bundle_name: Option<String>,
    /// Coco: one of these must be in the token's `aud`. Absent: whatever it says, as in CCF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Vec<String>>,
    /// Coco: members that may replace the keys without votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshers: Option<Vec<String>>,
}

/// A key of an issuer. Several issuers may have a key of the same id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyRow {
    /// SubjectPublicKeyInfo in DER, base64.
    pub public_key: String,
    pub issuer: String,
    /// What the `iss` of tokens must be, if it is not the issuer's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// Coco: the only algorithm for which the key is meant, if its issuer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
}

/// A set of keys as issuers publish it (RFC 7517 §5).
#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: Option<String>,
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// The private half, which nobody should ever send.
    d: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    x5c: Vec<String>,
    /// CCF: what `iss` must be.
    issuer: Option<String>,
}

impl IssuerRow {
    pub fn read(state: &mut dyn Read, issuer: &str) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::JWT_ISSUERS, issuer.as_bytes())
    }

    pub fn all(state: &mut dyn Read) -> Result<Vec<(String, Self)>, Error> {
        tables::read_all(state, &tables::JWT_ISSUERS)
    }
}

impl KeyRow {
    /// The keys of this id.
    pub fn of(state: &mut dyn Read, kid: &str) -> Result<Vec<Self>, Error> {
        Ok(tables::read(state, &tables::JWT_KEYS, kid.as_bytes())?.unwrap_or_default())
    }

    /// All keys, by id.
    pub fn all(state: &mut dyn Read) -> Result<Vec<(String, Vec<Self>)>, Error> {
        tables::read_all(state, &tables::JWT_KEYS)
    }

    pub fn key(&self) -> Result<ForeignKey, Error> {
        let der = BASE64.decode(&self.public_key).map_err(|error| Error::Jwks(error.to_string()))?;
        ForeignKey::from_spki_der(&der).map_err(|error| Error::Jwks(error.to_string()))
    }

    /// Whether a token with this `iss` and `tid` may be signed with this key: they are the same, or, at a host of Entra, differ by the
    /// tenant only, which is the token's own.
    pub fn accepts_issuer(&self, iss: &str, tid: Option<&str>) -> bool {
        let Some(constraint) = constraint(&self.issuer, self.constraint.as_deref()) else { return false };
        let Some((host, _)) = host_and_path(&constraint).filter(|(host, _)| ENTRA_HOSTS.contains(host)) else {
            return iss == constraint && tid.is_none();
        };
        let (Some(tid), Some((of_host, path))) = (tid.filter(|tid| !tid.is_empty()), host_and_path(iss)) else {
            return false;
        };
        if tenant(&self.issuer) == Some(ALL_ORGANIZATIONS) && tid == PERSONAL_TENANT {
            return false;
        }
        let tenant = path.split('/').next().unwrap_or_default();
        of_host == host && tenant == tid && iss == constraint.replace(TENANT, tid)
    }
}

/// What tokens of a key may be of. Whoever sets an issuer's keys must not make other issuers' tokens with them: it is the issuer itself. Entra
/// publishes the keys of all tenants together, and writes `{tenantid}` where each one's own stands: of an issuer that is one tenant they
/// are that one's. Of every tenant, or of another, they are only if the members have accepted an issuer that says `{tenantid}` itself, or `common`
/// or `organizations` as Entra does.
fn constraint<'a>(issuer: &'a str, of_key: Option<&'a str>) -> Option<Cow<'a, str>> {
    let named = issuer;
    let issuer = match tenant(issuer) {
        Some(all @ (ALL_TENANTS | ALL_ORGANIZATIONS)) => {
            Cow::Owned(issuer.replacen(&format!("/{all}/"), &format!("/{TENANT}/"), 1))
        }
        _ => Cow::Borrowed(issuer),
    };
    let Some(of_key) = of_key.filter(|of_key| *of_key != issuer && *of_key != named) else { return Some(issuer) };
    let names = |template: &str, url: &str| tenant(url).is_some_and(|tenant| template.replace(TENANT, tenant) == url);
    match (issuer.contains(TENANT), of_key.contains(TENANT)) {
        (true, false) => names(&issuer, of_key).then_some(Cow::Borrowed(of_key)),
        (false, true) => names(of_key, &issuer).then_some(issuer),
        _ => None,
    }
}

fn tenant(url: &str) -> Option<&str> {
    let (_, path) = host_and_path(url).filter(|(host, _)| ENTRA_HOSTS.contains(host))?;
    path.split('/').next().filter(|tenant| !tenant.is_empty())
}

/// Gives an issuer these keys and no others.
pub fn set_keys(tx: &mut Tx, issuer: &str, jwks: &str) -> Result<(), Error> {
    let keys = parse(issuer, jwks)?;
    remove_keys(tx, issuer)?;
    for (kid, mut key) in keys {
        let Some(constraint) = constraint(issuer, key.constraint.as_deref()) else {
            return Err(Error::Jwks(format!("the key {kid} is of another issuer than {issuer}")));
        };
        let constraint = constraint.into_owned();
        key.constraint = key.constraint.is_some().then_some(constraint);
        let mut rows = KeyRow::of(tx, &kid)?;
        rows.push(key);
        tables::write(tx, &tables::JWT_KEYS, kid.as_bytes(), &rows);
    }
    Ok(())
}

pub fn remove_keys(tx: &mut Tx, issuer: &str) -> Result<(), Error> {
    for (kid, rows) in KeyRow::all(tx as &mut dyn Read)? {
        let others: Vec<_> = rows.iter().filter(|row| row.issuer != issuer).collect();
        if others.is_empty() {
            tx.remove(&tables::JWT_KEYS, kid.as_bytes());
        } else if others.len() < rows.len() {
            tables::write(tx, &tables::JWT_KEYS, kid.as_bytes(), &others);
        }
    }
    Ok(())
}

/// Whether these could be an issuer's keys.
pub fn check_keys(jwks: &str) -> Result<(), Error> {
    parse("", jwks).map(drop)
}

/// Keys for anything but signatures are left out.
fn parse(issuer: &str, jwks: &str) -> Result<Vec<(String, KeyRow)>, Error> {
    let jwks: Jwks = serde_json::from_str(jwks).map_err(|error| Error::Jwks(error.to_string()))?;
    if jwks.keys.len() > JWT_KEYS_MAX {
        return Err(Error::Jwks(format!("more than {JWT_KEYS_MAX} keys")));
    }
    let mut keys: Vec<(String, KeyRow)> = Vec::new();
    for jwk in jwks.keys.into_iter().filter(|jwk| jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig")) {
        let key = jwk.public_key()?;
        let kid = jwk.kid.filter(|kid| !kid.is_empty()).ok_or_else(|| Error::Jwks("a key has no kid".to_owned()))?;
        if keys.iter().any(|(other, _)| *other == kid) {
            return Err(Error::Jwks(format!("two keys have the kid {kid}")));
        }
        let public_key = BASE64.encode(key.spki_der());
        let row = KeyRow { public_key, issuer: issuer.to_owned(), constraint: jwk.issuer, alg: jwk.alg };
        keys.push((kid, row));
    }
    Ok(keys)
}

impl Jwk {
    /// From its numbers, or else from its certificate; they must not contradict each other.
    fn public_key(&self) -> Result<ForeignKey, Error> {
        let problem = |why: &str| Error::Jwks(format!("{}: {why}", self.kid.as_deref().unwrap_or("a key")));
        if self.d.is_some() || self.kty == "oct" {
            return Err(problem("this is a secret key, which is to be replaced now that it was told"));
        }
        let numbers = match self.kty.as_str() {
            "RSA" => self.n.as_ref().zip(self.e.as_ref()).map(|pair| (pair, None)),
            "EC" => self.x.as_ref().zip(self.y.as_ref()).map(|pair| (pair, self.crv.as_deref())),
            _ => return Err(problem("only keys of RSA and of elliptic curves are known here")),
        };
        let from_numbers = numbers.map(|((first, second), curve)| {
            let decoded = |text: &String| URL_SAFE_NO_PAD.decode(text).map_err(|_| problem("not base64url"));
            let (first, second) = (decoded(first)?, decoded(second)?);
            let key = match (curve, first.len()) {
                (Some("P-256"), 32) | (Some("P-384"), 48) | (Some("P-521"), 66) => {
                    ForeignKey::from_point(&first, &second)
                }
                (Some(_), _) => return Err(problem("not a point on P-256, P-384 or P-521")),
                (None, _) if self.kty == "RSA" => ForeignKey::from_rsa(&first, &second),
                (None, _) => return Err(problem("its curve is missing")),
            };
            key.map_err(|error| problem(&error.to_string()))
        });
        let from_certificate = self.x5c.first().map(|text| {
            let der = BASE64.decode(text).map_err(|_| problem("its certificate is not base64"))?;
            let certificate = ForeignCertificate::from_der(&der).map_err(|error| problem(&error.to_string()))?;
            Ok(certificate.key().clone())
        });
        match (from_numbers.transpose()?, from_certificate.transpose()?) {
            (Some(key), Some(other)) if key != other => Err(problem("its certificate is of another key")),
            (Some(key), _) | (None, Some(key)) => Ok(key),
            (None, None) => Err(problem("it has neither numbers nor a certificate")),
        }
    }
}

/// Of an https address, without port.
fn host_and_path(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://")?;
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

#[cfg(test)]
mod tests {
    use coco_kv::Store;

    use super::*;

    const EC: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;

    fn set(kids: &[&str]) -> String {
        let keys: Vec<_> = kids.iter().map(|kid| format!(r#"{{"kid":"{kid}",{EC}}}"#)).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    fn kids(tx: &mut Tx, issuer: &str) -> Vec<String> {
        let all = KeyRow::all(tx as &mut dyn Read).unwrap();
        let of = all.into_iter().filter(|(_, rows)| rows.iter().any(|row| row.issuer == issuer));
        of.map(|(kid, _)| kid).collect()
    }

    #[test]
    fn new_keys_of_an_issuer_replace_its_own_and_nobody_elses() {
        let mut tx = Store::new().begin();
        set_keys(&mut tx, "a", &set(&["1", "2"])).unwrap();
        set_keys(&mut tx, "b", &set(&["2"])).unwrap();
        set_keys(&mut tx, "a", &set(&["2", "3"])).unwrap();
        assert_eq!((kids(&mut tx, "a"), kids(&mut tx, "b")), (vec!["2".into(), "3".into()], vec!["2".into()]));
        remove_keys(&mut tx, "a").unwrap();
        assert_eq!((kids(&mut tx, "a"), kids(&mut tx, "b")), (vec![], vec!["2".to_owned()]));
        assert!(KeyRow::of(&mut tx, "2").unwrap()[0].key().is_ok());
        set_keys(&mut tx, "b", r#"{"keys":[]}"#).unwrap();
        assert!(KeyRow::all(&mut tx as &mut dyn Read).unwrap().is_empty());
    }

    #[test]
    fn sets_with_anything_but_public_keys_for_signatures_are_refused() {
        for (jwks, why) in [
            ("", "EOF"),
            (r#"{"keys":[{"kid":"1","kty":"oct","k":"AA"}]}"#, "secret"),
            (&format!(r#"{{"keys":[{{"kid":"1","d":"AA",{EC}}}]}}"#), "secret"),
            (&format!(r#"{{"keys":[{{{EC}}}]}}"#), "no kid"),
            (&set(&["1", "1"]), "two keys"),
            (r#"{"keys":[{"kid":"1","kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}"#, "not a point"),
            (r#"{"keys":[{"kid":"1","kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#, "only keys of RSA"),
            (r#"{"keys":[{"kid":"1","kty":"RSA"}]}"#, "neither"),
        ] {
            let error = check_keys(jwks).unwrap_err().to_string();
            assert!(error.contains(why), "{error}, expected {why}");
        }
        let others = format!(r#"{{"keys":[{{"kid":"1","use":"enc",{EC}}}]}}"#);
        assert_eq!(parse("a", &others).unwrap(), []);
        assert!(check_keys(&set(&vec!["1"; JWT_KEYS_MAX + 1])).is_err());
    }

    #[test]
    fn whoever_sets_an_issuers_keys_cannot_make_tokens_of_another() {
        let mut tx = Store::new().begin();
        let of = |constraint: &str| format!(r#"{{"keys":[{{"kid":"1","issuer":"{constraint}",{EC}}}]}}"#);
        let member = "ab".repeat(32);
        for other in ["https://b.example", "https://a.example/b", "https://a.example.evil.example", &member] {
            let error = set_keys(&mut tx, "https://a.example", &of(other)).unwrap_err().to_string();
            assert!(error.contains("another issuer"), "{other}: {error}");
        }
        set_keys(&mut tx, "https://a.example", &of("https://a.example")).unwrap();
    }

    #[test]
    fn keys_of_one_tenant_are_no_other_tenants_unless_the_members_have_accepted_all() {
        let mut tx = Store::new().begin();
        let of = |constraint: &str| format!(r#"{{"keys":[{{"kid":"1","issuer":"{constraint}",{EC}}}]}}"#);
        let [all, own, other] =
            ["{tenantid}", "t1", "t2"].map(|tenant| format!("https://login.microsoftonline.com/{tenant}/v2.0"));
        let accepts = |tx: &mut Tx| {
            let row = KeyRow::of(tx, "1").unwrap().pop().unwrap();
            ["t1", "t2"]
                .map(|tid| row.accepts_issuer(&format!("https://login.microsoftonline.com/{tid}/v2.0"), Some(tid)))
        };
        for (issuer, constraint, accepted) in [
            (&own, &own, Some([true, false])),
            (&own, &all, Some([true, false])),
            (&own, &other, None),
            (&all, &all, Some([true, true])),
            (&all, &own, Some([true, false])),
        ] {
            let set = set_keys(&mut tx, issuer, &of(constraint));
            assert_eq!(set.is_ok(), accepted.is_some(), "{issuer} {constraint}");
            if let Some(accepted) = accepted {
                assert_eq!(accepts(&mut tx), accepted, "{issuer} {constraint}");
            }
            remove_keys(&mut tx, issuer).unwrap();
        }
        // As Entra names all tenants where it publishes their keys.
        for (every, accepted) in [("common", [true, true, true]), ("organizations", [true, true, false])] {
            let every = format!("https://login.microsoftonline.com/{every}/v2.0");
            for keys in [of(&all), of(&every), set(&["1"])] {
                set_keys(&mut tx, &every, &keys).unwrap();
                let row = KeyRow::of(&mut tx, "1").unwrap().pop().unwrap();
                let of_tenant =
                    |tid: &str| row.accepts_issuer(&format!("https://login.microsoftonline.com/{tid}/v2.0"), Some(tid));
                assert_eq!(["t1", "t2", PERSONAL_TENANT].map(of_tenant), accepted, "{keys}");
                assert!(!row.accepts_issuer(&other, Some("t1")) && !row.accepts_issuer(&every, Some("t1")));
            }
            set_keys(&mut tx, &every, &of(&own)).unwrap();
            assert_eq!(accepts(&mut tx), [true, false]);
            remove_keys(&mut tx, &every).unwrap();
        }
        for elsewhere in [
            "https://sts.windows.net/{tenantid}/",
            "https://sts.windows.net/t1/",
            "https://login.microsoftonline.com/t1/v1.0",
        ] {
            assert!(set_keys(&mut tx, &own, &of(elsewhere)).is_err(), "{elsewhere}");
            assert!(set_keys(&mut tx, &all, &of(elsewhere)).is_err(), "{elsewhere}");
        }
        // A row of before: it says more than its issuer.
        let row = KeyRow { public_key: String::new(), issuer: own, constraint: Some(all), alg: None };
        assert!(!row.accepts_issuer(&other, Some("t2")));
    }

    #[test]
    fn a_token_is_of_the_issuer_whose_key_it_names() {
        let row = |constraint: &str| KeyRow {
            public_key: String::new(),
            issuer: if constraint.is_empty() { "https://id.example" } else { constraint }.to_owned(),
            constraint: Some(constraint.to_owned()).filter(|text| !text.is_empty()),
            alg: None,
        };
        assert!(row("").accepts_issuer("https://id.example", None));
        assert!(!row("").accepts_issuer("https://id.example/", None));
        assert!(!row("").accepts_issuer("https://id.example", Some("tenant")));
        let entra = row("https://login.microsoftonline.com/{tenantid}/v2.0");
        assert!(entra.accepts_issuer("https://login.microsoftonline.com/t1/v2.0", Some("t1")));
        for (iss, tid) in [
            ("https://login.microsoftonline.com/t1/v2.0", None),
            ("https://login.microsoftonline.com/t1/v2.0", Some("t2")),
            ("https://login.microsoftonline.com/t1/v1.0", Some("t1")),
            ("https://login.microsoftonline.com.evil.example/t1/v2.0", Some("t1")),
            ("http://login.microsoftonline.com/t1/v2.0", Some("t1")),
        ] {
            assert!(!entra.accepts_issuer(iss, tid), "{iss} {tid:?}");
        }
    }
}
