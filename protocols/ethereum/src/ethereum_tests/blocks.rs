//! Blockchain tests: blocks on a genesis, valid and invalid ones, with side chains.

use std::collections::BTreeMap;

use alloy_consensus::{Block, Header};
use alloy_primitives::{B256, U256, hex};
use alloy_rlp::Decodable;
use bytes::Bytes;
use serde_json::Value;

use super::states::{BEYOND_MEMORY, has_storage_only};
use super::{Outcome, before, networks};
use crate::block::import_block;
use crate::execute::CodeCache;
use crate::fork::ForkSchedule;
use crate::state::{Overlay, RECENT, State};
use crate::transaction::Envelope;
use crate::trie::StateTrie;

/// What makes a block invalid by rules of proof of work alone.
const OF_WORK: [&str; 9] = [
    "Uncle",
    "uncle",
    "UNCLE",
    "DIFFICULTY",
    "IMPOSSIBLE_LEGACY",
    "IMPOSSIBLE_PARIS",
    "POW",
    "EXTRA_DATA_INVALID_DAO",
    "IMPOSSIBLE_SHANGHAI",
];

/// A block that was taken, and the state after it.
struct Taken {
    header: Header,
    trie: StateTrie,
    state: Overlay,
    difficulty: U256,
}

pub(crate) fn judge(file: &str, test: &Value) -> Vec<(String, Outcome)> {
    let network = test["network"].as_str().unwrap();
    let outcome = if has_storage_only(file) {
        Outcome::Apart("accounts with storage and no code, which no chain can have")
    } else if file.contains(BEYOND_MEMORY) {
        Outcome::Apart("more memory than 128 MiB in one transaction")
    } else if network == "Constantinople" {
        Outcome::Apart("Constantinople is run as Petersburg")
    } else if network == "HomesteadToDaoAt5" {
        Outcome::Apart("the DAO fork")
    } else {
        match networks::schedule(network, merge(test)) {
            Some(schedule) => match import(test, &schedule) {
                Ok(()) => Outcome::Passed,
                Err((_, of_work)) if of_work || file.contains("Uncle") => Outcome::Apart("rules of proof of work"),
                Err((why, _)) => Outcome::Failed(why),
            },
            None => Outcome::Apart("a fork that is not known"),
        }
    };
    vec![(String::new(), outcome)]
}

fn decoded(value: &Value) -> Option<Block<Envelope>> {
    let rlp = hex::decode(value.as_str()?).ok()?;
    let mut rest = &rlp[..];
    Block::decode(&mut rest).ok().filter(|_| rest.is_empty())
}

/// The first valid block without difficulty.
fn merge(test: &Value) -> Option<u64> {
    let valid = |case: &&Value| case.as_object().is_some_and(|case| !case.keys().any(|key| key.starts_with("expect")));
    let blocks = test["blocks"].as_array()?.iter().filter(valid).filter_map(|block| decoded(&block["rlp"]));
    blocks.filter(|block| block.header.difficulty.is_zero()).map(|block| block.header.number).min()
}

/// An error says whether only proof of work could tell.
fn import(test: &Value, schedule: &ForkSchedule) -> Result<(), (String, bool)> {
    let failed = |why: String| (why, false);
    let (mut state, mut trie) = before(test).map_err(failed)?;
    let genesis = decoded(&test["genesisRLP"]).ok_or_else(|| failed("the genesis does not decode".into()))?.header;
    if trie.root() != genesis.state_root {
        return Err(failed(format!("genesis: state root {}", trie.root())));
    }
    let codes = CodeCache::new();
    let mut best = genesis.hash_slow();
    let key = Bytes::copy_from_slice(&genesis.number.to_be_bytes());
    state.set(&RECENT, key, Some(Bytes::copy_from_slice(best.as_slice())));
    let difficulty = genesis.difficulty;
    let mut taken = BTreeMap::from([(best, Taken { header: genesis, trie, state, difficulty })]);
    for (index, case) in test["blocks"].as_array().unwrap().iter().enumerate() {
        let expected = case.as_object().unwrap().iter().find(|(key, _)| key.starts_with("expectException"));
        let imported = decoded(&case["rlp"]).ok_or_else(|| "it does not decode".to_owned()).and_then(|block| {
            let parent = taken.get(&block.header.parent_hash).ok_or("its parent is unknown")?;
            let mut state = parent.state.clone();
            let on = (&parent.header, block.header.parent_hash);
            let sealed = import_block(&mut state, &codes, schedule, on, parent.trie.clone(), &block);
            let sealed = sealed.map_err(|error| error.to_string())?;
            let difficulty = parent.difficulty + block.header.difficulty;
            Ok((sealed.hash, Taken { header: sealed.header, trie: sealed.trie, state, difficulty }))
        });
        match (imported, expected) {
            (Ok((hash, block)), None) => {
                let merged = block.header.difficulty.is_zero();
                if merged || taken.get(&best).is_none_or(|best| block.difficulty > best.difficulty) {
                    best = hash;
                }
                taken.insert(hash, block);
            }
            (Ok(_), Some((_, why))) => {
                let why = why.to_string();
                let of_work = OF_WORK.iter().any(|rule| why.contains(rule));
                return Err((format!("block {index} was taken, against {why}"), of_work));
            }
            (Err(error), None) => return Err(failed(format!("block {index}: {error}"))),
            (Err(_), Some(_)) => {}
        }
    }
    let last: B256 = serde_json::from_value(test["lastblockhash"].clone()).unwrap();
    if best == last { Ok(()) } else { Err(failed(format!("the last block is {best}, not {last}"))) }
}
