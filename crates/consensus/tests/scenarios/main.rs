//! Whole networks of replicas in one thread, by seed; known bugs of others as text files, `*.scenario`.

mod admission;
mod chaos;
mod disk;
mod files;
mod membership;
mod raft_crate;
mod resume;
mod service;
mod snapshots;
