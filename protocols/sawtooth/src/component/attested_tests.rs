//! Processors that prove what they are, at a node whose members have decided who may execute what.

use coco_protocol::conformance::SingleNode;
use coco_protocol::{
    Admitted, Attested, Caller, CommittedBatch, CommittedTransaction, NodeStatus, OpenGate, Protocol, Reader,
    Rejection, SocketClosed, Submitted, TransactionStatus, Until,
};
use coco_types::{Seqno, TxId, View, WriteSet};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::tests::Client;
use super::zmtp::testing;
use super::*;
use crate::Sawtooth;
use crate::governed::FAMILIES;
use crate::messages::kind;
use crate::messages::processor::{TpRegisterRequest, TpRegisterResponse};
use crate::protocol_tests::sawtooth;
use bytes::Bytes;

const CHANNEL: ChannelBinding = ChannelBinding([7; 32]);

/// A handle that takes any text that ends in the channel's byte for evidence of the program it names.
struct Judging(Arc<SingleNode>);

struct Program(String);

impl Attested for Program {
    fn describe(&self) -> String {
        self.0.clone()
    }

    fn meets(&self, policy: &Value) -> Result<(), String> {
        if policy["virtual_tee"] == json!(self.0) { Ok(()) } else { Err("not this code".to_owned()) }
    }
}

impl LedgerHandle for Judging {
    fn attest(&self, evidence: &[u8], binding: &ChannelBinding) -> Result<Arc<dyn Attested>, String> {
        let text = evidence.strip_suffix(&binding.0[..1]).ok_or("made for another connection")?;
        Ok(Arc::new(Program(String::from_utf8(text.to_vec()).map_err(|error| error.to_string())?)))
    }

    fn submit(&self, admitted: Vec<Admitted>, until: Until, reply: Box<dyn FnOnce(Vec<Submitted>) + Send>) {
        self.0.submit(admitted, until, reply);
    }

    fn ask_primary(&self, caller: &Caller, question: Bytes, reply: Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>) {
        self.0.ask_primary(caller, question, reply);
    }

    fn relay(&self, message: Bytes, reply: Box<dyn FnOnce(Option<Bytes>) + Send>) {
        self.0.relay(message, reply);
    }

    fn claim(&self, key: coco_protocol::Idempotent, reply: Box<dyn FnOnce(Result<(), Rejection>) + Send>) {
        self.0.claim(key, reply);
    }

    fn reader(&self, caller: &Caller) -> Reader {
        self.0.reader(caller)
    }

    fn linearizable(&self, reply: Box<dyn FnOnce(bool) + Send>) {
        reply(true);
    }

    fn transaction_status(&self, txid: TxId) -> TransactionStatus {
        self.0.transaction_status(txid)
    }

    fn receipt(&self, _: &Caller, _: TxId, reply: Box<dyn FnOnce(Option<Bytes>) + Send>) {
        reply(None);
    }

    fn status(&self) -> NodeStatus {
        self.0.status()
    }

    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }
}

struct World {
    protocol: Arc<Sawtooth>,
    node: Arc<SingleNode>,
    plain: Arc<dyn StreamService>,
    attested: Arc<dyn StreamService>,
}

impl World {
    fn new() -> Self {
        let protocol = sawtooth();
        let node = SingleNode::found(protocol.clone(), &json!({}), Arc::new(OpenGate));
        let mut services = protocol.clone().serve_streams(Arc::new(Judging(node.clone())));
        let attested = services.remove(1);
        assert!(attested.is_secured() && !services[0].is_secured());
        Self { protocol, node, plain: services.remove(0), attested }
    }

    /// The members decide about the family `secret`.
    fn decide(&self, row: Option<Value>) {
        let mut writes = WriteSet::new();
        let row = row.map(|row| Bytes::from(row.to_string()));
        writes.insert(&FAMILIES, Bytes::from_static(b"sawtooth:secret:1.0"), row);
        let txid = TxId::new(View(9), Seqno(9));
        let batch = CommittedBatch { transactions: vec![CommittedTransaction { txid, writes: Arc::new(writes) }] };
        self.protocol.committed(&batch, self.node.reader(&Caller::Anonymous).state()).unwrap();
        self.plain.tick();
    }

    /// Connects, and says this as evidence; what the node says to it.
    fn prove(&self, evidence: &[u8]) -> (Box<dyn StreamSession>, std::sync::mpsc::Receiver<Bytes>, Result<(), String>) {
        let (to_client, arrived) = std::sync::mpsc::channel();
        let mut session = self.attested.open(Arc::new(Wire(Mutex::new(to_client))), Some(CHANNEL));
        let length = u32::try_from(evidence.len()).unwrap().to_be_bytes();
        let mut ended = Ok(());
        for piece in [&length[..], evidence].concat().chunks(3) {
            ended = ended.and_then(|()| session.received(piece));
        }
        (session, arrived, ended.map_err(|end| end.0))
    }

    /// A processor that has proved to be a program.
    fn program(&self, evidence: &[u8]) -> Client {
        let (session, arrived, ended) = self.prove(evidence);
        assert_eq!(ended, Ok(()));
        assert_eq!(arrived.try_recv().unwrap()[0], 1);
        Client::over(session, arrived)
    }
}

struct Wire(Mutex<std::sync::mpsc::Sender<Bytes>>);

impl Stream for Wire {
    fn send(&self, bytes: Bytes) -> Result<(), SocketClosed> {
        self.0.lock().send(bytes).map_err(|_| SocketClosed)
    }
}

fn registers(client: &mut Client) -> bool {
    let request = TpRegisterRequest { family: "secret".into(), version: "1.0".into(), ..Default::default() };
    client.say(kind::TP_REGISTER_REQUEST, "r", &request);
    client.expect::<TpRegisterResponse>(kind::TP_REGISTER_RESPONSE).status == 1
}

fn attested(program: &str) -> Option<Value> {
    Some(json!({ "tier": "attested", "code": { "virtual_tee": program } }))
}

#[test]
fn only_the_code_that_the_members_name_registers_for_an_attested_family() {
    let world = World::new();
    world.decide(attested("good"));
    assert!(registers(&mut world.program(b"good\x07")));
    assert!(!registers(&mut world.program(b"other\x07")));
    assert!(!registers(&mut Client::connect(&*world.plain)), "the plain endpoint takes no evidence");
}

#[test]
fn evidence_for_another_connection_counts_for_nothing() {
    let world = World::new();
    let (_, arrived, ended) = world.prove(b"good\x08");
    assert!(ended.unwrap_err().contains("made for another connection"));
    let said = arrived.try_recv().unwrap();
    assert_eq!((said[0], &said[3..]), (0, &b"made for another connection"[..]));
    let (to_client, _arrived) = std::sync::mpsc::channel();
    let mut bare = world.attested.open(Arc::new(Wire(Mutex::new(to_client))), None);
    assert!(bare.received(b"\0\0\0\x01\x07").unwrap_err().0.contains("not secured"));
}

#[test]
fn evidence_that_never_ends_ends_the_connection() {
    let world = World::new();
    let (to_client, _arrived) = std::sync::mpsc::channel();
    let mut session = world.attested.open(Arc::new(Wire(Mutex::new(to_client))), Some(CHANNEL));
    assert!(session.received(&u32::MAX.to_be_bytes()).is_err());
}

#[test]
fn whoever_may_not_execute_a_family_any_more_gets_no_more_of_it() {
    let world = World::new();
    world.decide(attested("good"));
    let mut processor = world.program(b"good\x07");
    assert!(registers(&mut processor));
    assert_eq!(world.protocol.processors().offers().len(), 1);
    assert!(world.protocol.processors().offers()[0].attested);
    world.decide(attested("better"));
    assert_eq!(world.protocol.processors().offers(), []);
    world.decide(Some(json!({ "tier": "process" })));
    assert!(registers(&mut Client::connect(&*world.plain)));
    world.decide(None);
    assert!(world.protocol.processors().offers().is_empty(), "nothing is decided: nobody may");
}

#[test]
fn what_follows_the_evidence_at_once_is_understood() {
    let world = World::new();
    let (to_client, arrived) = std::sync::mpsc::channel();
    let mut session = world.attested.open(Arc::new(Wire(Mutex::new(to_client))), Some(CHANNEL));
    session.received(&[b"\0\0\0\x05good\x07", &testing::hello()[..]].concat()).unwrap();
    assert_eq!(arrived.try_recv().unwrap()[0], 1);
}
