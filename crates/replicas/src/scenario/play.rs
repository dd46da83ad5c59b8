//! A scenario on a network.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use coco_consensus::{Consensus, MembershipChange, MembershipRefused, ReadOutcome, Role};
use coco_types::ReplicaId;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::parse::{Comparison, Condition, ReadIs, Statement, Term};
use super::{Failure, Scenario};
use crate::chaos::said;
use crate::network::{Faults, Network, id, ids};
use crate::{Mutant, Story, resume};

/// A change that is refused because a learner is behind is tried for so long.
const CHANGE_TICKS: u64 = 400;
const SHAKY: Faults = Faults { loss: 5, duplication: 10, delay_max: 3 };

struct Play {
    network: Network,
    voters: u64,
    marks: BTreeMap<String, u64>,
    reads: BTreeMap<String, (u64, u64)>,
}

pub(super) fn play(scenario: &Scenario, seed: u64, mutant: Option<Mutant>) -> Result<(), Failure> {
    let mut network = Network::with_mutant(0, seed, mutant, 1 << 20);
    network.story = Some(Story::default());
    let mut play = Play { network, voters: 0, marks: BTreeMap::new(), reads: BTreeMap::new() };
    play.all(&scenario.statements).map_err(|(line, why)| Failure {
        line,
        why,
        story: play.network.story.take().unwrap_or_default(),
    })
}

impl Play {
    fn all(&mut self, statements: &[(usize, Statement)]) -> Result<(), (usize, String)> {
        for (line, statement) in statements {
            if let Statement::Repeat(times, body) = statement {
                for _ in 0..*times {
                    self.all(body)?;
                }
                continue;
            }
            let done = catch_unwind(AssertUnwindSafe(|| self.one(statement)));
            let done = done.unwrap_or_else(|panic| Err(said(panic.as_ref())));
            match self.network.violation() {
                Some(why) => return Err((*line, why.to_owned())),
                None => done.map_err(|why| (*line, why))?,
            }
        }
        Ok(())
    }

    fn one(&mut self, statement: &Statement) -> Result<(), String> {
        let network = &mut self.network;
        match statement {
            Statement::Start(voters) => {
                self.voters = *voters;
                network.found(*voters, &network.guards());
            }
            Statement::MessageBytes(bytes) => network.message_bytes_max = *bytes,
            Statement::Trust(learner) => {
                network.join_learner(*learner, self.voters);
                self.change(&MembershipChange::AddLearner(id(*learner)))?;
                let network = &mut self.network;
                let end =
                    network.primary().and_then(|primary| network.view_of(primary)).map_or(0, Consensus::committed);
                let learner = *learner;
                let has_all = |network: &mut Network| {
                    network.view_of(learner).is_some_and(|core| core.applied_index() >= end && end > 0)
                };
                if !network.run_until(CHANGE_TICKS, has_all) {
                    return Err(format!("{learner} does not catch up"));
                }
            }
            Statement::Swap { promote, remove } => {
                self.change(&MembershipChange::Joint { promote: ids(promote), remove: ids(remove) })?;
            }
            Statement::Leave => self.leave()?,
            Statement::LeaveAt(at) => {
                network.core(*at).leave_joint().map_err(|refused| refused.to_string())?;
                network.collect(*at);
            }
            Statement::Elect(id) => network.elect_this(*id),
            Statement::Replicate(payload) => drop(network.commit(payload.as_bytes())),
            Statement::Propose(at, payload) => {
                let proposed = network.propose(*at, payload.as_bytes());
                proposed.ok_or_else(|| format!("{at} cannot propose"))?;
            }
            Statement::Settle => network.settle(),
            Statement::Partition(groups) => partition(network, groups),
            Statement::Cut(from, to) => drop(network.cut.insert((*from, *to))),
            Statement::Isolate(id) => network.isolate(*id),
            Statement::Heal => {
                network.heal();
                network.muted.clear();
            }
            Statement::Drop { kind, from } => drop(network.muted.insert((*from, kind_named(kind)? as i32))),
            Statement::Shaky => network.faults = SHAKY,
            Statement::Calm => network.faults = Faults::default(),
            Statement::Step(first, last) => {
                let ticks = first + network.random.below(last.saturating_sub(*first) + 1);
                network.run(ticks);
            }
            Statement::Slow(id, ticks) => {
                network.replicas.get_mut(id).ok_or("there is no such replica")?.sync_ticks = *ticks;
            }
            Statement::Stop(id) => network.stop(*id),
            Statement::Crash { id, bare: true } => network.crash_with(*id, |_| None),
            Statement::Crash { id, bare: false } => network.crash(*id),
            Statement::Restart(id) => network.restart(*id),
            Statement::Campaign(id) => {
                network.core(*id).campaign();
                network.collect(*id);
            }
            Statement::Image(id) => network.keep_image(*id),
            Statement::Rollback(id) => {
                let image = network.images.get(id).ok_or("no image was kept")?.image();
                network.replicas.get_mut(id).ok_or("there is no such replica")?.disk = image;
            }
            Statement::Resume { present, cut } => self.resume(present, *cut),
            _ => return self.say_or_see(statement),
        }
        Ok(())
    }

    /// What is said by hand, and what must hold.
    fn say_or_see(&mut self, statement: &Statement) -> Result<(), String> {
        match statement {
            Statement::Mark(name, term) => {
                let value = self.value(term)?;
                self.marks.insert(name.clone(), value);
            }
            Statement::Append { from, to, at, view } => {
                let (at, view) = (self.value(at)?, self.value(view)?);
                let mut message = message(MessageType::MsgAppend, *from, *to, view);
                message.index = at;
                message.log_term = self.core(*to)?.view_at(at).map_or(0, |view| view.0);
                self.inject(&message);
            }
            Statement::Nack { from, to, at, hint, view } => {
                let (at, hint, view) = (self.value(at)?, self.value(hint)?, self.value(view)?);
                let mut message = message(MessageType::MsgAppendResponse, *from, *to, view);
                (message.index, message.reject_hint, message.reject, message.log_term) = (at, hint.min(at), true, view);
                self.inject(&message);
            }
            Statement::Read(at, name) => {
                let token = self.reads.len() as u64 + 1;
                self.network.read(*at, token);
                self.reads.insert(name.clone(), (*at, token));
            }
            Statement::Assert(condition) => {
                if !self.holds(condition)? {
                    return Err(format!("does not hold: {condition:?}"));
                }
            }
            Statement::Await { what, ticks } => {
                for _ in 0..*ticks {
                    if self.holds(what)? {
                        return Ok(());
                    }
                    self.network.step();
                }
                if !self.holds(what)? {
                    return Err(format!("did not come within {ticks} ticks: {what:?}"));
                }
            }
            _ => unreachable!("`one` does the others"),
        }
        Ok(())
    }

    fn core(&self, id: u64) -> Result<&Consensus, String> {
        self.network.view_of(id).ok_or_else(|| format!("{id} does not run"))
    }

    fn value(&self, term: &Term) -> Result<u64, String> {
        Ok(match term {
            Term::Number(number) => *number,
            Term::Last(id) => self.core(*id)?.last_index(),
            Term::Committed(id) => self.core(*id)?.committed(),
            Term::View(id) => self.core(*id)?.view().0,
            Term::ViewAt(id, index) => {
                let index = self.value(index)?;
                self.core(*id)?.view_at(index).ok_or_else(|| format!("{id} has no entry {index}"))?.0
            }
            Term::Mark(name) => *self.marks.get(name).ok_or_else(|| format!("nothing was marked as {name}"))?,
            Term::Plus(term, offset) => self.value(term)?.saturating_add_signed(*offset),
        })
    }

    fn holds(&self, condition: &Condition) -> Result<bool, String> {
        let primary = self.network.primary();
        Ok(match condition {
            Condition::NoPrimary => primary.is_none(),
            Condition::AnyPrimary => primary.is_some(),
            Condition::Primary(id) => primary == Some(*id),
            Condition::PrimaryNot(id) => primary.is_some_and(|primary| primary != *id),
            Condition::Joint(id) => self.core(*id)?.membership().is_joint(),
            Condition::Removed(id) => self.core(*id)?.role() == Role::Removed,
            Condition::Voters(at, voters) => self.core(*at)?.membership().voters == ids(voters),
            Condition::Read(name, is) => self.read(name)? == *is,
            Condition::Compare(left, comparison, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                match comparison {
                    Comparison::Less => left < right,
                    Comparison::Equal => left == right,
                    Comparison::AtLeast => left >= right,
                    Comparison::Unequal => left != right,
                }
            }
        })
    }

    fn read(&self, name: &str) -> Result<ReadIs, String> {
        let (at, token) = *self.reads.get(name).ok_or_else(|| format!("no read is called {name}"))?;
        let mut outcomes = self.network.replicas[&at].reads.iter();
        let own = outcomes.find(|outcome| match outcome {
            ReadOutcome::Confirmed { token: own, .. } | ReadOutcome::Lost { token: own } => *own == token,
        });
        Ok(match own {
            None => ReadIs::Open,
            Some(ReadOutcome::Lost { .. }) => ReadIs::Lost,
            Some(ReadOutcome::Confirmed { .. }) => ReadIs::Confirmed,
        })
    }

    fn inject(&mut self, message: &Message) {
        let bytes = Bytes::from(message.write_to_bytes().expect("a message encodes"));
        self.network.inject(message.from, message.to, bytes);
        self.network.step();
    }

    /// Proposes until a primary takes it, and runs until that primary has applied it.
    fn change(&mut self, change: &MembershipChange) -> Result<(), String> {
        let network = &mut self.network;
        let mut proposed = Err(MembershipRefused::NotAppended);
        let until = network.now + CHANGE_TICKS;
        while proposed.is_err() && network.now < until {
            let primary = network.elect();
            proposed = network.core(primary).propose_membership(change).map(|slot| (primary, slot.index));
            network.collect(primary);
            if proposed.is_err() {
                network.step();
            }
        }
        let (primary, index) = proposed.map_err(|refused| format!("{change:?}: {refused}"))?;
        let applied = network.run_until(CHANGE_TICKS, |network| {
            network.view_of(primary).is_some_and(|core| core.applied_index() >= index)
        });
        if applied { Ok(()) } else { Err(format!("{change:?} is not applied")) }
    }

    fn leave(&mut self) -> Result<(), String> {
        let left = self.network.run_until(CHANGE_TICKS, |network| {
            drive(network);
            network.primary().is_some_and(|primary| {
                let core = network.core(primary);
                core.ready_to_lead() && !core.membership().is_joint()
            })
        });
        if left { Ok(()) } else { Err("the joint configuration is not left".to_owned()) }
    }

    fn resume(&mut self, present: &[u64], cut: Option<(u64, u64)>) {
        let copy = self.network.mutant != Some(Mutant::ResumesWithoutCopying);
        if let Some((first, last)) = cut {
            let cut_at = first + self.network.random.below(last.saturating_sub(first) + 1);
            let mut steps = 0;
            resume::exchange(&self.network, present, copy, || {
                steps += 1;
                steps > cut_at
            });
            present.iter().for_each(|id| self.network.replicas[id].disk.crash(|_| None));
        }
        resume::exchange(&self.network, present, copy, || false);
        present.iter().for_each(|id| self.network.replicas[id].disk.crash(|_| None));
    }
}

/// What a reconciler does: leaves a joint configuration that it finds, handing over first if it must.
fn drive(network: &mut Network) {
    let Some(primary) = network.primary() else { return };
    let core = network.core(primary);
    if !core.ready_to_lead() || !core.membership().is_joint() {
        return;
    }
    if core.leave_joint() == Err(MembershipRefused::HandOverFirst) {
        let stay: Vec<ReplicaId> = core.membership().voters.iter().copied().collect();
        let peers = core.progress().into_iter().filter(|peer| stay.contains(&peer.id));
        if let Some(heir) = peers.max_by_key(|peer| peer.matched) {
            // Refused if it cannot be now: it is tried again.
            let _ = core.transfer(heir.id);
        }
    }
    network.collect(primary);
}

fn partition(network: &mut Network, groups: &[Vec<u64>]) {
    for (one, group) in groups.iter().enumerate() {
        for (other, others) in groups.iter().enumerate() {
            if one != other {
                for from in group {
                    network.cut.extend(others.iter().map(|to| (*from, *to)));
                }
            }
        }
    }
}

fn kind_named(name: &str) -> Result<MessageType, String> {
    use MessageType::*;
    let kinds = [
        MsgAppend,
        MsgAppendResponse,
        MsgHeartbeat,
        MsgHeartbeatResponse,
        MsgRequestVote,
        MsgRequestVoteResponse,
        MsgRequestPreVote,
        MsgRequestPreVoteResponse,
        MsgTimeoutNow,
    ];
    let named = kinds.into_iter().find(|kind| format!("{kind:?}").strip_prefix("Msg") == Some(name));
    named.ok_or_else(|| format!("there are no messages called {name}"))
}

fn message(kind: MessageType, from: u64, to: u64, view: u64) -> Message {
    let mut message = Message { from, to, term: view, ..Message::default() };
    message.set_msg_type(kind);
    message
}
