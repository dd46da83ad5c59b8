//! Going back, and carrying a state from one chain to another.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use coco_protocol::{Caller, Submitted, Until};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::operate;
use crate::block::BlockRecord;
use crate::developer::{AfterRevert, LoadedAccount, Operation, Revert, Snapshot};
use crate::rpc::call::{Call, Method};
use crate::rpc::error::{RpcError, accepted};
use crate::rpc::json::Json;
use crate::rpc::limits::{READ_MS_MAX, RESPONSE_BYTES_MAX};
use crate::rpc::params::Params;
use crate::rpc::reply::{Answer, Responder};
use crate::rpc::server::Server;
use crate::rpc::values::{Hex, Loose};
use crate::state::{ACCOUNT, Account, BLOCK, ReadState, STORAGE, UNDO, Undo};

pub const METHODS: &[Method] = &[
    Method::later("evm_snapshot", snapshot).for_developers(),
    Method::later("anvil_snapshot", snapshot).for_developers(),
    Method::later("evm_revert", revert).for_developers(),
    Method::later("anvil_revert", revert).for_developers(),
    Method::later("hardhat_reset", reset).for_developers(),
    Method::later("anvil_reset", reset).for_developers(),
    Method::later("anvil_rollback", rollback).for_developers(),
    Method::read("hardhat_dumpState", dump).for_developers(),
    Method::read("anvil_dumpState", dump).for_developers(),
    Method::later("hardhat_loadState", load).for_developers(),
    Method::later("anvil_loadState", load).for_developers(),
];

/// A dumped state without its packing, bytes: more than a ledger transaction can hold of it.
const DUMP_BYTES_MAX: u64 = 64 << 20;

/// How often the way back is looked up while blocks are being made.
const ATTEMPTS_MAX: u32 = 20;

fn snapshot(call: &Call<'_>, _: &Params<'_>, responder: Responder) {
    operate(call, Ok(vec![Operation::Snapshot]), responder);
}

/// False for an id that is not known, or was used.
fn revert(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let found =
        params.required(0).map(|Loose(id)| (id, Snapshot::committed(call.reader().state() as &dyn ReadState, id)));
    match found {
        Ok((id, Some(snapshot))) => go_back(call, snapshot.number, AfterRevert::Snapshot(id), responder),
        Ok((_, None)) => responder.send(Ok(Json::bool(false))),
        Err(error) => responder.send(Err(error)),
    }
}

/// To block 0. Other chains are not forked.
fn reset(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Options {
        forking: Option<Forking>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Forking {
        json_rpc_url: Option<String>,
    }
    match params.optional::<Options>(0) {
        Ok(Some(Options { forking: Some(Forking { json_rpc_url: Some(_) }) })) => {
            responder.send(Err(RpcError::invalid_params("forking of other chains is not offered")));
        }
        Ok(_) => go_back(call, 0, AfterRevert::Fresh, responder),
        Err(error) => responder.send(Err(error)),
    }
}

/// So many blocks back, or one.
fn rollback(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let target = || {
        let blocks = params.optional(0)?.map_or(1, |Loose(blocks)| blocks);
        let head = call.chain().head()?;
        head.checked_sub(blocks)
            .ok_or_else(|| RpcError::invalid_params(format!("rollback of {blocks} blocks: the chain has {head}")))
    };
    match target() {
        Ok(number) => go_back(call, number, AfterRevert::Same, responder),
        Err(error) => responder.send(Err(error)),
    }
}

fn go_back(call: &Call<'_>, number: u64, then: AfterRevert, responder: Responder) {
    attempt(call.server.clone(), call.caller.clone(), (number, then), ATTEMPTS_MAX, responder);
}

/// Blocks may be made while the way back is looked up: then it is looked up again.
fn attempt(server: Arc<Server>, caller: Caller, to: (u64, AfterRevert), attempts: u32, responder: Responder) {
    let holds = Default::default();
    let found = way_back(&Call::new(&server, &caller, None, &holds, READ_MS_MAX), to.0, to.1);
    let revert = match found {
        Ok(revert) => Operation::Revert(Box::new(revert)),
        Err(error) => return responder.send(Err(error)),
    };
    let admitted = vec![revert.admitted(server.fresh_id().into(), caller.clone())];
    let again = server.clone();
    let reply = move |answers: Vec<Submitted>| match answers.into_iter().next().map_or(Ok(()), accepted) {
        Ok(()) => {
            again.ledger.held.clear();
            responder.send(Ok(Json::bool(true)));
        }
        Err(error) if error.is_limit() && attempts > 1 => {
            // What is executed before this, which changes nothing, is committed and readable once this is.
            let nothing = Operation::Load(BTreeMap::new()).admitted(again.fresh_id().into(), caller.clone());
            let handle = again.handle.clone();
            let then = move |_: Vec<Submitted>| attempt(again, caller, to, attempts - 1, responder);
            handle.submit(vec![nothing], Until::Committed, Box::new(then));
        }
        Err(error) => responder.send(Err(error)),
    };
    server.handle.submit(admitted, Until::Committed, Box::new(reply));
}

/// What the history knows of the way back to a block.
fn way_back(call: &Call<'_>, to: u64, then: AfterRevert) -> Result<Revert, RpcError> {
    let (chain, reader) = (call.chain(), call.reader());
    let head = chain.head()?;
    let missing = || RpcError::internal("a block of the chain is missing");
    let mut rows = BTreeMap::new();
    for number in (to + 1..=head).rev() {
        let record = reader.record(&UNDO, &number.to_be_bytes()).map_err(RpcError::internal)?.ok_or_else(missing)?;
        let undo = Undo::decode(&record).ok_or_else(missing)?;
        rows.extend(undo.rows().map(|(key, before)| (key.clone(), before.clone())));
    }
    let record = reader.record(&BLOCK, &to.to_be_bytes()).map_err(RpcError::internal)?.ok_or_else(missing)?;
    let record = BlockRecord::decode(record).ok_or_else(missing)?;
    let mut recent = BTreeMap::new();
    for number in to.saturating_sub(255)..=to {
        recent.insert(number, chain.hash(number)?.ok_or_else(missing)?);
    }
    Ok(Revert {
        head: chain.hash(head)?.ok_or_else(missing)?,
        to,
        header: record.header().ok_or_else(missing)?,
        sealed_ms: record.sealed_ms(),
        rows,
        recent,
        then,
    })
}

/// The accounts of a state, in the form that anvil writes: JSON, compressed by gzip.
#[derive(Serialize, Deserialize)]
struct Dump {
    accounts: BTreeMap<Address, DumpedAccount>,
    /// Blocks are not dumped, and not loaded; anvil wants it said.
    #[serde(skip_deserializing)]
    block: Option<u64>,
    #[serde(skip_deserializing)]
    best_block_number: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct DumpedAccount {
    nonce: u64,
    balance: U256,
    code: Bytes,
    #[serde(default)]
    storage: BTreeMap<B256, B256>,
}

/// The whole state, hex.
fn dump(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let state = call.reader().state();
    let read: &dyn ReadState = state;
    let mut accounts = BTreeMap::new();
    let mut bytes = 0;
    for (key, row) in state.iter(&ACCOUNT) {
        call.deadline().check()?;
        let damaged = || RpcError::internal("a row does not decode");
        let account = Account::decode(&row).ok_or_else(damaged)?;
        let code = if account.has_code() { read.code(&account.code_hash) } else { Default::default() };
        let slot = |(key, value): (bytes::Bytes, bytes::Bytes)| {
            (B256::from_slice(&key[20..]), B256::left_padding_from(&value))
        };
        let storage: BTreeMap<B256, B256> = state.prefix(&STORAGE, &key).map(slot).collect();
        bytes += 200 + code.len() * 2 + storage.len() * 140;
        if bytes * 2 > RESPONSE_BYTES_MAX {
            return Err(RpcError::response_too_large());
        }
        let dumped = DumpedAccount { nonce: account.nonce, balance: account.balance, code: code.into(), storage };
        accounts.insert(Address::from_slice(&key), dumped);
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut packed, &Dump { accounts, block: None, best_block_number: None })
        .map_err(RpcError::internal)?;
    Ok(Json::string(&hex::encode_prefixed(packed.finish().map_err(RpcError::internal)?)))
}

/// What was dumped, packed or not.
fn unpacked(bytes: &[u8]) -> Result<Dump, String> {
    if bytes.first() == Some(&b'{') {
        return serde_json::from_slice(bytes).map_err(|error| error.to_string());
    }
    let mut json = Vec::new();
    let read = GzDecoder::new(bytes).take(DUMP_BYTES_MAX + 1).read_to_end(&mut json);
    read.map_err(|error| error.to_string())?;
    if json.len() as u64 > DUMP_BYTES_MAX {
        return Err(format!("more than {DUMP_BYTES_MAX} bytes"));
    }
    serde_json::from_slice(&json).map_err(|error| error.to_string())
}

fn load(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let operation = || {
        let Hex(bytes): Hex<Bytes> = params.required(0)?;
        let dump =
            unpacked(&bytes).map_err(|error| RpcError::invalid_argument(0, format!("not a dumped state: {error}")))?;
        let account = |dumped: DumpedAccount| LoadedAccount {
            balance: dumped.balance,
            nonce: dumped.nonce,
            code: dumped.code,
            storage: dumped.storage.into_iter().map(|(slot, value)| (slot.into(), value.into())).collect(),
        };
        let accounts = dump.accounts.into_iter().map(|(address, dumped)| (address, account(dumped))).collect();
        Ok(vec![Operation::Load(accounts)])
    };
    operate(call, operation(), responder);
}
