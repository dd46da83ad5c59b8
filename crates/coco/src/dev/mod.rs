//! A whole network on this machine, for development: `coco dev`.
//!
//! ```text
//!   plan ──▶ files: genesis.json, node<i>.toml, keys ──▶ one child process a node ──▶ ready ──▶ banner ──▶ until a signal
//! ```
//!
//! The nodes are real ones: processes of this same executable, with their own folders, over TLS. Each holds the reading end
//! of a pipe as its standard input, so that none outlives `coco dev`, however that ends.

pub mod banner;
pub mod console;
pub mod genesis;
pub mod import;
pub mod nodes;
pub mod plan;
pub mod state;
