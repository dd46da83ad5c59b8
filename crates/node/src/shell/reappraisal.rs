//! Judging the network's nodes again, on the primary: when policy, anchors or collateral have changed, and when a deadline has come.
//!
//! Verification runs here, on a thread of its own; one system transaction then writes what follows. A node that is retired by it leaves
//! the consensus as after any other removal. Every node looks at the same time whether its own evidence needs renewing.

use std::sync::Arc;
use std::time::Duration;

use coco_attestation::Anchors;
use coco_governance::attestation::{self, Reappraised, Verified};
use coco_protocol::{Outcome, Rejection, RejectionReason};
use coco_types::Digest;
use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::events::ExecutorEvent;
use crate::executor::SystemCommand;
use crate::handle::{Shared, submit_here};
use crate::shell::renewal::Renewal;

/// Between two looks at what the ledger says.
const PERIOD: Duration = Duration::from_secs(1);

/// What the last judgement leaned on, and when the next is due by itself.
#[derive(Default)]
struct Last {
    basis: Option<Digest>,
    /// Unix seconds.
    deadline: Option<u64>,
}

/// Until the other end of `stop` is gone.
pub fn run(shared: &Arc<Shared>, mut renewal: Renewal, stop: &Receiver<()>) {
    let mut last = Last::default();
    let mut told = None;
    while stop.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        renewal.look();
        tell_anchors(shared, &mut told);
        if !shared.is_primary() {
            // Whoever leads next judges once, whatever this node knew.
            last = Last::default();
            continue;
        }
        if let Err(error) = look(shared, &mut last) {
            tracing::error!(%error, "nodes cannot be judged again");
        }
    }
}

fn look(shared: &Arc<Shared>, last: &mut Last) -> Result<(), coco_governance::Error> {
    let state = &mut shared.visible.state();
    let now_s = (shared.clock)() / 1000;
    let basis = attestation::current_basis(state)?;
    let due = last.deadline.is_some_and(|deadline| deadline <= now_s);
    if last.basis == Some(basis) && !due {
        last.deadline = attestation::next_deadline(state)?;
        return Ok(());
    }
    let mut answering = shared.standing.read().answering.clone();
    answering.insert(shared.replica_id);
    let verified = attestation::verify_all(state, now_s, answering)?;
    *last =
        Last { basis: Some(basis), deadline: attestation::next_deadline(state)?.filter(|deadline| *deadline > now_s) };
    if attestation::would_change(state, &verified)? {
        submit_here(shared, ExecutorEvent::System { command: command(verified), reply: Box::new(|_| {}) });
    } else if due {
        tracing::warn!("a node is past its deadline and stays for now: too few of the others answer");
    }
    Ok(())
}

/// Which roots of vendors the ledger accepts, when this node learns of it and whenever it changes. Those that no vendor publishes are as good as
/// none, and are called so.
fn tell_anchors(shared: &Shared, told: &mut Option<Digest>) {
    let anchors = match attestation::anchors(&mut shared.visible.state()) {
        Ok(anchors) if anchors != Anchors::default() => anchors,
        Ok(_) => return,
        Err(error) => return tracing::error!(%error, "the accepted anchors"),
    };
    let digest = anchors.digest();
    if told.replace(digest) == Some(digest) {
        return;
    }
    tracing::info!(anchors = %digest, "accepted anchors");
    for (root, digest) in anchors.foreign_roots() {
        tracing::warn!(root = root.as_str(), %digest, "NO VENDOR'S ROOT is accepted: evidence below it protects nothing");
    }
}

fn command(verified: Verified) -> SystemCommand {
    Box::new(move |tx, _| {
        let refused = |error: coco_governance::Error| Rejection::new(RejectionReason::Refused, 0, error.to_string());
        let changes = attestation::apply(tx, &verified).map_err(refused)?;
        tell(&changes);
        Ok(Outcome::default())
    })
}

fn tell(changes: &Reappraised) {
    for node in &changes.at_risk {
        tracing::warn!(%node, "at risk: the policy in force does not accept it any more");
    }
    for node in &changes.retired {
        tracing::warn!(%node, "retired: it did not renew its evidence in time");
    }
    for node in &changes.overdue {
        tracing::error!(%node, "overdue: retiring it would leave too few nodes, the members must decide");
    }
    for node in &changes.restored {
        tracing::info!(%node, "accepted again");
    }
}
