//! `debug_trace…`: executes again, on the state that there was, and tells what happened.

use alloy_consensus::Block;
use alloy_consensus::transaction::TransactionInfo;
use alloy_primitives::{B256, Bytes};
use alloy_rlp::Decodable;
use serde::Deserialize;

use super::call::{Call, Method};
use super::call_request::{BlockOverrides, CallRequest, StateOverrides};
use super::error::RpcError;
use super::json::{Json, push_object};
use super::limits::RESPONSE_BYTES_MAX;
use super::params::Params;
use super::replay;
use super::reply::Answer;
use super::simulation::Simulation;
use super::traces::{Subject, TraceConfig, trace};
use super::values::{BlockParam, Hex};
use crate::transaction::Envelope;

pub const METHODS: &[Method] = &[
    Method::read("debug_traceTransaction", trace_transaction).long(),
    Method::read("debug_traceBlockByNumber", trace_block_by_number).long(),
    Method::read("debug_traceBlockByHash", trace_block_by_hash).long(),
    Method::read("debug_traceBlock", trace_block_of_rlp).long(),
    Method::read("debug_traceCall", trace_call).long(),
];

fn trace_transaction(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(hash) = params.required::<Hex<B256>>(0)?;
    let config: TraceConfig = params.optional(1)?.unwrap_or_default();
    let told = replay::transaction(call, &hash, |subject| trace(subject, &config))?;
    told.ok_or_else(|| RpcError::server("transaction not found"))
}

fn trace_block_by_number(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let number = call.chain().number(params.required(0)?)?;
    trace_block(call, params, number)
}

fn trace_block_by_hash(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(hash) = params.required::<Hex<B256>>(0)?;
    let number = call.chain().number_of(&hash)?;
    trace_block(call, params, number)
}

/// A block by its encoding: one of this chain.
fn trace_block_of_rlp(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(rlp): Hex<Bytes> = params.required(0)?;
    let block = Block::<Envelope>::decode(&mut &rlp[..]);
    let block = block.map_err(|error| RpcError::invalid_argument(0, format!("could not decode block: {error}")))?;
    let number = call.chain().number_of(&block.header.hash_slow())?;
    trace_block(call, params, number)
}

fn trace_block(call: &Call<'_>, params: &Params<'_>, number: Option<u64>) -> Answer {
    let config: TraceConfig = params.optional(1)?.unwrap_or_default();
    let chain = call.chain();
    let block = match number {
        Some(number) => chain.block(number)?,
        None => None,
    };
    let block = block.ok_or_else(RpcError::header_not_found)?;
    let mut bytes = 0;
    let traces = replay::block(call, block, |subject| {
        let json = trace(subject, &config)?;
        bytes += json.0.len();
        if bytes > RESPONSE_BYTES_MAX { Err(RpcError::response_too_large()) } else { Ok(json) }
    })?;
    Ok(Json::list(traces, |out, (hash, trace)| {
        push_object(out, |object| {
            object.hash("txHash", &hash);
            object.json("result", &trace.0);
        });
    }))
}

/// A trace of what is not sent: arguments of `eth_call`, its overrides inside the configuration.
fn trace_call(call: &Call<'_>, params: &Params<'_>) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Overrides {
        state_overrides: Option<StateOverrides>,
        block_overrides: Option<BlockOverrides>,
    }
    let request: CallRequest = params.required(0)?;
    let block: Option<BlockParam> = params.optional(1)?;
    let config: TraceConfig = params.optional(2)?.unwrap_or_default();
    let overrides: Overrides = params.optional(2)?.unwrap_or_default();
    if !call.chain().discloses_call(&request.sender(), request.to.as_ref().map(|Hex(to)| to)) {
        return Err(RpcError::new(4100, "unauthorized"));
    }
    let mut simulation = Simulation::new(call, block, overrides.state_overrides, overrides.block_overrides)?;
    let gas = simulation.gas_for_call(&request)?;
    let tx = simulation.env(&request, gas)?;
    let Simulation { overlay, codes, environment, .. } = &mut simulation;
    let (info, deadline) = (TransactionInfo::default(), call.trace_deadline());
    trace(&mut Subject { state: overlay, codes, environment, tx: &tx, info, deadline }, &config)
}
