//! `coco-sim`: runs seeds, and replays one.

use std::process::ExitCode;

use clap::Parser;
use coco_sim::World;

/// Runs the simulator. A failing seed replays exactly.
#[derive(Parser)]
#[command(name = "coco-sim", version)]
struct Arguments {
    /// Replay this seed and print its report.
    #[arg(long)]
    seed: Option<u64>,
    /// Run this many seeds, from --first on.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    #[arg(long, default_value_t = 1)]
    first: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = match arguments.seed {
        Some(seed) => seed..seed.saturating_add(1),
        None => arguments.first..arguments.first.saturating_add(arguments.seeds),
    };
    let mut failed = 0;
    for seed in seeds.clone() {
        match World::run(seed) {
            Ok(report) if arguments.seed.is_some() => println!("{report:#?}"),
            Ok(_) => {}
            Err(violation) => {
                failed += 1;
                println!("seed {seed}: {}", violation.0);
            }
        }
    }
    println!("{} seeds, {failed} failed", seeds.end - seeds.start);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
