//! Ctrl-C and SIGTERM.

use std::thread;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Calls `stop` once, on a thread of its own, at the first of the two signals. A second signal finds nobody who handles it
/// faster: stopping has its own time limits.
pub fn on_stop(stop: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("signal handling")?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
        });
        stop();
    })?;
    Ok(())
}
