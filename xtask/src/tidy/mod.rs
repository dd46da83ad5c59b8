//! What a reviewer should never have to say: the rules of the repository that a program can check.

mod code;
mod codes;
mod layers;
mod purity;
mod readme;
mod recipes;
mod text;
mod unsafety;

use std::fmt;

use crate::pages;
use crate::tree::Tree;

/// A broken rule and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub path: String,
    /// From 1; 0 for the whole file.
    pub line: usize,
    pub rule: String,
}

impl Finding {
    pub fn new(path: &str, line: usize, rule: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule: rule.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

/// Everything that is broken, by path.
pub fn check(tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let mut findings = layers::check(tree)?;
    findings.extend(purity::check(tree));
    findings.extend(unsafety::check(tree));
    findings.extend(text::check(tree));
    findings.extend(readme::check(tree));
    findings.extend(recipes::check(tree));
    findings.extend(codes::check(tree));
    for (path, text) in pages::pages(tree)? {
        if tree.text(path) != Some(text.as_str()) {
            findings.push(Finding::new(path, 0, "is not what the code says: cargo run -p xtask -- pages"));
        }
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}
