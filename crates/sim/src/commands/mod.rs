//! What `coco-sim` can be asked to do, one file each.

pub mod histories;
pub mod planted;
pub mod replicas;
pub mod whole;

use std::time::Instant;

use coco_replicas::{Coverage, Story};

/// Between two lines of progress.
const SEEDS_A_LINE: u64 = 500;

/// How far a run of many seeds has come.
struct Progress {
    began: Instant,
    total: u64,
    done: u64,
    failed: u64,
}

impl Progress {
    fn of(total: u64) -> Self {
        Self { began: Instant::now(), total, done: 0, failed: 0 }
    }

    fn seed_done(&mut self, what: impl FnOnce() -> String) {
        self.done += 1;
        if self.done.is_multiple_of(SEEDS_A_LINE) || self.done == self.total {
            let an_hour = self.done as f64 / self.began.elapsed().as_secs_f64() * 3600.0;
            println!("{} seeds, {} failed, {}, {an_hour:.0} seeds an hour", self.done, self.failed, what());
        }
    }
}

/// How a replayed seed is told.
#[derive(clap::Args)]
struct Telling {
    /// With --seed: print what happens, in ticks or simulated milliseconds.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// With --seed: print the end of it as a mermaid sequence diagram.
    #[arg(long, requires = "seed")]
    diagram: bool,
}

impl Telling {
    fn tell(&self, story: &Story) {
        if self.trace {
            story.lines().for_each(|line| println!("{line}"));
        }
        if self.diagram {
            print!("{}", story.mermaid());
        }
    }
}

fn print_coverage(coverage: &Coverage) {
    println!("\nfaults by the state that they met\n\n{coverage}");
}
