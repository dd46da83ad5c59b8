//! The state trie, in memory: a Merkle-Patricia trie whose older versions stay usable.
//!
//! Every node's parent keeps how it refers to it (hash, or its bytes when they are short); a change forgets the references on the path to it,
//! and [`Trie::root`] computes only those again, once per block however often an account changed. A clone of a [`Trie`] shares
//! its nodes, and what is changed then is copied first; a [`StateTrie`], of which the last few blocks' versions are always kept, is
//! changed where it is instead (`state`).
//!
//! ```text
//!   StateTrie ─▶ accounts: Trie ─▶ Branch ─▶ Leaf { keccak(address), nonce, balance, contract }
//!                                                                                      │
//!                                       Trie of slots ◀── storage ── Contract ◀────────┘
//! ```
//!
//! It is derived data: rebuilt from the state tables at start, and checked against every block's header. It does not store
//! itself, and it does not know the key-value store.

mod change;
mod hash;
mod node;
mod proof;
mod state;

#[cfg(test)]
mod tests;

use alloy_primitives::B256;

pub use change::AccountChange;
pub use node::{AccountLeaf, Contract, Trie, Value};
pub use state::StateTrie;

/// The root of a trie without entries.
pub const EMPTY_ROOT: B256 = alloy_trie::EMPTY_ROOT_HASH;
