//! Load that comes whether or not the server keeps up: each transfer has a time at which it is due, and its latency counts from then.
//!
//! A generator that waits for answers before it sends more slows down together with the server, and so hides what its users would feel
//! (coordinated omission). Here a transfer that leaves late was late. What the server refuses as busy is shed: nobody sends it again, as another
//! user's transfer is due next.
//!
//! ```text
//!   growing rates ──▶ the first that is not carried ──▶ between the two ──▶ knee ──▶ twice the knee ──▶ half the knee: as before?
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde::Serialize;

use super::Options;
use super::load::{STALL, is_busy, write_requests};
use super::sightings::Sightings;
use super::target::Target;
use super::workload::Workload;
use crate::bench::latency::Percentiles;
use crate::http::Url;
use crate::json_rpc::Client;

/// A rate is carried if nothing is shed, and all but a hundredth is final within this.
const CARRIED_P99_MS: f64 = 1_000.0;
/// The first rate, transfers a second, unless the user names one, and how the rates grow until one is not carried.
const FIRST_RATE: f64 = 500.0;
const GROWTH: f64 = 1.6;
/// Then this many halvings between the last rate that was carried and the first that was not.
const HALVINGS: u32 = 3;
/// Beyond any single machine.
const RATE_MAX: f64 = 200_000.0;

/// What one rate came to.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Transfers that were due in a second.
    pub offered_per_second: f64,
    pub offered: usize,
    pub accepted: usize,
    /// Refused as busy.
    pub shed: usize,
    /// Accepted ones that were final, over the time until the last of them was.
    pub final_per_second: f64,
    /// Of what was accepted: from when it was due until its receipt was visible.
    pub latency: Percentiles,
    /// Of everything: from when it was due until it left. Large if the generator, or the server's answers, cannot keep up.
    pub lateness: Percentiles,
}

/// A search for the knee, and what lies beyond it.
#[derive(Clone, Debug, Serialize)]
pub struct Knee {
    pub url: String,
    pub client: String,
    /// The highest rate that was carried.
    pub knee_per_second: f64,
    pub search: Vec<Step>,
    pub at_twice_the_knee: Step,
    /// At once after that.
    pub at_half_the_knee: Step,
}

/// Offers one rate.
pub fn step(target: &mut Target, options: &Options, rate: f64) -> anyhow::Result<Step> {
    let count = ((rate * f64::from(options.seconds)) as usize).max(1);
    let workload = Workload::prepare(target, options, count)?;
    let head = target.block_number()?;
    let url = target.url.clone();
    let schedule = Schedule {
        workload: &workload,
        rate,
        lanes: usize::try_from(options.connections)?.min(workload.senders.len()),
        batch: usize::try_from(options.batch)?,
        started: Instant::now(),
        accepted: AtomicUsize::new(0),
        ended: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    };
    let (sightings, sent) = schedule.run(&url, || schedule.watch(target, head, options.poll_ms))?;
    Ok(sent.outcome(rate, &sightings))
}

/// Searches the knee, goes to twice of it, and back to half of it.
pub fn knee(target: &mut Target, options: &Options, first_rate: Option<f64>) -> anyhow::Result<Knee> {
    let mut search = Vec::new();
    let (mut carried, mut beyond) = (0.0, first_rate.unwrap_or(FIRST_RATE));
    while beyond < RATE_MAX && try_rate(target, options, beyond, &mut search)? {
        (carried, beyond) = (beyond, beyond * GROWTH);
    }
    for _ in 0..HALVINGS {
        let rate = f64::midpoint(carried, beyond);
        let side = if try_rate(target, options, rate, &mut search)? { &mut carried } else { &mut beyond };
        *side = rate;
    }
    if carried == 0.0 {
        bail!("not even {beyond:.0} transfers a second are carried");
    }
    Ok(Knee {
        url: target.url.to_string(),
        client: target.client_version.clone(),
        knee_per_second: carried,
        search,
        at_twice_the_knee: step(target, options, 2.0 * carried)?,
        at_half_the_knee: step(target, options, carried / 2.0)?,
    })
}

fn try_rate(target: &mut Target, options: &Options, rate: f64, search: &mut Vec<Step>) -> anyhow::Result<bool> {
    let step = step(target, options, rate)?;
    eprintln!("{}: {step}", target.url);
    let carried = step.is_carried();
    search.push(step);
    Ok(carried)
}

/// What lanes and watcher share.
struct Schedule<'a> {
    workload: &'a Workload,
    rate: f64,
    lanes: usize,
    batch: usize,
    started: Instant,
    accepted: AtomicUsize,
    /// Lanes that have sent all of theirs.
    ended: AtomicUsize,
    failed: AtomicBool,
}

/// What left.
#[derive(Default)]
struct Sent {
    /// Of each transfer that was due.
    lateness: Vec<Duration>,
    /// When each accepted one was due.
    accepted: Vec<(usize, Duration)>,
}

impl Schedule<'_> {
    /// Sends on all lanes while somebody watches.
    fn run<T>(&self, url: &Url, watch: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Sent)> {
        thread::scope(|scope| {
            let part = |lane: usize| {
                let sent = self.send_lane(url, lane);
                self.failed.fetch_or(sent.is_err(), Ordering::Relaxed);
                self.ended.fetch_add(1, Ordering::Release);
                sent
            };
            let lanes: Vec<_> = (0..self.lanes).map(|lane| scope.spawn(move || part(lane))).collect();
            let watched = watch();
            self.failed.fetch_or(watched.is_err(), Ordering::Relaxed);
            let mut sent = Sent::default();
            for lane in lanes {
                let of_lane = lane.join().map_err(|_| anyhow!("a lane panicked"))??;
                sent.lateness.extend(of_lane.lateness);
                sent.accepted.extend(of_lane.accepted);
            }
            Ok((watched?, sent))
        })
    }

    fn due_at(&self, number: usize) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// Every so many transfers are this lane's, from its own senders. A sender whose transfer is shed makes the same one the next time.
    fn send_lane(&self, url: &Url, lane: usize) -> anyhow::Result<Sent> {
        let mut client = Client::connect(url)?;
        let (count, senders) = (self.workload.transfers.len(), self.workload.senders.len());
        let own = (0..senders).filter(|sender| sender % self.lanes == lane);
        let of_sender = |sender: usize| (sender..count).step_by(senders).collect::<VecDeque<usize>>();
        let mut queues: VecDeque<VecDeque<usize>> = own.map(of_sender).collect();
        // No sender has two in one request, so that a refusal leaves no gap between its nonces.
        let batch = self.batch.min(queues.len());
        let mut numbers = (lane..count).step_by(self.lanes).peekable();
        let (mut sent, mut body) = (Sent::default(), String::new());
        while let Some(first) = numbers.peek().copied() {
            if self.failed.load(Ordering::Relaxed) {
                bail!("stopped");
            }
            thread::sleep(self.due_at(first).saturating_sub(self.started.elapsed()));
            let now = self.started.elapsed();
            let mut chosen = Vec::new();
            while chosen.len() < batch
                && let Some(number) = numbers.next_if(|number| self.due_at(*number) <= now)
            {
                let mut queue = queues.pop_front().context("a lane has senders")?;
                match queue.pop_front() {
                    Some(transfer) => chosen.push((number, transfer, queue)),
                    None => queues.push_back(queue),
                }
            }
            if chosen.is_empty() {
                continue;
            }
            sent.lateness.extend(chosen.iter().map(|(number, ..)| now.saturating_sub(self.due_at(*number))));
            write_requests(&mut body, chosen.iter().filter_map(|(_, i, _)| self.workload.transfers.get(*i)))?;
            let errors = client.post_requests(body.as_bytes(), chosen.len())?;
            let before = sent.accepted.len();
            for ((number, transfer, mut queue), error) in chosen.into_iter().zip(errors) {
                match error {
                    None => sent.accepted.push((transfer, self.due_at(number))),
                    Some(error) if is_busy(&error) => queue.push_front(transfer),
                    Some(error) => return Err(error).context("a transfer was refused"),
                }
                queues.push_back(queue);
            }
            self.accepted.fetch_add(sent.accepted.len() - before, Ordering::Release);
        }
        Ok(sent)
    }

    /// Follows the chain until everything that was accepted is in it.
    fn watch(&self, target: &mut Target, head: u64, poll_ms: u64) -> anyhow::Result<Sightings> {
        let mut sightings = Sightings::new(&self.workload.transfers, self.started, head);
        let (mut seen, mut last_news) = (0, Instant::now());
        loop {
            if self.failed.load(Ordering::Relaxed) {
                bail!("stopped");
            }
            let all_sent = self.ended.load(Ordering::Acquire) == self.lanes;
            if all_sent && seen >= self.accepted.load(Ordering::Acquire) {
                return Ok(sightings);
            }
            match sightings.look(target)? {
                Some(new) => {
                    seen += new;
                    last_news = Instant::now();
                }
                None if last_news.elapsed() > STALL => bail!("an accepted transfer came into no block"),
                None => thread::sleep(Duration::from_millis(poll_ms)),
            }
        }
    }
}

impl Sent {
    fn outcome(mut self, rate: f64, sightings: &Sightings) -> Step {
        let seen = |transfer: usize| sightings.seen.get(transfer).copied().flatten();
        let times = self.accepted.iter().filter_map(|(transfer, due)| Some((*due, seen(*transfer)?)));
        let mut latencies: Vec<_> = times.map(|(due, seen)| seen.saturating_sub(due)).collect();
        let last = sightings.seen.iter().flatten().max().copied().unwrap_or_default();
        let (offered, accepted) = (self.lateness.len(), latencies.len());
        Step {
            offered_per_second: rate,
            offered,
            accepted,
            shed: offered - accepted,
            final_per_second: if accepted == 0 { 0.0 } else { accepted as f64 / last.as_secs_f64() },
            latency: Percentiles::of(&mut latencies),
            lateness: Percentiles::of(&mut self.lateness),
        }
    }
}

impl Step {
    fn is_carried(&self) -> bool {
        self.shed == 0 && self.latency.p99_ms <= CARRIED_P99_MS
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} a second offered: {:.0} final, {} of {} shed; due to receipt {}; sent late by {}",
            self.offered_per_second, self.final_per_second, self.shed, self.offered, self.latency, self.lateness
        )
    }
}

impl fmt::Display for Knee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.url, self.client)?;
        writeln!(f, "  knee: {:.0} transfers a second", self.knee_per_second)?;
        writeln!(f, "  twice of it: {}", self.at_twice_the_knee)?;
        write!(f, "  then half of it: {}", self.at_half_the_knee)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::bench::ethereum::workload::Transfer;

    #[test]
    fn latency_counts_from_when_a_transfer_was_due_and_what_was_refused_is_shed() {
        let transfers = [1, 2, 3].map(|i| Transfer { hash: B256::with_last_byte(i), raw_hex: String::new() });
        let mut sightings = Sightings::new(&transfers, Instant::now(), 0);
        let ms = Duration::from_millis;
        sightings.seen = vec![Some(ms(500)), Some(ms(1_000)), None];
        let sent = Sent { lateness: vec![ms(0), ms(10), ms(20)], accepted: vec![(0, ms(100)), (1, ms(900))] };
        let step = sent.outcome(3.0, &sightings);
        assert_eq!((step.offered, step.accepted, step.shed), (3, 2, 1));
        assert_eq!((step.latency.p50_ms, step.latency.p99_ms, step.lateness.p99_ms), (100.0, 400.0, 20.0));
        assert!((step.final_per_second - 2.0).abs() < 1e-9);
        assert!(!step.is_carried(), "something was shed");
    }
}
