//! A network: its parameters, its genesis file, its first block.

mod config;
mod crowd;
mod dev;
mod genesis;

#[cfg(test)]
mod tests;

pub use config::{ConfigError, NetworkConfig};
pub use crowd::crowd_member;
pub(crate) use crowd::{crowd_parts, write_crowd};
pub use dev::{DEV_ACCOUNTS, DevAccount};
pub use genesis::{genesis_header, write_genesis};
pub(crate) use genesis::{write_alloc, write_first_block};
