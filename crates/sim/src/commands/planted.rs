//! Known bugs, planted one after the other. A simulator that does not find them would not find unknown ones.
//!
//! It fails if one is missed, but for the few that need what short runs seldom bring about: those have tests of their own, named here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use coco_replicas::{Mutant, chaos};
use coco_sim::{Length, Planted, World};

#[derive(clap::Args)]
pub struct Arguments {
    /// Give a bug of consensus up after so many seeds.
    #[arg(long, default_value_t = 5_000)]
    seeds_max: u64,
    /// Give a bug of whole nodes up after so many seeds.
    #[arg(long, default_value_t = 300)]
    whole_seeds_max: u64,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    // What is found may be an assertion of the product: it is told of in the table.
    std::panic::set_hook(Box::new(|_| {}));
    println!("| planted in | bug | found after | by |\n|---|---|--:|---|");
    let mut missed = 0;
    for mutant in Mutant::ALL {
        let options = chaos::Options { mutant: Some(mutant), ..chaos::Options::SHORT };
        let found = (1..=arguments.seeds_max).find_map(|seed| Some((seed, chaos::run(seed, &options).err()?.why)));
        let own_test = test_of_mutant(mutant);
        missed += row("consensus", mutant.name(), mutant.what(), found, own_test, arguments.seeds_max);
    }
    for planted in Planted::ALL {
        let found = (1..=arguments.whole_seeds_max).find_map(|seed| Some((seed, broken(seed, planted)?)));
        let own_test = test_of_planted(planted);
        missed += row("node", planted.name(), planted.what(), found, own_test, arguments.whole_seeds_max);
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn broken(seed: u64, planted: Planted) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| World::run_with(seed, Length::SHORT, planted.options(), None))) {
        Ok(Ok(_)) => None,
        Ok(Err(violation)) => Some(violation.0),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}

/// The test that notices a bug of consensus which seeds of this length are known not to find.
fn test_of_mutant(mutant: Mutant) -> Option<&'static str> {
    match mutant {
        Mutant::VotesOfTheUnion => Some("its scenario, `t01`"),
        Mutant::RetiresAtOnce => Some("its scenario, `t06`"),
        Mutant::ForgetsItsVote => Some("its scenario, `t12`"),
        _ => None,
    }
}

/// The same of a bug of whole nodes.
fn test_of_planted(planted: Planted) -> Option<&'static str> {
    match planted {
        Planted::HeartbeatsBehindSyncs => Some("its own test, in `crates/sim/tests/blindness.rs`"),
        _ => None,
    }
}

/// 1 if it was not found and has no test of its own either.
fn row(
    place: &str,
    name: &str,
    what: &str,
    found: Option<(u64, String)>,
    own_test: Option<&str>,
    seeds_max: u64,
) -> u64 {
    match found {
        Some((seed, why)) => {
            let why = why.lines().next().unwrap_or_default().replace('|', "/");
            println!("| {place} | `{name}`: {what} | {seed} seeds | {why} |");
            0
        }
        None => {
            println!("| {place} | `{name}`: {what} | not in {seeds_max} seeds | {} |", own_test.unwrap_or_default());
            u64::from(own_test.is_none())
        }
    }
}
