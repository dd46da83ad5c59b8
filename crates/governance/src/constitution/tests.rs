//! The default constitution: each action with the test beside it, and the limits that every constitution meets.

use std::fs;
use std::path::{Path, PathBuf};

use coco_crypto::{Curve, SeededCrypto};
use coco_kv::Store;
use coco_types::MapName;

use super::*;
use crate::Session;
use crate::fixture::{self, Actor, ROOT};
use crate::secrets::Order;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../constitution")
}

/// Somebody's RSA key; nobody holds its other half.
const ENCRYPTION_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqKgnTtXZ7NCMCJFILMvr\n\
    cX3WlHXKFhbBDcQE9nvRU45LZMc67ZtlXuCrrV/2P27esnmrzJIrbnNEWUGs1oUi\n\
    +E8ZzYVqLIpI1AYKYZjsXbfgd8uaOxkwZpZ83F6oZ2MJMOMHqePAe1mFNiCTCBFf\n\
    3e3Hi4rqf/Hm0eCqQibTIRbtlERv4+ud4Su07wFwvrd9F9sLU8MRmpfC0/aohPwB\n\
    B2QCzT126Ivz9h6VC+uYPaduDJz/8WJrwxrBE7LWZ+TnT2K0XMi/Mf2CLCjLlm7t\n\
    ATd14R7/kZyURkqaLxdaGKu4gwGMw7E051EenfbW+yOg8m8rmasIIvzcPKwraA/Y\n\
    tQIDAQAB\n\
    -----END PUBLIC KEY-----\n";

struct Fixture {
    store: Store,
    participant: Actor,
}

impl Fixture {
    fn new() -> Self {
        let crypto = SeededCrypto::new(1);
        let member = Actor::new(&crypto, Curve::P384, "member");
        let store = fixture::founded(&crypto, &[&member], DEFAULT);
        Self { store, participant: Actor::new(&crypto, Curve::P256, "participant") }
    }

    fn session(&self) -> Session {
        fixture::session(&self.store)
    }

    /// Runs a function body after the constitution, as `apply` would.
    fn run(&self, body: &str) -> Result<(), Failure> {
        let testing = fs::read_to_string(folder().join("testing.js")).unwrap();
        let module =
            format!("{DEFAULT}\n{testing}\nexport function test(CERTIFICATE, ROOT, ENCRYPTION_KEY) {{\n{body}\n}}");
        let arguments =
            [json!(self.participant.certificate.to_pem()), json!(ROOT.to_string()), json!(ENCRYPTION_KEY.to_string())];
        let call =
            Call { role: Role::Apply, limits: CONSTITUTION, module: &module, function: "test", arguments: &arguments };
        let session = self.session();
        engine::call(&session.world, &Budget::new(STEPS_APPLY, None, 0), &call, |_, _| Ok(()))
    }
}

/// How a ballot that is this expression ends.
fn ballot_of(expression: &str) -> Result<bool, Failure> {
    let fixture = Fixture::new();
    let module = format!("export function vote(proposal, proposerId) {{ {expression} }}");
    let session = fixture.session();
    ballot(&session.world, &resolution_budget(&session.world), &module, "{}", "proposer")
}

#[test]
fn every_action_does_what_its_test_says() {
    let fixture = Fixture::new();
    let mut tested = 0;
    for entry in fs::read_dir(folder().join("actions")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".test.js") {
            continue;
        }
        let test = path.with_file_name(name.replace(".js", ".test.js"));
        let body = fs::read_to_string(&test).unwrap_or_else(|_| panic!("{name} has no test beside it"));
        fixture.run(&body).unwrap_or_else(|failure| panic!("{}: {failure:?}", test.display()));
        tested += 1;
    }
    assert!(tested >= 15, "{tested}");
}

#[test]
fn a_test_that_fails_is_noticed() {
    let failure = Fixture::new().run("equal(1, 2);").unwrap_err();
    assert_eq!(failure.reason, "Error: got 1, expected 2");
}

#[test]
fn a_proposal_that_is_nonsense_is_described_and_not_thrown_at() {
    let session = Fixture::new().session();
    for (text, why) in [
        ("", "not JSON"),
        ("[]", "no actions"),
        ("{\"actions\": []}", "no actions"),
        ("{\"actions\": [null]}", "there is no action undefined"),
        ("{\"actions\": [{\"name\": \"rob\"}]}", "there is no action rob"),
        ("{\"actions\": [{\"name\": \"set_member\", \"args\": 7}]}", "must be an object"),
    ] {
        let verdict = validate(&session.world, DEFAULT, text).unwrap();
        assert!(!verdict.valid && verdict.description.contains(why), "{text}: {verdict:?}");
    }
}

#[test]
fn ballots_vote_by_javascript_truth() {
    for (expression, vote) in [("return true", true), ("return 1", true), ("return ''", false), ("", false)] {
        assert_eq!(ballot_of(expression), Ok(vote), "{expression}");
    }
    assert_eq!(ballot_of("return proposerId === 'proposer' && proposal === '{}'"), Ok(true));
}

#[test]
fn a_ballot_that_never_ends_recurses_or_hoards_fails_and_does_no_harm() {
    for hostile in [
        "while (true) {}",
        "try { while (true) {} } catch (e) {} finally { return true }",
        "return /^(a+)+$/.test('a'.repeat(40) + 'b')",
        "const f = () => f(); return f()",
        "const f = () => { try { return f() } finally { f() } }; return f()",
        "const a = []; while (true) a.push(new Uint8Array(1 << 20))",
        "return 'x'.repeat(1 << 29).length",
        "const a = []; a.length = 4294967295; return a.indexOf(1)",
        "return Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)",
        "return [].concat(new Array(4294967295))",
        "return JSON.parse('['.repeat(100000) + ']'.repeat(100000))",
        "throw 'no'",
        "throw { toString() { throw 1 } }",
        "return Math.random() > 0.5",
        "return ccf.kv['private'].has(ccf.strToBuf('x'))",
        "return ccf.kv['public:ccf.gov.members.info'].set(ccf.strToBuf('x'), ccf.strToBuf('y'))",
        "return ccf.kv['public:ccf.gov.members.info'].get('text')",
        "return ccf.kv['public:ccf.gov.members.info'].get()",
        "return ccf.node.triggerLedgerRekey()",
    ] {
        assert!(ballot_of(hostile).is_err(), "{hostile}");
    }
}

#[test]
fn what_only_claims_to_be_long_keeps_no_built_in_busy() {
    for hostile in [
        "const f = () => 0; Object.defineProperty(f, 'length', { value: 2 ** 53 - 1 }); return [].reverse.call(f)",
        "Number.prototype.length = 2 ** 53 - 1; return [].reverse.call(5)",
        "return [].reverse.call({ __proto__: { length: 2 ** 53 - 1 } })",
        "return [].join.call({ get length() { return 2 ** 53 - 1 } }, '')",
        "Object.prototype.value = 0; return [].reverse.call({ get length() { return 2 ** 53 - 1 } })",
        "Object.getOwnPropertyDescriptor = () => ({ value: 0 }); return [].reverse.call({ length: 2 ** 53 - 1 })",
        "let builtin; Reflect.apply = (f) => { builtin = f }; [].reverse(); return builtin.call({ length: 2 ** 53 - 1 })",
        "return [].reverse.call({ length: { valueOf: () => 2 ** 53 - 1 } })",
        "const { __proto__: map } = ccf.kv.a; map.valueOf = () => 2 ** 53 - 1; return [].reverse.call({ __proto__: ccf.kv })",
        "return [].concat({ length: 2 ** 53 - 1, [Symbol.isConcatSpreadable]: true })",
        "return [].concat({ length: 0, get [Symbol.isConcatSpreadable]() { this.length = 2 ** 53 - 1; return true } })",
        "return [new Array(2 ** 32 - 1)].flat()",
        "return [1].flatMap(() => new Array(2 ** 32 - 1))",
        "return String.raw({ raw: { length: 2 ** 53 - 1 } })",
        "return JSON.stringify({}, new Array(2 ** 32 - 1))",
        "return [].values.call({ length: 2 ** 32 - 1 }).includes(1)",
        "return [].values.call({ length: 2 ** 32 - 1 }).join('')",
        "return [].values.call({ length: 2 ** 32 - 1 }).drop(2 ** 32).next()",
        "return new Set().union({ size: 1, has() {}, keys: () => [].values.call({ length: 2 ** 32 - 1 }) })",
        "return Math.sumPrecise([].keys.call({ length: 2 ** 32 - 1 }))",
    ] {
        assert!(ballot_of(hostile).is_err(), "{hostile}");
    }
    let traced = "Error.prepareStackTrace = (_, frames) => frames; return typeof new Error().stack === 'string'";
    assert_eq!(ballot_of(traced), Ok(true));
}

#[test]
fn fenced_built_ins_do_for_lists_of_every_kind_what_they_do_elsewhere() {
    for expression in [
        "[].map.call('abc', (c) => c).join() === 'a,b,c'",
        "(function () { return [].slice.call(arguments, 1).length })(1, 2, 3) === 2",
        "[].slice.call({ length: 2, 0: 'a', 1: 'b' }).join('') === 'ab'",
        "[3, 1, 2].sort().join() === '1,2,3' && `${[1, [2]]}` === '1,2'",
        "JSON.stringify([1, [2, [3]]].flat()) === '[1,2,[3]]' && [1, [2, [3]]].flat(Infinity).length === 3",
        "JSON.stringify([1].concat(2, [3, [4]], 'ab')) === '[1,2,3,[4],\"ab\"]'",
        "[1].concat([, 2], [,]).length === 4 && !(1 in [1].concat([, 2]))",
        "JSON.stringify([1, 2].flatMap((n, at) => [n, [at]])) === '[1,[0],2,[1]]'",
        "[].concat.name === 'concat' && [].concat.length === 1",
        "String.raw`a${1}b` === 'a1b'",
        "JSON.stringify({ a: 1, b: 2 }, ['a']) === '{\"a\":1}' && JSON.stringify([1], null, 1) === '[\\n 1\\n]'",
        "[...new Set([1, 2]).union(new Set([3]))].join() === '1,2,3' && new Set([1]).isSubsetOf(new Map([[1, 2]]))",
        "[1, 2, 3].values().drop(1).toArray().join() === '2,3' && [1, 2].values().includes(2)",
        "Math.sumPrecise([1, 2]) === 3 && Math.sumPrecise(new Set([1, 2])) === 3",
    ] {
        assert_eq!(ballot_of(&format!("return {expression}")), Ok(true), "{expression}");
    }
}

#[test]
fn a_ballot_that_runs_too_long_is_marked_and_the_same_on_every_run() {
    let failures: Vec<_> = (0..2).map(|_| ballot_of("for (let i = 0; ; i++) {}").unwrap_err()).collect();
    assert!(failures[0].exceeded);
    assert_eq!(failures[0], failures[1]);
    assert!(!ballot_of("throw 1").unwrap_err().exceeded);
}

#[test]
fn what_is_remembered_of_a_ballots_reads_is_bounded() {
    let look = "const key = new ArrayBuffer(8); for (let i = 0; i < 300000; i++)";
    for hostile in [
        format!("{look} ccf.kv[`public:ccf.gov.${{i}}`].has(key)"),
        format!("{look} ccf.kv['public:ccf.gov.x'].has(ccf.strToBuf(`${{i}}`))"),
        format!("{look} try {{ ccf.kv['public:ccf.gov.x'].size }} catch {{}} return true"),
        "const key = new ArrayBuffer(1 << 16); for (let i = 0; i < 1000; i++) ccf.kv['public:ccf.gov.x'].has(key)"
            .into(),
    ] {
        assert!(ballot_of(&hostile).unwrap_err().exceeded, "{hostile}");
    }
    for (long, why) in [
        ("ccf.kv['public:ccf.gov.' + 'x'.repeat(1 << 20)].has(new ArrayBuffer(8))", "at most"),
        ("ccf.kv['public:ccf.gov.x'].has(new ArrayBuffer((1 << 16) + 1))", "at most"),
    ] {
        let failure = ballot_of(long).unwrap_err();
        assert!(failure.reason.contains(why), "{failure:?}");
    }
}

/// A session in which so many steps at most are taken, by the times that the clock is asked.
fn counted_session(fixture: &Fixture) -> (Session, Rc<std::cell::Cell<u64>>) {
    let asked = Rc::new(std::cell::Cell::new(0));
    let counted = asked.clone();
    let wall = Rc::new(move || {
        counted.set(counted.get() + 1);
        0
    });
    (Session::new(fixture.store.begin(), crate::Facts::default(), Some(wall)), asked)
}

#[test]
fn constitutions_that_never_end_are_looked_at_once_and_cost_their_proposal() {
    let fixture = Fixture::new();
    let (session, asked) = counted_session(&fixture);
    let proposal = |constitution: &str, count: usize| {
        let action = json!({"name": "set_constitution", "args": {"constitution": constitution}});
        json!({"actions": vec![action; count]}).to_string()
    };
    let verdict = validate(&session.world, DEFAULT, &proposal("for (;;) {}", 300)).unwrap();
    assert!(!verdict.valid && verdict.description.contains("longer than it may"), "{verdict:?}");
    assert!(asked.get() < STEPS_RESOLUTION, "{}", asked.get());
    // Each ends, and takes its time.
    let (session, asked) = counted_session(&fixture);
    let slow = "for (let i = 0; i < 3000000; i++) {}";
    let validated = validate(&session.world, DEFAULT, &proposal(slow, 300));
    assert!(validated.as_ref().map_or_else(|failure| failure.exceeded, |verdict| !verdict.valid), "{validated:?}");
    assert!(asked.get() < STEPS_RESOLUTION + 100, "{}", asked.get());
}

#[test]
fn a_proposal_has_a_bounded_number_of_actions() {
    let session = Fixture::new().session();
    let proposal = json!({"actions": vec![json!({"name": "trigger_ledger_chunk"}); 1001]}).to_string();
    let verdict = validate(&session.world, DEFAULT, &proposal).unwrap();
    assert!(!verdict.valid && verdict.description.contains("1001 actions"), "{verdict:?}");
}

#[test]
fn a_ballot_sees_no_clock_no_time_zone_and_no_collector() {
    for (expression, expected) in [
        ("return Date.now() === 0 && new Date().getTime() === 0", true),
        ("return new Date('2024-05-01T10:00:00').toISOString() === '2024-05-01T10:00:00.000Z'", true),
        ("return new Date('May 1, 2024').getTime()", false),
        ("return new Date(2024, 0).getHours() === 0 && new Date(0).getTimezoneOffset() === 0", true),
        ("return new (new Date().constructor)().getTime() === 0", true),
        ("return typeof WeakRef === 'undefined' && typeof performance === 'undefined'", true),
    ] {
        assert_eq!(ballot_of(expression), Ok(expected), "{expression}");
    }
}

#[test]
fn the_object_that_constitutions_of_ccf_expect_is_there() {
    for expression in [
        "return ccf.bufToStr(ccf.strToBuf('käse €')) === 'käse €'",
        "return ccf.bufToStr(new Uint8Array([255]).buffer) !== ccf.bufToStr(new Uint8Array([254]).buffer)",
        "return ccf.bufToJsonCompatible(ccf.jsonCompatibleToBuf({ a: [1] })).a[0] === 1",
        "return new Uint8Array(ccf.crypto.digest('SHA-256', ccf.strToBuf('abc')))[0] === 0xba",
        "return ccf.crypto.digest('SHA-512', ccf.strToBuf('')).byteLength === 64 && ccf.digest === ccf.crypto.digest",
        "return ccf.kv['public:ccf.gov.members.info'].size === 1 && !ccf.isValidX509CertBundle('x')",
        "const root = ccf.kv['public:ccf.internal.signatures'].get(new ArrayBuffer(8));
         return ccf.bufToJsonCompatible(root).root.length === 64",
        "let seen = 0; ccf.kv['public:ccf.gov.members.certs'].forEach((pem, id, map) => {
            seen += ccf.pemToId(ccf.bufToStr(pem)) === ccf.bufToStr(id) && map.has(id);
         }); return seen === 1",
        "return ccf.kv['public:ccf.gov.none'].get(ccf.strToBuf('x')) === undefined",
        "return ccf.kv['public:ccf.gov.members.info'].getVersionOfPreviousWrite(ccf.strToBuf('x')) === undefined",
        "return ccf.gov.validateConstitution(
            'export function validate(a) {} export function resolve(a, b, c) {} export function apply(a, b) {}')",
        "return typeof ccf.host === 'undefined' && typeof ccf.node === 'undefined' && typeof ccf.network === 'undefined'",
        "console.log('seen', { a: 1 }); return true",
    ] {
        assert_eq!(ballot_of(expression), Ok(true), "{expression}");
    }
    for (expression, why) in [
        ("ccf.strToBuf(7)", "takes a string"),
        ("ccf.bufToStr('text')", "must be an ArrayBuffer"),
        ("ccf.jsonCompatibleToBuf(undefined)", "has no JSON"),
        ("ccf.crypto.digest('MD5', ccf.strToBuf(''))", "no digest MD5"),
        ("ccf.crypto.generateRsaKeyPair(2048)", "decisions must replay"),
        (
            "ccf.crypto.verifySignature({ name: 'RSA', hash: 'SHA-256' }, '', new ArrayBuffer(1), new ArrayBuffer(1))",
            "not known",
        ),
        ("ccf.gov.validateConstitution('')", "no function validate"),
    ] {
        let failure = ballot_of(expression).unwrap_err();
        assert!(failure.reason.contains(why), "{expression}: {failure:?}");
    }
}

#[test]
fn apply_clears_what_it_may_only_write_and_learns_nothing_of_it() {
    let fixture = Fixture::new();
    let map = "const map = ccf.kv['public:app']; const key = ccf.strToBuf('k'); map.set(key, key);";
    fixture.run(&format!("{map} map.clear();")).unwrap();
    for look in ["map.get(key)", "map.has(key)", "map.size", "map.forEach(() => {})"] {
        let refused = fixture.run(&format!("{map} {look};")).unwrap_err();
        assert!(refused.reason.contains("cannot be read in apply"), "{look}: {refused:?}");
    }
    let session = fixture.session();
    let kept = ballot(
        &session.world,
        &resolution_budget(&session.world),
        "export const vote = () => ccf.kv['public:ccf.gov.members.info'].clear()",
        "{}",
        "p",
    );
    assert!(kept.unwrap_err().reason.contains("cannot be written in a read-only"));
}

#[test]
fn nothing_passes_from_one_call_to_the_next() {
    let session = Fixture::new().session();
    let budget = resolution_budget(&session.world);
    let module = "export function vote() { const seen = globalThis.mark; globalThis.mark = true; return seen; }";
    for _ in 0..2 {
        assert_eq!(ballot(&session.world, &budget, module, "{}", "p"), Ok(false));
    }
}

#[test]
fn what_is_no_constitution_is_refused_with_its_reason() {
    let session = Fixture::new().session();
    let refused = |text: &str| check(&session.world, &resolution_budget(&session.world), text).unwrap_err().reason;
    let exports = "export function validate(a) {} export function resolve(a, b, c) {}";
    assert!(refused("export const validate = 1").contains("no function validate"));
    assert!(refused(&format!("{exports} export function apply() {{}}")).contains("apply takes 2 arguments, not 0"));
    assert!(refused("while (true) {}").contains("longer than it may"));
    assert!(refused("import 'fs'").contains("Error"));
    assert!(refused("await new Promise(() => {})").contains("never comes"));
    check(&session.world, &resolution_budget(&session.world), DEFAULT).unwrap();
}

#[test]
fn the_resolution_as_a_whole_has_an_end() {
    let session = Fixture::new().session();
    let budget = resolution_budget(&session.world);
    let looping = |at: usize| format!("export function vote() {{ while (true) {{}} }} // {at}");
    for at in 0..25 {
        assert!(ballot(&session.world, &budget, &looping(at), "{}", "p").unwrap_err().exceeded);
    }
    assert!(budget.steps_left() <= 1, "{}", budget.steps_left());
}

/// A folder with `actions.js`, `validate.js`, `resolve.js` and `apply.js` as CCF's samples have them. They are not ours to keep here.
const CCF_FOLDER: &str = "COCO_CCF_CONSTITUTION";

#[test]
fn a_constitution_written_for_ccf_runs_unchanged() {
    let Some(folder) = std::env::var_os(CCF_FOLDER).map(PathBuf::from) else {
        println!("skipped: {CCF_FOLDER} names no folder with CCF's default constitution");
        return;
    };
    let part = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let module = ["actions.js", "validate.js", "resolve.js", "apply.js"].map(part).join("\n");
    let fixture = Fixture::new();
    let session = fixture.session();
    check(&session.world, &resolution_budget(&session.world), &module).unwrap();
    let (certificate, id) = (fixture.participant.certificate.to_pem(), fixture.participant.id());
    let service = crate::ServiceInfo::read(&mut fixture.store.snapshot()).unwrap().unwrap().cert;
    let hex = |digits: usize| "ab".repeat(digits / 2);
    let (policy, host_data) = ("policy", coco_crypto::sha256(b"policy").to_string());
    let endpoint = json!({
        "js_module": "a.js", "js_function": "f", "mode": "readonly", "forwarding_required": "never", "authn_policies": ["jwt"],
    });
    let modules = json!([{"name": "a.js", "module": "export {}"}]);
    let bundle = json!({"metadata": {"endpoints": {"/a/{b}": {"get": endpoint}}}, "modules": modules});
    for (name, args) in [
        ("set_constitution", json!({"constitution": DEFAULT})),
        ("set_member", json!({"cert": certificate, "encryption_pub_key": ENCRYPTION_KEY, "member_data": {"a": 1}})),
        ("set_member_data", json!({"member_id": id, "member_data": {"b": 2}})),
        ("remove_member", json!({"member_id": id})),
        ("set_user", json!({"cert": certificate, "user_data": {"c": 3}})),
        ("set_user_data", json!({"user_id": id, "user_data": {"d": 4}})),
        ("remove_user", json!({"user_id": id})),
        ("add_snp_measurement", json!({"measurement": hex(96)})),
        ("add_snp_uvm_endorsement", json!({"did": "did:x509:1", "feed": "feed", "svn": "1"})),
        ("add_snp_host_data", json!({"security_policy": policy, "host_data": host_data})),
        ("remove_snp_host_data", json!({"host_data": host_data})),
        ("remove_snp_uvm_endorsement", json!({"did": "did:x509:1", "feed": "feed"})),
        ("remove_snp_measurement", json!({"measurement": hex(96)})),
        ("add_node_code", json!({"code_id": hex(64)})),
        ("remove_node_code", json!({"code_id": hex(64)})),
        ("set_js_runtime_options", json!({"max_heap_bytes": 1, "max_stack_bytes": 1, "max_execution_time_ms": 1})),
        ("set_js_app", json!({"bundle": bundle})),
        ("refresh_js_app_bytecode_cache", json!(null)),
        ("remove_js_app", json!(null)),
        ("set_js_app", json!({"bundle": bundle, "disable_bytecode_cache": true})),
        ("set_ca_cert_bundle", json!({"name": "ca", "cert_bundle": certificate})),
        ("remove_ca_cert_bundle", json!({"name": "ca"})),
        ("assert_service_identity", json!({"service_identity": service})),
        ("set_service_configuration", json!({"recent_cose_proposals_window_size": 50})),
        ("transition_service_to_open", json!({"next_service_identity": service})),
        ("set_service_certificate_validity", json!({"valid_from": "20261231235959Z", "validity_period_days": 30})),
        ("trigger_ledger_rekey", json!(null)),
        ("trigger_recovery_shares_refresh", json!(null)),
        ("trigger_ledger_chunk", json!(null)),
        ("trigger_snapshot", json!(null)),
    ] {
        let proposal = json!({"actions": [{"name": name, "args": args}]}).to_string();
        let verdict = validate(&session.world, &module, &proposal).unwrap();
        assert!(verdict.valid, "{name}: {}", verdict.description);
        apply(&session.world, &module, &proposal, &id).unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
    }
    let node = session.world.tx.borrow_mut().prefix(&tables::NODE_INFO, b"").next().unwrap().0;
    let node = String::from_utf8(node.to_vec()).unwrap();
    let period = json!({"valid_from": "20261231235959Z", "validity_period_days": 30});
    let mut of_one = period.clone();
    of_one["node_id"] = json!(node);
    for (name, args) in [("set_node_certificate_validity", of_one), ("set_all_nodes_certificate_validity", period)] {
        let proposal = json!({"actions": [{"name": name, "args": args}]}).to_string();
        apply(&session.world, &module, &proposal, &id).unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        let certificate = session.world.tx.borrow_mut().get(&tables::NODE_CERTS, node.as_bytes()).unwrap();
        let asked_for = session.orders().into_iter().find_map(|order| match order {
            Order::Endorse(asked) => Some(asked.placeholder()),
            _ => None,
        });
        assert_eq!(asked_for.as_deref().map(str::as_bytes), Some(&certificate[..]), "{name}");
    }
    let installed = crate::application::Installed::all(&mut *session.world.tx.borrow_mut()).unwrap();
    let [crate::application::Installed { method, path, endpoint, .. }] = &installed[..] else {
        panic!("{installed:?}")
    };
    assert_eq!((&**method, &**path, &*endpoint.js_module), ("GET", "/a/{b}", "/a.js"));
    let is_asked_for = |order: &Order| matches!(order, Order::RenewService(period) if period.days == 30);
    assert!(session.orders().iter().any(is_asked_for), "the service's certificate is made with the transaction");
    let votes = |yes: bool| vec![Vote { member_id: id.clone(), vote: yes }];
    let decide = |votes: &[Vote]| {
        let budget = resolution_budget(&session.world);
        resolve(&session.world, &budget, &module, r#"{"actions": []}"#, &id, votes, &id).unwrap()
    };
    // No member of this network is active yet: one vote is a majority.
    assert_eq!((decide(&votes(true)).as_str(), decide(&votes(false)).as_str()), ("Accepted", "Open"));
}

/// The samples beside the default one: other ways to resolve, and further actions.
#[test]
fn ccfs_other_samples_run_unchanged() {
    let Some(samples) =
        std::env::var_os(CCF_FOLDER).map(PathBuf::from).and_then(|folder| folder.parent().map(PathBuf::from))
    else {
        println!("skipped: {CCF_FOLDER} names no folder with CCF's default constitution");
        return;
    };
    let part = |name: &str| fs::read_to_string(samples.join(name)).unwrap();
    let module = |resolve: &str, actions: &[&str]| {
        let rest = ["default/validate.js", resolve, "default/apply.js"];
        ["default/actions.js"].iter().chain(actions).chain(&rest).map(|name| part(name)).collect::<Vec<_>>().join("\n")
    };
    let session = Fixture::new().session();
    let member = session.world.tx.borrow_mut().prefix(&tables::MEMBER_INFO, b"").next().unwrap().0;
    let member = String::from_utf8(member.to_vec()).unwrap();
    let of = |name: &str, args: serde_json::Value| json!({"actions": [{"name": name, "args": args}]}).to_string();
    let decide = |module: &str, proposal: &str, votes: &[bool]| {
        let budget = resolution_budget(&session.world);
        let votes: Vec<_> = votes.iter().map(|vote| Vote { member_id: member.clone(), vote: *vote }).collect();
        resolve(&session.world, &budget, module, proposal, &member, &votes, "id").map_err(|failure| failure.reason)
    };
    let chunk = of("trigger_ledger_chunk", json!(null));
    let ends = |end: &str| Ok(end.to_owned());
    // No member is active yet: of votes for it one is a majority.
    for (name, none, yes, no) in [
        ("sandbox", "Accepted", "Accepted", "Accepted"),
        ("veto", "Open", "Accepted", "Rejected"),
        ("operator", "Open", "Accepted", "Open"),
        ("test", "Open", "Accepted", "Open"),
    ] {
        let module = module(&format!("{name}/resolve.js"), &[]);
        check(&session.world, &resolution_budget(&session.world), &module).unwrap();
        for (votes, end) in [(&[][..], none), (&[true][..], yes), (&[false][..], no)] {
            assert_eq!(decide(&module, &chunk, votes), ends(end), "{name} {votes:?}");
        }
    }
    // It uses a name that it does not declare.
    let provisioner = module("operator_provisioner/resolve.js", &[]);
    check(&session.world, &resolution_budget(&session.world), &provisioner).unwrap();
    assert!(decide(&provisioner, &chunk, &[true]).unwrap_err().contains("proposer_id is not defined"));

    let further = ["roles/set_role_definition.js", "test/test_actions.js", "virtual/virtual_attestation_actions.js"];
    let whole = module("test/resolve.js", &further);
    let valid = |proposal: &str| validate(&session.world, &whole, proposal).unwrap().valid;
    let applied = |proposal: &str| {
        assert!(valid(proposal), "{proposal}");
        apply(&session.world, &whole, proposal, "id").map_err(|failure| failure.reason)
    };
    let measurement = json!({"measurement": "ab".repeat(32)});
    let host_data = json!({"host_data": "cd".repeat(32)});
    for (name, args) in [
        ("set_role_definition", json!({"role": "teller", "actions": ["/a", "/b"]})),
        ("set_role_definition", json!({"role": "teller", "actions": ["/b"]})),
        ("add_virtual_measurement", measurement.clone()),
        ("remove_virtual_measurement", measurement),
        ("add_virtual_host_data", host_data.clone()),
        ("remove_virtual_host_data", host_data),
        ("set_service_recent_cose_proposals_window_size", json!({"proposal_count": 7})),
    ] {
        applied(&of(name, args)).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
    let roles = MapName::new("public:programmability.roles.teller");
    let held: Vec<_> = session.world.tx.borrow_mut().prefix(&roles, b"").map(|(key, _)| key).collect();
    assert_eq!(held, [r#""/b""#]);
    let noop = |name: &str| of(name, json!(null));
    for (name, votes, end) in [
        ("always_accept_noop", &[][..], ends("Accepted")),
        ("always_reject_noop", &[], ends("Rejected")),
        ("always_accept_with_one_vote", &[true], ends("Accepted")),
        ("always_reject_with_one_vote", &[false], ends("Rejected")),
        ("always_throw_in_apply", &[], ends("Accepted")),
        ("always_throw_in_resolve", &[], Err("Error: Resolve message".to_owned())),
    ] {
        assert_eq!(decide(&whole, &noop(name), votes), end, "{name}");
    }
    assert_eq!(applied(&noop("always_throw_in_apply")), Err("Error: Error message".to_owned()));
    assert!(!valid(&of("valid_pem", json!({"pem": "no certificate"}))) && !valid(&noop("unknown")));
}
