//! Ethereum as a hosted ledger protocol.
