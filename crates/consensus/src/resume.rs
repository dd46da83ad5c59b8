//! Coming back when no majority is alive, without an operator.
//!
//! ```text
//! all q stop ──▶ exchange ResumeState ──▶ each copies the best log's tail ──▶ each: adopt(highest view + 1)
//!                                                                              │ durable, no vote
//!                                         only after all q have confirmed ──▶ Consensus::open, first tick
//! ```
//! Which replicas are enough is [`Resumption::of`]: configurations may have changed in entries that nobody here knows to be
//! committed, so all that the best log leads to must agree.
//!
//! Electing without copying first loses committed data when a disk was rolled back: the two replicas with short logs are a
//! majority as soon as the best one is cut off. A cut in the middle starts again from the exchange. The nonces, the seals
//! and the exchange itself are the node's.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use coco_disk::Disk;
use coco_types::{ReplicaId, Seqno, View};
use serde::{Deserialize, Serialize};

use crate::bounds::{VIEW_MAX, in_reach};
use crate::log::{Content, RaftLog, State};
use crate::membership::parse_conf_change;
use crate::{BatchStore, Error, Membership};

/// A replica's log while it does not run: it cannot tick, vote or answer.
pub struct Resume {
    id: ReplicaId,
    log: RaftLog,
}

/// Where the log of a replica that runs stands on its disk. Whatever it has promised anybody is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    pub(crate) view: View,
    pub(crate) vote: u64,
    pub(crate) last_index: u64,
    pub(crate) last_view: View,
}

impl Written {
    /// As it is in the log of this disk, whatever the ledger holds; `None` if there is none.
    pub fn on(disk: &Arc<dyn Disk>, batches: Box<dyn BatchStore>) -> Result<Option<Self>, Error> {
        Ok(RaftLog::resting(disk, batches)?.as_ref().map(Self::of))
    }

    pub(crate) fn of(log: &RaftLog) -> Self {
        let state = log.state();
        Self { view: state.view, vote: state.vote, last_index: log.last_index(), last_view: log.last_view() }
    }
}

/// What replicas tell each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeState {
    pub id: ReplicaId,
    pub view: View,
    pub vote: Option<ReplicaId>,
    pub last_index: u64,
    pub last_view: View,
    pub commit: u64,
    /// As of the applied index.
    pub membership: Membership,
    pub applied: u64,
    /// The configurations that the membership entries above the applied index lead to, with their entries.
    pub changes: Vec<(u64, Membership)>,
    /// The log's views. Two logs that agree on the view of an entry agree up to there.
    pub runs: Vec<TermRun>,
}

/// Entries from `first_index` to the next run's, all of one view. The first run begins at the log's start point.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermRun {
    pub first_index: u64,
    pub view: View,
}

/// One entry on its way from one log to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResumeEntry {
    Empty { view: View },
    Membership { view: View, change: Bytes },
    Batch { view: View, bytes: Bytes },
}

impl ResumeState {
    /// Whose log all others copy: the one that ends highest.
    pub fn best(states: &[Self]) -> Option<&Self> {
        states.iter().max_by_key(|state| (state.last_view, state.last_index, std::cmp::Reverse(state.id)))
    }

    /// Every configuration that may have decided something that the log does not show: the one in force at `commit`, and all that
    /// the log leads to beyond.
    pub fn configurations(&self, commit: u64) -> Vec<&Membership> {
        let known = self.changes.iter().rev().find(|(index, _)| *index <= commit);
        let in_force = known.map_or(&self.membership, |(_, membership)| membership);
        let later = self.changes.iter().filter(|(index, _)| *index > commit).map(|(_, membership)| membership);
        std::iter::once(in_force).chain(later).collect()
    }

    /// The last entry that this log has in common with another: copying begins behind it. `None` if the other begins
    /// behind the end of this one, or was cut from under it.
    pub fn common_with(&self, other: &Self) -> Option<u64> {
        let first = self.runs.first()?.first_index.max(other.runs.first()?.first_index);
        let last = self.last_index.min(other.last_index);
        // Agreement is monotonous: all entries up to a common one are common.
        let (mut low, mut high) = (first, last);
        if low > high || self.view_at(low) != other.view_at(low) {
            return None;
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.view_at(middle) == other.view_at(middle) { low = middle } else { high = middle - 1 }
        }
        Some(low)
    }

    /// Whether a replica in view `own` may be led to where this log stands: see [`in_reach`].
    pub fn in_reach_of(&self, own: View) -> bool {
        in_reach(own, self.view) && in_reach(own, self.last_view)
    }

    fn view_at(&self, index: u64) -> Option<View> {
        if index > self.last_index {
            return None;
        }
        self.runs.iter().rev().find(|run| run.first_index <= index).map(|run| run.view)
    }
}

/// What a set of replicas that do not run may do together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resumption {
    /// Whose log all adopt.
    pub best: ReplicaId,
    /// The view that all adopt, higher than any that one of them knows.
    pub view: View,
    /// Every voter of the configurations that had to be asked.
    pub voters: BTreeSet<ReplicaId>,
    in_force: Membership,
}

impl Resumption {
    /// `None` if too few of them are there, should up to `rolled_back` of their disks show an old state, or if one cannot copy the
    /// best log.
    pub fn of(states: &[ResumeState], rolled_back: usize) -> Option<Self> {
        let best = ResumeState::best(states)?;
        let highest = states.iter().map(|state| state.view.max(state.last_view)).max()?;
        let view = highest.0.checked_add(1).filter(|view| *view <= VIEW_MAX).map(View)?;
        let commit = states.iter().map(|state| state.commit).max()?;
        let present = states.iter().map(|state| state.id).collect();
        let configurations = best.configurations(commit);
        let enough = configurations.iter().all(|membership| membership.may_resume(&present, rolled_back));
        let copied = states.iter().all(|state| state.common_with(best).is_some());
        let in_force = (*configurations.first()?).clone();
        let voters =
            configurations.into_iter().flat_map(|all| all.voters.union(&all.voters_outgoing)).copied().collect();
        (enough && copied).then_some(Self { best: best.id, view, voters, in_force })
    }

    /// Whether these, those that do not take part among them, can elect a primary then. Of an even number of voters half can copy, and would resume
    /// in vain, in view after view.
    pub fn elects(&self, alive: &BTreeSet<ReplicaId>) -> bool {
        self.in_force.has_quorum(alive)
    }
}

impl Membership {
    /// Whether `present` may resume although up to `rolled_back` of their disks show an old state: n - majority + r + 1
    /// of each active set.
    pub fn may_resume(&self, present: &BTreeSet<ReplicaId>, rolled_back: usize) -> bool {
        let enough = |set: &BTreeSet<ReplicaId>| {
            let minority = set.len().saturating_sub(1) / 2;
            set.is_empty() || set.intersection(present).count() > minority.saturating_add(rolled_back)
        };
        !self.voters.is_empty() && enough(&self.voters) && enough(&self.voters_outgoing)
    }
}

impl Resume {
    pub fn open(id: ReplicaId, disk: Arc<dyn Disk>, batches: Box<dyn BatchStore>) -> Result<Self, Error> {
        Ok(Self { id, log: RaftLog::open(disk, batches, 0)? })
    }

    pub fn state(&self) -> ResumeState {
        let state = self.log.state();
        ResumeState {
            id: self.id,
            view: state.view,
            vote: (state.vote != 0).then_some(ReplicaId(state.vote)),
            last_index: self.log.last_index(),
            last_view: self.log.last_view(),
            commit: state.commit,
            membership: state.membership.clone(),
            applied: state.applied,
            changes: self.changes(),
            runs: self.runs(),
        }
    }

    /// Whether the disk shows what a replica of this process wrote before it made way: nobody put an older one in its place.
    pub fn is_as(&self, written: &Written) -> bool {
        self.written() == *written
    }

    /// What a replica must find there that goes on from here.
    pub fn written(&self) -> Written {
        Written::of(&self.log)
    }

    /// The newest transaction that this log knows to be committed.
    pub fn committed(&self) -> Seqno {
        let commit = self.log.state().commit.min(self.log.last_index());
        self.log.seqno_at(commit).unwrap_or(self.log.start().seqno)
    }

    /// See [`ResumeState::common_with`].
    pub fn common_with(&self, other: &ResumeState) -> Option<u64> {
        self.state().common_with(other)
    }

    /// Entries from `first_index` on, at least one if there is one, up to about `bytes_max`.
    pub fn read_entries(&self, first_index: u64, bytes_max: usize) -> Result<Vec<ResumeEntry>, Error> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in first_index..=self.log.last_index() {
            let Some(view) = self.log.view_at(index) else { break };
            let entry = match self.log.content_at(index)? {
                Content::Empty => ResumeEntry::Empty { view },
                Content::Membership(change) => ResumeEntry::Membership { view, change },
                Content::Batch(bytes) => ResumeEntry::Batch { view, bytes },
            };
            bytes += entry.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Replaces what lies behind entry `after` by entries of the best log. Refuses to touch a committed entry: then more
    /// disks were rolled back than was said.
    pub fn replace_tail(&mut self, after: u64, entries: Vec<ResumeEntry>) -> Result<(), Error> {
        let commit = self.log.state().commit;
        if after < commit {
            let ours = self.log.view_at(after + 1).unwrap_or_default();
            let theirs = entries.first().map(ResumeEntry::view);
            return Err(Error::ResumeConflict { index: after + 1, ours, theirs });
        }
        if after > self.log.last_index() {
            return Err(gap(after, "this log ends before"));
        }
        if after < self.log.last_index() {
            self.log.cut_after(after)?;
        }
        for entry in entries {
            self.append(entry)?;
        }
        self.log.flush()?;
        Ok(())
    }

    /// Makes the copied log and the new view durable, without a vote. From now on this replica must not run before all
    /// others have done the same.
    pub fn adopt(&mut self, view: View) -> Result<(), Error> {
        let durable = self.log.state().view;
        if view <= durable || view < self.log.last_view() {
            return Err(Error::ViewNotHigher { offered: view, durable });
        }
        if !in_reach(durable, view) {
            return Err(Error::ViewOutOfReach { offered: view, durable });
        }
        self.log.set_state(State { view, vote: 0, ..self.log.state().clone() });
        Ok(self.log.sync()?)
    }

    /// Gives the log to a fresh replica, which has voted for nobody and is in no configuration yet: the way of a swap. The
    /// entries stay; what of them was never committed is cut as in any backup. The view stays too: it may be the only memory of
    /// an election.
    pub fn hand_to_fresh_replica(&mut self) -> Result<(), Error> {
        let view = self.log.state().view.max(self.log.last_view());
        self.log.set_state(State { view, vote: 0, was_member: false, ..self.log.state().clone() });
        Ok(self.log.sync()?)
    }

    /// Done: [`crate::Consensus::open`] over the same disk goes on.
    pub fn close(self) -> Box<dyn BatchStore> {
        self.log.into_batches()
    }

    fn append(&mut self, entry: ResumeEntry) -> Result<(), Error> {
        let last_index = self.log.last_index();
        let view = entry.view();
        if view < self.log.last_view() {
            return Err(gap(last_index, "views never fall"));
        }
        if !in_reach(self.log.state().view, view) {
            return Err(gap(last_index, "its view is out of reach"));
        }
        let content = match entry {
            ResumeEntry::Empty { .. } => Content::Empty,
            ResumeEntry::Membership { change, .. } => {
                parse_conf_change(&change).ok_or_else(|| gap(last_index, "not a membership change"))?;
                Content::Membership(change)
            }
            ResumeEntry::Batch { bytes, .. } => {
                let span = self.log.check_batch(&bytes).map_err(|error| gap(last_index, &error.reason))?;
                let before = self.log.seqno_at(last_index).unwrap_or_default();
                if span.view != view || span.first != before.next() || span.last < span.first {
                    return Err(gap(last_index, "the batch does not continue the ledger"));
                }
                Content::Batch(bytes)
            }
        };
        Ok(self.log.append(last_index + 1, view, content)?)
    }

    fn changes(&self) -> Vec<(u64, Membership)> {
        let mut membership = self.log.state().membership.clone();
        let mut changes = Vec::new();
        for index in self.log.state().applied + 1..=self.log.last_index() {
            let Some(change) = self.log.membership_at(index).and_then(|bytes| parse_conf_change(bytes)) else {
                continue;
            };
            membership = membership.after(&change);
            changes.push((index, membership.clone()));
        }
        changes
    }

    fn runs(&self) -> Vec<TermRun> {
        let mut runs: Vec<TermRun> = Vec::new();
        for first_index in self.log.start().index..=self.log.last_index() {
            let Some(view) = self.log.view_at(first_index) else { break };
            if runs.last().is_none_or(|run| run.view != view) {
                runs.push(TermRun { first_index, view });
            }
        }
        runs
    }
}

impl ResumeEntry {
    pub fn view(&self) -> View {
        match self {
            Self::Empty { view } | Self::Membership { view, .. } | Self::Batch { view, .. } => *view,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Empty { .. } => 16,
            Self::Membership { change, .. } => change.len(),
            Self::Batch { bytes, .. } => bytes.len(),
        }
    }
}

fn gap(after: u64, reason: &str) -> Error {
    Error::ResumeGap { after, reason: reason.to_owned() }
}
