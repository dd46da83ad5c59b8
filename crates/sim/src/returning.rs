//! Restarted nodes: what they ask, what they are answered, and how they go on.

use std::sync::Arc;

use bytes::Bytes;
use coco_consensus::Written;
use coco_disk::{Disk, MemoryDisk};
use coco_governance::NodeRow;
use coco_node::comeback::{self, Origin, Returning, Running, Way};
use coco_node::known::Known;
use coco_node::machines::{self, OpenError};
use coco_types::{Digest, ReplicaId};

use crate::invariants::{Violation, holds};
use crate::network::{Envelope, Kind};
use crate::node::{Resting, SimNode};
use crate::world::World;

impl World {
    /// A process starts over a folder that was used before.
    pub(crate) fn come_back(&mut self, id: ReplicaId, written: Option<Written>) -> Result<(), Violation> {
        let node = self.nodes.get_mut(&id).expect("a known node");
        node.stop();
        node.stopped_by = None;
        let Resting { log, rolled_back, snapshots } = match node.resting_log() {
            Ok(resting) => resting,
            Err(error) => return self.does_not_start(id, &error.to_string()),
        };
        let node = self.nodes.get_mut(&id).expect("a known node");
        let others = node.known.iter().copied().collect();
        let (addresses, log, snapshots) = (node.addresses(), Some(log), Some(snapshots));
        let origin = Origin { replica: id, addresses, log, rolled_back, others, written, snapshots };
        let crypto = node.crypto.clone();
        let nonces = move || {
            let mut nonce = Digest::ZERO;
            crypto.fill(&mut nonce.0);
            nonce
        };
        node.returning = Some(Returning::new(origin, Box::new(nonces)));
        self.note(|| format!("{id} asks how to come back"));
        Ok(())
    }

    /// An old state of this node's disks is put back, while it does not run. It is kept until then.
    pub fn put_back(&mut self, id: ReplicaId) {
        let node = self.node_mut(id);
        if let Some([ledger, log, snapshots]) = &node.image
            && !node.runs()
        {
            (node.ledger_disk, node.log_disk) = (ledger.image(), log.image());
            node.snapshot_disk = snapshots.image();
            let index = node.index;
            self.put_back.insert(index);
            self.note(|| format!("the disks of {id} are put back"));
        }
    }

    /// A host writes the sealed file of a node that does not run: an old one, or none.
    pub fn keeps_in_file(&mut self, id: ReplicaId, known: Known) {
        self.node_mut(id).sealed = known;
    }

    /// Keeps a copy of this node's disks as they are now.
    pub fn keep_image(&mut self, id: ReplicaId) {
        let node = self.node_mut(id);
        node.image = Some([&node.ledger_disk, &node.log_disk, &node.snapshot_disk].map(MemoryDisk::image));
    }

    pub fn runs(&self, id: ReplicaId) -> bool {
        self.nodes[&id].runs()
    }

    /// Whether it was started again and asks how to come back.
    pub fn returns(&self, id: ReplicaId) -> bool {
        self.nodes[&id].returning.is_some()
    }

    /// Whether a message of `from` would reach `to` now.
    pub(crate) fn is_heard_by(&self, from: ReplicaId, to: ReplicaId) -> bool {
        !self.network.is_cut(from, to) && !self.network.is_cut(to, from)
    }

    pub(crate) fn step_returning(&mut self, id: ReplicaId, now_ms: u64) -> Result<(), Violation> {
        let Some(returning) = &mut self.node_mut(id).returning else { return Ok(()) };
        let asks = match returning.turn(now_ms) {
            Ok(asks) => asks,
            Err(error) => {
                self.stop(id, &error.to_string());
                return Ok(());
            }
        };
        let way = returning.way(now_ms).cloned();
        if let Some(arrival) = returning.arrival() {
            returning.judged(arrival.check(), now_ms);
        }
        for (to, message) in asks {
            let envelope = Envelope { from: id, to, kind: Kind::Question, message };
            self.send(envelope);
        }
        match way {
            None => Ok(()),
            Some(Way::Swap) if self.nodes[&id].joining.is_some() => Ok(()),
            Some(Way::Swap) => self.swap(id, now_ms),
            Some(Way::GoOn) => {
                self.note(|| format!("{id} goes on as it was"));
                self.go_on(id)
            }
            Some(Way::BeginAnew) => {
                self.note(|| format!("{id} begins anew at a snapshot"));
                self.counts.received += 1;
                match self.node_mut(id).begin_anew() {
                    Ok(written) => self.come_back(id, written),
                    Err(error) => self.does_not_start(id, &error.to_string()),
                }
            }
            Some(Way::Gone) => {
                self.stop(id, "the network has another replica in its place");
                self.node_mut(id).removed = true;
                Ok(())
            }
            Some(Way::Resume(plan)) => {
                self.note(|| format!("{id} resumes with {:?} in view {}", plan.participants.len(), plan.view));
                if self.resumes.insert(plan.id) {
                    self.counts.resumes += 1;
                    self.put_back.clear();
                }
                self.node_mut(id).resumed = Some(plan);
                self.go_on(id)
            }
        }
    }

    /// On a log that must be found as it was closed: otherwise a node that compares them would refuse to run.
    fn go_on(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let closed = self.node_mut(id).returning.take().and_then(Returning::into_log).map(|log| log.written());
        self.run_machines(id)?;
        let found = self.nodes[&id].machines.as_ref().map(|machines| machines.replica.consensus().written());
        holds(found.is_none() || found == closed, || {
            format!("{id} finds its log as {found:?}, and closed it as {closed:?}")
        })
    }

    pub(crate) fn question(&mut self, from: ReplicaId, to: ReplicaId, message: &[u8]) -> Result<(), Violation> {
        let now_ms = self.now_ms();
        let Some(node) = self.nodes.get_mut(&to) else { return Ok(()) };
        let answer = match &mut node.returning {
            Some(returning) => returning.asked(from, message, now_ms),
            None => {
                let Some(running) = node.running(from) else { return Ok(()) };
                if comeback::is_of_returning(message) {
                    node.askers.asked_by(from, now_ms);
                }
                comeback::running_reply(from, message, running)
            }
        };
        let answer = answer.map_err(|error| Violation(format!("{from} asks {to}: {error}")))?;
        if let Some(message) = answer {
            let envelope = Envelope { from: to, to: from, kind: Kind::Answer, message };
            self.send(envelope);
        }
        Ok(())
    }

    pub(crate) fn answer_arrives(&mut self, from: ReplicaId, to: ReplicaId, message: Bytes) -> Result<(), Violation> {
        let now_ms = self.now_ms();
        let returning = self.nodes.get_mut(&to).and_then(|node| node.returning.as_mut());
        let taken = returning.map_or(Ok(()), |returning| returning.answered(from, message, now_ms));
        taken.map_err(|error| Violation(format!("{from} answers {to}: {error}")))
    }

    /// Stops a node that hears no majority while others that return need it.
    pub(crate) fn return_if_needed(&mut self, id: ReplicaId, now_ms: u64) -> Result<(), Violation> {
        let node = self.node_mut(id);
        node.remember();
        let Some(machines) = &node.machines else { return Ok(()) };
        let consensus = machines.replica.consensus();
        if !node.askers.must_make_way(consensus, now_ms) {
            return Ok(());
        }
        let written = consensus.written();
        self.joiners_lose(id);
        self.come_back(id, Some(written))
    }
}

impl SimNode {
    fn begin_anew(&mut self) -> Result<Option<Written>, OpenError> {
        let unchanged = self.returning.take().and_then(|returning| returning.unchanged());
        let disks = [&self.snapshot_disk, &self.ledger_disk, &self.log_disk];
        let [snapshots, ledger, log] = disks.map(|disk| -> Arc<dyn Disk> { Arc::new(disk.clone()) });
        machines::begin_anew(&snapshots, &ledger, &log, &self.identity, unchanged.as_ref())
    }

    /// What the shell keeps in a sealed file: who the others are.
    fn remember(&mut self) {
        let Some(machines) = &self.machines else { return };
        let rows = NodeRow::all(&mut machines.visible.state()).unwrap_or_default();
        if !rows.is_empty() {
            self.known = rows.iter().map(|node| node.info.replica).collect();
        }
    }

    /// `None` if it does not run.
    fn running(&self, asker: ReplicaId) -> Option<Running> {
        let machines = self.machines.as_ref()?;
        let rows = NodeRow::all(&mut machines.visible.state()).unwrap_or_default();
        let consensus = machines.replica.consensus();
        Some(Running {
            primary: consensus.primary(),
            resumed: self.resumed.as_ref().map(|plan| plan.id),
            you: comeback::place_of(&rows, asker, consensus.membership().is_voter(asker)),
        })
    }
}
