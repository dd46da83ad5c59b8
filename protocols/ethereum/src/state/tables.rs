//! Names and keys.

use alloy_primitives::{Address, U256};
use bytes::Bytes;
use coco_types::MapName;

pub const ACCOUNT: MapName = MapName::from_static("ethereum.account");
pub const STORAGE: MapName = MapName::from_static("ethereum.storage");
pub const CODE: MapName = MapName::from_static("ethereum.code");
/// Number to hash of the newest 256 blocks.
pub const RECENT: MapName = MapName::from_static("ethereum.recent");
pub const META: MapName = MapName::from_static("ethereum.meta");
/// Rows that a developer changed since the newest block: what they were. See [`crate::developer`].
pub const PATCH: MapName = MapName::from_static("ethereum.patch");
/// A developer's snapshots, by id.
pub const SNAPSHOT: MapName = MapName::from_static("ethereum.snapshot");

/// Ledger position to what a developer did there, JSON.
pub const OPERATION: MapName = MapName::from_static("history:ethereum.operation");
/// Number to the rows that a developer had changed when the block was opened, as they were then.
pub const PATCHED: MapName = MapName::from_static("history:ethereum.patched");
/// Number to [`crate::block::BlockRecord`].
pub const BLOCK: MapName = MapName::from_static("history:ethereum.block");
/// Number to what the block replaced: see [`crate::state::HistoricState`].
pub const UNDO: MapName = MapName::from_static("history:ethereum.undo");
/// Block hash to number (8 bytes).
pub const BLOCK_BY_HASH: MapName = MapName::from_static("history:ethereum.block_hash");
/// Transaction hash to block number (8 bytes) and index (4 bytes).
pub const TRANSACTION_BY_HASH: MapName = MapName::from_static("history:ethereum.tx");

/// Those that blocks and their transactions write.
pub const OF_BLOCKS: [MapName; 9] =
    [ACCOUNT, STORAGE, CODE, RECENT, META, BLOCK, UNDO, BLOCK_BY_HASH, TRANSACTION_BY_HASH];

/// In [`META`]: the network's configuration, JSON.
pub const META_CONFIG: &[u8] = b"config";
/// In [`META`]: the newest header, RLP.
pub const META_HEAD: &[u8] = b"head";
/// In [`META`]: when the newest block was sealed, milliseconds since 1970, 8 bytes; 0 for imported blocks.
pub const META_SEALED_MS: &[u8] = b"sealed_ms";
/// In [`META`]: [`crate::developer::Settings`], JSON.
pub const META_DEVELOPER: &[u8] = b"developer";
/// In [`META`]: the id of the last snapshot, 8 bytes.
pub const META_SNAPSHOTS: &[u8] = b"snapshots";
/// In [`META`]: the number of the block that the chain last went back to, 8 bytes.
pub const META_REVERTED: &[u8] = b"reverted";

/// Address, then slot.
pub fn storage_key(address: &Address, slot: U256) -> Bytes {
    let mut key = [0; 52];
    let (first, last) = key.split_at_mut(20);
    first.copy_from_slice(address.as_slice());
    last.copy_from_slice(&slot.to_be_bytes::<32>());
    Bytes::copy_from_slice(&key)
}
