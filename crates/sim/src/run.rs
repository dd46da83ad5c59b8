//! One seed from beginning to end: three nodes, trouble of every kind, then quiet, in which everything must be well again.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use coco_disk::Disk;
use coco_governance::NodeRole;
use coco_replicas::{Coverage, chaos};
use coco_types::{Digest, ReplicaId, Seqno, TxId, View};

use crate::faults::Faults;
use crate::invariants::{Violation, holds};
use crate::node::{Options, SimNode};
use crate::world::{Counts, Log, World};

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    pub counts: Counts,
    /// Submissions acknowledged as committed.
    pub acknowledged: usize,
    /// Submissions whose outcome their client was not told.
    pub unknown: usize,
    pub last: TxId,
    /// Equal for equal runs.
    pub trace: Digest,
    /// Which faults met which states.
    pub coverage: Coverage,
    /// Operations whose order was checked against what their clients saw.
    pub operations: usize,
}

/// How long a seed's trouble lasts, in simulated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    pub trouble_ms: u64,
}

impl Length {
    pub const SHORT: Self = Self { trouble_ms: 2_000 };
    pub const LONG: Self = Self { trouble_ms: 20_000 };
}

/// The bound within which everything must be well again after the trouble, in simulated time.
const RECOVERY_MS: u64 = 60_000;
/// At most this many members at a time are being replaced or down for good.
const NODES_MAX: usize = 5;

impl World {
    /// Runs one seed to its end.
    pub fn run(seed: u64, length: Length) -> Result<Report, Violation> {
        Self::run_with(seed, length, Options::of_seed(seed), None)
    }

    /// The same with other options, and with a reader of its trace. A panic of a node is a broken promise as any other.
    pub fn run_with(seed: u64, length: Length, options: Options, log: Option<Log>) -> Result<Report, Violation> {
        let run = AssertUnwindSafe(|| Self::run_through(seed, length, options, log));
        catch_unwind(run).unwrap_or_else(|panic| Err(Violation(chaos::said(panic.as_ref()))))
    }

    fn run_through(seed: u64, length: Length, options: Options, log: Option<Log>) -> Result<Report, Violation> {
        let mut world = Self::founded(seed, 3, options, log)?;
        world.faults = Faults::drawn(&mut world.random);
        world.faults.swap_one_in *= u64::from(!world.tolerates_old_disks());
        let until = world.now_ms() + length.trouble_ms;
        while world.now_ms() < until {
            world.make_trouble()?;
            world.submit_sometimes();
            world.govern_sometimes()?;
            world.step()?;
            world.check_stopped()?;
        }
        world.recover()?;
        world.check_end()?;
        let operations = world.ordered_operations()?;
        let last = world.visible(world.primary().unwrap_or(ReplicaId(1)));
        world.counts.decisions = world.decided();
        let mut report = Report {
            seed,
            counts: world.counts,
            acknowledged: world.invariants.acknowledged_count(),
            unknown: world.invariants.unknown_count(),
            last,
            coverage: world.coverage.clone(),
            operations,
            trace: world.trace_digest(last),
        };
        // What comes then is not counted: no seed replays it byte by byte.
        if world.setting.options.recovered {
            world.ends_and_is_recovered()?;
            report.counts.recoveries += 1;
        }
        Ok(report)
    }

    /// Crashes, restarts, cuts, mends, hands over and swaps by chance.
    fn make_trouble(&mut self) -> Result<(), Violation> {
        let members: Vec<ReplicaId> = self.members().into_iter().collect();
        let any = members[usize::try_from(self.random.below(members.len() as u64)).unwrap_or(0)];
        let may_crash = self.may_crash();
        if self.faults.crashes(&mut self.random) && may_crash {
            self.count("crash");
            match self.random.below(5) {
                0 => self.kill(any),
                // Where all voters may be needed, it is not known who is when it comes to that.
                1 | 2 if !self.tolerates_old_disks() => self.power_goes_soon(any),
                _ => self.crash(any),
            }
        }
        if !self.nodes[&any].runs() && self.random.one_in(60) {
            if self.put_back.len() < self.setting.options.disks_put_back && self.random.one_in(2) {
                self.count("old disk put back");
                self.put_back(any);
            }
            self.count("restart");
            self.start(any)?;
        }
        if self.random.one_in(100) {
            self.keep_image(any);
        }
        if self.faults.partitions(&mut self.random) {
            self.note(|| format!("{any} is cut off"));
            self.count("cut");
            for other in &members {
                let both_ways = self.random.one_in(2);
                self.network.set_cut(any, *other, true);
                self.network.set_cut(*other, any, both_ways);
            }
        }
        if self.faults.heals(&mut self.random) {
            self.network.heal();
        }
        if self.faults.hands_over(&mut self.random) {
            self.count("hand over");
            self.hand_over()?;
        }
        let may_change = members.len() < NODES_MAX && self.joiners.is_empty();
        if may_change && !self.tolerates_old_disks() && self.faults.swaps(&mut self.random) {
            self.count("membership change");
            self.change_members(any)?;
        }
        self.turn_the_host_hostile(any)?;
        if self.faults.cuts_the_power(&mut self.random) && may_crash {
            self.count("power cut");
            members.iter().for_each(|id| self.crash(*id));
        }
        if self.random.one_in(20) {
            self.read(any)?;
        }
        if self.random.one_in(30)
            && let Some(machines) = &self.nodes[&any].machines
        {
            machines.history.write_out().map_err(|error| Violation(error.to_string()))?;
        }
        if self.random.one_in(10) {
            self.ask_status(any)?;
        }
        Ok(())
    }

    /// In the middle of what it does next: between two of its effects, or of the changes to its disks, perhaps as it starts.
    fn power_goes_soon(&mut self, id: ReplicaId) {
        let changes = self.random.between(1, 30);
        self.note(|| format!("{id} has power for {changes} more effects and changes to its disks"));
        self.node(id).power().lasts_for(changes);
    }

    /// A network that tolerates old disks needs all its voters to resume: it does not survive a power cut while one of them is being
    /// replaced, and is spared it.
    pub(crate) fn may_crash(&mut self) -> bool {
        // Each of them may be all that is left of the end of a replacement.
        let known: Vec<_> = self.members().into_iter().filter(|id| self.nodes[id].machines.is_some()).collect();
        let known: Vec<_> = known.into_iter().map(|id| self.membership(id)).collect();
        let over = |id: &ReplicaId| known.iter().all(|each| !each.is_joint() && each.voters.contains(id));
        self.swapping.retain(|id| known.is_empty() || !over(id));
        let replaced = self.swapping.is_empty() && self.joiners.is_empty() && self.places_to_fill.is_empty();
        self.setting.options.rolled_back_disks == 0 || (replaced && self.rotten.is_empty())
    }

    /// Replaces a node, or adds one at a fourth place, or votes one out if there are four.
    fn change_members(&mut self, any: ReplicaId) -> Result<(), Violation> {
        // Who replaces or votes out a node makes sure first that the ledger's beginning is elsewhere too.
        if !self.another_is_whole(any) {
            return Ok(());
        }
        self.counts.swaps += 1;
        let index = self.nodes[&any].index;
        let voters = self.primary().map_or(0, |id| self.membership(id).voters.len());
        match (self.random.below(3), voters) {
            (0, 3) => self.admit(3),
            // Who votes out a node that is about to take another's place votes out that one too: its folder has a new owner.
            (0, 4..) if self.primary().is_some_and(|id| !self.membership(id).voters.contains(&any)) => Ok(()),
            (0, 4..) => {
                self.note(|| format!("{any} is to leave"));
                self.retire(any);
                Ok(())
            }
            _ => {
                self.note(|| format!("{any} is to be replaced"));
                self.admit(index)
            }
        }
    }

    fn another_is_whole(&self, than: ReplicaId) -> bool {
        let whole = |node: &SimNode| node.machines.as_ref().is_some_and(|machines| machines.archive.is_whole());
        self.nodes.values().any(|node| node.id != than && !node.removed && whole(node))
    }

    /// Asks a node about a transaction near the end of the ledger, in its own view or the one before.
    fn ask_status(&mut self, on: ReplicaId) -> Result<(), Violation> {
        let newest = self.invariants.newest_committed();
        let view = newest.view.0 + 1 - self.random.below(2);
        let seqno = (newest.seqno.0 + 4).saturating_sub(self.random.below(10)).max(1);
        let txid = TxId::new(View(view), Seqno(seqno));
        match self.nodes[&on].transaction_status(txid) {
            Some(status) => self.invariants.status(on, txid, status),
            None => Ok(()),
        }
    }

    pub(crate) fn submit_sometimes(&mut self) {
        self.retry();
        self.transact_sometimes();
        if !self.random.one_in(40) {
            return;
        }
        let leading = self.leading();
        if leading.is_empty() {
            return;
        }
        if self.random.one_in(12) {
            self.rekey();
        }
        let to = leading[usize::try_from(self.random.below(leading.len() as u64)).unwrap_or(0)];
        // In bursts: each batch costs two signatures, whatever it holds.
        for _ in 0..self.random.between(1, 6) {
            let name = format!("counter {}", self.random.below(5));
            self.submit(to, &name);
        }
    }

    /// No node may stop by itself but one that was removed, that has no room, or whose files were changed under it: then its operator moves the
    /// folder away, and a fresh one joins in its place. One that had no room is started again, as any that was stopped, and then has room; only then
    /// does it find out whether its files were changed meanwhile.
    pub(crate) fn check_stopped(&mut self) -> Result<(), Violation> {
        let stopped = |node: &SimNode| !node.removed && node.stopped_by.is_some();
        let has_no_room = |node: &SimNode| stopped(node) && node.stopped_for_room();
        let refuses = |node: &SimNode| stopped(node) && !node.stopped_for_room();
        let refusing = self.rotten.iter().copied().find(|id| refuses(&self.nodes[id]));
        if let Some(id) = refusing {
            self.rotten.remove(&id);
            self.node_mut(id).removed = true;
            let index = self.nodes[&id].index;
            self.places_to_fill.push(index);
            self.count("damage refused");
        }
        let starves = |node: &SimNode| self.starved.contains(&node.id) && has_no_room(node);
        let failed = self.nodes.values().find(|node| stopped(node) && !starves(node));
        holds(failed.is_none(), || {
            let node = failed.expect("checked just now");
            format!("{} stopped: {}", node.id, node.stopped_by.as_deref().unwrap_or_default())
        })
    }

    /// Faults off: within a bound there is a primary, it makes progress, membership is what governance wants, and all agree.
    pub(crate) fn recover(&mut self) -> Result<(), Violation> {
        self.note(|| "the trouble is over".to_owned());
        self.faults = Faults::none();
        self.network.heal();
        self.slow.clear();
        for node in self.nodes.values_mut() {
            node.drift_ms = 0;
            node.power().comes_back();
            *node.clock_offset_ms.lock() = 0;
            node.set_room(None);
        }
        self.starved.clear();
        for id in self.members() {
            if !self.nodes[&id].runs() {
                self.start(id)?;
            }
        }
        let before = self.invariants.acknowledged_count();
        let until = self.now_ms() + RECOVERY_MS;
        while self.invariants.acknowledged_count() < before + 3 {
            let (now_ms, nodes) = (self.now_ms(), &self.nodes);
            holds(now_ms < until, || format!("no progress after the faults ended: {}", standing(nodes, now_ms)))?;
            self.submit_sometimes();
            self.govern_sometimes()?;
            self.step()?;
            self.check_stopped()?;
        }
        self.decide_once_more(until)?;
        while !self.transactions_are_settled() {
            holds(self.now_ms() < until, || "a transaction waits in vain for its block".to_owned())?;
            if let Some(primary) = self.primary() {
                self.transact_again(primary);
            }
            self.step()?;
            self.check_stopped()?;
        }
        while !(self.joiners.is_empty() && self.places_to_fill.is_empty()) {
            holds(self.now_ms() < until, || "a joiner waits in vain".to_owned())?;
            if self.joiners.is_empty()
                && let Some(index) = self.places_to_fill.pop()
            {
                self.admit(index)?;
            }
            self.step()?;
        }
        self.run_until(RECOVERY_MS, "the members that governance wants", Self::membership_is_settled)?;
        self.run_until(RECOVERY_MS, "agreement", Self::members_agree)?;
        self.run_until(RECOVERY_MS, "whole ledgers", Self::ledgers_are_whole)?;
        self.check_stopped()
    }

    /// One voter for each place, all of them trusted nodes, nobody else.
    pub fn membership_is_settled(&self) -> bool {
        let Some(primary) = self.primary() else { return false };
        let membership = self.membership(primary);
        let Some(machines) = &self.nodes[&primary].machines else { return false };
        let Ok(nodes) = coco_governance::current_nodes(&mut machines.visible.state()) else { return false };
        let wanted = |role| -> BTreeSet<ReplicaId> {
            nodes.iter().filter(|node| node.info.role == role).map(|node| node.info.replica).collect()
        };
        let settled = membership.voters == wanted(NodeRole::Voter) && membership.learners == wanted(NodeRole::Reader);
        settled && !membership.is_joint()
    }

    /// Every member of the primary's configuration shows the same newest transaction.
    pub fn members_agree(&self) -> bool {
        let Some(primary) = self.primary() else { return false };
        let voters = self.membership(primary).voters;
        let last = self.visible(primary);
        voters.iter().all(|id| self.nodes.contains_key(id) && self.visible(*id) == last)
    }

    /// What must hold on every member once all is quiet.
    pub fn check_end(&self) -> Result<(), Violation> {
        let Some(primary) = self.primary() else { return Err(Violation("there is no primary".to_owned())) };
        let mut audited = None;
        for id in self.membership(primary).voters {
            let Some(machines) = self.nodes.get(&id).and_then(|node| node.machines.as_ref()) else { continue };
            let state = machines.visible.state();
            self.invariants.shows(id, machines.visible.txid(), &state)?;
            self.invariants.nothing_lost(id, &state, machines.history.as_ref())?;
            self.check_ethereum(id, &state, machines.history.as_ref())?;
            self.check_governance(id, machines.visible.txid(), &mut machines.visible.state(), &mut audited)?;
            self.check_chunks(primary, id)?;
            self.check_receipts(id, if id == primary { 1 } else { RECEIPT_SAMPLE })?;
        }
        Ok(())
    }

    /// Complete chunks are the same on all nodes, byte by byte.
    fn check_chunks(&self, one: ReplicaId, other: ReplicaId) -> Result<(), Violation> {
        let failed = |error: std::io::Error| Violation(error.to_string());
        let (one_disk, other_disk) = (&self.nodes[&one].ledger_disk, &self.nodes[&other].ledger_disk);
        let names = other_disk.names().map_err(failed)?;
        for name in one_disk.names().map_err(failed)?.iter().filter(|name| name.ends_with(".committed")) {
            if names.contains(name) {
                let same = one_disk.read_all(name).map_err(failed)? == other_disk.read_all(name).map_err(failed)?;
                holds(same, || format!("{name} differs between {one} and {other}"))?;
            }
        }
        Ok(())
    }

    /// Each acknowledged transaction, or every so many of them, newest first, has a receipt that verifies.
    fn check_receipts(&self, id: ReplicaId, every: usize) -> Result<(), Violation> {
        let Some(machines) = &self.nodes[&id].machines else { return Ok(()) };
        let hosted = self.transactions_acknowledged();
        for txid in self.invariants.acknowledged_txids().rev().chain(hosted).step_by(every) {
            let receipt = machines.ledger.receipt(txid);
            let receipt = receipt.map_err(|error| Violation(format!("receipt {txid}: {error}")))?;
            let receipt = receipt.ok_or_else(|| Violation(format!("{id} has no receipt of {txid}")))?;
            coco_ledger::verify_receipt(&receipt.cose, self.setting.service_key.public_key(), None)
                .map_err(|error| Violation(format!("the receipt of {txid} by {id} does not verify: {error}")))?;
        }
        Ok(())
    }

    /// A primary is stopped gracefully, or hands over for another reason.
    pub fn hand_over(&mut self) -> Result<(), Violation> {
        let Some(primary) = self.primary() else { return Ok(()) };
        self.note(|| format!("{primary} hands over"));
        let machines = self.node_mut(primary).machines.as_mut().expect("a primary runs");
        machines.replica.hand_over().map_err(|fault| Violation(fault.to_string()))
    }
}

/// Backups hold the same ledger, byte by byte: a sample of their receipts is enough.
pub(crate) const RECEIPT_SAMPLE: usize = 10;

/// How each node stands, in words.
fn standing(nodes: &BTreeMap<ReplicaId, SimNode>, now_ms: u64) -> String {
    let words = |(id, node): (&ReplicaId, &SimNode)| match (&node.machines, &node.returning) {
        (Some(machines), _) => {
            let consensus = machines.replica.consensus();
            let (role, view, members) = (consensus.role(), consensus.view(), consensus.membership());
            format!("{id} is {role:?} in {view} at {} with {members:?}", consensus.committed())
        }
        (None, Some(returning)) => format!("{id} {}", returning.waits_for(now_ms)),
        (None, None) => format!("{id} does not run"),
    };
    nodes.iter().map(words).collect::<Vec<_>>().join("; ")
}
