//! Whole networks by seed.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;

use coco_replicas::{Coverage, Story};
use coco_sim::{Length, Log, Options, World, can_meet};

use super::{Progress, Telling, print_coverage};

#[derive(clap::Args)]
pub struct Arguments {
    /// Replay this seed and print its report.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    telling: Telling,
    /// Run this many seeds, from --first on.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// How long the trouble lasts, in simulated milliseconds. A seed replays only with the length it failed with.
    #[arg(long, default_value_t = Length::SHORT.trouble_ms)]
    trouble_ms: u64,
    /// Print at the end which faults met which states.
    #[arg(long)]
    coverage: bool,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let length = Length { trouble_ms: arguments.trouble_ms };
    match arguments.seed {
        Some(seed) => replay(seed, length, &arguments.telling),
        None => run_all(arguments, length),
    }
}

fn replay(seed: u64, length: Length, telling: &Telling) -> ExitCode {
    let story = Rc::new(RefCell::new(Story::default()));
    let written = story.clone();
    let log: Log = Box::new(move |event| written.borrow_mut().push(event));
    let outcome = World::run_with(seed, length, Options::of_seed(seed), Some(log));
    telling.tell(&story.borrow());
    match outcome {
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

fn run_all(arguments: &Arguments, length: Length) -> ExitCode {
    let mut progress = Progress::of(arguments.seeds);
    let (mut acknowledged, mut operations, mut coverage) = (0, 0, Coverage::default());
    for seed in arguments.first..arguments.first.saturating_add(arguments.seeds) {
        match World::run(seed, length) {
            Ok(report) => {
                acknowledged += report.acknowledged;
                operations += report.operations;
                coverage.add(&report.coverage);
            }
            Err(violation) => {
                progress.failed += 1;
                println!(
                    "seed {seed}: {violation} (what led to it: --seed {seed} --trouble-ms {} --trace)",
                    length.trouble_ms
                );
            }
        }
        progress.seed_done(|| {
            format!("{acknowledged} acknowledged, {operations} operations ordered, {} faults", coverage.total())
        });
    }
    if arguments.coverage {
        print_coverage(&coverage);
        let missing: Vec<_> = coverage.missing().into_iter().filter(|(fault, state)| can_meet(fault, state)).collect();
        println!("never met: {missing:?}");
    }
    if progress.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
