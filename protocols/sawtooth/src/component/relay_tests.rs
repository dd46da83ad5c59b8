//! Processors of a backup: two ledgers, and a way between them that takes a message when it is told to.

use std::collections::VecDeque;

use bytes::Bytes;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{
    Admitted, Caller, Idempotent, NodeStatus, OpenGate, Protocol, Reader, Rejection, Submitted, TransactionStatus,
    Until,
};
use coco_types::TxId;
use parking_lot::Mutex;
use serde_json::json;

use super::tests::{Client, World, external, place};
use super::*;
use crate::Sawtooth;
use crate::messages::kind;
use crate::messages::processor::{
    Empty, TpAddressesRequest, TpAddressesResponse, TpProcessRequest, TpStateEntry, TpStateGetResponse,
    TpStateSetRequest, tp_process_status,
};
use crate::protocol_tests::sawtooth;

type Reply = Box<dyn FnOnce(Option<Bytes>) + Send>;
/// Answers on their way back.
type Answers = Arc<Mutex<VecDeque<(Option<Bytes>, Reply)>>>;

/// A backup's handle.
struct Backup {
    node: Arc<SingleNode>,
    primary: Mutex<(u32, Arc<Sawtooth>)>,
    sent: Mutex<VecDeque<(Bytes, Reply)>>,
    answered: Answers,
}

/// Says that there is no answer when it is dropped, as a channel between nodes does.
struct Answering {
    reply: Option<Reply>,
    answered: Answers,
}

impl Answering {
    fn end(&mut self, answer: Option<Bytes>) {
        if let Some(reply) = self.reply.take() {
            self.answered.lock().push_back((answer, reply));
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl Backup {
    fn new(primary: &World) -> (Arc<Self>, Arc<dyn StreamService>) {
        let protocol = sawtooth();
        let node = SingleNode::found(protocol.clone(), &json!({ "development": true }), Arc::new(OpenGate));
        let (sent, answered) = (Mutex::default(), Arc::default());
        let handle = Arc::new(Self { node, primary: Mutex::new((1, primary.protocol.clone())), sent, answered });
        let service = protocol.serve_streams(handle.clone()).remove(0);
        (handle, service)
    }

    /// Takes messages there and answers back until nothing moves.
    fn pump(&self) {
        loop {
            let sent = self.sent.lock().pop_front();
            if let Some((message, reply)) = sent {
                let mut answering = Answering { reply: Some(reply), answered: Arc::clone(&self.answered) };
                let primary = Arc::clone(&self.primary.lock().1);
                primary.relayed(message, Box::new(move |answer| answering.end(Some(answer))));
                continue;
            }
            let answered = self.answered.lock().pop_front();
            let Some((answer, reply)) = answered else { return };
            reply(answer);
        }
    }

    /// What is under way to the primary is lost, and answers too.
    fn lose(&self) {
        let sent: Vec<_> = self.sent.lock().drain(..).collect();
        sent.into_iter().for_each(|(_, reply)| reply(None));
    }
}

impl LedgerHandle for Backup {
    fn submit(&self, admitted: Vec<Admitted>, until: Until, reply: Box<dyn FnOnce(Vec<Submitted>) + Send>) {
        self.node.submit(admitted, until, reply);
    }

    fn ask_primary(&self, caller: &Caller, question: Bytes, reply: Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>) {
        self.node.ask_primary(caller, question, reply);
    }

    fn relay(&self, message: Bytes, reply: Reply) {
        self.sent.lock().push_back((message, reply));
    }

    fn claim(&self, key: Idempotent, reply: Box<dyn FnOnce(Result<(), Rejection>) + Send>) {
        self.node.claim(key, reply);
    }

    fn reader(&self, caller: &Caller) -> Reader {
        self.node.reader(caller)
    }

    fn linearizable(&self, reply: Box<dyn FnOnce(bool) + Send>) {
        reply(false);
    }

    fn transaction_status(&self, txid: TxId) -> TransactionStatus {
        self.node.transaction_status(txid)
    }

    fn receipt(&self, _: &Caller, _: TxId, reply: Box<dyn FnOnce(Option<Bytes>) + Send>) {
        reply(None);
    }

    fn status(&self) -> NodeStatus {
        NodeStatus { is_primary: false, primary: Some(self.primary.lock().0), ..self.node.status() }
    }

    fn now_ms(&self) -> u64 {
        self.node.now_ms()
    }
}

fn set(context_id: &str) -> TpStateSetRequest {
    let entries = vec![TpStateEntry { address: place(), data: Bytes::from_static(b"v") }];
    TpStateSetRequest { context_id: context_id.to_owned(), entries }
}

#[test]
fn a_processor_at_a_backup_executes_what_the_primary_has() {
    let primary = World::new();
    let (backup, service) = Backup::new(&primary);
    let waiting = primary.start(&external("1"));
    let mut processor = Client::connect(&*service);
    processor.register("outside");
    backup.pump();
    let request: TpProcessRequest = processor.expect(kind::TP_PROCESS_REQUEST);
    let (context_id, addresses) = (request.context_id.clone(), vec![place()]);
    processor.say(kind::TP_STATE_GET_REQUEST, "g", &TpAddressesRequest { context_id, addresses });
    backup.pump();
    let read: TpStateGetResponse = processor.expect(kind::TP_STATE_GET_RESPONSE);
    assert_eq!(read.entries, [TpStateEntry { address: place(), data: Bytes::new() }]);
    processor.say(kind::TP_STATE_SET_REQUEST, "s", &set(&request.context_id));
    backup.pump();
    assert_eq!(processor.expect::<TpAddressesResponse>(kind::TP_STATE_SET_RESPONSE).addresses, [place()]);
    processor.answer(&request, tp_process_status::OK);
    backup.pump();
    assert_eq!(waiting.try_recv().unwrap().unwrap().unwrap().changes.len(), 1);
    let next = primary.start(&external("2"));
    backup.pump();
    let request: TpProcessRequest = processor.expect(kind::TP_PROCESS_REQUEST);
    processor.answer(&request, tp_process_status::INVALID_TRANSACTION);
    backup.pump();
    assert_eq!(next.try_recv().unwrap().unwrap().unwrap_err().message, "because");
}

#[test]
fn work_comes_round_to_processors_here_and_at_a_backup_and_returns_from_those_that_leave() {
    let primary = World::new();
    let (backup, service) = Backup::new(&primary);
    let mut here = Client::connect(&*primary.service);
    here.register("outside");
    let mut there = Client::connect(&*service);
    there.register("outside");
    backup.pump();
    let _waiting: Vec<_> = (0..20).map(|nonce| primary.start(&external(&nonce.to_string()))).collect();
    backup.pump();
    let count = |client: &mut Client| std::iter::from_fn(|| client.hear()).count();
    assert_eq!((count(&mut here), count(&mut there)), (10, 10));
    let more: Vec<_> = (20..25).map(|nonce| primary.start(&external(&nonce.to_string()))).collect();
    there.say(kind::TP_UNREGISTER_REQUEST, "u", &Empty {});
    backup.pump();
    assert_eq!(count(&mut there), 1, "an answer, and no more work");
    drop(there);
    backup.pump();
    let mut helper = Client::connect(&*primary.service);
    helper.register("outside");
    // What it was working on goes on here; any of it may be why it left.
    let mut taken = 0;
    while let Some(request) = helper.hear_work().filter(|_| taken < 10) {
        assert!(helper.hear().is_none(), "alone");
        taken += 1;
        helper.answer(&request, tp_process_status::OK);
    }
    assert_eq!(taken, 10);
    assert!(more.iter().all(|results| results.try_recv().is_err()));
}

#[test]
fn a_backup_that_is_lost_takes_nothing_with_it() {
    let primary = World::new();
    primary.service.tick();
    let (backup, service) = Backup::new(&primary);
    let mut there = Client::connect(&*service);
    there.register("outside");
    backup.pump();
    let results = primary.start(&external("1"));
    backup.pump();
    assert!(there.hear().is_some());
    let mut here = Client::connect(&*primary.service);
    here.register("outside");
    assert!(here.hear().is_none());
    let guests = primary.protocol.guests();
    let now_ms = backup.now_ms();
    guests.tick(now_ms + 3_000);
    assert!(here.hear().is_none());
    guests.tick(now_ms + 4_000);
    let request: TpProcessRequest = here.expect(kind::TP_PROCESS_REQUEST);
    here.answer(&request, tp_process_status::OK);
    assert!(results.try_recv().unwrap().unwrap().is_ok());
}

#[test]
fn a_new_primary_gives_work_to_processors_that_noticed_nothing() {
    let (old, new) = (World::new(), World::new());
    // Randomness is counted in tests: names of the two must not be the same all the same.
    (0..100).for_each(|_| drop(new.protocol.processors().name()));
    let (backup, service) = Backup::new(&old);
    service.tick();
    let mut processor = Client::connect(&*service);
    processor.register("outside");
    backup.pump();
    let _lost = old.start(&external("1"));
    backup.pump();
    let stale: TpProcessRequest = processor.expect(kind::TP_PROCESS_REQUEST);
    processor.say(kind::TP_STATE_SET_REQUEST, "s", &set(&stale.context_id));
    backup.lose();
    let ended: TpAddressesResponse = processor.expect(kind::TP_STATE_SET_RESPONSE);
    assert_eq!((ended.status, ended.addresses), (1, vec![]), "as about a context that has ended");
    *backup.primary.lock() = (2, new.protocol.clone());
    service.tick();
    backup.pump();
    let results = new.start(&external("1"));
    backup.pump();
    let request: TpProcessRequest = processor.expect(kind::TP_PROCESS_REQUEST);
    processor.answer(&stale, tp_process_status::INVALID_TRANSACTION);
    backup.pump();
    assert!(results.try_recv().is_err(), "what the old primary asked is nobody's business any more");
    processor.answer(&request, tp_process_status::OK);
    backup.pump();
    assert!(results.try_recv().unwrap().unwrap().is_ok());
}

#[test]
fn what_a_backup_relays_is_checked() {
    let primary = World::new();
    let answered = Arc::new(Mutex::new(0));
    for message in [&b""[..], b"\xff\xff", b"\x0a\x01a"] {
        let count = Arc::clone(&answered);
        primary.protocol.relayed(Bytes::copy_from_slice(message), Box::new(move |_| *count.lock() += 1));
    }
    assert_eq!(*answered.lock(), 0);
}
