//! The ledger: entries, sealing, Merkle tree, signatures, receipts, chunk files, snapshots, history records.
//!
//! ```text
//! WriteSet ──BatchSealer──▶ bytes of one batch: entry … entry, signature entry ──LedgerFiles──▶ ledger_<first>[-<last>.committed]
//!                │ leaf of each entry                        │ signs the root
//!                ▼                                           ▼
//!           MerkleTree ─────────────root──────────────▶ COSE by the service, ECDSA by the node ──▶ receipts
//! ```
//!
//! The files have CCF's format byte for byte, so that independent tools read and validate them; `docs/formats/ledger.md`
//! and `docs/formats/receipt.md` describe every byte. Nothing here knows consensus, maps' meaning or a clock.

mod batch;
mod census;
mod claims;
mod entry;
mod error;
mod files;
mod history;
mod keys;
mod leaf;
mod merkle;
pub mod receipt;
mod service_keys;
mod signature;
mod snapshot;
pub mod tables;
mod transactions;
mod verify;

pub use batch::{Batch, BatchSealer, Closing, SealedBatch, VerifiedBatch};
pub use census::{Census, Tally};
pub use claims::{Claims, Container};
pub use entry::{Entry, EntryHead, FLAG_CHUNK_AFTER};
pub use error::Error;
pub use files::{CheckedChunk, ChunkName, Cut, Earlier, LedgerFiles, LedgerReader, OpenReport, Unsynced};
pub use history::{BlindedKey, HistoryKeys, HistoryStore, MemoryHistory, SealedRecord};
pub use keys::{DisclosedEpoch, EntryKeys, commit_evidence};
pub use leaf::Leaf;
pub use merkle::{Frontier, MerkleReader, MerkleTree, PathElement, fold_path};
pub use receipt::{ReceiptError, VerifiedReceipt, verify_receipt};
pub use service_keys::ServiceKeys;
pub use signature::{NodeSignature, Primary, SignatureTransaction, SignatureVerifier, Signer};
pub use snapshot::{SnapshotHead, SnapshotName, SnapshotPlace, SnapshotReader, SnapshotWriter, check_snapshot};
pub use transactions::{DecodedTransaction, Transactions, transactions};
pub use verify::{Damage, FolderReport, Progress, VerifyOptions, verify_folder};
