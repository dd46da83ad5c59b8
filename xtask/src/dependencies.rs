//! What `deny.toml` says of the crates that we take from others, as far as cargo alone can tell: their licences, where they come from, and those that
//! are refused. `cargo deny check`, at night, also asks what is known against them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub fn check(root: &Path) -> anyhow::Result<()> {
    let policy = Policy::parse(&std::fs::read_to_string(root.join("deny.toml"))?)?;
    let tree = Command::new(env!("CARGO"))
        .current_dir(root)
        .args(["tree", "--locked", "--workspace", "--edges", "normal,build", "--target", "all"])
        .args(["--prefix", "none", "--format", "{p}|{l}"])
        .output()
        .context("cargo tree")?;
    ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let mut found = policy.broken_by(&String::from_utf8(tree.stdout)?);
    found.extend(foreign(&std::fs::read_to_string(root.join("Cargo.lock"))?)?);
    found.sort();
    found.dedup();
    found.iter().for_each(|finding| println!("{finding}"));
    if !found.is_empty() {
        bail!("{} findings: deny.toml says what may be used", found.len());
    }
    println!("dependencies are as deny.toml wants them");
    Ok(())
}

struct Policy {
    licences: Vec<String>,
    refused: Vec<String>,
}

impl Policy {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let file: toml::Table = text.parse()?;
        let list = |table: &str, key: &str| -> anyhow::Result<Vec<String>> {
            let found = file.get(table).and_then(|table| table.get(key)).and_then(toml::Value::as_array);
            let names = found.with_context(|| format!("deny.toml has no list {table}.{key}"))?.iter();
            Ok(names.filter_map(toml::Value::as_str).map(str::to_owned).collect())
        };
        Ok(Self { licences: list("licenses", "allow")?, refused: list("bans", "deny")? })
    }

    /// `tree`: a line for each crate, its name first and its licence behind a bar. Our own say nothing else than the repository does.
    fn broken_by(&self, tree: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (what, licence) in tree.lines().filter_map(|line| line.split_once('|')) {
            let name = what.split_whitespace().next().unwrap_or_default();
            if self.refused.iter().any(|refused| refused == name) {
                found.push(format!("{what}: refused"));
            }
            // Of one that was shown before, only a star follows.
            let licence = licence.trim_end_matches("(*)").trim();
            if !allows(licence, &self.licences) {
                found.push(format!("{what}: its licence is {licence:?}"));
            }
        }
        found
    }
}

/// Crates of the lock file that come from elsewhere than the registry and the repository.
fn foreign(lock: &str) -> anyhow::Result<Vec<String>> {
    let lock: toml::Table = lock.parse()?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("a lock file lists packages")?;
    let text = |package: &toml::Value, key: &str| package.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    let sources = packages.iter().filter_map(|package| Some((text(package, "name")?, text(package, "source")?)));
    let elsewhere = sources.filter(|(_, source)| source != REGISTRY);
    Ok(elsewhere.map(|(name, source)| format!("{name}: comes from {source}")).collect())
}

/// Whether an SPDX expression can be met with these licences. A slash is an old way to say OR.
fn allows(expression: &str, licences: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    any_of(&mut words, licences).is_some_and(|allowed| allowed && words.peek().is_none())
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, licences: &[String]) -> Option<bool> {
    let mut allowed = all_of(words, licences)?;
    while words.next_if_eq(&"OR").is_some() {
        allowed |= all_of(words, licences)?;
    }
    Some(allowed)
}

fn all_of(words: &mut Words<'_>, licences: &[String]) -> Option<bool> {
    let mut allowed = one(words, licences)?;
    while words.next_if_eq(&"AND").is_some() {
        allowed &= one(words, licences)?;
    }
    Some(allowed)
}

/// `None`: this is no expression.
fn one(words: &mut Words<'_>, licences: &[String]) -> Option<bool> {
    if words.next_if_eq(&"(").is_some() {
        let allowed = any_of(words, licences)?;
        return words.next_if_eq(&")").map(|_| allowed);
    }
    let mut licence = words.next().filter(|word| !["OR", "AND", "WITH", ")"].contains(word))?.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next()?);
    }
    Some(licences.contains(&licence))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let text = r#"
            [licenses]
            allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"]
            [bans]
            deny = ["openssl"]
        "#;
        Policy::parse(text).unwrap()
    }

    #[test]
    fn a_licence_is_allowed_if_what_it_asks_for_can_be_met() {
        let allows = |expression: &str| allows(expression, &policy().licences);
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0-only OR MIT",
            "ISC AND (MIT OR MPL-2.0)",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(allows(allowed), "{allowed}");
        }
        for refused in
            ["", "MPL-2.0", "MIT AND MPL-2.0", "(MIT", "MIT)", "MIT MIT", "MIT OR", "ISC WITH LLVM-exception"]
        {
            assert!(!allows(refused), "{refused}");
        }
    }

    #[test]
    fn crates_that_are_refused_or_come_from_elsewhere_are_named() {
        let tree = "bytes v1.0.0|MIT\nopenssl v0.10.1|Apache-2.0\n\nimbl v6.0.0|MPL-2.0+ (*)\nderive v1.0.0 (proc-macro)|ISC (*)\n";
        let found = policy().broken_by(tree);
        assert_eq!(found, ["openssl v0.10.1: refused", "imbl v6.0.0: its licence is \"MPL-2.0+\""]);
        let lock = format!(
            "[[package]]\nname = \"own\"\n[[package]]\nname = \"good\"\nsource = \"{REGISTRY}\"\n\
             [[package]]\nname = \"bad\"\nsource = \"git+https://example.org/bad\"\n"
        );
        assert_eq!(foreign(&lock).unwrap(), ["bad: comes from git+https://example.org/bad"]);
    }
}
