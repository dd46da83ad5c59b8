//! Reference pages made from the code: `cargo run -p xtask -- pages` writes them, `tidy` holds them to it.
//!
//! Sources are read as text, so that a page costs no build of what it describes. A line that does not look as expected is left
//! out of the page, and a source that gives nothing at all is an error.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, ensure};

use crate::tree::Tree;

const LIMITS_PAGE: &str = "docs/limits.md";
const ETHEREUM_PAGE: &str = "docs/ethereum.md";
const ETHEREUM_RPC: &str = "protocols/ethereum/src/rpc/";
/// What stands around the generated part of a page that is otherwise written by hand.
const BEGIN: &str = "<!-- methods: written by `cargo run -p xtask -- pages` -->\n";
const END: &str = "<!-- end of methods -->\n";

/// Every page with a generated part: its path, and the whole text that it should have.
pub fn pages(tree: &Tree) -> anyhow::Result<BTreeMap<&'static str, String>> {
    Ok([(LIMITS_PAGE, limits(tree)?), (ETHEREUM_PAGE, ethereum(tree)?)].into())
}

fn limits(tree: &Tree) -> anyhow::Result<String> {
    let mut page = String::from(
        "# Limits\n\nMade from the code; `cargo run -p xtask -- pages` writes it anew. The unit is in the name. Whatever queues, buffers or loops has a limit;\n\
         these are the main ones. Others stand beside the code that keeps them: a request's head has at most 64 KiB and 100 headers over HTTP/1.1, 24 KiB over HTTP/2; a ballot\n\
         64 KiB; evidence 64 KiB, and what is supplied beside it 256 KiB; 256 requests may wait for governance, and 8,192 reads for their turn.\n\
         Bodies of requests are not unpacked: a compressed one is read as it came, which is no JSON.\n\n\
         Those marked *configurable* are defaults that an embedding program can change. Of them, a node's configuration file knows the timings of batches\n\
         and elections and `snapshot_bytes`; `genesis.json` knows `chunk_bytes`, `swap_interval_ms` and, for each ledger with blocks, their interval\n\
         (`block_interval_ms`).\n",
    );
    let sources = [
        ("Every node", "crates/types/src/limits.rs".to_owned()),
        ("Ethereum", "protocols/ethereum/src/limits.rs".to_owned()),
        ("Ethereum's JSON-RPC", format!("{ETHEREUM_RPC}limits.rs")),
        ("Sawtooth", "protocols/sawtooth/src/limits.rs".to_owned()),
    ];
    for (title, path) in sources {
        let text = tree.text(&path).with_context(|| format!("there is no {path}"))?;
        let rows = constants(text);
        ensure!(!rows.is_empty(), "{path} has no constants");
        write!(page, "\n## {title}\n\n`{path}`\n\n| limit | value | what |\n|---|---|---|\n")?;
        for (name, value, what) in rows {
            writeln!(page, "| `{name}` | {value} | {what} |")?;
        }
    }
    Ok(page)
}

/// Public constants: name, value for people, and the text above. One without a text belongs to the one before it.
fn constants(text: &str) -> Vec<(&str, String, String)> {
    let mut rows = Vec::new();
    let mut what = Vec::new();
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("/// ") {
            what.push(words.replace("[`", "`").replace("`]", "`"));
        } else if let Some((name, value)) = constant(line) {
            rows.push((name, value, std::mem::take(&mut what).join(" ")));
        } else {
            what.clear();
        }
    }
    rows
}

fn constant(line: &str) -> Option<(&str, String)> {
    let (name, rest) = line.strip_prefix("pub const ")?.split_once(": ")?;
    let expression = rest.split_once(" = ")?.1.strip_suffix(';')?;
    Some((name, readable(value(expression)?)))
}

/// Integers, `*` and one `<<`: all that limits are written with.
fn value(expression: &str) -> Option<u128> {
    if let Some((left, right)) = expression.split_once("<<") {
        return value(left)?.checked_shl(u32::try_from(value(right)?).ok()?);
    }
    expression.split('*').try_fold(1u128, |product, factor| {
        let digits: String = factor.trim().chars().filter(|c| *c != '_').collect();
        product.checked_mul(digits.parse().ok()?)
    })
}

/// With commas, and in binary units where it is a whole number of them.
fn readable(value: u128) -> String {
    let digits = value.to_string();
    let first = digits.len() % 3;
    let mut grouped = digits.get(..first).unwrap_or_default().to_owned();
    for (i, digit) in digits.chars().enumerate().skip(first) {
        if i > 0 && (i - first).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let unit = [("Gi", 30u32), ("Mi", 20), ("Ki", 10)]
        .into_iter()
        .find(|(_, bits)| value > 0 && value.is_multiple_of(1 << bits))
        .map(|(unit, bits)| format!(" ({} {unit})", value >> bits));
    grouped + &unit.unwrap_or_default()
}

/// The page as it is, with the part between the marks made anew.
fn ethereum(tree: &Tree) -> anyhow::Result<String> {
    let page = tree.text(ETHEREUM_PAGE).with_context(|| format!("there is no {ETHEREUM_PAGE}"))?;
    let (before, rest) = page.split_once(BEGIN).context("docs/ethereum.md has no place for the methods")?;
    let (_, after) = rest.split_once(END).context("docs/ethereum.md: the methods have no end")?;
    let mut namespaces: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for (path, text) in tree.files(ETHEREUM_RPC, ".rs") {
        if path.contains("/tests/") {
            continue;
        }
        for (name, developer) in methods(text) {
            let Some((namespace, _)) = name.split_once('_') else { continue };
            let mark = if developer { "*" } else { "" };
            namespaces.entry(namespace).or_default().push((name, mark));
        }
    }
    ensure!(!namespaces.is_empty(), "{ETHEREUM_RPC} has no methods");
    let mut table = String::from("| namespace | methods |\n|---|---|\n");
    for (namespace, mut names) in namespaces {
        names.sort_unstable();
        let names: Vec<_> = names.into_iter().map(|(name, mark)| format!("`{name}`{mark}")).collect();
        writeln!(table, "| `{namespace}_` | {} |", names.join(", "))?;
    }
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

/// The lines of the tables of methods: names, and whether only developers are served.
fn methods(text: &str) -> Vec<(&str, bool)> {
    let starts = ["Method::read(\"", "Method::later(\"", "Method::submit(\""];
    let mut found = Vec::new();
    for start in starts {
        for (at, _) in text.match_indices(start) {
            let entry = text.get(at + start.len()..).unwrap_or_default();
            let Some((name, rest)) = entry.split_once('"') else { continue };
            let developer = rest.split_once(')').is_some_and(|(_, rest)| rest.starts_with(".for_developers()"));
            found.push((name, developer));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_shown_with_its_value_and_its_text() {
        let text = "//! Limits.\n\n/// Bytes, see [`B_MS`].\n/// *Configurable.*\npub const A_BYTES: usize = 64 << 20;\npub const B_MS: u64 = 5 * 60 * 1_000;\n";
        let rows = constants(text);
        assert_eq!(
            rows[0],
            ("A_BYTES", "67,108,864 (64 Mi)".to_owned(), "Bytes, see `B_MS`. *Configurable.*".to_owned())
        );
        assert_eq!(rows[1], ("B_MS", "300,000".to_owned(), String::new()));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            ["0", "5", "100", "1_000", "20_000", "1 << 10"].map(|text| readable(value(text).unwrap())),
            ["0", "5", "100", "1,000", "20,000", "1,024 (1 Ki)"]
        );
    }

    #[test]
    fn methods_are_found_in_tables_of_any_shape() {
        let text = "&[Method::submit(\"eth_a\"), Method::later(\"eth_b\", b)];\n    Method::read(\"eth_c\", c).for_developers(),";
        let mut found = methods(text);
        found.sort_unstable();
        assert_eq!(found, [("eth_a", false), ("eth_b", false), ("eth_c", true)]);
    }

    #[test]
    fn what_is_written_by_hand_around_the_methods_stays() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        let tree =
            Tree::of(&[(ETHEREUM_PAGE, &page), ("protocols/ethereum/src/rpc/net.rs", "Method::read(\"net_a\", a)")]);
        let page = ethereum(&tree).unwrap();
        assert!(
            page.starts_with("before\n") && page.ends_with("after\n") && page.contains("| `net_` | `net_a` |"),
            "{page}"
        );
        assert!(!page.contains("old"));
    }
}
