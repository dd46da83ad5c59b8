//! Histories of real clients.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use coco_sim::history::{self, Verdict};

#[derive(clap::Args)]
pub struct Arguments {
    /// JSON lines, one operation each.
    files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let mut failed = false;
    for file in &arguments.files {
        match judged(file) {
            Ok(count) => println!("{}: {count} operations, one order explains them", file.display()),
            Err(why) => {
                failed = true;
                println!("{}: {why}", file.display());
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn judged(file: &PathBuf) -> Result<usize, String> {
    let opened = File::open(file).map_err(|error| error.to_string())?;
    let operations = history::read(BufReader::new(opened))?;
    let count = operations.len();
    history::nothing_lost_nothing_twice(&operations)?;
    match history::check(&history::orderable(operations)) {
        Verdict::Linearizable => Ok(count),
        Verdict::Broken { key, stuck_at } => Err(format!("no order explains {key}: {stuck_at:?}")),
        Verdict::Unknown { key } => Err(format!("the history of {key} is too tangled to be judged")),
    }
}
