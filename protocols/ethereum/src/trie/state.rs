//! The trie of accounts, with a trie of slots below each contract.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::{KECCAK_EMPTY, TrieAccount};

use super::node::{AccountLeaf, Contract, Trie, Value};

/// The state trie of one block. Cloning it is cheap and keeps this version.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct StateTrie {
    accounts: Trie,
}

/// What a block did to one account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountChange {
    /// Nonce, balance and code hash after the block; `None` if the account is gone.
    pub account: Option<(u64, U256, B256)>,
    /// New values; zero removes a slot. A wipe names every slot that there was.
    pub slots: Vec<(U256, U256)>,
}

impl StateTrie {
    /// Nonce, balance and code hash of an account.
    pub fn account(&self, address: &Address) -> Option<(u64, U256, B256)> {
        match self.accounts.value(&keccak256(address)) {
            Some(Value::Account(leaf)) => {
                let code_hash = leaf.contract.as_ref().map_or(KECCAK_EMPTY, |contract| contract.code_hash);
                Some((leaf.nonce, leaf.balance, code_hash))
            }
            _ => None,
        }
    }

    pub fn apply(&mut self, address: &Address, change: &AccountChange) {
        let key = keccak256(address);
        let Some((nonce, balance, code_hash)) = change.account else {
            self.accounts.remove(&key);
            return;
        };
        let mut storage = match self.accounts.value(&key) {
            Some(Value::Account(AccountLeaf { contract: Some(contract), .. })) => contract.storage.clone(),
            _ => Trie::default(),
        };
        for (slot, value) in &change.slots {
            let slot = keccak256(B256::from(*slot));
            match value.is_zero() {
                true => drop(storage.remove(&slot)),
                false => storage.insert(slot, Value::Slot(*value)),
            }
        }
        let plain = code_hash == KECCAK_EMPTY && storage.is_empty();
        let contract = (!plain).then(|| Box::new(Contract { code_hash, storage }));
        self.accounts.insert(key, Value::Account(AccountLeaf { nonce, balance, contract }));
    }

    /// Hashes what changed, and gives the state root.
    pub fn root(&mut self) -> B256 {
        self.accounts.root()
    }

    /// Proves an account, or that there is none. The trie must be hashed.
    pub fn prove_account(&self, address: &Address) -> (Option<TrieAccount>, Vec<Bytes>) {
        let key = keccak256(address);
        let account = match self.accounts.value(&key) {
            Some(Value::Account(leaf)) => Some(leaf.to_trie_account()),
            _ => None,
        };
        (account, self.accounts.prove(&key))
    }

    /// Proves a slot, or that it is zero. The trie must be hashed.
    pub fn prove_slot(&self, address: &Address, slot: U256) -> (U256, Vec<Bytes>) {
        let Some(Value::Account(AccountLeaf { contract: Some(contract), .. })) =
            self.accounts.value(&keccak256(address))
        else {
            return (U256::ZERO, Vec::new());
        };
        let key = keccak256(B256::from(slot));
        let value = match contract.storage.value(&key) {
            Some(Value::Slot(value)) => *value,
            _ => U256::ZERO,
        };
        (value, contract.storage.prove(&key))
    }
}
