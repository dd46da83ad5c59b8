//! Ethereum as a hosted ledger protocol.
//!
//! ```text
//!   transaction ── decoded, sender recovered ──▶ execute (revm) ──▶ state (tables in the key-value store)
//!                                                    │                   │ rows that changed
//!                   pool ── one run, one block ──▶ block ◀── roots ── trie (derived, in memory)
//!                                                    │
//!                                  rpc ◀── events ◀──┘ committed
//! ```
//!
//! [`Ethereum`] is the ledger at the framework's seam; [`chain::Chain`] what a node knows of it besides the tables.

pub mod block;
pub mod chain;
pub mod developer;
pub mod events;
pub mod execute;
mod followed;
pub mod fork;
pub mod held;
pub mod identity;
pub mod index;
pub mod limits;
pub mod network;
pub mod permissions;
pub mod pool;
mod protocol;
pub mod rpc;
pub mod sources;
pub mod state;
pub mod transaction;
pub mod trie;

#[cfg(test)]
mod ethereum_tests;
#[cfg(test)]
mod protocol_tests;
#[cfg(test)]
mod testing;

pub use protocol::{Ethereum, NAME};
