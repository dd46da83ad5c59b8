//! Whole networks of replicas in one thread, by seed.

mod admission;
mod batches;
mod chaos;
mod disk;
mod invariants;
mod membership;
mod network;
mod properties;
mod raft_crate;
mod resume;
mod service;
mod snapshots;
