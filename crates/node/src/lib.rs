//! One node: its synchronous machines, and the shell that runs them.

pub mod archive;
mod bulletin;
pub mod comeback;
pub mod config;
mod disclosure;
mod entitlement;
mod epochs;
pub mod events;
pub mod executor;
#[cfg(test)]
mod fixture;
pub mod front;
pub mod genesis;
pub mod governor;
pub mod handle;
pub mod history;
pub mod identity;
pub mod join;
mod key_filter;
pub mod known;
pub mod ledger;
pub mod machines;
mod members_will;
mod once;
pub mod preparation;
mod reconciler;
pub mod recovering;
pub mod replica;
pub mod reuse;
mod service_signing;
pub mod shell;
pub mod signatures;
mod submissions;
pub mod wire;

pub use shell::{NodeError, run, run_on};
