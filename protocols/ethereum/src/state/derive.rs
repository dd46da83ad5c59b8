//! From rows to the trie.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use bytes::Bytes;

use super::{CorruptState, decoded_account, decoded_slot};
use crate::trie::{AccountChange, StateTrie};

/// Brings the trie up to date with rows that changed, named by their keys (20 bytes for an account, 52 for a slot). `None`
/// for rows that are gone.
pub(crate) fn apply_rows(
    trie: &mut StateTrie,
    rows: impl IntoIterator<Item = (Bytes, Option<Bytes>)>,
) -> Result<(), CorruptState> {
    let mut touched: BTreeMap<Address, Touched> = BTreeMap::new();
    for (key, value) in rows {
        let Some((address, slot)) = key.split_first_chunk::<20>() else { continue };
        let address = Address::from(*address);
        let account = touched.entry(address).or_default();
        match <[u8; 32]>::try_from(slot) {
            Ok(slot) => account.slots.push((U256::from_be_bytes(slot), decoded_slot(&address, value)?)),
            Err(_) => account.row = Some(value),
        }
    }
    let mut changes = Vec::with_capacity(touched.len());
    for (address, touched) in touched {
        // An account of which only slots changed is as the trie knows it.
        let account = match touched.row {
            Some(row) => decoded_account(&address, row)?.map(|row| (row.nonce, row.balance, row.code_hash)),
            None => trie.account(&address),
        };
        changes.push((address, AccountChange { account, slots: touched.slots }));
    }
    trie.apply_all(changes);
    Ok(())
}

#[derive(Default)]
struct Touched {
    row: Option<Option<Bytes>>,
    slots: Vec<(U256, U256)>,
}
