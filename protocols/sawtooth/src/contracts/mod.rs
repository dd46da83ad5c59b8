//! The machine that contracts run on: WebAssembly, interpreted, within limits of everything.
//!
//! An interpreter rather than a compiler to machine code: ARCHITECTURE.md says why. Contracts run beside the executor, on a few threads
//! ([`crate::workers`]), and what they read is checked again when their turn comes, like what processors read.
//!
//! A contract has three things: fuel (each instruction takes some, and each request of the node), its own memory, and a *heap* that only
//! the node writes to and that the contract reaches byte by byte: that is how Sabre's SDK exchanges strings with its host. It has no
//! clock, no randomness and no log: what it could log would be read by whoever runs the node.

mod heap;
mod host;
mod machine;

pub use machine::{Contracts, Entrance};
