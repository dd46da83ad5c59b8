//! Ledgers that take no writes, by decision of the members: all of them in an emergency, or one. Reads and governance go on.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tables::{self, Read};

/// The key that stands for every ledger.
const EVERY_LEDGER: &str = "*";

/// Why writes are refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closure {
    #[serde(default)]
    pub reason: String,
    /// Of all ledgers, not of this one.
    #[serde(skip)]
    pub of_all: bool,
}

impl Closure {
    /// What holds for a ledger; `None` if it takes writes.
    pub fn of(state: &mut dyn Read, ledger: &str) -> Result<Option<Self>, Error> {
        if let Some(closure) = tables::read::<Self>(state, &tables::CLOSURES, EVERY_LEDGER.as_bytes())? {
            return Ok(Some(Self { of_all: true, ..closure }));
        }
        tables::read(state, &tables::CLOSURES, ledger.as_bytes())
    }

    /// For whoever wanted to write.
    pub fn message(&self, ledger: &str) -> String {
        let what = if self.of_all { "the network".to_owned() } else { format!("the ledger {ledger}") };
        let why = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        format!("{what} is read-only by a vote of its members{why}")
    }
}

#[cfg(test)]
mod tests {
    use coco_kv::Store;
    use serde_json::json;

    use super::*;

    #[test]
    fn one_ledger_is_closed_or_all_are_and_the_writer_is_told_which_and_why() {
        let store = Store::new();
        let mut tx = store.begin();
        let message =
            |tx: &mut coco_kv::Tx| Closure::of(tx, "records").unwrap().map(|closure| closure.message("records"));
        assert_eq!(message(&mut tx), None);
        tables::write(&mut tx, &tables::CLOSURES, b"ethereum", &json!({"reason": "audit"}));
        assert_eq!(message(&mut tx), None);
        tables::write(&mut tx, &tables::CLOSURES, b"records", &json!({"reason": "audit"}));
        assert_eq!(message(&mut tx).unwrap(), "the ledger records is read-only by a vote of its members: audit");
        tables::write(&mut tx, &tables::CLOSURES, b"*", &json!({}));
        assert_eq!(message(&mut tx).unwrap(), "the network is read-only by a vote of its members");
    }
}
