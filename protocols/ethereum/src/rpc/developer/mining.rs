//! When blocks are made.

use alloy_primitives::Bytes;
use serde::Deserialize;

use super::{operate, operate_and};
use crate::developer::{BLOCKS_PER_OPERATION_MAX, Operation, Setting};
use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::json::Json;
use crate::rpc::limits::MINED_BLOCKS_MAX;
use crate::rpc::params::Params;
use crate::rpc::reply::{Answer, Responder};
use crate::rpc::values::{Hex, Loose};
use crate::rpc::view::ChainView;
use crate::transaction::Transaction;

pub const METHODS: &[Method] = &[
    Method::later("evm_mine", mine_one).for_developers(),
    Method::later("hardhat_intervalMine", mine_one).for_developers(),
    Method::later("evm_mine_detailed", mine_detailed).for_developers(),
    Method::later("coco_importBlocks", import).for_developers(),
    Method::later("anvil_mine_detailed", mine_detailed).for_developers(),
    Method::later("hardhat_mine", mine_many).for_developers(),
    Method::later("anvil_mine", mine_many).for_developers(),
    Method::later("evm_setAutomine", set_automine).for_developers(),
    Method::later("anvil_setAutomine", set_automine).for_developers(),
    Method::read("hardhat_getAutomine", automine).for_developers(),
    Method::read("anvil_getAutomine", automine).for_developers(),
    Method::later("evm_setIntervalMining", set_interval_ms).for_developers(),
    Method::later("anvil_setIntervalMining", set_interval_s).for_developers(),
    Method::read("anvil_getIntervalMining", interval).for_developers(),
];

#[derive(Deserialize)]
#[serde(untagged)]
enum MineOptions {
    Named { timestamp: Option<Loose>, blocks: Option<Loose> },
    Timestamp(Loose),
}

/// The blocks that the options of `evm_mine` ask for.
fn asked(params: &Params<'_>) -> Result<Vec<Operation>, RpcError> {
    let (timestamp_s, blocks) = match params.optional(0)? {
        None => (None, 1),
        Some(MineOptions::Timestamp(Loose(0))) => (None, 1),
        Some(MineOptions::Timestamp(Loose(time))) => (Some(time), 1),
        Some(MineOptions::Named { timestamp, blocks }) => {
            (timestamp.map(|Loose(time)| time), blocks.map_or(1, |Loose(blocks)| blocks))
        }
    };
    blocks_of(blocks, timestamp_s, None)
}

/// The first takes what waits, the others are empty.
fn blocks_of(blocks: u64, timestamp_s: Option<u64>, interval_s: Option<u64>) -> Result<Vec<Operation>, RpcError> {
    if blocks > MINED_BLOCKS_MAX {
        return Err(RpcError::invalid_params(format!("more than {MINED_BLOCKS_MAX} blocks at once")));
    }
    let mut operations = Vec::new();
    let Some(mut rest) = blocks.checked_sub(1) else { return Ok(operations) };
    operations.push(Operation::Mine { timestamp_s });
    while rest > 0 {
        let blocks = rest.min(BLOCKS_PER_OPERATION_MAX);
        operations.push(Operation::MineEmpty { blocks, interval_s });
        rest -= blocks;
    }
    Ok(operations)
}

fn mine_one(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    operate_and(call, asked(params), responder, |_| Ok(Json::string("0x0")));
}

/// Count, and seconds from one to the next.
fn mine_many(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let operations = || {
        let count = params.optional(0)?.map_or(1, |Loose(count)| count);
        let interval = params.optional(1)?.map(|Loose(seconds)| seconds);
        blocks_of(count, None, interval)
    };
    operate_and(call, operations(), responder, |_| Ok(Json::bool(true)));
}

/// Blocks of another network, RLP one after the other: `coco dev --import` sends a file so, a few at a time. Answers with the newest number.
fn import(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let blocks = params.required(0).map(|Hex(blocks): Hex<Bytes>| vec![Operation::Import(blocks.0)]);
    operate(call, blocks, responder);
}

/// Answers with the blocks.
fn mine_detailed(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let (server, caller) = (call.server.clone(), call.caller.clone());
    let first = match call.chain().head() {
        Ok(head) => head + 1,
        Err(error) => return responder.send(Err(error)),
    };
    operate_and(call, asked(params), responder, move |_| {
        let reader = server.handle.reader(&caller);
        let chain = ChainView::new(&server, &reader);
        let mut blocks = Vec::new();
        for number in first..=chain.head()? {
            blocks.extend(chain.block(number)?);
        }
        Ok(Json::list(blocks, |out, block| {
            out.push_str(&block.json(Some(|transaction: &Transaction| chain.discloses_transaction(transaction))).0);
        }))
    });
}

fn set_automine(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let setting = params.required(0).map(|on| vec![Operation::Set(Setting::Automine(on))]);
    operate(call, setting, responder);
}

fn automine(call: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::bool(call.server.ledger.chain.mining().automine))
}

/// As hardhat has it: milliseconds, or a range of them, of which the first is taken.
fn set_interval_ms(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Interval {
        Fixed(Loose),
        Range([Loose; 2]),
    }
    let setting = params.required(0).map(|interval| match interval {
        Interval::Fixed(Loose(ms)) | Interval::Range([Loose(ms), _]) => vec![Operation::Set(Setting::IntervalMs(ms))],
    });
    operate(call, setting, responder);
}

/// As anvil has it: seconds.
fn set_interval_s(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let setting = params
        .required(0)
        .map(|Loose(seconds)| vec![Operation::Set(Setting::IntervalMs(seconds.saturating_mul(1_000)))]);
    operate(call, setting, responder);
}

fn interval(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let interval_ms = call.server.ledger.chain.mining().interval_ms;
    Ok(if interval_ms == 0 { Json::null() } else { Json((interval_ms / 1_000).to_string()) })
}
