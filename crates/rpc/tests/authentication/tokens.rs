//! Bearer tokens.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use coco_crypto::{Curve, ForeignKey, SeededCrypto, SigningKey, hmac_sha256};
use coco_governance::tables;
use coco_protocol::{Caller, Identity, TokenClaims};
use coco_types::limits::{TOKEN_AHEAD_MAX_S, TOKEN_BYTES_MAX};
use http::Request;
use serde_json::{Value, json};

use crate::{NOW_S, Network};

const ISSUER: &str = "https://id.example";

/// A network that accepts one issuer, with a key on P-256, and tokens for `coco`.
struct Issuer {
    network: Network,
    key: SigningKey,
}

fn point(key: &SigningKey, curve: &str) -> Value {
    let (x, y) = key.public_key().point()[1..].split_at(key.curve().scalar_bytes());
    json!({"kty": "EC", "crv": curve, "x": BASE64.encode(x), "y": BASE64.encode(y)})
}

fn with_kid(mut jwk: Value, kid: &str) -> Value {
    jwk["kid"] = kid.into();
    json!({ "keys": [jwk] })
}

fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "ann", "aud": ["other", "coco"], "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 600})
}

fn joined(header: &Value, claims: &str) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims))
}

fn bearing(token: &str) -> Request<Bytes> {
    Request::get("/app/records/x").header("authorization", format!("Bearer {token}")).body(Bytes::new()).unwrap()
}

impl Issuer {
    fn new() -> Self {
        let network = Network::new();
        let key = SigningKey::generate(&SeededCrypto::new(3), Curve::P256);
        let row = json!({"issuer": ISSUER, "audience": ["coco"]});
        network.put(&tables::JWT_ISSUERS, ISSUER, &row.to_string());
        network.set_keys(ISSUER, &with_kid(point(&key, "P-256"), "one"));
        Self { network, key }
    }

    fn signed(&self, header: &Value, claims: &str) -> String {
        let text = joined(header, claims);
        let signature = self.key.sign(&SeededCrypto::new(4), text.as_bytes());
        format!("{text}.{}", BASE64.encode(signature.fixed()))
    }

    fn token(&self, claims: &Value) -> String {
        self.signed(&json!({"alg": "ES256", "kid": "one", "typ": "JWT"}), &claims.to_string())
    }

    fn judge(&self, token: &str) -> Result<Caller, String> {
        self.network.caller(None, &mut bearing(token)).map_err(|denied| denied.message)
    }

    /// It must be refused for this reason.
    fn refuses(&self, token: &str, why: &str) {
        let message = self.judge(token).unwrap_err();
        assert!(message.contains(why), "{message}, expected {why}");
        assert!(token.is_empty() || !message.contains(token), "a message never has the token in it");
    }
}

fn ann() -> Caller {
    Caller::Identified(vec![Identity::Token { issuer: ISSUER.to_owned(), subject: "ann".to_owned() }])
}

#[test]
fn a_token_of_an_accepted_issuer_speaks_for_its_subject_and_is_taken_from_the_request() {
    let issuer = Issuer::new();
    let token = issuer.token(&claims());
    assert_eq!(issuer.judge(&token), Ok(ann()));
    let mut request = bearing(&token);
    request.headers_mut().insert("authorization", format!("bearer  {token} ").parse().unwrap());
    assert_eq!(issuer.network.caller(None, &mut request), Ok(ann()));
    assert!(!request.headers().contains_key("authorization"));
    // What it says goes on, without the signature that makes it a token.
    let said = request.extensions().get::<TokenClaims>().unwrap();
    assert_eq!((&*said.key_issuer, &said.payload, &said.header["alg"]), (ISSUER, &claims(), &json!("ES256")));
    let one_audience = json!({"iss": ISSUER, "sub": "ann", "aud": "coco", "exp": NOW_S as f64 + 0.5});
    assert_eq!(issuer.judge(&issuer.token(&one_audience)), Ok(ann()));
    let other_scheme = Request::get("/").header("authorization", "Basic YTpi").body(Bytes::new()).unwrap();
    assert_eq!(issuer.network.caller(None, &mut { other_scheme }), Ok(Caller::Anonymous));
}

#[test]
fn keys_of_rsa_and_of_other_curves_sign_tokens_with_their_own_algorithms() {
    let issuer = Issuer::new();
    let random = SystemRandom::new();
    let p384 = SigningKey::generate(&SeededCrypto::new(5), Curve::P384);
    let p521 = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
    let (x, y) = p521.public_key().as_ref()[1..].split_at(66);
    let p521_jwk = json!({"kty": "EC", "crv": "P-521", "x": BASE64.encode(x), "y": BASE64.encode(y)});
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = rsa.public_key();
    let modulus = public.modulus().big_endian_without_leading_zero();
    let exponent = public.exponent().big_endian_without_leading_zero();
    let rsa_jwk = json!({"kty": "RSA", "n": BASE64.encode(modulus), "e": BASE64.encode(exponent)});
    let with_rsa = |padding: &'static dyn RsaEncoding, message: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(padding, &random, message, &mut signature).unwrap();
        signature
    };
    type Sign<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, Value, Sign<'_>); 6] = [
        ("ES384", point(&p384, "P-384"), &|message| p384.sign(&SeededCrypto::new(6), message).fixed().to_vec()),
        ("ES512", p521_jwk, &|message| p521.sign(&random, message).unwrap().as_ref().to_vec()),
        ("RS256", rsa_jwk.clone(), &|message| with_rsa(&signature::RSA_PKCS1_SHA256, message)),
        ("RS512", rsa_jwk.clone(), &|message| with_rsa(&signature::RSA_PKCS1_SHA512, message)),
        ("PS256", rsa_jwk.clone(), &|message| with_rsa(&signature::RSA_PSS_SHA256, message)),
        ("PS384", rsa_jwk, &|message| with_rsa(&signature::RSA_PSS_SHA384, message)),
    ];
    for (alg, jwk, sign) in cases {
        issuer.network.set_keys(ISSUER, &with_kid(jwk, "k"));
        let text = joined(&json!({"alg": alg, "kid": "k"}), &claims().to_string());
        let token = |signature: &[u8]| format!("{text}.{}", BASE64.encode(signature));
        assert_eq!(issuer.judge(&token(&sign(text.as_bytes()))), Ok(ann()), "{alg}");
        issuer.refuses(&token(&sign(b"something else")), "does not verify");
    }
}

#[test]
fn no_algorithm_but_the_keys_own_is_taken() {
    let issuer = Issuer::new();
    let claims = claims().to_string();
    let unsigned = |alg: &str| format!("{}.", joined(&json!({"alg": alg, "kid": "one"}), &claims));
    for alg in ["none", "None", "NONE", ""] {
        issuer.refuses(&unsigned(alg), "none of those that are taken");
    }
    // The public key in every form that a careless verifier may take for a secret.
    let foreign = ForeignKey::from_spki_der(&issuer.key.public_key().spki_der()).unwrap();
    let text = joined(&json!({"alg": "HS256", "kid": "one"}), &claims);
    for secret in [foreign.spki_der(), issuer.key.public_key().to_pem().as_bytes(), issuer.key.public_key().point()] {
        let mac = hmac_sha256(secret, text.as_bytes());
        issuer.refuses(&format!("{text}.{}", BASE64.encode(mac.as_bytes())), "none of those that are taken");
    }
    for alg in ["RS256", "PS256", "ES384", "ES512"] {
        let token = issuer.signed(&json!({"alg": alg, "kid": "one"}), &claims);
        issuer.refuses(&token, "does not verify");
    }
    let mut jwk = point(&issuer.key, "P-256");
    jwk["alg"] = "ES384".into();
    issuer.network.set_keys(ISSUER, &with_kid(jwk, "one"));
    issuer.refuses(&issuer.signed(&json!({"alg": "ES256", "kid": "one"}), &claims), "another alg");
}

#[test]
fn the_key_is_the_one_that_was_voted_in_whatever_the_token_says() {
    let issuer = Issuer::new();
    let claims = claims().to_string();
    let own = SigningKey::generate(&SeededCrypto::new(9), Curve::P256);
    let header = json!({"alg": "ES256", "kid": "one", "jwk": point(&own, "P-256"), "jku": "https://evil.example"});
    let text = joined(&header, &claims);
    let signature = own.sign(&SeededCrypto::new(4), text.as_bytes());
    issuer.refuses(&format!("{text}.{}", BASE64.encode(signature.fixed())), "does not verify");
    issuer.refuses(&issuer.signed(&json!({"alg": "ES256", "kid": "two"}), &claims), "no accepted issuer");
    issuer.refuses(&issuer.signed(&json!({"alg": "ES256"}), &claims), "names no key");
    let critical = json!({"alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false});
    issuer.refuses(&issuer.signed(&critical, &claims), "critical");
    // DER instead of r and s, and a signature that is cut.
    let text = joined(&json!({"alg": "ES256", "kid": "one"}), &claims);
    let signature = issuer.key.sign(&SeededCrypto::new(4), text.as_bytes());
    issuer.refuses(&format!("{text}.{}", BASE64.encode(signature.der())), "does not verify");
    issuer.refuses(&format!("{text}.{}", BASE64.encode(&signature.fixed()[..63])), "does not verify");
}

#[test]
fn claims_must_hold_for_this_network_and_this_time() {
    let issuer = Issuer::new();
    let with = |field: &str, value: Value| {
        let mut claims = claims();
        claims[field] = value;
        issuer.token(&claims)
    };
    issuer.refuses(&with("exp", json!(NOW_S)), "expired");
    issuer.refuses(&with("exp", json!(-1)), "expired");
    issuer.refuses(&with("exp", Value::Null), "never expires");
    issuer.refuses(&with("exp", json!("tomorrow")), "not a signed JWT");
    issuer.refuses(&with("nbf", json!(NOW_S + TOKEN_AHEAD_MAX_S + 1)), "future");
    issuer.refuses(&with("iat", json!(NOW_S + TOKEN_AHEAD_MAX_S + 1)), "future");
    assert_eq!(issuer.judge(&with("nbf", json!(NOW_S + TOKEN_AHEAD_MAX_S))), Ok(ann()));
    issuer.refuses(&with("iss", json!("https://id.example/")), "iss");
    issuer.refuses(&with("tid", json!("tenant")), "iss");
    for aud in [json!("other"), json!(["other"]), json!([]), Value::Null, json!(7)] {
        let message = issuer.judge(&with("aud", aud)).unwrap_err();
        assert!(message.contains("others") || message.contains("not a signed JWT"), "{message}");
    }
    issuer.refuses(&with("sub", json!("")), "sub");
    issuer.refuses(&with("sub", json!("x".repeat(2000))), "sub");
    issuer.network.at(NOW_S + 601);
    issuer.refuses(&issuer.token(&claims()), "expired");
}

#[test]
fn what_is_no_token_is_refused_in_bounded_time() {
    let issuer = Issuer::new();
    let token = issuer.token(&claims());
    for (text, why) in [
        (String::new(), "not a signed JWT"),
        ("....".to_owned(), "not a signed JWT"),
        (token.replace('.', ""), "not a signed JWT"),
        (format!("{token}.{token}"), "not a signed JWT"),
        (format!("{token}="), "not a signed JWT"),
        ("x".repeat(TOKEN_BYTES_MAX + 1), "at most"),
        (format!("{}.{}.x", BASE64.encode("[".repeat(9000)), BASE64.encode("{}")), "not a signed JWT"),
    ] {
        issuer.refuses(&text, why);
    }
    let twice = issuer
        .signed(&json!({"alg": "ES256", "kid": "one"}), &format!("{{\"sub\":\"bob\",{}", &claims().to_string()[1..]));
    issuer.refuses(&twice, "not a signed JWT");
    let mut two = bearing(&token);
    two.headers_mut().append("authorization", format!("Bearer {token}").parse().unwrap());
    assert!(issuer.network.caller(None, &mut two).unwrap_err().message.contains("more than one"));
    let response = issuer.network.caller(None, &mut bearing("x")).unwrap_err().into_response();
    assert_eq!(response.status(), 401);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    assert_eq!(challenge, "Bearer realm=\"JWT bearer token access\", error=\"invalid_token\"");
}

#[test]
fn new_keys_and_the_end_of_an_issuer_hold_at_once() {
    let issuer = Issuer::new();
    let token = issuer.token(&claims());
    assert_eq!(issuer.judge(&token), Ok(ann()));
    let other = SigningKey::generate(&SeededCrypto::new(9), Curve::P256);
    issuer.network.set_keys(ISSUER, &with_kid(point(&other, "P-256"), "one"));
    issuer.refuses(&token, "does not verify");
    issuer.network.set_keys(ISSUER, &with_kid(point(&issuer.key, "P-256"), "one"));
    assert_eq!(issuer.judge(&token), Ok(ann()));
    issuer.network.write(|tx| tx.remove(&tables::JWT_ISSUERS, ISSUER.as_bytes()));
    issuer.refuses(&token, "not accepted any more");
}

#[test]
fn an_issuer_without_an_audience_is_taken_at_its_word_as_in_ccf() {
    let issuer = Issuer::new();
    issuer.network.put(&tables::JWT_ISSUERS, ISSUER, &json!({ "issuer": ISSUER }).to_string());
    let claims = json!({"iss": ISSUER, "sub": "ann", "exp": NOW_S + 1});
    assert_eq!(issuer.judge(&issuer.token(&claims)), Ok(ann()));
}

#[test]
fn tokens_of_any_tenant_of_entra_are_taken_where_the_members_accepted_all_of_them() {
    let issuer = Issuer::new();
    let entra = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    let (common, tenant) = (entra("common"), "72f988bf-86f1-41af-91ab-2d7cd011db47");
    issuer.network.put(&tables::JWT_ISSUERS, &common, &json!({"issuer": common, "audience": ["coco"]}).to_string());
    let mut jwk = point(&issuer.key, "P-256");
    // As Microsoft publishes it at common/discovery/v2.0/keys.
    jwk["issuer"] = entra("{tenantid}").into();
    issuer.network.set_keys(&common, &with_kid(jwk, "entra"));
    let token = |iss: &str, tid: Value| {
        let claims = json!({"iss": iss, "tid": tid, "sub": "ann", "aud": "coco", "exp": NOW_S + 600});
        issuer.signed(&json!({"alg": "ES256", "kid": "entra"}), &claims.to_string())
    };
    let of_tenant = Identity::Token { issuer: entra(tenant), subject: "ann".to_owned() };
    assert_eq!(issuer.judge(&token(&entra(tenant), json!(tenant))), Ok(Caller::Identified(vec![of_tenant])));
    for (iss, tid) in [
        (entra(tenant), json!("other")),
        (entra(tenant), Value::Null),
        (entra("{tenantid}"), json!(tenant)),
        (common.clone(), json!(tenant)),
        (format!("https://sts.windows.net/{tenant}/"), json!(tenant)),
        (ISSUER.to_owned(), Value::Null),
    ] {
        issuer.refuses(&token(&iss, tid), "iss");
    }
}
