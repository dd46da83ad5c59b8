//! Blocks as Otterscan shows them.

use alloy_consensus::Transaction as _;
use alloy_primitives::B256;

use crate::block::Included;
use crate::rpc::call::{Call, Method};
use crate::rpc::committed::{CommittedBlock, SharedBlock, push_transaction};
use crate::rpc::error::RpcError;
use crate::rpc::json::{Json, Object, push_object};
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;
use crate::rpc::values::{BlockParam, Hex, Loose};

pub const METHODS: &[Method] = &[
    Method::read("erigon_getHeaderByNumber", header),
    Method::read("ots_getBlockDetails", details_by_number),
    Method::read("ots_getBlockDetailsByHash", details_by_hash),
    Method::read("ots_getBlockTransactions", transactions),
];

/// Bytes of a call's input that name its function.
const SELECTOR_BYTES: usize = 4;
const PAGE_MAX: usize = 1_000;

/// A block by a JSON number, or as elsewhere.
fn numbered(call: &Call<'_>, params: &Params<'_>) -> Result<Option<SharedBlock>, RpcError> {
    let chain = call.chain();
    let named = match params.required::<Loose>(0) {
        Ok(Loose(number)) => BlockParam::Number(number),
        Err(_) => params.required(0)?,
    };
    match chain.number(named)? {
        Some(number) => chain.block(number),
        None => Ok(None),
    }
}

fn header(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(numbered(call, params)?.map_or_else(Json::null, |block| block.head.json()))
}

fn details_by_number(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(numbered(call, params)?.map_or_else(Json::null, |block| details(call, &block)))
}

fn details_by_hash(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(hash) = params.required::<Hex<B256>>(0)?;
    let chain = call.chain();
    let block = match chain.number_of(&hash)? {
        Some(number) => chain.block(number)?,
        None => None,
    };
    Ok(block.map_or_else(Json::null, |block| details(call, &block)))
}

fn details(call: &Call<'_>, block: &CommittedBlock) -> Json {
    let fee = |included: &Included| {
        let price = included.transaction.envelope.effective_gas_price(block.head.header.base_fee_per_gas);
        price.saturating_mul(u128::from(included.gas_used))
    };
    let fees = block.transactions().map(fee).fold(0, u128::saturating_add);
    let is_mined = !block.head.header.difficulty.is_zero() && block.number() > 0;
    let reward = if is_mined { call.server.ledger.network().schedule.block_reward(block.number()) } else { 0 };
    let uncles = reward / 32 * block.ommers.len() as u128;
    Json::object(|object| {
        object.object("block", |object| without_transactions(object, block));
        object.object("issuance", |object| {
            object.quantity("blockReward", reward);
            object.quantity("uncleReward", uncles);
            object.quantity("issuance", reward + uncles);
        });
        object.quantity("totalFees", fees);
    })
}

fn without_transactions(object: &mut Object<'_>, block: &CommittedBlock) {
    block.fill(object, |_, _| {});
    object.quantity("transactionCount", block.transaction_count() as u64);
}

/// Page 0 has the block's last transactions.
fn transactions(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Some(block) = numbered(call, params)? else { return Ok(Json::null()) };
    let (Loose(page), Loose(size)) = (params.required(1)?, params.required(2)?);
    let size = usize::try_from(size).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let skipped = usize::try_from(page).unwrap_or(usize::MAX).saturating_mul(size);
    let end = block.transaction_count().saturating_sub(skipped);
    let chain = call.chain();
    let shown = |index: &usize| {
        block.transaction(*index).is_some_and(|included| chain.discloses_transaction(&included.transaction))
    };
    let page: Vec<usize> = (end.saturating_sub(size)..end).filter(shown).collect();
    Ok(Json::object(|object| {
        object.object("fullblock", |object| {
            block.fill(object, |out, _| push_page(out, &block, &page));
            object.quantity("transactionCount", block.transaction_count() as u64);
        });
        object.list("receipts", &page, |out, index| {
            if let Some(included) = block.transaction(*index) {
                push_object(out, |object| {
                    block.head.fill_receipt(object, included, *index, false);
                });
            }
        });
    }))
}

fn push_page(out: &mut String, block: &CommittedBlock, page: &[usize]) {
    for (position, index) in page.iter().enumerate() {
        let Some(included) = block.transaction(*index) else { continue };
        if position > 0 {
            out.push(',');
        }
        let mut whole = String::with_capacity(1_024);
        push_transaction(&mut whole, &included.transaction, Some((&block.head, *index)));
        out.push_str(&with_selector(&whole, included));
    }
}

/// The same with no more of the input than the name of the function that it calls.
fn with_selector(json: &str, included: &Included) -> String {
    let input = included.transaction.envelope.input();
    if input.len() <= SELECTOR_BYTES {
        return json.to_owned();
    }
    let field = |bytes: &[u8]| format!("\"input\":\"{}\"", alloy_primitives::hex::encode_prefixed(bytes));
    json.replacen(&field(input), &field(input.get(..SELECTOR_BYTES).unwrap_or(input)), 1)
}
