//! The commands, one file each. To add one: a file here, a variant in [`Command`], an arm in [`run`].

mod bench;
mod completions;
mod dev;
mod ledger;
mod network;
mod node;
mod receipt;

use clap::{Parser, Subcommand};

use crate::output::Output;

/// Run, govern, audit and measure confidential consortium networks
#[derive(Debug, Parser)]
#[command(name = "coco", version, propagate_version = true, infer_subcommands = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// Logs as JSON lines on standard error; RUST_LOG chooses what is logged
    #[arg(long, global = true)]
    pub log_json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole network on this machine, for development
    Dev(dev::Options),
    /// Run one node
    #[command(subcommand)]
    Node(node::Command),
    /// Ask about a running network
    #[command(subcommand)]
    Network(network::Command),
    /// Fetch and verify receipts
    #[command(subcommand)]
    Receipt(receipt::Command),
    /// Audit and read ledger files, offline
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Measure a running network
    #[command(subcommand)]
    Bench(bench::Command),
    /// Print a completion script for a shell
    Completions(completions::Options),
}

pub fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Dev(options) => dev::run(&options, output),
        Command::Node(command) => node::run(command),
        Command::Network(command) => network::run(&command, output),
        Command::Receipt(command) => receipt::run(&command, output),
        Command::Ledger(command) => ledger::run(&command, output),
        Command::Bench(command) => bench::run(&command, output),
        Command::Completions(options) => completions::run(&options),
    }
}
