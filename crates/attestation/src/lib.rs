//! Prove and check what code runs where.
