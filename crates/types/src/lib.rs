//! The vocabulary that every other crate speaks: identifiers, digests, map names, write sets and limits.
//!
//! Newtypes and plain data only. Nothing here decides anything, hashes anything or talks to anything.

mod digest;
mod ids;
pub mod limits;
mod map_name;
mod txid;
mod write_set;

pub use digest::Digest;
pub use ids::{MemberId, NodeId, ReplicaId};
pub use map_name::{Confidentiality, MapName, Retention};
pub use txid::{Seqno, TxId, View};
pub use write_set::{MapWrites, WriteSet};

/// Text that does not parse as the named type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {expected}: {text:?}")]
pub struct ParseError {
    /// The type that was expected, in words, with its form.
    pub expected: &'static str,
    /// The text that was given, cut at 80 characters.
    pub text: String,
}

impl ParseError {
    pub(crate) fn new(expected: &'static str, text: &str) -> Self {
        Self { expected, text: text.chars().take(80).collect() }
    }
}
