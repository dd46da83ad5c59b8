//! What can go wrong. Keys and values are private, so no text here shows one.

use coco_types::{MapName, Seqno};

/// A write set that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("version {given} cannot be applied: the next one is {expected}")]
    OutOfOrder { expected: Seqno, given: Seqno },
}

/// Why a transaction's reads no longer hold. Execute it again on a newer snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Something that was read from this map has been written since.
    #[error("map {map} changed since version {base}")]
    Changed { map: MapName, base: Seqno },
    /// The reads were made on uncommitted versions that were rolled back since, or in another store.
    #[error("version {base} was rolled back")]
    RolledBack { base: Seqno },
    /// The reads were not tracked, and there are versions newer than their base.
    #[error("untracked reads at version {base} are not on the newest version")]
    Untracked { base: Seqno },
}
