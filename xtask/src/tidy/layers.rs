//! The crates' layers: each depends only on crates below it, and only the binary and the simulator name protocols.

use std::collections::BTreeMap;

use anyhow::Context;

use super::{Finding, code};
use crate::tree::Tree;

/// Crates from the bottom up. One depends only on crates of earlier rows. The number is the layer that ARCHITECTURE.md names.
const ROWS: &[(u8, &[&str])] = &[
    (0, &["types"]),
    (0, &["crypto", "disk"]),
    (1, &["kv", "ledger", "consensus", "attestation"]),
    (1, &["testpki", "replicas"]),
    (2, &["governance", "protocol"]),
    (3, &["devices", "rpc"]),
    (4, &["node"]),
    (5, &["sim"]),
    (6, &["coco"]),
];
/// Protocols stand beside `rpc`; examples are protocols too.
const PROTOCOL_LAYER: u8 = 3;
/// The protocols that one may build on another: who, and on whom.
const PROTOCOLS_ON_PROTOCOLS: &[(&str, &str)] = &[("quorum", "ethereum")];
/// Makes evidence of vendors that do not exist.
const MINT: &str = "testpki";
/// The crates that name protocols: the binary, and the simulator, which hosts one as it is. Tools may too.
const NAMING: &[&str] = &["coco", "sim", "xtask"];
/// Protocol names that mean something else too, so that only their crate's name counts.
const AMBIGUOUS: &[&str] = &["quorum", "records", "app"];

/// A workspace crate: folder, name without `coco-`, dependencies on other workspace crates.
struct Member {
    folder: String,
    name: String,
    dependencies: Vec<String>,
}

pub fn check(tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let members = members(tree)?;
    let mut findings = Vec::new();
    for member in &members {
        let manifest = format!("{}/Cargo.toml", member.folder);
        let Some(row) = row(member) else {
            findings.push(Finding::new(&manifest, 0, "the crate has no layer: add it to xtask/src/tidy/layers.rs"));
            continue;
        };
        for dependency in &member.dependencies {
            let other = members.iter().find(|other| other.name == *dependency);
            let below = other.and_then(self::row).is_some_and(|other| other < row);
            let allowed = PROTOCOLS_ON_PROTOCOLS.contains(&(member.name.as_str(), dependency.as_str()));
            if !below && !allowed {
                findings.push(Finding::new(
                    &manifest,
                    0,
                    format!("depends on {dependency}, which is not of a lower layer"),
                ));
            }
        }
    }
    findings.extend(shipped_with_mint(&members));
    findings.extend(names_of_protocols(tree, &members));
    Ok(findings)
}

/// Crates that would ship the vendors that exist in tests only.
fn shipped_with_mint(members: &[Member]) -> impl Iterator<Item = Finding> {
    let mints = members.iter().filter(|member| member.dependencies.iter().any(|name| name == MINT));
    mints.map(|member| {
        let rule = format!("depends on {MINT}, which mints evidence: only tests may, as a dev-dependency");
        Finding::new(&format!("{}/Cargo.toml", member.folder), 0, rule)
    })
}

/// The folders of the crates in layers 0 to 2.
pub fn pure_folders() -> impl Iterator<Item = String> {
    let pure = ROWS.iter().filter(|(layer, _)| *layer <= 2);
    pure.flat_map(|(_, names)| names.iter()).map(|name| format!("crates/{name}/src/"))
}

fn is_protocol(folder: &str) -> bool {
    folder.starts_with("protocols/") || folder.starts_with("examples/")
}

/// Its place from the bottom up. Tools stand above everything.
fn row(member: &Member) -> Option<usize> {
    if member.name == "xtask" {
        return Some(ROWS.len());
    }
    ROWS.iter().position(|(layer, names)| {
        if is_protocol(&member.folder) { *layer == PROTOCOL_LAYER } else { names.contains(&member.name.as_str()) }
    })
}

fn members(tree: &Tree) -> anyhow::Result<Vec<Member>> {
    let mut members = Vec::new();
    for (path, text) in tree.files("", "/Cargo.toml") {
        let folder = path.trim_end_matches("/Cargo.toml");
        // Neither is part of the workspace.
        if folder == "fuzz" || folder.starts_with("clients/") {
            continue;
        }
        let manifest: toml::Table = text.parse().with_context(|| path.to_owned())?;
        let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
        let name = name.with_context(|| format!("{path}: a package has a name"))?;
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        let own = dependencies.into_iter().flat_map(|table| table.keys()).filter_map(|key| key.strip_prefix("coco-"));
        let own: Vec<_> = own.map(str::to_owned).collect();
        let name = name.strip_prefix("coco-").unwrap_or(name).to_owned();
        members.push(Member { folder: folder.to_owned(), name, dependencies: own });
    }
    Ok(members)
}

/// Code outside the binary that names a protocol other than its own.
fn names_of_protocols(tree: &Tree, members: &[Member]) -> Vec<Finding> {
    let protocols: BTreeMap<&str, &str> =
        members.iter().filter(|m| is_protocol(&m.folder)).map(|m| (m.name.as_str(), m.folder.as_str())).collect();
    let mut findings = Vec::new();
    for member in members.iter().filter(|member| !NAMING.contains(&member.name.as_str())) {
        let sources = format!("{}/src/", member.folder);
        for (path, text) in tree.files(&sources, ".rs") {
            for (line, code) in code::lines(text) {
                for (name, folder) in &protocols {
                    let own = *folder == member.folder;
                    let allowed = PROTOCOLS_ON_PROTOCOLS.contains(&(member.name.as_str(), name));
                    if !own && !allowed && names(code, name) {
                        findings.push(Finding::new(
                            path,
                            line,
                            format!("names the protocol {name}; only {} may", NAMING.join(", ")),
                        ));
                    }
                }
            }
        }
    }
    findings
}

fn names(code: &str, protocol: &str) -> bool {
    let by_crate = code::has_word(code, &format!("coco_{protocol}"));
    by_crate || (!AMBIGUOUS.contains(&protocol) && code::has_word(&code.to_lowercase(), protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, dependencies: &[&str]) -> String {
        let dependencies: String = dependencies.iter().map(|name| format!("coco-{name}.workspace = true\n")).collect();
        format!("[package]\nname = \"coco-{name}\"\n[dependencies]\n{dependencies}")
    }

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_crate_that_depends_upwards_is_found() {
        let kv = manifest("kv", &["types", "rpc"]);
        let (types, rpc) = (manifest("types", &[]), manifest("rpc", &["types"]));
        let files =
            [("crates/kv/Cargo.toml", &*kv), ("crates/types/Cargo.toml", &*types), ("crates/rpc/Cargo.toml", &*rpc)];
        assert_eq!(findings(&files), ["crates/kv/Cargo.toml:0: depends on rpc, which is not of a lower layer"]);
    }

    #[test]
    fn crates_of_one_layer_do_not_depend_on_each_other() {
        let (kv, ledger) = (manifest("kv", &[]), manifest("ledger", &["kv"]));
        let files = [("crates/kv/Cargo.toml", &*kv), ("crates/ledger/Cargo.toml", &*ledger)];
        assert_eq!(findings(&files).len(), 1);
    }

    #[test]
    fn a_crate_that_would_ship_minted_evidence_is_found_and_one_whose_tests_use_it_is_not() {
        let (sim, testpki) = (manifest("sim", &["testpki"]), manifest("testpki", &[]));
        let node = "[package]\nname = \"coco-node\"\n[dev-dependencies]\ncoco-testpki.workspace = true\n";
        let files = [
            ("crates/sim/Cargo.toml", &*sim),
            ("crates/testpki/Cargo.toml", &*testpki),
            ("crates/node/Cargo.toml", node),
        ];
        let found = findings(&files);
        assert!(matches!(&found[..], [one] if one.contains("sim") && one.contains("mints evidence")), "{found:?}");
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        assert_eq!(findings(&[("crates/new/Cargo.toml", &manifest("new", &[]))]).len(), 1);
    }

    #[test]
    fn quorum_may_build_on_ethereum_and_not_the_other_way() {
        let on = |name: &str, other: &str| {
            let (one, two) = (manifest(name, &[other]), manifest(other, &[]));
            let paths = [format!("protocols/{name}/Cargo.toml"), format!("protocols/{other}/Cargo.toml")];
            findings(&[(&paths[0], &one), (&paths[1], &two)]).len()
        };
        assert_eq!((on("quorum", "ethereum"), on("ethereum", "quorum")), (0, 1));
    }

    #[test]
    fn naming_a_protocol_outside_the_binary_is_found_in_code_and_not_in_comments() {
        let ethereum = manifest("ethereum", &[]);
        let node = manifest("node", &[]);
        let text = "//! Like Ethereum.\nlet a = \"ethereum\"; // as ethereum does\nlet quorum = 2;\n";
        let files = [
            ("protocols/ethereum/Cargo.toml", &*ethereum),
            ("crates/node/Cargo.toml", &*node),
            ("crates/node/src/lib.rs", text),
            ("protocols/ethereum/src/lib.rs", text),
        ];
        assert_eq!(
            findings(&files),
            ["crates/node/src/lib.rs:2: names the protocol ethereum; only coco, sim, xtask may"]
        );
    }
}
