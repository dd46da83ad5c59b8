//! The state trie, in memory: a Merkle-Patricia trie whose old versions stay usable.
//!
//! Nodes are shared between versions, so that a version costs what changed since the one before it: an uncommitted block
//! is undone by keeping the older handle, and a simulation works on a clone. Every node caches how its parent refers to it
//! (hash, or its bytes when they are short); a change forgets the references on the path to it, and [`Trie::root`] computes
//! only those again, once per block however often an account changed.
//!
//! ```text
//!   StateTrie ─▶ accounts: Trie ─▶ Branch ─▶ Leaf { keccak(address), nonce, balance, contract }
//!                                                                                      │
//!                                       Trie of slots ◀── storage ── Contract ◀────────┘
//! ```
//!
//! It is derived data: rebuilt from the state tables at start, and checked against every block's header. It does not store
//! itself, and it does not know the key-value store.

mod hash;
mod node;
mod proof;
mod state;

#[cfg(test)]
mod tests;

use alloy_primitives::B256;

pub use node::{AccountLeaf, Contract, Trie, Value};
pub use state::{AccountChange, StateTrie};

/// The root of a trie without entries.
pub const EMPTY_ROOT: B256 = alloy_trie::EMPTY_ROOT_HASH;
