//! `coco bench records`: durable writes and committed reads of the key-value ledger, over TLS.
//!
//! Every write goes to a key of its own and is read back afterwards, so that a write that was answered and lost is found.
//! With several requests in flight on a connection it speaks HTTP/2; with one, HTTP/1.1.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use clap::Args;
use indicatif::ProgressBar;
use rustls::ClientConfig;
use serde::Serialize;

use crate::bench::latency::Percentiles;
use crate::bench::streams::{self, Made};
use crate::bench::{cpu, progress};
use crate::http::{Connection, Response, Url};
use crate::output::Output;
use crate::tls;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Measure the key-value ledger with writes that are read back
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// A node's API
    #[arg(long, default_value = "https://127.0.0.1:8000")]
    url: Url,
    /// The service's certificate
    #[arg(long, value_name = "CERT")]
    service: PathBuf,
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    writes: u32,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Requests in flight on each connection; more than one over HTTP/2
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=256))]
    pipeline: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    value_bytes: u32,
    /// Server processes whose CPU time is reported
    #[arg(long)]
    pid: Vec<u32>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    url: String,
    writes: u32,
    writes_per_second: f64,
    /// From the request until the write is committed.
    write_latency: Percentiles,
    reads_per_second: f64,
    read_latency: Percentiles,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_cpu_seconds: Option<f64>,
    own_cpu_seconds: f64,
}

pub fn run(options: &Options, output: Output) -> anyhow::Result<()> {
    let tls = tls::trusting(&tls::read_certificate(&options.service)?)?;
    // Keys of this run, so that what is read back was not left by an earlier one.
    let run = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis();
    let key = |i: u32| format!("/app/records/bench-{run}-{i}");
    let value = |i: u32| u64::from(i).to_be_bytes().repeat(options.value_bytes.div_ceil(8) as usize);

    let server_cpu = cpu::used_by(&options.pid)?;
    let own_cpu = cpu::used_by_self()?;
    let write = Step {
        label: "writes",
        request: &|i| (("PUT", key(i)), value(i)),
        check: &|_, response| {
            ensure!(
                (200..300).contains(&response.status),
                "a write was answered {}: {}",
                response.status,
                text(response)
            );
            ensure!(
                response.header("x-ms-ccf-transaction-id").is_some(),
                "a write was answered without a transaction id"
            );
            Ok(())
        },
    };
    let (writes_seconds, mut write_latencies) = write.run(options, &tls)?;
    let read = Step {
        label: "reads",
        request: &|i| (("GET", key(i)), Vec::new()),
        check: &|i, response| {
            ensure!(response.status == 200, "a committed record was answered {}: {}", response.status, text(response));
            ensure!(response.body == value(i), "a committed record has another value");
            Ok(())
        },
    };
    let (reads_seconds, mut read_latencies) = read.run(options, &tls)?;
    let server_cpu = cpu::used_by(&options.pid)?.saturating_sub(server_cpu);
    output.print(&Report {
        url: options.url.to_string(),
        writes: options.writes,
        writes_per_second: f64::from(options.writes) / writes_seconds,
        write_latency: Percentiles::of(&mut write_latencies),
        reads_per_second: f64::from(options.writes) / reads_seconds,
        read_latency: Percentiles::of(&mut read_latencies),
        server_cpu_seconds: (!options.pid.is_empty()).then_some(server_cpu.as_secs_f64()),
        own_cpu_seconds: cpu::used_by_self()?.saturating_sub(own_cpu).as_secs_f64(),
    })
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

/// One kind of request, made once for every number.
struct Step<'a> {
    label: &'a str,
    request: &'a (dyn Fn(u32) -> Made + Sync),
    check: &'a (dyn Fn(u32, &Response) -> anyhow::Result<()> + Sync),
}

impl Step<'_> {
    /// Divides the numbers among the connections. Gives the seconds it took and each request's latency.
    fn run(&self, options: &Options, tls: &Arc<ClientConfig>) -> anyhow::Result<(f64, Vec<Duration>)> {
        let share = options.writes.div_ceil(options.connections);
        let shares = (0..options.writes).step_by(share as usize).map(|first| first..options.writes.min(first + share));
        let shares: Vec<_> = shares.collect();
        let bar = progress::bar(u64::from(options.writes), self.label);
        let started = Instant::now();
        let latencies = thread::scope(|scope| {
            let lane = |share| {
                let bar = &bar;
                scope.spawn(move || self.run_lane(options, tls, share, bar))
            };
            let lanes: Vec<_> = shares.into_iter().map(lane).collect();
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

    fn run_lane(
        &self,
        options: &Options,
        tls: &Arc<ClientConfig>,
        numbers: Range<u32>,
        bar: &ProgressBar,
    ) -> anyhow::Result<Vec<Duration>> {
        let answered = |i: u32, response: &Response| {
            bar.inc(1);
            (self.check)(i, response).with_context(|| (self.request)(i).0.1)
        };
        if options.pipeline > 1 {
            return streams::run(
                &options.url,
                tls,
                TIMEOUT,
                numbers,
                options.pipeline as usize,
                self.request,
                &answered,
            );
        }
        let mut connection = Connection::open(&options.url, Some(tls), TIMEOUT)?;
        let mut latencies = Vec::with_capacity(numbers.len());
        for i in numbers {
            let ((method, path), body) = (self.request)(i);
            let sent = Instant::now();
            let response = connection.call(method, &path, &[], &body)?;
            latencies.push(sent.elapsed());
            answered(i, &response)?;
        }
        Ok(latencies)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.url)?;
        writeln!(
            f,
            "  {:.0} writes/s, committed and read back: {}; {}",
            self.writes_per_second, self.writes, self.write_latency
        )?;
        write!(f, "  {:.0} reads/s; {}", self.reads_per_second, self.read_latency)?;
        if let Some(cpu) = self.server_cpu_seconds {
            write!(f, "\n  server CPU {cpu:.2} s")?;
        }
        write!(f, "\n  own CPU {:.2} s", self.own_cpu_seconds)
    }
}
