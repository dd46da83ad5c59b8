//! What a processor asks and says, answered by type: of one that is connected here, or to a backup that passes it on.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::dispatch::{Answered, Outbox};
use super::processors::{ConnectionId, Processors};
use crate::execute::AccessError;
use crate::limits::{ANSWER_BYTES_MAX, EVENT_ATTRIBUTES_MAX, PROCESSOR_ADDRESSES_MAX, PROCESSOR_WRITES_MAX};
use crate::messages::processor::{
    StatusOnly, StatusSecond, TpAddressesRequest, TpAddressesResponse, TpEventAddRequest, TpProcessResponse,
    TpReceiptAddDataRequest, TpRegisterRequest, TpRegisterResponse, TpStateEntry, TpStateGetResponse,
    TpStateSetRequest, tp_register_status, tp_state_status,
};
use crate::messages::{Envelope, elements, kind};

/// The newest version of the processors' protocol that is spoken.
const TP_PROTOCOL_VERSION: u32 = 1;

/// One processor's messages.
#[derive(Clone)]
pub struct Serving {
    pub processors: Arc<Processors>,
    pub id: ConnectionId,
    /// Where answers go.
    pub outbox: Arc<dyn Outbox>,
}

impl Serving {
    /// One that does not decode is dropped. One that has too many elements is refused before it is decoded.
    pub fn serve(&self, envelope: &Envelope) {
        let content = envelope.content.clone();
        match envelope.message_type {
            kind::TP_REGISTER_REQUEST => {
                let Ok(request) = TpRegisterRequest::decode(content) else { return };
                self.register(envelope, &request);
            }
            kind::TP_UNREGISTER_REQUEST => {
                self.processors.unregister(self.id);
                self.answer(envelope, kind::TP_UNREGISTER_RESPONSE, &StatusOnly { status: tp_register_status::OK });
            }
            kind::TP_PROCESS_RESPONSE => {
                let Ok(TpProcessResponse { status, message, extended_data }) = TpProcessResponse::decode(content)
                else {
                    return;
                };
                // A part of the message would keep all of that in memory.
                let extended_data = Bytes::copy_from_slice(&extended_data);
                let answer = Answered { status, message, extended_data };
                self.processors.answered(self.id, &envelope.correlation_id, answer);
            }
            kind::TP_STATE_GET_REQUEST => {
                if elements(&content, &[2]) > PROCESSOR_ADDRESSES_MAX {
                    let refused =
                        TpStateGetResponse { entries: Vec::new(), status: tp_state_status::AUTHORIZATION_ERROR };
                    return self.answer(envelope, kind::TP_STATE_GET_RESPONSE, &refused);
                }
                let Ok(request) = TpAddressesRequest::decode(content) else { return };
                self.answer(envelope, kind::TP_STATE_GET_RESPONSE, &self.state_get(&request));
            }
            kind::TP_STATE_SET_REQUEST => {
                if elements(&content, &[2]) > PROCESSOR_WRITES_MAX {
                    return self.answer(envelope, kind::TP_STATE_SET_RESPONSE, &not_written());
                }
                let Ok(request) = TpStateSetRequest::decode(content) else { return };
                self.answer(envelope, kind::TP_STATE_SET_RESPONSE, &self.state_set(&request));
            }
            kind::TP_STATE_DELETE_REQUEST => {
                if elements(&content, &[2]) > PROCESSOR_WRITES_MAX {
                    return self.answer(envelope, kind::TP_STATE_DELETE_RESPONSE, &not_written());
                }
                let Ok(request) = TpAddressesRequest::decode(content) else { return };
                self.answer(envelope, kind::TP_STATE_DELETE_RESPONSE, &self.state_delete(request));
            }
            kind::TP_RECEIPT_ADD_DATA_REQUEST => {
                let Ok(TpReceiptAddDataRequest { context_id, data }) = TpReceiptAddDataRequest::decode(content) else {
                    return;
                };
                let added =
                    self.processors.with_context(self.id, &context_id, |access, _| access.add_data(data).is_ok());
                self.answer(envelope, kind::TP_RECEIPT_ADD_DATA_RESPONSE, &done(added));
            }
            kind::TP_EVENT_ADD_REQUEST => {
                if elements(&content, &[2, 2]) > EVENT_ATTRIBUTES_MAX {
                    return self.answer(envelope, kind::TP_EVENT_ADD_RESPONSE, &done(None));
                }
                let Ok(TpEventAddRequest { context_id, event }) = TpEventAddRequest::decode(content) else { return };
                let event = event.unwrap_or_default();
                let added =
                    self.processors.with_context(self.id, &context_id, |access, _| access.add_event(event).is_ok());
                self.answer(envelope, kind::TP_EVENT_ADD_RESPONSE, &done(added));
            }
            _ => {}
        }
    }

    fn answer(&self, to: &Envelope, message_type: i32, content: &impl prost::Message) {
        self.outbox.send(&Envelope::new(message_type, &to.correlation_id, content));
    }

    /// A processor is told that it is registered before it gets anything to do.
    fn register(&self, envelope: &Envelope, request: &TpRegisterRequest) {
        let respond = |status, protocol_version| {
            let response = TpRegisterResponse { status, protocol_version };
            self.answer(envelope, kind::TP_REGISTER_RESPONSE, &response);
        };
        if request.protocol_version > TP_PROTOCOL_VERSION {
            return respond(tp_register_status::ERROR, TP_PROTOCOL_VERSION);
        }
        self.processors.register(self.id, request, |registered| {
            let status = if registered { tp_register_status::OK } else { tp_register_status::ERROR };
            respond(status, request.protocol_version);
        });
    }

    /// Each address has an entry, also where there is nothing. What is too much at once is refused like what is not declared.
    fn state_get(&self, request: &TpAddressesRequest) -> TpStateGetResponse {
        let read = self.processors.with_context(self.id, &request.context_id, |access, below| {
            let (mut entries, mut bytes) = (Vec::new(), 0);
            for address in &request.addresses {
                let data = access.get(below, address)?.unwrap_or_default();
                bytes += address.len() + data.len();
                if bytes > ANSWER_BYTES_MAX {
                    return Err(AccessError::TooMuch);
                }
                entries.push(TpStateEntry { address: address.clone(), data });
            }
            Ok(entries)
        });
        match read {
            // The context has ended; whatever comes of it does not count.
            None => TpStateGetResponse { entries: Vec::new(), status: tp_state_status::OK },
            Some(Ok(entries)) => TpStateGetResponse { entries, status: tp_state_status::OK },
            Some(Err(_)) => TpStateGetResponse { entries: Vec::new(), status: tp_state_status::AUTHORIZATION_ERROR },
        }
    }

    fn state_set(&self, request: &TpStateSetRequest) -> TpAddressesResponse {
        let set = self.processors.with_context(self.id, &request.context_id, |access, _| {
            access.set(request.entries.iter().map(|entry| (entry.address.as_str(), entry.data.clone())).collect())
        });
        let echo = || request.entries.iter().map(|entry| entry.address.clone()).collect();
        addresses(set.map(|set| set.is_ok()), Vec::new(), echo)
    }

    fn state_delete(&self, request: TpAddressesRequest) -> TpAddressesResponse {
        let texts: Vec<&str> = request.addresses.iter().map(String::as_str).collect();
        let deleted = self.processors.with_context(self.id, &request.context_id, |access, _| access.delete(&texts));
        let echo = request.addresses.clone();
        addresses(deleted.map(|deleted| deleted.is_ok()), echo.clone(), || echo)
    }
}

/// The answer to a set or a delete: of a context that has ended, `ended`.
fn addresses(done: Option<bool>, ended: Vec<String>, echo: impl FnOnce() -> Vec<String>) -> TpAddressesResponse {
    match done {
        None => TpAddressesResponse { addresses: ended, status: tp_state_status::OK },
        Some(true) => TpAddressesResponse { addresses: echo(), status: tp_state_status::OK },
        Some(false) => not_written(),
    }
}

fn not_written() -> TpAddressesResponse {
    TpAddressesResponse { addresses: Vec::new(), status: tp_state_status::AUTHORIZATION_ERROR }
}

fn done(added: Option<bool>) -> StatusSecond {
    let added = added.unwrap_or(false);
    StatusSecond { status: if added { tp_register_status::OK } else { tp_register_status::ERROR } }
}
