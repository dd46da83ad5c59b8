//! `coco ledger audit-governance`: who decided what, replayed from ledger files.

use std::fmt;
use std::sync::Arc;

use anyhow::bail;
use coco_disk::Disk;
use coco_governance::{Auditor, Decision, Event};
use coco_ledger::EntryKeys;
use serde::Serialize;

use crate::output::Output;

/// What an audit found, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Signed requests of members.
    pub requests: u64,
    /// Those whose signature and outcome the replay does not confirm.
    pub differing: u64,
    /// Transactions that wrote members' rows without a request.
    pub unexplained: u64,
}

impl Summary {
    pub fn is_clean(&self) -> bool {
        self.differing == 0 && self.unexplained == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "governance: {} requests of members", self.requests)?;
        if self.is_clean() {
            return write!(f, ", all confirmed");
        }
        write!(f, ", {} not confirmed, {} changes without a request", self.differing, self.unexplained)
    }
}

/// Prints every event; fails if one is not confirmed.
pub fn run(disk: Arc<dyn Disk>, output: Output) -> anyhow::Result<()> {
    let summary = replay(disk, &mut |event| output.print(&Told(event)))?;
    output.print(&summary)?;
    if !summary.is_clean() {
        bail!("the ledger holds governance that its members' requests do not explain");
    }
    Ok(())
}

pub fn replay(disk: Arc<dyn Disk>, tell: &mut dyn FnMut(&Event) -> anyhow::Result<()>) -> anyhow::Result<Summary> {
    let mut auditor = Auditor::default();
    let mut summary = Summary::default();
    for transaction in coco_ledger::transactions(disk, EntryKeys::new())? {
        let transaction = transaction?;
        let Some(event) = auditor.transaction(transaction.txid, &transaction.public)? else { continue };
        match &event {
            Event::Decision(decision) => {
                summary.requests += 1;
                summary.differing += u64::from(decision.differs.is_some());
            }
            Event::Unexplained { .. } => summary.unexplained += 1,
            Event::Founded { .. }
            | Event::OpenedByFounder { .. }
            | Event::Recovered { .. }
            | Event::ShareSubmitted { .. }
            | Event::OpenedByShares { .. } => {}
        }
        tell(&event)?;
    }
    Ok(summary)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Told<'a>(&'a Event);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::Founded { txid, members } => write!(f, "{txid}  founded with {members} members"),
            Event::OpenedByFounder { txid } => write!(f, "{txid}  opened without a vote, as its genesis says"),
            Event::Recovered { txid, recovered_to } => {
                write!(f, "{txid}  recovered by a new service: what was up to {recovered_to} is the old one's")
            }
            Event::ShareSubmitted { txid, member_ids } => {
                let ids: Vec<String> = member_ids.iter().map(|id| id.chars().take(8).collect()).collect();
                write!(f, "{txid}  {} handed in a recovery share", ids.join(", "))
            }
            Event::OpenedByShares { txid } => write!(f, "{txid}  opened: enough recovery shares were there"),
            Event::Unexplained { txid, maps } => {
                write!(f, "{txid}  CHANGED WITHOUT A MEMBER'S REQUEST: {}", maps.join(", "))
            }
            Event::Decision(decision) => tell_decision(f, decision),
        }
    }
}

fn tell_decision(f: &mut fmt::Formatter<'_>, decision: &Decision) -> fmt::Result {
    let short = |id: &str| id.chars().take(8).collect::<String>();
    let member = decision.member_name.clone().unwrap_or_else(|| short(&decision.member_id));
    let proposal = decision.proposal_id.as_deref().map(short).unwrap_or_default();
    let actions = decision.actions.join(", ");
    write!(f, "{}  {member} ", decision.txid)?;
    match decision.kind.as_str() {
        "proposal" => write!(f, "proposed {proposal}: {actions}")?,
        "ballot" => write!(f, "voted on {proposal} ({actions})")?,
        "withdrawal" => write!(f, "withdrew {proposal} ({actions})")?,
        "ack" => write!(f, "acknowledged the state")?,
        "state_digest" => write!(f, "asked for the state's digest")?,
        other => write!(f, "sent {other}")?,
    }
    if let Some(state) = decision.state {
        write!(f, ": {state:?}")?;
    }
    let votes: Vec<_> = decision.final_votes.values().collect();
    if !votes.is_empty() {
        let yes = votes.iter().filter(|vote| ***vote).count();
        write!(f, ", {yes} for, {} against", votes.len() - yes)?;
    }
    match &decision.differs {
        Some(why) => write!(f, "\n    NOT CONFIRMED: {why}"),
        None => Ok(()),
    }
}
