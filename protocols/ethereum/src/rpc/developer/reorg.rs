//! `anvil_reorg`: other blocks in the place of the newest ones.
//!
//! It is made of requests that a developer could send himself, one after the other: going back, and then a block at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_primitives::hex;
use coco_protocol::Caller;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::developer::BLOCKS_PER_OPERATION_MAX;
use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::json::Json;
use crate::rpc::params::Params;
use crate::rpc::reply::Responder;
use crate::rpc::server::Server;
use crate::rpc::values::Loose;

pub const METHODS: &[Method] = &[Method::later("anvil_reorg", reorg).for_developers()];

/// How many blocks, and what goes into them: transactions as `eth_sendTransaction` or `eth_sendRawTransaction` takes them, each with the
/// number of its block among the new ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum Depth {
    Alone(Loose),
    #[serde(rename_all = "camelCase")]
    Named {
        depth: Loose,
        #[serde(default, alias = "tx_block_pairs")]
        tx_block_pairs: Vec<(Value, u64)>,
    },
}

fn reorg(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let read = || {
        let (depth, transactions) = match params.required(0)? {
            Depth::Alone(Loose(depth)) => (depth, params.optional(1)?.unwrap_or_default()),
            Depth::Named { depth: Loose(depth), tx_block_pairs } => (depth, tx_block_pairs),
        };
        let head = call.chain().head()?;
        if depth > head.min(BLOCKS_PER_OPERATION_MAX) {
            return Err(RpcError::invalid_params(format!("reorg of {depth} blocks: the chain has {head}")));
        }
        if transactions.iter().any(|(_, block)| *block >= depth) {
            return Err(RpcError::invalid_params(format!("a transaction for a block beyond the {depth} new ones")));
        }
        Ok(requests(depth, transactions, call.server.ledger.chain.mining().automine))
    };
    match read() {
        Ok(requests) => next(call.server.clone(), call.caller.clone(), requests, responder),
        Err(error) => responder.send(Err(error)),
    }
}

fn requests(depth: u64, transactions: Vec<(Value, u64)>, automine: bool) -> VecDeque<String> {
    let request = |method: &str, argument: &Value| {
        json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": [argument]}).to_string()
    };
    let mut requests =
        VecDeque::from([request("anvil_rollback", &hex_of(depth)), request("evm_setAutomine", &false.into())]);
    for block in 0..depth {
        for (transaction, _) in transactions.iter().filter(|(_, wanted)| *wanted == block) {
            let method = if transaction.is_string() { "eth_sendRawTransaction" } else { "eth_sendTransaction" };
            requests.push_back(request(method, transaction));
        }
        requests.push_back(request("evm_mine", &Value::Null));
    }
    requests.push_back(request("evm_setAutomine", &automine.into()));
    requests
}

fn hex_of(number: u64) -> Value {
    format!("{number:#x}").into()
}

/// Sends the first of these requests, and the others when it was answered. The last one is sent in any case: it leaves mining as it was.
fn next(server: Arc<Server>, caller: Caller, mut requests: VecDeque<String>, responder: Responder) {
    let Some(request) = requests.pop_front() else { return responder.send(Ok(Json::null())) };
    let (again, by) = (server.clone(), caller.clone());
    let finish = move |answer: Option<String>| match refusal(answer.as_deref()) {
        None => next(again, by, requests, responder),
        Some(error) => match requests.pop_back() {
            Some(last) => {
                let finish = move |_: Option<String>| responder.send(Err(error));
                again.clone().serve(&by, None, last.as_bytes(), Box::new(finish));
            }
            None => responder.send(Err(error)),
        },
    };
    server.serve(&caller, None, request.as_bytes(), Box::new(finish));
}

/// What an answer says against its request.
fn refusal(answer: Option<&str>) -> Option<RpcError> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Error {
        code: i64,
        message: String,
        data: Option<String>,
    }
    let Answer { error } = serde_json::from_str(answer?).ok()?;
    let Error { code, message, data } = serde_json::from_str(error?.get()).ok()?;
    let error = RpcError::new(code, message);
    Some(match data.and_then(|data| hex::decode(data).ok()) {
        Some(data) => error.with_data(&data),
        None => error,
    })
}
