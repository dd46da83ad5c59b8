//! Reads: calls of a contract, or searches for logs, from several connections at once, each with one request in flight.
//!
//! A thread drives many connections in turn: to wake a thread for each answer would cost more than many an answer itself. Every answer is checked: a balance against the one that was read before, the number of logs against what was
//! sent.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256};
use anyhow::{Context, anyhow, ensure};
use serde::de::IgnoredAny;

use super::logs::{self, Search};
use super::target::Target;
use super::token;
use super::workload::Workload;
use super::{Options, Run, What};
use crate::bench::cpu;
use crate::bench::latency::Percentiles;
use crate::http::Url;
use crate::json_rpc::{self, Client};

/// Longer answers are not parsed.
const PARSED_BYTES_MAX: usize = 64 << 10;

/// What is asked, and what the answer has to be.
enum Questions {
    Balances { token: Address, holders: Vec<(Address, U256)> },
    Logs(Vec<Search>),
}

pub fn run(target: &mut Target, options: &Options) -> anyhow::Result<Run> {
    let questions = match options.what {
        What::Logs | What::AllLogs => Questions::Logs(logs::searches(target, options)?),
        _ => balances(target, options)?,
    };
    let count = options.queries();
    let (next, server_cpu, own_cpu) = (AtomicUsize::new(0), target.cpu()?, cpu::used_by_self()?);
    let started = Instant::now();
    let mut latencies = thread::scope(|scope| {
        let connections = usize::try_from(options.connections)?;
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(connections);
        let lane = |number: usize| {
            let own = (number..connections).step_by(threads).len();
            let (questions, next, url) = (&questions, &next, &target.url);
            move || drive(own, url, questions, next, count)
        };
        let lanes: Vec<_> = (0..threads).map(|number| scope.spawn(lane(number))).collect();
        let mut all: Vec<Duration> = Vec::with_capacity(count);
        for lane in lanes {
            all.extend(lane.join().map_err(|_| anyhow!("a lane panicked"))??);
        }
        anyhow::Ok(all)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let server_cpu = target.cpu()?.zip(server_cpu).map(|(after, before)| (after - before).as_secs_f64());
    Ok(Run {
        what: options.what,
        transactions: count,
        seconds,
        transactions_per_second: count as f64 / seconds,
        latency: Percentiles::of(&mut latencies),
        blocks: 0,
        refused_busy: 0,
        server_cpu_seconds: server_cpu,
        own_cpu_seconds: cpu::used_by_self()?.saturating_sub(own_cpu).as_secs_f64(),
        server_memory_bytes: target.memory_bytes()?,
    })
}

/// Keeps a question in flight on each of so many connections, as long as there are any left. How long each took.
fn drive(
    connections: usize,
    url: &Url,
    questions: &Questions,
    next: &AtomicUsize,
    count: usize,
) -> anyhow::Result<Vec<Duration>> {
    let (mut in_flight, mut latencies) = (VecDeque::new(), Vec::new());
    let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < count);
    for _ in 0..connections {
        let mut client = Client::connect(url)?;
        let Some(index) = take() else { break };
        let sent = Instant::now();
        questions.ask(&mut client, index)?;
        in_flight.push_back((client, index, sent));
    }
    while let Some((mut client, index, sent)) = in_flight.pop_front() {
        questions.check_answer(&mut client, index)?;
        latencies.push(sent.elapsed());
        if let Some(index) = take() {
            let sent = Instant::now();
            questions.ask(&mut client, index)?;
            in_flight.push_back((client, index, sent));
        }
    }
    Ok(latencies)
}

/// Holders of a new token.
fn balances(target: &mut Target, options: &Options) -> anyhow::Result<Questions> {
    let workload = Workload::prepare(target, options, usize::try_from(options.accounts)?)?;
    let token = workload.token.context("reads are of a token")?;
    let held = token::balances(target, token, &workload.senders)?;
    Ok(Questions::Balances { token, holders: workload.senders.into_iter().zip(held).collect() })
}

/// How many logs an answer has. To parse megabytes would cost more than many a server needs to write them: there it has to do that each
/// log is an object, and the whole is one.
fn logs_in(answer: &[u8]) -> anyhow::Result<usize> {
    if answer.len() > PARSED_BYTES_MAX {
        return Ok(answer.iter().filter(|byte| **byte == b'{').count() - 1);
    }
    let logs: Vec<IgnoredAny> = json_rpc::read("eth_getLogs", answer)?;
    Ok(logs.len())
}

impl Questions {
    fn ask(&self, client: &mut Client, index: usize) -> anyhow::Result<()> {
        match self {
            Self::Balances { token, holders } => {
                let (holder, _) = &holders[index % holders.len()];
                client.ask("eth_call", token::balance_call(*token, holder))
            }
            Self::Logs(searches) => client.ask("eth_getLogs", (&searches[index % searches.len()].filter,)),
        }
    }

    fn check_answer(&self, client: &mut Client, index: usize) -> anyhow::Result<()> {
        match self {
            Self::Balances { holders, .. } => {
                let (holder, expected) = &holders[index % holders.len()];
                let word: B256 = client.answer("eth_call")?;
                let found = U256::from_be_bytes(word.0);
                ensure!(found == *expected, "{holder} has {found} tokens, not {expected}");
            }
            Self::Logs(searches) => {
                let Search { filter, matches } = &searches[index % searches.len()];
                let found = logs_in(&client.answer_bytes()?)?;
                ensure!(found == *matches, "{found} logs, not {matches}, of {filter}");
            }
        }
        Ok(())
    }
}
