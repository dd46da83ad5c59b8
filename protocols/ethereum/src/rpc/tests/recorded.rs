//! The recorded exchanges of ethereum/execution-apis, asked of a node that imported their chain. Skipped, and said so, where the
//! vectors are absent.
//!
//! The rules are the reference runner's: an error's message is not compared, its code and data are; everything else is compared
//! exactly. Of exchanges marked `speconly` no schema is at hand, so that what is compared is only whether both succeed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use coco_kv::Store;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{
    Admitted, Caller, CommittedBatch, CommittedTransaction, Gate, History, HistoryError, Idempotent, LedgerHandle,
    NodeStatus, OpenGate, Pool, Protocol, Reader, Rejection, Service, Submitted, TransactionStatus, Until,
};
use coco_types::{MapName, Retention, Seqno, TxId, View};
use http::Request;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Options, counting};
use crate::Ethereum;
use crate::network::NetworkConfig;
use crate::testing::dev_key;
use crate::testing::{context, genesis_of_vectors, vector};

/// How many of the 171 exchanges pass. It may only rise.
const PASSING_MIN: usize = 171;

/// A node without block production: submissions stay in its pool.
struct Recorded {
    store: Store,
    history: Arc<Records>,
    pool: Mutex<Box<dyn Pool>>,
}

#[derive(Default)]
struct Records(Mutex<BTreeMap<MapName, BTreeMap<Bytes, Bytes>>>);

impl History for Records {
    fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError> {
        Ok(self.0.lock().get(map).and_then(|records| records.get(key)).cloned())
    }
}

impl Recorded {
    fn append(&self, protocol: &dyn Protocol, seqno: Seqno, tx: coco_kv::Tx) {
        let (writes, _) = tx.into_parts();
        self.store.apply(seqno, &writes).unwrap();
        self.store.commit(seqno);
        for (map, writes) in writes.iter().filter(|(map, _)| map.retention() == Retention::History) {
            let records = writes.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
            self.history.0.lock().entry(map.clone()).or_default().extend(records);
        }
        let transaction = CommittedTransaction { txid: TxId::new(View(1), seqno), writes: Arc::new(writes) };
        let batch = CommittedBatch { transactions: vec![transaction] };
        protocol.committed(&batch, &self.store.snapshot()).unwrap();
        protocol.published(&batch);
    }
}

impl LedgerHandle for Recorded {
    fn submit(&self, admitted: Vec<Admitted>, _: Until, reply: Box<dyn FnOnce(Vec<Submitted>) + Send>) {
        let state = self.store.snapshot();
        let mut pool = self.pool.lock();
        let mut insert = |admitted| match pool.insert(admitted, &state, self.now_ms()) {
            Ok(()) => Submitted::Accepted,
            Err(rejection) => Submitted::Rejected(rejection),
        };
        let answers = admitted.into_iter().map(&mut insert).collect();
        drop(pool);
        reply(answers);
    }

    fn ask_primary(&self, _: &Caller, question: Bytes, reply: Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>) {
        let answer = self.pool.lock().answer(&question, &self.store.snapshot(), self.now_ms());
        reply(answer);
    }

    fn relay(&self, _: Bytes, reply: Box<dyn FnOnce(Option<Bytes>) + Send>) {
        reply(None);
    }

    fn claim(&self, _: Idempotent, reply: Box<dyn FnOnce(Result<(), Rejection>) + Send>) {
        reply(Ok(()));
    }

    fn reader(&self, caller: &Caller) -> Reader {
        let gate: Arc<dyn Gate> = Arc::new(OpenGate);
        Reader::new(caller.clone(), self.store.snapshot(), self.history.clone(), gate)
    }

    fn linearizable(&self, reply: Box<dyn FnOnce(bool) + Send>) {
        reply(true);
    }

    fn transaction_status(&self, _: TxId) -> TransactionStatus {
        TransactionStatus::Committed
    }

    fn receipt(&self, _: &Caller, _: TxId, reply: Box<dyn FnOnce(Option<Bytes>) + Send>) {
        reply(None);
    }

    fn status(&self) -> NodeStatus {
        let committed = TxId::new(View(1), self.store.committed());
        NodeStatus { node: 0, is_primary: true, view: View(1), primary: Some(0), committed, peers: 0, caught_up: true }
    }

    fn now_ms(&self) -> u64 {
        1_000_000
    }
}

/// A node that serves the recorded chain; `None` if the vectors are absent.
fn recorded() -> Option<Arc<dyn Service>> {
    let (genesis, chain) = (genesis_of_vectors()?, vector("chain.rlp")?);
    let protocol = Arc::new(Ethereum::new(|| Options { unlocked: vec![dev_key(0)], ..Options::new(counting()) }));
    let store = Store::new();
    let node = Recorded { history: Arc::default(), pool: Mutex::new(protocol.pool()), store };
    let config = NetworkConfig { genesis, chain: chain.into(), frozen: true, ..NetworkConfig::default() };
    let config = serde_json::to_value(config).expect("a configuration has a JSON form");
    let mut tx = node.store.begin();
    protocol.genesis(&mut tx, &config, &context(TxId::new(View(1), Seqno(1)), 1)).expect("the chain is what it says");
    node.append(&*protocol, Seqno(1), tx);
    Some(protocol.serve(Arc::new(node)))
}

#[test]
fn another_networks_blocks_may_come_in_pieces_and_again() {
    let (Some(genesis), Some(chain)) = (genesis_of_vectors(), vector("chain.rlp")) else { return };
    let protocol = Arc::new(super::developer());
    let config = NetworkConfig { genesis, frozen: true, coco_precompile: false, ..NetworkConfig::default() };
    let config = serde_json::to_value(config).expect("a configuration has a JSON form");
    let node = SingleNode::found(protocol.clone(), &config, Arc::new(OpenGate));
    let handle: Arc<dyn LedgerHandle> = node.clone();
    let client = super::Client { service: protocol.serve(handle), node };
    let mut rest = &chain[..];
    let (mut pieces, mut piece) = (Vec::new(), Vec::new());
    while !rest.is_empty() {
        let before = rest;
        alloy_rlp::Header::decode_bytes(&mut rest, true).unwrap();
        piece.extend_from_slice(&before[..before.len() - rest.len()]);
        if piece.len() > 10_000 || rest.is_empty() {
            pieces.push(alloy_primitives::hex::encode_prefixed(std::mem::take(&mut piece)));
        }
    }
    let import = |piece: &String| client.ask("coco_importBlocks", json!([piece]));
    let numbers: Vec<Value> = pieces.iter().map(import).collect();
    assert_eq!(numbers.last(), Some(&json!("0x36")));
    assert_eq!(import(&pieces[0]), "0x36", "what is there is passed over");
    let head = client.ask("eth_getBlockByNumber", json!(["latest", false]));
    assert!(head["hash"].as_str().unwrap().starts_with("0xd226371d"));
    let gap = client.fail("evm_mine", json!([]));
    assert!(gap.1.contains("no developer's node"), "{}", gap.1);
}

fn post(service: &dyn Service, body: &str) -> Value {
    let (reply, answer) = std::sync::mpsc::channel();
    let request = Request::post("/").body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
    service.call(Caller::Anonymous, request, Box::new(move |response| reply.send(response).unwrap()));
    serde_json::from_slice(answer.recv().unwrap().body()).expect("an answer is JSON")
}

/// Deletes the message of every error that both have at the same place.
fn forget_messages(one: &mut Value, other: &mut Value) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            for (name, value) in one.iter_mut() {
                let Some(counterpart) = other.get_mut(name) else { continue };
                if name == "error" {
                    for error in [&mut *value, &mut *counterpart] {
                        error.as_object_mut().and_then(|error| error.remove("message"));
                    }
                }
                forget_messages(value, counterpart);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            one.iter_mut().zip(other).for_each(|(one, other)| forget_messages(one, other));
        }
        _ => {}
    }
}

/// Numbers are equal if their values are.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        _ => one == other,
    }
}

/// `Err` says how the answers differ from the recorded ones.
fn exchange(service: &dyn Service, text: &str) -> Result<(), String> {
    let only_schema = text.lines().take_while(|line| line.starts_with("//")).any(|line| line.contains("speconly:"));
    // Traces follow from the chain alone, so that they can be held to the recorded ones.
    let only_schema = only_schema && !text.contains("\"debug_trace");
    let mut answer = None;
    for line in text.lines() {
        if let Some(request) = line.strip_prefix(">>") {
            answer = Some(post(service, request.trim()));
        } else if let Some(expected) = line.strip_prefix("<<") {
            let mut expected: Value = serde_json::from_str(expected.trim()).expect("the vectors hold JSON");
            let mut found = answer.take().expect("an answer follows its request");
            let both_succeed = expected.get("error").is_none() && found.get("error").is_none();
            forget_messages(&mut expected, &mut found);
            let passes = same(&expected, &found) || only_schema && both_succeed;
            if !passes {
                return Err(format!("expected {expected}\nfound    {found}"));
            }
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let below = paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|extension| extension == "io")).collect()
}

#[test]
fn recorded_exchanges_are_answered_as_recorded() {
    let Some(service) = recorded() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/execution-apis");
    let (mut passed, mut failed) = (0, Vec::new());
    let paths = files(&root);
    for path in &paths {
        match exchange(&*service, &std::fs::read_to_string(path).unwrap()) {
            Ok(()) => passed += 1,
            Err(difference) => failed.push((path.strip_prefix(&root).unwrap().display().to_string(), difference)),
        }
    }
    for (name, difference) in &failed {
        let cut: String = difference.lines().map(|line| line.chars().take(700).collect::<String>() + "\n").collect();
        println!("{name}\n{cut}");
    }
    println!("{passed} of {} exchanges are answered as recorded", paths.len());
    assert!(passed >= PASSING_MIN, "{passed} of {} pass, {PASSING_MIN} did before", paths.len());
}
