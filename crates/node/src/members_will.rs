//! What the members have decided about ledgers, as the executor heeds it: which are hosted, which take no writes, and which private maps are
//! written to the ledger files in clear too.

use std::collections::BTreeMap;

use bytes::Bytes;
use coco_governance::tables::{PUBLISHED_MAPS, Read};
use coco_governance::{Closure, hosted_ledgers, not_hosted};
use coco_kv::Snapshot;
use coco_protocol::{Rejection, RejectionReason};
use coco_types::{MapName, WriteSet};

use crate::executor::ROW_BYTES;

/// What whoever writes to a closed ledger is answered with. Protocols that have a better code go by the reason.
const CLOSED_CODE: i64 = -32000;

/// See the module's text.
#[derive(Default)]
pub struct MembersWill {
    closed: BTreeMap<usize, Rejection>,
    /// Private map → where its writes go as well.
    published: BTreeMap<MapName, MapName>,
}

impl MembersWill {
    /// Looks again; the ledgers that are closed now and were not before. A row that cannot be read closes its ledger: it says that something
    /// is to stop.
    pub fn read(&mut self, state: &mut Snapshot, ledgers: &[&str]) -> Vec<(usize, Rejection)> {
        let mut fresh = Vec::new();
        let hosted = hosted_ledgers(state);
        for (at, name) in ledgers.iter().enumerate() {
            let message = match (&hosted, &Closure::of(state, name)) {
                (Err(error), _) | (_, Err(error)) => Some(error.to_string()),
                (Ok(Some(hosted)), _) if !hosted.contains(*name) => Some(not_hosted(state, name)),
                (Ok(_), Ok(closure)) => closure.as_ref().map(|closure| closure.message(name)),
            };
            match message {
                None => drop(self.closed.remove(&at)),
                Some(message) => {
                    let rejection = Rejection::new(RejectionReason::Closed, CLOSED_CODE, message);
                    if self.closed.insert(at, rejection.clone()).is_none() {
                        fresh.push((at, rejection));
                    }
                }
            }
        }
        let named =
            state.rows(&PUBLISHED_MAPS).into_iter().map(|(name, _)| String::from_utf8_lossy(&name).into_owned());
        self.published = named.map(|name| (MapName::new(&*name), public_name(&name))).collect();
        fresh
    }

    pub fn closed(&self, ledger: usize) -> Option<&Rejection> {
        self.closed.get(&ledger)
    }

    pub fn is_published(&self, map: &MapName) -> bool {
        self.published.contains_key(map)
    }

    /// How much larger [`Self::publish`] makes these writes.
    pub fn published_bytes(&self, writes: &WriteSet) -> usize {
        let rows = self.published.keys().filter_map(|private| writes.map(private)).flatten();
        rows.map(|(key, value)| ROW_BYTES + key.len() + value.as_ref().map_or(0, Bytes::len)).sum()
    }

    /// Adds what is to be read by everybody; so many bytes.
    pub fn publish(&self, writes: &mut WriteSet) -> usize {
        let added = self.published_bytes(writes);
        for (private, public) in &self.published {
            let Some(rows) = writes.map(private).cloned() else { continue };
            writes.map_mut(public).extend(rows);
        }
        added
    }
}

/// Write-once records stay such.
fn public_name(private: &str) -> MapName {
    match private.strip_prefix("history:") {
        Some(rest) => MapName::new(format!("public:history:published:{rest}")),
        None => MapName::new(format!("public:published:{private}")),
    }
}

#[cfg(test)]
mod tests {
    use coco_governance::tables::{ADDED_LEDGERS, CLOSURES, REMOVED_LEDGERS};
    use coco_kv::Store;
    use coco_types::Seqno;

    use super::*;

    #[test]
    fn a_ledger_is_closed_once_until_a_vote_lifts_it() {
        let store = Store::new();
        let mut will = MembersWill::default();
        let ledgers = ["ethereum", "records"];
        let mut vote = |key: &str, value: Option<&str>| {
            let mut tx = store.begin();
            match value {
                Some(value) => tx.put(&CLOSURES, key.as_bytes().to_vec(), value.as_bytes().to_vec()),
                None => tx.remove(&CLOSURES, key),
            }
            store.apply(store.newest().next(), tx.writes()).unwrap();
            let fresh: Vec<_> = will.read(&mut store.newest_snapshot(), &ledgers).iter().map(|(at, _)| *at).collect();
            (fresh, will.closed(0).is_some(), will.closed(1).map(|closed| closed.message.clone()))
        };
        assert_eq!(vote("ethereum", Some("{}")), (vec![0], true, None));
        let all = vote("*", Some(r#"{"reason": "a key was stolen"}"#));
        let message = "the network is read-only by a vote of its members: a key was stolen".to_owned();
        assert_eq!(all, (vec![1], true, Some(message)));
        assert_eq!(vote("*", None), (vec![], true, None));
        assert_eq!(vote("ethereum", None), (vec![], false, None));
        assert!(vote("records", Some("?")).2.unwrap().contains("not readable"));
    }

    #[test]
    fn a_ledger_that_the_network_does_not_host_takes_nothing_until_members_add_it() {
        let store = Store::new();
        let mut will = MembersWill::default();
        let mut write = |map: &MapName, key: &[u8], row: serde_json::Value| {
            let mut tx = store.begin();
            tx.put(map, key.to_vec(), row.to_string().into_bytes());
            store.apply(store.newest().next(), tx.writes()).unwrap();
            let ledgers = ["ethereum", "sawtooth"];
            let fresh: Vec<_> = will.read(&mut store.newest_snapshot(), &ledgers).iter().map(|(at, _)| *at).collect();
            (fresh, will.closed(0).is_some(), will.closed(1).map(|closed| closed.message.clone()))
        };
        let network = serde_json::json!({ "name": "n", "chunk_bytes": 1, "ledgers": ["ethereum"] });
        let founded = write(&coco_governance::tables::NETWORK, &coco_governance::tables::SINGLETON, network);
        let why = "this network does not host the ledger sawtooth: its members can add it (add_ledger)";
        assert_eq!(founded, (vec![1], false, Some(why.to_owned())));
        let added = write(&ADDED_LEDGERS, b"sawtooth", serde_json::json!({ "genesis": {} }));
        assert_eq!(added, (vec![], false, None));
        let removed = write(&REMOVED_LEDGERS, b"sawtooth", serde_json::json!({ "reason": "nobody uses it" }));
        let why = "the members have removed the ledger sawtooth: nobody uses it";
        assert_eq!(removed, (vec![1], false, Some(why.to_owned())));
    }

    #[test]
    fn what_enters_a_published_map_is_in_clear_as_well() {
        let store = Store::new();
        let mut tx = store.begin();
        for name in ["records", "history:blocks"] {
            tx.put(&PUBLISHED_MAPS, name.as_bytes().to_vec(), b"{}".to_vec());
        }
        store.apply(Seqno(1), tx.writes()).unwrap();
        let mut will = MembersWill::default();
        will.read(&mut store.newest_snapshot(), &[]);
        let mut writes = WriteSet::new();
        for name in ["records", "history:blocks", "other"] {
            writes.insert(&MapName::new(name), Bytes::from_static(b"k"), Some(Bytes::from_static(b"v")));
        }
        assert_eq!(will.published_bytes(&writes), 4 + 2 * ROW_BYTES);
        assert!(will.is_published(&MapName::new("records")) && !will.is_published(&MapName::new("other")));
        assert_eq!(will.publish(&mut writes), 4 + 2 * ROW_BYTES);
        let names: Vec<_> = writes.iter().map(|(map, _)| map.as_str().to_owned()).collect();
        assert_eq!(
            names,
            ["history:blocks", "other", "public:history:published:blocks", "public:published:records", "records"]
        );
    }
}
