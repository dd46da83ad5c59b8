//! The node processes of a development network.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::state::State;
use crate::http::{Connection, Url};
use crate::output::Hinted;

/// Between two looks at a starting or a stopping node.
const POLL: Duration = Duration::from_millis(25);
/// A node that was told to stop and has not by then is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// One answer of a node's admin listener.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Lines of a dead node's log that are shown.
const LOG_LINES: usize = 8;

/// A running node. Dropping its standard input tells it to stop.
pub struct Node {
    pub index: u32,
    pub pid: u32,
    child: Child,
    /// How it ended, once that was noticed.
    ended: Option<String>,
}

impl Node {
    pub fn start(state: &State, index: u32) -> anyhow::Result<Self> {
        let log = state.log_file(index);
        let log = File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
        let child = Command::new(std::env::current_exe()?)
            .args(["node", "start", "--exit-with-stdin", "--config"])
            .arg(state.config_file(index))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting node {index}"))?;
        Ok(Self { index, pid: child.id(), child, ended: None })
    }

    /// It ended without an error, as far as was noticed.
    pub fn ended_well(&self) -> bool {
        self.ended.as_deref() == Some("exit status: 0")
    }

    /// How the process ended, the first time that this is asked after it did.
    pub fn newly_ended(&mut self) -> anyhow::Result<Option<String>> {
        if self.ended.is_some() {
            return Ok(None);
        }
        self.ended = self.child.try_wait()?.map(|status| status.to_string());
        Ok(self.ended.clone())
    }
}

/// Waits until a node's admin listener says that it is ready. `false` if `stop` was raised first.
pub fn wait_until_ready(state: &State, node: &mut Node, timeout: Duration, stop: &AtomicBool) -> anyhow::Result<bool> {
    let admin = state.addresses(node.index)?.admin;
    let started = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if let Some(status) = node.newly_ended()? {
            bail!("node {} ended ({status}); {}", node.index, end_of_log(state, node.index));
        }
        match readiness(admin) {
            Ok(Readiness::Ready) => return Ok(true),
            Ok(Readiness::NotYet(detail)) if started.elapsed() > timeout => {
                return Err(not_ready(state, node.index, timeout, &detail));
            }
            Err(error) if started.elapsed() > timeout => {
                return Err(not_ready(state, node.index, timeout, &format!("{error:#}")));
            }
            Ok(Readiness::NotYet(_)) | Err(_) => thread::sleep(POLL),
        }
    }
    Ok(false)
}

enum Readiness {
    Ready,
    NotYet(String),
}

fn readiness(admin: SocketAddr) -> anyhow::Result<Readiness> {
    let url: Url = format!("http://{admin}/readyz").parse()?;
    let answer = Connection::open(&url, None, ADMIN_TIMEOUT)?.call("GET", &url.path, &[], b"")?;
    let detail = String::from_utf8_lossy(&answer.body).into_owned();
    Ok(if answer.status == 200 { Readiness::Ready } else { Readiness::NotYet(detail) })
}

fn not_ready(state: &State, index: u32, timeout: Duration, detail: &str) -> anyhow::Error {
    let log = state.log_file(index);
    Hinted::error(
        format!("node {index} is not ready after {} s: {detail}; {}", timeout.as_secs(), end_of_log(state, index)),
        format!("its whole log is {} (kept with --state)", log.display()),
    )
}

/// The last lines of a node's log, for an error.
fn end_of_log(state: &State, index: u32) -> String {
    let log = fs::read_to_string(state.log_file(index)).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
    if last.is_empty() { "it logged nothing".to_owned() } else { format!("its log ends:\n  {}", last.join("\n  ")) }
}

/// The nodes, stopped when dropped.
pub struct Nodes(pub Vec<Node>);

impl Nodes {
    /// Tells every node to stop, waits, and kills those that do not.
    pub fn stop(&mut self) {
        for node in &mut self.0 {
            drop(node.child.stdin.take());
        }
        let told = Instant::now();
        for node in &mut self.0 {
            // An error means that the process cannot be waited for: it is gone.
            while matches!(node.child.try_wait(), Ok(None)) {
                if told.elapsed() > STOP_TIMEOUT {
                    tracing::warn!(node = node.index, pid = node.pid, "did not stop, killed");
                    let _ = node.child.kill();
                    let _ = node.child.wait();
                }
                thread::sleep(POLL);
            }
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.stop();
    }
}
