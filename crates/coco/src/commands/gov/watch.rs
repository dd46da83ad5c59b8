//! `coco gov watch`: tells of proposals, votes, members and the service as they change, for members who want to be told.
//!
//! It follows the node's own stream of events, and comes back with the last one's id when the connection ends: nothing is missed, not even by changing
//! to another node, unless the node does not reach back that far, which it says.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::report::{Line, List};
use crate::governance::{Event, Events, Gov};
use crate::output::{self, Output};

const PAUSE: Duration = Duration::from_secs(1);

/// Until somebody ends the process.
pub fn run(gov: &Gov, output: Output) -> anyhow::Result<()> {
    // The first answers must come: a wrong address is no interruption.
    let mut events = gov.events(None)?;
    let open = super::proposals(gov)?;
    if !open.is_empty() {
        output.print(&List(open))?;
    }
    loop {
        let ended = follow(&mut events, gov, output)?;
        let last = events.last_id().map(str::to_owned);
        if let Err(error) = ended {
            output::tell(format_args!("the node does not answer, asking again: {error:#}"));
        }
        events = loop {
            thread::sleep(PAUSE);
            match gov.events(last.as_deref()) {
                Ok(again) => break again,
                Err(_) => continue,
            }
        };
    }
}

/// Prints what is told. The inner error is why no more is told just now.
fn follow(events: &mut Events, gov: &Gov, output: Output) -> anyhow::Result<anyhow::Result<()>> {
    loop {
        match events.next() {
            Ok(Some(event)) => output.print(&List(vec![line(&event, gov)]))?,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// What is there to know besides an event is asked for; without an answer, ids have to do.
fn line(event: &Event, gov: &Gov) -> Line {
    let names = super::member_names(gov).unwrap_or_default();
    let actions = |id: &str| match gov.text(&format!("members/proposals/{id}/actions")) {
        Ok(text) => super::action_names(&text),
        Err(_) => "a proposal".to_owned(),
    };
    described(event, &names, actions)
}

fn described(event: &Event, names: &BTreeMap<String, String>, actions: impl FnOnce(&str) -> String) -> Line {
    let text = |field: &str| event.data[field].as_str().unwrap_or_default().to_owned();
    let member = |field: &str| names.get(&text(field)).cloned().unwrap_or_else(|| text(field));
    let of_proposal =
        |status: &str, text_of: String| Line { id: text("proposalId"), status: status.to_owned(), text: text_of };
    let of =
        |field: &str, status: &str, text_of: String| Line { id: text(field), status: status.to_owned(), text: text_of };
    match event.name.as_str() {
        "proposal_created" => {
            of_proposal("Open", format!("{} (by {})", actions(&text("proposalId")), member("proposerId")))
        }
        "ballot_submitted" => of_proposal("Open", format!("{} has voted", member("memberId"))),
        "proposal_withdrawn" => of_proposal("Withdrawn", format!("by {}", member("memberId"))),
        "proposal_resolved" => of_proposal(&text("proposalState"), counted(&event.data["finalVotes"])),
        "proposal_dropped" => of_proposal("Dropped", "the rules have changed under it".to_owned()),
        "member_set" => of("memberId", &text("status"), format!("the member {}", member("memberId"))),
        "member_removed" => of("memberId", "Removed", "a member".to_owned()),
        "user_set" => of("userId", "Active", "a participant".to_owned()),
        "user_removed" => of("userId", "Removed", "a participant".to_owned()),
        "node_set" => of("nodeId", &text("status"), "a node".to_owned()),
        "node_removed" => of("nodeId", "Removed", "a node".to_owned()),
        "constitution_set" => of("digest", "InForce", "the constitution's digest".to_owned()),
        "service_set" => of("transactionId", &text("status"), "the service".to_owned()),
        "gap" => of("until", "Unknown", format!("what happened since {} is in the ledger files only", text("after"))),
        other => of("transactionId", other, event.data.to_string()),
    }
}

fn counted(votes: &Value) -> String {
    let votes: Vec<bool> = votes.as_object().into_iter().flatten().filter_map(|(_, vote)| vote.as_bool()).collect();
    let in_favour = votes.iter().filter(|vote| **vote).count();
    format!("{in_favour} in favour, {} against", votes.len() - in_favour)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_in_words_with_names_where_they_are_known() {
        let names = BTreeMap::from([("m".to_owned(), "Bank A".to_owned())]);
        let told = |name: &str, data: Value| {
            let event = Event { name: name.to_owned(), data };
            let line = described(&event, &names, |_| "set_member".to_owned());
            format!("{} {} {}", line.id, line.status, line.text)
        };
        let created = json!({"proposalId": "p", "proposerId": "m"});
        assert_eq!(told("proposal_created", created), "p Open set_member (by Bank A)");
        assert_eq!(told("ballot_submitted", json!({"proposalId": "p", "memberId": "x"})), "p Open x has voted");
        let resolved =
            json!({"proposalId": "p", "proposalState": "Accepted", "finalVotes": {"m": true, "x": false, "y": true}});
        assert_eq!(told("proposal_resolved", resolved), "p Accepted 2 in favour, 1 against");
        assert_eq!(told("service_set", json!({"transactionId": "2.7", "status": "Open"})), "2.7 Open the service");
        let gap = json!({"after": "2.1", "until": "2.9"});
        assert_eq!(told("gap", gap), "2.9 Unknown what happened since 2.1 is in the ledger files only");
        assert_eq!(told("new_thing", json!({"transactionId": "2.7"})), "2.7 new_thing {\"transactionId\":\"2.7\"}");
    }
}
