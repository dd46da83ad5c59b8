//! `coco-sim`: runs seeds, and replays one.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::{histories, planted, replicas, whole};

/// Runs the simulator: without a command, whole networks. A failing seed replays exactly.
#[derive(Parser)]
#[command(name = "coco-sim", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    whole: whole::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Consensus replicas alone: thousands of seeds a minute.
    Replicas(replicas::Arguments),
    /// Plants known bugs, one after the other, and tells after how many seeds each was found.
    Planted(planted::Arguments),
    /// Checks histories of real clients: JSON lines.
    History(histories::Arguments),
}

fn main() -> ExitCode {
    let CommandLine { command, whole } = CommandLine::parse();
    match command {
        None => whole::run(&whole),
        Some(Command::Replicas(arguments)) => replicas::run(&arguments),
        Some(Command::Planted(arguments)) => planted::run(&arguments),
        Some(Command::History(arguments)) => histories::run(&arguments),
    }
}
