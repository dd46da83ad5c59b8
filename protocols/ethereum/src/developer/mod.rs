//! What a developer may do to a chain: set its time, its accounts and its mining, and go back.
//!
//! Only for the lone node of a development network. Each of these is a transaction of the ledger like any other: it is executed once,
//! its writes are replicated, sealed and signed, and `history:ethereum.operation` says what it was. The ledger itself stays
//! append-only: going back does not remove anything from it, it writes the rows of the older state again, and the blocks that
//! were left are still there for whoever reads the ledger. Only the Ethereum view of it has a shorter chain.
//!
//! ```text
//!   rpc/developer ── Operation ──▶ pool (before all transactions, each a run of its own) ──▶ operate ──▶ rows, settings, blocks
//! ```
//!
//! A change of an account belongs to the next block: its row changes at once, and what it replaced is noted as a *patch* until the
//! next block takes it into its own record of replaced rows. So every block's root and every older state stay right.

mod blocks;
pub mod console;
mod operate;
mod operation;
mod patch;
mod revert;
mod settings;

pub use operation::{AccountEdit, AfterRevert, LoadedAccount, Operation, Revert, Setting};
pub(crate) use patch::{adopt, patched_rows, put_back};
pub use revert::Snapshot;
pub use settings::{Mining, Settings};

/// Blocks that one operation mines: its records have to fit into one ledger transaction.
pub const BLOCKS_PER_OPERATION_MAX: u64 = 1_000;
