//! `coco bench ethereum`: transfers against any Ethereum JSON-RPC server, and how long they take to be final; and reads.
//!
//! ```text
//!   prepare            load                                    verify
//!   fund, sign all ──▶ lanes send batches ──▶ watcher reads ──▶ balances, receipts
//!                      (a connection each)    new blocks
//! ```
//!
//! The clock runs from the first byte sent until the last receipt is visible, and nothing is signed while it runs. A server
//! that answers "full" is asked again a little later: back-pressure is part of the measurement, not an error.

mod crowd;
mod load;
mod logs;
mod open_loop;
mod queries;
mod sightings;
mod single;
mod target;
mod token;
mod verify;
mod workload;

use std::fmt;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::accounts::DEV_MNEMONIC;
use crate::bench::latency::Percentiles;
use crate::http::Url;
use crate::output::Output;
use target::Target;

/// Measure an Ethereum JSON-RPC server with signed transfers
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The server to measure
    #[arg(long, default_value = "http://127.0.0.1:8545")]
    url: Url,
    /// What is sent, or asked
    #[arg(long, value_enum, default_value_t)]
    what: What,
    /// A second server (another implementation, say): runs take turns, and the ratio is printed
    #[arg(long)]
    also: Option<Url>,
    /// Transfers, or logs, in one run [default: 100000, or 1000 with --single, or 1000000 logs]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    transactions: Option<u32>,
    /// Logs that one transaction writes: more than one come from a contract that does nothing else
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8_000))]
    logs_each: u32,
    /// Calls or searches in one run [default: 20000 calls, 200 searches]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    queries: Option<u32>,
    /// Transfers in one HTTP request; 1 sends them bare
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Connections that send at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Sending accounts, derived from the mnemonic; those that lack funds are funded by the first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    accounts: u32,
    /// Transfers a second at most; as fast as the server takes them when absent. With --open, exactly so many; with --knee,
    /// the first rate that is tried
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Transfers leave when they are due, --rate of them a second, whatever the server answers; what it refuses as busy is not sent again,
    /// and latency counts from when a transfer was due
    #[arg(long, requires = "rate", conflicts_with_all = ["single", "transactions"])]
    open: bool,
    /// The same with growing rates, until one is not carried: the knee; then with twice and with half of it
    #[arg(long, conflicts_with_all = ["open", "single", "transactions"])]
    knee: bool,
    /// How long each rate of --open and --knee is kept up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Runs against each server; the median counts
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// One transfer at a time, each only after the receipt of the one before
    #[arg(long)]
    single: bool,
    /// Server processes of --url whose CPU time is reported
    #[arg(long)]
    pid: Vec<u32>,
    /// Server processes of --also
    #[arg(long, requires = "also")]
    also_pid: Vec<u32>,
    /// Before the runs, make this many accounts, if they are not there yet; transfers then go to one after the other of them
    #[arg(long, value_name = "ACCOUNTS", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    crowd: Option<u64>,
    /// Before the runs, make blocks of one transfer each until the chain has this many: on a developer's node
    #[arg(long, value_name = "BLOCK")]
    until_block: Option<u64>,
    /// Milliseconds between two looks for new blocks
    #[arg(long, default_value_t = 5)]
    poll_ms: u64,
    #[arg(long, default_value = DEV_MNEMONIC)]
    mnemonic: String,
}

/// What a run consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Plain transfers
    #[default]
    Transfers,
    /// Transfers of a token, an ERC-20 contract that is deployed first
    Tokens,
    /// `eth_call` of the token's balanceOf
    Calls,
    /// `eth_getLogs` over all of a token's transfers, of which each search finds a ten-thousandth
    Logs,
    /// `eth_getLogs` of all of them, a range of blocks with up to 20,000 after the other
    AllLogs,
}

impl Options {
    fn transactions(&self) -> usize {
        let default = match self.what {
            What::Logs | What::AllLogs => 1_000_000,
            _ if self.single => 1_000,
            _ => 100_000,
        };
        self.transactions.unwrap_or(default) as usize
    }

    fn queries(&self) -> usize {
        let default = if matches!(self.what, What::Logs | What::AllLogs) { 200 } else { 20_000 };
        self.queries.unwrap_or(default) as usize
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transfers => "transfers",
            Self::Tokens => "token transfers",
            Self::Calls => "calls",
            Self::Logs => "searches for logs",
            Self::AllLogs => "reads of ranges of logs",
        })
    }
}

/// One run against one server.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub what: What,
    pub transactions: usize,
    pub seconds: f64,
    pub transactions_per_second: f64,
    /// From the first attempt to send until the receipt is visible.
    pub latency: Percentiles,
    pub blocks: u64,
    /// Times that a transfer was refused because the server was full, and sent again.
    pub refused_busy: u64,
    /// Of the processes named with `--pid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_seconds: Option<f64>,
    /// Of the load generator.
    pub own_cpu_seconds: f64,
    /// Resident after the run, of the processes named with `--pid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_memory_bytes: Option<u64>,
}

/// All runs against one server.
#[derive(Debug, Serialize)]
struct Measured {
    url: String,
    client: String,
    transactions_per_second_median: f64,
    runs: Vec<Run>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    servers: Vec<Measured>,
    /// Throughput of the first server over that of the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

pub fn run(options: &Options, output: Output) -> anyhow::Result<()> {
    let mut targets = vec![Target::connect(&options.url, &options.pid)?];
    if let Some(also) = &options.also {
        targets.push(Target::connect(also, &options.also_pid)?);
    }
    for target in &mut targets {
        age(target, options)?;
    }
    if options.open || options.knee {
        return targets.iter_mut().try_for_each(|target| open(target, options, output));
    }
    let mut runs = vec![Vec::new(); targets.len()];
    for _ in 0..options.rounds {
        for (target, runs) in targets.iter_mut().zip(&mut runs) {
            runs.push(match options.what {
                What::Calls | What::Logs | What::AllLogs => queries::run(target, options)?,
                What::Transfers | What::Tokens if options.single => single::run(target, options)?,
                What::Transfers | What::Tokens => load::run(target, options)?,
            });
        }
    }
    let measured = |(target, runs): (Target, Vec<Run>)| Measured {
        url: target.url.to_string(),
        client: target.client_version,
        transactions_per_second_median: median(&runs),
        runs,
    };
    let servers: Vec<_> = targets.into_iter().zip(runs).map(measured).collect();
    let ratio = match servers.as_slice() {
        [first, second] => Some(first.transactions_per_second_median / second.transactions_per_second_median),
        _ => None,
    };
    output.print(&Report { servers, ratio })
}

fn open(target: &mut Target, options: &Options, output: Output) -> anyhow::Result<()> {
    match options.rate.map(f64::from) {
        Some(rate) if options.open => output.print(&open_loop::step(target, options, rate)?),
        first => output.print(&open_loop::knee(target, options, first)?),
    }
}

/// Brings the chain to the age asked for, and says what the accounts cost.
fn age(target: &mut Target, options: &Options) -> anyhow::Result<()> {
    if let Some(crowd) = options.crowd {
        let before = target.memory_bytes()?;
        let made = crowd::gather(target, options, crowd)?;
        if let (Some(before), Some(after), 1..) = (before, target.memory_bytes()?, made) {
            let each = after.saturating_sub(before) / made;
            eprintln!("{}: {made} accounts more, {after} bytes in memory, {each} for each of them", target.url);
        }
    }
    options.until_block.map_or(Ok(()), |blocks| crowd::grow(target, options, blocks))
}

fn median(runs: &[Run]) -> f64 {
    let mut rates: Vec<_> = runs.iter().map(|run| run.transactions_per_second).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, server) in self.servers.iter().enumerate() {
            let line_end = if i == 0 { "" } else { "\n" };
            write!(f, "{line_end}{} ({})", server.url, server.client)?;
            for run in &server.runs {
                write!(f, "\n  {run}")?;
            }
            if server.runs.len() > 1 {
                write!(f, "\n  median {:.0} a second", server.transactions_per_second_median)?;
            }
        }
        if let Some(ratio) = self.ratio {
            write!(f, "\nratio {ratio:.2}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} a second: {} {} in {:.2} s",
            self.transactions_per_second, self.transactions, self.what, self.seconds
        )?;
        match self.what {
            What::Transfers | What::Tokens => {
                write!(f, ", {} blocks; send to receipt {}", self.blocks, self.latency)?;
            }
            What::Calls | What::Logs | What::AllLogs => write!(f, "; each {}", self.latency)?,
        }
        if let Some(cpu) = self.server_cpu_seconds {
            write!(f, "; server CPU {cpu:.2} s ({:.0} per CPU second)", self.transactions as f64 / cpu)?;
        }
        write!(f, "; own CPU {:.2} s", self.own_cpu_seconds)?;
        if let Some(bytes) = self.server_memory_bytes {
            write!(f, "; {} MB in memory", bytes / 1_000_000)?;
        }
        if self.refused_busy > 0 {
            write!(f, "; {} sent again", self.refused_busy)?;
        }
        Ok(())
    }
}
