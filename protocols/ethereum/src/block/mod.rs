//! Blocks: opened on a parent, filled by executing transactions, sealed with their roots.
//!
//! One path for all of them: those that the primary makes, those that are imported with a header to compare with, and those
//! that are only simulated on an [`crate::state::Overlay`].
//!
//! ```text
//!   OpenBlock::open ── system calls ──▶ execute, execute, … ──▶ seal ──▶ SealedBlock { header, record, undo, trie }
//! ```

mod attributes;
mod blooms;
mod fees;
mod import;
mod included;
mod logged;
mod open;
mod record;
mod requests;
mod seal;

#[cfg(test)]
mod import_tests;

pub use attributes::{BlockAttributes, ProofOfWork, next_base_fee};
pub use fees::NextBaseFee;
pub use import::{ImportError, import_block};
pub use included::Included;
pub use logged::{LogPlace, LogRef, Logged, logged_in, logs_in, transaction_of};
pub use open::{BlockError, OpenBlock};
pub use record::{BlockRecord, Touched};
pub use seal::SealedBlock;
