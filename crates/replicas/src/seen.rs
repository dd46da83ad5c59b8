//! What a reader of a run sees: which faults met which states, and the messages in words.

use coco_consensus::Role;

use crate::Event;
use crate::invariants::parse;
use crate::network::Network;

impl Network {
    pub fn count(&mut self, fault: &'static str) {
        let states = self.states();
        self.coverage.hit(fault, states);
    }

    /// In which of [`STATES`] the network is.
    fn states(&self) -> Vec<&'static str> {
        let cores = || self.replicas.values().filter_map(|replica| replica.core.as_ref());
        let primaries = cores().filter(|core| core.role() == Role::Primary).count();
        let mut states = vec![match primaries {
            0 => "no primary",
            1 => "one primary",
            _ => "two believe to lead",
        }];
        if cores().any(|core| core.membership().is_joint()) {
            states.push("joint configuration");
        }
        if cores().any(|core| core.last_index() > core.committed()) {
            states.push("uncommitted entries");
        }
        if self.replicas.values().any(|replica| replica.core.is_none()) {
            states.push("a replica is down");
        }
        states
    }

    pub(crate) fn tell(&mut self, who: u64, from: Option<u64>, text: impl FnOnce() -> String) {
        let at = self.now;
        if let Some(story) = &mut self.story {
            let (who, to) = from.map_or((who, None), |from| (from, Some(who)));
            story.push(Event { at, who, to, text: text() });
        }
    }
}

/// What goes wrong.
pub const FAULTS: &[&str] = &[
    "message lost",
    "message doubled",
    "crash",
    "restart",
    "replica cut off",
    "one direction cut",
    "healed",
    "slow disk",
    "hand over",
    "campaign",
    "membership step",
    "read",
    "power cut",
    "old disk put back",
    "resume interrupted",
];

/// While what holds.
pub const STATES: &[&str] = &[
    "no primary",
    "one primary",
    "two believe to lead",
    "joint configuration",
    "uncommitted entries",
    "a replica is down",
];

/// Whether this fault can happen in that state: some need a primary, or that nobody runs.
pub fn can_meet(fault: &str, state: &str) -> bool {
    match fault {
        "hand over" | "membership step" => state != "no primary",
        "old disk put back" | "resume interrupted" => ["no primary", "a replica is down"].contains(&state),
        _ => true,
    }
}

/// A message in a few words.
pub fn describe(bytes: &[u8]) -> String {
    let message = parse(bytes);
    let kind = format!("{:?}", message.get_msg_type());
    let entries = message.get_entries();
    let range = match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => format!(" with {}..{}", first.index, last.index),
        _ => String::new(),
    };
    let refused = if message.reject { ", refused" } else { "" };
    let (view, index) = (message.term, message.index);
    format!("{} view {view} at {index}{range} commit {}{refused}", kind.trim_start_matches("Msg"), message.commit)
}
