//! What a proposal would do, without doing it: for officers who want to see before they vote.

use serde::Serialize;

use super::Session;
use crate::constitution;
use crate::refusal::{Code, Refusal};
use crate::tables;

/// See [`Session::simulate`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Simulation {
    pub valid: bool,
    /// Why it is not valid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problems: String,
    /// A sentence for each action, if the constitution can say them.
    pub actions: Vec<String>,
    /// Why `apply` would fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The rows that would change, by map and key.
    pub changes: Vec<Change>,
}

/// A row before and after. Values are shown as the JSON or text that they are, else in hex.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    pub map: String,
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Session {
    /// Validates and applies a proposal's text as if it had been accepted. The session's transaction is of no other use afterwards.
    pub fn simulate(&self, proposal: &str) -> Result<Simulation, Refusal> {
        let module = constitution::read(&mut *self.world.tx.borrow_mut())?;
        let verdict = constitution::validate(&self.world, &module, proposal)
            .map_err(|failure| Refusal::new(Code::InternalError, format!("validate: {}", failure.reason)))?;
        let mut simulation = Simulation {
            valid: verdict.valid,
            problems: verdict.description,
            actions: vec![],
            failure: None,
            changes: vec![],
        };
        if !simulation.valid {
            return Ok(simulation);
        }
        // A constitution need not have words.
        simulation.actions = constitution::describe(&self.world, &module, proposal).unwrap_or_default();
        let id = self.id_of(proposal);
        match constitution::apply(&self.world, &module, proposal, &id) {
            Ok(()) => simulation.changes = self.changes(),
            Err(failure) => simulation.failure = Some(failure.reason),
        }
        Ok(simulation)
    }

    /// The id of the proposal that has this text, so that it does not count as another one; nothing for one that is not made yet.
    fn id_of(&self, proposal: &str) -> String {
        let mut tx = self.world.tx.borrow_mut();
        let found = tx.prefix(&tables::PROPOSALS, b"").find(|(_, text)| **text == *proposal.as_bytes());
        found.map(|(id, _)| String::from_utf8_lossy(&id).into_owned()).unwrap_or_default()
    }

    fn changes(&self) -> Vec<Change> {
        let tx = self.world.tx.borrow();
        let base = tx.base().clone();
        let mut changes = Vec::new();
        for (map, writes) in tx.writes() {
            for (key, value) in writes {
                let before = base.get(map, key);
                if before != *value {
                    let shown = |value: &bytes::Bytes| readable(value);
                    let (before, after) = (before.as_ref().map(shown), value.as_ref().map(shown));
                    changes.push(Change { map: map.as_str().to_owned(), key: readable(key), before, after });
                }
            }
        }
        changes
    }
}

fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n') => text.to_owned(),
        _ => hex::encode(bytes),
    }
}
