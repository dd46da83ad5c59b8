//! The face over the raft crate.
