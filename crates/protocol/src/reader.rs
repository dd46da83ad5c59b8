//! Reads on behalf of somebody: committed state, history, and the disclosure gate.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use coco_kv::Snapshot;
use coco_types::MapName;

use crate::{Caller, bindings};

/// A consistent view of committed state, tied to who asks.
#[derive(Clone)]
pub struct Reader {
    caller: Caller,
    state: Snapshot,
    history: Arc<dyn History>,
    gate: Arc<dyn Gate>,
}

/// Committed write-once records (maps named `history:…`).
pub trait History: Send + Sync {
    fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError>;

    /// Some bytes of a record; `None` if it is absent, or ends before. Where records lie on a disk, a long one is not read whole for that.
    fn part(&self, map: &MapName, key: &[u8], range: Range<usize>) -> Result<Option<Bytes>, HistoryError> {
        Ok(self.record(map, key)?.and_then(|record| part_of(&record, range)))
    }
}

/// Some bytes of a record, unless it ends before.
pub fn part_of(record: &Bytes, range: Range<usize>) -> Option<Bytes> {
    record.get(range).map(|part| record.slice_ref(part))
}

/// The history as [`crate::Protocol::index`] works on it: committed records, and its own which it derives from them.
pub trait DerivedHistory: History {
    /// Keeps a record under a name that no write set uses, or replaces it. What one call of `index` keeps is stored together, or
    /// none of it.
    fn keep(&mut self, map: &MapName, key: Bytes, value: Bytes);
}

/// The disclosure gate: the one place that decides who may see what, for every protocol.
pub trait Gate: Send + Sync {
    fn permits(&self, caller: &Caller, subject: &Subject<'_>) -> bool;
}

/// What is about to be disclosed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The ledger it belongs to.
    pub ledger: &'a str,
    /// What kind of thing: `account`, `transaction`, `block`, `log`, `record`, `receipt`.
    pub kind: &'a str,
    /// Its name in the protocol: an address, a hash, a key.
    pub name: &'a [u8],
    /// Protocol identities that are party to it; empty when it has none.
    pub parties: &'a [&'a [u8]],
}

/// Everything is visible to everyone who can reach the node: the `open` policy. Only who is who inside a ledger is for those themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenGate;

/// The history store failed; the record may exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("history: {0}")]
pub struct HistoryError(pub String);

impl Reader {
    pub fn new(caller: Caller, state: Snapshot, history: Arc<dyn History>, gate: Arc<dyn Gate>) -> Self {
        Self { caller, state, history, gate }
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// `value` if the caller may see `subject`; otherwise what the answer would be if it did not exist.
    pub fn disclose<T>(&self, subject: &Subject<'_>, value: T) -> Option<T> {
        self.gate.permits(&self.caller, subject).then_some(value)
    }

    /// The state, for execution and for finding out what to disclose. What leaves the node goes through [`Reader::disclose`].
    pub fn state(&self) -> &Snapshot {
        &self.state
    }

    /// A committed write-once record, for the same uses.
    pub fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError> {
        self.history.record(map, key)
    }
}

impl History for Reader {
    fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError> {
        self.history.record(map, key)
    }

    fn part(&self, map: &MapName, key: &[u8], range: Range<usize>) -> Result<Option<Bytes>, HistoryError> {
        self.history.part(map, key, range)
    }
}

impl Gate for OpenGate {
    fn permits(&self, caller: &Caller, subject: &Subject<'_>) -> bool {
        let is_party = |identity| subject.parties.contains(&bindings::principal_digest(identity).as_bytes().as_slice());
        subject.kind != bindings::SUBJECT_KIND || caller.identities().iter().any(is_party)
    }
}
