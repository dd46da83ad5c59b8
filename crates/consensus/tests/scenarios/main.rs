//! Whole networks of replicas in one thread, by seed.

mod batches;
mod chaos;
mod disk;
mod invariants;
mod membership;
mod network;
mod properties;
