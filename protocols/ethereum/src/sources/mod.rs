//! Sources of contracts, kept on the ledger for whoever looks at a contract.
//!
//! The compiler puts the hash of its *metadata* (compiler, settings, and the hash of every source) at the end of the bytecode that it makes.
//! Sources are taken for a contract if these hashes lead from its bytecode to them:
//!
//! ```text
//!   bytecode … { ipfs: hash } ──▶ metadata.json ── keccak256 of each ──▶ sources
//! ```
//!
//! Nothing is compiled here. So it is certain that whoever deployed the contract meant these very sources, down to the last byte; that the
//! code in front of the hash is what the compiler makes of them is for whoever reads them to check, by compiling them: the metadata says how.
//! Since the hashes decide, nobody can have anything else kept, however often he tries.

mod metadata;
mod upload;

#[cfg(test)]
mod tests;

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use coco_types::MapName;

pub use metadata::{Files, Metadata, Unfit, ipfs_hash, metadata_hash};
pub use upload::{SOURCES_BYTES_MAX, SourceUpload};

/// Address to [`Verified`].
pub const VERIFIED: MapName = MapName::from_static("ethereum.verified");
/// Address and code hash to the [`SourceUpload`] as it was submitted.
pub const SOURCES: MapName = MapName::from_static("history:ethereum.sources");

/// That a contract's sources are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Of the code that they belong to: another one may be at the address by now.
    pub code_hash: B256,
    /// When they were taken, milliseconds since 1970.
    pub at_ms: u64,
}

impl Verified {
    pub fn encode(&self) -> Bytes {
        [&self.code_hash[..], &self.at_ms.to_be_bytes()].concat().into()
    }

    pub fn decode(row: &[u8]) -> Option<Self> {
        let (code_hash, at_ms) = row.split_first_chunk::<32>()?;
        Some(Self { code_hash: B256::from(*code_hash), at_ms: u64::from_be_bytes(at_ms.try_into().ok()?) })
    }
}

/// The key in [`SOURCES`].
pub fn sources_key(address: &Address, code_hash: &B256) -> Bytes {
    [address.as_slice(), code_hash.as_slice()].concat().into()
}
