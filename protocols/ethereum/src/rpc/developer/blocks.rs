//! What the headers of coming blocks say.

use alloy_primitives::{Address, B256};

use super::operate;
use crate::developer::{Operation, Setting};
use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::params::Params;
use crate::rpc::reply::Responder;
use crate::rpc::values::{Hex, Loose};

pub const METHODS: &[Method] = &[
    Method::later("evm_setBlockGasLimit", gas_limit).for_developers(),
    Method::later("anvil_setBlockGasLimit", gas_limit).for_developers(),
    Method::later("hardhat_setCoinbase", coinbase).for_developers(),
    Method::later("anvil_setCoinbase", coinbase).for_developers(),
    Method::later("hardhat_setNextBlockBaseFeePerGas", base_fee).for_developers(),
    Method::later("anvil_setNextBlockBaseFeePerGas", base_fee).for_developers(),
    Method::later("hardhat_setPrevRandao", prevrandao).for_developers(),
    Method::later("anvil_setNextBlockPrevRandao", prevrandao).for_developers(),
    Method::later("anvil_setChainId", chain_id).for_developers(),
    Method::read("hardhat_setMinGasPrice", min_gas_price).for_developers(),
    Method::read("anvil_setMinGasPrice", min_gas_price).for_developers(),
];

fn set(call: &Call<'_>, setting: Result<Setting, RpcError>, responder: Responder) {
    operate(call, setting.map(|setting| vec![Operation::Set(setting)]), responder);
}

fn gas_limit(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    set(call, params.required(0).map(|Loose(gas)| Setting::GasLimit(gas)), responder);
}

fn coinbase(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    set(call, params.required(0).map(|Hex(address): Hex<Address>| Setting::Coinbase(address)), responder);
}

fn base_fee(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    set(call, params.required(0).map(|Loose(fee)| Setting::NextBaseFee(fee)), responder);
}

fn prevrandao(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    set(call, params.required(0).map(|Hex(hash): Hex<B256>| Setting::NextPrevrandao(hash)), responder);
}

fn chain_id(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    set(call, params.required(0).map(|Loose(id)| Setting::ChainId(id)), responder);
}

fn min_gas_price(_: &Call<'_>, _: &Params<'_>) -> crate::rpc::reply::Answer {
    Err(RpcError::invalid_params("a least gas price is not supported when EIP-1559 is active"))
}
