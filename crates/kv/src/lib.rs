//! Transactional multi-version maps: one writer, many readers on consistent snapshots.
//!
//! ```text
//!   Tx ── reads a Snapshot, collects a WriteSet (and a ReadSet)
//!    │ into_parts
//!    ▼
//!   Store::validate(reads) ─▶ Store::apply(n + 1, writes) ─▶ … ─▶ Store::commit(n + 1)     prunes
//!                                              └────────────────▶ Store::rollback()        drops what is not committed
//! ```
//! Each ledger transaction is one *version*, numbered by its seqno. A key keeps the versions that somebody can still see:
//! those above the committed version, the committed one, and those of live snapshots. Readers name a version and never wait
//! for a transaction; the writer never waits for a reader longer than one page of a scan.
//!
//! Each map is one ordered index (`index`), with each key and value in an allocation of their size, so that the store
//! never pins the buffer that a write came from. There is no hash table: no order depends on one, and no key that an
//! attacker chooses can make lookups collide.
//!
//! Not here: `history:` maps (the history store's), encoding, and any policy on how long a snapshot may live.

mod branch;
mod cell;
mod entry;
mod error;
mod heads;
mod index;
mod interval;
mod leaf;
mod map;
mod prune;
mod read_set;
mod scan;
mod separator;
mod snapshot;
mod spares;
mod store;
mod tx;
mod tx_scan;

pub use error::{Conflict, Error};
pub use read_set::ReadSet;
pub use scan::{Scan, ScanBack};
pub use snapshot::Snapshot;
pub use store::Store;
pub use tx::{Savepoint, Tx};
pub use tx_scan::TxScan;
