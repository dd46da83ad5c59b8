//! On-chain settings: where they are, and those that the node itself follows.

use bytes::Bytes;
use coco_crypto::sha256;
use prost::Message as _;
use serde::Deserialize;

use crate::address::Address;
use crate::execute::StateReader;
use crate::messages::family::{Setting, SettingEntry};

pub const AUTHORIZED_KEYS: &str = "sawtooth.settings.vote.authorized_keys";
pub const APPROVAL_THRESHOLD: &str = "sawtooth.settings.vote.approval_threshold";
pub const PROPOSALS: &str = "sawtooth.settings.vote.proposals";
pub const IDENTITY_ALLOWED_KEYS: &str = "sawtooth.identity.allowed_keys";
/// Who may create registries of contracts and namespaces.
pub const ADMINISTRATORS: &str = "sawtooth.swa.administrators";
pub const TRANSACTION_FAMILIES: &str = "sawtooth.validator.transaction_families";
pub const BATCH_INJECTORS: &str = "sawtooth.validator.batch_injectors";
pub const MAX_BATCHES_PER_BLOCK: &str = "sawtooth.publisher.max_batches_per_block";
pub const BLOCK_VALIDATION_RULES: &str = "sawtooth.validator.block_validation_rules";
pub const CONSENSUS_NAME: &str = "sawtooth.consensus.algorithm.name";
pub const CONSENSUS_VERSION: &str = "sawtooth.consensus.algorithm.version";

/// One entry of `sawtooth.validator.transaction_families`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Family {
    pub family: String,
    pub version: String,
    #[serde(default)]
    pub namespaces: Option<Vec<String>>,
}

/// Where a setting is: `000000`, then 16 digits of the hash of each of four parts of its key.
pub fn address(key: &str) -> Address {
    let mut bytes = [0; 35];
    let mut parts = key.splitn(4, '.');
    for place in bytes[3..].chunks_exact_mut(8) {
        place.copy_from_slice(&sha256(parts.next().unwrap_or("").as_bytes()).0[..8]);
    }
    Address(bytes)
}

/// A setting's value.
pub fn value(state: &mut dyn StateReader, key: &str) -> Option<String> {
    value_in(&state.read(&address(key))?, key)
}

/// A setting's value in its row.
pub fn value_in(row: &Bytes, key: &str) -> Option<String> {
    let row = Setting::decode(row.clone()).ok()?;
    row.entries.into_iter().find(|entry| entry.key == key).map(|entry| entry.value)
}

/// A setting's row with this value in it: several keys may share a row.
pub fn row_with(row: Option<Bytes>, key: &str, value: &str) -> Bytes {
    let mut row = row.and_then(|row| Setting::decode(row).ok()).unwrap_or_default();
    match row.entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => value.clone_into(&mut entry.value),
        None => row.entries.push(SettingEntry { key: key.to_owned(), value: value.to_owned() }),
    }
    row.entries.sort_by(|a, b| a.key.cmp(&b.key));
    row.encode_to_vec().into()
}

/// A comma-separated setting, trimmed, without empty entries.
pub fn list(state: &mut dyn StateReader, key: &str) -> Vec<String> {
    let text = value(state, key).unwrap_or_default();
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

/// The families that may run, if the network says so. What is no JSON array counts as not said.
pub fn transaction_families(state: &mut dyn StateReader) -> Option<Vec<Family>> {
    let families: Vec<Family> = serde_json::from_str(&value(state, TRANSACTION_FAMILIES)?).ok()?;
    Some(families).filter(|families| !families.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_where_the_original_puts_them() {
        let is = |key: &str, hex: &str| assert_eq!(address(key).to_hex(), hex, "{key}");
        is(PROPOSALS, "000000a87cb5eafdcca6a8cde0fb0dec1400c5ab274474a6aa82c1c0cbf0fbcaf64c0b");
        is(AUTHORIZED_KEYS, "000000a87cb5eafdcca6a8cde0fb0dec1400c5ab274474a6aa82c12840f169a04216b7");
        is(TRANSACTION_FAMILIES, "000000a87cb5eafdcca6a8f82af32160bc531176b5001cb05e10bce3b0c44298fc1c14");
        is("a", "000000ca978112ca1bbdcae3b0c44298fc1c14e3b0c44298fc1c14e3b0c44298fc1c14");
        is("a.b.c.d.e", "000000ca978112ca1bbdca3e23e8160039594a2e7d2c03a9507ae2e67adc8234459dc2");
    }

    #[test]
    fn keys_that_share_a_row_keep_their_values() {
        let row = row_with(None, "a", "1");
        let row = row_with(Some(row), "a.", "2");
        let row = Setting::decode(row_with(Some(row), "a", "3")).unwrap();
        let entries: Vec<_> = row.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        assert_eq!(entries, [("a", "3"), ("a.", "2")]);
        assert_eq!(address("a"), address("a."));
    }
}
