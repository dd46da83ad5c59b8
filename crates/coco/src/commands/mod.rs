//! The commands, one file each. To add one: a file here, a variant in [`Command`], an arm in [`run`].

mod archive;
mod attest;
mod audit_attestations;
mod bench;
mod collateral;
mod completions;
mod dev;
mod explain;
mod gov;
mod identity;
mod ledger;
mod network;
mod node;
mod receipt;
mod receipt_signer;
mod recover;
mod retention;
mod sawtooth;
mod support_bundle;

use clap::{Parser, Subcommand};

use crate::output::Output;

/// Run, audit and measure confidential consortium networks
#[derive(Debug, Parser)]
#[command(name = "coco", version, propagate_version = true, infer_subcommands = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t, display_order = 900)]
    pub output: Output,
    /// Logs as JSON lines on standard error; RUST_LOG chooses what is logged
    #[arg(long, global = true, display_order = 901)]
    pub log_json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole network on this machine, for development
    Dev(dev::Options),
    /// Run one node
    #[command(subcommand)]
    Node(node::Command),
    /// Prepare a node that begins a new service on the ledger of one whose nodes are lost
    Recover(recover::Options),
    /// Ask about a running network
    #[command(subcommand)]
    Network(network::Command),
    /// Govern a network: propose, look, vote
    #[command(subcommand)]
    Gov(gov::Command),
    /// See who you are to a network, and bind addresses and keys of its ledgers to you
    #[command(subcommand)]
    Identity(identity::Command),
    /// Check what a network's nodes run
    #[command(subcommand)]
    Attest(attest::Command),
    /// Fetch and verify receipts
    #[command(subcommand)]
    Receipt(receipt::Command),
    /// Audit and read ledger files, offline
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// What Sawtooth's own programs need beside them
    #[command(subcommand)]
    Sawtooth(sawtooth::Command),
    /// Measure a running network
    #[command(subcommand)]
    Bench(bench::Command),
    /// Print a completion script for a shell
    Completions(completions::Options),
}

pub fn run(command: Command, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Dev(options) => dev::run(&options, output),
        Command::Node(command) => node::run(command, output),
        Command::Recover(options) => recover::run(&options, output),
        Command::Network(command) => network::run(&command, output),
        Command::Gov(command) => gov::run(&command, output),
        Command::Identity(command) => identity::run(&command, output),
        Command::Attest(command) => attest::run(&command, output),
        Command::Receipt(command) => receipt::run(&command, output),
        Command::Ledger(command) => ledger::run(&command, output),
        Command::Sawtooth(command) => sawtooth::run(&command),
        Command::Bench(command) => bench::run(&command, output),
        Command::Completions(options) => completions::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::fs;
    use std::path::PathBuf;

    use clap::CommandFactory;

    use super::Cli;

    /// Renders a command and those under it. With `UPDATE_GOLDEN=1` the test writes the page instead of comparing.
    fn render(command: &clap::Command, path: &str, page: &mut String) {
        let mut command = command.clone();
        let path = format!("{path} {}", command.get_name()).trim().to_owned();
        let help = command.clone().bin_name(&path).term_width(100).render_long_help();
        writeln!(page, "\n## `{path}`\n\n```text\n{}\n```", help.to_string().trim_end()).unwrap();
        command.build();
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            render(child, &path, page);
        }
    }

    #[test]
    fn the_reference_page_says_what_the_commands_say() {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
        let mut page = String::from(
            "# Commands\n\nGenerated from the code; `UPDATE_GOLDEN=1 cargo test -p coco` writes it anew.\n",
        );
        render(&Cli::command().disable_help_subcommand(true), "", &mut page);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &page).unwrap();
        }
        assert!(
            page == fs::read_to_string(&golden).unwrap_or_default(),
            "docs/reference/cli.md is not what the code says"
        );
    }
}
