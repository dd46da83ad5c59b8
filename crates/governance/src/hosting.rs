//! Which ledgers the network hosts: those it was founded with, and those its members have added since, without those that they have removed.
//!
//! A row of the action `add_ledger` is a decision only. The ledger begins in the very transaction that writes it: the executor of the node that leads
//! lets the ledger's own code write its first state there, as it does in a founding.
//!
//! `remove_ledger` deletes nothing: what the ledger holds is part of the state that later roots and snapshots rest on, and of what auditors read. It is
//! only served no more and takes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use coco_types::WriteSet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;
use crate::rows::Network;
use crate::tables::{self, Read};

/// A ledger that members have added.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AddedLedger {
    /// In the ledger's own form, as in the file that a network is founded with.
    pub genesis: Value,
}

/// That members have removed a ledger.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct RemovedLedger {
    #[serde(default)]
    reason: String,
}

/// Why the code of this node cannot begin a ledger, by its name and its genesis; `None` if it can.
#[derive(Clone)]
pub struct LedgerCheck(Arc<Problem>);

type Problem = dyn Fn(&str, &Value) -> Option<String> + Send + Sync;

impl LedgerCheck {
    pub fn new(problem: impl Fn(&str, &Value) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(problem))
    }

    pub fn problem(&self, ledger: &str, genesis: &Value) -> Option<String> {
        (self.0)(ledger, genesis)
    }
}

impl fmt::Debug for LedgerCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LedgerCheck")
    }
}

/// The names of all hosted ledgers; `None` before there is a network.
pub fn hosted_ledgers(state: &mut dyn Read) -> Result<Option<BTreeSet<String>>, Error> {
    let Some(network) = Network::read(state)? else { return Ok(None) };
    let named = |(name, _): (Bytes, Bytes)| String::from_utf8_lossy(&name).into_owned();
    let added = state.rows(&tables::ADDED_LEDGERS).into_iter().map(named);
    let mut hosted: BTreeSet<String> = network.ledgers.into_iter().chain(added).collect();
    for name in state.rows(&tables::REMOVED_LEDGERS).into_iter().map(named) {
        hosted.remove(&name);
    }
    Ok(Some(hosted))
}

/// Why a ledger is not hosted, for whoever wants something of it.
pub fn not_hosted(state: &mut dyn Read, ledger: &str) -> String {
    match tables::read::<RemovedLedger>(state, &tables::REMOVED_LEDGERS, ledger.as_bytes()) {
        Ok(None) => format!("this network does not host the ledger {ledger}: its members can add it (add_ledger)"),
        Ok(Some(RemovedLedger { reason })) if !reason.is_empty() => {
            format!("the members have removed the ledger {ledger}: {reason}")
        }
        Ok(Some(_)) | Err(_) => format!("the members have removed the ledger {ledger}"),
    }
}

/// Whether the answer of [`hosted_ledgers`] may be another one behind these writes.
pub fn changes_hosting(writes: &WriteSet) -> bool {
    [&tables::ADDED_LEDGERS, &tables::REMOVED_LEDGERS, &tables::NETWORK].iter().any(|map| writes.map(map).is_some())
}

/// The ledgers that these writes add to what `before` hosts, to begin in the same transaction. What has begun cannot begin again, removed or not: its
/// rows are there to stay.
pub fn added_ledgers(before: &mut dyn Read, writes: &WriteSet) -> Result<BTreeMap<String, AddedLedger>, Error> {
    let Some(rows) = writes.map(&tables::ADDED_LEDGERS) else { return Ok(BTreeMap::new()) };
    let hosted = hosted_ledgers(before)?.unwrap_or_default();
    let mut added = BTreeMap::new();
    for (name, row) in rows {
        let name = String::from_utf8_lossy(name).into_owned();
        let Some(row) = row else {
            return Err(Error::Hosting(format!("the ledger {name} cannot be taken away again")));
        };
        let begun = before.row(&tables::REMOVED_LEDGERS, name.as_bytes()).is_some();
        if begun {
            return Err(Error::Hosting(format!("the ledger {name} was removed, and cannot begin again")));
        }
        if hosted.contains(&name) {
            return Err(Error::Hosting(format!("the network hosts the ledger {name} already")));
        }
        let ledger = tables::parse(&tables::ADDED_LEDGERS, name.as_bytes(), row)?;
        added.insert(name, ledger);
    }
    Ok(added)
}

#[cfg(test)]
mod tests {
    use coco_crypto::{Curve, SeededCrypto};
    use serde_json::json;

    use super::*;
    use crate::constitution::DEFAULT;
    use crate::fixture::{self, Actor};

    #[test]
    fn a_ledger_is_added_once_to_those_of_the_founding_and_stays() {
        let crypto = SeededCrypto::new(1);
        let store = fixture::founded(&crypto, &[&Actor::new(&crypto, Curve::P384, "member")], DEFAULT);
        let mut state = store.newest_snapshot();
        let founded = hosted_ledgers(&mut state).unwrap().unwrap();
        let write = |name: &str, row: Option<&Value>| {
            let mut tx = store.begin();
            match row {
                Some(row) => tables::write(&mut tx, &tables::ADDED_LEDGERS, name.as_bytes(), row),
                None => tx.remove(&tables::ADDED_LEDGERS, name),
            }
            tx.into_parts().0
        };
        let (row, message) = (json!({ "genesis": { "chain_id": 7 } }), |error: Error| error.to_string());
        let writes = write("sawtooth", Some(&row));
        let added = added_ledgers(&mut state, &writes).unwrap();
        assert_eq!(added["sawtooth"].genesis["chain_id"], 7);
        assert!(changes_hosting(&writes));
        store.apply(store.newest().next(), &writes).unwrap();
        let mut state = store.newest_snapshot();
        let both: BTreeSet<_> = founded.iter().cloned().chain(["sawtooth".to_owned()]).collect();
        assert_eq!(hosted_ledgers(&mut state).unwrap(), Some(both));
        let again = added_ledgers(&mut state, &write("sawtooth", Some(&row))).map_err(message);
        assert_eq!(again, Err("the network hosts the ledger sawtooth already".to_owned()));
        let gone = added_ledgers(&mut state, &write("sawtooth", None)).map_err(message);
        assert_eq!(gone, Err("the ledger sawtooth cannot be taken away again".to_owned()));
        let other = added_ledgers(&mut state, &write("other", Some(&json!([])))).map_err(message);
        assert!(other.unwrap_err().contains("not readable"));
    }

    #[test]
    fn a_removed_ledger_is_hosted_no_more_and_cannot_begin_again() {
        let crypto = SeededCrypto::new(1);
        let store = fixture::founded(&crypto, &[&Actor::new(&crypto, Curve::P384, "member")], DEFAULT);
        let founded = hosted_ledgers(&mut store.newest_snapshot()).unwrap().unwrap();
        let name = founded.first().unwrap().clone();
        assert!(not_hosted(&mut store.newest_snapshot(), "other").contains("its members can add it"));
        let mut tx = store.begin();
        tables::write(&mut tx, &tables::REMOVED_LEDGERS, name.as_bytes(), &json!({ "reason": "nobody uses it" }));
        assert!(changes_hosting(tx.writes()));
        store.apply(store.newest().next(), tx.writes()).unwrap();
        let mut state = store.newest_snapshot();
        assert!(!hosted_ledgers(&mut state).unwrap().unwrap().contains(&name));
        let why = format!("the members have removed the ledger {name}: nobody uses it");
        assert_eq!(not_hosted(&mut state, &name), why);
        let mut tx = store.begin();
        tables::write(&mut tx, &tables::ADDED_LEDGERS, name.as_bytes(), &json!({ "genesis": {} }));
        let again = added_ledgers(&mut state, tx.writes()).map_err(|error| error.to_string());
        assert_eq!(again, Err(format!("the ledger {name} was removed, and cannot begin again")));
    }

    #[test]
    fn before_there_is_a_network_nothing_is_known_of_its_ledgers() {
        assert_eq!(hosted_ledgers(&mut coco_kv::Store::new().newest_snapshot()), Ok(None));
    }
}
