use std::sync::mpsc;

use bytes::Bytes;
use coco_kv::Store;
use coco_protocol::conformance::SingleNode;
use coco_protocol::{Job, OpenGate, Prepared, Protocol, SocketClosed, Standing};
use prost::Message as _;
use serde_json::json;

use super::zmtp::{Heard, Incoming, testing};
use super::*;
use crate::Sawtooth;
use crate::batch::SignedBatch;
use crate::execute::{Executed, Failure};
use crate::limits::{PROCESSOR_ADDRESSES_MAX, TURN_MESSAGES_MAX};
use crate::messages::client::{
    BatchSubmitRequest, EventsGetRequest, EventsGetResponse, EventsSubscribeRequest, EventsSubscribeResponse,
    GetRequest, GetResponse, ListRequest, ListResponse, status,
};
use crate::messages::ledger::{Block, BlockHeader, EventList, EventSubscription};
use crate::messages::processor::{
    Empty, StatusOnly, TpAddressesRequest, TpAddressesResponse, TpProcessRequest, TpProcessResponse, TpRegisterRequest,
    TpRegisterResponse, TpStateEntry, TpStateGetResponse, TpStateSetRequest, tp_process_status,
};
use crate::messages::{Envelope, kind};
use crate::protocol_tests::sawtooth;
use crate::testing::{Draft, Signer, intkey};

/// The other end of a connection.
pub(super) struct Client {
    session: Box<dyn StreamSession>,
    arrived: mpsc::Receiver<Bytes>,
    incoming: Incoming,
}

struct Wire(mpsc::Sender<Bytes>);

impl Stream for Wire {
    fn send(&self, bytes: Bytes) -> Result<(), SocketClosed> {
        self.0.send(bytes).map_err(|_| SocketClosed)
    }
}

impl Client {
    pub(super) fn connect(service: &dyn StreamService) -> Self {
        let (to_client, arrived) = mpsc::channel();
        Self::over(service.open(Arc::new(Wire(to_client)), None), arrived)
    }

    /// On a connection that is open already.
    pub(super) fn over(mut session: Box<dyn StreamSession>, arrived: mpsc::Receiver<Bytes>) -> Self {
        session.received(&testing::hello()).unwrap();
        Self { session, arrived, incoming: Incoming::new() }
    }

    pub(super) fn say(&mut self, message_type: i32, id: &str, content: &impl prost::Message) {
        let envelope = Envelope::new(message_type, id, content);
        self.session.received(&testing::message(&envelope.bytes())).unwrap();
    }

    /// The next message that has arrived by now.
    pub(super) fn hear(&mut self) -> Option<Envelope> {
        self.arrived.try_iter().for_each(|bytes| self.incoming.received(&bytes));
        match self.incoming.next().unwrap()? {
            Heard::Message(message) => Some(Envelope::decode(message).unwrap()),
            Heard::Ping(_) => panic!("the node does not ping below its own messages"),
        }
    }

    pub(super) fn expect<M: prost::Message + Default>(&mut self, message_type: i32) -> M {
        let envelope = self.hear().expect("a message has arrived");
        assert_eq!(envelope.message_type, message_type);
        M::decode(envelope.content).unwrap()
    }

    pub(super) fn register(&mut self, family: &str) {
        let request = TpRegisterRequest { family: family.into(), version: "1.0".into(), ..Default::default() };
        self.say(kind::TP_REGISTER_REQUEST, "r", &request);
        let response: TpRegisterResponse = self.expect(kind::TP_REGISTER_RESPONSE);
        assert_eq!(response.status, 1);
    }

    /// The next transaction to execute.
    pub(super) fn hear_work(&mut self) -> Option<TpProcessRequest> {
        let work = std::iter::from_fn(|| self.hear()).find(|heard| heard.message_type == kind::TP_PROCESS_REQUEST);
        work.map(|request| TpProcessRequest::decode(request.content).unwrap())
    }

    pub(super) fn answer(&mut self, request: &TpProcessRequest, status: i32) {
        let response = TpProcessResponse { status, message: "because".into(), extended_data: Bytes::new() };
        self.say(kind::TP_PROCESS_RESPONSE, &request.context_id, &response);
    }
}

/// A ledger with a component endpoint and one batch that processors have to execute.
pub(super) struct World {
    pub(super) protocol: Arc<Sawtooth>,
    pub(super) service: Arc<dyn StreamService>,
    processors: Arc<Processors>,
}

impl World {
    pub(super) fn new() -> Self {
        let protocol = sawtooth();
        let node = SingleNode::found(protocol.clone(), &json!({ "development": true }), Arc::new(OpenGate));
        let service = protocol.clone().serve_streams(node).remove(0);
        Self { processors: protocol.processors(), protocol, service }
    }

    /// Starts executing a batch; what comes of it arrives here.
    pub(super) fn start(&self, batch: &Bytes) -> mpsc::Receiver<Option<Result<Executed, Failure>>> {
        let (to_test, results) = mpsc::channel();
        let store = Store::new();
        let done = move |prepared: Option<Prepared>| {
            let result = prepared.map(|prepared| *prepared.result.downcast().expect("what a run comes to"));
            drop(to_test.send(result));
        };
        let job = Job::new(store.begin_tracked(&store.snapshot()), 1_000, Box::new(done));
        let admitted = crate::protocol::admitted(SignedBatch::admit(batch.clone()).unwrap(), Default::default());
        self.protocol.prepare(&admitted, job);
        results
    }
}

pub(super) fn external(nonce: &str) -> Bytes {
    let draft = Draft {
        family: "outside",
        nonce: nonce.into(),
        inputs: vec!["aa".into()],
        outputs: vec!["aa".into()],
        ..Draft::default()
    };
    Signer::new(1).single(&draft)
}

pub(super) fn place() -> String {
    format!("aa{}", "0".repeat(68))
}

#[test]
fn a_processor_executes_a_batch_over_the_wire() {
    let world = World::new();
    let mut processor = Client::connect(&*world.service);
    processor.register("outside");
    let results = world.start(&external("1"));
    let request: TpProcessRequest = processor.expect(kind::TP_PROCESS_REQUEST);
    assert_eq!(request.header.clone().unwrap().family_name, "outside");
    let (context_id, addresses) = (request.context_id.clone(), vec![place()]);
    processor.say(kind::TP_STATE_GET_REQUEST, "g", &TpAddressesRequest { context_id: context_id.clone(), addresses });
    let read: TpStateGetResponse = processor.expect(kind::TP_STATE_GET_RESPONSE);
    assert_eq!(read.entries, [TpStateEntry { address: place(), data: Bytes::new() }], "nothing there, but told");
    let set = |processor: &mut Client, address: String| {
        let entries = vec![TpStateEntry { address, data: Bytes::from_static(b"v") }];
        processor.say(kind::TP_STATE_SET_REQUEST, "s", &TpStateSetRequest { context_id: context_id.clone(), entries });
        let response: TpAddressesResponse = processor.expect(kind::TP_STATE_SET_RESPONSE);
        (response.status, response.addresses)
    };
    let addresses = vec![place(); PROCESSOR_ADDRESSES_MAX + 1];
    processor.say(kind::TP_STATE_GET_REQUEST, "g", &TpAddressesRequest { context_id: context_id.clone(), addresses });
    let read: TpStateGetResponse = processor.expect(kind::TP_STATE_GET_RESPONSE);
    assert_eq!((read.status, read.entries.len()), (2, 0), "too many at once");
    assert_eq!(set(&mut processor, "bb".repeat(35)), (2, vec![]));
    assert_eq!(set(&mut processor, place()), (1, vec![place()]));
    assert!(results.try_recv().is_err());
    processor.answer(&request, tp_process_status::OK);
    let executed = results.try_recv().unwrap().unwrap().unwrap();
    assert_eq!(executed.changes.len(), 1);
    assert_eq!(executed.receipts[0].state_changes[0].address, place());
    processor.answer(&request, tp_process_status::OK);
    assert_eq!(set(&mut processor, place()), (1, vec![]), "a context that has ended");
}

#[test]
fn a_processor_that_is_lost_is_replaced_and_an_invalid_transaction_says_why() {
    let world = World::new();
    let mut first = Client::connect(&*world.service);
    first.register("outside");
    let results = world.start(&external("1"));
    let stale: TpProcessRequest = first.expect(kind::TP_PROCESS_REQUEST);
    let mut second = Client::connect(&*world.service);
    second.register("outside");
    second.answer(&stale, tp_process_status::OK);
    drop(first);
    assert!(second.hear().is_none(), "processors are often lost together");
    world.processors.tick(2_000);
    let request: TpProcessRequest = second.expect(kind::TP_PROCESS_REQUEST);
    assert_ne!(request.context_id, stale.context_id);
    second.answer(&stale, tp_process_status::OK);
    assert!(results.try_recv().is_err(), "somebody else's question is not answered");
    second.answer(&request, tp_process_status::INVALID_TRANSACTION);
    assert_eq!(results.try_recv().unwrap().unwrap().unwrap_err().message, "because");
}

#[test]
fn processors_that_are_lost_together_cost_a_batch_nothing() {
    let world = World::new();
    let mut processors: Vec<_> = (0..6).map(|_| Client::connect(&*world.service)).collect();
    processors.iter_mut().for_each(|processor| processor.register("outside"));
    let batches: Vec<_> = (0..30).map(|nonce| world.start(&external(&nonce.to_string()))).collect();
    // One after the other, as a machine's connections end; time passes meanwhile.
    for (ended, processor) in processors.into_iter().enumerate() {
        drop(processor);
        if ended == 2 {
            world.processors.tick(2_000);
        }
    }
    world.processors.tick(3_000);
    let mut next = Client::connect(&*world.service);
    next.register("outside");
    for now_ms in [4_000, 5_000, 6_000] {
        world.processors.tick(now_ms);
        while let Some(request) = next.hear_work() {
            next.answer(&request, tp_process_status::OK);
        }
    }
    assert!(batches.iter().all(|results| results.try_recv().unwrap().unwrap().is_ok()));
}

#[test]
fn a_transaction_that_no_processor_survives_takes_no_other_with_it() {
    let world = World::new();
    let poison = external("3");
    let poisonous = crate::testing::first_transaction_id(&poison);
    let batches: Vec<_> = (0..10).map(|nonce| world.start(&external(&nonce.to_string()))).collect();
    let mut lost = 0;
    for now_ms in (1..10).map(|second| second * 1_000) {
        world.processors.tick(now_ms);
        let mut processor = Client::connect(&*world.service);
        processor.register("outside");
        // It begins with what it got first, and everything that it has goes down with it.
        while let Some(request) = processor.hear_work() {
            if request.signature == poisonous {
                lost += 1;
                break;
            }
            processor.answer(&request, tp_process_status::OK);
        }
    }
    assert_eq!(lost, 4, "among others, and three times alone");
    for (nonce, results) in batches.iter().enumerate() {
        let result = results.try_recv().unwrap().unwrap();
        match result {
            Ok(_) => assert_ne!(nonce, 3),
            Err(failure) => assert_eq!((nonce, failure.transaction_id), (3, poisonous.clone())),
        }
    }
}

#[test]
fn a_slow_processor_has_its_time_for_each_transaction() {
    let world = World::new();
    let mut processor = Client::connect(&*world.service);
    processor.register("outside");
    let batches: Vec<_> = (0..5).map(|nonce| world.start(&external(&nonce.to_string()))).collect();
    let asked: Vec<_> = std::iter::from_fn(|| processor.hear_work()).collect();
    for (nth, request) in asked.iter().enumerate() {
        world.processors.tick(1_000 + (nth as u64 + 1) * 9_000);
        processor.answer(request, tp_process_status::OK);
        assert!(batches[nth].try_recv().unwrap().unwrap().is_ok());
    }
    let (stuck, beside) = (world.start(&external("6")), world.start(&external("7")));
    let asked: Vec<_> = std::iter::from_fn(|| processor.hear_work()).collect();
    // It goes on with other things: each of them has its time, and not for ever.
    world.processors.tick(55_999);
    processor.answer(&asked[1], tp_process_status::OK);
    assert!(beside.try_recv().is_ok());
    world.processors.tick(56_000);
    let again = std::iter::from_fn(|| processor.hear_work()).next().expect("the first one's time is over");
    processor.answer(&again, tp_process_status::OK);
    assert!(stuck.try_recv().unwrap().unwrap().is_ok());
}

#[test]
fn a_suspect_gets_a_processor_for_itself_though_others_wait() {
    let world = World::new();
    let mut processors = [Client::connect(&*world.service), Client::connect(&*world.service)];
    processors.iter_mut().for_each(|processor| processor.register("outside"));
    let [mut first, second] = processors;
    let batches: Vec<_> = (0..4).map(|nonce| world.start(&external(&nonce.to_string()))).collect();
    let mut busy: Vec<_> = std::iter::from_fn(|| first.hear_work()).collect();
    assert_eq!(busy.len(), 2);
    drop(second);
    let later = world.start(&external("later"));
    assert!(first.hear_work().is_none(), "it is kept for the suspects");
    for _ in 0..2 {
        first.answer(&busy.pop().unwrap(), tp_process_status::OK);
    }
    for _ in 0..2 {
        let suspect = first.hear_work().unwrap();
        assert!(first.hear_work().is_none());
        first.answer(&suspect, tp_process_status::OK);
    }
    let last = first.hear_work().unwrap();
    first.answer(&last, tp_process_status::OK);
    assert!(batches.iter().chain([&later]).all(|results| results.try_recv().unwrap().unwrap().is_ok()));
}

#[test]
fn work_goes_round_and_no_processor_gets_more_than_it_takes() {
    let world = World::new();
    let mut processors = [Client::connect(&*world.service), Client::connect(&*world.service)];
    processors.iter_mut().for_each(|processor| processor.register("outside"));
    let batches: Vec<_> = (0..22).map(|nonce| world.start(&external(&nonce.to_string()))).collect();
    let mut asked: Vec<Vec<TpProcessRequest>> = Vec::new();
    for processor in &mut processors {
        let requests = std::iter::from_fn(|| processor.hear());
        asked.push(requests.map(|request| TpProcessRequest::decode(request.content).unwrap()).collect());
    }
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10]);
    processors[1].answer(&asked[1][3], tp_process_status::OK);
    assert!(processors[1].hear().is_some() && processors[0].hear().is_none());
    assert_eq!(batches.iter().filter(|results| results.try_recv().is_ok()).count(), 1);
}

#[test]
fn nothing_waits_for_ever() {
    let world = World::new();
    let unserved = world.start(&external("1"));
    world.processors.tick(30_999);
    assert!(unserved.try_recv().is_err());
    world.processors.tick(31_000);
    assert!(unserved.try_recv().unwrap().unwrap().unwrap_err().message.contains("has registered"));
    let mut silent = Client::connect(&*world.service);
    silent.register("outside");
    let results = world.start(&external("2"));
    for attempt in 1..=3 {
        assert!(results.try_recv().is_err());
        world.processors.tick(31_000 + attempt * 10_000);
    }
    assert!(results.try_recv().unwrap().unwrap().unwrap_err().message.contains("in time, 3 times"));
    let asked = std::iter::from_fn(|| silent.hear()).filter(|request| request.message_type == kind::TP_PROCESS_REQUEST);
    assert_eq!(asked.count(), 3);
    let mut failing = Client::connect(&*world.service);
    failing.register("outside");
    let results = world.start(&external("3"));
    for _ in 0..3 {
        let request: TpProcessRequest = failing.expect(kind::TP_PROCESS_REQUEST);
        failing.answer(&request, tp_process_status::INTERNAL_ERROR);
    }
    assert!(results.try_recv().unwrap().unwrap().is_err());
}

#[test]
fn a_silent_processor_is_asked_whether_it_is_there() {
    let world = World::new();
    world.processors.tick(1_000);
    let mut processor = Client::connect(&*world.service);
    processor.register("outside");
    world.processors.tick(11_000);
    assert!(processor.hear().is_none());
    world.processors.tick(11_001);
    let ping = processor.hear().unwrap();
    assert_eq!((ping.message_type, ping.content.len()), (kind::PING_REQUEST, 0));
    processor.say(kind::PING_RESPONSE, &ping.correlation_id, &Empty {});
    for now_ms in [22_000, 32_000, 42_000] {
        world.processors.tick(now_ms);
        assert_eq!(processor.hear().unwrap().message_type, kind::PING_REQUEST);
    }
    world.processors.tick(52_000);
    let results = world.start(&external("1"));
    assert!(processor.hear().is_none(), "it gets no work");
    assert!(results.try_recv().is_err());
}

#[test]
fn an_example_family_is_native_until_somebody_registers_for_it() {
    let world = World::new();
    let batch = Signer::new(1).single(&intkey("set", "a", 1));
    assert!(world.start(&batch).try_recv().unwrap().unwrap().is_ok());
    let mut processor = Client::connect(&*world.service);
    processor.register("intkey");
    let results = world.start(&batch);
    assert!(results.try_recv().is_err());
    processor.say(kind::TP_UNREGISTER_REQUEST, "u", &Empty {});
    let request: TpProcessRequest = processor.expect(kind::TP_PROCESS_REQUEST);
    let unregistered: StatusOnly = processor.expect(kind::TP_UNREGISTER_RESPONSE);
    assert_eq!(unregistered.status, 1);
    processor.answer(&request, tp_process_status::OK);
    assert!(results.try_recv().unwrap().unwrap().is_ok(), "what was sent before may still be answered");
    let request = TpRegisterRequest { family: "sawtooth_settings".into(), version: "1.0".into(), ..Default::default() };
    processor.say(kind::TP_REGISTER_REQUEST, "r", &request);
    assert_eq!(processor.expect::<TpRegisterResponse>(kind::TP_REGISTER_RESPONSE).status, 2);
    let newer = TpRegisterRequest { protocol_version: 2, ..request };
    processor.say(kind::TP_REGISTER_REQUEST, "r", &newer);
    let response: TpRegisterResponse = processor.expect(kind::TP_REGISTER_RESPONSE);
    assert_eq!((response.status, response.protocol_version), (2, 1));
}

#[test]
fn the_node_goes_on_where_the_last_processor_of_an_example_family_left() {
    let world = World::new();
    let mut processor = Client::connect(&*world.service);
    processor.register("intkey");
    let results = world.start(&Signer::new(1).single(&intkey("set", "a", 1)));
    assert!(processor.hear().is_some());
    drop(processor);
    assert!(results.try_recv().is_err());
    world.processors.tick(2_000);
    assert_eq!(results.try_recv().unwrap().unwrap().unwrap().changes.len(), 1);
}

#[test]
fn a_client_submits_reads_and_hears_of_blocks() {
    let world = World::new();
    let mut client = Client::connect(&*world.service);
    let subscription = EventSubscription { event_type: "sawtooth/block-commit".into(), filters: Vec::new() };
    let subscribe =
        EventsSubscribeRequest { subscriptions: vec![subscription], last_known_block_ids: vec!["0".repeat(16)] };
    client.say(kind::CLIENT_EVENTS_SUBSCRIBE_REQUEST, "e", &subscribe);
    let response: EventsSubscribeResponse = client.expect(kind::CLIENT_EVENTS_SUBSCRIBE_RESPONSE);
    assert_eq!(response.status, 1);
    let number = |events: EventList| events.events[0].attributes[1].value.clone();
    assert_eq!(number(client.expect(kind::CLIENT_EVENTS)), "0");
    let batch = Signer::new(1).single(&intkey("set", "a", 1));
    client.say(kind::CLIENT_BATCH_SUBMIT_REQUEST, "b", &BatchSubmitRequest { batches: vec![batch] });
    assert_eq!(number(client.expect(kind::CLIENT_EVENTS)), "1");
    assert_eq!(client.expect::<StatusOnly>(kind::CLIENT_BATCH_SUBMIT_RESPONSE).status, 1);
    client.say(kind::CLIENT_BLOCK_LIST_REQUEST, "l", &ListRequest::default());
    let list: ListResponse = client.expect(kind::CLIENT_BLOCK_LIST_RESPONSE);
    let block = Block::decode(list.items[0].clone()).unwrap();
    assert_eq!((list.items.len(), BlockHeader::decode(block.header).unwrap().block_num), (2, 1));
    let absent = GetRequest { id: "0".repeat(128) };
    client.say(kind::CLIENT_BATCH_GET_REQUEST, "g", &absent);
    assert_eq!(client.expect::<GetResponse>(kind::CLIENT_BATCH_GET_RESPONSE).status, status::NO_RESOURCE);
    let unknown = EventsSubscribeRequest { last_known_block_ids: vec!["f".repeat(128)], ..subscribe };
    client.say(kind::CLIENT_EVENTS_SUBSCRIBE_REQUEST, "e", &unknown);
    assert_eq!(client.expect::<EventsSubscribeResponse>(kind::CLIENT_EVENTS_SUBSCRIBE_RESPONSE).status, 3);
    client.say(kind::CLIENT_EVENTS_UNSUBSCRIBE_REQUEST, "u", &Empty {});
    assert_eq!(client.expect::<StatusOnly>(kind::CLIENT_EVENTS_UNSUBSCRIBE_RESPONSE).status, 1);
    client.say(kind::PING_REQUEST, "p", &Empty {});
    assert_eq!(client.hear().unwrap().message_type, kind::PING_RESPONSE);
}

#[test]
fn a_processor_is_not_given_more_state_at_once_than_fits_into_an_answer() {
    let world = World::new();
    let mut processor = Client::connect(&*world.service);
    processor.register("outside");
    let _results = world.start(&external("1"));
    let TpProcessRequest { context_id, .. } = processor.expect(kind::TP_PROCESS_REQUEST);
    let entries = vec![TpStateEntry { address: place(), data: vec![7; 3 << 20].into() }];
    processor.say(kind::TP_STATE_SET_REQUEST, "s", &TpStateSetRequest { context_id: context_id.clone(), entries });
    assert_eq!(processor.expect::<TpAddressesResponse>(kind::TP_STATE_SET_RESPONSE).status, 1);
    let mut read = |times| {
        let (context_id, addresses) = (context_id.clone(), vec![place(); times]);
        processor.say(kind::TP_STATE_GET_REQUEST, "g", &TpAddressesRequest { context_id, addresses });
        processor.expect::<TpStateGetResponse>(kind::TP_STATE_GET_RESPONSE).status
    };
    assert_eq!((read(3), read(4)), (1, 2));
}

#[test]
fn who_asks_for_much_at_once_is_answered_in_turns_and_no_more_once_nobody_is_there() {
    let world = World::new();
    let ping = testing::message(&Envelope::new(kind::PING_REQUEST, "p", &Empty {}).bytes());
    let mut client = Client::connect(&*world.service);
    let mut said = ping.repeat(2 * TURN_MESSAGES_MAX + 1);
    for (answers, has_more) in [(TURN_MESSAGES_MAX, true), (TURN_MESSAGES_MAX, true), (1, false)] {
        client.session.received(&said).unwrap();
        assert_eq!(client.session.has_more(), has_more);
        assert_eq!(std::iter::from_fn(|| client.hear()).count(), answers);
        said.clear();
    }
    let (to_client, arrived) = mpsc::channel();
    let mut session = world.service.open(Arc::new(Wire(to_client)), None);
    session.received(&testing::hello()).unwrap();
    drop(arrived);
    assert!(session.received(&ping).is_err());
}

#[test]
fn what_has_too_many_elements_is_refused_as_its_protocol_refuses() {
    let world = World::new();
    let mut client = Client::connect(&*world.service);
    // The answer's status, in its first field or its second.
    let mut status = |message_type, content: Vec<u8>, status_field: u8| {
        let envelope = Envelope { message_type, correlation_id: "x".into(), content: content.into() };
        client.session.received(&testing::message(&envelope.bytes())).unwrap();
        let answer = client.hear().expect("it is answered").content;
        assert_eq!(answer.first(), Some(&(status_field << 3)), "of type {message_type}");
        answer[1]
    };
    let empty = |field: u8, times: usize| [field << 3 | 2, 0].repeat(times);
    let within = |field: u8, content: Vec<u8>| {
        let mut length = Vec::new();
        prost::encode_length_delimiter(content.len(), &mut length).unwrap();
        [vec![field << 3 | 2], length, content].concat()
    };
    let many = 1_000_000;
    assert_eq!(status(kind::TP_STATE_GET_REQUEST, empty(2, many), 2), 2);
    assert_eq!(status(kind::TP_STATE_SET_REQUEST, empty(2, many), 2), 2);
    assert_eq!(status(kind::TP_STATE_DELETE_REQUEST, empty(2, many), 2), 2);
    assert_eq!(status(kind::TP_EVENT_ADD_REQUEST, within(2, empty(2, many)), 2), 2);
    assert_eq!(status(kind::CLIENT_BATCH_SUBMIT_REQUEST, empty(1, many), 1), 3);
    assert_eq!(status(kind::CLIENT_BATCH_STATUS_REQUEST, empty(1, many), 1), 2);
    assert_eq!(status(kind::CLIENT_BLOCK_LIST_REQUEST, empty(2, many), 1), 8);
    assert_eq!(status(kind::CLIENT_BLOCK_LIST_REQUEST, within(4, empty(1, many)), 1), 7);
    assert_eq!(status(kind::CLIENT_STATE_LIST_REQUEST, empty(5, many), 1), 7);
    assert_eq!(status(kind::CLIENT_RECEIPT_GET_REQUEST, empty(1, many), 1), 2);
    assert_eq!(status(kind::CLIENT_EVENTS_SUBSCRIBE_REQUEST, within(1, empty(2, many)), 1), 2);
    assert_eq!(status(kind::CLIENT_EVENTS_SUBSCRIBE_REQUEST, empty(2, many), 1), 2);
    assert_eq!(status(kind::CLIENT_EVENTS_GET_REQUEST, empty(1, many), 1), 3);
    assert_eq!(status(kind::CLIENT_EVENTS_GET_REQUEST, empty(2, many), 1), 2);
}

#[test]
fn a_connection_is_relied_on_once_it_has_registered_or_subscribed() {
    let world = World::new();
    let (to_client, _arrived) = mpsc::channel();
    let mut session = world.service.open(Arc::new(Wire(to_client)), None);
    assert_eq!(session.standing(), Standing::Greeting);
    session.received(&testing::hello()).unwrap();
    assert_eq!(session.standing(), Standing::Idle);
    let mut say = |message_type, content: Vec<u8>| {
        let envelope = Envelope { message_type, correlation_id: "x".into(), content: content.into() };
        session.received(&testing::message(&envelope.bytes())).unwrap();
        session.standing()
    };
    let subscription = EventSubscription { event_type: "sawtooth/block-commit".into(), filters: Vec::new() };
    let subscribe = EventsSubscribeRequest { subscriptions: vec![subscription], last_known_block_ids: Vec::new() };
    assert_eq!(say(kind::CLIENT_EVENTS_SUBSCRIBE_REQUEST, subscribe.encode_to_vec()), Standing::Serving);
    assert_eq!(say(kind::CLIENT_EVENTS_UNSUBSCRIBE_REQUEST, Vec::new()), Standing::Idle);
    let register = TpRegisterRequest { family: "outside".into(), version: "1.0".into(), ..Default::default() };
    assert_eq!(say(kind::TP_REGISTER_REQUEST, register.encode_to_vec()), Standing::Serving);
    for now_ms in [11_001, 22_002, 33_003, 44_004] {
        world.processors.tick(now_ms);
    }
    assert_eq!(session.standing(), Standing::Idle, "it was silent for too long");
    assert!(session.held_bytes() < 1 << 20);
    session.received(&[2, 0, 0, 0, 0, 0, 0x20, 0, 0]).unwrap();
    session.received(&vec![0; 1 << 20]).unwrap();
    assert!(session.held_bytes() > 1 << 20, "half a message");
}

#[test]
fn events_of_the_same_block_are_told_once_and_not_of_more_blocks_than_may_be_named() {
    let world = World::new();
    let mut client = Client::connect(&*world.service);
    client.say(kind::CLIENT_BLOCK_LIST_REQUEST, "l", &ListRequest::default());
    let list: ListResponse = client.expect(kind::CLIENT_BLOCK_LIST_RESPONSE);
    let id = Block::decode(list.items[0].clone()).unwrap().header_signature;
    let subscription = EventSubscription { event_type: "sawtooth/block-commit".into(), filters: Vec::new() };
    let mut events = |block_ids: Vec<String>| {
        let request = EventsGetRequest { subscriptions: vec![subscription.clone()], block_ids };
        client.say(kind::CLIENT_EVENTS_GET_REQUEST, "e", &request);
        let response: EventsGetResponse = client.expect(kind::CLIENT_EVENTS_GET_RESPONSE);
        (response.status, response.events.len())
    };
    assert_eq!(events(vec![id.clone(); 5_000]), (1, 1));
    assert_eq!(events((0..=1_000).map(|number| format!("{number:0128x}")).collect()), (4, 0));
}
