//! Governance over the real HTTPS API of a real node: what members may hand in that is wrong, hostile or late, and what they can only decide while
//! everything runs.

mod application;
mod certificates;
mod client;
mod hostile;
mod hosting;
mod identities;
mod node;
mod returning;

use std::process::Command;
use std::time::Duration;

/// The command, which must succeed; what it prints.
fn coco(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_coco")).args(arguments).env("NO_COLOR", "1").output().unwrap();
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {error}{out}");
    out
}

/// Polls until something holds: what other threads do takes the time that it takes.
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(60);
    const POLL: Duration = Duration::from_millis(50);
    let began = std::time::Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(POLL);
    }
}
