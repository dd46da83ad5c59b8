//! Accounts, storage and code in the key-value store.
//!
//! | map | key | value |
//! |---|---|---|
//! | `ethereum.account` | address | RLP list: nonce, balance, and the code hash if there is code |
//! | `ethereum.storage` | address, slot | the value without leading zeros; a zero is absent |
//! | `ethereum.code` | code hash | bytes, written once |
//! | `ethereum.recent` | block number | its hash; the newest 256 |
//! | `ethereum.meta` | name | configuration, newest header |
//!
//! Execution sees them through [`State`], which a ledger transaction and an in-memory [`Overlay`] implement; so the same
//! code runs real blocks and simulated ones.

mod account;
mod commit;
mod derive;
mod historic;
mod overlay;
mod tables;
mod undo;

#[cfg(test)]
mod tests;

use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use coco_kv::{Snapshot, Tx};
use coco_types::MapName;

pub use account::Account;
pub(crate) use commit::{commit, set_account, set_code, set_slot};
pub(crate) use derive::apply_rows;
pub use historic::{HistoricError, HistoricState};
pub use overlay::Overlay;
pub use tables::{
    ACCOUNT, BLOCK, BLOCK_BY_HASH, CODE, META, OPERATION, PATCH, PATCHED, RECENT, SNAPSHOT, STORAGE,
    TRANSACTION_BY_HASH, UNDO,
};
pub(crate) use tables::{
    META_CONFIG, META_DEVELOPER, META_HEAD, META_REVERTED, META_SEALED_MS, META_SNAPSHOTS, OF_BLOCKS, storage_key,
};
pub(crate) use undo::Undo;

/// Tables that can be read.
pub trait ReadState: Send + Sync {
    fn value(&self, map: &MapName, key: &[u8]) -> Option<Bytes>;

    fn with_prefix(&self, map: &MapName, prefix: &[u8]) -> Vec<(Bytes, Bytes)>;
}

/// Tables that can be read and changed.
pub trait State {
    /// Reading may be recorded, hence `mut`.
    fn value(&mut self, map: &MapName, key: &[u8]) -> Option<Bytes>;

    fn with_prefix(&mut self, map: &MapName, prefix: &[u8]) -> Vec<(Bytes, Bytes)>;

    /// `None` removes the key.
    fn set(&mut self, map: &MapName, key: Bytes, value: Option<Bytes>);

    /// Keys and values written so far.
    fn written_bytes(&self) -> usize;
}

/// A value in the tables that does not decode: the store or this code is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("corrupt state: {what} of {name}")]
pub struct CorruptState {
    pub what: &'static str,
    pub name: String,
}

impl revm::database_interface::DBErrorMarker for CorruptState {}

impl dyn State + '_ {
    pub fn account(&mut self, address: &Address) -> Result<Option<Account>, CorruptState> {
        decoded_account(address, self.value(&ACCOUNT, address.as_slice()))
    }

    pub fn slot(&mut self, address: &Address, slot: U256) -> Result<U256, CorruptState> {
        decoded_slot(address, self.value(&STORAGE, &storage_key(address, slot)))
    }

    /// Empty if there is none by that hash.
    pub fn code(&mut self, code_hash: &B256) -> Bytes {
        self.value(&CODE, code_hash.as_slice()).unwrap_or_default()
    }

    /// Zero outside the newest 256.
    pub fn block_hash(&mut self, number: u64) -> B256 {
        self.value(&RECENT, &number.to_be_bytes()).and_then(|hash| B256::try_from(&hash[..]).ok()).unwrap_or_default()
    }
}

impl dyn ReadState + '_ {
    pub fn account(&self, address: &Address) -> Result<Option<Account>, CorruptState> {
        decoded_account(address, self.value(&ACCOUNT, address.as_slice()))
    }

    pub fn slot(&self, address: &Address, slot: U256) -> Result<U256, CorruptState> {
        decoded_slot(address, self.value(&STORAGE, &storage_key(address, slot)))
    }

    /// Empty if there is none by that hash.
    pub fn code(&self, code_hash: &B256) -> Bytes {
        self.value(&CODE, code_hash.as_slice()).unwrap_or_default()
    }
}

impl State for Tx {
    fn value(&mut self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        self.get(map, key)
    }

    fn with_prefix(&mut self, map: &MapName, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.prefix(map, prefix).collect()
    }

    fn set(&mut self, map: &MapName, key: Bytes, value: Option<Bytes>) {
        match value {
            Some(value) => self.put(map, key, value),
            None => self.remove(map, key),
        }
    }

    fn written_bytes(&self) -> usize {
        self.write_bytes()
    }
}

impl ReadState for Snapshot {
    fn value(&self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        self.get(map, key)
    }

    fn with_prefix(&self, map: &MapName, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        self.prefix(map, prefix).collect()
    }
}

fn decoded_account(address: &Address, value: Option<Bytes>) -> Result<Option<Account>, CorruptState> {
    let corrupt = || CorruptState { what: "account", name: address.to_string() };
    value.map(|value| Account::decode(&value).ok_or_else(corrupt)).transpose()
}

fn decoded_slot(address: &Address, value: Option<Bytes>) -> Result<U256, CorruptState> {
    let corrupt = || CorruptState { what: "storage", name: address.to_string() };
    value.map_or(Ok(U256::ZERO), |value| U256::try_from_be_slice(&value).ok_or_else(corrupt))
}
