//! Which faults met which states: what is never hit is not tested.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// Counts by (fault, state). Names are given by whoever counts; all are known beforehand, so that zeros show.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Coverage {
    faults: &'static [&'static str],
    states: &'static [&'static str],
    counts: BTreeMap<(&'static str, &'static str), u64>,
}

impl Coverage {
    pub fn new(faults: &'static [&'static str], states: &'static [&'static str]) -> Self {
        Self { faults, states, counts: BTreeMap::new() }
    }

    /// # Panics
    /// If the table has no such row or column.
    pub fn hit(&mut self, fault: &'static str, states: impl IntoIterator<Item = &'static str>) {
        assert!(self.faults.contains(&fault), "{fault} is no row");
        for state in states {
            assert!(self.states.contains(&state), "{state} is no column");
            *self.counts.entry((fault, state)).or_default() += 1;
        }
    }

    pub fn count(&self, fault: &'static str, state: &'static str) -> u64 {
        self.counts.get(&(fault, state)).copied().unwrap_or(0)
    }

    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Takes in what another run counted in the same table.
    pub fn add(&mut self, other: &Self) {
        if self.faults.is_empty() {
            (self.faults, self.states) = (other.faults, other.states);
        }
        for (place, count) in &other.counts {
            *self.counts.entry(*place).or_default() += count;
        }
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<(&'static str, &'static str)> {
        let all = self.faults.iter().flat_map(|fault| self.states.iter().map(|state| (*fault, *state)));
        all.filter(|(fault, state)| self.count(fault, state) == 0).collect()
    }
}

/// A Markdown table, as it is printed and as it stands in the docs.
impl Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | {} |", self.states.join(" | "))?;
        writeln!(f, "|---|{}", "--:|".repeat(self.states.len()))?;
        for fault in self.faults {
            let counts: Vec<_> = self.states.iter().map(|state| self.count(fault, state).to_string()).collect();
            writeln!(f, "| {fault} | {} |", counts.join(" | "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_hit_is_told() {
        let mut coverage = Coverage::new(&["crash", "cut"], &["led", "leaderless"]);
        coverage.hit("crash", ["led"]);
        let mut sum = Coverage::default();
        sum.add(&coverage);
        sum.add(&coverage);
        assert_eq!(sum.count("crash", "led"), 2);
        assert_eq!(sum.missing(), [("crash", "leaderless"), ("cut", "led"), ("cut", "leaderless")]);
        assert!(sum.to_string().contains("| crash | 2 | 0 |"));
    }
}
