//! What a reader of a run sees: which faults met which states, and messages in words.

use coco_consensus::Role;
use coco_replicas::describe as describe_consensus;

use crate::network::Kind;
use crate::world::World;

/// What goes wrong.
pub const FAULTS: &[&str] = &[
    "crash",
    "crash in the middle",
    "restart",
    "torn write",
    "power cut",
    "cut",
    "hand over",
    "membership change",
    "old disk put back",
    "disk full",
    "clock jumps",
    "clock drifts",
    "slow node",
    "message lost",
    "message doubled",
    "message replayed",
    "messages withheld",
    "bit rot",
    "old ledger files",
    "damage refused",
    "client retries",
];

/// While what holds.
pub const STATES: &[&str] = &[
    "no primary",
    "one primary",
    "two believe to lead",
    "joint configuration",
    "a joiner waits",
    "a node is down",
    "a node returns",
    "a ledger is not whole",
    "uncommitted entries",
];

/// Whether a fault can meet a state at all.
pub fn can_meet(fault: &str, state: &str) -> bool {
    match fault {
        // Networks that tolerate those are spared a crash while a member is replaced, and damage while anybody is down.
        "old disk put back" => !matches!(state, "joint configuration" | "a joiner waits"),
        "bit rot" | "old ledger files" => matches!(state, "one primary" | "a node is down" | "uncommitted entries"),
        _ => true,
    }
}

impl World {
    pub(crate) fn count(&mut self, fault: &'static str) {
        let states = self.states();
        self.coverage.hit(fault, states);
    }

    fn states(&self) -> Vec<&'static str> {
        let machines = || self.nodes.values().filter_map(|node| node.machines.as_ref());
        let leading = machines().filter(|machines| machines.replica.consensus().role() == Role::Primary).count();
        let mut states = vec![match leading {
            0 => "no primary",
            1 => "one primary",
            _ => "two believe to lead",
        }];
        let mut add = |holds: bool, name| states.extend(holds.then_some(name));
        add(machines().any(|machines| machines.replica.consensus().membership().is_joint()), "joint configuration");
        add(!self.joiners.is_empty(), "a joiner waits");
        add(self.nodes.values().any(|node| !node.removed && !node.runs()), "a node is down");
        add(self.nodes.values().any(|node| node.returning.is_some()), "a node returns");
        add(machines().any(|machines| !machines.archive.is_whole()), "a ledger is not whole");
        let uncommitted = |consensus: &coco_consensus::Consensus| consensus.last_index() > consensus.committed();
        add(machines().any(|machines| uncommitted(machines.replica.consensus())), "uncommitted entries");
        states
    }
}

/// A message in a few words.
pub(crate) fn describe(kind: Kind, message: &[u8]) -> String {
    match kind {
        Kind::Consensus => describe_consensus(message),
        Kind::Question => "asks how to come back".to_owned(),
        Kind::Answer => "answers one that returns".to_owned(),
    }
}
