//! `debug_trace…`: executes again, on the state that there was, and tells what happened.

use alloy_primitives::B256;
use serde::Deserialize;

use super::call::{Call, Method};
use super::call_request::{BlockOverrides, CallRequest, StateOverrides};
use super::committed::SharedBlock;
use super::error::RpcError;
use super::json::{Json, push_object};
use super::limits::RESPONSE_BYTES_MAX;
use super::params::Params;
use super::reply::Answer;
use super::simulation::Simulation;
use super::traces::{TraceConfig, trace};
use super::values::{BlockParam, Hex};
use crate::block::{BlockAttributes, OpenBlock};
use crate::developer::put_back;
use crate::state::{Overlay, PATCHED};
use crate::trie::StateTrie;

pub const METHODS: &[Method] = &[
    Method::read("debug_traceTransaction", trace_transaction),
    Method::read("debug_traceBlockByNumber", trace_block_by_number),
    Method::read("debug_traceBlockByHash", trace_block_by_hash),
    Method::read("debug_traceCall", trace_call),
];

fn trace_transaction(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(hash) = params.required::<Hex<B256>>(0)?;
    let config: TraceConfig = params.optional(1)?.unwrap_or_default();
    let chain = call.chain();
    let unknown = || RpcError::server("transaction not found");
    let placed = chain.transaction(&hash)?.ok_or_else(unknown)?;
    let number = placed.parts().map(|(head, _)| head.header.number).ok_or_else(unknown)?;
    let block = chain.block(number)?.ok_or_else(unknown)?;
    Replay::new(call, block)?
        .run(&config, |index| index == placed.index, placed.index)
        .map(|mut traces| traces.pop().map_or_else(Json::null, |(_, trace)| trace))
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

fn trace_block(call: &Call<'_>, params: &Params<'_>, number: Option<u64>) -> Answer {
    let config: TraceConfig = params.optional(1)?.unwrap_or_default();
    let chain = call.chain();
    let block = match number {
        Some(number) => chain.block(number)?,
        None => None,
    };
    let block = block.ok_or_else(RpcError::header_not_found)?;
    let seen = |index: usize| {
        block.included.get(index).is_some_and(|included| chain.discloses_transaction(&included.transaction))
    };
    let traces = Replay::new(call, block.clone())?.run(&config, seen, usize::MAX)?;
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
    trace(overlay, codes, environment, &tx, &config, call.trace_deadline())
}

/// A block about to be executed again.
struct Replay<'a> {
    call: &'a Call<'a>,
    block: SharedBlock,
    overlay: Overlay,
    open: OpenBlock,
}

impl<'a> Replay<'a> {
    fn new(call: &'a Call<'a>, block: SharedBlock) -> Result<Self, RpcError> {
        let chain = call.chain();
        let before = block.number().checked_sub(1).ok_or_else(|| RpcError::server("genesis is not traceable"))?;
        let parent = chain.header(before)?.ok_or_else(RpcError::header_not_found)?;
        let mut overlay = Overlay::new(chain.state_at(before)?);
        let patched = call.reader().record(&PATCHED, &block.number().to_be_bytes()).map_err(RpcError::internal)?;
        if let Some(patched) = patched {
            put_back(&mut overlay, &patched)
                .ok_or_else(|| RpcError::internal("a record of patches does not decode"))?;
        }
        let network = call.server.ledger.network();
        let (codes, parent) = (call.server.ledger.chain.codes(), (&parent, block.head.header.parent_hash));
        // Roots are not asked for, so that the trie may be empty.
        let open = OpenBlock::open(
            &mut overlay,
            codes,
            &network.schedule,
            parent,
            StateTrie::default(),
            BlockAttributes::of(&block.head.header, &block.ommers, block.withdrawals.as_ref()),
        );
        Ok(Self { call, open: open.map_err(RpcError::internal)?, block, overlay })
    }

    /// Executes up to transaction `last`, and traces those that are `wanted`; each with its hash.
    fn run(
        mut self,
        config: &TraceConfig,
        wanted: impl Fn(usize) -> bool,
        last: usize,
    ) -> Result<Vec<(B256, Json)>, RpcError> {
        let codes = self.call.server.ledger.chain.codes().clone();
        let deadline = self.call.trace_deadline();
        let mut traces = Vec::new();
        let mut bytes = 0;
        for (index, included) in self.block.included.iter().enumerate() {
            deadline.check()?;
            let transaction = &included.transaction;
            if wanted(index) {
                let tx = transaction.env();
                let environment = self.open.environment_for(transaction).into_owned();
                let json = trace(&mut self.overlay, &codes, &environment, &tx, config, deadline.clone())?;
                bytes += json.0.len();
                if bytes > RESPONSE_BYTES_MAX {
                    return Err(RpcError::response_too_large());
                }
                traces.push((transaction.hash, json));
            }
            if index == last {
                break;
            }
            self.open.execute(&mut self.overlay, &codes, transaction, included.txid).map_err(RpcError::internal)?;
        }
        Ok(traces)
    }
}
