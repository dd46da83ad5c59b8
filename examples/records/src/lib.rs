//! A key-value ledger over HTTPS: the smallest ledger protocol.
