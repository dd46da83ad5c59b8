//! What a request to the members' application costs the node that answers it, without TLS, network and disk: `cargo bench -p coco-app`.
//!
//! Each call has an interpreter of its own, in which the surroundings and the module are compiled. Times are those of this thread on a processor, so that
//! what else the machine does is hardly part of them.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use coco_app::{App, Workers};
use coco_governance::tables;
use coco_protocol::OpenGate;
use coco_protocol::conformance::SingleNode;
use http::Request;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const CALLS: usize = 500;
const WARM: usize = 20;
/// A function, how it runs, and what it does.
const FUNCTIONS: &[(&str, &str, &str, &str)] = &[
    ("GET", "readonly", "a constant", "{ body: 'x' }"),
    ("GET", "readonly", "one row, as JSON", "{ body: ccf.bufToJsonCompatible(rows.get(key)) }"),
    ("POST", "readwrite", "one row read and written, one transaction", "(rows.set(key, rows.get(key)), {})"),
    ("GET", "readonly", "SHA-256 of a kilobyte", "{ body: crypto.digest('SHA-256', new ArrayBuffer(1024)) }"),
    (
        "GET",
        "readonly",
        "a signature by Ed25519",
        "{ body: crypto.sign({ name: 'EdDSA' }, keys().ed.privateKey, key) }",
    ),
    (
        "GET",
        "readonly",
        "a signature by ECDSA, P-256",
        "{ body: crypto.sign({ name: 'ECDSA', hash: 'SHA-256' }, keys().ec.privateKey, key) }",
    ),
    (
        "GET",
        "readonly",
        "a signature by RSA-PSS, 2,048 bits",
        "{ body: crypto.sign({ name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 }, keys().rsa.privateKey, key) }",
    ),
    ("GET", "readonly", "a key pair, P-256", "{ body: crypto.generateEcdsaKeyPair('secp256r1') }"),
    ("GET", "readonly", "ten past transactions", "{ body: [ccf.historical.getStateRange(1, 1, 10, 0).length] }"),
];

fn main() {
    // Cargo passes `--bench`, and `cargo test` runs this without: then there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let node = node();
    println!("{:<44} {:>9} {:>9}", "", "p50 µs", "p99 µs");
    for (number, (method, _, what, _)) in FUNCTIONS.iter().enumerate() {
        let call = || {
            let request = Request::builder().method(*method).uri(format!("/app/{number}")).body(Bytes::new());
            let began = on_processor();
            let answer = node.call(request.expect("a path"));
            let spent = on_processor() - began;
            assert_eq!(answer.status().as_u16(), 200, "{what}: {:?}", answer.body());
            black_box(answer);
            spent
        };
        (0..WARM).for_each(|_| assert!(call() > 0));
        let mut times: Vec<_> = (0..CALLS).map(|_| call()).collect();
        times.sort_unstable();
        let micros = |at: usize| times[at] as f64 / 1e3;
        println!("{what:<44} {:>9.0} {:>9.0}", micros(CALLS / 2), micros(CALLS * 99 / 100));
    }
}

fn node() -> Arc<SingleNode> {
    let app = App::new(Arc::new(|bytes| bytes.fill(7)), Workers::AtOnce);
    let node = SingleNode::found(Arc::new(app), &Value::Null, Arc::new(OpenGate));
    let exported: String = FUNCTIONS
        .iter()
        .enumerate()
        .map(|(number, function)| format!("export const f{number} = () => ({});\n", function.3))
        .collect();
    let module = format!(
        "const {{ crypto }} = ccf; const rows = ccf.kv['rows']; const key = ccf.strToBuf('key');
         const keys = () => ccf.bufToJsonCompatible(rows.get(ccf.strToBuf('keys')));
         export const begin = () => {{
           const made = {{ ed: crypto.generateEddsaKeyPair('curve25519'), ec: crypto.generateEcdsaKeyPair('secp256r1'), rsa: crypto.generateRsaKeyPair(2048) }};
           rows.set(ccf.strToBuf('keys'), ccf.jsonCompatibleToBuf(made));
           rows.set(key, ccf.jsonCompatibleToBuf({{ amount: 5 }}));
           return {{}};
         }};\n{exported}"
    );
    node.commit_other(|tx| {
        let mut install = |route: String, function: String, mode: &str| {
            let row =
                json!({"js_module": "/a.js", "js_function": function, "mode": mode, "authn_policies": ["no_auth"]});
            tx.put(&tables::JS_ENDPOINTS, route.into_bytes(), row.to_string().into_bytes());
        };
        for (number, (method, mode, ..)) in FUNCTIONS.iter().enumerate() {
            install(format!("{method} /{number}"), format!("f{number}"), mode);
        }
        install("POST /begin".to_owned(), "begin".to_owned(), "readwrite");
        tx.put(&tables::JS_MODULES, b"/a.js".to_vec(), module.into_bytes());
    });
    for _ in 0..10 {
        let begun = node.call(Request::post("/app/begin").body(Bytes::new()).expect("a path"));
        assert_eq!(begun.status().as_u16(), 200, "{:?}", begun.body());
    }
    node
}

/// Nanoseconds.
fn on_processor() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * 1_000_000_000 + nanos
}
