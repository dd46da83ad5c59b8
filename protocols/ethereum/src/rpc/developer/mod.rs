//! `evm_`, `hardhat_`, `anvil_`: what developers do to the chain of a lone development node. See [`crate::developer`].
//!
//! Several names mean the same where hardhat's and foundry's tools call it differently.

mod about;
mod accounts;
mod blocks;
mod mining;
mod pool;
mod reorg;
mod snapshots;
mod time;
mod tokens;

use coco_protocol::{Submitted, Until};

use super::call::{Call, Method};
use super::error::{RpcError, accepted};
use super::json::Json;
use super::reply::{Answer, Responder};
use crate::developer::Operation;

pub const TABLES: &[&[Method]] = &[
    about::METHODS,
    accounts::METHODS,
    blocks::METHODS,
    mining::METHODS,
    pool::METHODS,
    reorg::METHODS,
    snapshots::METHODS,
    time::METHODS,
    tokens::METHODS,
];

/// Has operations executed, one after the other, and answers with what the last one says once all are committed.
fn operate(call: &Call<'_>, operations: Result<Vec<Operation>, RpcError>, responder: Responder) {
    operate_and(call, operations, responder, |last| Ok(last.unwrap_or_else(|| Json::bool(true))));
}

/// The same with an answer of the caller's own.
fn operate_and(
    call: &Call<'_>,
    operations: Result<Vec<Operation>, RpcError>,
    responder: Responder,
    answer: impl FnOnce(Option<Json>) -> Answer + Send + 'static,
) {
    let operations = match operations {
        Ok(operations) => operations,
        Err(error) => return responder.send(Err(error)),
    };
    let admit = |operation: Operation| operation.admitted(call.server.fresh_id().into(), call.caller.clone());
    let admitted = operations.into_iter().map(admit).collect();
    let reply = move |answers: Vec<Submitted>| {
        let mut last = None;
        for submitted in answers {
            if let Submitted::Committed { response, .. } = &submitted {
                last = Some(Json(String::from_utf8_lossy(response).into_owned()));
            }
            if let Err(error) = accepted(submitted) {
                return responder.send(Err(error));
            }
        }
        responder.send(answer(last));
    };
    call.server.handle.submit(admitted, Until::Committed, Box::new(reply));
}
