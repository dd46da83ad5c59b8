//! What must hold in every state of every run.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use coco_consensus::{Committed, Consensus, Output, Role};
use coco_types::{ReplicaId, Seqno, View};
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

pub fn parse(bytes: &[u8]) -> Message {
    Message::parse_from_bytes(bytes).unwrap()
}

/// What an index was committed with when a replica first said so.
pub struct FirstCommit {
    pub view: View,
    pub bytes: Bytes,
    pub by: u64,
    /// The replica's view at that time: later primaries must have the entry.
    pub known_in: View,
}

#[derive(Default)]
pub struct Invariants {
    pub committed: BTreeMap<u64, FirstCommit>,
    /// The view that each replica's disk holds, as far as the harness synced it.
    pub durable_view: BTreeMap<u64, View>,
    /// The first thing found wrong, instead of a panic, when a test wants to see it.
    pub violation: Option<String>,
    pub expect_violation: bool,
    primaries: BTreeMap<View, u64>,
    commits: BTreeMap<(u64, View), u64>,
    committed_seqno: BTreeMap<u64, Seqno>,
    votes: BTreeMap<(View, u64), BTreeSet<ReplicaId>>,
    /// What was sent for a (view, index).
    contents: BTreeMap<(View, u64), Bytes>,
    /// The end of the appends received: (receiver, view).
    received: BTreeMap<(u64, View), u64>,
    /// Highest match index that a primary held of a peer: (primary, view, peer).
    matched: BTreeMap<(u64, View, ReplicaId), u64>,
    /// How far each replica has said to hold the log: (replica, view).
    acknowledged: BTreeMap<(ReplicaId, View), u64>,
    /// What each backup took for committed last.
    committed_index: BTreeMap<u64, u64>,
    /// How far any primary has committed.
    committed_by_primaries: u64,
}

impl Invariants {
    #[track_caller]
    pub(crate) fn require(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if holds {
            return;
        }
        if self.expect_violation {
            self.violation.get_or_insert_with(what);
        } else {
            panic!("{}", what());
        }
    }

    /// An index is committed with one content only.
    #[track_caller]
    pub fn committed(&mut self, id: u64, committed: &Committed, bytes: Bytes, known_in: View) {
        let Committed { index, view, .. } = *committed;
        let first = FirstCommit { view, bytes: bytes.clone(), by: id, known_in };
        let first = self.committed.entry(index).or_insert(first);
        let (same, by) = (first.view == view && first.bytes == bytes, first.by);
        self.require(same, || format!("{by} and {id} committed index {index} with different contents"));
    }

    #[track_caller]
    pub fn check(&mut self, id: u64, core: &Consensus, output: &Output) {
        if core.role() == Role::Primary {
            self.check_primary(id, core);
        } else {
            self.check_follower(id, core);
        }
        if output.role_changed.is_some_and(|change| change.role == Role::Primary) {
            self.check_election(id, core);
        }
        let committed = core.seqno_at(core.committed()).unwrap_or_default();
        let before = self.committed_seqno.insert(id, committed).unwrap_or_default();
        if let Some(truncated) = output.truncated {
            self.require(truncated > before, || format!("{id} cut {truncated}, but had committed {before}"));
        }
        for peer in core.progress() {
            let key = (id, core.view(), peer.id);
            let before = self.matched.insert(key, peer.matched).unwrap_or(0);
            self.require(peer.matched >= before, || format!("{id}: match of {} fell from {before}", peer.id));
        }
    }

    /// One primary a view, which commits only through entries of its own view.
    #[track_caller]
    fn check_primary(&mut self, id: u64, core: &Consensus) {
        let view = core.view();
        let known = *self.primaries.entry(view).or_insert(id);
        self.require(known == id, || format!("{known} and {id} both lead view {view}"));
        let committed = core.committed();
        let before = self.commits.insert((id, view), committed);
        let own = core.view_at(committed) == Some(view);
        let advanced = before.is_some_and(|before| before < committed);
        self.require(before.is_none_or(|before| before == committed) || own, || {
            format!("{id} committed {committed} in view {view} by counting replicas of an older one")
        });
        if advanced {
            let holds = |peer: &ReplicaId| self.acknowledged.get(&(*peer, view)).is_some_and(|end| *end >= committed);
            let mut holders: BTreeSet<_> = core.membership().ids().into_iter().filter(holds).collect();
            holders.insert(ReplicaId(id));
            let quorum = core.membership().has_quorum(&holders);
            self.require(quorum, || format!("{id} committed {committed}, which only {holders:?} have acknowledged"));
        }
        self.committed_by_primaries = committed.max(self.committed_by_primaries);
    }

    /// A backup knows nothing to be committed that no primary does. (Votes carry the commit index too, so it need not be its own primary.)
    #[track_caller]
    fn check_follower(&mut self, id: u64, core: &Consensus) {
        let (view, committed) = (core.view(), core.committed());
        // It stepped down within its view, and may have committed in that moment.
        if self.primaries.get(&view) == Some(&id) {
            self.committed_by_primaries = committed.max(self.committed_by_primaries);
        }
        let known = self.committed_by_primaries;
        let before = self.committed_index.insert(id, committed).unwrap_or(committed);
        self.require(before >= committed || committed <= known, || {
            format!(
                "{id} takes {committed} for committed in view {view}, but no primary has committed more than {known}"
            )
        });
    }

    /// A new primary has every committed entry, and the votes of a majority of each active set.
    #[track_caller]
    fn check_election(&mut self, id: u64, core: &Consensus) {
        let view = core.view();
        let known = self.committed.iter().filter(|(_, first)| first.known_in < view);
        let mut missing = known.filter(|(index, first)| {
            core.view_at(**index).map_or(core.last_index() < **index, |found| found != first.view)
        });
        let missing = missing.next().map(|(index, _)| *index);
        self.require(missing.is_none(), || format!("{id} leads view {view} without committed entry {missing:?}"));
        let mut votes = self.votes.get(&(view, id)).cloned().unwrap_or_default();
        votes.insert(ReplicaId(id));
        let quorum = core.membership().has_quorum(&votes);
        self.require(quorum, || format!("{id} leads view {view} with the votes of {votes:?} only"));
    }

    #[track_caller]
    pub fn sent(&mut self, from: u64, to: u64, bytes: &[u8]) {
        let message = parse(bytes);
        let view = View(message.term);
        let asks_ahead =
            matches!(message.get_msg_type(), MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse);
        let durable = self.durable_view.get(&from).copied().unwrap_or_default();
        self.require(asks_ahead || view <= durable, || {
            format!("{from} sent {:?} in view {view} with {durable} on disk", message.get_msg_type())
        });
        match message.get_msg_type() {
            MessageType::MsgRequestVoteResponse if !message.reject => {
                self.votes.entry((view, to)).or_default().insert(ReplicaId(from));
            }
            MessageType::MsgAppend => {
                for entry in message.get_entries() {
                    let key = (View(entry.term), entry.index);
                    let known = self.contents.entry(key).or_insert_with(|| entry.data.clone());
                    let same = *known == entry.data;
                    self.require(same, || format!("{key:?} was sent with two contents"));
                }
            }
            MessageType::MsgAppendResponse if !message.reject => {
                let received = self.received.get(&(from, view)).copied().unwrap_or(0).max(message.commit);
                let index = message.index;
                self.require(index <= received, || format!("{from} acknowledged {index}, received {received}"));
                let end = self.acknowledged.entry((ReplicaId(from), view)).or_default();
                *end = index.max(*end);
            }
            _ => {}
        }
    }

    pub fn before_delivery(&mut self, _from: u64, to: u64, bytes: &[u8]) {
        let message = parse(bytes);
        if message.get_msg_type() == MessageType::MsgAppend {
            let end = message.index + message.get_entries().len() as u64;
            let received = self.received.entry((to, View(message.term))).or_default();
            *received = end.max(*received);
        }
    }

    /// What a primary knew of its peers ends with it.
    pub fn crashed(&mut self, id: u64) {
        self.committed_seqno.remove(&id);
        self.committed_index.remove(&id);
        self.matched.retain(|(primary, ..), _| *primary != id);
    }
}
