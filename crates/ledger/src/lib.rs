//! Ledger entries, sealing, Merkle tree, receipts, chunks, history records.
