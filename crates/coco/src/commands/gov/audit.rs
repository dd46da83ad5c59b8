//! `coco ledger audit-governance`: who decided what, replayed from ledger files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::bail;
use coco_disk::Disk;
use coco_governance::{Auditor, Decision, Event, ProposalState};
use coco_ledger::EntryKeys;
use coco_types::TxId;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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

/// A proposal that was settled: who decided what, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// The transaction that settled it.
    pub txid: TxId,
    /// By the clock of the member whose request settled it.
    pub at: String,
    pub proposal_id: String,
    pub actions: Vec<String>,
    pub state: ProposalState,
    /// Names of members, or the beginnings of their ids.
    pub voted_for: Vec<String>,
    pub voted_against: Vec<String>,
}

/// Collects what was settled. Whoever votes has sent a request, by which it is named afterwards.
#[derive(Default)]
pub struct Register {
    names: BTreeMap<String, String>,
    pub settled: Vec<Settled>,
}

impl Register {
    pub fn note(&mut self, event: &Event) {
        let Event::Decision(decision) = event else { return };
        self.names.insert(decision.member_id.clone(), member(decision));
        let (Some(state), Some(proposal_id)) = (decision.state, decision.proposal_id.clone()) else { return };
        if state == ProposalState::Open {
            return;
        }
        let name = |id: &String| self.names.get(id).cloned().unwrap_or_else(|| short(id));
        let of = |vote: bool| decision.final_votes.iter().filter(move |(_, cast)| **cast == vote).map(|(id, _)| id);
        self.settled.push(Settled {
            txid: decision.txid,
            at: utc(decision.created_at),
            proposal_id,
            actions: decision.actions.clone(),
            state,
            voted_for: of(true).map(name).collect(),
            voted_against: of(false).map(name).collect(),
        });
    }
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, actions) = (short(&self.proposal_id), self.actions.join(", "));
        write!(f, "{}  {}  {id} {actions}: {:?}", self.txid, self.at, self.state)?;
        for (word, members) in [("for", &self.voted_for), ("against", &self.voted_against)] {
            if !members.is_empty() {
                write!(f, "; {word}: {}", members.join(", "))?;
            }
        }
        Ok(())
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
            | Event::Rotated { .. }
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
            Event::Rotated { txid } => write!(f, "{txid}  the service got another identity, as was voted before"),
            Event::OpenedByShares { txid } => write!(f, "{txid}  opened: enough recovery shares were there"),
            Event::Unexplained { txid, maps } => {
                write!(f, "{txid}  CHANGED WITHOUT A MEMBER'S REQUEST: {}", maps.join(", "))
            }
            Event::Decision(decision) => tell_decision(f, decision),
        }
    }
}

fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

fn member(decision: &Decision) -> String {
    decision.member_name.clone().unwrap_or_else(|| short(&decision.member_id))
}

/// Unix seconds as people write them.
fn utc(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string())
}

fn tell_decision(f: &mut fmt::Formatter<'_>, decision: &Decision) -> fmt::Result {
    let proposal = decision.proposal_id.as_deref().map(short).unwrap_or_default();
    let actions = decision.actions.join(", ");
    write!(f, "{}  {}  {} ", decision.txid, utc(decision.created_at), member(decision))?;
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

#[cfg(test)]
mod tests {
    use coco_types::{Seqno, View};

    use super::*;

    #[test]
    fn what_was_settled_says_who_and_when_with_the_names_that_voters_had() {
        let decision = |member: &str, state: ProposalState| Decision {
            txid: TxId::new(View(2), Seqno(9)),
            member_id: member.repeat(64),
            member_name: Some(format!("Bank {}", member.to_uppercase())),
            kind: "ballot".to_owned(),
            created_at: 1_700_000_000,
            proposal_id: Some("5".repeat(64)),
            actions: vec!["set_voting_policy".to_owned()],
            state: Some(state),
            final_votes: BTreeMap::new(),
            differs: None,
        };
        let mut register = Register::default();
        register.note(&Event::Decision(decision("a", ProposalState::Open)));
        let final_votes = ["a", "b", "c"].map(|member| (member.repeat(64), member != "c")).into();
        let last = Decision { final_votes, ..decision("b", ProposalState::Accepted) };
        register.note(&Event::Decision(last));
        let [settled] = register.settled.as_slice() else { panic!("{:?}", register.settled) };
        let expected =
            "2.9  2023-11-14T22:13:20Z  55555555 set_voting_policy: Accepted; for: Bank A, Bank B; against: cccccccc";
        assert_eq!(settled.to_string(), expected);
        assert_eq!(utc(u64::MAX), u64::MAX.to_string());
    }
}
