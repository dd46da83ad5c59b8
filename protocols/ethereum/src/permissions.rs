//! What the network's members have decided about accounts: who may send transactions, and who may create contracts.
//!
//! The decisions are rows that the constitution writes (`set_ledger_account`); this module only reads them. Without any, everybody may do
//! everything. A row that cannot be read forbids. Derived data, kept as of what is committed: a decision holds from the next block on, also
//! for what waits in the pool by then.

use std::collections::BTreeMap;

use alloy_consensus::Transaction as _;
use alloy_primitives::Address;
use bytes::Bytes;
use coco_kv::Snapshot;
use coco_types::{MapName, WriteSet};
use serde::Deserialize;

use crate::NAME;
use crate::transaction::{Transaction, TransactionError};

/// `ledger:0x…` to what the account may do, JSON; `ledger:*` is about all other accounts.
pub const ACCOUNTS: MapName = MapName::from_static("public:ccf.gov.coco.ledger.accounts");

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// `None` is about all others.
    decided: BTreeMap<Option<Address>, May>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum May {
    Nothing,
    Send,
    Create,
}

#[derive(Deserialize)]
struct Row {
    may: May,
}

impl Permissions {
    /// Everything that was decided.
    pub fn read(state: &Snapshot) -> Self {
        let mut permissions = Self::default();
        state.iter(&ACCOUNTS).for_each(|(key, row)| permissions.note(&key, Some(&row)));
        permissions
    }

    /// With what a transaction has decided; `None` if that was nothing.
    pub fn followed(&self, writes: &WriteSet) -> Option<Self> {
        let decisions = writes.map(&ACCOUNTS)?;
        let mut permissions = self.clone();
        decisions.iter().for_each(|(key, row)| permissions.note(key, row.as_ref()));
        Some(permissions)
    }

    pub fn check(&self, transaction: &Transaction) -> Result<(), TransactionError> {
        if self.decided.is_empty() {
            return Ok(());
        }
        let own = self.decided.get(&Some(transaction.sender)).or_else(|| self.decided.get(&None));
        match own.copied().unwrap_or(May::Create) {
            May::Nothing => Err(TransactionError::MayNotSend),
            May::Send if transaction.envelope.is_create() => Err(TransactionError::MayNotCreate),
            May::Send | May::Create => Ok(()),
        }
    }

    /// Rows of other ledgers, and about what is no account, mean nothing here.
    fn note(&mut self, key: &[u8], row: Option<&Bytes>) {
        let text = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(NAME)?.strip_prefix(':'));
        let account = match text {
            Some("*") => None,
            Some(text) => match text.parse() {
                Ok(address) => Some(address),
                Err(_) => return,
            },
            None => return,
        };
        match row {
            None => drop(self.decided.remove(&account)),
            Some(row) => {
                let may = serde_json::from_slice(row).map_or(May::Nothing, |Row { may }| may);
                self.decided.insert(account, may);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use coco_protocol::{Caller, Pool, Protocol};

    use super::*;
    use crate::testing::{Node, dev_key, invoke, sign, transfer};

    /// The members decide, and the node hears of it.
    fn decide(node: &mut Node, account: &str, may: Option<&str>) {
        let mut tx = node.store.begin();
        let key = format!("{NAME}:{account}");
        match may {
            Some(may) => tx.put(&ACCOUNTS, key, may.to_owned()),
            None => tx.remove(&ACCOUNTS, key),
        }
        node.append(tx);
        let last = node.batch(node.ledger.len() - 1);
        node.ethereum.committed(&last, &node.store.newest_snapshot()).unwrap();
    }

    fn sent(node: &mut Node, sender: usize, nonce: u64) -> Result<(), String> {
        let raw = sign(&dev_key(sender), transfer(nonce, Address::ZERO, 1));
        node.block(1_000, &[raw]).remove(0).map(drop).map_err(|rejection| rejection.message)
    }

    fn created(node: &mut Node, sender: usize, nonce: u64) -> Result<(), String> {
        let raw = sign(&dev_key(sender), invoke(nonce, None, [0].into()));
        node.block(1_000, &[raw]).remove(0).map(drop).map_err(|rejection| rejection.message)
    }

    #[test]
    fn members_decide_who_sends_and_who_creates() {
        let mut node = Node::dev();
        let own = format!("{:?}", node.dev_address(0));
        sent(&mut node, 0, 0).unwrap();
        decide(&mut node, "*", Some(r#"{"may":"nothing"}"#));
        assert_eq!(sent(&mut node, 0, 1).unwrap_err(), "sender account not authorized to send transactions");
        decide(&mut node, &own, Some(r#"{"may":"send"}"#));
        sent(&mut node, 0, 1).unwrap();
        assert_eq!(created(&mut node, 0, 2).unwrap_err(), "sender account not authorized to create contracts");
        assert!(sent(&mut node, 1, 0).is_err(), "others still may not");
        decide(&mut node, &own, Some(r#"{"may":"create"}"#));
        created(&mut node, 0, 2).unwrap();
        decide(&mut node, &own, Some("what"));
        assert!(sent(&mut node, 0, 3).is_err(), "a row that cannot be read forbids");
        decide(&mut node, &own, None);
        decide(&mut node, "*", None);
        sent(&mut node, 0, 3).unwrap();
    }

    #[test]
    fn the_pool_refuses_at_once_with_the_code_that_besu_has() {
        let mut node = Node::dev();
        let mut pool: Box<dyn Pool> = node.ethereum.pool();
        decide(&mut node, "*", Some(r#"{"may":"nothing"}"#));
        let raw = sign(&dev_key(0), transfer(0, Address::ZERO, 1));
        let admitted = node.ethereum.admit(raw, &Caller::Anonymous).unwrap();
        let refused = pool.insert(admitted, &node.store.newest_snapshot(), 1).unwrap_err();
        assert_eq!(refused.code, -32007);
    }

    #[test]
    fn decisions_are_found_again_and_those_of_other_ledgers_mean_nothing() {
        let mut node = Node::dev();
        decide(&mut node, "*", Some(r#"{"may":"send"}"#));
        let mut tx = node.store.begin();
        tx.put(&ACCOUNTS, "other:*", r#"{"may":"nothing"}"#);
        tx.put(&ACCOUNTS, "ethereum:somebody", r#"{"may":"nothing"}"#);
        node.append(tx);
        let read = Permissions::read(&node.store.newest_snapshot());
        assert_eq!(read.decided, BTreeMap::from([(None, May::Send)]));
    }
}
