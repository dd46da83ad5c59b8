//! The load itself: lanes that send, a watcher that sees the receipts come.
//!
//! Every sender belongs to one lane, so that its transfers leave in the order of their nonces.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use super::sightings::Sightings;
use super::target::Target;
use super::verify;
use super::workload::{Transfer, Workload, wait_for_receipt};
use super::{Options, Run, What};
use crate::bench::latency::Percentiles;
use crate::bench::{cpu, progress};
use crate::http::Url;
use crate::json_rpc::{Client, RpcError};

/// Pause before a refused transfer is sent again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// A run without a single new receipt for this long has failed.
pub const STALL: Duration = Duration::from_secs(60);

/// One run: prepares, sends, waits for the last receipt, checks everything.
pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Run> {
    loaded(target, options).map(|(run, _)| run)
}

/// The same, with what was sent.
pub fn loaded(target: &mut Target, options: &Options) -> anyhow::Result<(Run, Workload)> {
    let workload = Workload::prepare(target, options, options.transactions())?;
    let head = target.block_number()?;
    let server_cpu = target.cpu()?;
    let own_cpu = cpu::used_by_self()?;

    let shared = Shared::new(&workload, options);
    let watched = shared.send(&target.url.clone(), |shared| watch(shared, target, head))?;

    let server_cpu = target.cpu()?.zip(server_cpu).map(|(after, before)| (after - before).as_secs_f64());
    let own_cpu = cpu::used_by_self()?.saturating_sub(own_cpu);
    verify::all_paid(target, &workload, head + 1..=head + watched.blocks)?;
    let seen: Vec<Duration> = watched.seen.into_iter().flatten().collect();
    let times = seen.iter().zip(&shared.sent_ns);
    let mut latencies: Vec<_> = times.map(|(seen, sent)| seen.saturating_sub(sent.load_duration())).collect();
    let seconds = seen.iter().max().copied().unwrap_or_default().as_secs_f64();
    let transactions = workload.transfers.len();
    let run = Run {
        what: if workload.token.is_some() { What::Tokens } else { What::Transfers },
        transactions,
        seconds,
        transactions_per_second: transactions as f64 / seconds,
        latency: Percentiles::of(&mut latencies),
        blocks: watched.blocks,
        refused_busy: shared.refused_busy.load(Ordering::Relaxed),
        server_cpu_seconds: server_cpu,
        own_cpu_seconds: own_cpu.as_secs_f64(),
        server_memory_bytes: target.memory_bytes()?,
    };
    Ok((run, workload))
}

/// Sends everything and waits until the last of each sender is in a block, which is all that is looked at.
pub fn send_all(target: &mut Target, workload: &Workload, options: &Options) -> anyhow::Result<()> {
    Shared::new(workload, options).send(&target.url.clone(), |_| Ok(()))?;
    let mut last = workload.transfers.iter().rev().take(workload.senders.len());
    last.try_for_each(|transfer| wait_for_receipt(target, &transfer.hash))
}

/// What lanes and watcher share while the clock runs.
struct Shared<'a> {
    workload: &'a Workload,
    options: &'a Options,
    started: Instant,
    /// When each transfer was first sent, since the start.
    sent_ns: Vec<SentNs>,
    refused_busy: AtomicU64,
    failed: AtomicBool,
}

/// Nanoseconds since the start; 0 is "not yet".
struct SentNs(AtomicU64);

impl SentNs {
    fn note(&self, since_start: Duration) {
        let ns = u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX).max(1);
        let _ = self.0.compare_exchange(0, ns, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn load_duration(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl<'a> Shared<'a> {
    fn new(workload: &'a Workload, options: &'a Options) -> Self {
        Self {
            workload,
            options,
            sent_ns: workload.transfers.iter().map(|_| SentNs(AtomicU64::new(0))).collect(),
            refused_busy: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// Sends everything, each lane on a connection of its own, while somebody watches.
    fn send<T>(&self, url: &Url, watch: impl FnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let (workload, connections) = (self.workload, usize::try_from(self.options.connections)?);
        let lanes = connections.min(workload.senders.len());
        thread::scope(|scope| {
            let senders: Vec<_> = (0..lanes)
                .map(|lane| {
                    let queue = (0..workload.transfers.len()).filter(|i| (i % workload.senders.len()) % lanes == lane);
                    let queue: VecDeque<_> = queue.collect();
                    scope.spawn(move || self.noting_failure(|| send_lane(self, url, queue, lanes)))
                })
                .collect();
            let watched = self.noting_failure(|| watch(self));
            for sender in senders {
                sender.join().map_err(|_| anyhow!("a lane panicked"))??;
            }
            watched
        })
    }

    /// Runs one part; its failure ends the others.
    fn noting_failure<T>(&self, part: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let result = part();
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    fn others_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Sends the transfers of one lane in order; those that the server is too full for go to the front again.
fn send_lane(shared: &Shared<'_>, url: &Url, mut queue: VecDeque<usize>, lanes: usize) -> anyhow::Result<()> {
    let mut client = Client::connect(url)?;
    let batch = usize::try_from(shared.options.batch)?;
    let mut body = String::new();
    let mut sent = 0u64;
    while !queue.is_empty() && !shared.others_failed() {
        if let Some(rate) = shared.options.rate {
            let due = Duration::from_secs_f64(sent as f64 * lanes as f64 / f64::from(rate));
            thread::sleep(due.saturating_sub(shared.started.elapsed()));
        }
        let chosen: Vec<usize> = queue.drain(..batch.min(queue.len())).collect();
        write_requests(&mut body, chosen.iter().filter_map(|i| shared.workload.transfers.get(*i)))?;
        let now = shared.started.elapsed();
        chosen.iter().filter_map(|i| shared.sent_ns.get(*i)).for_each(|sent| sent.note(now));
        let errors = client.post_requests(body.as_bytes(), chosen.len())?;
        let mut refused = Vec::new();
        for (i, error) in chosen.iter().zip(errors) {
            match error {
                None => sent += 1,
                Some(error) if is_busy(&error) => refused.push(*i),
                Some(error) => return Err(error).context("a transfer was refused"),
            }
        }
        if !refused.is_empty() {
            shared.refused_busy.fetch_add(refused.len() as u64, Ordering::Relaxed);
            refused.into_iter().rev().for_each(|i| queue.push_front(i));
            thread::sleep(BUSY_PAUSE);
        }
    }
    Ok(())
}

/// The words in which servers say "later": a full pool, or a limit (EIP-1474: -32005).
pub fn is_busy(error: &RpcError) -> bool {
    error.code == -32005 || error.message.contains("full") || error.message.contains("limit exceeded")
}

pub fn write_requests<'a>(body: &mut String, transfers: impl Iterator<Item = &'a Transfer>) -> anyhow::Result<()> {
    body.clear();
    let mut count = 0;
    for transfer in transfers {
        body.push(if count == 0 { '[' } else { ',' });
        let raw = &transfer.raw_hex;
        write!(body, r#"{{"jsonrpc":"2.0","id":{count},"method":"eth_sendRawTransaction","params":["{raw}"]}}"#)?;
        count += 1;
    }
    if count == 1 {
        body.remove(0);
    } else {
        body.push(']');
    }
    Ok(())
}

/// Follows the chain from block `head` until every transfer is in it.
fn watch(shared: &Shared<'_>, target: &mut Target, head: u64) -> anyhow::Result<Sightings> {
    let mut sightings = Sightings::new(&shared.workload.transfers, shared.started, head);
    let mut missing = shared.workload.transfers.len();
    let mut last_news = Instant::now();
    let bar = progress::bar(missing as u64, "receipts");
    while missing > 0 {
        if shared.others_failed() {
            bail!("stopped");
        }
        let Some(new) = sightings.look(target)? else {
            if last_news.elapsed() > STALL {
                bail!("{missing} transfers have no receipt, and none came for {} s", STALL.as_secs());
            }
            thread::sleep(Duration::from_millis(shared.options.poll_ms));
            continue;
        };
        if new > 0 {
            missing -= new;
            last_news = Instant::now();
            bar.inc(new as u64);
        }
    }
    bar.finish_and_clear();
    Ok(sightings)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;

    #[test]
    fn one_transfer_goes_bare_and_several_as_a_batch() {
        let transfers = [0, 1].map(|i| Transfer { hash: B256::ZERO, raw_hex: format!("0x0{i}") });
        let mut body = String::new();
        write_requests(&mut body, transfers.iter().take(1)).unwrap();
        let bare = r#"{"jsonrpc":"2.0","id":0,"method":"eth_sendRawTransaction","params":["0x00"]}"#;
        assert_eq!(body, bare);
        write_requests(&mut body, transfers.iter()).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(parsed[1]["id"], 1);
        assert_eq!(parsed[1]["params"][0], "0x01");
    }

    #[test]
    fn full_is_busy_and_a_wrong_nonce_is_not() {
        let error = |code, message: &str| RpcError { code, message: message.into() };
        assert!(is_busy(&error(-32000, "txpool is full")));
        assert!(is_busy(&error(-32005, "slow down")));
        assert!(!is_busy(&error(-32000, "nonce too low: next nonce 2, tx nonce 1")));
        assert!(!is_busy(&error(-32000, "exceeds block gas limit")));
    }
}
