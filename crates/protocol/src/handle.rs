//! What a protocol's service may ask of its node.

use std::sync::Arc;

use bytes::Bytes;
use coco_types::{Seqno, TxId, View, WriteSet};
use serde::{Deserialize, Serialize};

use crate::{Admitted, Attested, Caller, ChannelBinding, Idempotent, Reader, Rejection};

/// A node as one protocol's service sees it. Calls return at once; answers arrive by callback, on any thread, exactly once.
pub trait LedgerHandle: Send + Sync {
    /// Hands admitted submissions to the primary, here or elsewhere. The answers are in the order of the submissions.
    fn submit(&self, admitted: Vec<Admitted>, until: Until, reply: Box<dyn FnOnce(Vec<Submitted>) + Send>);

    /// Runs a job soon where services compute. Answers arrive on threads that others wait for, such as the executor's: whatever takes long
    /// goes aside. Where too many jobs wait it runs at once.
    fn aside(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }

    /// Puts a question to the primary's pool ([`crate::Pool::answer`]). The answer arrives aside.
    fn ask_primary(&self, caller: &Caller, question: Bytes, reply: Box<dyn FnOnce(Result<Bytes, Rejection>) + Send>);

    /// Takes a message to the same protocol on the primary ([`crate::Protocol::relayed`]), where that is another node. Nothing comes back
    /// if there is none, if it does not answer, or if this node is the primary itself.
    fn relay(&self, message: Bytes, reply: Box<dyn FnOnce(Option<Bytes>) + Send>);

    /// On the primary: has one node that follows it remember what its pool took ([`crate::Protocol::entrusted`]). Calls back with whether
    /// one does: not if there is none, or if this node is not the primary.
    fn entrust(&self, _admitted: Vec<Admitted>, reply: Box<dyn FnOnce(bool) + Send>) {
        reply(false);
    }

    /// Keeps a key for a request whose effect needs no guard, such as one whose parts have ids of their own; refused if it was another's.
    fn claim(&self, key: Idempotent, reply: Box<dyn FnOnce(Result<(), Rejection>) + Send>);

    /// Reads committed state of this node, on behalf of somebody. May be a moment old; see [`LedgerHandle::linearizable`].
    fn reader(&self, caller: &Caller) -> Reader;

    /// Calls back once this node has applied everything that was committed anywhere before now; `false` if that cannot be known now.
    fn linearizable(&self, reply: Box<dyn FnOnce(bool) + Send>);

    /// What evidence (a CMW in JSON) says of the program at the other end of a connection, judged by the network's trust. An error says why
    /// it counts for nothing.
    fn attest(&self, _evidence: &[u8], _binding: &ChannelBinding) -> Result<Arc<dyn Attested>, String> {
        Err("this node judges no evidence".to_owned())
    }

    /// Where a transaction stands, as far as this node knows.
    fn transaction_status(&self, txid: TxId) -> TransactionStatus;

    /// The view of a committed transaction.
    fn view_of(&self, _seqno: Seqno) -> Option<View> {
        None
    }

    /// A committed transaction once more; `None` where this node's files do not go back so far. Reads the disk: for
    /// threads that others do not wait for.
    fn past(&self, _caller: &Caller, _txid: TxId) -> Option<PastTransaction> {
        None
    }

    /// The COSE receipt of a committed transaction; `None` if there is none, or the caller may not see it.
    fn receipt(&self, caller: &Caller, txid: TxId, reply: Box<dyn FnOnce(Option<Bytes>) + Send>);

    fn status(&self) -> NodeStatus;

    /// This node's clock, milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// What a committed transaction wrote, and the proof that it did.
#[derive(Clone, Debug)]
pub struct PastTransaction {
    /// In CCF's JSON form; of a signature what it signs, and who.
    pub receipt: serde_json::Value,
    /// Of all ledgers: look at the maps that are yours.
    pub writes: Arc<WriteSet>,
}

/// How long a submitter waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// Until the primary's pool has taken it.
    Accepted,
    /// Until it is committed: on disk at a majority, and signed.
    Committed,
    /// The same, of one submission that may have been handed in before with this key: it is executed at most once.
    Once(Idempotent),
}

/// The end of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// In the primary's pool: volatile.
    Accepted,
    /// On disk at a majority, and signed. Final.
    Committed { txid: TxId, response: Bytes },
    /// Refused; it left no trace.
    Rejected(Rejection),
    /// It was sealed, then its primary lost the lead: it may yet commit under this id, or never; ask for the id's status. Without an
    /// id it went to a primary that did not answer: it may have been executed, or not.
    Unknown(Option<TxId>),
    /// There is no primary just now, or it cannot be reached. It was not executed.
    Unavailable,
}

/// Where a transaction stands. `Committed` and `Invalid` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransactionStatus {
    Unknown,
    Pending,
    Committed,
    Invalid,
}

/// A node in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Index of the node in its network, from 0.
    pub node: u32,
    pub is_primary: bool,
    /// The view that this node knows of.
    pub view: View,
    /// The primary's index, if there is one that this node follows.
    pub primary: Option<u32>,
    /// The newest committed transaction that this node has applied.
    pub committed: TxId,
    /// Other nodes that are members of the consensus now.
    pub peers: u32,
    /// Applied everything it knows to be committed, and hears from a primary.
    pub caught_up: bool,
}
