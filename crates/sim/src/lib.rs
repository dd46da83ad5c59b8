//! Many nodes, one thread, one seed.
//!
//! The simulator runs the machines of real nodes (`coco_node`) over simulated disks, clocks and a network that delays, loses, reorders,
//! duplicates and partitions, crashes nodes at any point between two effects, replaces nodes by fresh ones, and checks what must
//! always hold after every step. A seed is the whole story: the same seed gives the same run, event by event.
//!
//! What it deliberately does not run: sockets, TLS, threads, the real disk. `clients/` does.

mod archives;
mod attesting;
mod clients;
mod counter;
mod disaster;
mod ethereum;
mod faults;
mod governing;
pub mod history;
mod hostility;
mod inbox;
mod invariants;
mod joining;
mod model;
mod network;
mod node;
mod planted;
mod random;
mod returning;
mod run;
mod seen;
mod status;
mod step;
mod world;

pub use faults::Faults;
pub use invariants::{Invariants, Violation};
pub use node::{Options, SimNode};
pub use planted::Planted;
pub use run::{Length, Report};
pub use seen::can_meet;
pub use world::{Counts, Log, ReadEnd, World};
