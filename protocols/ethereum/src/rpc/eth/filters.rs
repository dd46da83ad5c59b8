//! `eth_`: filters that clients poll.

use std::sync::Arc;

use crate::rpc::call::{Call, Method};
use crate::rpc::committed::push_transaction;
use crate::rpc::error::RpcError;
use crate::rpc::filters::{FilterKind, PendingFilter};
use crate::rpc::json::{Json, push_data};
use crate::rpc::limits::FILTER_BLOCKS_MAX;
use crate::rpc::log_search;
use crate::rpc::logs::{LogBlocks, LogQuery};
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;
use crate::rpc::values::BlockParam;
use crate::rpc::view::ChainView;

pub const METHODS: &[Method] = &[
    Method::read("eth_newFilter", new_filter),
    Method::read("eth_newBlockFilter", new_block_filter),
    Method::read("eth_newPendingTransactionFilter", new_pending_filter),
    Method::read("eth_getFilterChanges", changes),
    Method::read("eth_getFilterLogs", filter_logs),
    Method::read("eth_uninstallFilter", uninstall),
];

fn install(call: &Call<'_>, kind: FilterKind) -> Answer {
    let id = call.server.fresh_id();
    call.server.filters.add(id.clone(), call.caller, kind, call.server.handle.now_ms())?;
    Ok(Json::string(&id))
}

fn new_filter(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let query: LogQuery = params.required(0)?;
    let next = call.chain().head()? + 1;
    install(call, FilterKind::Logs { query: Arc::new(query), next })
}

fn new_block_filter(call: &Call<'_>, _: &Params<'_>) -> Answer {
    install(call, FilterKind::Blocks { next: call.chain().head()? + 1 })
}

fn new_pending_filter(call: &Call<'_>, params: &Params<'_>) -> Answer {
    install(call, FilterKind::Pending(PendingFilter::new(params.optional(0)?.unwrap_or(false))))
}

fn uninstall(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let id: String = params.required(0)?;
    Ok(Json::bool(call.server.filters.uninstall(&id, call.caller)))
}

/// What happened since the last poll.
fn changes(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let id: String = params.required(0)?;
    let chain = call.chain();
    match call.server.filters.poll(&id, call.caller, call.server.handle.now_ms())? {
        FilterKind::Pending(pending) => Ok(pending_json(&chain, &pending)),
        FilterKind::Blocks { next } => {
            let head = chain.head()?.min(next.saturating_add(FILTER_BLOCKS_MAX));
            let mut hashes = Vec::new();
            for number in next..=head {
                hashes.extend(chain.hash(number)?.filter(|hash| chain.discloses_block(hash)));
            }
            call.server.filters.advance(&id, head + 1);
            Ok(Json::list(hashes, |out, hash| push_data(out, hash.as_slice())))
        }
        FilterKind::Logs { query, next } => {
            let (from, mut to) = unseen(&query, next, chain.head()?);
            let deadline = call.deadline();
            // Too much for one answer is told in several, or the filter would be stuck.
            loop {
                match log_search::search(&query, &chain, (from, to), &deadline) {
                    Err(error) if error.is_limit() && from < to => to = from + (to - from) / 2,
                    Err(error) => return Err(error),
                    Ok(json) => {
                        call.server.filters.advance(&id, to + 1);
                        return Ok(json);
                    }
                }
            }
        }
    }
}

/// The blocks that a filter has not told, as far as its own range reaches.
fn unseen(query: &LogQuery, next: u64, head: u64) -> (u64, u64) {
    let LogBlocks::Range { from, to } = query.blocks else { return (next, next.saturating_sub(1)) };
    let from = match from {
        Some(BlockParam::Number(from)) => from.max(next),
        _ => next,
    };
    let to = match to {
        Some(BlockParam::Number(to)) => to.min(head),
        Some(BlockParam::Earliest) => 0,
        _ => head,
    };
    (from, to.min(from.saturating_add(FILTER_BLOCKS_MAX)))
}

/// Everything that the filter finds, told or not.
fn filter_logs(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let id: String = params.required(0)?;
    match call.server.filters.poll(&id, call.caller, call.server.handle.now_ms())? {
        FilterKind::Logs { query, .. } => {
            let chain = call.chain();
            log_search::search(&query, &chain, query.range(&chain)?, &call.deadline())
        }
        FilterKind::Blocks { .. } | FilterKind::Pending(_) => Err(RpcError::filter_not_found()),
    }
}

fn pending_json(chain: &ChainView<'_>, pending: &PendingFilter) -> Json {
    let seen = pending.take();
    let seen = seen.iter().filter(|transaction| chain.discloses_transaction(transaction));
    Json::list(seen, |out, transaction| match pending.full {
        true => push_transaction(out, transaction, None),
        false => push_data(out, transaction.hash.as_slice()),
    })
}
