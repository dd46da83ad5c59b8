//! Names and keys of the ledger's maps.

use bytes::Bytes;
use coco_types::MapName;

/// Address (35 bytes) to value.
pub const STATE: MapName = MapName::from_static("sawtooth.state");
pub const META: MapName = MapName::from_static("sawtooth.meta");
/// The key that signs blocks. Never read but for signing.
pub const SECRET: MapName = MapName::from_static("sawtooth.secret");
/// Block number to the ids of its batches and transactions in short: [`crate::ids`].
pub const IDS: MapName = MapName::from_static("sawtooth.ids");
/// Batch id to its status, for batches that were found invalid; and their ids in the order in which that was found.
pub const INVALID: MapName = MapName::from_static("sawtooth.invalid");
pub const INVALID_ORDER: MapName = MapName::from_static("sawtooth.invalid_order");
/// State root to the number of the newest block with it; and number to root: as long as the state at that block can be read.
pub const BLOCK_BY_ROOT: MapName = MapName::from_static("sawtooth.block_root");
pub const ROOT_OF_BLOCK: MapName = MapName::from_static("sawtooth.root_block");

/// Number to a block without its batches.
pub const BLOCK: MapName = MapName::from_static("history:sawtooth.block");
/// Block id to number.
pub const BLOCK_BY_ID: MapName = MapName::from_static("history:sawtooth.block_id");
/// Number to what the block replaced, as changes that lead back.
pub const UNDO: MapName = MapName::from_static("history:sawtooth.undo");
/// Batch id to [`BatchRecord`].
pub const BATCH: MapName = MapName::from_static("history:sawtooth.batch");
/// Transaction id to batch id (64 bytes) and index (4 bytes).
pub const TRANSACTION: MapName = MapName::from_static("history:sawtooth.transaction");

/// In [`META`]: the newest block without its batches; the network's configuration, JSON; how many batches were invalid.
pub const META_HEAD: &[u8] = b"head";
pub const META_CONFIG: &[u8] = b"config";
pub const META_INVALID_COUNT: &[u8] = b"invalid";
/// In [`SECRET`].
pub const SECRET_SIGNER: &[u8] = b"signer";
/// In [`SECRET`]: hash of the row of the epoch that the key was made in; absent in a network's first.
pub const SECRET_SIGNER_EPOCH: &[u8] = b"epoch";

/// Of the framework's: one row, written anew whenever what follows is sealed under another secret.
pub const EPOCH: MapName = MapName::from_static("public:ccf.internal.historical_encrypted_ledger_secret");
pub const EPOCH_ROW: &[u8] = &[0; 8];

/// A committed batch, where it is, and what its transactions did.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BatchRecord {
    #[prost(uint64, tag = "1")]
    pub block_num: u64,
    #[prost(uint32, tag = "2")]
    pub index: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub batch: Bytes,
    /// One for each transaction, in their order.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub receipts: Vec<Bytes>,
}

/// An id's 64 bytes; of what is no id, nothing that was ever written.
pub fn id_key(id: &str) -> Bytes {
    hex::decode(id).map(Bytes::from).unwrap_or_default()
}

pub fn number_key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

pub fn read_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
