//! The seam for ledger protocols.
