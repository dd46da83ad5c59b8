//! Executing batches: what a transaction may touch, and what becomes of a batch.

mod access;
mod run;

pub use access::{Access, AccessError, StateReader};
pub use run::{Executed, Failure, Run, Step};
