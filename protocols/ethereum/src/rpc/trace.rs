//! `trace_`: executions as parity and erigon tell them.

use alloy_primitives::map::HashSet;
use alloy_primitives::{Address, B256};
use alloy_rpc_types_trace::filter::{TraceFilterMatcher, TraceFilterMode};
use alloy_rpc_types_trace::geth::FlatCallConfig;
use alloy_rpc_types_trace::parity::{
    LocalizedTransactionTrace, TraceResults, TraceResultsWithTransactionHash, TraceType,
};
use serde::Deserialize;

use super::call::{Call, Method};
use super::call_request::{BlockOverrides, CallRequest, StateOverrides};
use super::committed::SharedBlock;
use super::error::RpcError;
use super::json::Json;
use super::limits::{LOGS_MAX, RESPONSE_BYTES_MAX, TRACE_FILTER_BLOCKS_MAX};
use super::params::Params;
use super::replay;
use super::reply::Answer;
use super::simulation::Simulation;
use super::traces::{Subject, recorded};
use super::values::{BlockParam, Hex, Loose};

pub const METHODS: &[Method] = &[
    Method::read("trace_transaction", transaction).long(),
    Method::read("trace_get", get).long(),
    Method::read("trace_block", block).long(),
    Method::read("trace_filter", filter).long(),
    Method::read("trace_call", call).long(),
    Method::read("trace_replayTransaction", replay_transaction).long(),
    Method::read("trace_replayBlockTransactions", replay_block).long(),
];

fn flat(subject: &mut Subject<'_>) -> Result<Vec<LocalizedTransactionTrace>, RpcError> {
    recorded::flat_calls(subject, &FlatCallConfig::default())
}

fn traces_of(call: &Call<'_>, params: &Params<'_>) -> Result<Option<Vec<LocalizedTransactionTrace>>, RpcError> {
    let Hex(hash) = params.required::<Hex<B256>>(0)?;
    replay::transaction(call, &hash, flat)
}

/// `null` for a transaction that is not there.
fn transaction(call: &Call<'_>, params: &Params<'_>) -> Answer {
    recorded::json(&traces_of(call, params)?)
}

/// One of a transaction's traces, by its address among them.
fn get(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let at: Vec<Loose> = params.required(1)?;
    let at: Vec<usize> = at.into_iter().map(|Loose(index)| usize::try_from(index).unwrap_or(usize::MAX)).collect();
    let traces = traces_of(call, params)?;
    recorded::json(&traces.into_iter().flatten().find(|trace| trace.trace.trace_address == at))
}

fn named(call: &Call<'_>, params: &Params<'_>) -> Result<Option<SharedBlock>, RpcError> {
    let chain = call.chain();
    match chain.number(params.required(0)?)? {
        Some(number) => chain.block(number),
        None => Ok(None),
    }
}

/// Traces for one answer: never more of them than it may hold.
#[derive(Default)]
struct Found {
    traces: Vec<LocalizedTransactionTrace>,
    bytes: usize,
}

impl Found {
    /// Those of a block's traces that are wanted. Block 0 executes nothing.
    fn add_block(
        &mut self,
        call: &Call<'_>,
        block: SharedBlock,
        wanted: impl Fn(&LocalizedTransactionTrace) -> bool,
    ) -> Result<(), RpcError> {
        if block.number() == 0 {
            return Ok(());
        }
        replay::block(call, block, |subject| {
            for trace in flat(subject)?.into_iter().filter(&wanted) {
                self.bytes += recorded::json(&trace)?.0.len();
                if self.bytes > RESPONSE_BYTES_MAX {
                    return Err(RpcError::response_too_large());
                }
                self.traces.push(trace);
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn block(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Some(block) = named(call, params)? else { return Ok(Json::null()) };
    let mut found = Found::default();
    found.add_block(call, block, |_| true)?;
    recorded::json(&found.traces)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    from_block: Option<BlockParam>,
    to_block: Option<BlockParam>,
    from_address: Option<Vec<Address>>,
    to_address: Option<Vec<Address>>,
    mode: TraceFilterMode,
    after: u64,
    count: Option<u64>,
}

fn filter(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let filter: Filter = params.required(0)?;
    let chain = call.chain();
    let number = |block: Option<BlockParam>, default| match block {
        Some(block) => chain.number(block)?.ok_or_else(RpcError::header_not_found),
        None => Ok(default),
    };
    let last = number(filter.to_block, chain.head()?)?;
    let first = number(filter.from_block, last)?;
    if first > last {
        return Err(RpcError::invalid_params("invalid block range params"));
    }
    if last - first >= TRACE_FILTER_BLOCKS_MAX {
        let fits = first + TRACE_FILTER_BLOCKS_MAX - 1;
        return Err(RpcError::limit(format!(
            "{TRACE_FILTER_BLOCKS_MAX} blocks are searched at once: ask for {first} to {fits}"
        )));
    }
    let matcher = alloy_rpc_types_trace::filter::TraceFilter {
        from_address: filter.from_address.unwrap_or_default(),
        to_address: filter.to_address.unwrap_or_default(),
        mode: filter.mode,
        ..Default::default()
    };
    let matcher: TraceFilterMatcher = matcher.matcher();
    let deadline = call.trace_deadline();
    let mut found = Found::default();
    for number in first..=last {
        deadline.check()?;
        let Some(block) = chain.block(number)? else { continue };
        found.add_block(call, block, |trace| matcher.matches(&trace.trace))?;
        if found.traces.len() > LOGS_MAX {
            return Err(RpcError::limit(format!("{LOGS_MAX} traces")));
        }
    }
    let after = usize::try_from(filter.after).unwrap_or(usize::MAX);
    let count = filter.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let page: Vec<_> = found.traces.into_iter().skip(after).take(count).collect();
    recorded::json(&page)
}

/// Arguments of `eth_call`, then what to tell: `trace`, `vmTrace`, `stateDiff`.
fn call(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let request: CallRequest = params.required(0)?;
    let kinds: HashSet<TraceType> = params.required(1)?;
    let block: Option<BlockParam> = params.optional(2)?;
    let state: Option<StateOverrides> = params.optional(3)?;
    let overrides: Option<BlockOverrides> = params.optional(4)?;
    if !call.chain().discloses_call(&request.sender(), request.to.as_ref().map(|Hex(to)| to)) {
        return Err(RpcError::new(4100, "unauthorized"));
    }
    let mut simulation = Simulation::new(call, block, state, overrides)?;
    let gas = simulation.gas_for_call(&request)?;
    let tx = simulation.env(&request, gas)?;
    let Simulation { overlay, codes, environment, .. } = &mut simulation;
    let (info, deadline) = (Default::default(), call.trace_deadline());
    let mut subject = Subject { state: overlay, codes, environment, tx: &tx, info, deadline };
    recorded::json(&recorded::results(&mut subject, &kinds)?)
}

fn replay_transaction(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(hash) = params.required::<Hex<B256>>(0)?;
    let kinds: HashSet<TraceType> = params.required(1)?;
    let told = replay::transaction(call, &hash, |subject| recorded::results(subject, &kinds))?;
    recorded::json(&told.ok_or_else(|| RpcError::server("transaction not found"))?)
}

fn replay_block(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let kinds: HashSet<TraceType> = params.required(1)?;
    let Some(block) = named(call, params)?.filter(|block| block.number() > 0) else { return Ok(Json("[]".to_owned())) };
    let mut bytes = 0;
    let told = replay::block(call, block, |subject| {
        let results: TraceResults = recorded::results(subject, &kinds)?;
        bytes += recorded::json(&results)?.0.len();
        if bytes > RESPONSE_BYTES_MAX { Err(RpcError::response_too_large()) } else { Ok(results) }
    })?;
    let with_hash = |(transaction_hash, full_trace)| TraceResultsWithTransactionHash { full_trace, transaction_hash };
    recorded::json(&told.into_iter().map(with_hash).collect::<Vec<_>>())
}
