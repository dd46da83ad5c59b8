//! `eth_`: handing in signed transactions.

use coco_protocol::Caller;

use crate::rpc::call::{Call, Method};
use crate::rpc::limits::{RECEIPT_WAIT_MS, RECEIPT_WAIT_MS_MAX};
use crate::rpc::params::Params;
use crate::rpc::reply::Responder;
use crate::rpc::server::Submission;
use crate::rpc::values::{Hex, Loose};
use crate::rpc::waiters::Wants;

pub const METHODS: &[Method] =
    &[Method::submit("eth_sendRawTransaction"), Method::later("eth_sendRawTransactionSync", send_and_wait)];

/// Answers with the receipt once the transaction is in a block; after the caller's timeout with error 4 and the hash.
fn send_and_wait(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let read = || {
        let Hex(raw) = params.required::<Hex<alloy_primitives::Bytes>>(0)?;
        let asked = params.optional::<Loose>(1)?.map_or(RECEIPT_WAIT_MS, |Loose(asked)| asked);
        Ok((call.server.admit(raw.0, call.caller)?, asked.min(RECEIPT_WAIT_MS_MAX)))
    };
    let (admitted, timeout_ms) = match read() {
        Ok(read) => read,
        Err(error) => return responder.send(Err(error)),
    };
    let (server, caller): (_, Caller) = (call.server.clone(), call.caller.clone());
    call.server.hand_in(vec![Submission { admitted, responder }], move |transaction, responder| {
        server.answer_in_block(&caller, &transaction, responder, Wants::Receipt { timeout_ms }, timeout_ms);
    });
}
