use std::sync::{Arc, mpsc};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{Caller, Identity, OpenGate, Socket, SocketClosed};
use coco_types::MapName;
use http::Request;
use prost::Message as _;
use serde_json::{Value, json};

use crate::Sawtooth;
use crate::families::intkey::address;
use crate::governed;
use crate::local_roles::LocalRoles;
use crate::messages::family::{Setting, SettingProposal, SettingsPayload};
use crate::messages::ledger::{Batch, BatchList};
use crate::protocol_tests::sawtooth;
use crate::settings;
use crate::testing::{Draft, Signer, batch_id, first_transaction_id, intkey};
use crate::workers::Workers;

fn node() -> Arc<SingleNode> {
    SingleNode::found(sawtooth(), &json!({}), Arc::new(OpenGate))
}

fn get(node: &Arc<SingleNode>, path: &str) -> (u16, Value) {
    let request = Request::builder().uri(path).header("host", "localhost:8008");
    let response = node.call(request.body(Bytes::new()).unwrap());
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or(Value::Null))
}

fn post(node: &Arc<SingleNode>, path: &str, content_type: &str, body: Vec<u8>) -> (u16, Value) {
    let request = Request::builder().method("POST").uri(path).header("content-type", content_type);
    let response = node.call(request.header("host", "localhost:8008").body(body.into()).unwrap());
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or(Value::Null))
}

fn submit(node: &Arc<SingleNode>, batches: &[Bytes]) -> (u16, Value) {
    let list = BatchList { batches: batches.to_vec() };
    post(node, "/batches", "application/octet-stream", list.encode_to_vec())
}

fn error(answer: (u16, Value)) -> (u16, i64) {
    (answer.0, answer.1["error"]["code"].as_i64().unwrap_or(-1))
}

#[test]
fn a_node_without_room_says_that_its_queue_is_full() {
    let node = node();
    let busy = node.protocol().clone().serve(node.clone()).busy();
    let body: Value = serde_json::from_slice(busy.body()).unwrap();
    assert_eq!(error((busy.status().as_u16(), body)), (429, 31));
}

#[test]
fn a_batch_is_submitted_committed_and_read_back() {
    let node = node();
    let batch = Signer::new(1).single(&intkey("set", "foo", 42));
    let id = batch_id(&batch);
    let (status, body) = submit(&node, std::slice::from_ref(&batch));
    assert_eq!((status, &body["link"]), (202, &json!(format!("http://localhost:8008/batch_statuses?id={id}"))));
    let (_, body) = get(&node, &format!("/batch_statuses?id={id}"));
    assert_eq!(body["data"], json!([{ "id": id, "status": "COMMITTED", "invalid_transactions": [] }]));
    let (_, body) = get(&node, &format!("/state/{}", address("foo").to_hex()));
    assert_eq!(body["data"], "oWNmb28YKg==");
    let (_, body) = get(&node, &format!("/batches/{id}"));
    assert_eq!(body["data"]["transactions"][0]["header"]["family_name"], "intkey");
    let transaction = first_transaction_id(&batch);
    let (_, body) = get(&node, &format!("/transactions/{transaction}"));
    assert_eq!(body["data"]["header_signature"], json!(transaction));
    let (_, body) = get(&node, &format!("/receipts?id={transaction}"));
    assert_eq!(body["data"][0]["state_changes"][0]["value"], "oWNmb28YKg==");
    assert_eq!(submit(&node, &[batch]).0, 202, "what is known already counts as taken");
}

#[test]
fn a_key_of_somebody_known_is_another_submissions_only_if_that_could_be_taken_in() {
    let node = node();
    let batch = |name| Signer::new(1).single(&intkey("set", name, 1));
    let somebody = Caller::Identified(vec![Identity::Token { issuer: "i".into(), subject: "ann".into() }]);
    let post = |caller: &Caller, key: &str, batch: &Bytes| {
        let body = BatchList { batches: vec![batch.clone()] }.encode_to_vec();
        let request = Request::post("/batches").header("content-type", "application/octet-stream");
        let request = request.header("host", "localhost:8008").header("idempotency-key", key);
        let (reply, answer) = mpsc::channel();
        let service = node.protocol().clone().serve(node.clone());
        let send = move |response| reply.send(response).expect("the test waits");
        service.call(caller.clone(), request.body(body.into()).unwrap(), Box::new(send));
        let response = answer.recv().unwrap();
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
    };
    let (first, other) = (batch("a"), batch("b"));
    let mut forged = Batch::decode(other.clone()).unwrap();
    forged.transactions[0].payload = Bytes::from_static(b"other");
    let before = node.version();
    assert_eq!(error(post(&somebody, "one", &forged.encode_to_vec().into())), (400, 30));
    assert_eq!(node.version(), before, "nothing is written for it");
    let answer = post(&somebody, "one", &first);
    assert_eq!(answer.0, 202);
    assert_eq!(post(&somebody, "one", &first), answer);
    assert_eq!(error(post(&somebody, "one", &other)), (422, 1002));
    assert_eq!(error(post(&somebody, "o n e", &other)), (400, 1001));

    let before = node.version();
    assert_eq!(post(&Caller::Anonymous, "two", &first).0, 202);
    assert_eq!(node.version(), before, "a batch that is known already, and a key that nobody owns");
    assert_eq!(post(&Caller::Anonymous, "two", &other).0, 202);
    assert_eq!(error(post(&Caller::Anonymous, "t w o", &other)), (400, 1001));
    assert_eq!(get(&node, "/batches").1["data"].as_array().unwrap().len(), 2);
}

#[test]
fn statuses_and_receipts_are_told_once_however_often_they_are_asked_for() {
    let node = node();
    let batch = Signer::new(1).single(&intkey("set", "foo", 42));
    submit(&node, std::slice::from_ref(&batch));
    let (id, transaction, unknown) = (batch_id(&batch), first_transaction_id(&batch), "0".repeat(128));
    let ask = |path: &str, ids: &[&str]| post(&node, path, "application/json", json!(ids).to_string().into_bytes());
    let many = [&vec![id.as_str(); 30_000][..], &[unknown.as_str()]].concat();
    let (_, body) = ask("/batch_statuses", &many);
    let statuses: Vec<_> = body["data"].as_array().unwrap().iter().map(|status| status["status"].clone()).collect();
    assert_eq!(statuses, ["COMMITTED", "UNKNOWN"]);
    let (_, body) = ask("/batch_statuses", &[transaction.as_str()]);
    assert_eq!(body["data"][0]["status"], "UNKNOWN", "a transaction is no batch");
    let (_, body) = ask("/receipts", &vec![transaction.as_str(); 30_000]);
    assert_eq!(body["data"].as_array().unwrap().len(), 1);
    assert_eq!(error(ask("/receipts", &[transaction.as_str(), unknown.as_str()])), (404, 80));
    let too_many: Vec<String> = (0..10_001).map(|number| format!("{number:0128x}")).collect();
    let too_many: Vec<&str> = too_many.iter().map(String::as_str).collect();
    assert_eq!(error(ask("/receipts", &too_many)), (413, 1003));
}

#[test]
fn pages_end_before_they_become_too_large_and_say_where_they_go_on() {
    let node = node();
    let signer = Signer::new(1);
    let propose = |setting: &str, value: String| {
        let proposal = SettingProposal { setting: setting.into(), value, nonce: setting.into() };
        let payload = SettingsPayload { action: 1, data: proposal.encode_to_vec().into() };
        let everything = vec!["000000".to_owned()];
        let (inputs, outputs) = (everything.clone(), everything);
        let payload = payload.encode_to_vec().into();
        signer.single(&Draft { family: "sawtooth_settings", payload, inputs, outputs, ..Draft::default() })
    };
    submit(&node, &[propose(settings::AUTHORIZED_KEYS, signer.public_hex().to_owned())]);
    let batches: Vec<_> = (0..5).map(|number| propose(&format!("s{number}"), "x".repeat(5 << 19))).collect();
    batches.iter().for_each(|batch| assert_eq!(submit(&node, std::slice::from_ref(batch)).0, 202));
    let items = |first: &str| {
        let (mut path, mut pages) = (first.to_owned(), Vec::new());
        loop {
            let (status, body) = get(&node, &path);
            assert_eq!(status, 200, "{path}");
            pages.push(body["data"].as_array().unwrap().len());
            match body["paging"]["next"].as_str() {
                Some(next) => path = next.strip_prefix("http://localhost:8008").unwrap().to_owned(),
                None => return pages,
            }
        }
    };
    for list in ["/batches", "/transactions", "/blocks"] {
        assert_eq!(items(list)[0], 3, "{list}: three of two and a half MiB fit into eight");
        assert_eq!(items(list).iter().sum::<usize>(), if list == "/blocks" { 7 } else { 6 });
    }
    for state in ["/state", "/state?reverse"] {
        let pages = items(state);
        assert!(pages.len() > 1 && pages.iter().sum::<usize>() == 8, "those of the genesis, too: {pages:?}");
    }
    let ids: Vec<String> = batches.iter().map(|batch| batch_id(batch)).collect();
    assert_eq!(items(&format!("/batches?id={}", ids.join(","))), [3, 2]);
    let transactions: Vec<String> = batches.iter().map(|batch| first_transaction_id(batch)).collect();
    assert_eq!(get(&node, &format!("/receipts?id={}", transactions[..4].join(","))).0, 200);
    assert_eq!(error(get(&node, &format!("/receipts?id={}", transactions.join(",")))), (413, 1003));
}

#[test]
fn what_takes_long_is_left_to_threads_that_nobody_waits_for() {
    let node = node();
    let large = Draft { nonce: "x".repeat(1 << 20), ..intkey("set", "large", 1) };
    let small = |name| Signer::new(1).single(&intkey("set", name, 1));
    let batches = [Signer::new(1).single(&large), small("b"), small("c")];
    batches.iter().for_each(|batch| assert_eq!(submit(&node, std::slice::from_ref(batch)).0, 202));
    let service = node.protocol().clone().serve(node.clone());
    let begin = |path: &str| {
        let (reply, answer) = mpsc::channel();
        let send =
            move |response: http::Response<Bytes>| reply.send(response.status().as_u16()).expect("the test waits");
        let request = Request::builder().uri(path).header("host", "localhost:8008").body(Bytes::new()).unwrap();
        (service.begin(Caller::Anonymous, request, Box::new(send)), answer)
    };
    for brief in ["/state?address=1cf126", "/blocks?limit=1", "/peers", "/blocks/12"] {
        let (rest, answer) = begin(brief);
        assert!(rest.is_none() && answer.try_recv().is_ok(), "{brief}");
    }
    let (id, transaction) = (batch_id(&batches[0]), first_transaction_id(&batches[0]));
    for long in ["/blocks".to_owned(), format!("/batches/{id}"), format!("/receipts?id={transaction}")] {
        let (rest, answer) = begin(&long);
        assert!(answer.try_recv().is_err(), "{long}");
        (rest.expect("something is left to do").job)();
        assert_eq!(answer.try_recv(), Ok(200), "{long}");
    }
}

struct Heard(mpsc::Sender<String>);

impl Socket for Heard {
    fn send(&self, text: String) -> Result<(), SocketClosed> {
        self.0.send(text).map_err(|_| SocketClosed)
    }
}

#[test]
fn what_a_block_changed_is_looked_up_on_threads_that_nobody_waits_for() {
    let node = node();
    submit(&node, &[Signer::new(1).single(&intkey("set", "a", 1))]);
    let block = get(&node, "/blocks").1["data"][0]["header_signature"].as_str().unwrap().to_owned();
    let (to_test, heard) = mpsc::channel();
    let service = node.protocol().clone().serve(node.clone());
    let mut session = service.open_socket(Caller::Anonymous, Arc::new(Heard(to_test))).unwrap();
    let mut ask = |id: &str| {
        let order = json!({ "action": "get_block_deltas", "block_id": id }).to_string();
        let rest = session.begin(&order).expect("all of it is left to do");
        assert!(heard.try_recv().is_err());
        (rest.job)();
        serde_json::from_str::<Value>(&heard.try_recv().unwrap()).unwrap()
    };
    assert_eq!(ask(&block)["state_changes"][0]["address"], address("a").to_hex());
    assert_eq!(ask("none")["error"], "There is no such block");
}

#[test]
fn an_invalid_batch_says_why_and_leaves_the_state_alone() {
    let node = node();
    let batch = Signer::new(1).batch(vec![
        Signer::new(1).transaction(&intkey("set", "a", 1)),
        Signer::new(1).transaction(&intkey("inc", "b", 1)),
    ]);
    assert_eq!(submit(&node, std::slice::from_ref(&batch)).0, 202);
    let (_, body) = get(&node, &format!("/batch_statuses?id={}&wait=10", batch_id(&batch)));
    assert_eq!(body["data"][0]["status"], "INVALID");
    assert!(body["data"][0]["invalid_transactions"][0]["message"].as_str().unwrap().contains("not in state"));
    assert_eq!(error(get(&node, &format!("/state/{}", address("a").to_hex()))), (404, 75));
    assert_eq!(get(&node, "/blocks").1["data"].as_array().unwrap().len(), 1, "a block of nothing is not made");
}

#[test]
fn lists_are_paged_newest_block_first() {
    let node = node();
    let batches: Vec<_> = ["a", "b", "c"].map(|name| Signer::new(1).single(&intkey("set", name, 1))).into();
    batches.iter().for_each(|batch| assert_eq!(submit(&node, std::slice::from_ref(batch)).0, 202));
    let (_, body) = get(&node, "/blocks?limit=2");
    let numbers: Vec<_> =
        body["data"].as_array().unwrap().iter().map(|block| block["header"]["block_num"].clone()).collect();
    assert_eq!(numbers, ["3", "2"]);
    assert_eq!(body["paging"]["next_position"], "0x0000000000000001");
    assert_eq!(body["paging"]["limit"], 2);
    let head = body["head"].as_str().unwrap();
    let next = body["paging"]["next"].as_str().unwrap().strip_prefix("http://localhost:8008").unwrap();
    assert_eq!(next, format!("/blocks?head={head}&start=0x0000000000000001&limit=2"));
    let (_, body) = get(&node, next);
    assert_eq!(body["data"].as_array().unwrap().len(), 2);
    assert_eq!(body["paging"], json!({ "limit": 2, "start": "0x0000000000000001" }));
    let (_, body) = get(&node, "/batches?reverse");
    let ids: Vec<_> = body["data"].as_array().unwrap().iter().map(|batch| batch["header_signature"].clone()).collect();
    assert_eq!(ids, batches.iter().map(|batch| json!(batch_id(batch))).collect::<Vec<_>>());
    let (_, body) = get(&node, "/state?address=1cf126&limit=2");
    assert_eq!(body["data"].as_array().unwrap().len(), 2);
    assert_eq!(get(&node, "/transactions").1["data"].as_array().unwrap().len(), 3);
}

#[test]
fn earlier_states_can_be_read() {
    let node = node();
    for (verb, value) in [("set", 1), ("inc", 1)] {
        submit(&node, &[Signer::new(1).single(&intkey(verb, "a", value))]);
    }
    let (_, blocks) = get(&node, "/blocks");
    let id = |number: usize| blocks["data"][2 - number]["header_signature"].as_str().unwrap().to_owned();
    let at = |number| get(&node, &format!("/state/{}?head={}", address("a").to_hex(), id(number)));
    assert_eq!(at(2).1["data"], "oWFhAg==");
    assert_eq!(at(1).1["data"], "oWFhAQ==");
    assert_eq!(error(at(0)), (404, 75));
    let (_, list) = get(&node, &format!("/state?address=1cf126&head={}", id(1)));
    assert_eq!(list["data"][0]["data"], "oWFhAQ==");
    assert_eq!(get(&node, &format!("/state?address=1cf126&head={}", id(0))).1["data"], json!([]));
}

#[test]
fn every_mistake_has_its_code() {
    let node = node();
    let id = "0".repeat(128);
    let octets = "application/octet-stream";
    assert_eq!(error(post(&node, "/batches", "text/plain", Vec::new())), (400, 42));
    assert_eq!(error(post(&node, "/batches", octets, Vec::new())), (400, 34));
    assert_eq!(error(post(&node, "/batches", octets, vec![0xff])), (400, 35));
    let mut forged = BatchList { batches: vec![Signer::new(1).single(&intkey("set", "a", 1))] };
    forged.batches[0] = forged.batches[0].slice(..forged.batches[0].len() - 4);
    assert_eq!(error(post(&node, "/batches", octets, forged.encode_to_vec())).0, 400);
    assert_eq!(error(post(&node, "/batches", octets, [0x0a, 0].repeat(10_001))), (400, 30));
    let crowded = BatchList { batches: vec![[0x1a_u8, 0].repeat(10_001).into()] };
    assert_eq!(error(post(&node, "/batches", octets, crowded.encode_to_vec())), (400, 30));
    let empty_ids = format!("[{}\"\"]", "\"\",".repeat(100_000)).into_bytes();
    assert_eq!(error(post(&node, "/receipts", "application/json", empty_ids)), (400, 82));
    assert_eq!(error(post(&node, "/batch_statuses", octets, Vec::new())), (400, 43));
    assert_eq!(error(post(&node, "/batch_statuses", "application/json", b"[1]".to_vec())), (400, 46));
    assert_eq!(error(post(&node, "/receipts", octets, Vec::new())), (400, 81));
    assert_eq!(error(post(&node, "/receipts", "application/json", b"{}".to_vec())), (400, 82));
    for (path, expected) in [
        (format!("/blocks?head={id}"), (404, 50)),
        (format!("/state?head={id}"), (404, 70)),
        ("/blocks?limit=0".into(), (400, 53)),
        ("/blocks?start=0xff".into(), (400, 54)),
        (format!("/batches?start={id}"), (400, 54)),
        ("/blocks?reverse=true".into(), (400, 57)),
        ("/blocks/12".into(), (400, 60)),
        ("/batches?id=12".into(), (400, 60)),
        ("/state?address=abc".into(), (400, 62)),
        ("/state/abcd".into(), (400, 62)),
        ("/batch_statuses".into(), (400, 66)),
        (format!("/blocks/{id}"), (404, 70)),
        (format!("/batches/{id}"), (404, 71)),
        (format!("/transactions/{id}"), (404, 72)),
        (format!("/state/{}", "00".repeat(35)), (404, 75)),
        (format!("/receipts?id={id}"), (404, 80)),
        ("/receipts".into(), (400, 83)),
        (format!("/blocks?{}", "a&".repeat(65)), (400, 1004)),
    ] {
        assert_eq!(error(get(&node, &path)), expected, "{path}");
    }
    assert_eq!(get(&node, "/nothing").0, 404);
    assert_eq!(post(&node, "/blocks", octets, Vec::new()).0, 405);
    let (_, unknown) = get(&node, &format!("/batch_statuses?id={id}&wait"));
    assert_eq!(unknown["data"][0]["status"], "UNKNOWN");
}

#[test]
fn peers_and_status_are_those_of_the_node() {
    let node = node();
    assert_eq!(get(&node, "/peers").1, json!({ "data": [], "link": "http://localhost:8008/peers" }));
    assert_eq!(get(&node, "/status").1["data"], json!({ "endpoint": "coco://node0", "peers": [] }));
}

/// The members decide something; the node hears of it as of anything that is committed.
fn decide(node: &Arc<SingleNode>, map: &MapName, key: &str, row: &str) {
    node.commit_other(|tx| tx.put(map, key.to_owned(), row.to_owned()));
}

#[test]
fn an_operator_says_who_may_hand_in_batches_at_a_node() {
    let (known, stranger) = (Signer::new(1), Signer::new(2));
    let mut roles = LocalRoles::default();
    roles.add("transactor", &format!("# the bank\nPERMIT_KEY {}\nDENY_KEY *\n", known.public_hex())).unwrap();
    let random = Arc::new(|bytes: &mut [u8]| bytes.fill(7));
    let ledger = Sawtooth::new(random, Workers::at_once()).with_roles(roles);
    let node = SingleNode::found(Arc::new(ledger), &json!({}), Arc::new(OpenGate));
    assert_eq!(submit(&node, &[known.single(&intkey("set", "a", 1))]).0, 202);
    let (both, one) = (intkey("set", "b", 1), intkey("set", "c", 1));
    let (status, body) = submit(&node, &[known.single(&both), stranger.single(&one)]);
    assert_eq!((status, &body["error"]["code"]), (400, &json!(30)));
    assert_eq!(get(&node, &format!("/state/{}", address("b").to_hex())).0, 404, "all of a submission or nothing");
}

#[test]
fn of_what_a_caller_may_not_read_there_is_nothing() {
    let node = node();
    let (secret, open) = (Signer::new(1).single(&intkey("set", "a", 1)), Signer::new(1).single(&intkey("set", "b", 2)));
    submit(&node, std::slice::from_ref(&secret));
    submit(&node, std::slice::from_ref(&open));
    let (id, transaction) = (batch_id(&secret), first_transaction_id(&secret));
    let block = get(&node, "/blocks").1["data"][1]["header_signature"].as_str().unwrap().to_owned();
    let place = address("a").to_hex();
    decide(&node, &governed::NAMESPACES, &format!("sawtooth:{place}"), r#"{"readers":["ann"]}"#);
    assert_eq!(error(get(&node, &format!("/state/{place}"))), (404, 75));
    let (_, body) = get(&node, "/state?address=1cf126");
    assert_eq!(body["data"].as_array().unwrap().len(), 1);
    assert_eq!(body["data"][0]["address"], address("b").to_hex());
    assert_eq!(error(get(&node, &format!("/state?start={place}"))), (400, 54));
    assert_eq!(error(get(&node, &format!("/batches/{id}"))), (404, 71));
    assert_eq!(error(get(&node, &format!("/transactions/{transaction}"))), (404, 72));
    assert_eq!(error(get(&node, &format!("/receipts?id={transaction}"))), (404, 80));
    assert_eq!(get(&node, "/transactions").1["data"].as_array().unwrap().len(), 1);
    assert_eq!(get(&node, &format!("/blocks/{block}")).1["data"]["batches"], json!([]));
    let (_, body) = get(&node, &format!("/batch_statuses?id={id}"));
    assert_eq!(body["data"][0]["status"], "COMMITTED", "whoever knows its id may follow it");
    assert_eq!(get(&node, &format!("/batches/{}", batch_id(&open))).0, 200);
}

#[test]
fn state_is_listed_both_ways_around_what_a_caller_may_not_read() {
    let node = node();
    for number in 0..12 {
        submit(&node, &[Signer::new(1).single(&intkey("set", &format!("n{number}"), 1))]);
    }
    let mut all: Vec<String> = (0..12).map(|number| address(&format!("n{number}")).to_hex()).collect();
    all.sort();
    let listed = |query: &str| {
        let (mut path, mut found) = (format!("/state?address=1cf126&limit=3{query}"), Vec::new());
        loop {
            let (_, body) = get(&node, &path);
            found
                .extend(body["data"].as_array().unwrap().iter().map(|row| row["address"].as_str().unwrap().to_owned()));
            match body["paging"]["next"].as_str() {
                Some(next) => path = next.strip_prefix("http://localhost:8008").unwrap().to_owned(),
                None => return found,
            }
        }
    };
    let reversed = |texts: &[String]| texts.iter().rev().cloned().collect::<Vec<_>>();
    assert_eq!((listed(""), listed("&reverse")), (all.clone(), reversed(&all)));
    let first = get(&node, "/blocks?reverse&limit=6").1["data"][5]["header_signature"].as_str().unwrap().to_owned();
    let then = listed(&format!("&head={first}"));
    assert_eq!((then.len(), listed(&format!("&reverse&head={first}"))), (5, reversed(&then)));

    let close =
        |prefix: &str| decide(&node, &governed::NAMESPACES, &format!("sawtooth:{prefix}"), r#"{"readers":["ann"]}"#);
    close(&all[0]);
    close(&all[4]);
    close(&all[5]);
    close(&all[11]);
    let open = [&all[1..4], &all[6..11]].concat();
    assert_eq!((listed(""), listed("&reverse")), (open.clone(), reversed(&open)));
    close("1cf126");
    assert_eq!((listed(""), listed("&reverse")), (Vec::new(), Vec::new()));
}

#[test]
fn a_family_that_the_members_refuse_runs_no_more() {
    let node = node();
    decide(&node, &governed::FAMILIES, "sawtooth:*:*", r#"{"tier":"refused"}"#);
    let refused = Signer::new(1).single(&intkey("set", "a", 1));
    submit(&node, std::slice::from_ref(&refused));
    let (_, body) = get(&node, &format!("/batch_statuses?id={}", batch_id(&refused)));
    let why = body["data"][0]["invalid_transactions"][0]["message"].as_str().unwrap();
    assert!(why.contains("members allow"), "{why}");
    decide(&node, &governed::FAMILIES, "sawtooth:intkey:1.0", r#"{"tier":"native","namespaces":["aa"]}"#);
    let stray = Signer::new(1).single(&intkey("set", "b", 1));
    submit(&node, std::slice::from_ref(&stray));
    assert_eq!(get(&node, &format!("/batch_statuses?id={}", batch_id(&stray))).1["data"][0]["status"], "INVALID");
    decide(&node, &governed::FAMILIES, "sawtooth:intkey:1.0", r#"{"tier":"native","namespaces":["1cf126"]}"#);
    let allowed = Signer::new(1).single(&intkey("set", "c", 1));
    submit(&node, std::slice::from_ref(&allowed));
    assert_eq!(get(&node, &format!("/batch_statuses?id={}", batch_id(&allowed))).1["data"][0]["status"], "COMMITTED");
}

#[test]
fn what_the_members_decide_about_a_setting_has_the_last_word() {
    let node = node();
    let signer = Signer::new(1);
    let propose = |setting: &str, value: &str| {
        let proposal = SettingProposal { setting: setting.into(), value: value.into(), nonce: value.into() };
        let payload = SettingsPayload { action: 1, data: proposal.encode_to_vec().into() };
        let everything = vec!["000000".to_owned()];
        signer.single(&Draft {
            family: "sawtooth_settings",
            payload: payload.encode_to_vec().into(),
            inputs: everything.clone(),
            outputs: everything,
            ..Draft::default()
        })
    };
    let value = |key: &str| {
        let (status, body) = get(&node, &format!("/state/{}", settings::address(key).to_hex()));
        let row = (status == 200).then(|| BASE64.decode(body["data"].as_str().unwrap()).unwrap());
        row.map(|row| Setting::decode(row.as_slice()).unwrap().entries[0].value.clone())
    };
    submit(&node, &[propose(settings::AUTHORIZED_KEYS, signer.public_hex())]);
    submit(&node, &[propose("ours", "by transaction")]);
    assert_eq!(value("ours").unwrap(), "by transaction");
    decide(&node, &governed::SETTINGS, "sawtooth:ours", r#"{"value":"by vote"}"#);
    decide(&node, &governed::SETTINGS, "sawtooth:new.one", r#"{"value":"by vote"}"#);
    submit(&node, &[signer.single(&intkey("set", "a", 1))]);
    assert_eq!((value("ours").unwrap(), value("new.one").unwrap()), ("by vote".into(), "by vote".into()));
    submit(&node, &[propose("ours", "by transaction again")]);
    assert_eq!(value("ours").unwrap(), "by vote");
    let follower = node.follower(sawtooth());
    assert_eq!(follower.state(), node.state(), "others come to the same roots");
}
