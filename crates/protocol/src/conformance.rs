//! What every protocol must pass, run against the protocol alone.
