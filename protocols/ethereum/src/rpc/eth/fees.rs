//! `eth_`: what transactions cost now, and what they cost lately.

use std::fmt::Write;

use alloy_consensus::{Header, Transaction as _};
use alloy_eips::eip7840::BlobParams;

use crate::block::NextBaseFee;
use crate::chain::read_number;
use crate::rpc::call::{Call, Method};
use crate::rpc::committed::CommittedBlock;
use crate::rpc::error::RpcError;
use crate::rpc::json::{Json, push_list, push_quantity};
use crate::rpc::limits::{FEE_HISTORY_BLOCKS_MAX, FEE_PERCENTILES_MAX};
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;
use crate::rpc::values::{BlockParam, Loose};
use crate::state::{META, META_SEALED_MS};

pub const METHODS: &[Method] = &[
    Method::read("eth_gasPrice", gas_price),
    Method::read("eth_maxPriorityFeePerGas", max_priority_fee),
    Method::read("eth_baseFee", base_fee),
    Method::read("eth_blobBaseFee", blob_base_fee),
    Method::read("eth_feeHistory", fee_history),
];

/// Blocks that the suggested tip is drawn from.
const TIP_BLOCKS: u64 = 20;
const TIP_PERCENTILE: usize = 60;
/// Smaller tips say nothing about what is asked, as in geth.
const TIP_MIN_WEI: u128 = 2;
/// Suggested where nobody has paid a tip yet: 1 gwei, as geth and anvil do. A client that doubles it replaces its transaction.
const TIP_DEFAULT_WEI: u128 = 1_000_000_000;

fn gas_price(call: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::quantity(u128::from(upcoming_base_fee(call)?) + suggested_tip(call)?))
}

fn max_priority_fee(call: &Call<'_>, _: &Params<'_>) -> Answer {
    suggested_tip(call).map(Json::quantity)
}

fn base_fee(call: &Call<'_>, _: &Params<'_>) -> Answer {
    upcoming_base_fee(call).map(Json::quantity)
}

fn blob_base_fee(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let chain = call.chain();
    let header = chain.head_header()?;
    let params = call.server.ledger.network().schedule.blob_params(header.timestamp);
    Ok(Json::quantity(params.and_then(|params| header.next_block_blob_fee(params)).unwrap_or(0)))
}

/// The base fee of the next block if it came now; zero before London.
pub fn upcoming_base_fee(call: &Call<'_>) -> Result<u64, RpcError> {
    let chain = call.chain();
    let header = chain.head_header()?;
    let sealed_ms = read_number(call.reader().state().get(&META, META_SEALED_MS).as_ref());
    let next = NextBaseFee::new(&call.server.ledger.network().config, header, sealed_ms);
    Ok(header.base_fee_per_gas.map_or(0, |_| next.at(call.server.handle.now_ms())))
}

/// What most transactions of the last blocks paid on top; nothing on a network without fees.
pub fn suggested_tip(call: &Call<'_>) -> Result<u128, RpcError> {
    let chain = call.chain();
    let head = chain.head()?;
    let mut tips = Vec::new();
    for number in head.saturating_sub(TIP_BLOCKS - 1)..=head {
        let wanted = |header: &Header| header.gas_used > 0;
        if let Some(block) = chain.block_if(number, wanted)? {
            tips.extend(block_tips(&block).map(|(tip, _)| tip).filter(|tip| *tip >= TIP_MIN_WEI));
        }
    }
    tips.sort_unstable();
    let position = tips.len().saturating_sub(1) * TIP_PERCENTILE / 100;
    let without_fees = call.server.ledger.network().config.base_fee == Some(0);
    Ok(tips.get(position).copied().unwrap_or(if without_fees { 0 } else { TIP_DEFAULT_WEI }))
}

/// The tip of each transaction, and the gas it used.
fn block_tips(block: &CommittedBlock) -> impl Iterator<Item = (u128, u64)> {
    let base_fee = block.head.header.base_fee_per_gas;
    block.transactions().map(move |included| {
        let price = included.transaction.envelope.effective_gas_price(base_fee);
        (price.saturating_sub(base_fee.unwrap_or(0).into()), included.gas_used)
    })
}

#[derive(Default)]
struct History {
    base_fees: Vec<u64>,
    gas_ratios: Vec<f64>,
    blob_fees: Vec<u128>,
    blob_ratios: Vec<f64>,
    rewards: Vec<Vec<u128>>,
}

fn fee_history(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Loose(count) = params.required(0)?;
    let newest: BlockParam = params.required(1)?;
    let percentiles: Vec<f64> = params.optional(2)?.unwrap_or_default();
    check_percentiles(&percentiles)?;
    let chain = call.chain();
    let newest = chain.number(newest)?.ok_or_else(|| RpcError::invalid_params("request beyond head block"))?;
    let count = count.min(FEE_HISTORY_BLOCKS_MAX).min(newest + 1);
    let oldest = newest + 1 - count;
    let deadline = call.deadline();
    let mut history = History::default();
    for number in oldest..=newest {
        if count == 0 {
            break;
        }
        deadline.check()?;
        let block = chain.block(number)?.ok_or_else(RpcError::header_not_found)?;
        history.add(&block, &percentiles);
    }
    let header = chain.header(newest)?.ok_or_else(RpcError::header_not_found)?;
    let network = call.server.ledger.network();
    let base_fee = match chain.header(newest + 1)? {
        Some(next) => next.base_fee_per_gas.unwrap_or(0),
        None => upcoming_base_fee(call)?,
    };
    history.close(&header, base_fee, network.schedule.blob_params(header.timestamp));
    Ok(history.json(oldest, !percentiles.is_empty()))
}

fn check_percentiles(percentiles: &[f64]) -> Result<(), RpcError> {
    if percentiles.len() > FEE_PERCENTILES_MAX {
        return Err(RpcError::invalid_params(format!(
            "over the query limit {FEE_PERCENTILES_MAX} of reward percentiles"
        )));
    }
    let in_range = percentiles.iter().all(|percentile| (0.0..=100.0).contains(percentile));
    if !in_range || !percentiles.is_sorted() {
        return Err(RpcError::invalid_params("invalid reward percentile: they must ascend from 0 to 100"));
    }
    Ok(())
}

impl History {
    fn add(&mut self, block: &CommittedBlock, percentiles: &[f64]) {
        let header = &block.head.header;
        let ratio = |used: u64, limit: u64| if limit == 0 { 0.0 } else { used as f64 / limit as f64 };
        self.base_fees.push(header.base_fee_per_gas.unwrap_or(0));
        self.gas_ratios.push(ratio(header.gas_used, header.gas_limit));
        let params: Option<BlobParams> = block.head.blob_params;
        self.blob_fees.push(params.and_then(|params| header.blob_fee(params)).unwrap_or(0));
        let blob_limit = params.map_or(0, |params| params.max_blob_gas_per_block());
        self.blob_ratios.push(ratio(header.blob_gas_used.unwrap_or(0), blob_limit));
        if !percentiles.is_empty() {
            self.rewards.push(rewards(block, percentiles));
        }
    }

    /// The fees of the block after the newest that was asked for.
    fn close(&mut self, newest: &Header, base_fee: u64, params: Option<BlobParams>) {
        self.base_fees.push(base_fee);
        self.blob_fees.push(params.and_then(|params| newest.next_block_blob_fee(params)).unwrap_or(0));
    }

    fn json(&self, oldest: u64, with_rewards: bool) -> Json {
        Json::object(|object| {
            object.quantity("oldestBlock", oldest);
            object.list("baseFeePerGas", &self.base_fees, |out, fee| push_quantity(out, *fee));
            object.list("gasUsedRatio", &self.gas_ratios, push_ratio);
            object.list("baseFeePerBlobGas", &self.blob_fees, |out, fee| push_quantity(out, *fee));
            object.list("blobGasUsedRatio", &self.blob_ratios, push_ratio);
            if with_rewards {
                object.list("reward", &self.rewards, |out, rewards| {
                    push_list(out, rewards, |out, tip| push_quantity(out, *tip));
                });
            }
        })
    }
}

/// The tip at each percentile of the block's gas.
fn rewards(block: &CommittedBlock, percentiles: &[f64]) -> Vec<u128> {
    let mut tips: Vec<(u128, u64)> = block_tips(block).collect();
    tips.sort_unstable();
    let total: u64 = tips.iter().map(|(_, gas)| gas).sum();
    let mut rest = tips.iter().peekable();
    let mut summed = 0u64;
    percentiles
        .iter()
        .map(|percentile| {
            let threshold = (total as f64 * percentile / 100.0) as u64;
            while let Some((tip, gas)) = rest.peek() {
                if summed + gas >= threshold || rest.len() == 1 {
                    return *tip;
                }
                summed += gas;
                rest.next();
            }
            0
        })
        .collect()
}

fn push_ratio(out: &mut String, ratio: &f64) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{ratio}");
}
