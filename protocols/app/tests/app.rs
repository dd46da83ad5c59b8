//! An application through its own service, on a network of one node. The suite that other ledgers pass wants one that is whole from its genesis
//! on; here members install what answers, so that its rules are held to one by one.

use std::sync::Arc;

use bytes::Bytes;
use coco_app::{App, NAME, Workers};
use coco_crypto::sha256;
use coco_governance::tables;
use coco_kv::Tx;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{Caller, Gate, OpenGate, Protocol, Subject, TokenClaims};
use http::{Request, Response};
use serde_json::{Value, json};

const MODULE: &str = "
  import { key, text } from './lib/bytes.js';
  const totals = ccf.kv['totals'];
  const total = (name) => Number(text(totals.get(key(name))) ?? 0);
  export function add(request) {
    const { name } = request.params;
    const sum = total(name) + Number(request.body.text());
    totals.set(key(name), key(String(sum)));
    return sum > 100 ? { statusCode: 400, body: { sum } } : { body: { sum }, headers: { 'x-kind': 'sum' } };
  }
  export const read = (request) => ({ body: { sum: total(request.params.name) } });
  export const overreach = () => { totals.set(key('a'), key('1')); return {}; };
  export const fails = () => { totals.set(key('a'), key('666')); throw new Error('on purpose'); };
  export const past = () => {
    const { transactionId, kv } = ccf.historicalState;
    return { body: { transactionId, then: text(kv['totals'].get(key('a'))), now: text(totals.get(key('a'))) } };
  };
  export const range = ({ query }) => {
    const [first, last] = query.split('-').map(Number);
    const states = ccf.historical.getStateRange(1, first, last, 60);
    return { body: [states && states.map(({ transactionId, kv }) => [transactionId, text(kv['totals'].get(key('a')))])] };
  };
  export const claims = (request) => { ccf.rpc.setClaimsDigest(ccf.crypto.digest('SHA-256', key('claimed'))); return {}; };
  export const committed = () => {
    const { view, seqno } = ccf.consensus.getLastCommittedTxId();
    const own = seqno + 1;
    return { body: { seqno, view: ccf.consensus.getViewForSeqno(seqno), own: ccf.consensus.getStatusForTxId(view, own) } };
  };
  export const who = (request) => ({ body: request.caller });
  export const echo = ({ body, caller, ...request }) => ({ body: request });
";
const BYTES: &str = "
  export const key = (name) => ccf.strToBuf(name);
  export const text = (bytes) => bytes === undefined ? undefined : ccf.bufToStr(bytes);
";

fn endpoint(function: &str, mode: &str, policies: Value) -> Value {
    json!({"js_module": "/app.js", "js_function": function, "mode": mode, "authn_policies": policies})
}

/// What members install by a vote.
fn install(tx: &mut Tx) {
    let open = || json!(["no_auth"]);
    for (route, row) in [
        ("POST /totals/{name}", endpoint("add", "readwrite", open())),
        ("GET /totals/{name}", endpoint("read", "readonly", open())),
        ("PUT /totals/{name}", endpoint("overreach", "readonly", open())),
        ("GET /then", endpoint("past", "historical", open())),
        ("GET /range", endpoint("range", "readonly", open())),
        ("POST /range", endpoint("range", "readwrite", open())),
        ("POST /fails", endpoint("fails", "readwrite", open())),
        ("POST /claims", endpoint("claims", "readwrite", open())),
        ("POST /committed", endpoint("committed", "readwrite", open())),
        ("GET /who", endpoint("who", "readonly", json!(["member_cert", "jwt", {"all_of": ["any_cert", "jwt"]}]))),
        ("POST /who", endpoint("who", "readwrite", json!(["user_cert"]))),
        ("GET /echo/{a}/{b}", endpoint("echo", "readonly", open())),
        (
            "GET /missing",
            json!({"js_module": "/none.js", "js_function": "f", "mode": "readonly", "authn_policies": open()}),
        ),
    ] {
        tx.put(&tables::JS_ENDPOINTS, route.as_bytes().to_vec(), row.to_string().into_bytes());
    }
    tx.put(&tables::JS_MODULES, b"/app.js".to_vec(), MODULE.as_bytes().to_vec());
    tx.put(&tables::JS_MODULES, b"/lib/bytes.js".to_vec(), BYTES.as_bytes().to_vec());
}

fn app() -> Arc<dyn Protocol> {
    Arc::new(App::new(Arc::new(|bytes| bytes.fill(7)), Workers::AtOnce))
}

fn founded(gate: Arc<dyn Gate>) -> Arc<SingleNode> {
    let node = SingleNode::found(app(), &Value::Null, gate);
    node.commit_other(install);
    node
}

fn node() -> Arc<SingleNode> {
    founded(Arc::new(OpenGate))
}

fn request(method: &str, path: &str, body: &str) -> Request<Bytes> {
    Request::builder().method(method).uri(path).body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|_| panic!("{:?}", response.body()))
}

fn add(node: &Arc<SingleNode>, name: &str, what: u32) -> Response<Bytes> {
    node.call(request("POST", &format!("/app/totals/{name}"), &what.to_string()))
}

fn sum(node: &Arc<SingleNode>, name: &str) -> Value {
    json_of(&node.call(request("GET", &format!("/app/totals/{name}"), "")))["sum"].clone()
}

#[test]
fn a_writing_request_is_one_transaction_and_is_read_back_with_its_version() {
    let node = node();
    let version = node.version();
    let added = add(&node, "a", 7);
    assert_eq!((added.status().as_u16(), json_of(&added)), (200, json!({"sum": 7})));
    assert_eq!(
        (&added.headers()["x-kind"], &added.headers()["content-type"]),
        (&"sum".parse().unwrap(), &"application/json".parse().unwrap())
    );
    // And the signature behind it.
    assert_eq!(node.version().0, version.0 + 2);
    assert_eq!(added.headers()["x-ms-ccf-transaction-id"], format!("2.{}", version.0 + 1).as_str());
    assert_eq!(json_of(&add(&node, "a", 5)), json!({"sum": 12}));
    let read = node.call(request("GET", "/app/totals/a", ""));
    assert_eq!((read.status().as_u16(), json_of(&read)), (200, json!({"sum": 12})));
    assert_eq!(read.headers()["x-ms-ccf-transaction-id"], format!("2.{}", node.version().0).as_str());
    let claims = node.claims().pop().unwrap();
    assert_eq!((claims.protocol, claims.kind, claims.id), (NAME, "request", Bytes::from_static(b"POST /app/totals/a")));
    assert_eq!(claims.result, sha256(br#"{"sum":12}"#));
    node.call(request("POST", "/app/claims", ""));
    assert_eq!(node.claims().pop().unwrap().result, sha256(b"claimed"));
}

#[test]
fn a_writing_request_may_ask_what_is_committed_and_is_not_itself() {
    let node = node();
    let seqno = node.version().0;
    let answer = node.call(request("POST", "/app/committed", ""));
    assert_eq!(json_of(&answer), json!({"seqno": seqno, "view": 2, "own": "Unknown"}));
}

#[test]
fn what_fails_is_answered_and_writes_nothing() {
    let node = node();
    add(&node, "a", 90);
    let too_much = add(&node, "a", 20);
    assert_eq!((too_much.status().as_u16(), json_of(&too_much)), (400, json!({"sum": 110})));
    let thrown = node.call(request("POST", "/app/fails", ""));
    assert_eq!((thrown.status().as_u16(), &json_of(&thrown)["error"]["code"]), (500, &json!("InternalError")));
    assert!(!json_of(&thrown).to_string().contains("on purpose"));
    let overreach = node.call(request("PUT", "/app/totals/a", ""));
    assert_eq!(overreach.status().as_u16(), 500);
    assert_eq!(node.call(request("GET", "/app/missing", "")).status().as_u16(), 500);
    assert_eq!(sum(&node, "a"), 90);
    let options = json!({"max_heap_bytes": 1 << 26, "max_stack_bytes": 1 << 20, "max_execution_time_ms": 1000, "return_exception_details": true});
    node.commit_other(|tx| {
        tx.put(&tables::JS_RUNTIME_OPTIONS, tables::SINGLETON.to_vec(), options.to_string().into_bytes())
    });
    let detail = json_of(&node.call(request("POST", "/app/fails", "")))["error"]["details"][0].clone();
    assert_eq!((&detail["code"], &detail["message"]), (&json!("JSException"), &json!("Error: on purpose")));
}

#[test]
fn what_is_not_there_or_not_for_this_caller_is_refused_with_ccfs_codes() {
    let node = node();
    for (method, path, status, code) in [
        ("GET", "/app/none", 404, "ResourceNotFound"),
        ("GET", "/app", 404, "ResourceNotFound"),
        ("DELETE", "/app/totals/a", 405, "UnsupportedHttpVerb"),
        ("GET", "/app/who", 401, "InvalidAuthenticationInfo"),
        ("POST", "/app/who", 401, "InvalidAuthenticationInfo"),
        ("POST", "/app/tx", 405, "UnsupportedHttpVerb"),
        ("GET", "/app/tx?transaction_id=x", 400, "InvalidQueryParameterValue"),
    ] {
        let answer = node.call(request(method, path, ""));
        assert_eq!(
            (answer.status().as_u16(), &json_of(&answer)["error"]["code"]),
            (status, &json!(code)),
            "{method} {path}"
        );
    }
    let challenges = node.call(request("GET", "/app/who", ""));
    assert!(challenges.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert!(!node.call(request("POST", "/app/who", "")).headers().contains_key("www-authenticate"));
    assert_eq!(node.call(request("DELETE", "/app/totals/a", "")).headers()["allow"], "GET, POST, PUT");
    assert_eq!(json_of(&node.call(request("GET", "/app/tx?transaction_id=2.1", "")))["status"], "Committed");
    assert_eq!(
        json_of(&node.call(request("GET", "/app/commit", "")))["transaction_id"],
        format!("2.{}", node.version().0)
    );
    let document = json_of(&node.call(request("GET", "/app/api", "")));
    assert!(document["paths"]["/app/totals/{name}"]["post"]["responses"].is_object());
}

#[test]
fn an_endpoint_in_historical_mode_sees_what_one_transaction_wrote() {
    let node = node();
    let added = add(&node, "a", 7);
    let txid = added.headers()["x-ms-ccf-transaction-id"].to_str().unwrap().to_owned();
    add(&node, "a", 5);
    let ask = |txid: &str| {
        let mut asked = request("GET", "/app/then", "");
        asked.headers_mut().insert("x-ms-ccf-transaction-id", txid.parse().unwrap());
        node.call(asked)
    };
    let answer = ask(&txid);
    assert_eq!(json_of(&answer), json!({"transactionId": txid, "then": "7", "now": "12"}));
    assert_eq!(answer.headers()["x-ms-ccf-transaction-id"], txid.as_str());
    // A signature wrote nothing of an application's.
    assert_eq!(json_of(&ask(&format!("2.{}", node.version().0)))["now"], "12");
    for (txid, status, code) in [
        ("x", 400, "InvalidHeaderValue"),
        ("2.999", 404, "TransactionPendingOrUnknown"),
        ("1.1", 404, "TransactionInvalid"),
        ("2.0", 404, "TransactionNotHeld"),
    ] {
        let answer = ask(txid);
        assert_eq!((answer.status().as_u16(), &json_of(&answer)["error"]["code"]), (status, &json!(code)), "{txid}");
    }
    let unnamed = node.call(request("GET", "/app/then", ""));
    assert_eq!(json_of(&unnamed)["error"]["code"], "MissingRequiredHeader");
    assert_eq!(node.call(request("GET", &format!("/app/then?transaction_id={txid}"), "")).status().as_u16(), 200);
}

#[test]
fn a_function_looks_at_a_range_of_committed_transactions_signatures_among_them() {
    let node = node();
    let first = node.version().0 + 1;
    add(&node, "a", 7);
    add(&node, "a", 5);
    let ask = |method: &str, first: u64, last: u64| {
        json_of(&node.call(request(method, &format!("/app/range?{first}-{last}"), "")))[0].take()
    };
    let range = |first: u64, last: u64| ask("GET", first, last);
    let name = |seqno: u64| format!("2.{seqno}");
    assert_eq!(
        range(first, first + 3),
        json!([[name(first), "7"], [name(first + 1), null], [name(first + 2), "12"], [name(first + 3), null]])
    );
    assert_eq!((range(first, first + 4), range(0, 1)), (json!(null), json!(null)));
    assert_eq!(ask("POST", first, first), json!([[name(first), "7"]]), "one that writes may look back too");
}

#[test]
fn a_token_without_an_identity_of_the_network_opens_nothing() {
    let node = node();
    let mut with_token = request("GET", "/app/who", "");
    let token = TokenClaims { key_issuer: "https://id.example".to_owned(), header: json!({}), payload: json!({}) };
    with_token.extensions_mut().insert(token);
    assert_eq!(node.call(with_token).status().as_u16(), 401);
}

#[test]
fn a_function_gets_the_request_in_ccfs_form() {
    let mut sent = request("GET", "/app/echo/x%2Fy/z?q=%201&r", "");
    sent.headers_mut().insert("X-Other", "1".parse().unwrap());
    sent.headers_mut().append("x-other", "2".parse().unwrap());
    sent.headers_mut().insert("host", "node.example:8000".parse().unwrap());
    let echoed = json_of(&node().call(sent));
    let expected = json!({
        "headers": {"x-other": "1, 2", "host": "node.example:8000"},
        "params": {"a": "x/y", "b": "z"},
        "query": "q=%201&r",
        "path": "/app/echo/x%2Fy/z",
        "route": "/app/echo/{a}/{b}",
        "method": "GET",
        "hostname": "node.example:8000",
        "url": "/app/echo/x%2Fy/z?q=%201&r",
    });
    assert_eq!(echoed, expected);
}

#[test]
fn an_endpoint_that_the_gate_denies_is_answered_as_one_that_is_not_there() {
    struct Closed;
    impl Gate for Closed {
        fn permits(&self, _: &Caller, subject: &Subject<'_>) -> bool {
            assert_eq!((subject.ledger, subject.kind), (NAME, "endpoint"));
            false
        }
    }
    let closed = founded(Arc::new(Closed));
    let nothing_installed = SingleNode::found(app(), &Value::Null, Arc::new(OpenGate));
    for asked in [|| request("GET", "/app/totals/a", ""), || request("POST", "/app/totals/a", "1")] {
        let (denied, absent) = (closed.call(asked()), nothing_installed.call(asked()));
        assert_eq!(
            (denied.status(), denied.headers(), denied.body()),
            (absent.status(), absent.headers(), absent.body())
        );
    }
}

#[test]
fn another_node_and_the_same_after_a_restart_have_the_same_state_and_answers() {
    let node = node();
    add(&node, "a", 1);
    add(&node, "b", 2);
    for other in [node.follower(app()), node.restarted(app())] {
        assert_eq!(other.state(), node.state());
        assert_eq!((sum(&other, "a"), sum(&other, "b")), (json!(1), json!(2)));
    }
    let own = node
        .state()
        .into_keys()
        .filter(|map| !map.as_str().starts_with("public:ccf.gov."))
        .map(|map| map.as_str().to_owned());
    assert_eq!(own.collect::<Vec<_>>(), ["app.totals"]);
}

#[test]
fn bytes_that_are_no_submission_are_refused() {
    for bytes in [
        &b""[..],
        b"short",
        &[0; 20],
        &[0; 21],
        b"twelve bytes\xff\xff\xff\xff{}",
        b"twelve bytes\x00\x00\x00\x02{}\x00\x00\x00\x00",
    ] {
        assert!(app().admit(Bytes::copy_from_slice(bytes), &Caller::Anonymous).is_err(), "{bytes:?}");
    }
}

#[test]
fn removing_the_application_ends_it_and_leaves_what_it_stored() {
    let node = node();
    add(&node, "a", 1);
    node.commit_other(|tx| {
        let rows: Vec<_> = tx.prefix(&tables::JS_ENDPOINTS, b"").collect();
        rows.iter().for_each(|(key, _)| tx.remove(&tables::JS_ENDPOINTS, key));
    });
    assert_eq!(add(&node, "a", 1).status().as_u16(), 404);
    node.commit_other(install);
    assert_eq!(sum(&node, "a"), 1);
}
