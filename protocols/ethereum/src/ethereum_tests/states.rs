//! State tests: one transaction on a state, in an environment.

use alloy_consensus::Header;
use alloy_primitives::{B256, U256, hex, keccak256};
use alloy_rlp::Encodable;
use bytes::Bytes;
use coco_types::TxId;
use revm::context_interface::block::BlobExcessGasAndPrice;
use serde_json::Value;

use super::{Outcome, before, networks};
use crate::block::{BlockAttributes, OpenBlock};
use crate::execute::CodeCache;
use crate::fork::ForkSchedule;
use crate::state::{RECENT, State, apply_rows};
use crate::transaction::Transaction;

/// EIP-7610: what becomes of a contract that is created where slots are set already. The same cases end in `Paris` where they were made
/// again for that fork.
const WITH_STORAGE_ONLY: [&str; 5] = [
    "RevertInCreateInInitCreate2",
    "RevertInCreateInInit",
    "create2collisionStorage",
    "InitCollision",
    "dynamicAccountOverwriteEmpty",
];
/// A thousand calls inside one another, each with a mebibyte.
pub(crate) const BEYOND_MEMORY: &str = "static_Call1MB1024Calldepth";

pub(crate) fn has_storage_only(file: &str) -> bool {
    let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".json");
    WITH_STORAGE_ONLY.contains(&stem.trim_end_matches("Paris").trim_end_matches('_'))
}

pub(crate) fn judge(file: &str, test: &Value) -> Vec<(String, Outcome)> {
    let mut outcomes = Vec::new();
    for (fork, posts) in test["post"].as_object().unwrap() {
        let schedule = networks::schedule(fork, None);
        for post in posts.as_array().unwrap() {
            let outcome = match &schedule {
                _ if has_storage_only(file) => {
                    Outcome::Apart("accounts with storage and no code, which no chain can have")
                }
                _ if file.contains(BEYOND_MEMORY) => Outcome::Apart("more memory than 128 MiB in one transaction"),
                _ if fork == "Constantinople" => Outcome::Apart("Constantinople is run as Petersburg"),
                Some(schedule) => execute(test, post, schedule).map_or_else(Outcome::Failed, |()| Outcome::Passed),
                None => Outcome::Apart("a fork that is not known"),
            };
            outcomes.push((format!("{fork} {}", post["indexes"]), outcome));
        }
    }
    outcomes
}

fn word(value: &Value) -> U256 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    word(value).saturating_to()
}

fn execute(test: &Value, post: &Value, schedule: &ForkSchedule) -> Result<(), String> {
    let env = &test["env"];
    let (mut state, mut trie) = before(test)?;
    let codes = CodeCache::new();
    let block_number = number(&env["currentNumber"]);
    let parent = Header { number: block_number - 1, gas_limit: number(&env["currentGasLimit"]), ..Header::default() };
    for older in block_number.saturating_sub(256)..block_number {
        let hash = keccak256(older.to_string());
        state.set(&RECENT, Bytes::copy_from_slice(&older.to_be_bytes()), Some(Bytes::copy_from_slice(&hash[..])));
    }
    let attributes = BlockAttributes {
        timestamp: number(&env["currentTimestamp"]),
        mix_hash: B256::from(word(&env["currentRandom"])),
        beneficiary: serde_json::from_value(env["currentCoinbase"].clone()).unwrap(),
        gas_limit: number(&env["currentGasLimit"]),
        base_fee: env.get("currentBaseFee").map(number),
        ..BlockAttributes::default()
    };
    let opened = OpenBlock::open(&mut state, &codes, schedule, (&parent, B256::ZERO), trie.clone(), attributes);
    let mut open = opened.map_err(|error| error.to_string())?;
    let header = open.header().clone();
    let block = &mut open.environment_mut().block;
    block.difficulty = word(&env["currentDifficulty"]);
    if let Some(params) = schedule.blob_params(header.timestamp) {
        let excess_blob_gas = number(&env["currentExcessBlobGas"]);
        let blob_gasprice = params.calc_blob_fee(excess_blob_gas);
        block.blob_excess_gas_and_price = Some(BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice });
    }
    let raw = hex::decode(post["txbytes"].as_str().unwrap()).unwrap();
    let executed = Transaction::recover(raw.into()).and_then(|transaction| {
        let included = open.execute(&mut state, &codes, &transaction, TxId::default(), None)?;
        let mut logs = Vec::new();
        included.logs.encode(&mut logs);
        Ok(keccak256(&logs))
    });
    let expects_error = post.get("expectException").is_some();
    let logs = match executed {
        Ok(_) if expects_error => return Err(format!("it was executed, against {}", post["expectException"])),
        Ok(logs) => logs,
        Err(_) if expects_error => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    apply_rows(&mut trie, open.changed_rows(&mut state)).map_err(|error| error.to_string())?;
    compare("state root", post["hash"].as_str(), trie.root())?;
    compare("logs", post["logs"].as_str(), logs)
}

fn compare(what: &str, expected: Option<&str>, found: B256) -> Result<(), String> {
    let found = found.to_string();
    if expected == Some(found.as_str()) { Ok(()) } else { Err(format!("{what}: {expected:?}, found {found}")) }
}
