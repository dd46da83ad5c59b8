//! Every error code that the HTTPS APIs answer with stands in a test. Those of `/gov` are a list of their own, held to golden exchanges.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::tree::Tree;

const STATUS: &str = "StatusCode::";
const TESTS: &str = "#[cfg(test)]";

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut codes: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    let mut tested = BTreeSet::new();
    for (path, text) in tree.files("", ".rs").filter(|(path, _)| !path.starts_with("xtask/")) {
        let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
        let (code, test) = text.split_at(if is_test { 0 } else { text.find(TESTS).unwrap_or(text.len()) });
        for (line, name) in answered(code) {
            codes.entry(name.to_owned()).or_insert((path, line));
        }
        tested.extend(test.split(|c: char| !c.is_ascii_alphanumeric()));
    }
    let untested = codes.into_iter().filter(|(name, _)| !tested.contains(name.as_str()));
    let finding = |(name, (path, line)): (String, (&str, usize))| {
        Finding::new(path, line, format!("no test names the error code {name}: produce it in one"))
    };
    untested.map(finding).collect()
}

/// Codes that stand behind a status, with their lines.
fn answered(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.match_indices(STATUS).filter_map(|(at, _)| {
        let (_, rest) = code.get(at..)?.split_once(',')?;
        let name = rest.trim_start().strip_prefix('"')?.split('"').next()?;
        let is_code =
            name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric());
        is_code.then(|| (code.get(..at).unwrap_or_default().lines().count(), name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_no_test_names_is_found_where_it_is_answered() {
        let code = "fn a() {\n    refuse(StatusCode::NOT_FOUND, \"NotThere\", x);\n    ApiError::new(\n        StatusCode::OK,\n        \"Fine\",\n    );\n}\n";
        let tree =
            Tree::of(&[("crates/a/src/a.rs", code), ("crates/a/tests/b.rs", "assert!(text.contains(\"Fine\"));")]);
        let found = check(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path.as_str(), found[0].line), ("crates/a/src/a.rs", 2));
        let with_test = format!("{code}\n#[cfg(test)]\nmod tests {{ const A: &str = \"NotThere\"; }}");
        let tree = Tree::of(&[("crates/a/src/a.rs", &with_test), ("crates/a/tests/b.rs", "\"Fine\"")]);
        assert_eq!(check(&tree), []);
    }
}
