//! A member's side of governance: asks `/gov` of a node, signs what a member sends there.

mod client;
mod events;
mod member;
mod token;

pub use client::{Gov, Refused};
pub use events::{Event, Events};
pub use member::{Member, read_text};

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

/// A ballot in favour, and one against.
pub const YES: &str = "export function vote(proposal, proposerId) { return true }";
pub const NO: &str = "export function vote(proposal, proposerId) { return false }";

/// Makes a member active: it asks for the digest of the present state, and signs that.
pub fn acknowledge(gov: &Gov, member: &Member) -> anyhow::Result<String> {
    let path = format!("members/state-digests/{}", member.id);
    let given = gov.post(&format!("{path}:update"), &member.sign("state_digest", None, b"")?)?;
    let digest = given["stateDigest"].as_str().context("the node gave no state digest")?.to_owned();
    let payload = json!({ "stateDigest": digest }).to_string();
    gov.post(&format!("{path}:ack"), &member.sign("ack", None, payload.as_bytes())?)?;
    Ok(digest)
}

pub fn propose(gov: &Gov, member: &Member, text: &str) -> anyhow::Result<Value> {
    gov.post("members/proposals:create", &member.sign("proposal", None, text.as_bytes())?)
}

pub fn vote(gov: &Gov, member: &Member, proposal: &str, ballot: &str) -> anyhow::Result<Value> {
    let payload = json!({ "ballot": ballot }).to_string();
    let message = member.sign("ballot", Some(proposal), payload.as_bytes())?;
    gov.post(&ballot_path(proposal, &member.id), &message)
}

pub fn ballot_path(proposal: &str, member: &str) -> String {
    format!("members/proposals/{proposal}/ballots/{member}:submit")
}

/// Between two looks whether a new network has its first transactions.
const POLL: Duration = Duration::from_millis(10);

/// What the service says of itself, once the network has its founding facts and a signature over them.
pub fn founded(gov: &Gov, timeout: Duration) -> anyhow::Result<Value> {
    let started = Instant::now();
    loop {
        match gov.json("service/info") {
            Err(error) if error.is::<Refused>() && started.elapsed() < timeout => thread::sleep(POLL),
            answer => return answer,
        }
    }
}

/// Opens a new service as its consortium would: all members acknowledge the state, one proposes, the others vote until it carries.
pub fn open(gov: &Gov, members: &[Member], timeout: Duration) -> anyhow::Result<()> {
    let info = founded(gov, timeout)?;
    if info["status"] != "Opening" {
        return Ok(());
    }
    for member in members {
        acknowledge(gov, member)?;
    }
    let args = json!({ "next_service_identity": info["certificate"] });
    let text = json!({ "actions": [{ "name": "transition_service_to_open", "args": args }] }).to_string();
    let proposer = members.first().context("a network has members")?;
    let mut proposal = propose(gov, proposer, &text)?;
    let id = proposal["proposalId"].as_str().context("the node named no proposal")?.to_owned();
    for member in members {
        if proposal["proposalState"] != "Open" {
            break;
        }
        proposal = vote(gov, member, &id, YES)?;
    }
    anyhow::ensure!(proposal["proposalState"] == "Accepted", "the members' votes did not open the service: {proposal}");
    Ok(())
}
