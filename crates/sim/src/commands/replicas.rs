//! Consensus replicas alone, by seed.

use std::process::ExitCode;

use coco_replicas::chaos::{self, Failure};
use coco_replicas::{Coverage, Mutant, can_meet};

use super::{Progress, Telling, print_coverage};

#[derive(clap::Args)]
pub struct Arguments {
    /// Replay this seed.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    telling: Telling,
    /// Run this many seeds, from --first on.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How long the trouble lasts. A seed replays only with the length it failed with.
    #[arg(long, default_value_t = chaos::Options::SHORT.ticks)]
    ticks: u64,
    /// Plant this bug.
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
}

fn mutant(name: &str) -> Result<Mutant, String> {
    Mutant::named(name).ok_or_else(|| format!("known are {}", Mutant::ALL.map(Mutant::name).join(", ")))
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let options = chaos::Options { ticks: arguments.ticks, mutant: arguments.mutant, told: arguments.seed.is_some() };
    let Some(seed) = arguments.seed else { return run_all(arguments, &options) };
    match chaos::run(seed, &options) {
        Ok(report) => {
            arguments.telling.tell(&report.story);
            println!("seed {seed}: {} entries committed, {} faults", report.committed, report.coverage.total());
            ExitCode::SUCCESS
        }
        Err(Failure { why, story, .. }) => {
            arguments.telling.tell(&story);
            println!("seed {seed}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(arguments: &Arguments, options: &chaos::Options) -> ExitCode {
    let mut progress = Progress::of(arguments.seeds);
    let (mut committed, mut coverage) = (0, Coverage::default());
    for seed in arguments.first..arguments.first.saturating_add(arguments.seeds) {
        match chaos::run(seed, options) {
            Ok(report) => {
                committed += report.committed;
                coverage.add(&report.coverage);
            }
            Err(failure) => {
                progress.failed += 1;
                println!("seed {seed}: {}", failure.why);
            }
        }
        progress.seed_done(|| format!("{committed} entries committed, {} faults", coverage.total()));
    }
    print_coverage(&coverage);
    let missing: Vec<_> = coverage.missing().into_iter().filter(|(fault, state)| can_meet(fault, state)).collect();
    println!("never met: {missing:?}");
    if progress.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
