//! What clients saw: who asked for what, when, and what they were answered. And whether one order explains it all.
//!
//! A history is linearizable if each operation can be put at one moment between its call and its return, so that all answers are those of
//! one copy of the data. Histories come from simulated clients and, as JSON lines, from real ones (`clients/faults/history.mjs`):
//!
//! ```text
//! {"client":1,"key":"a","call":10,"return":17,"do":{"write":"x"}}
//! {"client":2,"key":"a","call":12,"return":null,"do":{"write":"y"}}       the client was not told: it happened some time, or never
//! {"client":3,"key":"a","call":18,"return":20,"do":{"read":"x"}}
//! ```

mod check;

use std::collections::BTreeMap;
use std::io::BufRead;

use serde::{Deserialize, Serialize};

pub use check::{Verdict, check};

/// One operation of one client. Times are of one clock, in any unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    pub client: u64,
    /// Histories of different keys are judged apart; a bank is one key.
    pub key: String,
    pub call: u64,
    /// `None`: its client was never told how it ended.
    #[serde(rename = "return")]
    pub returned: Option<u64>,
    #[serde(rename = "do")]
    pub action: Action,
}

/// What was asked, with the answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Write(String),
    Read(Option<String>),
    /// A counter; the answer is the total, if it is known.
    Add {
        amount: i64,
        total: Option<i64>,
    },
    Total(i64),
    Append(String),
    List(Vec<String>),
    Insert(String),
    Set(Vec<String>),
    /// Money is moved; refused if there is too little.
    Transfer {
        from: String,
        to: String,
        amount: i64,
    },
    /// All balances at once: their sum is always 0, as every account begins with nothing and may owe.
    Balances(BTreeMap<String, i64>),
}

/// Reads JSON lines.
pub fn read(lines: impl BufRead) -> Result<Vec<Operation>, String> {
    let parsed =
        lines.lines().enumerate().filter(|(_, line)| line.as_ref().map_or(true, |line| !line.trim().is_empty()));
    let operation = |(number, line): (usize, std::io::Result<String>)| {
        let line = line.map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("line {}: {error}", number + 1))
    };
    parsed.map(operation).collect()
}

/// What linear time can say of appended or inserted values, however long the history: none lost, none twice, none from nowhere.
/// Values must be unique.
pub fn nothing_lost_nothing_twice(operations: &[Operation]) -> Result<(), String> {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    for (key, operations) in keys {
        let last = operations.iter().filter(|one| matches!(one.action, Action::List(_) | Action::Set(_)));
        let Some(last) = last.max_by_key(|one| one.call) else { continue };
        let (Action::List(seen) | Action::Set(seen)) = &last.action else { continue };
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        seen.iter().for_each(|value| *counts.entry(value).or_default() += 1);
        for one in &operations {
            let (Action::Append(value) | Action::Insert(value)) = &one.action else { continue };
            let told = one.returned.is_some_and(|returned| returned < last.call);
            match counts.remove(value.as_str()) {
                None if told => return Err(format!("{key}: {value} was acknowledged and is not there")),
                Some(2..) => return Err(format!("{key}: {value} is there more than once")),
                _ => {}
            }
        }
        if let Some(value) = counts.keys().next() {
            return Err(format!("{key}: {value} is there, and nobody put it there"));
        }
    }
    Ok(())
}

/// Without lists and sets that are too long to be put in order: of those, [`nothing_lost_nothing_twice`] must do.
pub fn orderable(operations: Vec<Operation>) -> Vec<Operation> {
    let mut lengths: BTreeMap<String, usize> = BTreeMap::new();
    for operation in &operations {
        if matches!(operation.action, Action::Append(_) | Action::Insert(_)) {
            *lengths.entry(operation.key.clone()).or_default() += 1;
        }
    }
    let is_long = |operation: &Operation| lengths.get(&operation.key).is_some_and(|len| *len > ORDERED_LEN_MAX);
    operations.into_iter().filter(|operation| !is_long(operation)).collect()
}

/// Each step of the search copies the list or set.
const ORDERED_LEN_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_no_operation_is_named() {
        let text = "{\"client\":1,\"key\":\"a\",\"call\":1,\"return\":2,\"do\":{\"write\":\"x\"}}\n\n\
                    {\"client\":1,\"key\":\"a\",\"call\":3,\"return\":null,\"do\":{\"add\":{\"amount\":1,\"total\":null}}}\n";
        let operations = read(text.as_bytes()).unwrap();
        assert_eq!(operations[0].action, Action::Write("x".to_owned()));
        assert_eq!(operations[1].returned, None);
        assert!(read(&b"{\"client\":1}"[..]).unwrap_err().starts_with("line 1: "));
    }

    #[test]
    fn a_value_that_is_lost_doubled_or_from_nowhere_is_found_in_lists_and_sets() {
        let put = |value: &str, returned| Operation {
            client: 1,
            key: "list".to_owned(),
            call: 1,
            returned,
            action: Action::Append(value.to_owned()),
        };
        let list = |values: &[&str]| Operation {
            client: 2,
            key: "list".to_owned(),
            call: 9,
            returned: Some(10),
            action: Action::List(values.iter().map(|value| (*value).to_owned()).collect()),
        };
        let judged = |values: &[&str]| nothing_lost_nothing_twice(&[put("a", Some(2)), put("b", None), list(values)]);
        assert_eq!(judged(&["a"]), Ok(()));
        assert_eq!(judged(&["b", "a"]), Ok(()));
        assert!(judged(&["b"]).unwrap_err().contains("not there"));
        assert!(judged(&["a", "a"]).unwrap_err().contains("more than once"));
        assert!(judged(&["a", "c"]).unwrap_err().contains("nobody put it there"));
    }
}
