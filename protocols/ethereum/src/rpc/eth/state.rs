//! `eth_`: accounts, code and storage.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use serde::Deserialize;

use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::json::{Json, push_data};
use crate::rpc::limits::SLOTS_MAX;
use crate::rpc::params::Params;
use crate::rpc::pool::ask;
use crate::rpc::pool_questions::PoolQuestion;
use crate::rpc::reply::{Answer, Responder};
use crate::rpc::values::{BlockParam, Hex};
use crate::state::Account;

pub const METHODS: &[Method] = &[
    Method::read("eth_getBalance", balance),
    Method::later("eth_getTransactionCount", transaction_count),
    Method::read("eth_getCode", code),
    Method::read("eth_getAccountInfo", account_info),
    Method::read("eth_getStorageAt", storage_at),
    Method::read("eth_getStorageValues", storage_values),
];

/// A storage slot: a number, or up to 32 bytes.
pub struct Slot {
    pub key: U256,
    /// Written with all its 64 digits, and to be answered so.
    pub is_whole: bool,
}

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if text.len() > 66 {
            return Err(D::Error::custom("storage key too long (want at most 32 bytes)"));
        }
        let Hex(key) = Hex::parse(&text).map_err(D::Error::custom)?;
        Ok(Self { key, is_whole: text.len() == 66 })
    }
}

/// The account, or an empty one if there is none that the caller may see.
fn account(call: &Call<'_>, address: &Address, block: Option<BlockParam>) -> Result<Account, RpcError> {
    let chain = call.chain();
    let state = chain.state(block)?;
    if !chain.discloses_account(address) {
        return Ok(Account::default());
    }
    Ok(state.account(address).map_err(RpcError::internal)?.unwrap_or_default())
}

fn balance(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(address) = params.required(0)?;
    Ok(Json::quantity(account(call, &address, params.optional(1)?)?.balance))
}

fn transaction_count(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let read = || {
        let Hex(address) = params.required(0)?;
        let block: Option<BlockParam> = params.optional(1)?;
        Ok((address, block, account(call, &address, block)?.nonce))
    };
    match read() {
        Err(error) => responder.send(Err(error)),
        Ok((address, Some(BlockParam::Pending), committed)) if call.chain().discloses_account(&address) => {
            ask(call.server, call.caller, &PoolQuestion::NextNonce(address), move |next: Result<u64, _>| {
                // Without a primary nothing is pending.
                responder.send(Ok(Json::quantity(next.unwrap_or(0).max(committed))));
            });
        }
        Ok((_, _, nonce)) => responder.send(Ok(Json::quantity(nonce))),
    }
}

fn code(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(address) = params.required(0)?;
    let block: Option<BlockParam> = params.optional(1)?;
    let account = account(call, &address, block)?;
    if !account.has_code() {
        return Ok(Json::data(&[]));
    }
    Ok(Json::data(&call.chain().state(block)?.code(&account.code_hash)))
}

/// Balance, nonce and code in one answer.
fn account_info(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(address) = params.required(0)?;
    let block: Option<BlockParam> = params.optional(1)?;
    let account = account(call, &address, block)?;
    let code =
        if account.has_code() { call.chain().state(block)?.code(&account.code_hash) } else { Default::default() };
    Ok(Json::object(|object| {
        object.quantity("balance", account.balance);
        object.quantity("nonce", account.nonce);
        object.data("code", &code);
    }))
}

fn storage_at(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(address) = params.required(0)?;
    let slot: Slot = params.required(1)?;
    let chain = call.chain();
    let state = chain.state(params.optional(2)?)?;
    if !chain.discloses_account(&address) {
        return Ok(Json::data(&[0; 32]));
    }
    let value = state.slot(&address, slot.key).map_err(RpcError::internal)?;
    Ok(Json::data(&value.to_be_bytes::<32>()))
}

fn storage_values(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let wanted: BTreeMap<Hex<Address>, Vec<Slot>> = params.required(0)?;
    let slots: usize = wanted.values().map(Vec::len).sum();
    if slots == 0 {
        return Err(RpcError::invalid_params("empty request"));
    }
    if slots > SLOTS_MAX {
        return Err(RpcError::invalid_params(format!("too many slots (max {SLOTS_MAX})")));
    }
    let chain = call.chain();
    let state = chain.state(params.optional(1)?)?;
    let mut values = Vec::with_capacity(wanted.len());
    for (Hex(address), slots) in wanted {
        let seen = chain.discloses_account(&address);
        let value = |slot: &Slot| if seen { state.slot(&address, slot.key) } else { Ok(U256::ZERO) };
        let of_account: Result<Vec<U256>, _> = slots.iter().map(value).collect();
        values.push((address, of_account.map_err(RpcError::internal)?));
    }
    Ok(Json::object(|object| {
        for (address, values) in values {
            let name = alloy_primitives::hex::encode_prefixed(address);
            object.list(&name, values, |out, value| push_data(out, B256::from(value).as_slice()));
        }
    }))
}
