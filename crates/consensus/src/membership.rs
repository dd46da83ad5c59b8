//! Who votes, who listens, and the changes between.

use std::collections::BTreeSet;

use coco_types::{ReplicaId, Seqno, View};
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};
use serde::{Deserialize, Serialize};

/// A configuration. *Joint* while `voters_outgoing` is not empty: then both sets must agree to everything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    pub voters: BTreeSet<ReplicaId>,
    pub voters_outgoing: BTreeSet<ReplicaId>,
    pub learners: BTreeSet<ReplicaId>,
    /// Outgoing voters that stay as learners once the joint configuration is left.
    pub learners_next: BTreeSet<ReplicaId>,
}

/// One step. Voters change only through a joint configuration, which the primary then leaves explicitly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipChange {
    AddLearner(ReplicaId),
    RemoveLearner(ReplicaId),
    /// `promote` are learners that have caught up, `remove` are voters: one of each is a swap.
    Joint {
        promote: BTreeSet<ReplicaId>,
        remove: BTreeSet<ReplicaId>,
    },
}

/// Where a log begins: everything up to `index` is known from elsewhere (genesis, or a snapshot that a joiner was given).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartPoint {
    pub index: u64,
    pub view: View,
    /// The last transaction at or below `index`.
    pub seqno: Seqno,
    /// The configuration as of `index`.
    pub membership: Membership,
}

impl StartPoint {
    /// The empty log. `voters` are the network's very first ones: usually one. A joiner that copies the whole log starts
    /// here too, with the same voters.
    pub fn genesis(voters: impl IntoIterator<Item = ReplicaId>) -> Self {
        let membership = Membership { voters: voters.into_iter().collect(), ..Membership::default() };
        Self { index: 0, view: View(0), seqno: Seqno::ZERO, membership }
    }
}

impl Membership {
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Votes in at least one of the active sets.
    pub fn is_voter(&self, id: ReplicaId) -> bool {
        self.voters.contains(&id) || self.voters_outgoing.contains(&id)
    }

    pub fn contains(&self, id: ReplicaId) -> bool {
        self.is_voter(id) || self.learners.contains(&id) || self.learners_next.contains(&id)
    }

    /// Everyone, in order.
    pub fn ids(&self) -> BTreeSet<ReplicaId> {
        [&self.voters, &self.voters_outgoing, &self.learners, &self.learners_next]
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    /// Whether `granted` holds a majority of each active set.
    pub fn has_quorum(&self, granted: &BTreeSet<ReplicaId>) -> bool {
        let majority = |set: &BTreeSet<ReplicaId>| set.is_empty() || set.intersection(granted).count() > set.len() / 2;
        !self.voters.is_empty() && majority(&self.voters) && majority(&self.voters_outgoing)
    }

    /// The configuration after a change, as the raft crate computes it: a change that does not fit changes nothing.
    pub(crate) fn after(&self, change: &ConfChangeV2) -> Self {
        let mut next = self.clone();
        let explicit = change.get_transition() == ConfChangeTransition::Explicit;
        if self.is_joint() {
            if !explicit && change.get_changes().is_empty() {
                next.learners.extend(&self.learners_next);
                next.learners_next.clear();
                next.voters_outgoing.clear();
            }
            return next;
        }
        if explicit {
            next.voters_outgoing.clone_from(&self.voters);
        }
        for single in change.get_changes() {
            let id = ReplicaId(single.node_id);
            next.learners.remove(&id);
            match single.get_change_type() {
                ConfChangeType::AddNode => drop(next.voters.insert(id)),
                ConfChangeType::RemoveNode => drop(next.voters.remove(&id)),
                ConfChangeType::AddLearnerNode => {
                    next.voters.remove(&id);
                    let outgoing = next.voters_outgoing.contains(&id);
                    if outgoing {
                        next.learners_next.insert(id)
                    } else {
                        next.learners.insert(id)
                    };
                }
            }
        }
        if next.voters.is_empty() { self.clone() } else { next }
    }

    /// What the raft crate can start from: it panics on anything else.
    pub(crate) fn is_sound(&self) -> bool {
        let listens_only = |id: &ReplicaId| !self.is_voter(*id);
        !self.voters.is_empty()
            && !self.ids().contains(&ReplicaId(0))
            && self.learners.iter().all(listens_only)
            && self.learners_next.is_subset(&self.voters_outgoing)
            && self.learners_next.is_disjoint(&self.voters)
    }

    pub(crate) fn to_conf_state(&self) -> ConfState {
        let list = |set: &BTreeSet<ReplicaId>| set.iter().map(|id| id.0).collect::<Vec<_>>();
        let mut state = ConfState::default();
        state.set_voters(list(&self.voters));
        state.set_voters_outgoing(list(&self.voters_outgoing));
        state.set_learners(list(&self.learners));
        state.set_learners_next(list(&self.learners_next));
        state
    }

    /// Sorts: the crate's own vectors come in hash order.
    pub(crate) fn from_conf_state(state: &ConfState) -> Self {
        let set = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect();
        Self {
            voters: set(state.get_voters()),
            voters_outgoing: set(state.get_voters_outgoing()),
            learners: set(state.get_learners()),
            learners_next: set(state.get_learners_next()),
        }
    }
}

impl MembershipChange {
    pub(crate) fn to_conf_change(&self) -> ConfChangeV2 {
        let mut change = ConfChangeV2::default();
        match self {
            Self::AddLearner(id) => change.mut_changes().push(single(*id, ConfChangeType::AddLearnerNode)),
            Self::RemoveLearner(id) => change.mut_changes().push(single(*id, ConfChangeType::RemoveNode)),
            Self::Joint { promote, remove } => {
                change.set_transition(ConfChangeTransition::Explicit);
                change.mut_changes().extend(promote.iter().map(|id| single(*id, ConfChangeType::AddNode)));
                change.mut_changes().extend(remove.iter().map(|id| single(*id, ConfChangeType::RemoveNode)));
            }
        }
        change
    }
}

/// A membership entry's payload from another replica: only the shapes that this crate proposes, `None` otherwise.
/// Everything else (implicit joint changes, contexts, id 0) could make the crate append or refuse on its own.
pub(crate) fn parse_conf_change(bytes: &[u8]) -> Option<ConfChangeV2> {
    const CHANGES_MAX: usize = 256;
    let change = ConfChangeV2::parse_from_bytes(bytes).ok()?;
    let count = change.get_changes().len();
    let shaped = match change.get_transition() {
        ConfChangeTransition::Auto => count <= 1,
        ConfChangeTransition::Explicit => (1..=CHANGES_MAX).contains(&count),
        ConfChangeTransition::Implicit => false,
    };
    let ids_valid = change.get_changes().iter().all(|single| single.node_id != 0);
    (shaped && ids_valid && change.get_context().is_empty()).then_some(change)
}

fn single(id: ReplicaId, kind: ConfChangeType) -> ConfChangeSingle {
    let mut single = ConfChangeSingle { node_id: id.0, ..ConfChangeSingle::default() };
    single.set_change_type(kind);
    single
}
