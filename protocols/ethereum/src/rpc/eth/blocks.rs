//! `eth_`: blocks, transactions, receipts and logs.

use alloy_primitives::B256;

use super::fees::upcoming_base_fee;
use crate::rpc::call::{Call, Method};
use crate::rpc::committed::{CommittedBlock, SharedBlock, push_transaction, receipt_json};
use crate::rpc::error::RpcError;
use crate::rpc::json::Json;
use crate::rpc::limits::PENDING_RECEIPT_WAIT_MS;
use crate::rpc::log_search;
use crate::rpc::logs::LogQuery;
use crate::rpc::params::Params;
use crate::rpc::pool::{ask, pooled};
use crate::rpc::pool_questions::{PoolQuestion, PooledTransaction};
use crate::rpc::reply::{Answer, Responder};
use crate::rpc::values::{BlockParam, Hex, Loose};
use crate::rpc::view::Placed;
use crate::rpc::waiters::Wants;
use crate::transaction::Transaction;

pub const METHODS: &[Method] = &[
    Method::read("eth_getBlockByNumber", block_by_number),
    Method::read("eth_getBlockByHash", block_by_hash),
    Method::read("eth_getHeaderByNumber", header_by_number),
    Method::read("eth_getHeaderByHash", header_by_hash),
    Method::read("eth_getBlockTransactionCountByNumber", transaction_count_by_number),
    Method::read("eth_getBlockTransactionCountByHash", transaction_count_by_hash),
    Method::read("eth_getUncleCountByBlockNumber", uncle_count_by_number),
    Method::read("eth_getUncleCountByBlockHash", uncle_count_by_hash),
    Method::read("eth_getUncleByBlockNumberAndIndex", uncle),
    Method::read("eth_getUncleByBlockHashAndIndex", uncle),
    Method::later("eth_getTransactionByHash", transaction_by_hash),
    Method::read("eth_getTransactionByBlockNumberAndIndex", transaction_by_number_and_index),
    Method::read("eth_getTransactionByBlockHashAndIndex", transaction_by_hash_and_index),
    Method::read("eth_getRawTransactionByHash", raw_transaction),
    Method::read("eth_getRawTransactionByBlockNumberAndIndex", raw_transaction_by_number_and_index),
    Method::read("eth_getRawTransactionByBlockHashAndIndex", raw_transaction_by_hash_and_index),
    Method::later("eth_getTransactionReceipt", receipt),
    Method::read("eth_getBlockReceipts", block_receipts),
    Method::read("eth_getLogs", logs),
];

/// The block that the first argument names by number or tag.
fn numbered(call: &Call<'_>, params: &Params<'_>) -> Result<Option<SharedBlock>, RpcError> {
    let chain = call.chain();
    match chain.number(params.required(0)?)? {
        Some(number) => chain.block(number),
        None => Ok(None),
    }
}

/// The block that the first argument names by hash.
fn hashed(call: &Call<'_>, params: &Params<'_>) -> Result<Option<SharedBlock>, RpcError> {
    let Hex(hash) = params.required::<Hex<B256>>(0)?;
    let chain = call.chain();
    match chain.number_of(&hash)? {
        Some(number) => chain.block(number),
        None => Ok(None),
    }
}

fn block_by_number(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let full = params.optional(1)?.unwrap_or(false);
    if params.required::<BlockParam>(0)? == BlockParam::Pending {
        return preview(call);
    }
    Ok(block_json(call, numbered(call, params)?.as_deref(), full))
}

fn block_by_hash(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let full = params.optional(1)?.unwrap_or(false);
    Ok(block_json(call, hashed(call, params)?.as_deref(), full))
}

fn block_json(call: &Call<'_>, block: Option<&CommittedBlock>, full: bool) -> Json {
    let Some(block) = block else { return Json::null() };
    let chain = call.chain();
    block.json(full.then_some(|transaction: &Transaction| chain.discloses_transaction(transaction)))
}

/// The block that would come next, as far as it can be known: what pools hold is told by `txpool_` alone.
fn preview(call: &Call<'_>) -> Answer {
    let chain = call.chain();
    let parent = chain.head_header()?;
    let parent_hash = chain.hash(parent.number)?.unwrap_or_default();
    let now = call.server.handle.now_ms() / 1_000;
    let header = alloy_consensus::Header {
        parent_hash,
        number: parent.number + 1,
        timestamp: now.max(parent.timestamp),
        gas_limit: parent.gas_limit,
        base_fee_per_gas: parent.base_fee_per_gas.and(Some(upcoming_base_fee(call)?)),
        withdrawals_root: parent.withdrawals_root,
        blob_gas_used: parent.blob_gas_used,
        excess_blob_gas: parent.excess_blob_gas,
        parent_beacon_block_root: parent.parent_beacon_block_root,
        requests_hash: parent.requests_hash,
        ..Default::default()
    };
    Ok(CommittedBlock::preview_json(header, &call.server.ledger.network().schedule))
}

fn header_by_number(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(numbered(call, params)?.map_or_else(Json::null, |block| block.head.json()))
}

fn header_by_hash(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(hashed(call, params)?.map_or_else(Json::null, |block| block.head.json()))
}

fn transaction_count_by_number(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(numbered(call, params)?.map_or_else(Json::null, |block| Json::quantity(block.transaction_count() as u64)))
}

fn transaction_count_by_hash(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(hashed(call, params)?.map_or_else(Json::null, |block| Json::quantity(block.transaction_count() as u64)))
}

fn uncle_count_by_number(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(numbered(call, params)?.map_or_else(Json::null, |block| Json::quantity(block.ommers.len() as u64)))
}

fn uncle_count_by_hash(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(hashed(call, params)?.map_or_else(Json::null, |block| Json::quantity(block.ommers.len() as u64)))
}

/// Blocks that lost a race do not exist where there is none.
fn uncle(_: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::null())
}

fn transaction_by_hash(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let found = params.required::<Hex<B256>>(0).and_then(|Hex(hash)| Ok((hash, call.chain().transaction(&hash)?)));
    let hash = match found {
        Err(error) => return responder.send(Err(error)),
        Ok((_, Some(placed))) => {
            let mut out = String::with_capacity(1_024);
            if let Some((head, included)) = placed.parts() {
                push_transaction(&mut out, &included.transaction, Some((head, placed.index)));
            }
            return responder.send(Ok(Json(out)));
        }
        Ok((hash, None)) => hash,
    };
    let (server, caller) = (call.server.clone(), call.caller.clone());
    ask(
        call.server,
        call.caller,
        &PoolQuestion::Transaction(hash),
        move |answer: Result<Option<PooledTransaction>, _>| {
            // A pool that cannot be asked knows of nothing.
            let known = answer.ok().flatten().and_then(|known| pooled(&server, &caller, &known));
            let json = known.map_or_else(Json::null, |transaction| {
                let mut out = String::with_capacity(1_024);
                push_transaction(&mut out, &transaction, None);
                Json(out)
            });
            responder.send(Ok(json));
        },
    );
}

/// Writes the transaction of an index, if there is one that the caller may see.
fn indexed(
    call: &Call<'_>,
    params: &Params<'_>,
    block: Option<SharedBlock>,
    show: impl FnOnce(&CommittedBlock, usize) -> Json,
) -> Answer {
    let Loose(index) = params.required(1)?;
    let shown = block.and_then(|block| {
        let index = usize::try_from(index).ok()?;
        let included = block.transaction(index)?;
        call.chain().discloses_transaction(&included.transaction).then(|| show(&block, index))
    });
    Ok(shown.unwrap_or_else(Json::null))
}

fn whole(block: &CommittedBlock, index: usize) -> Json {
    let mut out = String::with_capacity(1_024);
    if let Some(included) = block.transaction(index) {
        push_transaction(&mut out, &included.transaction, Some((&block.head, index)));
    }
    Json(out)
}

fn raw(block: &CommittedBlock, index: usize) -> Json {
    block.transaction(index).map_or_else(Json::null, |included| Json::data(&included.transaction.raw))
}

fn transaction_by_number_and_index(call: &Call<'_>, params: &Params<'_>) -> Answer {
    indexed(call, params, numbered(call, params)?, whole)
}

fn transaction_by_hash_and_index(call: &Call<'_>, params: &Params<'_>) -> Answer {
    indexed(call, params, hashed(call, params)?, whole)
}

fn raw_transaction_by_number_and_index(call: &Call<'_>, params: &Params<'_>) -> Answer {
    indexed(call, params, numbered(call, params)?, raw)
}

fn raw_transaction_by_hash_and_index(call: &Call<'_>, params: &Params<'_>) -> Answer {
    indexed(call, params, hashed(call, params)?, raw)
}

pub fn raw_transaction(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(hash) = params.required::<Hex<B256>>(0)?;
    let placed = call.chain().transaction(&hash)?;
    let raw = placed.as_ref().and_then(Placed::parts).map(|(_, included)| Json::data(&included.transaction.raw));
    Ok(raw.unwrap_or_else(Json::null))
}

/// Of a transaction that waits for its block, the answer waits too, for a moment. Clients that are told "none yet" go on to wait for the
/// next block, and some begin to count after it: where no block follows, they would wait for ever.
fn receipt(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let find = || {
        let Hex(hash) = params.required::<Hex<B256>>(0)?;
        let placed = call.chain().transaction(&hash)?;
        let receipt = placed.as_ref().and_then(|placed| {
            let (head, included) = placed.parts()?;
            Some(receipt_json(head, included, placed.index))
        });
        Ok((hash, receipt))
    };
    match find() {
        Ok((_, Some(receipt))) => responder.send(Ok(receipt)),
        Ok((hash, None)) if call.server.expects_block_of(&hash) => {
            call.server.await_block(call.caller, hash, responder, Wants::ReceiptIfAny, PENDING_RECEIPT_WAIT_MS);
        }
        Ok((_, None)) => responder.send(Ok(Json::null())),
        Err(error) => responder.send(Err(error)),
    }
}

fn block_receipts(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Some(block) = numbered(call, params)? else { return Ok(Json::null()) };
    let chain = call.chain();
    let seen =
        block.transactions().enumerate().filter(|(_, included)| chain.discloses_transaction(&included.transaction));
    Ok(Json::list(seen, |out, (index, included)| block.head.push_receipt(out, included, index)))
}

fn logs(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let query: LogQuery = params.required(0)?;
    let chain = call.chain();
    log_search::search(&query, &chain, query.range(&chain)?, &call.deadline())
}
