//! A network: its parameters, its genesis file, its first block.

mod config;
mod dev;
mod genesis;

#[cfg(test)]
mod tests;

pub use config::{ConfigError, NetworkConfig};
pub use dev::{DEV_ACCOUNTS, DevAccount};
pub use genesis::{genesis_header, write_genesis};
