//! Logs: to standard error, filtered by `RUST_LOG`, as text or as one JSON object a line.
//!
//! A log that cannot be written, because its disk is full, is lost: no reason to end a node.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::output;

/// Starts logging for this process. `json` chooses JSON lines.
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // What the subscriber says about a failed write goes to standard error too, and would panic there.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).log_internal_errors(false);
    // Starting twice in one process is harmless: the first subscriber stays.
    let _ = if json {
        logs.json().try_init()
    } else {
        logs.with_ansi(stderr().is_terminal() && output::colours_allowed()).try_init()
    };
}
