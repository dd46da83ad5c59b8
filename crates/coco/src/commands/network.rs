//! `coco network …`: asks running nodes about their network, and ends it.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use coco_crypto::{Certificate, SigningKey};
use coco_governance::rotation::follow_bridges;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dev;
use crate::http::{Connection, Url};
use crate::output::Output;
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask nodes how they see their network; fails if one does not answer
    Status(Status),
    /// End a whole network: every node that answers stops cleanly
    Stop(Stop),
}

#[derive(Args, Debug)]
pub struct Stop {
    /// The folder of a network that `coco dev --state` keeps: everything below is found there
    #[arg(long, value_name = "DIR", conflicts_with_all = ["api", "service", "cert", "key"], required_unless_present = "api")]
    state: Option<PathBuf>,
    /// The API of any node; it tells the others
    #[arg(long, value_name = "URL", requires_all = ["service", "cert", "key"])]
    api: Option<Url>,
    /// The service's certificate
    #[arg(long, value_name = "CERT")]
    service: Option<PathBuf>,
    /// A member's certificate
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The member's private key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Status {
    /// APIs of nodes
    #[arg(long, required = true, num_args = 1.., value_name = "URL")]
    api: Vec<Url>,
    /// The service's certificate
    #[arg(long, value_name = "CERT")]
    service: PathBuf,
    /// Where to write the service's present certificate, if it was renewed or its identity rotated, and the one that is named leads to it
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

pub fn run(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Status(options) => status(options, output),
        Command::Stop(options) => stop(options, output),
    }
}

fn stop(options: &Stop, output: Output) -> anyhow::Result<()> {
    let given = |path: &Option<PathBuf>| path.clone().context("a file is missing");
    let (apis, service, cert, key) = match (&options.state, &options.api) {
        (Some(folder), _) => {
            let (apis, service) = dev::state::kept(folder)?;
            (apis, service, folder.join("member0_cert.pem"), folder.join("member0_privk.pem"))
        }
        (None, Some(api)) => (vec![api.clone()], given(&options.service)?, given(&options.cert)?, given(&options.key)?),
        (None, None) => bail!("neither --state nor --api"),
    };
    let own = tls::read_certificate(&cert)?;
    let key = fs::read_to_string(&key).with_context(|| key.display().to_string())?;
    let key = SigningKey::from_pem(&key).context("the member's key")?;
    let tls = tls::as_client(&tls::read_certificate(&service)?, &own, &key)?;
    let mut last_error = None;
    for api in &apis {
        match ask_to_stop(api, &tls) {
            Ok(stopped) => return output.print(&stopped),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.context("the network has no nodes")?)
}

fn ask_to_stop(api: &Url, tls: &Arc<ClientConfig>) -> anyhow::Result<Stopped> {
    let answer =
        Connection::open(api, Some(tls), TIMEOUT)?.call("POST", &api.at("/node/network:stop").path, &[], b"{}")?;
    let body = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status == 200, "{api}: HTTP status {}: {body}", answer.status);
    serde_json::from_str(&body).context("malformed answer")
}

#[derive(Debug, Serialize, Deserialize)]
struct Stopped {
    stopping: Vec<u32>,
    silent: Vec<u32>,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ending nodes {:?}", self.stopping)?;
        if self.silent.is_empty() { Ok(()) } else { write!(f, "; no answer from {:?}", self.silent) }
    }
}

fn status(options: &Status, output: Output) -> anyhow::Result<()> {
    let trusted = tls::read_certificate(&options.service)?;
    let tls = tls::trusting(&trusted)?;
    let ask = |api: &Url| -> anyhow::Result<Value> {
        let answer =
            Connection::open(api, Some(&tls), TIMEOUT)?.call("GET", &api.at("/node/network").path, &[], b"")?;
        ensure!(answer.status == 200, "HTTP status {}", answer.status);
        serde_json::from_slice(&answer.body).context("malformed answer")
    };
    let answers = options.api.iter().map(|api| match ask(api) {
        Ok(network) => NodeAnswer {
            api: api.to_string(),
            identity: identity(&trusted, &network).map(|(identity, _)| identity),
            network: Some(network),
            error: None,
        },
        Err(error) => {
            NodeAnswer { api: api.to_string(), network: None, identity: None, error: Some(format!("{error:#}")) }
        }
    });
    let report = Report { nodes: answers.collect() };
    if let Some(path) = &options.save {
        let networks = report.nodes.iter().filter_map(|node| node.network.as_ref());
        let present = networks.filter_map(|network| identity(&trusted, network)?.1).next_back();
        fs::write(path, present.unwrap_or(trusted).to_pem()).with_context(|| path.display().to_string())?;
    }
    output.print(&report)?;
    let silent = report.nodes.iter().filter(|node| node.error.is_some()).count();
    if silent > 0 {
        bail!("{silent} of {} nodes gave no answer", report.nodes.len());
    }
    Ok(())
}

/// How the service's present certificate follows from the one that is trusted, and that certificate if it does.
fn identity(trusted: &Certificate, network: &Value) -> Option<(&'static str, Option<Certificate>)> {
    let present = Certificate::from_pem(network["service_certificate"].as_str()?).ok()?;
    if present == *trusted {
        return Some(("the certificate that was named", Some(present)));
    }
    if present.public_key() == trusted.public_key() {
        return Some(("renewed since the certificate that was named: the same key", Some(present)));
    }
    let bridges = network["service_bridges"].as_array().into_iter().flatten();
    let bridges: Vec<Certificate> = bridges.filter_map(|pem| Certificate::from_pem(pem.as_str()?).ok()).collect();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if follow_bridges(trusted, &bridges, now_s).public_key() == present.public_key() {
        let words = "rotated since the certificate that was named, which vouches for the present one";
        return Some((words, Some(present)));
    }
    Some(("another service, which the certificate that was named does not vouch for", None))
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
    /// Of the service, as against the certificate that was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'static str>,
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
                    let mut short = facts
                        .iter()
                        .filter(|(name, _)| !["service_certificate", "service_bridges"].contains(&name.as_str()));
                    short.try_for_each(|(name, fact)| write!(f, "\n  {name}: {fact}"))?;
                    write!(f, "\n  identity: {}", node.identity.unwrap_or("unknown"))?;
                }
                (Some(network), _) => write!(f, "\n  {network}")?,
                (None, error) => write!(f, "\n  no answer: {}", error.as_deref().unwrap_or_default())?,
            }
        }
        Ok(())
    }
}
