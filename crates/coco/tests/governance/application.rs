//! Applications in JavaScript that members install by vote, driven by their users at every node.

use std::path::Path;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coco_crypto::cose::{self, Sign1};
use coco_crypto::{Curve, SigningKey, SystemCrypto, sha256};
use coco_ledger::receipt::{JsonReceipt, verify_json_receipt};
use coco_node::config::Start;
use minicbor::Encoder;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::node::{Member, Network, Process, YES};
use crate::{coco, until};

/// A network that hosts applications, and another node of it.
struct Hosting {
    network: Network,
    backup: std::net::SocketAddr,
    _backup: Process,
}

impl Hosting {
    fn found() -> Self {
        let network = Network::found(["records", "app"].map(|name| (name.to_owned(), json!({}))).into());
        let targets = vec![network.config().listen.api];
        let start = Start::Join { targets, service_certificate: network.service(), constitution_digest: None };
        let joining = network.another(1, start);
        let joiner = Process::start(&joining, network.folder());
        let hosting = Self { network, backup: joining.listen.api, _backup: joiner };
        let anybody = hosting.nobody(hosting.backup);
        until("the other node serves", || (anybody.call("GET", "/node/ready", b"").ok()?.status == 204).then_some(()));
        hosting
    }

    fn primary(&self) -> std::net::SocketAddr {
        self.network.config().listen.api
    }

    fn service(&self) -> coco_crypto::Certificate {
        let pem = std::fs::read_to_string(self.network.service()).unwrap();
        coco_crypto::Certificate::from_pem(&pem).unwrap()
    }

    fn nobody(&self, node: std::net::SocketAddr) -> Client {
        Client::new(node, &self.service())
    }

    fn of(&self, node: std::net::SocketAddr, who: &Member) -> Client {
        let key = who.key.to_pem();
        Client::with_identity(node, &self.service(), &[who.certificate.der().to_vec()], &key)
    }

    fn decides(&self, actions: &Value) {
        let decided = self.network.decides(actions);
        assert_eq!(decided.json()["proposalState"], "Accepted", "{}", decided.text());
    }

    /// By the first member with the command, and by the second with a vote.
    fn installs(&self, bundle: &Path) {
        let (cert, key) = (self.network.folder().join("cert.pem"), self.network.folder().join("key.pem"));
        std::fs::write(&cert, self.network.members[0].certificate.to_pem()).unwrap();
        std::fs::write(&key, self.network.members[0].key.to_pem().as_bytes()).unwrap();
        let (api, service) = (format!("https://{}", self.primary()), self.network.service());
        let who = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
        let at = ["--api", &api, "--service", service.to_str().unwrap()];
        let propose = ["gov", "propose", "set-js-app", "--bundle", bundle.to_str().unwrap()];
        coco(&[&propose[..], &who, &at].concat());
        let open = self.network.get("members/proposals").json()["value"].as_array().cloned().unwrap_or_default();
        let open = open.iter().find(|proposal| proposal["proposalState"] == "Open").expect("what was just proposed");
        let id = open["proposalId"].as_str().unwrap();
        let shown = coco(&[&["gov", "show", id][..], &who, &at].concat());
        assert!(shown.contains("Serve an application of 4 modules"), "{shown}");
        for member in 0..2 {
            self.network.vote(member, id, YES);
        }
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/deposits")
}

fn send(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    client.call_as(method, path, "application/json", body.to_string().as_bytes()).unwrap()
}

#[test]
fn an_application_is_installed_by_vote_and_serves_its_users_at_every_node() {
    let hosting = Hosting::found();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(Member::new);
    let user = |who: &Member| json!({"name": "set_user", "args": {"cert": who.certificate.to_pem()}});
    hosting.decides(&json!([user(&ann), user(&bob)]));
    let nobody = hosting.nobody(hosting.primary());
    assert_eq!(nobody.call("GET", "/app/total", b"").unwrap().status, 404);
    hosting.installs(&folder());
    let (here, there) = (hosting.primary(), hosting.backup);
    until("the application at the other node", || hosting.nobody(there).json("/app/total"));
    let shown = hosting.network.get("service/javascript-app").json();
    assert_eq!(shown["endpoints"]["/total"]["GET"]["jsFunction"], "total");

    // Members open accounts, through the node that follows too.
    let bank = hosting.of(there, &hosting.network.members[1]);
    for (account, owner) in [("ann", &ann), ("bob", &bob)] {
        let opened =
            send(&bank, "PUT", &format!("/app/accounts/{account}"), &json!({"owner": owner.id, "balance": 1000}));
        assert_eq!((opened.status, opened.json()["balance"].as_u64()), (201, Some(1000)), "{}", opened.text());
        assert!(opened.headers.contains("x-ms-ccf-transaction-id: "), "{}", opened.headers);
    }
    let again = send(&bank, "PUT", "/app/accounts/ann", &json!({"owner": bob.id, "balance": 1}));
    assert_eq!(again.status, 409);
    for client in [hosting.nobody(here), hosting.of(here, &ann), hosting.of(there, &eve)] {
        assert_eq!(send(&client, "PUT", "/app/accounts/x", &json!({"owner": ann.id, "balance": 1})).status, 401);
    }

    // Their owners move money, and see their own only.
    for (node, who, from, to, status) in [
        (here, &ann, "ann", "bob", 200),
        (there, &ann, "ann", "bob", 200),
        (there, &bob, "bob", "ann", 200),
        (there, &bob, "ann", "bob", 404),
        (here, &eve, "ann", "bob", 401),
    ] {
        let path = format!("/app/accounts/{from}:transfer");
        let moved = send(&hosting.of(node, who), "POST", &path, &json!({"to": to, "amount": 100}));
        assert_eq!(moved.status, status, "{}", moved.text());
    }
    let too_much =
        send(&hosting.of(there, &bob), "POST", "/app/accounts/bob:transfer", &json!({"to": "ann", "amount": 5000}));
    assert_eq!((too_much.status, too_much.json()["error"].is_string()), (400, true));
    // Who wrote through a node reads its own writes there.
    assert_eq!(hosting.of(there, &bob).json("/app/accounts/bob").unwrap()["balance"], 1100);
    assert_eq!(hosting.of(there, &bob).call("GET", "/app/accounts/ann", b"").unwrap().status, 404);
    for node in [here, there] {
        assert_eq!(hosting.nobody(node).json("/app/total").unwrap()["total"], 2000);
    }
    // What a past transaction left, with its proof.
    let moved =
        send(&hosting.of(there, &ann), "POST", "/app/accounts/ann:transfer", &json!({"to": "bob", "amount": 1}));
    let (_, txid) = moved.headers.split_once("x-ms-ccf-transaction-id: ").unwrap();
    let txid = txid.lines().next().unwrap();
    send(&hosting.of(here, &ann), "POST", "/app/accounts/ann:transfer", &json!({"to": "bob", "amount": 1}));
    for node in [here, there] {
        let statement = hosting.of(node, &ann).ask_about(txid, "/app/accounts/ann/statement").unwrap().json();
        assert_eq!((&statement["transactionId"], &statement["balance"]), (&json!(txid), &json!(899)), "{statement}");
        assert!(statement["receipt"]["proof"].is_array(), "{statement}");
        assert_eq!(hosting.of(node, &eve).ask_about(txid, "/app/accounts/ann/statement").unwrap().status, 401);
        assert_eq!(hosting.of(node, &bob).ask_about(txid, "/app/accounts/ann/statement").unwrap().status, 404);
    }
    let total = hosting.nobody(there).call("POST", "/app/total", b"").unwrap();
    assert_eq!((total.status, &total.json()["error"]["code"]), (405, &json!("UnsupportedHttpVerb")));
    hosting.network.is_unharmed();
}

#[test]
fn requests_that_want_the_same_row_all_count_and_one_that_never_ends_harms_no_other_ledger() {
    let hosting = Hosting::found();
    let source = "
        const map = ccf.kv['public:counter'], key = ccf.strToBuf('n');
        export const add = () => {
          const n = Number(map.has(key) ? ccf.bufToStr(map.get(key)) : 0) + 1;
          map.set(key, ccf.strToBuf(String(n)));
          return { body: n };
        };
        export const loop = () => { for (;;) map.has(key); };
    ";
    let endpoint = |function: &str, mode: &str| json!({"js_module": "a.js", "js_function": function, "mode": mode, "forwarding_required": "always", "authn_policies": ["no_auth"]});
    let endpoints = json!({
        "/add": {"post": endpoint("add", "readwrite")},
        "/loop": {"post": endpoint("loop", "readwrite"), "get": endpoint("loop", "readonly")},
    });
    let bundle = json!({"metadata": {"endpoints": endpoints}, "modules": [{"name": "a.js", "module": source}]});
    let options = json!({"max_heap_bytes": 1 << 24, "max_stack_bytes": 1 << 20, "max_execution_time_ms": 1000});
    hosting.decides(&json!([
        {"name": "set_js_app", "args": {"bundle": bundle}},
        {"name": "set_js_runtime_options", "args": options},
    ]));
    let (here, there) = (hosting.primary(), hosting.backup);
    until("the application at the other node", || {
        (hosting.nobody(there).call("PUT", "/app/add", b"").ok()?.status == 405).then_some(())
    });
    let adding: Vec<_> = [here, there, here, there]
        .map(|node| hosting.nobody(node))
        .into_iter()
        .map(|client| {
            thread::spawn(move || {
                for _ in 0..5 {
                    let added = client.call("POST", "/app/add", b"").unwrap();
                    assert_eq!(added.status, 200, "{}", added.text());
                }
            })
        })
        .collect();
    adding.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(hosting.nobody(there).call("POST", "/app/add", b"").unwrap().json(), 21);

    let looping: Vec<_> = ["POST", "GET", "POST", "GET"]
        .map(|method| {
            let client = hosting.nobody(here);
            thread::spawn(move || client.call(method, "/app/loop", b"").unwrap())
        })
        .into();
    hosting.network.is_unharmed();
    for one in looping {
        let answer = one.join().unwrap();
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (500, &json!("InternalError")));
    }
    assert_eq!(hosting.nobody(here).call("POST", "/app/add", b"").unwrap().json(), 22);
}

const ISSUER: &str = "https://id.bank.example";
const AUDIENCE: &str = "coco.example";
/// Says who calls, and what it was asked.
const ECHO: &str = "export const who = ({ caller, body }) => {
    for (const part of [caller, caller.user_cose_sign1]) if (part && part.cose) part.cose.content = ccf.bufToStr(part.cose.content);
    return { body: { caller, body: body.text() } };
};
export const past = ({ params }) => {
    const states = ccf.historical.getStateRange(1, params.first, params.last, 60);
    return { body: [states && states.map(({ transactionId, receipt, kv }) => ({ transactionId, ...receipt, size: kv['log'].size }))] };
};
export const notes = () => {
    ccf.kv['log'].set(ccf.strToBuf('k'), ccf.strToBuf('v'));
    return {};
};";

/// An issuer of tokens, whose key is on P-256.
struct Issuer(SigningKey);

impl Issuer {
    fn jwks(&self) -> Value {
        let (x, y) = self.0.public_key().point()[1..].split_at(32);
        let [x, y] = [x, y].map(|half| URL_SAFE_NO_PAD.encode(half));
        json!({"keys": [{"kid": "one", "kty": "EC", "crv": "P-256", "x": x, "y": y}]})
    }

    fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": "one", "typ": "JWT"});
        let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemCrypto, text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.fixed()))
    }
}

fn endpoint(function: &str, mode: &str, policies: Value) -> Value {
    json!({"js_module": "who.js", "js_function": function, "mode": mode, "forwarding_required": "sometimes", "authn_policies": policies})
}

/// A request as `docs/authentication.md` has it, signed as a whole.
fn signed(hosting: &Hosting, who: &Member, method: &str, target: &str, created_at: u64, body: &[u8]) -> Vec<u8> {
    const ES384: i64 = -35;
    let service = sha256(hosting.service().der()).to_string();
    let mut header = Encoder::new(Vec::new());
    header.map(6).unwrap().i64(1).unwrap().i64(ES384).unwrap().i64(4).unwrap().bytes(who.id.as_bytes()).unwrap();
    for (label, text) in [("method", method), ("target", target), ("service", &service)] {
        header.str(&format!("coco.request.{label}")).unwrap().str(text).unwrap();
    }
    header.str("coco.request.created_at").unwrap().u64(created_at).unwrap();
    let protected = header.into_writer();
    let signature = cose::sign(&SystemCrypto, &who.key, &protected, body);
    Sign1 { protected: &protected, unprotected: &[0xa0], payload: Some(body), signature: &signature }.encode()
}

#[test]
fn tokens_and_signed_requests_say_to_functions_who_calls_at_every_node() {
    let hosting = Hosting::found();
    let (issuer, [ann, eve]) =
        (Issuer(SigningKey::generate(&SystemCrypto, Curve::P256)), ["ann", "eve"].map(Member::new));
    let endpoint = |mode: &str, policies: Value| endpoint("who", mode, policies);
    let endpoints = json!({
        "/jwt": {"get": endpoint("readonly", json!(["jwt"])), "post": endpoint("readwrite", json!(["jwt"]))},
        "/cose": {"put": endpoint("readonly", json!(["user_cose_sign1"])), "post": endpoint("readwrite", json!(["member_cose_sign1", "user_cose_sign1"]))},
        "/both": {"post": endpoint("readwrite", json!([{"all_of": ["user_cert", "jwt"]}]))},
    });
    let modules = json!([{"name": "who.js", "module": ECHO}]);
    hosting.decides(&json!([
        {"name": "set_user", "args": {"cert": ann.certificate.to_pem(), "user_data": {"role": "teller"}}},
        {"name": "set_jwt_issuer", "args": {"issuer": ISSUER, "audience": [AUDIENCE], "jwks": issuer.jwks()}},
        {"name": "set_js_app", "args": {"bundle": {"metadata": {"endpoints": endpoints}, "modules": modules}}},
    ]));
    // Nodes judge times by their own clocks.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims =
        json!({"iss": ISSUER, "sub": "ann", "aud": AUDIENCE, "iat": now, "exp": now + 600, "roles": ["teller"]});
    let token = issuer.token(&claims);
    let nodes = [hosting.primary(), hosting.backup];
    until("the application at the other node", || {
        let asked = hosting.nobody(nodes[1]).bearing(&token, "GET", "/app/jwt", b"").ok()?;
        (asked.status == 200).then_some(())
    });
    for node in nodes {
        let nobody = hosting.nobody(node);
        for method in ["GET", "POST"] {
            let body = if method == "GET" { &b""[..] } else { b"asked" };
            let told = nobody.bearing(&token, method, "/app/jwt", body).unwrap();
            assert_eq!(told.status, 200, "{}", told.text());
            let caller = &told.json()["caller"];
            assert_eq!((&caller["policy"], &caller["jwt"]["keyIssuer"]), (&json!("jwt"), &json!(ISSUER)));
            assert_eq!((&caller["jwt"]["header"]["kid"], &caller["jwt"]["payload"]), (&json!("one"), &claims));
            assert_eq!(told.json()["body"], std::str::from_utf8(body).unwrap());
            let late = issuer.token(&json!({"iss": ISSUER, "sub": "ann", "aud": AUDIENCE, "exp": now - 60}));
            let others = Issuer(SigningKey::generate(&SystemCrypto, Curve::P256)).token(&claims);
            for refused in [late.as_str(), others.as_str(), "no.token.at-all"] {
                assert_eq!(nobody.bearing(refused, method, "/app/jwt", body).unwrap().status, 401);
            }
            assert_eq!(nobody.call(method, "/app/jwt", body).unwrap().status, 401);
        }
        for (who, policy, data) in [
            (&ann, "user_cose_sign1", json!({"role": "teller"})),
            (&hosting.network.members[0], "member_cose_sign1", json!({"of": "a bank"})),
        ] {
            let content = format!("of {} at {node}", who.id);
            let message = signed(&hosting, who, "POST", "/app/cose", now, content.as_bytes());
            let told = nobody.call_as("POST", "/app/cose", "application/cose", &message).unwrap();
            assert_eq!(told.status, 200, "{}", told.text());
            let caller = &told.json()["caller"];
            assert_eq!((&caller["policy"], &caller["id"], &caller["data"]), (&json!(policy), &json!(who.id), &data));
            assert_eq!((&caller["cose"]["content"], &told.json()["body"]), (&json!(content), &json!(content)));
        }
        let read = signed(&hosting, &ann, "PUT", "/app/cose", now, b"a question");
        assert_eq!(nobody.call_as("PUT", "/app/cose", "application/cose", &read).unwrap().json()["body"], "a question");
        for (who, method, target, created_at) in [
            (&eve, "POST", "/app/cose", now),
            (&ann, "PUT", "/app/cose", now),
            (&ann, "POST", "/app/jwt", now),
            (&ann, "POST", "/app/cose", now - 3_600),
        ] {
            let message = signed(&hosting, who, method, target, created_at, b"refused");
            let refused = nobody.call_as("POST", "/app/cose", "application/cose", &message).unwrap();
            assert_eq!((refused.status, &refused.json()["error"]["code"]), (401, &json!("InvalidAuthenticationInfo")));
        }
        let mut changed = signed(&hosting, &ann, "POST", "/app/cose", now, b"what was signed");
        let at = changed.windows(4).position(|bytes| bytes == b"what").unwrap();
        changed[at] = b'W';
        assert_eq!(nobody.call_as("POST", "/app/cose", "application/cose", &changed).unwrap().status, 401);
        // Either alone is not both.
        let both = hosting.of(node, &ann).bearing(&token, "POST", "/app/both", b"").unwrap();
        let caller = &both.json()["caller"];
        assert_eq!((both.status, &caller["policy"]), (200, &json!(["user_cert", "jwt"])), "{}", both.text());
        assert_eq!(
            (&caller["user_cert"]["id"], &caller["jwt"]["jwt"]["payload"]["sub"]),
            (&json!(ann.id), &json!("ann"))
        );
        for alone in
            [nobody.bearing(&token, "POST", "/app/both", b""), hosting.of(node, &ann).call("POST", "/app/both", b"")]
        {
            assert_eq!(alone.unwrap().status, 401);
        }
    }
    hosting.network.is_unharmed();
}

#[test]
fn functions_look_at_what_a_range_of_transactions_wrote_with_their_proofs_at_every_node() {
    let hosting = Hosting::found();
    let open = || json!(["no_auth"]);
    let endpoints = json!({
        "/notes": {"post": endpoint("notes", "readwrite", open())},
        "/past/{first}/{last}": {"get": endpoint("past", "readonly", open())},
    });
    let bundle = json!({"metadata": {"endpoints": endpoints}, "modules": [{"name": "who.js", "module": ECHO}]});
    hosting.decides(&json!([{"name": "set_js_app", "args": {"bundle": bundle}}]));
    let noted = send(&hosting.nobody(hosting.primary()), "POST", "/app/notes", &Value::Null);
    let (_, txid) = noted.headers.split_once("x-ms-ccf-transaction-id: ").expect("it was committed");
    let txid = txid.lines().next().unwrap();
    let seqno: u64 = txid.split_once('.').unwrap().1.parse().unwrap();
    for node in [hosting.primary(), hosting.backup] {
        let range = |first: u64, last: u64| {
            hosting.nobody(node).json(&format!("/app/past/{first}/{last}")).map(|mut shown| shown[0].take())
        };
        let states =
            until("the node has the note and its signature", || range(seqno, seqno + 1).filter(Value::is_array));
        let (note, signature) = (&states[0], &states[1]);
        assert_eq!((&note["transactionId"], &note["size"]), (&json!(txid), &json!(1)), "{states}");
        assert_eq!((&note["is_signature_transaction"], note["proof"].is_array()), (&json!(false), true), "{states}");
        assert_eq!((&signature["is_signature_transaction"], &signature["size"]), (&json!(true), &json!(0)), "{states}");
        let mut receipt = note.clone();
        for beside in ["transactionId", "size", "is_signature_transaction"] {
            receipt.as_object_mut().unwrap().remove(beside);
        }
        let receipt: JsonReceipt = serde_json::from_value(receipt).unwrap();
        assert_eq!(verify_json_receipt(&receipt, &hosting.service(), None).unwrap().to_string(), txid);
        assert_eq!(signature["cert"], receipt.cert);
        assert_eq!(
            (signature["root_hex"].as_str().map(str::len), &signature["signature"]),
            (Some(64), &note["signature"])
        );
        assert_eq!(signature["node_id"], note["node_id"], "{states}");
        assert_eq!(range(1, 3).unwrap().as_array().map(Vec::len), Some(3));
        assert_eq!((range(0, 1), range(seqno, seqno + 900)), (Some(Value::Null), Some(Value::Null)));
    }
    hosting.network.is_unharmed();
}
