//! One transfer at a time: what a lone user waits.

use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use anyhow::ensure;

use super::target::Target;
use super::verify;
use super::workload::Workload;
use super::{Options, Run};
use crate::bench::latency::Percentiles;
use crate::bench::{cpu, progress};

/// Between two looks for the receipt. Short against any answer worth measuring, long enough not to occupy the server.
const POLL: Duration = Duration::from_micros(200);
/// A transfer that is not in a block by then has failed the run.
const TIMEOUT: Duration = Duration::from_secs(60);

pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Run> {
    let workload = Workload::prepare(target, options, options.transactions())?;
    let head = target.block_number()?;
    let server_cpu = target.cpu()?;
    let own_cpu = cpu::used_by_self()?;
    let started = Instant::now();
    let bar = progress::bar(workload.transfers.len() as u64, "transfers");
    let mut latencies = Vec::with_capacity(workload.transfers.len());
    for transfer in &workload.transfers {
        let sent = Instant::now();
        let _: B256 = target.client.call("eth_sendRawTransaction", (&transfer.raw_hex,))?;
        while target.receipt(&transfer.hash)?.is_none() {
            ensure!(sent.elapsed() < TIMEOUT, "{} is in no block after {} s", transfer.hash, TIMEOUT.as_secs());
            thread::sleep(POLL);
        }
        latencies.push(sent.elapsed());
        bar.inc(1);
    }
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let server_cpu = target.cpu()?.zip(server_cpu).map(|(after, before)| (after - before).as_secs_f64());
    let own_cpu = cpu::used_by_self()?.saturating_sub(own_cpu);
    let blocks = target.block_number()? - head;
    verify::all_paid(target, &workload, head + 1..=head + blocks)?;
    let transactions = workload.transfers.len();
    Ok(Run {
        what: options.what,
        transactions,
        seconds,
        transactions_per_second: transactions as f64 / seconds,
        latency: Percentiles::of(&mut latencies),
        blocks,
        refused_busy: 0,
        server_cpu_seconds: server_cpu,
        own_cpu_seconds: own_cpu.as_secs_f64(),
        server_memory_bytes: target.memory_bytes()?,
    })
}
