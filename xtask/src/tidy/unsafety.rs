//! `unsafe` lies in one file, which says of each block why it is sound; every other crate forbids it to the compiler.

use super::{Finding, code};
use crate::tree::Tree;

/// The calls to devices that have no safe face.
const DEVICE_CALLS: &str = "crates/devices/src/ioctl.rs";
/// Whose lints allow that file what the workspace forbids.
const DEVICES_MANIFEST: &str = "crates/devices/Cargo.toml";
const ROOT_MANIFEST: &str = "Cargo.toml";

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.files("", ".rs") {
        // Neither belongs to what is shipped; each is built by its own rules.
        if path.starts_with("clients/") || path.starts_with("xtask/src/tidy/") {
            continue;
        }
        findings.extend(if path == DEVICE_CALLS { unexplained(path, text) } else { elsewhere(path, text) });
    }
    if tree.text(ROOT_MANIFEST).is_some_and(|text| !text.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"))
    {
        findings.push(Finding::new(ROOT_MANIFEST, 0, "the workspace does not forbid unsafe code"));
    }
    for (path, text) in tree.files("", "/Cargo.toml").filter(|(path, _)| in_workspace(path)) {
        let rule = match path {
            DEVICES_MANIFEST => "unsafe_code = \"deny\"\n",
            _ => "[lints]\nworkspace = true\n",
        };
        if !text.contains(rule) {
            findings.push(Finding::new(path, 0, format!("lacks the lints that keep unsafe code out: {rule:?}")));
        }
    }
    findings
}

fn in_workspace(path: &str) -> bool {
    ["crates/", "protocols/", "examples/", "xtask/"].iter().any(|start| path.starts_with(start))
}

/// Also in tests.
fn elsewhere(path: &str, text: &str) -> Vec<Finding> {
    let numbered = text.lines().enumerate().map(|(i, line)| (i + 1, line.split("//").next().unwrap_or_default()));
    let unsafe_code = numbered.filter(|(_, line)| {
        // In quotes it is a name that others gave to something else.
        code::has_word(&line.replace("\"unsafe\"", ""), "unsafe")
            || (code::has_word(line, "unsafe_code") && code::has_word(line, "allow"))
    });
    unsafe_code.map(|(line, _)| Finding::new(path, line, format!("unsafe code: only {DEVICE_CALLS} may"))).collect()
}

/// Blocks without a comment right above that says why they are sound.
fn unexplained(path: &str, text: &str) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let explained = |at: usize| {
        let above = lines.get(..at).unwrap_or_default().iter().rev().map(|line| line.trim());
        above.take_while(|line| line.starts_with("//")).any(|line| line.starts_with("// SAFETY:"))
    };
    let blocks = code::lines(text).filter(|(_, line)| code::has_word(line, "unsafe"));
    let bare = blocks.filter(|(number, _)| !explained(number - 1));
    bare.map(|(number, _)| Finding::new(path, number, "an unsafe block without `// SAFETY:` right above")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn unsafe_code_is_found_everywhere_but_in_the_device_calls() {
        let text = "//! x\n// SAFETY: so.\nlet a = unsafe { b() };\n";
        assert_eq!((findings("crates/kv/src/lib.rs", text), findings(DEVICE_CALLS, text)), (1, 0));
        assert_eq!(findings("crates/kv/src/tests.rs", "#![allow(unsafe_code)]\n"), 1);
        assert_eq!(findings("crates/kv/src/lib.rs", "//! no unsafe\n#![forbid(unsafe_code)]\n// unsafe\n"), 0);
    }

    #[test]
    fn a_block_that_is_not_explained_is_found() {
        assert_eq!(findings(DEVICE_CALLS, "// SAFETY: so,\n// and so.\n    unsafe { a() };\n"), 0);
        assert_eq!(findings(DEVICE_CALLS, "// SAFETY: so.\nlet a = 1;\nunsafe { a() };\n"), 1);
    }

    #[test]
    fn a_crate_without_the_workspace_s_lints_is_found() {
        assert_eq!(findings("crates/kv/Cargo.toml", "[package]\n"), 1);
        assert_eq!(findings("crates/kv/Cargo.toml", "[lints]\nworkspace = true\n"), 0);
        assert_eq!(findings(DEVICES_MANIFEST, "[lints.rust]\nunsafe_code = \"deny\"\n"), 0);
        assert_eq!(findings(ROOT_MANIFEST, "[workspace.lints.rust]\nunsafe_code = \"warn\"\n"), 1);
    }
}
