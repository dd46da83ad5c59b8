//! What a primary proposes, and the guards before it.

use bytes::Bytes;
use coco_types::{ReplicaId, View};
use raft::StateRole;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType, Message, MessageType};

use crate::consensus::Consensus;
use crate::{MembershipChange, MembershipRefused, NotPrimary, Slot, SlotLost, TransferRefused};

impl Consensus {
    /// The place that a proposal made directly after this call gets: what the batch is sealed for.
    pub fn slot(&self) -> Result<Slot, NotPrimary> {
        self.check_leads()?;
        Ok(Slot { index: self.raft().raft_log.last_index() + 1, view: self.view() })
    }

    /// Appends a batch exactly at the slot that it was sealed for. `Err`: this replica has stepped down and the view is
    /// dead, so that no (view, seqno) ever meets two contents.
    pub fn propose(&mut self, slot: Slot, batch: Bytes) -> Result<(), SlotLost> {
        let appended = self.try_propose(slot, batch);
        self.settle();
        appended.map_err(|reason| {
            if self.raft().state == StateRole::Leader {
                self.step_down();
            }
            SlotLost { slot, reason }
        })
    }

    fn try_propose(&mut self, slot: Slot, batch: Bytes) -> Result<(), String> {
        let offered = self.slot().map_err(|error| error.to_string())?;
        if offered != slot {
            return Err(format!("the next slot is {offered:?}"));
        }
        let span = self.log().check_batch(&batch).map_err(|error| error.to_string())?;
        if span.view != slot.view {
            return Err(format!("the batch was sealed in view {}", span.view));
        }
        self.append_own(Entry { data: batch, ..Entry::default() })?;
        if self.last_is(slot, EntryType::EntryNormal) { Ok(()) } else { Err("another entry took the slot".to_owned()) }
    }

    /// Proposes one step of change. It takes effect on each replica as it applies the entry.
    pub fn propose_membership(&mut self, change: &MembershipChange) -> Result<Slot, MembershipRefused> {
        self.check_no_change_pending()?;
        if self.membership().is_joint() {
            return Err(MembershipRefused::Joint);
        }
        self.check_change(change)?;
        self.append_membership(&change.to_conf_change())
    }

    /// Proposes to leave the joint configuration: to be called as soon as the joint entry is applied, also by a new primary
    /// that finds one.
    pub fn leave_joint(&mut self) -> Result<Slot, MembershipRefused> {
        self.check_no_change_pending()?;
        if !self.membership().is_joint() {
            return Err(MembershipRefused::NotJoint);
        }
        let stays = self.membership().voters.contains(&self.id());
        if !stays && self.config().guards.hand_over_before_leaving {
            return Err(MembershipRefused::HandOverFirst);
        }
        self.append_membership(&ConfChangeV2::default())
    }

    /// Whether a change of membership is in the log that this replica has not applied: which configuration then decides on what is proposed
    /// now is open. Also while a new primary has not applied what it found in its log.
    pub fn is_membership_pending(&self) -> bool {
        self.raft().has_pending_conf()
    }

    /// Hands leadership over. Until it succeeds or an election timeout has passed, nothing can be proposed: seal nothing.
    pub fn transfer(&mut self, to: ReplicaId) -> Result<(), TransferRefused> {
        self.check_leads()?;
        if to == self.id() {
            return Err(TransferRefused::Own);
        }
        if !self.membership().voters.contains(&to) {
            return Err(TransferRefused::NotVoter(to));
        }
        self.raw().transfer_leader(to.0);
        self.settle();
        Ok(())
    }

    /// Stands for election without waiting for the timeout: when a backup distrusts its primary, and in tests.
    pub fn campaign(&mut self) {
        if self.has_failed() || !self.raft().promotable() || self.must_wait_for_disk() {
            return;
        }
        // The crate's only refusals are silent.
        let _ = self.raw().campaign();
        self.settle();
    }

    /// Stops acknowledging the current primary for the rest of its view: what it wrote does not match what this replica
    /// computed. If a majority does so, the view ends. Votes stay free: the same replica may lead again.
    pub fn distrust_primary(&mut self) {
        let view = self.view();
        if let Some(primary) = self.primary().filter(|primary| *primary != self.id()) {
            self.set_distrusted(primary, view);
        }
    }

    pub(crate) fn check_leads(&self) -> Result<(), NotPrimary> {
        let raft = self.raft();
        if self.has_failed() {
            return Err(NotPrimary::Failed);
        }
        if raft.state != StateRole::Leader {
            return Err(NotPrimary::Backup { primary: self.primary() });
        }
        if let Some(to) = raft.lead_transferee {
            return Err(NotPrimary::Transferring { to: ReplicaId(to) });
        }
        if !raft.promotable() {
            return Err(NotPrimary::NotMember);
        }
        Ok(())
    }

    fn check_no_change_pending(&self) -> Result<(), MembershipRefused> {
        self.check_leads()?;
        if self.is_membership_pending() { Err(MembershipRefused::Pending) } else { Ok(()) }
    }

    fn check_change(&self, change: &MembershipChange) -> Result<(), MembershipRefused> {
        let membership = self.membership();
        match change {
            MembershipChange::AddLearner(id) => {
                let known = id.0 == 0 || membership.contains(*id) || self.log().removed().contains(id);
                if known { Err(MembershipRefused::Known(*id)) } else { Ok(()) }
            }
            MembershipChange::RemoveLearner(id) => self.check_learner(*id),
            MembershipChange::Joint { promote, remove } => {
                if promote.is_empty() && remove.is_empty() {
                    return Err(MembershipRefused::Empty);
                }
                for id in promote {
                    self.check_learner(*id)?;
                    self.check_caught_up(*id)?;
                }
                if let Some(id) = remove.iter().find(|id| !membership.voters.contains(id)) {
                    return Err(MembershipRefused::NotVoter(*id));
                }
                let nobody_left = membership.voters.is_subset(remove) && promote.is_empty();
                if nobody_left { Err(MembershipRefused::NoVoters) } else { Ok(()) }
            }
        }
    }

    fn check_learner(&self, id: ReplicaId) -> Result<(), MembershipRefused> {
        if self.membership().learners.contains(&id) { Ok(()) } else { Err(MembershipRefused::NotLearner(id)) }
    }

    fn check_caught_up(&self, id: ReplicaId) -> Result<(), MembershipRefused> {
        let matched = self.raft().prs().get(id.0).map_or(0, |progress| progress.matched);
        let entries = self.committed().saturating_sub(matched);
        // What the log has forgotten could not be copied to it, should the power fail now: a resume would be one voter short.
        let out_of_reach = matched < self.log().start().index;
        let behind = matched == 0 || out_of_reach || entries > self.config().learner_lag_max;
        if behind { Err(MembershipRefused::Behind { id, entries }) } else { Ok(()) }
    }

    /// The crate silently appends an empty entry instead of a change it dislikes: the appended type is read back.
    fn append_membership(&mut self, change: &ConfChangeV2) -> Result<Slot, MembershipRefused> {
        let slot = self.slot()?;
        let proposed = self.raw().propose_conf_change(Vec::new(), change.clone());
        self.settle();
        let appended = proposed.is_ok() && self.last_is(slot, EntryType::EntryConfChangeV2);
        if appended { Ok(slot) } else { Err(MembershipRefused::NotAppended) }
    }

    /// Through a message of its own: the crate's `propose` would copy the batch.
    fn append_own(&mut self, entry: Entry) -> Result<(), String> {
        let mut message = Message { from: self.id().0, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        self.raw().raft.step(message).map_err(|error| error.to_string())
    }

    /// A proposal is in the crate's memory only until the next output.
    fn last_is(&self, slot: Slot, kind: EntryType) -> bool {
        let last = self.raft().raft_log.unstable_entries().last();
        last.is_some_and(|last| {
            last.index == slot.index && View(last.term) == slot.view && last.get_entry_type() == kind
        })
    }
}
