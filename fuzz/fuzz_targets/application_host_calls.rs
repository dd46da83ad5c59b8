//! What the members' application asks of the host: an endpoint's module that is the input, as a text or as calls of everything that endpoints are
//! given, with hostile arguments; answering a request that writes, one that reads, and one about the past.
//!
//! Whatever it does, each request gets an answer, in time; and what it changes is not what is governance's or the nodes'.
#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use coco_app::{App, Workers};
use coco_fuzz::script::script;
use coco_governance::tables;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{OpenGate, Protocol};
use coco_types::MapName;
use http::Request;
use libfuzzer_sys::fuzz_target;

/// What endpoints have on `ccf` besides what every script has, and of that what goes another way for them; see [`script`].
const CALLS: &[&str] = &[
    "ccf.rpc.setApplyWrites(c.byteLength % 2 === 0)",
    "ccf.rpc.setApplyWrites(a)",
    "ccf.rpc.setClaimsDigest(c)",
    "ccf.rpc.setClaimsDigest(ccf.crypto.digest('SHA-256', b))",
    "ccf.consensus.getLastCommittedTxId()",
    "ccf.consensus.getStatusForTxId(a, c.byteLength)",
    "ccf.consensus.getStatusForTxId(2, Number(a))",
    "ccf.consensus.getViewForSeqno(a)",
    "ccf.consensus.getViewForSeqno(c.byteLength)",
    "ccf.historical.getStateRange(0, c.byteLength, c.byteLength + 3, 1)",
    "ccf.historical.getStateRange(a, a, a, a)",
    "ccf.historical.getStateRange(1, 1, 9007199254740991, 1)",
    "ccf.historical.getStateRange(1, 1, 4, 1).forEach((state) => state.kv[a].forEach((value, key) => state.kv[a].set(key, value)))",
    "ccf.historical.dropCachedStates(c.byteLength)",
    "ccf.historicalState.kv[a].get(b)",
    "ccf.historicalState.kv[a].set(b, c)",
    "JSON.stringify(ccf.historicalState.receipt)",
    "request.body.text()",
    "request.body.json()",
    "ccf.kv[a].set(request.body.arrayBuffer(), c)",
    "ccf.kv[a].set(b, c)",
    "ccf.kv[a].get(b)",
    "ccf.kv[a].delete(b)",
    "ccf.kv[a].clear()",
    "ccf.kv[a].forEach((value, key) => ccf.kv[a].delete(key))",
    "answer = { statusCode: c.byteLength, headers: { [a]: a }, body: c }",
    "answer = { body: a, headers: JSON.parse(a) }",
    "answer = { body: new Uint8Array(c, 1), headers: { 'content-type': a } }",
    "answer = Promise.resolve({ body: { a } })",
    "answer = Promise.reject(a)",
    "answer = new Promise(() => {})",
    "answer = import(a)",
    "console.log(a)",
    "Math.random() + Date.now()",
    "ccf.crypto.generateAesKey(c.byteLength)",
    "ccf.node.triggerSnapshot()",
    "ccf.setJwtPublicSigningKeys(a, a, { keys: [{ kid: a, x5c: [a] }] })",
];
const MAPS: &[&str] = &[
    "records",
    "public:records",
    "public:ccf.gov.modules",
    "public:ccf.gov.members.info",
    "public:ccf.internal.signatures",
    "history:records",
    "ccf.internal",
];
/// What an application may not change.
const KEPT: &[&str] = &["public:ccf.", "ccf."];
const MODULE_NAME: &[u8] = b"/a.js";
/// A network's life begins anew after so many inputs, so that what it remembers stays small.
const INPUTS: u32 = 300;

thread_local! {
    static NODE: RefCell<(Arc<SingleNode>, u32)> = RefCell::new((node(), 0));
}

fn node() -> Arc<SingleNode> {
    let app: Arc<dyn Protocol> = Arc::new(App::new(Arc::new(|bytes| bytes.fill(7)), Workers::AtOnce));
    let node = SingleNode::found(app, &serde_json::Value::Null, Arc::new(OpenGate));
    node.commit_other(|tx| {
        for (route, mode) in [("POST /f", "readwrite"), ("GET /f", "readonly"), ("GET /past", "historical")] {
            let row = serde_json::json!({
                "js_module": "/a.js", "js_function": "f", "mode": mode, "authn_policies": ["no_auth"],
            });
            tx.put(&tables::JS_ENDPOINTS, route.as_bytes().to_vec(), row.to_string().into_bytes());
        }
        let options = serde_json::json!({
            "max_heap_bytes": 16 << 20, "max_stack_bytes": 256 << 10, "max_execution_time_ms": 20, "return_exception_details": true,
        });
        tx.put(&tables::JS_RUNTIME_OPTIONS, tables::SINGLETON.to_vec(), options.to_string().into_bytes());
    });
    node
}

fuzz_target!(|input: &[u8]| {
    let Some((&mode, rest)) = input.split_first() else { return };
    let module = match mode & 3 {
        0 => String::from_utf8_lossy(rest).into_owned(),
        1 => format!("export const f = (request) => {{\n{}\n}};", String::from_utf8_lossy(rest)),
        _ => format!(
            "export function f(request) {{\nlet answer = {{}};\n{}return answer;\n}}",
            script(CALLS, MAPS, rest)
        ),
    };
    NODE.with_borrow_mut(|(one, inputs)| {
        *inputs += 1;
        if *inputs > INPUTS {
            (*one, *inputs) = (node(), 0);
        }
        one.commit_other(|tx| {
            tx.put(&tables::JS_MODULES, MODULE_NAME.to_vec(), module.into_bytes());
        });
        let kept = kept(one);
        for (method, path) in [("POST", "/app/f?a=b"), ("GET", "/app/f"), ("GET", "/app/past?transaction_id=2.2")] {
            let request = Request::builder().method(method).uri(path).body(Bytes::from_static(b"{\"amount\": 5}"));
            black_box(one.call(request.expect("a request without conditions")));
        }
        assert!(kept == self::kept(one), "the application changed what is not its own");
    });
});

fn kept(node: &SingleNode) -> BTreeMap<MapName, BTreeMap<Bytes, Bytes>> {
    let is_kept = |name: &str| KEPT.iter().any(|kept| name.starts_with(kept));
    node.state().into_iter().filter(|(map, _)| is_kept(map.as_str())).collect()
}
