//! `eth_getProof`: what the state root says about an account.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_trie::{EMPTY_ROOT_HASH, KECCAK_EMPTY, TrieAccount};

use super::state::Slot;
use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::json::{Json, Object, push_data, push_object, push_quantity};
use crate::rpc::limits::{PROOF_ROWS_MAX, SLOTS_MAX};
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;
use crate::rpc::values::{BlockParam, Hex};
use crate::state::{UNDO, Undo, apply_rows};
use crate::trie::StateTrie;

pub const METHODS: &[Method] = &[Method::read("eth_getProof", proof), Method::read("eth_getAccount", account)];

fn proof(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(address): Hex<Address> = params.required(0)?;
    let slots: Vec<Slot> = params.optional(1)?.unwrap_or_default();
    if slots.len() > SLOTS_MAX {
        return Err(RpcError::invalid_params(format!("too many slots (max {SLOTS_MAX})")));
    }
    let block: Option<BlockParam> = params.optional(2)?;
    let chain = call.chain();
    let number = chain.number(block.unwrap_or(BlockParam::Latest))?.ok_or_else(RpcError::header_not_found)?;
    // A proof of absence would be a lie, so that a denied account has no proof at all.
    if !chain.discloses_account(&address) {
        return Err(RpcError::new(-32001, "resource not found"));
    }
    let trie = trie_at(call, number)?;
    let (account, nodes) = trie.prove_account(&address);
    let account = account.unwrap_or(TrieAccount {
        nonce: 0,
        balance: U256::ZERO,
        storage_root: EMPTY_ROOT_HASH,
        code_hash: KECCAK_EMPTY,
    });
    Ok(Json::object(|object| {
        object.address("address", &address);
        push_nodes(object, "accountProof", &nodes);
        object.quantity("balance", account.balance);
        object.hash("codeHash", &account.code_hash);
        object.quantity("nonce", account.nonce);
        object.hash("storageHash", &account.storage_root);
        object.list("storageProof", &slots, |out, slot| push_slot(out, &trie, &address, slot));
    }))
}

/// An account as the state trie has it; null if there is none.
fn account(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(address): Hex<Address> = params.required(0)?;
    let block: Option<BlockParam> = params.optional(1)?;
    let chain = call.chain();
    let number = chain.number(block.unwrap_or(BlockParam::Latest))?.ok_or_else(RpcError::header_not_found)?;
    if !chain.discloses_account(&address) {
        return Ok(Json::null());
    }
    let (account, _) = trie_at(call, number)?.prove_account(&address);
    Ok(account.map_or_else(Json::null, |account| {
        Json::object(|object| {
            object.quantity("balance", account.balance);
            object.hash("codeHash", &account.code_hash);
            object.quantity("nonce", account.nonce);
            object.hash("storageRoot", &account.storage_root);
        })
    }))
}

fn push_slot(out: &mut String, trie: &StateTrie, address: &Address, slot: &Slot) {
    let (value, nodes) = trie.prove_slot(address, slot.key);
    push_object(out, |object| {
        let key = object.field("key");
        match slot.is_whole {
            true => push_data(key, B256::from(slot.key).as_slice()),
            false => push_quantity(key, slot.key),
        }
        object.quantity("value", value);
        push_nodes(object, "proof", &nodes);
    });
}

fn push_nodes(object: &mut Object<'_>, name: &str, nodes: &[Bytes]) {
    object.list(name, nodes, |out, node| push_data(out, node));
}

/// The trie of a block: the newest one, with what later blocks replaced put back.
pub fn trie_at(call: &Call<'_>, number: u64) -> Result<StateTrie, RpcError> {
    let chain = call.chain();
    let newest = chain.head()?;
    let hash = chain.hash(newest)?.unwrap_or_default();
    let trie = call.server.ledger.chain.trie(&hash);
    let mut trie = trie.ok_or_else(|| RpcError::server("this node is just deriving its state trie, ask again"))?;
    if number == newest {
        return Ok(trie);
    }
    let deadline = call.deadline();
    let too_many =
        || RpcError::limit(format!("more than {PROOF_ROWS_MAX} accounts and slots changed since that block"));
    let rows = chain.historic_state(number)?.replaced(PROOF_ROWS_MAX, || deadline.check(), too_many)?;
    let mut indexed = trie.clone();
    apply_rows(&mut indexed, rows).map_err(RpcError::internal)?;
    let header = chain.header(number)?.ok_or_else(RpcError::header_not_found)?;
    if indexed.root() == header.state_root {
        return Ok(indexed);
    }
    // Two rows of one tag: the index cannot tell them apart, the blocks can.
    for later in (number + 1..=newest).rev() {
        deadline.check()?;
        let record = chain.reader().record(&UNDO, &later.to_be_bytes()).map_err(RpcError::internal)?;
        let undo = record.and_then(|record| Undo::decode(&record));
        let undo = undo.ok_or_else(|| RpcError::internal(format!("no undo record of block {later}")))?;
        let rows = undo.rows().map(|(key, before)| (key.clone(), before.clone()));
        apply_rows(&mut trie, rows).map_err(RpcError::internal)?;
    }
    trie.root();
    Ok(trie)
}
