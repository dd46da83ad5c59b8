//! The machine that contracts run on: WebAssembly, interpreted, within limits of everything.
//!
//! An interpreter rather than a compiler to machine code. It asks the system for no executable memory, which enclaves of SGX and VBS cannot give and
//! which would be one more way out of a sandbox; it is a twentieth of the code that the node's measurement would otherwise vouch for; and its
//! time is bounded by fuel alone, compiling included, since it translates in one pass. It is slower, by about ten: the price is paid by contracts only.
//!
//! A contract has three things: fuel (each instruction takes some, and each request of the node), its own memory, and a *heap* that only
//! the node writes to and that the contract reaches byte by byte: that is how Sabre's SDK exchanges strings with its host. It has no
//! clock, no randomness and no log: what it could log would be read by whoever runs the node.

mod heap;
mod host;
mod machine;

pub use machine::{Contracts, Entrance};
