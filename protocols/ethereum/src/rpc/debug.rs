//! `debug_getRaw…`: the encodings that the hashes of the chain are made of.

use alloy_primitives::{B256, Bytes};

use super::call::{Call, Method};
use super::committed::SharedBlock;
use super::error::RpcError;
use super::eth::raw_transaction;
use super::json::{Json, push_data};
use super::params::Params;
use super::reply::Answer;
use super::values::Hex;
use crate::state::CODE;

pub const METHODS: &[Method] = &[
    Method::read("debug_getRawHeader", raw_header),
    Method::read("debug_getRawBlock", raw_block),
    Method::read("debug_getRawReceipts", raw_receipts),
    Method::read("debug_getRawTransaction", raw_transaction),
    Method::read("debug_getBadBlocks", bad_blocks),
    Method::read("debug_codeByHash", code_by_hash),
    Method::read("debug_dbGet", database_value),
];

fn block(call: &Call<'_>, params: &Params<'_>) -> Result<SharedBlock, RpcError> {
    let chain = call.chain();
    let number = chain.number(params.required(0)?)?.ok_or_else(RpcError::header_not_found)?;
    chain.block(number)?.ok_or_else(RpcError::header_not_found)
}

fn raw_header(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(Json::data(&alloy_rlp::encode(&block(call, params)?.head.header)))
}

/// Encodings hold every transaction, so that they are shown only to who may see all of them.
fn raw_block(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(Json::data(&whole_block(call, params)?.rlp()))
}

fn raw_receipts(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let block = whole_block(call, params)?;
    Ok(Json::list(block.transactions(), |out, included| push_data(out, &included.receipt())))
}

fn whole_block(call: &Call<'_>, params: &Params<'_>) -> Result<SharedBlock, RpcError> {
    let block = block(call, params)?;
    let chain = call.chain();
    let discloses_all = block.transactions().all(|included| chain.discloses_transaction(&included.transaction));
    match discloses_all {
        true => Ok(block),
        false => Err(RpcError::header_not_found()),
    }
}

/// Contracts with the same code share it, so that the gate is asked about the code and not about an account.
fn code_by_hash(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(hash): Hex<B256> = params.required(0)?;
    Ok(code(call, &hash).map_or_else(Json::null, |code| Json::data(&code)))
}

fn code(call: &Call<'_>, hash: &B256) -> Option<bytes::Bytes> {
    call.reader().state().get(&CODE, hash.as_slice()).filter(|_| call.chain().discloses_code(hash))
}

/// Of what geth keeps by key, there is a contract's code: `c` and the hash, or as geth kept it earlier, the hash.
fn database_value(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(key): Hex<Bytes> = params.required(0)?;
    let hash = key.strip_prefix(b"c").filter(|hash| hash.len() == 32).unwrap_or(&key);
    let code = B256::try_from(hash).ok().and_then(|hash| code(call, &hash));
    code.map(|code| Json::data(&code)).ok_or_else(|| RpcError::server("not found"))
}

/// A node refuses bad blocks before it has them.
fn bad_blocks(_: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::list([(); 0], |_, ()| {}))
}
