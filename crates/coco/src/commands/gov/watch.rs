//! `coco gov watch`: tells of every proposal as it is made, voted on and settled, for members who want to be told.
//!
//! It asks again and again, which any node answers from committed state: a node that is away is an interruption, and nothing is missed by it but what was
//! settled and forgotten meanwhile.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::report::{Line, List};
use crate::governance::Gov;
use crate::output::{self, Output};

const PAUSE: Duration = Duration::from_secs(1);

/// Until somebody ends the process.
pub fn run(gov: &Gov, output: Output) -> anyhow::Result<()> {
    // The first answer must come: a wrong address is no interruption.
    let mut known = Known::default();
    tell(known.news(super::proposals(gov)?), output)?;
    let mut is_away = false;
    loop {
        thread::sleep(PAUSE);
        match super::proposals(gov) {
            Ok(proposals) => {
                is_away = false;
                tell(known.news(proposals), output)?;
            }
            Err(error) if !is_away => {
                output::tell(format_args!("the node does not answer, asking again: {error:#}"));
                is_away = true;
            }
            Err(_) => {}
        }
    }
}

fn tell(news: Vec<Line>, output: Output) -> anyhow::Result<()> {
    if news.is_empty() { Ok(()) } else { output.print(&List(news)) }
}

/// What was told last of each proposal.
#[derive(Default)]
struct Known(BTreeMap<String, (String, String)>);

impl Known {
    /// What is not as it was told.
    fn news(&mut self, proposals: Vec<Line>) -> Vec<Line> {
        let is_new = |line: &Line| {
            let now = (line.status.clone(), line.text.clone());
            self.0.insert(line.id.clone(), now.clone()).as_ref() != Some(&now)
        };
        proposals.into_iter().filter(is_new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_is_told_of_when_it_comes_and_whenever_it_is_another_than_before() {
        let line =
            |id: &str, status: &str, text: &str| Line { id: id.into(), status: status.into(), text: text.into() };
        let mut known = Known::default();
        let mut told = |lines: Vec<Line>| known.news(lines).into_iter().map(|line| line.id).collect::<Vec<_>>();
        assert_eq!(told(vec![line("a", "Open", "0 votes")]), ["a"]);
        assert_eq!(told(vec![line("a", "Open", "0 votes"), line("b", "Open", "0 votes")]), ["b"]);
        assert_eq!(told(vec![line("a", "Open", "1 votes"), line("b", "Accepted", "0 votes")]), ["a", "b"]);
        assert!(told(vec![line("b", "Accepted", "0 votes")]).is_empty());
    }
}
