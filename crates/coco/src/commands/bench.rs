//! `coco bench …`: load generators.

use clap::Subcommand;

use crate::bench::{ethereum, records, recovery, sawtooth};
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub enum Command {
    Ethereum(ethereum::Options),
    Records(records::Options),
    Recovery(recovery::Options),
    Sawtooth(sawtooth::Options),
}

pub fn run(command: &Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Ethereum(options) => ethereum::run(options, output),
        Command::Records(options) => records::run(options, output),
        Command::Recovery(options) => recovery::run(options, output),
        Command::Sawtooth(options) => sawtooth::run(options, output),
    }
}
