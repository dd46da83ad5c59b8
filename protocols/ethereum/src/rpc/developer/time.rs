//! The clock that blocks are stamped with.

use super::operate;
use crate::developer::{Operation, Setting};
use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::params::Params;
use crate::rpc::reply::Responder;
use crate::rpc::values::Loose;

pub const METHODS: &[Method] = &[
    Method::later("evm_increaseTime", increase).for_developers(),
    Method::later("anvil_increaseTime", increase).for_developers(),
    Method::later("evm_setTime", set_time).for_developers(),
    Method::later("anvil_setTime", set_time).for_developers(),
    Method::later("evm_setNextBlockTimestamp", set_next).for_developers(),
    Method::later("anvil_setNextBlockTimestamp", set_next).for_developers(),
    Method::later("anvil_setBlockTimestampInterval", set_interval).for_developers(),
    Method::later("evm_setBlockTimestampInterval", set_interval).for_developers(),
    Method::later("anvil_removeBlockTimestampInterval", remove_interval).for_developers(),
    Method::later("evm_removeBlockTimestampInterval", remove_interval).for_developers(),
];

/// Timestamps beyond this are milliseconds, which some tools send.
const SECONDS_MAX: u64 = 1 << 40;

fn seconds(params: &Params<'_>) -> Result<u64, RpcError> {
    params.required(0).map(|Loose(seconds)| seconds)
}

fn timestamp(params: &Params<'_>) -> Result<u64, RpcError> {
    let time = seconds(params)?;
    Ok(if time > SECONDS_MAX { time / 1_000 } else { time })
}

fn one(setting: Result<Setting, RpcError>) -> Result<Vec<Operation>, RpcError> {
    setting.map(|setting| vec![Operation::Set(setting)])
}

fn increase(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    operate(call, one(seconds(params).map(Setting::IncreaseTime)), responder);
}

fn set_time(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    operate(call, one(timestamp(params).map(Setting::Time)), responder);
}

/// Exactly this: a number of milliseconds is a time in the far future, and is taken for one.
fn set_next(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    operate(call, one(seconds(params).map(Setting::NextTimestamp)), responder);
}

fn set_interval(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    operate(call, one(seconds(params).map(|seconds| Setting::TimestampInterval(Some(seconds)))), responder);
}

fn remove_interval(call: &Call<'_>, _: &Params<'_>, responder: Responder) {
    operate(call, one(Ok(Setting::TimestampInterval(None))), responder);
}
