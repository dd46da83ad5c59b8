//! Scenarios as text: who starts, who is cut off, who proposes what, and what must hold then.
//!
//! ```text
//! # What the bug was, and where it was found.
//! fails with commits-by-counting      # the mutants that this scenario must notice
//! seeds 8                             # it is run so often, with other delays and timeouts each time
//!
//! start 5
//! elect 1
//! partition 1 2 | 3 4 5
//! propose 1 "never sent"
//! assert committed 1 < last 1
//! ```
//!
//! One statement a line; `#` begins a comment. [`Statement`] lists them. After each statement every invariant must hold.

mod parse;
mod play;

use crate::{Mutant, Story};

pub use parse::{Body, ParseError, Statement, Term};

/// A scenario file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// The mutants that it must notice.
    pub notices: Vec<Mutant>,
    pub seeds: u64,
    pub statements: Body,
}

/// What did not hold.
pub struct Failure {
    /// From 1.
    pub line: usize,
    pub why: String,
    pub story: Story,
}

impl Scenario {
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::scenario(text)
    }

    /// Plays it with one seed. Panics of the code under test count as findings.
    pub fn play(&self, seed: u64, mutant: Option<Mutant>) -> Result<(), Failure> {
        play::play(self, seed, mutant)
    }

    /// The first of its seeds that fails.
    pub fn first_failure(&self, mutant: Option<Mutant>) -> Option<(u64, Failure)> {
        (1..=self.seeds).find_map(|seed| self.play(seed, mutant).err().map(|failure| (seed, failure)))
    }
}
