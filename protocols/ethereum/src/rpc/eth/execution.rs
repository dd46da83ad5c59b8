//! `eth_`: trying transactions. Nothing here changes anything.

use alloy_eips::eip2930::AccessList;
use alloy_primitives::U256;
use revm::context::result::ExecutionResult;

use crate::rpc::access_list::access_list;
use crate::rpc::call::{Call, Method};
use crate::rpc::call_request::{BlockOverrides, CallRequest, StateOverrides};
use crate::rpc::committed::push_access_list_item;
use crate::rpc::error::RpcError;
use crate::rpc::json::Json;
use crate::rpc::limits::CALL_GAS_MAX;
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;
use crate::rpc::simulation::{Simulation, Tried, halted, reverted};
use crate::rpc::values::{BlockParam, Hex};

pub const METHODS: &[Method] = &[
    Method::read("eth_call", call),
    Method::read("eth_estimateGas", estimate_gas),
    Method::read("eth_createAccessList", create_access_list),
];

/// What the cheapest transaction costs.
const TRANSFER_GAS: u64 = 21_000;
/// What a call gives along for nothing when it carries value.
const CALL_STIPEND: u64 = 2_300;
/// An estimate may be this much too high, in thousandths.
const ESTIMATE_TOLERANCE_PERMILLE: u128 = 15;

fn simulation(
    call: &Call<'_>,
    params: &Params<'_>,
    default: BlockParam,
) -> Result<(Simulation, CallRequest), RpcError> {
    let request: CallRequest = params.required(0)?;
    let block: BlockParam = params.optional(1)?.unwrap_or(default);
    let state: Option<StateOverrides> = params.optional(2)?;
    let overrides: Option<BlockOverrides> = params.optional(3)?;
    if !call.chain().discloses_call(&request.sender(), request.to.as_ref().map(|Hex(to)| to)) {
        return Err(RpcError::new(4100, "unauthorized"));
    }
    Ok((Simulation::new(call, Some(block), state, overrides)?, request))
}

fn call(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let (mut simulation, request) = simulation(call, params, BlockParam::Latest)?;
    simulation.environment.console = call.server.ledger.chain.is_developers();
    let gas = simulation.gas_for_call(&request)?;
    let tx = simulation.env(&request, gas)?;
    match simulation.run(tx)? {
        Tried::Done(ExecutionResult::Success { output, .. }) => Ok(Json::data(output.data())),
        Tried::Done(failed) => Err(failure(&failed)),
        Tried::TooLittleGas => Err(RpcError::server(format!("intrinsic gas too low: have {gas}"))),
    }
}

fn failure(result: &ExecutionResult) -> RpcError {
    match result {
        ExecutionResult::Revert { output, .. } => reverted(output),
        ExecutionResult::Halt { reason, .. } => halted(reason),
        ExecutionResult::Success { .. } => RpcError::internal("a success taken for a failure"),
    }
}

fn estimate_gas(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let (mut simulation, request) = simulation(call, params, BlockParam::Pending)?;
    estimate(&mut simulation, &request).map(Json::quantity)
}

/// Searches for the least gas that lets the transaction succeed, to within the tolerance.
pub fn estimate(simulation: &mut Simulation, request: &CallRequest) -> Result<u64, RpcError> {
    let mut enough = allowance(simulation, request)?;
    let is_transfer = match request.to {
        Some(Hex(to)) => request.input()?.is_empty() && !simulation.has_code(&to)?,
        None => false,
    };
    let is_plain = is_transfer && request.access_list.is_none() && request.authorization_list.is_none();
    if is_plain
        && enough >= TRANSFER_GAS
        && let Some(ExecutionResult::Success { .. }) = tried(simulation, request, TRANSFER_GAS)?
    {
        return Ok(TRANSFER_GAS);
    }
    let (used, refunded) = match tried(simulation, request, enough)? {
        Some(ExecutionResult::Success { gas, .. }) => (gas.tx_gas_used(), gas.inner_refunded()),
        Some(ExecutionResult::Halt { reason, .. }) if is_out_of_gas(&reason) => return Err(beyond(enough)),
        Some(failed) => return Err(failure(&failed)),
        None => return Err(beyond(enough)),
    };
    let mut too_little = used.saturating_sub(1);
    // What the call holds back for its caller (EIP-150) and what it is refunded at the end must be there in between.
    let likely = (used + refunded + CALL_STIPEND).saturating_mul(64) / 63;
    if likely < enough {
        narrow(simulation, request, likely, &mut too_little, &mut enough)?;
    }
    while too_little + 1 < enough {
        let gap = u128::from(enough - too_little);
        if gap * 1_000 < u128::from(enough) * ESTIMATE_TOLERANCE_PERMILLE {
            break;
        }
        // Most need little more than they use, so that a low guess is the better one.
        let middle = (too_little + (enough - too_little) / 2).min(too_little.saturating_mul(2));
        narrow(simulation, request, middle, &mut too_little, &mut enough)?;
    }
    Ok(enough)
}

/// The most gas that the transaction could have.
fn allowance(simulation: &Simulation, request: &CallRequest) -> Result<u64, RpcError> {
    let asked = request.gas.map(|Hex(gas)| gas).filter(|gas| *gas >= TRANSFER_GAS);
    let limit = asked.unwrap_or(simulation.environment.block.gas_limit).min(CALL_GAS_MAX);
    Ok(limit.min(simulation.affordable_gas(request)?.unwrap_or(u64::MAX)))
}

fn narrow(
    simulation: &mut Simulation,
    request: &CallRequest,
    gas: u64,
    too_little: &mut u64,
    enough: &mut u64,
) -> Result<(), RpcError> {
    match tried(simulation, request, gas)? {
        Some(ExecutionResult::Success { .. }) => *enough = gas,
        _ => *too_little = gas,
    }
    Ok(())
}

/// `None` if that gas does not even cover the start.
fn tried(simulation: &mut Simulation, request: &CallRequest, gas: u64) -> Result<Option<ExecutionResult>, RpcError> {
    let tx = simulation.env(request, gas)?;
    Ok(match simulation.run(tx)? {
        Tried::Done(result) => Some(result),
        Tried::TooLittleGas => None,
    })
}

fn is_out_of_gas(reason: &revm::context::result::HaltReason) -> bool {
    matches!(reason, revm::context::result::HaltReason::OutOfGas(_))
}

fn beyond(allowance: u64) -> RpcError {
    RpcError::server(format!("gas required exceeds allowance ({allowance})"))
}

/// Executes again and again with the list that the last run needed, until it needs no other.
fn create_access_list(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let (mut simulation, request) = simulation(call, params, BlockParam::Latest)?;
    let gas = simulation.gas_for_call(&request)?;
    let mut tx = simulation.env(&request, gas)?;
    tx.tx_type = tx.tx_type.max(1);
    let mut list = tx.access_list.clone();
    loop {
        tx.access_list = list.clone();
        let (result, needed) = access_list(&mut simulation, tx.clone())?;
        if needed == list {
            return Ok(access_list_json(&list, &result));
        }
        list = needed;
    }
}

fn access_list_json(list: &AccessList, result: &ExecutionResult) -> Json {
    Json::object(|object| {
        object.list("accessList", list.iter(), push_access_list_item);
        if !result.is_success() {
            object.string("error", &failure(result).message);
        }
        object.quantity("gasUsed", U256::from(result.tx_gas_used()));
    })
}
