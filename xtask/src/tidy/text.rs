//! Rules about the text of every file.

use super::Finding;
use crate::tree::Tree;

const LINES_MAX: usize = 1_000;
/// Kinds of files that we write by hand.
const WRITTEN: &[&str] =
    &[".rs", ".js", ".mjs", ".cjs", ".ts", ".py", ".sh", ".md", ".toml", ".yml", ".sol", "justfile", "run"];
/// These name the words that they forbid.
const EXEMPT: &[&str] = &["xtask/src/tidy/text.rs", "STYLE.md", "CONTRIBUTING.md"];

/// What nobody leaves behind, with the reason.
const FORBIDDEN: &[(&str, &str)] = &[
    ("TODO", "unfinished: do it, or open an issue"),
    ("FIXME", "unfinished: do it, or open an issue"),
    ("XXX:", "unfinished: do it, or open an issue"),
    ("dbg!(", "left from debugging"),
    ("todo!(", "unfinished"),
    ("unimplemented!(", "unfinished"),
    ("#[ignore", "a test that nobody runs is no test"),
    ("/work/", "a path of somebody's machine"),
    ("/home/", "a path of somebody's machine"),
];
/// Lock files name where packages were found; on somebody's machine that may be a mirror that others cannot reach.
const PUBLIC_REGISTRIES: &[&str] = &["https://registry.npmjs.org/", "https://github.com/rust-lang/crates.io-index"];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &tree.files {
        if path.ends_with(".rs") {
            findings.extend(module(path, text));
        }
        if WRITTEN.iter().any(|end| path.ends_with(end)) && !EXEMPT.contains(&path.as_str()) {
            findings.extend(lines(path, text));
        }
        if path.ends_with(".lock") || path.ends_with("package-lock.json") || path.ends_with(".npmrc") {
            findings.extend(registries(path, text));
        }
    }
    findings
}

fn module(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    // A file called tests says what it is by its name.
    if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        findings.push(Finding::new(path, 1, "a module begins with `//!`: what it is and why"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::new(path, 0, format!("{lines} lines; a file is one concept of at most {LINES_MAX}")));
    }
    findings
}

fn lines(path: &str, text: &str) -> Vec<Finding> {
    let numbered = text.lines().enumerate();
    let found = numbered.flat_map(|(i, line)| {
        let forbidden = FORBIDDEN.iter().filter(move |(word, _)| line.contains(word));
        forbidden.map(move |(word, why)| Finding::new(path, i + 1, format!("{word}: {why}")))
    });
    found.collect()
}

/// URLs of package sources other than the public ones.
fn registries(path: &str, text: &str) -> Vec<Finding> {
    let numbered = text.lines().enumerate();
    let sources =
        numbered.filter(|(_, line)| ["\"resolved\"", "source = ", "registry="].iter().any(|key| line.contains(key)));
    let foreign =
        sources.filter(|(_, line)| line.contains("://") && !PUBLIC_REGISTRIES.iter().any(|url| line.contains(url)));
    foreign.map(|(i, _)| Finding::new(path, i + 1, "a package source that not everybody can reach")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn unfinished_work_is_found() {
        for line in ["// TODO later", "todo!()", "dbg!(x)", "#[ignore]", "let path = \"/home/x\";"] {
            assert_eq!(findings("crates/a/src/lib.rs", &format!("//! Doc.\n{line}\n")), 1, "{line}");
        }
        assert_eq!(findings("crates/a/src/lib.rs", "//! Doc.\nlet frame_work = 1;\n"), 0);
    }

    #[test]
    fn a_module_without_a_text_and_a_file_without_an_end_are_found() {
        assert_eq!(findings("crates/a/src/a.rs", "fn a() {}\n"), 1);
        let long = format!("//! Doc.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(findings("crates/a/src/a.rs", &long), 1);
    }

    #[test]
    fn a_lock_file_that_names_a_mirror_is_found() {
        let lock = |url: &str| format!("\"resolved\": \"{url}/left-pad/-/left-pad-1.0.0.tgz\",");
        assert_eq!(findings("clients/package-lock.json", &lock("https://registry.npmjs.org")), 0);
        assert_eq!(findings("clients/package-lock.json", &lock("http://mirror.local:4873")), 1);
    }
}
