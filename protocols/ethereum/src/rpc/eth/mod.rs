//! The `eth_` namespace, by subject.

mod blocks;
mod config;
mod execution;
mod fees;
mod filters;
mod network;
mod proofs;
mod signing;
mod simulate;
mod state;
mod submission;
mod subscriptions;

use super::call::Method;

pub use blocks::raw_transaction;
pub use fees::{suggested_tip, upcoming_base_fee};
pub use proofs::trie_at;

pub const TABLES: &[&[Method]] = &[
    blocks::METHODS,
    config::METHODS,
    execution::METHODS,
    fees::METHODS,
    filters::METHODS,
    network::METHODS,
    proofs::METHODS,
    signing::METHODS,
    simulate::METHODS,
    state::METHODS,
    submission::METHODS,
    subscriptions::METHODS,
];
