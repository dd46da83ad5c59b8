//! The trie of accounts, with a trie of slots below each contract, and its versions.
//!
//! A block changes the trie where it is. Whoever holds the version before it then has a way there from the newer one: what the block replaced.
//! So a block costs no more for what is kept of its predecessors, which few ask for, than a list of what it changed.
//!
//! ```text
//!   version 1 ── what block 2 replaced ──▶ version 2 ── what block 3 replaced ──▶ version 3: the trie
//! ```

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::TrieAccount;
use parking_lot::Mutex;

use super::change::{AccountChange, Replaced};
use super::node::{AccountLeaf, Trie, Value};

/// Accounts whose ways are fetched, and then changed: what that touches fits the processor's own caches.
const CHANGES_AT_ONCE: usize = 64;

/// The state trie of one block. Cloning it is cheap and keeps this version.
#[derive(Clone)]
pub struct StateTrie {
    version: Arc<Mutex<Version>>,
}

enum Version {
    /// The accounts.
    Here(Trie),
    /// The accounts are with a later version, which came of this one.
    Behind { later: Arc<Mutex<Version>>, replaced: Arc<[Replaced]> },
}

impl StateTrie {
    fn new(accounts: Trie) -> Self {
        Self { version: Arc::new(Mutex::new(Version::Here(accounts))) }
    }

    /// Nonce, balance and code hash of an account.
    pub fn account(&self, address: &Address) -> Option<(u64, U256, B256)> {
        self.read(|accounts| match accounts.value(&keccak256(address)) {
            Some(Value::Account(leaf)) => Some((leaf.nonce, leaf.balance, leaf.code_hash())),
            _ => None,
        })
    }

    pub fn apply(&mut self, address: &Address, change: &AccountChange) {
        self.apply_all([(*address, change.clone())]);
    }

    /// Makes this handle the version after these changes.
    pub fn apply_all(&mut self, changes: impl IntoIterator<Item = (Address, AccountChange)>) {
        if let Some(Version::Here(accounts)) = Arc::get_mut(&mut self.version).map(Mutex::get_mut) {
            // Nobody else has this version.
            return change(accounts, changes, drop);
        }
        let mut version = self.version.lock();
        let Version::Here(accounts) = &mut *version else {
            drop(version);
            let mut accounts = self.accounts();
            change(&mut accounts, changes, drop);
            *self = Self::new(accounts);
            return;
        };
        let mut accounts = std::mem::take(accounts);
        let mut replaced = Vec::new();
        change(&mut accounts, changes, |before| replaced.push(before));
        let later = Self::new(accounts);
        *version = Version::Behind { later: Arc::clone(&later.version), replaced: replaced.into() };
        drop(version);
        *self = later;
    }

    /// This version by itself, hashed: what is asked of it, or applied to it, concerns nobody else.
    pub fn apart(&self) -> Self {
        let mut accounts = self.accounts();
        accounts.root();
        Self::new(accounts)
    }

    /// Hashes what changed, and gives the state root.
    pub fn root(&mut self) -> B256 {
        if let Version::Here(accounts) = &mut *self.version.lock() {
            return accounts.root();
        }
        let mut accounts = self.accounts();
        let root = accounts.root();
        *self = Self::new(accounts);
        root
    }

    /// Proves an account, or that there is none. The trie must be hashed.
    pub fn prove_account(&self, address: &Address) -> (Option<TrieAccount>, Vec<Bytes>) {
        let key = keccak256(address);
        self.read(|accounts| {
            let account = match accounts.value(&key) {
                Some(Value::Account(leaf)) => Some(leaf.to_trie_account()),
                _ => None,
            };
            (account, accounts.prove(&key))
        })
    }

    /// Proves a slot, or that it is zero. The trie must be hashed.
    pub fn prove_slot(&self, address: &Address, slot: U256) -> (U256, Vec<Bytes>) {
        self.read(|accounts| {
            let Some(Value::Account(AccountLeaf { contract: Some(contract), .. })) =
                accounts.value(&keccak256(address))
            else {
                return (U256::ZERO, Vec::new());
            };
            let key = keccak256(B256::from(slot));
            (contract.storage.slot(&key), contract.storage.prove(&key))
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Trie) -> T) -> T {
        if let Version::Here(accounts) = &*self.version.lock() {
            return read(accounts);
        }
        read(&self.accounts())
    }

    /// The accounts of this version, shared with nobody that would see a change of them.
    fn accounts(&self) -> Trie {
        let mut steps = Vec::new();
        let mut version = Arc::clone(&self.version);
        let mut accounts = loop {
            let later = match &*version.lock() {
                Version::Here(accounts) => break accounts.clone(),
                Version::Behind { later, replaced } => {
                    steps.push(Arc::clone(replaced));
                    Arc::clone(later)
                }
            };
            version = later;
        };
        for replaced in steps.iter().rev().flat_map(|step| step.iter().rev()) {
            replaced.put_back(&mut accounts);
        }
        accounts
    }
}

/// Applies changes, some at a time; `replaced` is given what they replaced.
fn change(
    accounts: &mut Trie,
    changes: impl IntoIterator<Item = (Address, AccountChange)>,
    mut replaced: impl FnMut(Replaced),
) {
    let mut changes = changes.into_iter().map(|(address, change)| (keccak256(address), change));
    loop {
        let some: Vec<_> = changes.by_ref().take(CHANGES_AT_ONCE).collect();
        if some.is_empty() {
            return;
        }
        accounts.preload(some.iter().map(|(key, _)| key));
        some.into_iter().for_each(|(key, change)| replaced(change.apply(accounts, key)));
    }
}

impl Default for StateTrie {
    fn default() -> Self {
        Self::new(Trie::default())
    }
}

/// Two tries are equal if they hold the same accounts.
impl PartialEq for StateTrie {
    fn eq(&self, other: &Self) -> bool {
        self.accounts() == other.accounts()
    }
}

impl Eq for StateTrie {}

impl std::fmt::Debug for StateTrie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.accounts().fmt(f)
    }
}
