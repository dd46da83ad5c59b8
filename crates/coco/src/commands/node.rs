//! `coco node …`: one node of a network.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use anyhow::Context;
use clap::{Args, Subcommand};
use coco_node::config::NodeConfig;
use coco_node::shell::NodeError;

use super::{explain, support_bundle};
use crate::output::{Hinted, Output};
use crate::{protocols, signals};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a node and run it until SIGTERM or Ctrl-C
    Start(Start),
    /// Say how the network judged its nodes, check by check, and how the rules in force judge them now
    Explain(explain::Explain),
    /// Put what somebody who helps needs to know of a node into one file, without secrets
    SupportBundle(support_bundle::SupportBundle),
}

#[derive(Args, Debug)]
pub struct Start {
    /// The node's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Stop when standard input ends: so a node does not outlive whoever holds the other end
    #[arg(long)]
    exit_with_stdin: bool,
}

pub fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Start(options) => start(&options),
        Command::Explain(options) => explain::run(&options, output),
        Command::SupportBundle(options) => support_bundle::run(&options, output),
    }
}

fn start(options: &Start) -> anyhow::Result<()> {
    let config = read_config(&options.config)?;
    let (stop, stopped) = mpsc::channel();
    if options.exit_with_stdin {
        let stop = stop.clone();
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            wait_for_end(io::stdin().lock());
            // Nobody listens if the node has stopped already.
            let _ = stop.send(());
        })?;
    }
    signals::on_stop(move || {
        let _ = stop.send(());
    })?;
    let protocols = protocols::hosted(&config)?;
    let data = config.data.clone();
    coco_node::run(config, protocols, &stopped).map_err(|error| explain(error, &data))
}

/// Two processes that share a folder meet at the lock of its history store, before either has touched the ledger.
fn explain(error: NodeError, data: &Path) -> anyhow::Error {
    match error {
        NodeError::History(cause) if cause.contains("Locked") => Hinted::error(
            format!("{}: another process uses this folder ({cause})", data.display()),
            "is this node running already?",
        ),
        error => error.into(),
    }
}

fn read_config(path: &Path) -> anyhow::Result<NodeConfig> {
    let text = fs::read_to_string(path).map_err(|error| {
        Hinted::error(
            format!("{}: {error}", path.display()),
            "`coco dev --state DIR` writes configuration files to learn from",
        )
    })?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

/// Returns at the end of `input`, or when it can no longer be read.
fn wait_for_end(mut input: impl Read) {
    let mut ignored = [0; 256];
    while input.read(&mut ignored).is_ok_and(|count| count > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_named_and_other_failures_keep_their_words() {
        let in_use = explain(NodeError::History("FjallError: Locked".to_owned()), Path::new("node7"));
        assert!(in_use.to_string().starts_with("node7: another process uses this folder"), "{in_use}");
        assert!(in_use.downcast_ref::<Hinted>().is_some());
        let other = explain(NodeError::Removed, Path::new("node7"));
        assert_eq!(other.to_string(), NodeError::Removed.to_string());
    }
}
