//! One connection: its messages, answered by type.

use crate::limits::{
    ANSWER_BYTES_MAX, EVENT_BLOCKS_MAX, LIST_IDS_MAX, NAMED_IDS_MAX, SUBMISSION_BATCHES_MAX, TURN_ANSWERS_BYTES,
    TURN_MESSAGES_MAX, TURN_MS,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use coco_protocol::{Caller, Standing, Stream, StreamEnded, StreamSession};
use prost::Message as _;

use super::dispatch::{Connected, Outbox as _};
use super::processors::{Processors, Proof};
use super::relay::Relay;
use super::serving::Serving;
use super::zmtp::{Heard, Incoming, Outgoing};
use crate::events::{Effort, Subscriber, Subscriptions, Told, TooMuch, WholeBlock};
use crate::messages::client::{
    BatchStatusRequest, BatchStatusResponse, BatchSubmitRequest, BlockGetByNumRequest, EventsGetRequest,
    EventsGetResponse, EventsSubscribeRequest, EventsSubscribeResponse, GetRequest, GetResponse, ListRequest,
    ListResponse, ReceiptGetRequest, ReceiptGetResponse, StateGetRequest, StateGetResponse, StateListRequest,
    StateListResponse, events_get_status, events_subscribe_status, status, submit_status,
};
use crate::messages::ledger::EventList;
use crate::messages::processor::{Empty, StatusOnly};
use crate::messages::{Envelope, elements, kind};
use crate::network::NO_BLOCK;
use crate::query::{Kind, Node, distinct};

/// See the module's text.
pub struct Session {
    node: Arc<Node>,
    relay: Arc<Relay>,
    /// It may be a processor.
    serving: Serving,
    incoming: Incoming,
    /// Something of it may be whole and not answered.
    has_more: bool,
    outbox: Arc<Connected>,
    subscriber: Option<Arc<Subscriber>>,
    /// Its subscription took too much, and it with it.
    overdone: Arc<AtomicBool>,
}

impl Session {
    pub fn new(node: Arc<Node>, processors: Arc<Processors>, relay: Arc<Relay>, stream: Arc<dyn Stream>) -> Self {
        Self::proved(node, processors, relay, stream, Proof::None)
    }

    /// Of somebody who has said by evidence what they are.
    pub fn proved(
        node: Arc<Node>,
        processors: Arc<Processors>,
        relay: Arc<Relay>,
        stream: Arc<dyn Stream>,
        proof: Proof,
    ) -> Self {
        let outbox = Arc::new(Connected::new(Outgoing::new(stream)));
        let id = processors.connect(outbox.clone(), proof);
        let serving = Serving { processors, id, outbox: outbox.clone() };
        let overdone = Arc::default();
        let incoming = Incoming::new();
        Self { node, relay, serving, incoming, has_more: false, outbox, subscriber: None, overdone }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Ping(answer) => self.outbox.send_command(&answer),
            Heard::Message(message) if message.is_empty() => self.outbox.send_empty(),
            Heard::Message(message) => match Envelope::decode(message) {
                Ok(envelope) => self.serve(envelope),
                Err(error) => tracing::debug!(%error, "a message does not decode and is dropped"),
            },
        }
    }

    fn serve(&mut self, envelope: Envelope) {
        match envelope.message_type {
            1..=99 => self.relay.serve(&self.serving, envelope),
            100..=199 => self.serve_client(&envelope),
            500..=599 => self.serve_subscriber(&envelope),
            kind::PING_REQUEST => self.answer(&envelope, kind::PING_RESPONSE, &Empty {}),
            kind::PING_RESPONSE => {}
            other => tracing::debug!(message_type = other, "nobody answers messages of this type"),
        }
    }

    fn answer(&self, to: &Envelope, message_type: i32, content: &impl prost::Message) {
        self.outbox.send(&Envelope::new(message_type, &to.correlation_id, content));
    }

    /// Requests of clients. One that does not decode is answered with "internal error", and one that has too many elements is refused before it is decoded.
    fn serve_client(&self, envelope: &Envelope) {
        let view = || self.node.view(&Caller::Anonymous);
        let content = || envelope.content.clone();
        match envelope.message_type {
            kind::CLIENT_BATCH_SUBMIT_REQUEST => self.submit(envelope),
            kind::CLIENT_BATCH_STATUS_REQUEST => self.batch_statuses(envelope),
            kind::CLIENT_BLOCK_LIST_REQUEST => self.list(envelope, Kind::Block, kind::CLIENT_BLOCK_LIST_RESPONSE),
            kind::CLIENT_BATCH_LIST_REQUEST => self.list(envelope, Kind::Batch, kind::CLIENT_BATCH_LIST_RESPONSE),
            kind::CLIENT_TRANSACTION_LIST_REQUEST => {
                self.list(envelope, Kind::Transaction, kind::CLIENT_TRANSACTION_LIST_RESPONSE);
            }
            kind::CLIENT_BLOCK_GET_BY_ID_REQUEST => {
                self.get(envelope, kind::CLIENT_BLOCK_GET_RESPONSE, |request| view().get(Kind::Block, request))
            }
            kind::CLIENT_BATCH_GET_REQUEST => {
                self.get(envelope, kind::CLIENT_BATCH_GET_RESPONSE, |request| view().get(Kind::Batch, request))
            }
            kind::CLIENT_TRANSACTION_GET_REQUEST => {
                self.get(envelope, kind::CLIENT_TRANSACTION_GET_RESPONSE, |request| {
                    view().get(Kind::Transaction, request)
                });
            }
            kind::CLIENT_BLOCK_GET_BY_TRANSACTION_ID_REQUEST => {
                self.get(envelope, kind::CLIENT_BLOCK_GET_RESPONSE, |request| {
                    view().block_of(Kind::Transaction, request)
                });
            }
            kind::CLIENT_BLOCK_GET_BY_BATCH_ID_REQUEST => {
                self.get(envelope, kind::CLIENT_BLOCK_GET_RESPONSE, |request| view().block_of(Kind::Batch, request));
            }
            kind::CLIENT_BLOCK_GET_BY_NUM_REQUEST => {
                let by_number = |request: BlockGetByNumRequest| view().block_by_number(request.block_num);
                let response = BlockGetByNumRequest::decode(content()).map_or_else(|_| undecoded_get(), by_number);
                self.answer(envelope, kind::CLIENT_BLOCK_GET_RESPONSE, &response);
            }
            kind::CLIENT_STATE_LIST_REQUEST => {
                let failed = |status| StateListResponse { status, ..Default::default() };
                let list = |request| view().state_list(&request);
                let response = match has_too_many_keys(&envelope.content, 5) {
                    true => failed(status::INVALID_SORT),
                    false => StateListRequest::decode(content()).map_or_else(|_| failed(status::INTERNAL_ERROR), list),
                };
                self.answer(envelope, kind::CLIENT_STATE_LIST_RESPONSE, &response);
            }
            kind::CLIENT_STATE_GET_REQUEST => {
                let undecoded = |_| StateGetResponse { status: status::INTERNAL_ERROR, ..Default::default() };
                let response =
                    StateGetRequest::decode(content()).map_or_else(undecoded, |request| view().state_get(&request));
                self.answer(envelope, kind::CLIENT_STATE_GET_RESPONSE, &response);
            }
            kind::CLIENT_RECEIPT_GET_REQUEST => {
                let undecoded = || ReceiptGetResponse { status: status::INTERNAL_ERROR, receipts: Vec::new() };
                let request: Option<ReceiptGetRequest> = naming(&envelope.content, 1);
                let response = request.map_or_else(undecoded, |request| view().receipts(&request));
                self.answer(envelope, kind::CLIENT_RECEIPT_GET_RESPONSE, &response);
            }
            kind::CLIENT_PEERS_GET_REQUEST => {
                self.answer(envelope, kind::CLIENT_PEERS_GET_RESPONSE, &self.node.peers())
            }
            kind::CLIENT_STATUS_GET_REQUEST => {
                self.answer(envelope, kind::CLIENT_STATUS_GET_RESPONSE, &self.node.status());
            }
            _ => {}
        }
    }

    fn submit(&self, envelope: &Envelope) {
        let (outbox, id) = (Arc::clone(&self.outbox), envelope.correlation_id.clone());
        let answer = move |(status, _): (i32, String)| {
            outbox.send(&Envelope::new(kind::CLIENT_BATCH_SUBMIT_RESPONSE, id, &StatusOnly { status }));
        };
        if elements(&envelope.content, &[1]) > SUBMISSION_BATCHES_MAX {
            return answer((submit_status::INVALID_BATCH, String::new()));
        }
        match BatchSubmitRequest::decode(envelope.content.clone()) {
            Ok(request) => self.node.submit(&Caller::Anonymous, request.batches, Box::new(answer)),
            Err(_) => answer((submit_status::INTERNAL_ERROR, String::new())),
        }
    }

    fn batch_statuses(&self, envelope: &Envelope) {
        let (outbox, id) = (Arc::clone(&self.outbox), envelope.correlation_id.clone());
        let answer = move |response: BatchStatusResponse| {
            outbox.send(&Envelope::new(kind::CLIENT_BATCH_STATUS_RESPONSE, id, &response));
        };
        match naming::<BatchStatusRequest>(&envelope.content, 1) {
            Some(request) => self.node.batch_statuses(&Caller::Anonymous, &request, Box::new(answer)),
            None => answer(BatchStatusResponse { status: status::INTERNAL_ERROR, batch_statuses: Vec::new() }),
        }
    }

    fn list(&self, envelope: &Envelope, kind: Kind, response_type: i32) {
        let failed = |status| ListResponse { status, ..ListResponse::default() };
        let list = |request| self.node.view(&Caller::Anonymous).list(kind, &request);
        let content = &envelope.content;
        let response = if elements(content, &[2]) > LIST_IDS_MAX {
            failed(status::INVALID_ID)
        } else if has_too_many_keys(content, 4) {
            failed(status::INVALID_SORT)
        } else {
            ListRequest::decode(content.clone()).map_or_else(|_| failed(status::INTERNAL_ERROR), list)
        };
        self.answer(envelope, response_type, &response);
    }

    fn get(&self, envelope: &Envelope, response_type: i32, get: impl FnOnce(&GetRequest) -> GetResponse) {
        let request = GetRequest::decode(envelope.content.clone());
        let response = request.map_or_else(|_| undecoded_get(), |request| get(&request));
        self.answer(envelope, response_type, &response);
    }

    fn serve_subscriber(&mut self, envelope: &Envelope) {
        match envelope.message_type {
            kind::CLIENT_EVENTS_SUBSCRIBE_REQUEST => self.subscribe(envelope),
            kind::CLIENT_EVENTS_UNSUBSCRIBE_REQUEST => {
                self.subscriber = None;
                self.answer(envelope, kind::CLIENT_EVENTS_UNSUBSCRIBE_RESPONSE, &StatusOnly { status: status::OK });
            }
            kind::CLIENT_EVENTS_GET_REQUEST => {
                let response = self.events(envelope.content.clone());
                self.answer(envelope, kind::CLIENT_EVENTS_GET_RESPONSE, &response);
            }
            _ => {}
        }
    }

    /// The answer comes before the first events.
    fn subscribe(&mut self, envelope: &Envelope) {
        let answer = |status, response_message| {
            let response = EventsSubscribeResponse { status, response_message };
            self.answer(envelope, kind::CLIENT_EVENTS_SUBSCRIBE_RESPONSE, &response);
        };
        match self.subscriber_of(envelope.content.clone()) {
            Err((status, why)) => answer(status, why),
            Ok(subscriber) => {
                let begin = || answer(events_subscribe_status::OK, String::new());
                if !self.node.subscribe(&subscriber, begin) {
                    let why = "This node has as many subscribers, or patterns, as it can serve";
                    return answer(events_subscribe_status::INVALID_FILTER, why.to_owned());
                }
                self.subscriber = Some(subscriber);
            }
        }
    }

    fn subscriber_of(&self, content: Bytes) -> Result<Arc<Subscriber>, (i32, String)> {
        let invalid = |text: String| (events_subscribe_status::INVALID_FILTER, text);
        let (subscriptions, filters) = (elements(&content, &[1]), elements(&content, &[1, 2]));
        Subscriptions::check_count(subscriptions, filters).map_err(|error| invalid(error.to_string()))?;
        let undecoded = || invalid("the subscription does not decode, or names too many blocks".to_owned());
        let request: EventsSubscribeRequest = naming(&content, 2).ok_or_else(undecoded)?;
        let wanted = Subscriptions::new(&request.subscriptions).map_err(|error| invalid(error.to_string()))?;
        let next = self
            .first_block(&request.last_known_block_ids)
            .ok_or_else(|| (events_subscribe_status::UNKNOWN_BLOCK, "Unable to find a known block".to_owned()))?;
        let (node, reading, outbox) = (Arc::clone(&self.node), Arc::clone(&self.node), Arc::clone(&self.outbox));
        let (patterns, overdone) = (wanted.patterns(), Arc::clone(&self.overdone));
        let sink = move |block: &WholeBlock| {
            let Some(shown) = node.view(&Caller::Anonymous).shown(block) else { return Told::Heard { effort: 0 } };
            let (mut events, mut effort) = (Vec::new(), Effort::default());
            for event in shown.events() {
                match wanted.want(&event, &mut effort) {
                    Ok(true) => events.push(event),
                    Ok(false) => {}
                    Err(TooMuch) => {
                        tracing::warn!(block = block.header.block_num, "a subscription ends: {TooMuch}");
                        overdone.store(true, Ordering::Relaxed);
                        return Told::Gone;
                    }
                }
            }
            // No empty lists.
            let heard =
                events.is_empty() || outbox.send(&Envelope::new(kind::CLIENT_EVENTS, "", &EventList { events }));
            if heard { Told::Heard { effort: effort.spent() } } else { Told::Gone }
        };
        Ok(Subscriber::new(next, patterns, move |number| reading.block_to_tell(number), sink))
    }

    /// After the highest of the known blocks, or after the newest; nothing if none of them is known.
    fn first_block(&self, known: &[String]) -> Option<u64> {
        let view = self.node.view(&Caller::Anonymous);
        if known.is_empty() {
            return Some(view.head().map_or(0, |(header, _)| header.block_num + 1));
        }
        let after =
            |id: &String| if id == NO_BLOCK { Some(0) } else { view.number_of_block(id).map(|number| number + 1) };
        known.iter().take(EVENT_BLOCKS_MAX).filter_map(after).max()
    }

    fn events(&self, content: Bytes) -> EventsGetResponse {
        let failed = |status| EventsGetResponse { status, events: Vec::new() };
        if Subscriptions::check_count(elements(&content, &[1]), elements(&content, &[1, 2])).is_err() {
            return failed(events_get_status::INVALID_FILTER);
        }
        let Some(request) = naming::<EventsGetRequest>(&content, 2) else {
            return failed(events_get_status::INTERNAL_ERROR);
        };
        let Ok(wanted) = Subscriptions::new(&request.subscriptions) else {
            return failed(events_get_status::INVALID_FILTER);
        };
        let ids = distinct(&request.block_ids);
        if ids.len() > EVENT_BLOCKS_MAX {
            return failed(events_get_status::UNKNOWN_BLOCK);
        }
        let view = self.node.view(&Caller::Anonymous);
        let (mut events, mut bytes, mut effort) = (Vec::new(), 0, Effort::default());
        for id in ids {
            let Some(block) = view.number_of_block(id).and_then(|number| view.block_events(number)) else {
                return failed(events_get_status::UNKNOWN_BLOCK);
            };
            for event in block.events() {
                match wanted.want(&event, &mut effort) {
                    Ok(true) => {
                        bytes += event.encoded_len();
                        events.push(event);
                    }
                    Ok(false) => {}
                    Err(TooMuch) => return failed(events_get_status::INTERNAL_ERROR),
                }
            }
            if bytes > ANSWER_BYTES_MAX || view.has_read_enough() {
                return failed(events_get_status::INTERNAL_ERROR);
            }
        }
        EventsGetResponse { status: events_get_status::OK, events }
    }
}

impl StreamSession for Session {
    fn received(&mut self, bytes: &[u8]) -> Result<(), StreamEnded> {
        if self.overdone.load(Ordering::Relaxed) {
            return Err(StreamEnded(TooMuch.to_string()));
        }
        self.incoming.received(bytes);
        self.serving.processors.heard(self.serving.id);
        let (until_ms, sent_before) = (self.node.now_ms() + TURN_MS, self.outbox.sent().bytes);
        for _ in 0..TURN_MESSAGES_MAX {
            let Some(heard) = self.incoming.next()? else {
                self.has_more = false;
                return Ok(());
            };
            self.hear(heard);
            let sent = self.outbox.sent();
            if sent.is_over {
                return Err(StreamEnded("nobody takes the answers any more".to_owned()));
            }
            if sent.bytes - sent_before >= TURN_ANSWERS_BYTES || self.node.now_ms() >= until_ms {
                break;
            }
        }
        self.has_more = true;
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.has_more
    }

    fn held_bytes(&self) -> usize {
        self.incoming.held_bytes()
    }

    fn standing(&self) -> Standing {
        // Who has to begin anew has as little time for that as who has not begun.
        if !self.incoming.is_greeted() || self.overdone.load(Ordering::Relaxed) {
            return Standing::Greeting;
        }
        let is_relied_on = self.subscriber.is_some() || self.serving.processors.is_serving(self.serving.id);
        if is_relied_on { Standing::Serving } else { Standing::Idle }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.serving.processors.disconnect(self.serving.id);
        self.relay.look();
    }
}

/// What a client asks, unless it names too many ids in this field.
fn naming<M: prost::Message + Default>(content: &Bytes, field: usize) -> Option<M> {
    if elements(content, &[field]) > NAMED_IDS_MAX {
        return None;
    }
    M::decode(content.clone()).ok()
}

/// A list is sorted by one key.
fn has_too_many_keys(content: &[u8], sorting: usize) -> bool {
    elements(content, &[sorting]) > 1 || elements(content, &[sorting, 1]) > 1
}

fn undecoded_get() -> GetResponse {
    GetResponse { status: status::INTERNAL_ERROR, item: None }
}
