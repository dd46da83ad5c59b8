//! `coco completions <shell>`: prints a completion script.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

#[derive(Args, Debug)]
pub struct Options {
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "coco", &mut script);
    io::Write::write_all(&mut io::stdout(), &script)?;
    Ok(())
}
