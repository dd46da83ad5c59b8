//! What a block does to an account, and the way back.

use alloy_primitives::{B256, U256, keccak256};
use alloy_trie::KECCAK_EMPTY;

use super::node::{AccountLeaf, Contract, Trie, Value};

/// What a block did to one account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AccountChange {
    /// Nonce, balance and code hash after the block; `None` if the account is gone.
    pub account: Option<(u64, U256, B256)>,
    /// New values; zero removes a slot. A wipe names every slot that there was.
    pub slots: Vec<(U256, U256)>,
}

/// What an account was before a change.
pub(super) struct Replaced {
    key: B256,
    before: Before,
}

enum Before {
    Absent,
    /// It is gone now.
    Whole(AccountLeaf),
    /// It was there, and these slots, by their hashes, had these values.
    Changed {
        nonce: u64,
        balance: U256,
        code_hash: B256,
        slots: Vec<(B256, U256)>,
    },
}

impl AccountChange {
    /// To the account whose address has this hash.
    pub(super) fn apply(self, accounts: &mut Trie, key: B256) -> Replaced {
        let Some((nonce, balance, code_hash)) = self.account else {
            let before = match accounts.value(&key) {
                Some(Value::Account(leaf)) => Before::Whole(leaf.clone()),
                _ => Before::Absent,
            };
            accounts.remove(&key);
            return Replaced { key, before };
        };
        let slots = self.slots.into_iter().map(|(slot, value)| (keccak256(B256::from(slot)), value));
        let before = match accounts.value_mut(&key) {
            Some(Value::Account(leaf)) => {
                let (nonce_before, balance_before, code_hash_before) = (leaf.nonce, leaf.balance, leaf.code_hash());
                let slots = leaf.change(nonce, balance, code_hash, slots);
                Before::Changed { nonce: nonce_before, balance: balance_before, code_hash: code_hash_before, slots }
            }
            _ => {
                let mut leaf = AccountLeaf::default();
                leaf.change(nonce, balance, code_hash, slots);
                accounts.insert(key, Value::Account(leaf));
                Before::Absent
            }
        };
        Replaced { key, before }
    }
}

impl Replaced {
    pub(super) fn put_back(&self, accounts: &mut Trie) {
        match &self.before {
            Before::Absent => drop(accounts.remove(&self.key)),
            Before::Whole(leaf) => accounts.insert(self.key, Value::Account(leaf.clone())),
            Before::Changed { nonce, balance, code_hash, slots } => {
                if let Some(Value::Account(leaf)) = accounts.value_mut(&self.key) {
                    leaf.change(*nonce, *balance, *code_hash, slots.iter().rev().copied());
                }
            }
        }
    }
}

impl AccountLeaf {
    pub(super) fn code_hash(&self) -> B256 {
        self.contract.as_ref().map_or(KECCAK_EMPTY, |contract| contract.code_hash)
    }

    /// Gives what the slots were.
    fn change(
        &mut self,
        nonce: u64,
        balance: U256,
        code_hash: B256,
        slots: impl ExactSizeIterator<Item = (B256, U256)>,
    ) -> Vec<(B256, U256)> {
        (self.nonce, self.balance) = (nonce, balance);
        if self.contract.is_none() && code_hash == KECCAK_EMPTY && slots.len() == 0 {
            return Vec::new();
        }
        let contract = self.contract.get_or_insert_with(|| Box::new(Contract { code_hash, storage: Trie::default() }));
        contract.code_hash = code_hash;
        let before = slots.map(|(slot, value)| (slot, contract.storage.set_slot(slot, value))).collect();
        if code_hash == KECCAK_EMPTY && contract.storage.is_empty() {
            self.contract = None;
        }
        before
    }
}

impl Trie {
    /// Zero if it is absent.
    pub(super) fn slot(&self, key: &B256) -> U256 {
        match self.value(key) {
            Some(Value::Slot(value)) => *value,
            _ => U256::ZERO,
        }
    }

    /// Gives what it was.
    fn set_slot(&mut self, key: B256, value: U256) -> U256 {
        if value.is_zero() {
            let before = self.slot(&key);
            self.remove(&key);
            return before;
        }
        if let Some(Value::Slot(slot)) = self.value_mut(&key) {
            return std::mem::replace(slot, value);
        }
        self.insert(key, Value::Slot(value));
        U256::ZERO
    }
}
