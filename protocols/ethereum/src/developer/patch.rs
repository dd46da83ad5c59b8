//! Rows that changed outside of a block, and what they were.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256, keccak256};
use bytes::Bytes;
use coco_kv::Tx;

use crate::state::{ACCOUNT, Account, PATCH, PATCHED, ReadState, STORAGE, State, Undo, set_code, storage_key};

/// Changes a row, and notes what it was after the newest block.
pub(super) fn patch(tx: &mut Tx, key: Bytes, value: Option<Bytes>) {
    let map = if key.len() == 20 { ACCOUNT } else { STORAGE };
    let before = tx.get(&map, &key);
    if before == value {
        return;
    }
    if tx.get(&PATCH, &key).is_none() {
        tx.put(&PATCH, key.clone(), encode(before));
    }
    State::set(tx, &map, key, value);
}

/// Makes an account's row this; one that says nothing is removed.
pub(super) fn patch_account(tx: &mut Tx, address: &Address, account: &Account) {
    let row = (*account != Account::default()).then(|| account.encode());
    patch(tx, Bytes::copy_from_slice(address.as_slice()), row);
}

pub(super) fn patch_code(tx: &mut Tx, account: &mut Account, code: &alloy_primitives::Bytes) {
    account.code_hash = keccak256(code);
    set_code(tx, account.code_hash, code);
}

pub(super) fn patch_slot(tx: &mut Tx, address: &Address, slot: U256, value: U256) {
    let value = (!value.is_zero()).then(|| Bytes::from(value.to_be_bytes_trimmed_vec()));
    patch(tx, storage_key(address, slot), value);
}

/// What the patched rows were.
pub(crate) fn patched_rows(state: &dyn ReadState) -> BTreeMap<Bytes, Option<Bytes>> {
    state.with_prefix(&PATCH, &[]).into_iter().map(|(key, before)| (key, decode(&before))).collect()
}

/// The same, for whoever changes them: they are no patches any more.
pub(super) fn take(state: &mut dyn State) -> BTreeMap<Bytes, Option<Bytes>> {
    let patches = state.with_prefix(&PATCH, &[]);
    for (key, _) in &patches {
        state.set(&PATCH, key.clone(), None);
    }
    patches.into_iter().map(|(key, before)| (key, decode(&before))).collect()
}

/// The patches become part of the block that is being opened; what they made of the rows is kept for whoever executes it again.
pub(crate) fn adopt(state: &mut dyn State, number: u64) -> Undo {
    let (mut undo, mut patched) = (Undo::default(), Undo::default());
    for (key, before) in take(state) {
        let map = if key.len() == 20 { ACCOUNT } else { STORAGE };
        patched.note(&key, state.value(&map, &key));
        undo.note(&key, before);
    }
    if undo.bytes() > 0 {
        state.set(&PATCHED, Bytes::copy_from_slice(&number.to_be_bytes()), Some(patched.encode()));
    }
    undo
}

/// Puts what [`adopt`] kept onto the state before the block.
pub(crate) fn put_back(state: &mut dyn State, record: &[u8]) -> Option<()> {
    for (key, value) in Undo::decode(record)?.rows() {
        let map = if key.len() == 20 { ACCOUNT } else { STORAGE };
        state.set(&map, key.clone(), value.clone());
    }
    Some(())
}

/// A first byte tells an absent row from an empty value.
fn encode(before: Option<Bytes>) -> Bytes {
    let mut out = vec![u8::from(before.is_some())];
    out.extend_from_slice(&before.unwrap_or_default());
    out.into()
}

fn decode(value: &Bytes) -> Option<Bytes> {
    (value.first() == Some(&1)).then(|| value.slice(1..))
}
