//! Several consensus replicas in one thread, over a network and disks that fail by a seed. Every invariant is checked at every step.
//!
//! ```text
//!   scenario (text files)      chaos (seeds)        the tests of coco_consensus
//!          └───────────────────────┼───────────────────────┘
//!                            ┌─────▼─────┐   mutant: a known protocol bug, acted out between wire and replica
//!                            │  Network  │──▶ Invariants, Coverage, Story
//!                            └─────┬─────┘
//!                  real coco_consensus::Consensus over MemoryDisk
//! ```
//!
//! For tests only: nothing that is shipped depends on it. Whole nodes are simulated by `coco_sim`; here a run costs milliseconds, so that
//! many more orders of events are seen.

pub mod batches;
pub mod chaos;
mod coverage;
pub mod invariants;
mod mutant;
mod mutating;
pub mod network;
pub mod resume;
pub mod scenario;
mod seen;
mod story;

pub use coverage::Coverage;
pub use mutant::Mutant;
pub use seen::{can_meet, describe};
pub use story::{Event, Story};
