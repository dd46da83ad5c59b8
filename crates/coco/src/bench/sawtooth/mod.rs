//! `coco bench sawtooth`: batches through the REST API, each followed until it is committed.
//!
//! All batches are signed before the clock starts. Afterwards every row that they wrote is read back and compared, so that a batch that
//! was answered and lost, or executed twice, is found.

mod workload;

use std::fmt;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::Value;

use crate::bench::latency::Percentiles;
use crate::bench::{cpu, progress};
use crate::http::{Connection, Response, Url};
use crate::output::Output;
use workload::{Family, Submission, Workload};

const TIMEOUT: Duration = Duration::from_secs(60);
/// Transactions in a batch that creates keys.
const CREATION_BATCH: u32 = 100;

/// Measure Sawtooth with batches that are followed until they are committed
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// A node's Sawtooth REST API
    #[arg(long, default_value = "http://127.0.0.1:8008")]
    url: Url,
    #[arg(long, value_enum, default_value = "intkey")]
    family: Family,
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    transactions: u32,
    /// Transactions in a batch
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    batch: u32,
    /// Connections, each with one batch in flight
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Counters or accounts that the transactions are spread over
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    keys: u32,
    /// Server processes whose CPU time is reported
    #[arg(long)]
    pid: Vec<u32>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    url: String,
    transactions: u32,
    transactions_per_batch: u32,
    transactions_per_second: f64,
    /// From a batch's submission until its client hears that it is committed.
    batch_latency: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_seconds: Option<f64>,
    own_cpu_seconds: f64,
}

pub fn run(options: &Options, output: Output) -> anyhow::Result<()> {
    let mut workload = Workload::new(options.family, options.keys)?;
    let creation = workload.creation(CREATION_BATCH);
    submit_all(options, &creation, "keys")?;
    let load = workload.load(options.transactions, options.batch);
    let (server_cpu, own_cpu) = (cpu::used_by(&options.pid)?, cpu::used_by_self()?);
    let (seconds, mut latencies) = submit_all(options, &load, "batches")?;
    let server_cpu = cpu::used_by(&options.pid)?.saturating_sub(server_cpu);
    let own_cpu = cpu::used_by_self()?.saturating_sub(own_cpu);
    verify(options, &workload)?;
    output.print(&Report {
        url: options.url.to_string(),
        transactions: options.transactions,
        transactions_per_batch: options.batch,
        transactions_per_second: f64::from(options.transactions) / seconds,
        batch_latency: Percentiles::of(&mut latencies),
        server_cpu_seconds: (!options.pid.is_empty()).then_some(server_cpu.as_secs_f64()),
        own_cpu_seconds: own_cpu.as_secs_f64(),
    })
}

/// Commits all batches; the seconds it took, and each batch's latency.
fn submit_all(options: &Options, batches: &[Submission], label: &str) -> anyhow::Result<(f64, Vec<Duration>)> {
    let lanes = (options.connections as usize).min(batches.len());
    let connect = |_| Connection::open(&options.url, None, TIMEOUT);
    let connections: Vec<_> = (0..lanes).map(connect).collect::<anyhow::Result<_>>()?;
    let bar = progress::bar(batches.len() as u64, label);
    let waiting = Mutex::new(batches.iter());
    let started = Instant::now();
    let latencies = thread::scope(|scope| {
        let lanes: Vec<_> = connections
            .into_iter()
            .map(|connection| {
                let (bar, waiting) = (&bar, &waiting);
                scope.spawn(move || {
                    let next =
                        || waiting.lock().map_err(|_| anyhow!("a lane panicked")).map(|mut waiting| waiting.next());
                    run_lane(connection, next, bar)
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for lane in lanes {
            latencies.extend(lane.join().map_err(|_| anyhow!("a connection's thread panicked"))??);
        }
        anyhow::Ok(latencies)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok((seconds, latencies))
}

fn run_lane<'a>(
    mut connection: Connection,
    next: impl Fn() -> anyhow::Result<Option<&'a Submission>>,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while let Some(submission) = next()? {
        let sent = Instant::now();
        connection.send("POST", "/batches", &[("content-type", "application/octet-stream")], &submission.body)?;
        let response = connection.receive()?;
        ensure!(response.status == 202, "a batch was answered {}: {}", response.status, text(&response));
        let ids = serde_json::to_vec(&[&submission.id])?;
        connection.send("POST", "/batch_statuses?wait=60", &[("content-type", "application/json")], &ids)?;
        let response = connection.receive()?;
        let body: Value = serde_json::from_slice(&response.body).with_context(|| text(&response))?;
        let status = body["data"][0]["status"].as_str();
        ensure!(status == Some("COMMITTED"), "batch {} is not committed: {}", submission.id, text(&response));
        latencies.push(sent.elapsed());
        bar.inc(1);
    }
    Ok(latencies)
}

/// Reads back what the batches wrote.
fn verify(options: &Options, workload: &Workload) -> anyhow::Result<()> {
    let mut connection = Connection::open(&options.url, None, TIMEOUT)?;
    for (key, address) in workload.addresses() {
        connection.send("GET", &format!("/state/{address}"), &[], &[])?;
        let response = connection.receive()?;
        ensure!(response.status == 200, "a committed row was answered {}: {}", response.status, text(&response));
        let body: Value = serde_json::from_slice(&response.body)?;
        let row = BASE64.decode(body["data"].as_str().context("an answer without data")?)?;
        workload.check(key, &row)?;
    }
    Ok(())
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.url)?;
        write!(
            f,
            "  {:.0} transactions/s, committed and read back: {} in batches of {}; a batch {}",
            self.transactions_per_second, self.transactions, self.transactions_per_batch, self.batch_latency
        )?;
        if let Some(cpu) = self.server_cpu_seconds {
            write!(f, "\n  server CPU {cpu:.2} s")?;
        }
        write!(f, "\n  own CPU {:.2} s", self.own_cpu_seconds)
    }
}
