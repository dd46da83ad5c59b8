//! A network: its parameters, its genesis file, its first block.

mod config;
mod dev;
mod genesis;

#[cfg(test)]
mod tests;

pub use config::{ConfigError, NetworkConfig};
pub use dev::{DEV_ACCOUNTS, DevAccount};
#[cfg(test)]
pub(crate) use genesis::write_alloc;
pub use genesis::{genesis_header, write_genesis};
