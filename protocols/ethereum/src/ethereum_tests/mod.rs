//! The tests that all Ethereum clients share (github.com/ethereum/tests), run on a checkout that `COCO_ETHEREUM_TESTS` names:
//! `just ethereum-tests DIR`. Without it nothing is run, and the test says so.
//!
//! Executing is what is tested. Of proof of work nothing is checked here or anywhere in Coco, so blocks that are invalid only by its rules
//! (difficulty, ommers) count apart, and so do tries whose keys are not 32 bytes long: no state has such, and the trie here is made without them.
//! Left out are the tests of drafts (EIPTests), which no fork has.

mod blocks;
mod encodings;
mod networks;
mod states;
mod tries;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use alloy_genesis::GenesisAccount;
use alloy_primitives::Address;
use bytes::Bytes;
use coco_types::MapName;
use serde_json::Value;

use crate::network::write_alloc;
use crate::state::{Overlay, ReadState};
use crate::trie::StateTrie;

/// How one case ended.
pub(crate) enum Outcome {
    Passed,
    /// Its rules are not ours; the reason.
    Apart(&'static str),
    Failed(String),
}

/// The cases of one file, by name.
type Judge = fn(&str, &Value) -> Vec<(String, Outcome)>;

const SUITES: [(&str, Judge); 5] = [
    ("GeneralStateTests", states::judge),
    ("BlockchainTests", blocks::judge),
    ("TransactionTests", encodings::judge_transaction),
    ("RLPTests", encodings::judge_rlp),
    ("TrieTests", tries::judge),
];

#[derive(Default)]
struct Counts {
    passed: usize,
    apart: BTreeMap<&'static str, usize>,
    failed: Vec<String>,
}

#[test]
fn the_tests_that_all_clients_share_pass() {
    let Some(folder) = std::env::var_os("COCO_ETHEREUM_TESTS").map(PathBuf::from) else {
        return eprintln!("skipped: COCO_ETHEREUM_TESTS names no checkout of github.com/ethereum/tests");
    };
    let mut failed = Vec::new();
    for (suite, judge) in SUITES {
        let counts = run(&folder.join(suite), judge);
        println!("{suite}: {} passed, {} failed, apart: {:?}", counts.passed, counts.failed.len(), counts.apart);
        failed.extend(counts.failed);
    }
    failed.iter().for_each(|failure| println!("FAILED {failure}"));
    assert!(failed.is_empty(), "{} cases failed", failed.len());
}

fn run(folder: &Path, judge: Judge) -> Counts {
    let (mut files, counts, next) = (Vec::new(), Mutex::new(Counts::default()), AtomicUsize::new(0));
    collect(folder, &mut files);
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = file.strip_prefix(folder).unwrap_or(file).display().to_string();
            let cases: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            for (case, content) in cases.as_object().unwrap() {
                for (part, outcome) in judge(&name, content) {
                    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Outcome::Passed => counts.passed += 1,
                        Outcome::Apart(why) => *counts.apart.entry(why).or_default() += 1,
                        Outcome::Failed(why) => counts.failed.push(format!("{name} {case} {part}: {why}")),
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    counts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
}

/// A state with nothing in it.
struct Nothing;

impl ReadState for Nothing {
    fn value(&self, _: &MapName, _: &[u8]) -> Option<Bytes> {
        None
    }

    fn with_prefix(&self, _: &MapName, _: &[u8]) -> Vec<(Bytes, Bytes)> {
        Vec::new()
    }
}

/// The state before a test, and its trie.
pub(crate) fn before(test: &Value) -> Result<(Overlay, StateTrie), String> {
    let accounts: BTreeMap<Address, GenesisAccount> =
        serde_json::from_value(test["pre"].clone()).map_err(|error| error.to_string())?;
    let mut state = Overlay::new(std::sync::Arc::new(Nothing));
    let mut trie = write_alloc(&mut state, &accounts);
    trie.root();
    Ok((state, trie))
}
