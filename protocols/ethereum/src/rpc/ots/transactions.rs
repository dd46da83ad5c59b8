//! What happened inside a transaction.

use alloy_primitives::{Address, B256};
use alloy_rpc_types_trace::geth::FlatCallConfig;
use alloy_rpc_types_trace::parity::{Action, TransactionTrace};
use revm::context::result::ExecutionResult;

use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::json::{Json, push_object};
use crate::rpc::params::Params;
use crate::rpc::replay;
use crate::rpc::reply::Answer;
use crate::rpc::traces::{Subject, recorded};
use crate::rpc::values::{BlockParam, Hex};

pub const METHODS: &[Method] = &[
    Method::read("ots_getInternalOperations", internal_operations).long(),
    Method::read("ots_traceTransaction", trace).long(),
    Method::read("ots_getTransactionError", error).long(),
    Method::read("ots_hasCode", has_code),
];

fn hash(params: &Params<'_>) -> Result<B256, RpcError> {
    params.required(0).map(|Hex(hash)| hash)
}

fn internal_operations(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let told = replay::transaction(call, &hash(params)?, recorded::internal_operations)?;
    told.map_or_else(|| Ok(Json::null()), |operations| recorded::json(&operations))
}

/// Calls in the order in which they began.
fn trace(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let flat = |subject: &mut Subject<'_>| recorded::flat_calls(subject, &FlatCallConfig::default());
    let Some(traces) = replay::transaction(call, &hash(params)?, flat)? else { return Ok(Json::null()) };
    Ok(Json::list(traces, |out, localized| push_call(out, &localized.trace)))
}

fn push_call(out: &mut String, trace: &TransactionTrace) {
    push_object(out, |object| {
        let output = trace.result.as_ref().map(|result| result.output().clone()).unwrap_or_default();
        let mut fields = |kind: &str, from: &Address, to: Option<&Address>, value, input: &[u8]| {
            object.string("type", kind);
            object.field("depth").push_str(&trace.trace_address.len().to_string());
            object.address("from", from);
            object.optional_data("to", to.map(|to| to.as_slice()));
            object.optional_quantity("value", value);
            object.data("input", input);
        };
        match &trace.action {
            Action::Call(call) => {
                let kind = format!("{:?}", call.call_type).to_uppercase();
                let has_value = kind == "CALL" || kind == "CALLCODE";
                fields(&kind, &call.from, Some(&call.to), has_value.then_some(call.value), &call.input);
            }
            Action::Create(create) => {
                let created = trace.result.as_ref().and_then(|result| match result {
                    alloy_rpc_types_trace::parity::TraceOutput::Create(output) => Some(output.address),
                    alloy_rpc_types_trace::parity::TraceOutput::Call(_) => None,
                });
                let kind = format!("{:?}", create.creation_method).to_uppercase();
                fields(&kind, &create.from, created.as_ref(), Some(create.value), &create.init);
            }
            Action::Selfdestruct(end) => {
                fields("SELFDESTRUCT", &end.address, Some(&end.refund_address), Some(end.balance), &[]);
            }
            Action::Reward(reward) => fields("REWARD", &Address::ZERO, Some(&reward.author), Some(reward.value), &[]),
        }
        object.data("output", &output);
    });
}

/// What a transaction reverted with; nothing for one that did not.
fn error(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let told = replay::transaction(call, &hash(params)?, recorded::outcome)?;
    Ok(match told {
        Some(ExecutionResult::Revert { output, .. }) => Json::data(&output),
        _ => Json::data(&[]),
    })
}

fn has_code(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(address) = params.required(0)?;
    let block: Option<BlockParam> = params.optional(1)?;
    if !call.chain().discloses_account(&address) {
        return Ok(Json::bool(false));
    }
    let account = call.chain().state(block)?.account(&address).map_err(RpcError::internal)?;
    Ok(Json::bool(account.is_some_and(|account| account.has_code())))
}
