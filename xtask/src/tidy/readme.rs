//! The README is short, and what it tells people to type exists.

use super::Finding;
use crate::tree::Tree;

const README: &str = "README.md";
const LINES_MAX: usize = 150;

pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(README) else {
        return vec![Finding::new(README, 0, "there is none")];
    };
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::new(README, 0, format!("{lines} lines; at most {LINES_MAX}: move things to docs/")));
    }
    for (line, command) in commands(text) {
        if let Some(unknown) = unknown(tree, command) {
            findings.push(Finding::new(README, line, format!("`{command}`: {unknown}")));
        }
    }
    findings
}

/// Lines of code blocks without a language, or of a shell's.
fn commands(text: &str) -> Vec<(usize, &str)> {
    let mut commands = Vec::new();
    let mut inside = None;
    for (i, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), None) => inside = Some(["", "sh", "bash", "console"].contains(&language)),
            (Some(_), Some(_)) => inside = None,
            (None, Some(true)) => commands.push((i + 1, line.trim_start_matches("$ ").trim())),
            (None, _) => {}
        }
    }
    commands
}

/// Why a command cannot work, if that can be known.
fn unknown(tree: &Tree, command: &str) -> Option<String> {
    let words: Vec<_> = command.split('#').next().unwrap_or_default().split_whitespace().collect();
    let after = |words: &[&str]| words.iter().skip_while(|word| **word != "--").nth(1).map(|word| (*word).to_owned());
    match words.as_slice() {
        ["coco", name, ..] => coco_command(tree, name),
        ["cargo", "run", rest @ ..] if rest.contains(&"xtask") => after(rest)
            .filter(|name| !crate::COMMANDS.contains(&name.as_str()))
            .map(|name| format!("xtask has no {name}")),
        ["cargo", "run", rest @ ..] => after(rest).and_then(|name| coco_command(tree, &name)),
        ["just", recipe, ..] => {
            let known = tree.text("justfile").is_some_and(|file| file.lines().any(|line| is_recipe(line, recipe)));
            (!known).then(|| format!("the justfile has no {recipe}"))
        }
        [script, ..] if script.starts_with("./") || script.starts_with(".ci/") => {
            let path = script.trim_start_matches("./");
            tree.text(path).is_none().then(|| format!("there is no {path}"))
        }
        _ => None,
    }
}

fn coco_command(tree: &Tree, name: &str) -> Option<String> {
    let known = name.starts_with('-') || tree.text(&format!("crates/coco/src/commands/{name}.rs")).is_some();
    (!known).then(|| format!("coco has no command {name}"))
}

fn is_recipe(line: &str, recipe: &str) -> bool {
    line.strip_prefix(recipe).is_some_and(|rest| rest.starts_with(':') || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(readme: &str) -> Vec<String> {
        let tree = Tree::of(&[
            (README, readme),
            ("crates/coco/src/commands/dev.rs", ""),
            ("justfile", "ci:\n    .ci/run\n"),
            (".ci/run", ""),
        ]);
        check(&tree).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn commands_that_exist_are_fine() {
        let readme =
            "```sh\ncargo run --release -- dev --nodes 1\ncoco dev\njust ci  # all\n.ci/run\ncargo test\n```\n";
        assert_eq!(findings(readme), Vec::<String>::new());
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        let readme = "```sh\ncoco fly\njust fly\ncargo run -p xtask -- fly\n./fly\n```\n";
        assert_eq!(findings(readme).len(), 4);
    }

    #[test]
    fn other_languages_and_prose_are_no_commands() {
        assert_eq!(findings("coco fly\n```rust\ncoco fly\n```\n"), Vec::<String>::new());
    }

    #[test]
    fn a_long_readme_is_found() {
        assert_eq!(findings(&"\n".repeat(LINES_MAX + 1)).len(), 1);
    }
}
