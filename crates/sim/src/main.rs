//! `coco-sim`: runs seeds, and replays one.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use coco_sim::{Length, Log, Options, World};

/// Runs the simulator. A failing seed replays exactly.
#[derive(Parser)]
#[command(name = "coco-sim", version)]
struct Arguments {
    /// Replay this seed and print its report.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: print what happens, with simulated milliseconds.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Run this many seeds, from --first on.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How long the trouble lasts, in simulated milliseconds. A seed replays only with the length it failed with.
    #[arg(long, default_value_t = Length::SHORT.trouble_ms)]
    trouble_ms: u64,
}

/// Between two lines of progress.
const SEEDS_A_LINE: u64 = 500;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let length = Length { trouble_ms: arguments.trouble_ms };
    match arguments.seed {
        Some(seed) => replay(seed, length, arguments.trace),
        None => run(arguments.first..arguments.first.saturating_add(arguments.seeds), length),
    }
}

fn replay(seed: u64, length: Length, trace: bool) -> ExitCode {
    let log: Option<Log> = trace.then(|| Box::new(|at_ms: u64, line: &str| println!("{at_ms:>9} {line}")) as Log);
    match World::run_with(seed, length, Options::default(), log) {
        Ok(report) => {
            println!("{report:#?}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn run(seeds: std::ops::Range<u64>, length: Length) -> ExitCode {
    let began = Instant::now();
    let (mut failed, mut acknowledged) = (0, 0);
    for (done, seed) in seeds.clone().enumerate() {
        match World::run(seed, length) {
            Ok(report) => acknowledged += report.acknowledged,
            Err(violation) => {
                failed += 1;
                println!("seed {seed}: {violation}");
            }
        }
        let done = done as u64 + 1;
        if done.is_multiple_of(SEEDS_A_LINE) || done == seeds.end - seeds.start {
            let seconds = began.elapsed().as_secs_f64();
            let an_hour = done as f64 / seconds * 3600.0;
            println!("{done} seeds, {failed} failed, {acknowledged} acknowledged, {an_hour:.0} seeds an hour");
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
