//! The `coco` command: starts networks, talks to them, audits their ledgers and measures them.
//!
//! One file a command, under `commands`; what several of them share lies beside this file. The only crate that names the
//! protocols (`protocols.rs`), and the only one that uses `anyhow`: whatever goes wrong ends as one line on standard
//! error, a hint where there is one, and a non-zero exit code.

mod accounts;
mod bench;
mod commands;
mod dev;
mod governance;
mod http;
mod json_rpc;
mod logging;
mod output;
mod protocols;
mod read_only_disk;
mod signals;
mod tls;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::commands::Cli;
use crate::output::{Hinted, NobodyReads};

/// Live state is millions of small allocations, read and written at random: with this allocator an update takes a third less
/// time than with the system's (`cargo bench -p coco-kv`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nothing is left to do if the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if asked_for { 0 } else { 2 });
        }
    };
    logging::start(cli.log_json);
    match commands::run(cli.command, cli.output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<NobodyReads>() => ExitCode::FAILURE,
        Err(error) => {
            output::tell(format_args!("error: {}", output::in_one_line(&error)));
            if let Some(hinted) = error.downcast_ref::<Hinted>() {
                output::tell(format_args!("hint: {}", hinted.hint));
            }
            ExitCode::FAILURE
        }
    }
}
