//! An index over the chain's history: in which blocks something happened.
//!
//! It answers two questions without reading block after block: when a row of the state was changed next (so that any old state can be
//! read), and which blocks hold a log, or a transaction, that somebody looks for. It is derived: each node makes its own from committed
//! records, off the way of everything else, and keeps it in the history store. Readers get by without what is not indexed yet.
//!
//! ```text
//!   blocks     0 … 15 | 16 … 31 | …           what a block says of itself is a set of tags: hashes of (kind, name)
//!   level 1   [ 16    ][ 16     ] …           segment: tag -> blocks, for 16 aligned blocks
//!   level 2   [ 256 = 16 merged        ] …
//!   level 4   [ 65,536                                                        ] …
//!
//!   segment = header, and 2^bits pages; a tag is in the page that its first bits name
//! ```
//!
//! Tags are spread evenly, so a page is found without a directory: looking a tag up in a segment is one read. A block's number is looked
//! for in the largest complete segment that holds it, so that a million blocks are 16 large segments and at most 45 smaller ones at the end.
//! A level's segments are complete wherever the *progress* has passed them. Two names may share a tag; whoever finds a block looks into it.
//!
//! Within large blocks directories lead on ([`directory`]).
//!
//! Everything is done in bounded pieces and bounded memory: a segment is merged page by page.

mod build;
mod directory;
mod page;
mod read;
mod segment;
mod tag;

#[cfg(test)]
mod tests;

use alloy_primitives::B256;
use bytes::Bytes;
use coco_types::MapName;

pub use directory::{Directory, Mark, Stretch};
pub use read::{Index, IndexView};
pub use tag::Tag;

/// Names in it: see [`segment`], [`PROGRESS`], and [`directory_key`].
const INDEX: MapName = MapName::from_static("history:ethereum.index");
const PROGRESS: &[u8] = b"progress";
/// Segments of a level that make one of the next.
const FANOUT: u64 = 16;
/// Segments of the last level are not merged any more.
const LEVEL_MAX: u8 = 4;

/// Where the [`directory`] of a block is: what a segment's name begins with is its level, and smaller.
fn directory_key(number: u64) -> Vec<u8> {
    [&[0xff], &number.to_be_bytes()[..]].concat()
}

/// How far the index goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// Blocks below this are indexed; a multiple of [`FANOUT`].
    next: u64,
    /// The hash of the last of them.
    last: B256,
}

impl Progress {
    fn encode(&self) -> Bytes {
        [&self.next.to_be_bytes()[..], self.last.as_slice()].concat().into()
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (next, last) = record.split_first_chunk::<8>()?;
        Some(Self { next: u64::from_be_bytes(*next), last: B256::try_from(last).ok()? })
    }
}
