//! Hyperledger Sawtooth as a hosted ledger protocol, for its unmodified clients.
//!
//! ```text
//!   batch ── signatures checked ──▶ pool ──▶ families in here ──▶ state (a table in the key-value store)
//!                                    │                                │ changes of a block
//!                                    └─▶ processors outside ─▶ ┘    block ◀── root ── trie (derived, in memory)
//!                                              ▲                      │
//!                       component endpoint ────┘      rest ◀── query ─┘ committed
//! ```
//!
//! [`Sawtooth`] is the ledger at the framework's seam; [`chain::Chain`] what a node knows of it besides the tables.

pub mod address;
pub mod batch;
pub mod block;
pub mod chain;
pub mod component;
pub mod contracts;
pub mod events;
pub mod execute;
pub mod families;
pub mod governed;
pub mod ids;
pub mod limits;
pub mod local_roles;
pub mod messages;
pub mod network;
pub mod policy;
pub mod pool;
mod protocol;
pub mod query;
pub mod rest;
pub mod roots;
pub mod settings;
pub mod signing;
pub mod tables;
pub mod trie;
pub mod workers;

#[cfg(test)]
mod protocol_tests;
#[cfg(test)]
mod testing;

pub use protocol::{NAME, Sawtooth};
