//! Proposals and members in words.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::governance::{NO, YES};

/// A proposal with all that is known about it.
#[derive(Debug, Serialize)]
pub struct ProposalReport {
    pub proposal: Value,
    pub proposer: String,
    /// Sentences, from the constitution; else the actions' names and arguments.
    pub actions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulation: Option<Value>,
    /// Member's name → how it voted.
    pub votes: BTreeMap<String, String>,
    pub silent: Vec<String>,
}

impl fmt::Display for ProposalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |field: &str| self.proposal[field].as_str().unwrap_or_default();
        writeln!(f, "{}", text("proposalId"))?;
        writeln!(f, "{}, proposed by {}", text("proposalState"), self.proposer)?;
        for (at, action) in self.actions.iter().enumerate() {
            writeln!(f, "  {}. {action}", at + 1)?;
        }
        if let Some(simulation) = &self.simulation {
            write_simulation(f, simulation)?;
        }
        if let Some(reason) = self.proposal["failure"]["reason"].as_str() {
            writeln!(f, "failed: {reason}")?;
        }
        write!(f, "votes:")?;
        for (member, vote) in &self.votes {
            write!(f, "\n  {member}: {vote}")?;
        }
        for member in &self.silent {
            write!(f, "\n  {member}: no vote yet")?;
        }
        Ok(())
    }
}

/// What a simulation found.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SimulationReport(pub Value);

impl fmt::Display for SimulationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, action) in self.0["actions"].as_array().into_iter().flatten().enumerate() {
            writeln!(f, "  {}. {}", at + 1, action.as_str().unwrap_or_default())?;
        }
        if self.0["valid"] == false {
            return write!(f, "not valid: {}", self.0["problems"].as_str().unwrap_or_default());
        }
        write_simulation(f, &self.0)?;
        write!(f, "nothing was changed")
    }
}

fn write_simulation(f: &mut fmt::Formatter<'_>, simulation: &Value) -> fmt::Result {
    if let Some(failure) = simulation["failure"].as_str() {
        return writeln!(f, "if it were accepted now, it would fail: {failure}");
    }
    let changes = simulation["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    writeln!(f, "if it were accepted now, {} would change", rows(changes.len()))?;
    for change in changes {
        let text = |field: &str| change[field].as_str().unwrap_or_default();
        writeln!(f, "  {} {}", text("map").trim_start_matches("public:ccf.gov."), text("key"))?;
        for line in difference(&plain(text("before")), &plain(text("after"))) {
            writeln!(f, "    {line}")?;
        }
    }
    Ok(())
}

fn rows(count: usize) -> String {
    match count {
        0 => "no row".to_owned(),
        1 => "one row".to_owned(),
        _ => format!("{count} rows"),
    }
}

/// JSON over several lines, and a text in JSON as itself, so that a difference names the line that matters.
fn plain(value: &str) -> String {
    match serde_json::from_str::<Value>(value) {
        Ok(Value::String(text)) => text,
        Ok(json) => serde_json::to_string_pretty(&json).unwrap_or_else(|_| value.to_owned()),
        Err(_) => value.to_owned(),
    }
}

/// The lines that differ, each with what happens to it, and a little of what is around them.
pub fn difference(before: &str, after: &str) -> Vec<String> {
    const CONTEXT_LINES: usize = 2;
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(CONTEXT_LINES) {
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push(format!("{sign} {}", change.value().trim_end_matches('\n')));
        }
    }
    lines
}

/// A ballot in words.
pub fn ballot(text: &str) -> String {
    match text {
        YES => "in favour".to_owned(),
        NO => "against".to_owned(),
        _ => format!("by a script of {} lines", text.lines().count()),
    }
}

#[derive(Debug, Serialize)]
pub struct List<T>(pub Vec<T>);

impl<T: fmt::Display> fmt::Display for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if at == 0 { "" } else { "\n" })?;
        }
        if self.0.is_empty() { write!(f, "there is none") } else { Ok(()) }
    }
}

/// One line of a listing.
#[derive(Debug, Serialize)]
pub struct Line {
    pub id: String,
    pub status: String,
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {:<10} {}", self.id, self.status, self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_simulation_shows_the_lines_that_would_change() {
        let changes = json!([{
            "map": "public:ccf.gov.members.info", "key": "ab",
            "before": "{\"status\":\"Active\",\"member_data\":{\"name\":\"A\"}}",
            "after": "{\"status\":\"Active\",\"member_data\":{\"name\":\"B\"}}",
        }]);
        let report = SimulationReport(json!({"valid": true, "actions": ["Describe it"], "changes": changes}));
        let text = report.to_string();
        assert!(
            text.starts_with("  1. Describe it\nif it were accepted now, one row would change\n  members.info ab\n"),
            "{text}"
        );
        assert!(text.contains("-     \"name\": \"A\"\n") && text.contains("+     \"name\": \"B\"\n"), "{text}");
        assert!(text.ends_with("nothing was changed"));
        let failing = SimulationReport(json!({"valid": true, "failure": "no such member"})).to_string();
        assert!(failing.contains("it would fail: no such member"));
        let invalid = SimulationReport(json!({"valid": false, "problems": "no actions"})).to_string();
        assert_eq!(invalid, "not valid: no actions");
    }

    #[test]
    fn a_proposal_says_who_has_voted_how_and_who_has_not() {
        let report = ProposalReport {
            proposal: json!({"proposalId": "id", "proposalState": "Open"}),
            proposer: "Bank A".to_owned(),
            actions: vec!["Remove Bank B".to_owned()],
            simulation: None,
            votes: [("Bank A".to_owned(), ballot(YES)), ("Bank C".to_owned(), ballot("x\ny"))].into(),
            silent: vec!["Bank B".to_owned()],
        };
        let expected = "id\nOpen, proposed by Bank A\n  1. Remove Bank B\nvotes:\n  Bank A: in favour\n  \
                        Bank C: by a script of 2 lines\n  Bank B: no vote yet";
        assert_eq!(report.to_string(), expected);
        assert_eq!(ballot(NO), "against");
    }
}
