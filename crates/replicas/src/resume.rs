//! Coming back from a power cut: exchange, copy the best log, adopt a view above all. What the nodes do over their network is here a loop.

use std::collections::BTreeMap;

use coco_consensus::{Resume, ResumeState};
use coco_types::View;

use crate::network::Network;

/// Exchanges, copies unless `copy` is off, adopts. `interrupt` says before each durable step of each replica whether the power fails there.
/// Returns whether all confirmed; then each may be restarted.
///
/// # Panics
/// If a disk fails, or more of them were rolled back than a resume tolerates.
pub fn exchange(network: &Network, present: &[u64], copy: bool, mut interrupt: impl FnMut() -> bool) -> bool {
    let mut logs: BTreeMap<u64, Resume> = present.iter().map(|id| (*id, network.resting(*id))).collect();
    let states: Vec<ResumeState> = logs.values().map(Resume::state).collect();
    let best = ResumeState::best(&states).expect("somebody is present").clone();
    let view = states.iter().map(|state| state.view.max(state.last_view)).max().expect("somebody is present");
    for follower in present {
        let common = logs[follower].common_with(&best).expect("the logs have a common entry");
        let mut next = common + 1;
        while next <= best.last_index && copy {
            let entries = logs[&best.id.0].read_entries(next, 64).expect("the disk works");
            let count = entries.len() as u64;
            if interrupt() {
                return false;
            }
            let log = logs.get_mut(follower).expect("it is present");
            log.replace_tail(next - 1, entries).expect("the best log fits");
            next += count;
        }
        if interrupt() {
            return false;
        }
        logs.get_mut(follower).expect("it is present").adopt(View(view.0 + 1)).expect("the view is above all");
    }
    true
}
