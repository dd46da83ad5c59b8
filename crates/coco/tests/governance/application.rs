//! Applications in JavaScript that members install by vote, driven by their users at every node.

use std::path::Path;
use std::thread;

use coco_node::config::Start;
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
