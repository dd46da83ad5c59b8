//! Habits of the repository that are more than five lines: `cargo run -p xtask -- <command>`.

mod dependencies;
mod pages;
mod reproducible;
mod tidy;
mod tree;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use crate::tree::Tree;

const COMMANDS: &[&str] = &["dependencies", "pages", "release [PACKAGE]", "reproducible [PACKAGE]", "tidy"];

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("dependencies") => say(dependencies::check(root())),
        Some("pages") => write_pages(),
        Some("release") => say(reproducible::release(root(), env::args().nth(2).as_deref())),
        Some("reproducible") => say(reproducible::check(root(), env::args().nth(2).as_deref())),
        Some("tidy") => run_tidy(),
        _ => {
            eprintln!("usage: cargo run -p xtask -- {}", COMMANDS.join(" | "));
            ExitCode::from(2)
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

fn write_pages() -> ExitCode {
    let pages = Tree::read(root()).and_then(|tree| pages::pages(&tree));
    say(pages.and_then(|pages| pages.iter().try_for_each(|(path, text)| Ok(std::fs::write(root().join(path), text)?))))
}

fn say(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_tidy() -> ExitCode {
    let findings = Tree::read(root()).and_then(|tree| tidy::check(&tree));
    match findings {
        Ok(findings) if findings.is_empty() => {
            println!("tidy");
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            findings.iter().for_each(|finding| println!("{finding}"));
            println!("{} findings", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
