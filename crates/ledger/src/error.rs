//! What can go wrong with a ledger, and where.

use std::io;

use coco_types::{Digest, Seqno, TxId};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{file}: {source}")]
    Disk { file: String, source: io::Error },
    #[error("malformed ledger entry: {why}")]
    MalformedEntry { why: &'static str },
    #[error("{file}, byte {offset}, after seqno {after}: {why}")]
    Damaged { file: String, offset: u64, after: Seqno, why: String },
    #[error("expected seqno {expected}, found {found}")]
    NotContiguous { expected: Seqno, found: Seqno },
    #[error("{txid} follows a transaction of view {last_view}")]
    ViewDecreased { txid: TxId, last_view: u64 },
    #[error("malformed batch ending at {last}: {why}")]
    MalformedBatch { last: TxId, why: &'static str },
    #[error("this ledger does not hold seqno {seqno}")]
    NotHeld { seqno: Seqno },
    #[error("seqno {seqno} is committed and cannot be cut off")]
    Committed { seqno: Seqno },
    #[error("the chunk from seqno {first} would exceed 4 GiB")]
    ChunkTooLarge { first: Seqno },
    #[error("{what} is {bytes} bytes, more than the limit of {bytes_max}")]
    TooLarge { what: &'static str, bytes: u64, bytes_max: u64 },
    #[error("no ledger secret for seqno {seqno}")]
    NoSecret { seqno: Seqno },
    #[error("the primary of view {view} is not known")]
    UnknownPrimary { view: u64 },
    #[error("the sealed part of {txid} was altered or sealed under another key")]
    NotAuthentic { txid: TxId },
    #[error("{txid} signs root {signed}, but the transactions before it give {computed}")]
    RootMismatch { txid: TxId, signed: Digest, computed: Digest },
    #[error("malformed signature transaction {txid}: {why}")]
    MalformedSignature { txid: TxId, why: &'static str },
    #[error("the node's signature in {txid} does not verify: {why}")]
    NodeSignature { txid: TxId, why: &'static str },
    #[error("the service's signature in {txid} does not verify: {why}")]
    ServiceSignature { txid: TxId, why: &'static str },
    #[error("the Merkle tree lacks the node of level {level} at {index}: its transactions are not held here")]
    MissingTreeNode { level: u32, index: u64 },
    #[error("malformed Merkle frontier")]
    MalformedFrontier,
    #[error("malformed claims: {why}")]
    MalformedClaims { why: &'static str },
    #[error("{txid} is not covered by a signature yet")]
    NotSigned { txid: TxId },
    #[error("malformed history record")]
    MalformedHistory,
    #[error("damaged snapshot: {why}")]
    MalformedSnapshot { why: &'static str },
}

/// Adds the file's name to an I/O error.
pub(crate) fn disk_error(file: &str) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| Error::Disk { file: file.to_owned(), source }
}
