//! `coco network …`: asks running nodes about their network.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::http::{Connection, Url};
use crate::output::Output;
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask nodes how they see their network; fails if one does not answer
    Status(Status),
}

#[derive(Args, Debug)]
pub struct Status {
    /// APIs of nodes
    #[arg(long, required = true, num_args = 1.., value_name = "URL")]
    api: Vec<Url>,
    /// The service's certificate
    #[arg(long, value_name = "CERT")]
    service: PathBuf,
}

pub fn run(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Status(options) => status(options, output),
    }
}

fn status(options: &Status, output: Output) -> anyhow::Result<()> {
    let tls = tls::trusting(&tls::read_certificate(&options.service)?)?;
    let ask = |api: &Url| -> anyhow::Result<Value> {
        let answer =
            Connection::open(api, Some(&tls), TIMEOUT)?.call("GET", &api.at("/node/network").path, &[], b"")?;
        ensure!(answer.status == 200, "HTTP status {}", answer.status);
        serde_json::from_slice(&answer.body).context("malformed answer")
    };
    let answers = options.api.iter().map(|api| match ask(api) {
        Ok(network) => NodeAnswer { api: api.to_string(), network: Some(network), error: None },
        Err(error) => NodeAnswer { api: api.to_string(), network: None, error: Some(format!("{error:#}")) },
    });
    let report = Report { nodes: answers.collect() };
    output.print(&report)?;
    let silent = report.nodes.iter().filter(|node| node.error.is_some()).count();
    if silent > 0 {
        bail!("{silent} of {} nodes gave no answer", report.nodes.len());
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct Report {
    nodes: Vec<NodeAnswer>,
}

#[derive(Debug, Serialize)]
struct NodeAnswer {
    api: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{}", node.api)?;
            match (&node.network, &node.error) {
                (Some(Value::Object(facts)), _) => {
                    // A certificate in PEM has many lines and is known to whoever asks.
                    let mut short =
                        facts.iter().filter(|(_, fact)| !fact.as_str().is_some_and(|text| text.contains('\n')));
                    short.try_for_each(|(name, fact)| write!(f, "\n  {name}: {fact}"))?;
                }
                (Some(network), _) => write!(f, "\n  {network}")?,
                (None, error) => write!(f, "\n  no answer: {}", error.as_deref().unwrap_or_default())?,
            }
        }
        Ok(())
    }
}
