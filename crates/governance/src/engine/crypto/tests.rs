//! Scripts over `ccf.crypto`, beside what OpenSSL made of the same keys (`openssl.json`, by Python's `cryptography`).

use std::cell::RefCell;

use coco_kv::Store;
use serde_json::{Value, json};

use super::*;
use crate::engine::{CONSTITUTION, Call, Facts, World, call};

/// The message that all of them are over.
const OPENSSL: &str = include_str!("openssl.json");
const SURROUNDINGS: &str = "
  const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const bytes = (text) => new Uint8Array(text.match(/../g).map((byte) => parseInt(byte, 16))).buffer;
  const { crypto, strToBuf, bufToStr } = ccf;
  const message = strToBuf('message');
  const HASHES = ['SHA-256', 'SHA-384', 'SHA-512'];
  const check = (holds, what) => { if (!holds) throw new Error(`not so: ${what}`); };
  const equal = (a, b) => check(JSON.stringify(a) === JSON.stringify(b), `${JSON.stringify(a)} is ${JSON.stringify(b)}`);
  const sorted = (object) => Object.fromEntries(Object.entries(object).sort());
  const refused = (name, attempt) => {
    try { attempt(); } catch (error) { return equal(error.name, name); }
    check(false, `${attempt} is refused`);
  };
";

/// How a script ends in this role, with steps enough for `steps`.
fn run(role: Role, steps: u64, body: &str) -> std::result::Result<(), crate::Failure> {
    let module = format!("{SURROUNDINGS}\nexport function test(openssl) {{\n{body}\n}}");
    let arguments: [Value; 1] = [serde_json::from_str(OPENSSL).unwrap()];
    let call_ = Call { role, limits: CONSTITUTION, module: &module, function: "test", arguments: &arguments };
    let (console, orders) = (RefCell::default(), RefCell::default());
    let tx = RefCell::new(Store::new().begin());
    let world = Rc::new(World { tx, facts: Facts::default(), wall: None, console, orders });
    call(&world, &Budget::new(steps, None, 0), &call_, |_, _| Ok(()))
}

/// In every role, or where there is randomness only.
fn holds(roles: &[Role], body: &str) {
    for role in roles {
        run(*role, 100_000, body).unwrap_or_else(|failure| panic!("{role:?}: {failure:?}"));
    }
}

const ANYWHERE: [Role; 3] = [Role::Read, Role::Apply, Role::Application { writes: false }];
const RANDOM: [Role; 2] = [Role::Apply, Role::Application { writes: true }];

#[test]
fn signatures_that_openssl_made_verify_and_no_others() {
    holds(
        &ANYWHERE,
        "
        const verify = (algorithm, key, signature) => {
          check(crypto.verifySignature(algorithm, key, bytes(signature), message), JSON.stringify(algorithm));
          check(!crypto.verifySignature(algorithm, key, bytes(signature), strToBuf('massage')), 'another message');
          check(!crypto.verifySignature(algorithm, key, bytes(signature).slice(1), message), 'a cut signature');
          check(!crypto.verifySignature(algorithm, key, bytes('00' + signature), message), 'a longer signature');
        };
        for (const hash of HASHES) {
          for (const { publicKey, signatures } of openssl.curves) verify({ name: 'ECDSA', hash }, publicKey, signatures[hash]);
          const saltLength = Number(hash.slice(4)) / 8;
          verify({ name: 'RSA-PSS', hash, saltLength }, openssl.rsa.publicKey, openssl.rsa.pss[hash]);
          verify({ name: 'RSASSA-PKCS1-v1_5', hash }, openssl.rsa.publicKey, openssl.rsa.pkcs1[hash]);
          verify({ name: 'HMAC', hash }, 'key', openssl.hmac[hash]);
          equal(hex(crypto.sign({ name: 'HMAC', hash }, 'key', message)), openssl.hmac[hash]);
        }
        const [{ publicKey, privateKey, signature }] = openssl.okp;
        verify({ name: 'EdDSA' }, publicKey, signature);
        equal(hex(crypto.sign({ name: 'EdDSA' }, privateKey, message)), signature);
        check(!crypto.verifySignature({ name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 }, openssl.rsa.publicKey, bytes(openssl.rsa.saltless), message), 'no salt');
        check(crypto.verifySignature({ name: 'HMAC', hash: 'SHA-256' }, strToBuf('key'), bytes(openssl.hmac['SHA-256']), message), 'a secret in bytes');
        ",
    );
}

#[test]
fn a_signature_of_every_kind_verifies_under_its_key_alone() {
    holds(
        &RANDOM,
        "
        for (const curve of ['secp256r1', 'secp384r1', 'secp521r1', 'secp256k1']) {
          const [own, other] = [0, 0].map(() => crypto.generateEcdsaKeyPair(curve));
          for (const hash of HASHES) {
            const signature = crypto.sign({ name: 'ECDSA', hash }, own.privateKey, message);
            check(crypto.verifySignature({ name: 'ECDSA', hash }, own.publicKey, signature, message), curve);
            check(!crypto.verifySignature({ name: 'ECDSA', hash }, other.publicKey, signature, message), 'another key');
          }
        }
        for (const older of openssl.curves) {
          const signature = crypto.sign({ name: 'ECDSA', hash: 'SHA-256' }, older.olderKey, message);
          check(crypto.verifySignature({ name: 'ECDSA', hash: 'SHA-256' }, older.publicKey, signature, message), 'the older form');
        }
        const ed = crypto.generateEddsaKeyPair('curve25519');
        check(crypto.verifySignature({ name: 'EdDSA' }, ed.publicKey, crypto.sign({ name: 'EdDSA' }, ed.privateKey, message), message), 'EdDSA');
        const rsa = crypto.generateRsaKeyPair(2048);
        for (const algorithm of [{ name: 'RSA-PSS', hash: 'SHA-384', saltLength: 48 }, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-512' }]) {
          const signature = crypto.sign(algorithm, rsa.privateKey, message);
          check(crypto.verifySignature(algorithm, rsa.publicKey, signature, message), algorithm.name);
          check(!crypto.verifySignature(algorithm, openssl.rsa.publicKey, signature, message), 'another key');
        }
        const first = crypto.generateAesKey(256);
        equal([first.byteLength, crypto.generateAesKey(192).byteLength, crypto.generateAesKey(128).byteLength], [32, 24, 16]);
        check(hex(first) !== hex(crypto.generateAesKey(256)), 'keys differ');
        check(ccf.generateAesKey === crypto.generateAesKey && ccf.wrapKey === crypto.wrapKey, 'the names of CCF 2');
        ",
    );
}

#[test]
fn keys_are_converted_as_openssl_shows_them_and_back() {
    holds(
        &ANYWHERE,
        "
        const publicPart = ({ d, p, q, dp, dq, qi, ...rest }) => rest;
        const converted = (names, { privateKey, publicKey, jwk }) => {
          const [pubPemToJwk, pemToJwk, pubJwkToPem, jwkToPem] = names;
          equal(sorted(crypto[pubPemToJwk](publicKey)), sorted(publicPart(jwk)));
          equal(sorted(crypto[pemToJwk](privateKey)), sorted(jwk));
          equal(crypto[pubPemToJwk](publicKey, 'name').kid, 'name');
          equal(crypto[pubJwkToPem](publicPart(jwk)), publicKey);
          equal(crypto[jwkToPem](jwk), privateKey);
          equal(crypto[pubJwkToPem]({ ...jwk, kid: 'name', use: 'sig' }), publicKey);
          refused('TypeError', () => crypto[pemToJwk](publicKey));
          refused('TypeError', () => crypto[pubPemToJwk](privateKey));
          refused('TypeError', () => crypto[jwkToPem](publicPart(jwk)));
          refused('TypeError', () => crypto[pubJwkToPem]({ ...jwk, kty: 'oct' }));
          refused('TypeError', () => crypto[jwkToPem]({ ...jwk, d: 'AAAA' }));
          refused('TypeError', () => crypto[pubJwkToPem]('text'));
        };
        for (const key of openssl.curves) {
          converted(['pubPemToJwk', 'pemToJwk', 'pubJwkToPem', 'jwkToPem'], key);
          equal(sorted(crypto.pemToJwk(key.olderKey)), sorted(key.jwk));
          refused('TypeError', () => crypto.pubJwkToPem({ ...key.jwk, y: key.jwk.x }));
          refused('TypeError', () => crypto.pubJwkToPem({ ...key.jwk, crv: 'P-192' }));
        }
        for (const key of openssl.okp) converted(['pubEddsaPemToJwk', 'eddsaPemToJwk', 'pubEddsaJwkToPem', 'eddsaJwkToPem'], key);
        converted(['pubRsaPemToJwk', 'rsaPemToJwk', 'pubRsaJwkToPem', 'rsaJwkToPem'], openssl.rsa);
        equal(sorted(crypto.rsaPemToJwk(openssl.rsa.olderKey)), sorted(openssl.rsa.jwk));
        refused('TypeError', () => crypto.pubRsaPemToJwk(openssl.curves[0].publicKey));
        refused('TypeError', () => crypto.pubPemToJwk(openssl.rsa.publicKey));
        ",
    );
}

#[test]
fn what_is_wrapped_is_unwrapped_by_its_key_and_label_alone() {
    holds(
        &ANYWHERE,
        "
        for (const { by, key, wrapped } of openssl.kwp) {
          equal(hex(crypto.wrapKey(bytes(key), bytes(by), { name: 'AES-KWP' })), wrapped);
          equal(hex(crypto.unwrapKey(bytes(wrapped), bytes(by), { name: 'AES-KWP' })), key);
          refused('TypeError', () => crypto.unwrapKey(bytes(wrapped), bytes(by).slice(8), { name: 'AES-KWP' }));
          refused('TypeError', () => crypto.unwrapKey(bytes(wrapped).slice(8), bytes(by), { name: 'AES-KWP' }));
        }
        refused('TypeError', () => crypto.wrapKey(new ArrayBuffer(0), new ArrayBuffer(32), { name: 'AES-KWP' }));
        const own = strToBuf(openssl.rsa.privateKey);
        equal(bufToStr(crypto.unwrapKey(bytes(openssl.rsa.oaep), own, { name: 'RSA-OAEP', label: strToBuf('label') })), 'message');
        refused('TypeError', () => crypto.unwrapKey(bytes(openssl.rsa.oaep), own, { name: 'RSA-OAEP' }));
        refused('TypeError', () => crypto.unwrapKey(bytes(openssl.rsa.oaep), own, { name: 'RSA-OAEP', label: 'label' }));
        const both = { name: 'RSA-OAEP-AES-KWP', aesKeySize: 256 };
        equal(hex(crypto.unwrapKey(bytes(openssl.rsa.oaepAes), own, both)), openssl.kwp[0].key);
        refused('TypeError', () => crypto.unwrapKey(bytes(openssl.rsa.oaepAes).slice(0, 200), own, both));
        ",
    );
    holds(
        &RANDOM,
        "
        const [own, their] = [openssl.rsa.privateKey, openssl.rsa.publicKey].map((pem) => strToBuf(pem));
        const long = new Uint8Array(1000).fill(7).buffer;
        for (const label of [undefined, strToBuf('label')]) {
          const oaep = { name: 'RSA-OAEP', label };
          equal(bufToStr(crypto.unwrapKey(crypto.wrapKey(message, their, oaep), own, oaep)), 'message');
          refused('TypeError', () => crypto.wrapKey(long, their, oaep));
          for (const aesKeySize of [128, 256]) {
            const both = { name: 'RSA-OAEP-AES-KWP', aesKeySize, label };
            equal(hex(crypto.unwrapKey(crypto.wrapKey(long, their, both), own, both)), hex(long));
          }
        }
        refused('TypeError', () => crypto.wrapKey(message, their, { name: 'RSA-OAEP-AES-KWP' }));
        refused('TypeError', () => crypto.wrapKey(message, own, { name: 'RSA-OAEP' }));
        ",
    );
}

#[test]
fn what_is_not_known_is_refused_in_ccfs_manner() {
    holds(
        &RANDOM,
        "
        const { privateKey, publicKey } = crypto.generateEcdsaKeyPair('secp256r1');
        const { rsa, okp: [ed, x] } = openssl;
        const none = new ArrayBuffer(64);
        for (const attempt of [
          () => crypto.generateAesKey(64), () => crypto.generateAesKey('x'), () => crypto.generateAesKey(-128), () => crypto.generateAesKey(128.5),
          () => crypto.generateRsaKeyPair(1024), () => crypto.generateRsaKeyPair(8192), () => crypto.generateRsaKeyPair(2048, 3),
          () => crypto.generateEcdsaKeyPair('secp224r1'), () => crypto.generateEddsaKeyPair('ed448'),
          () => crypto.sign({ name: 'DSA', hash: 'SHA-256' }, privateKey, message), () => crypto.sign({ name: 'ECDSA', hash: 'MD5' }, privateKey, message),
          () => crypto.sign({ name: 'ECDSA' }, privateKey, message), () => crypto.sign({}, privateKey, message), () => crypto.sign(undefined, privateKey, message),
          () => crypto.sign({ name: 'RSA-PSS', hash: 'SHA-256' }, rsa.privateKey, message),
          () => crypto.sign({ name: 'RSA-PSS', hash: 'SHA-256', saltLength: 0 }, rsa.privateKey, message),
          () => crypto.verifySignature({ name: 'none', hash: 'SHA-256' }, publicKey, none, message),
          () => crypto.wrapKey(message, none, { name: 'AES-GCM' }), () => crypto.unwrapKey(message, none, {}),
        ]) refused('RangeError', attempt);
        for (const attempt of [
          () => crypto.generateAesKey(), () => crypto.generateRsaKeyPair(2048, 65537, 1), () => crypto.sign({ name: 'EdDSA' }, privateKey),
          () => crypto.sign({ name: 'ECDSA', hash: 'SHA-256' }, privateKey, 'text'), () => crypto.sign({ name: 'ECDSA', hash: 'SHA-256' }, 'no key', message),
          () => crypto.sign({ name: 'ECDSA', hash: 'SHA-256' }, publicKey, message), () => crypto.sign({ name: 'ECDSA', hash: 'SHA-256' }, rsa.privateKey, message),
          () => crypto.sign({ name: 'EdDSA' }, privateKey, message), () => crypto.sign({ name: 'EdDSA' }, x.privateKey, message),
          () => crypto.sign({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, ed.privateKey, message),
          () => crypto.verifySignature({ name: 'ECDSA', hash: 'SHA-256' }, rsa.publicKey, none, message),
          () => crypto.verifySignature({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, publicKey, none, message),
          () => crypto.verifySignature({ name: 'EdDSA' }, publicKey, none, message), () => crypto.verifySignature({ name: 'EdDSA' }, x.publicKey, none, message),
          () => crypto.verifySignature({ name: 'ECDSA', hash: 'SHA-256' }, '-----BEGIN CERTIFICATE-----', none, message),
          () => crypto.wrapKey(message, none), () => crypto.wrapKey('text', none, { name: 'AES-KWP' }), () => crypto.wrapKey(message, new ArrayBuffer(24), { name: 'AES-KWP' }),
          () => crypto.pemToJwk(), () => crypto.pubJwkToPem(), () => crypto.jwkToPem(null),
        ]) refused('TypeError', attempt);
        ",
    );
}

/// An auditor makes every decision again, and must come to the same.
#[test]
fn a_decision_has_nothing_that_randomness_makes() {
    holds(
        &[Role::Read],
        "
        const [{ privateKey }] = openssl.curves;
        for (const attempt of [
          () => crypto.generateAesKey(256), () => crypto.generateRsaKeyPair(2048), () => crypto.generateEcdsaKeyPair('secp256r1'),
          () => crypto.generateEddsaKeyPair('curve25519'), () => crypto.sign({ name: 'ECDSA', hash: 'SHA-256' }, privateKey, message),
          () => crypto.sign({ name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 }, openssl.rsa.privateKey, message),
          () => crypto.wrapKey(message, strToBuf(openssl.rsa.publicKey), { name: 'RSA-OAEP' }),
          () => crypto.wrapKey(message, strToBuf(openssl.rsa.publicKey), { name: 'RSA-OAEP-AES-KWP', aesKeySize: 256 }),
        ]) {
          refused('TypeError', attempt);
          try { attempt(); } catch (error) { check(/must replay/.test(error.message), error.message); }
        }
        const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
        equal(hex(crypto.sign(algorithm, openssl.rsa.privateKey, message)), openssl.rsa.pkcs1['SHA-256']);
        ",
    );
}

#[test]
fn whoever_calculates_without_end_comes_to_an_end() {
    for looping in [
        "for (;;) crypto.generateRsaKeyPair(4096)",
        "for (;;) crypto.generateEcdsaKeyPair('secp521r1')",
        "for (;;) crypto.sign({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, openssl.rsa.privateKey, message)",
        "for (;;) crypto.unwrapKey(bytes(openssl.rsa.oaep), strToBuf(openssl.rsa.privateKey), { name: 'RSA-OAEP', label: strToBuf('label') })",
        "for (;;) try { crypto.pemToJwk(openssl.curves[0].privateKey) } catch (error) {}",
        "for (;;) crypto.wrapKey(message, new ArrayBuffer(32), { name: 'AES-KWP' })",
    ] {
        let failure = run(Role::Apply, 1_000, looping).unwrap_err();
        assert!(failure.exceeded, "{looping}: {failure:?}");
    }
    // A key that would take long is not begun where there are no steps for it.
    assert!(run(Role::Apply, 500, "crypto.generateRsaKeyPair(2048)").unwrap_err().exceeded);
}

#[test]
fn a_certificate_stands_for_its_key() {
    let crypto = coco_crypto::SeededCrypto::new(1);
    let actor = crate::fixture::Actor::new(&crypto, coco_crypto::Curve::P384, "ann");
    let signature = actor.key.sign(&crypto, b"message");
    let body = format!(
        "check(crypto.verifySignature({{ name: 'ECDSA', hash: 'SHA-384' }}, {}, bytes('{}'), message), 'it does')",
        json!(actor.certificate.to_pem()),
        hex::encode(signature.fixed())
    );
    holds(&ANYWHERE, &body);
}
