//! What scripts ask of the host: a constitution whose `apply` is the input, as a text or as calls of everything that scripts are given, with hostile arguments.
//!
//! Whatever they do, they get an answer or an exception, in time; and what they change is public, and not what nodes keep for themselves.
#![no_main]

use std::rc::Rc;
use std::time::Instant;

use coco_fuzz::script::script;
use coco_governance::{Facts, Session, tables};
use coco_kv::Store;
use libfuzzer_sys::fuzz_target;

/// Everything on `ccf` that calls the host, as expressions over `a`, `b` and `c`.
const CALLS: &[&str] = &[
    "ccf.strToBuf(a)",
    "ccf.bufToStr(b)",
    "ccf.jsonCompatibleToBuf(a)",
    "ccf.bufToJsonCompatible(b)",
    "ccf.kv[a].has(b)",
    "ccf.kv[a].get(b)",
    "ccf.kv[a].getVersionOfPreviousWrite(b)",
    "ccf.kv[a].set(b, c)",
    "ccf.kv[a].delete(b)",
    "ccf.kv[a].clear()",
    "ccf.kv[a].forEach((value, key) => ccf.kv[a].delete(key))",
    "ccf.kv[a].jsonRows()",
    "ccf.kv[a].size",
    "ccf.pemToId(a)",
    "ccf.crypto.digest(a, b)",
    "ccf.crypto.verifySignature({ name: 'ECDSA', hash: 'SHA-256' }, a, c, b)",
    "ccf.crypto.verifySignature({ name: 'RSASSA-PKCS1-v1_5', hash: a }, a, c, b)",
    "ccf.crypto.verifySignature({ name: 'HMAC', hash: 'SHA-256' }, c, c, b)",
    "ccf.isValidX509CertBundle(a)",
    "ccf.isValidX509CertChain(a, a)",
    "ccf.gov.jwksProblem({ keys: [{ kid: a, kty: 'RSA', n: a, e: a, x5c: [a] }] })",
    "ccf.gov.isEncryptionKey(a)",
    "ccf.setJwtPublicSigningKeys(a, a, { keys: [{ kid: a, x5c: [a] }] })",
    "ccf.removeJwtPublicSigningKeys(a)",
    "ccf.network.getLatestLedgerSecretSeqno()",
    "ccf.coco.grantEpoch(c.byteLength, a)",
    "ccf.node.triggerSnapshot()",
    "ccf.node.transitionServiceToOpen(b, c)",
    "ccf.node.triggerLedgerRekey()",
    "ccf.node.triggerRecoverySharesRefresh()",
    "ccf.node.triggerLedgerChunk()",
    "ccf.gov.validateConstitution(a)",
    "console.log(a)",
    "Math.random()",
    "ccf.crypto.verifySignature({ name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 }, a, c, b)",
    "ccf.crypto.verifySignature({ name: 'EdDSA' }, a, c, b)",
    "ccf.crypto.sign({ name: 'ECDSA', hash: 'SHA-384' }, a, b)",
    "ccf.crypto.sign({ name: 'EdDSA' }, a, b)",
    "ccf.crypto.sign({ name: 'HMAC', hash: 'SHA-512' }, c, b)",
    "ccf.crypto.wrapKey(b, c, { name: 'AES-KWP' })",
    "ccf.crypto.unwrapKey(b, c, { name: 'AES-KWP' })",
    "ccf.crypto.wrapKey(c, b, { name: 'RSA-OAEP-AES-KWP', aesKeySize: 128, label: c })",
    "ccf.crypto.unwrapKey(c, b, { name: 'RSA-OAEP', label: c })",
    "ccf.crypto.generateAesKey(c.byteLength)",
    "ccf.crypto.generateEcdsaKeyPair(a)",
    "ccf.crypto.pemToJwk(a, a)",
    "ccf.crypto.rsaPemToJwk(a)",
    "ccf.crypto.pubEddsaPemToJwk(a)",
    "ccf.crypto.pubJwkToPem({ kty: 'EC', crv: 'P-256', x: a, y: a })",
    "ccf.crypto.rsaJwkToPem({ kty: 'RSA', n: a, e: a, d: a, p: a, q: a, dp: a, dq: a, qi: a })",
    "ccf.crypto.jwkToPem(JSON.parse(a))",
    "snp_attestation.verifySnpAttestation(c, b, c, a)",
];
/// Maps that governance has, and what is not its own.
const MAPS: &[&str] = &[
    "public:ccf.gov.members.info",
    "public:ccf.gov.nodes.info",
    "public:ccf.gov.constitution",
    "public:ccf.gov.coco.epochs",
    "public:ccf.internal.signatures",
    "public:app",
    "records",
];
/// Whatever a script may not change.
const KEPT: &[&str] = &[
    "public:ccf.internal.",
    "public:ccf.gov.coco.committed",
    "public:ccf.gov.coco.epochs",
    "public:ccf.gov.coco.view",
];
/// The clock of scripts runs so much faster: none is let run for long.
const FASTER: u128 = 1_000;

fuzz_target!(|input: &[u8]| {
    let Some((&mode, rest)) = input.split_first() else { return };
    let body = if mode & 1 == 0 { String::from_utf8_lossy(rest).into_owned() } else { script(CALLS, MAPS, rest) };
    let constitution = format!(
        "export function validate(input) {{ return {{ valid: true, description: '' }}; }}\n\
         export function resolve(proposal, proposer, votes) {{ return 'Open'; }}\n\
         export function apply(proposal, id) {{\n{body}\n}}"
    );
    let mut tx = Store::new().begin();
    let text = serde_json::to_vec(&constitution).expect("a text has a JSON form");
    tx.put(&tables::CONSTITUTION, tables::SINGLETON.to_vec(), text);
    let began = Instant::now();
    let clock = Rc::new(move || u64::try_from(began.elapsed().as_micros() * FASTER / 1_000).unwrap_or(u64::MAX));
    let session = Session::new(tx, Facts::default(), Some(clock));
    let Ok(simulation) = session.simulate("{\"actions\":[]}") else { return };
    for change in &simulation.changes {
        assert!(change.map.starts_with("public:"), "a script changed {}", change.map);
        assert!(!KEPT.iter().any(|map| change.map.starts_with(map)), "a script changed {}", change.map);
    }
});
