//! Ethereum as a hosted ledger protocol.

pub mod trie;
