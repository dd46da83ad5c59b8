//! How a simulated network moves: one step of time, and everything that follows from it.
//!
//! ```text
//!   network ──▶ replica ──▶ effects ──▶ network, disk, front, executor
//!                  ▲                                  │       │
//!                  └── for_replica ◀── what they say ─┴───────┘      each with a delay of its own, in order
//! ```

use coco_consensus::ReadOutcome;
use coco_node::archive::ArchiveEvent;
use coco_node::comeback;
use coco_node::events::ExecutorEvent;
use coco_node::machines::Machines;
use coco_node::replica::{Delivery, Effect, Fault};
use coco_node::signatures;
use coco_protocol::{RejectionReason, Submitted};
use coco_types::{ReplicaId, View, limits};

use crate::invariants::{Violation, holds};
use crate::network::{Envelope, Kind};
use crate::node::{Note, Options, SimNode, Syncing};
use crate::seen::describe;
use crate::world::{ReadEnd, Waiter, World};

impl World {
    /// Lets the next thing happen, and checks.
    pub fn step(&mut self) -> Result<(), Violation> {
        let now_ms = self.advance();
        self.counts.events += 1;
        while let Some(envelope) = self.network.arrive(now_ms) {
            self.deliver(envelope)?;
        }
        for id in self.ids() {
            self.step_node(id, now_ms)?;
            self.crash_without_power(id);
        }
        self.collect_answers()
    }

    fn deliver(&mut self, envelope: Envelope) -> Result<(), Violation> {
        let Envelope { from, to, kind, message } = envelope;
        self.note_message(from, to, || describe(kind, &message));
        match kind {
            Kind::Consensus => {
                // What is refused is the sender's fault, and changes nothing.
                self.with(to, |machines| machines.replica.message(from, &message).map(|_refused| ()));
                self.act(to)
            }
            Kind::Question => self.question(from, to, &message),
            Kind::Answer => self.answer_arrives(from, to, message),
        }
    }

    fn advance(&mut self) -> u64 {
        let next = self.nodes.values().filter_map(SimNode::next_ms).chain(self.network.next_arrival_ms()).min();
        let mut now = self.setting.now_ms.lock();
        // Never further than the interval in which a client or a fault may want to act.
        *now = next.unwrap_or(u64::MAX).clamp(*now + 1, *now + 5);
        *now
    }

    fn step_node(&mut self, id: ReplicaId, now_ms: u64) -> Result<(), Violation> {
        if self.nodes[&id].returning.is_some() {
            return self.step_returning(id, now_ms);
        }
        self.sync(id, now_ms);
        let batches = self.with(id, |machines| Ok(machines.executor.turn(now_ms))).unwrap_or_default();
        for batch in batches {
            self.tell_replica(id, Note::Executed(batch));
        }
        self.run_executor(id, now_ms);
        self.run_front(id, now_ms)?;
        self.run_archive(id, now_ms)?;
        while let Some(note) = self.node_mut(id).for_replica.take(now_ms) {
            self.with(id, |machines| match note {
                Note::Executed(batch) => machines.replica.executed(batch),
                Note::ExecutorStopped => machines.replica.executor_stopped(),
                Note::FrontReached(seqno) => machines.replica.front_reached(seqno),
                Note::Alarmed(alarm) => machines.replica.alarmed(alarm),
                Note::SnapshotTaken(taken) => machines.replica.snapshot_taken(&taken),
                Note::SnapshotFailed => {
                    machines.replica.snapshot_failed();
                    Ok(())
                }
            });
        }
        let node = self.node_mut(id);
        if now_ms >= node.next_tick_ms {
            // A clock that runs fast makes its ticks short.
            node.next_tick_ms = now_ms + limits::TICK_MS.saturating_add_signed(-node.drift_ms);
            *node.clock_offset_ms.lock() += node.drift_ms;
            self.sync_what_is_idle(id);
            self.with(id, |machines| machines.replica.tick());
            self.return_if_needed(id, now_ms)?;
        }
        self.act(id)?;
        self.end_reads(id)
    }

    /// Whoever's power went in the middle of something is gone with all that was not done.
    pub(crate) fn crash_without_power(&mut self, id: ReplicaId) -> bool {
        // The folder of one that was removed may have another owner.
        let gone = self.nodes.get(&id).is_some_and(|node| !node.removed && node.power().is_gone());
        if gone {
            self.count("crash in the middle");
            self.crash(id);
        }
        gone
    }

    fn sync(&mut self, id: ReplicaId, now_ms: u64) {
        let (lying, planted) = (self.setting.options.lying_disks, self.setting.options.planted);
        while !self.nodes[&id].disk_hangs {
            let node = self.node_mut(id);
            let Some(syncing) = node.syncing.take(now_ms) else { return };
            let synced = if lying { Ok(()) } else { node.sync(&syncing, planted) };
            match synced {
                Ok(()) => drop(self.with(id, |machines| machines.replica.persisted(syncing.persist.number))),
                Err(error) => self.stop(id, &error.to_string()),
            }
        }
    }

    /// As the disk's thread does when nothing is asked of it: a chunk is renamed only after the sync that follows its completion.
    fn sync_what_is_idle(&mut self, id: ReplicaId) {
        let Options { lying_disks, planted, .. } = self.setting.options;
        let node = &self.nodes[&id];
        let idle = node.syncing.is_empty() && !node.disk_hangs && !lying_disks && planted.is_none();
        if let Some(machines) = node.machines.as_ref().filter(|_| idle)
            && let Err(error) = machines.ledger.sync()
        {
            self.stop(id, &error.to_string());
        }
    }

    /// Runs something on a node's machines. A fault stops the node, as it does a real one.
    fn with<T>(&mut self, id: ReplicaId, run: impl FnOnce(&mut Machines) -> Result<T, Fault>) -> Option<T> {
        let machines = self.nodes.get_mut(&id)?.machines.as_mut()?;
        match run(machines) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.stop(id, &fault.to_string());
                None
            }
        }
    }

    pub(crate) fn stop(&mut self, id: ReplicaId, why: &str) {
        if self.crash_without_power(id) {
            return;
        }
        self.note(|| format!("{id} stops: {why}"));
        let node = self.node_mut(id);
        node.stop();
        node.stopped_by = Some(why.to_owned());
        self.joiners_lose(id);
    }

    pub(crate) fn tell_replica(&mut self, id: ReplicaId, note: Note) {
        let at = self.machine_at_ms(id);
        self.node_mut(id).for_replica.push(at, note);
    }

    fn run_executor(&mut self, id: ReplicaId, now_ms: u64) {
        while let Some(event) = self.node_mut(id).for_executor.take(now_ms) {
            let Some(machines) = &mut self.node_mut(id).machines else { return };
            let executor = &mut machines.executor;
            match event {
                ExecutorEvent::Lead { view } => executor.lead(view),
                ExecutorEvent::Visible(seqno) => executor.visible(seqno),
                ExecutorEvent::Submit { ledger, admitted, until, reply } => {
                    executor.submit(ledger, admitted, until, reply);
                }
                ExecutorEvent::System { command, reply } => executor.submit_system(command, reply),
                ExecutorEvent::First { command, reply } => executor.submit_first(command, reply),
                ExecutorEvent::Ask { question, reply } => reply(executor.answer(question.ledger, &question.question)),
                // A turn follows every event.
                ExecutorEvent::Wake => {}
                ExecutorEvent::Stop | ExecutorEvent::Shutdown => {
                    executor.stop();
                    self.tell_replica(id, Note::ExecutorStopped);
                }
            }
        }
    }

    fn run_front(&mut self, id: ReplicaId, now_ms: u64) -> Result<(), Violation> {
        while let Some(delivery) = self.node_mut(id).for_front.take(now_ms) {
            let Some(machines) = &mut self.node_mut(id).machines else { return Ok(()) };
            let delivered = match machines.front.deliver(delivery) {
                Ok(delivered) => delivered,
                Err(error) => {
                    holds(self.crash_without_power(id), || error.to_string())?;
                    return Ok(());
                }
            };
            self.tell_executor(id, ExecutorEvent::Visible(delivered.last));
            self.tell_replica(id, Note::FrontReached(delivered.last));
            if let Some(alarm) = delivered.alarm {
                self.tell_replica(id, Note::Alarmed(alarm));
            }
        }
        Ok(())
    }

    /// Carries out what a node's replica wants.
    pub(crate) fn act(&mut self, id: ReplicaId) -> Result<(), Violation> {
        loop {
            let machines = self.nodes.get_mut(&id).and_then(|node| node.machines.as_mut());
            let effects = machines.map(|machines| machines.replica.take_effects()).unwrap_or_default();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                // Between any two of them the power may go: what is left of them is not done then.
                if self.nodes[&id].power().spend().is_err() {
                    self.crash_without_power(id);
                    return Ok(());
                }
                self.carry_out(id, effect)?;
            }
        }
    }

    pub(crate) fn send(&mut self, envelope: Envelope) {
        let went_wrong = self.network.send(envelope, self.setting.now_ms(), &self.faults, &mut self.random);
        went_wrong.into_iter().for_each(|fault| self.count(fault));
    }

    fn carry_out(&mut self, id: ReplicaId, effect: Effect) -> Result<(), Violation> {
        let now_ms = self.now_ms();
        match effect {
            Effect::Send { to, message } => {
                self.trace.update(&message);
                self.send(Envelope { from: id, to, kind: Kind::Consensus, message });
            }
            Effect::Persist(persist) => {
                let slow_ms = if self.slow.contains(&id) { self.random.between(20, 150) } else { 0 };
                let at = now_ms + self.faults.sync_ms(&mut self.random) + slow_ms;
                let node = self.node_mut(id);
                let Some(machines) = &node.machines else { return Ok(()) };
                let last = machines.ledger.last_txid();
                node.syncing.push(at, Syncing { persist, last });
            }
            Effect::Lead { view } => self.lead(id, view)?,
            Effect::EpochBegan => self.keep_epochs(id),
            Effect::StopExecutor => {
                self.note(|| format!("{id} leads no more"));
                self.tell_executor(id, ExecutorEvent::Stop);
            }
            Effect::Deliver(delivery) => self.committed(id, delivery)?,
            Effect::Snapshot(job) => self.tell_archive(id, ArchiveEvent::Take(job)),
            Effect::SnapshotOffered(offered) => self.tell_archive(id, ArchiveEvent::Offered(offered)),
            Effect::Read(ReadOutcome::Confirmed { token, .. }) => {
                let Some(machines) = &self.nodes[&id].machines else { return Ok(()) };
                self.reads.confirmed.push((token, machines.replica.committed().seqno));
            }
            Effect::Read(ReadOutcome::Lost { token }) => {
                self.reads.asked.remove(&token);
                self.reads.outcomes.insert(token, ReadEnd::Lost);
            }
            Effect::Alarm(alarm) => {
                let Options { forger, suspect, .. } = &self.setting.options;
                let named = [forger, suspect].contains(&&Some(alarm.primary));
                holds(named, || format!("{id} accuses an honest {}: {}", alarm.primary, alarm.why))?;
                self.note(|| format!("{id} distrusts {}: {}", alarm.primary, alarm.why));
            }
            Effect::RecordAlarm(alarm) => {
                let reply = self.reply(id, Waiter::Nobody);
                self.tell_executor(id, ExecutorEvent::System { command: signatures::record(&alarm, id), reply });
            }
            Effect::Gone(node) => self.retire_gone(id, node),
            Effect::NeedsSnapshot(behind) => {
                return Err(Violation(format!(
                    "{id} cannot serve {behind:?}: it has forgotten what they lack and has no snapshot"
                )));
            }
            Effect::Removed => {
                self.stop(id, "removed from the network");
                self.node_mut(id).removed = true;
            }
        }
        Ok(())
    }

    fn lead(&mut self, id: ReplicaId, view: View) -> Result<(), Violation> {
        self.note(|| format!("{id} leads view {view}"));
        self.invariants.leads(id, view)?;
        let behind = !self.nodes[&id].for_front.is_empty();
        holds(!behind, || format!("{id} leads view {view} before its front has caught up"))?;
        self.tell_executor(id, ExecutorEvent::Lead { view });
        if let Some(plan) = self.nodes[&id].resumed.as_ref().filter(|_| self.genesis.is_empty()) {
            let command = comeback::record(plan);
            let reply = self.reply(id, Waiter::Nobody);
            self.tell_executor(id, ExecutorEvent::System { command, reply });
        }
        for command in std::mem::take(&mut self.genesis) {
            let reply = self.reply(id, Waiter::Nobody);
            self.tell_executor(id, ExecutorEvent::System { command, reply });
        }
        Ok(())
    }

    fn committed(&mut self, id: ReplicaId, delivery: Delivery) -> Result<(), Violation> {
        self.note(|| format!("{id} has committed {}", delivery.last));
        self.invariants.committed(id, &delivery)?;
        let at = self.machine_at_ms(id);
        self.node_mut(id).for_front.push(at, delivery);
        Ok(())
    }

    fn end_reads(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let visible = self.visible(id);
        for (token, seqno) in std::mem::take(&mut self.reads.confirmed) {
            let Some((on, asked_at)) = self.reads.asked.get(&token).copied() else { continue };
            if on != id || visible.seqno < seqno {
                self.reads.confirmed.push((token, seqno));
                continue;
            }
            self.counts.reads += 1;
            self.invariants.read(id, asked_at, visible)?;
            self.read_returned(id, token);
            self.reads.asked.remove(&token);
            self.reads.outcomes.insert(token, ReadEnd::Seen(visible));
        }
        Ok(())
    }

    fn collect_answers(&mut self) -> Result<(), Violation> {
        let answers = std::mem::take(&mut *self.answers.lock());
        for (from, waiter, answer) in answers {
            match waiter {
                Waiter::Client(id) => {
                    self.note(|| format!("submission {id} is answered by {from}: {answer:?}"));
                    self.client_is_answered(from, id, &answer)?;
                    let earlier = self.answered.insert(id, answer);
                    holds(earlier.is_none(), || format!("submission {id} was answered twice"))?;
                }
                Waiter::Joiner(number) => self.joiner_is_answered(number, &answer)?,
                Waiter::Transaction(number) => self.transaction_is_answered(from, number, &answer)?,
                Waiter::Nobody => {}
            }
        }
        Ok(())
    }

    fn client_is_answered(&mut self, from: ReplicaId, id: u64, answer: &Submitted) -> Result<(), Violation> {
        match answer {
            Submitted::Committed { txid, response } => {
                let durable = self.durable();
                let membership = self.membership_known_to(from);
                self.invariants.acknowledged(id, *txid, &membership, &durable)?;
                self.returned(id, response);
                Ok(())
            }
            Submitted::Unknown(Some(txid)) => {
                self.invariants.outcome_unknown(id, *txid)?;
                self.perhaps_retry(id);
                Ok(())
            }
            // Its first attempt has been executed: when, only the state can say.
            Submitted::Rejected(rejection)
                if self.invariants.is_retried(id) && rejection.reason == RejectionReason::Duplicate =>
            {
                Ok(())
            }
            Submitted::Rejected(rejection) => Err(Violation(format!("submission {id} was rejected: {rejection}"))),
            Submitted::Unknown(None) | Submitted::Unavailable => {
                self.perhaps_retry(id);
                Ok(())
            }
            Submitted::Accepted => Ok(()),
        }
    }
}
