//! From what the EVM changed to rows.

use alloy_primitives::{Address, Bytes as EvmBytes, U256};
use alloy_trie::KECCAK_EMPTY;
use bytes::Bytes;
use revm::primitives::hardfork::SpecId;
use revm::state::{Account as EvmAccount, EvmState};

use super::{ACCOUNT, Account, CODE, STORAGE, State, Undo, storage_key};

/// Writes the changes of one transaction or system call, and notes what they replaced.
pub(crate) fn commit(state: &mut dyn State, spec: SpecId, changes: EvmState, undo: &mut Undo) {
    for (address, account) in changes {
        if account.is_touched() {
            commit_account(state, spec, &address, &account, undo);
        }
    }
}

fn commit_account(state: &mut dyn State, spec: SpecId, address: &Address, account: &EvmAccount, undo: &mut Undo) {
    // EIP-161: empty accounts do not exist. Before it, those that were created did.
    let gone = account.is_selfdestructed()
        || account.is_empty() && (spec.is_enabled_in(SpecId::SPURIOUS_DRAGON) || !account.is_created());
    if gone || account.is_created() {
        wipe_storage(state, address, undo);
    }
    if gone {
        return set(state, &ACCOUNT, Bytes::copy_from_slice(address.as_slice()), None, undo);
    }
    for (slot, value) in account.changed_storage_slots() {
        set_slot(state, address, *slot, value.present_value, undo);
    }
    let info = &account.info;
    // Code comes with creation and with delegation (EIP-7702); loaded code is stored already.
    if let Some(code) = info.code.as_ref().filter(|code| account.is_created() || code.is_eip7702()) {
        set_code(state, info.code_hash, &code.original_bytes());
    }
    set_account(state, address, &Account { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }, undo);
}

pub(crate) fn set_account(state: &mut dyn State, address: &Address, account: &Account, undo: &mut Undo) {
    set(state, &ACCOUNT, Bytes::copy_from_slice(address.as_slice()), Some(account.encode()), undo);
}

pub(crate) fn set_slot(state: &mut dyn State, address: &Address, slot: U256, value: U256, undo: &mut Undo) {
    let value = (!value.is_zero()).then(|| Bytes::from(value.to_be_bytes_trimmed_vec()));
    set(state, &STORAGE, storage_key(address, slot), value, undo);
}

pub(crate) fn set_code(state: &mut dyn State, hash: alloy_primitives::B256, code: &EvmBytes) {
    if hash != KECCAK_EMPTY && state.value(&CODE, hash.as_slice()).is_none() {
        state.set(&CODE, Bytes::copy_from_slice(hash.as_slice()), Some(code.0.clone()));
    }
}

fn wipe_storage(state: &mut dyn State, address: &Address, undo: &mut Undo) {
    for (key, value) in state.with_prefix(&STORAGE, address.as_slice()) {
        undo.note(&key, Some(value));
        state.set(&STORAGE, key, None);
    }
}

/// Rows that keep their value are not written: they would only make the ledger longer.
fn set(state: &mut dyn State, map: &coco_types::MapName, key: Bytes, value: Option<Bytes>, undo: &mut Undo) {
    let before = state.value(map, &key);
    if before != value {
        undo.note(&key, before);
        state.set(map, key, value);
    }
}
