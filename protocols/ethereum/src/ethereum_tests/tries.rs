//! Trie tests: what is put in and taken out, and the root that comes of it.

use alloy_primitives::{Bytes, hex, keccak256};
use serde_json::Value;

use super::Outcome;
use crate::trie::{self, Trie};

/// Of secure tries, whose keys are hashes; others can have keys that begin with another key.
pub(crate) fn judge(file: &str, test: &Value) -> Vec<(String, Outcome)> {
    if !file.to_lowercase().contains("secure") {
        return vec![(String::new(), Outcome::Apart("keys that are not 32 bytes long"))];
    }
    let (entries, in_any_order) = match &test["in"] {
        Value::Array(steps) => (steps.iter().map(|step| (bytes(&step[0]), bytes(&step[1]))).collect::<Vec<_>>(), false),
        entries => {
            let entries = entries.as_object().unwrap().iter();
            (entries.map(|(key, value)| (text_bytes(key), bytes(value))).collect(), true)
        }
    };
    let expected = test["root"].as_str().unwrap();
    let mut found = vec![root(entries.iter(), false), root(entries.iter(), true)];
    if in_any_order {
        found.push(root(entries.iter().rev(), false));
        found.push(root(entries.iter().rev(), true));
    }
    let outcome = match found.iter().find(|root| *root != expected) {
        None => Outcome::Passed,
        Some(found) => Outcome::Failed(format!("expected {expected}, found {found}")),
    };
    vec![(String::new(), outcome)]
}

/// Hashed once at the end, or after each step as well: then what is known of older nodes has to be right.
fn root<'a>(entries: impl Iterator<Item = &'a (Bytes, Bytes)>, at_each_step: bool) -> String {
    let mut trie = Trie::default();
    for (key, value) in entries {
        let key = keccak256(key);
        if value.is_empty() {
            trie.remove(&key);
        } else {
            trie.insert(key, trie::Value::Raw(value.to_vec()));
        }
        if at_each_step {
            trie.root();
        }
    }
    trie.root().to_string()
}

fn bytes(value: &Value) -> Bytes {
    value.as_str().map(text_bytes).unwrap_or_default()
}

fn text_bytes(text: &str) -> Bytes {
    match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).unwrap().into(),
        None => text.as_bytes().to_vec().into(),
    }
}
