//! Ethereum as a hosted ledger protocol.
//!
//! ```text
//!   transaction ── decoded, sender recovered ──▶ execute (revm) ──▶ state (tables in the key-value store)
//!                                                    │                   │ rows that changed
//!                                                  block ◀── roots ── trie (derived, in memory)
//! ```

pub mod block;
pub mod execute;
pub mod fork;
pub mod network;
pub mod state;
pub mod transaction;
pub mod trie;

#[cfg(test)]
mod testing;
