//! The language: words, numbers, names of moments, and quoted payloads.

use crate::Mutant;
use crate::scenario::Scenario;

/// Ticks, if nothing else is said.
const AWAIT_TICKS: u64 = 400;
const SEEDS: u64 = 8;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    pub line: usize,
    pub reason: String,
}

/// One line. Replicas are numbers from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Statement {
    /// `start 3`: voters 1 to 3.
    Start(u64),
    /// `messages of 60`: a message carries entries of about so many bytes.
    MessageBytes(u64),
    /// `trust 4`: a further replica listens.
    Trust(u64),
    /// `swap +4 -3`: enters the joint configuration.
    Swap {
        promote: Vec<u64>,
        remove: Vec<u64>,
    },
    /// `leave`: as a reconciler does, handing over first if it must.
    Leave,
    /// `leave at 3`: this primary proposes it, and nobody waits.
    LeaveAt(u64),
    /// `elect 1`.
    Elect(u64),
    /// `replicate "payload"`: proposed at the primary, and committed.
    Replicate(String),
    /// `propose 1 "payload"`: and nobody waits.
    Propose(u64, String),
    /// `settle`: every member that runs has all.
    Settle,
    /// `partition 1 2 | 3`: nothing passes between the groups.
    Partition(Vec<Vec<u64>>),
    /// `cut 1 > 2`: one direction.
    Cut(u64, u64),
    Isolate(u64),
    Heal,
    /// `drop AppendResponse of 2`: such messages of it are lost.
    Drop {
        kind: String,
        from: u64,
    },
    /// `shaky` and `calm`: loss, doubling, delay.
    Shaky,
    Calm,
    /// `step 5`, `step 0..6` (by the seed).
    Step(u64, u64),
    /// `slow 1 6`: its syncs take so many ticks.
    Slow(u64, u64),
    Stop(u64),
    /// `crash 1`: unsynced writes survive by chance; `crash 1 bare`: not at all.
    Crash {
        id: u64,
        bare: bool,
    },
    Restart(u64),
    Campaign(u64),
    /// `image 2`: its disk as it is now is kept; `rollback 2`: and put back.
    Image(u64),
    Rollback(u64),
    /// `resume 1 2 3`, `resume 1 2 3 cut 0..12`: the power fails at that step, and they begin again.
    Resume {
        present: Vec<u64>,
        cut: Option<(u64, u64)>,
    },
    /// `mark end = last 1`.
    Mark(String, Term),
    /// `append 2 > 1 at end view v`: an append without entries is heard; `nack 2 > 1 at end hint early view v`.
    Append {
        from: u64,
        to: u64,
        at: Term,
        view: Term,
    },
    Nack {
        from: u64,
        to: u64,
        at: Term,
        hint: Term,
        view: Term,
    },
    /// `read 1 x`: a linearizable read; `assert read x lost`.
    Read(u64, String),
    /// `await primary`, `await primary 4`, `await primary not 1`, with `within 60`; `await removed 3`, `await last 2 = end`.
    Await {
        what: Condition,
        ticks: u64,
    },
    Assert(Condition),
    /// `repeat 5` … `end`.
    Repeat(u64, Body),
}

/// Statements with their lines.
pub type Body = Vec<(usize, Statement)>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    NoPrimary,
    AnyPrimary,
    Primary(u64),
    PrimaryNot(u64),
    Joint(u64),
    Removed(u64),
    Voters(u64, Vec<u64>),
    Read(String, ReadIs),
    Compare(Term, Comparison, Term),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadIs {
    Open,
    Lost,
    Confirmed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    Less,
    Equal,
    AtLeast,
    Unequal,
}

/// A number: `7`, `last 1`, `committed 1`, `view 1`, `viewat 1 end`, or a mark; with `+1` or `-1` behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Term {
    Number(u64),
    Last(u64),
    Committed(u64),
    View(u64),
    ViewAt(u64, Box<Term>),
    Mark(String),
    Plus(Box<Term>, i64),
}

pub(super) fn scenario(text: &str) -> Result<Scenario, ParseError> {
    let mut scenario = Scenario { notices: Vec::new(), seeds: SEEDS, statements: Vec::new() };
    let mut open: Vec<(usize, u64, Body)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let failed = |reason: String| ParseError { line: number, reason };
        let words = words(line).map_err(failed)?;
        let mut words = Words { words: words.into(), at: 0 };
        match words.peek() {
            None => continue,
            Some("fails") => {
                words.next();
                words.expect("with").map_err(failed)?;
                let name = words.word().map_err(failed)?;
                let mutant = Mutant::named(&name).ok_or_else(|| failed(format!("there is no mutant {name}")))?;
                scenario.notices.push(mutant);
            }
            Some("seeds") => {
                words.next();
                scenario.seeds = words.number().map_err(failed)?;
            }
            Some("repeat") => {
                words.next();
                open.push((number, words.number().map_err(failed)?, Vec::new()));
            }
            Some("end") => {
                words.next();
                let (line, times, body) = open.pop().ok_or_else(|| failed("nothing to end".to_owned()))?;
                let into = open.last_mut().map_or(&mut scenario.statements, |(.., body)| body);
                into.push((line, Statement::Repeat(times, body)));
            }
            Some(_) => {
                let statement = statement(&mut words).map_err(failed)?;
                let into = open.last_mut().map_or(&mut scenario.statements, |(.., body)| body);
                into.push((number, statement));
            }
        }
        if let Some(rest) = words.peek() {
            return Err(failed(format!("{rest} was not expected")));
        }
    }
    match open.pop() {
        Some((line, ..)) => Err(ParseError { line, reason: "this repeat has no end".to_owned() }),
        None => Ok(scenario),
    }
}

fn statement(words: &mut Words) -> Result<Statement, String> {
    let verb = words.word()?;
    Ok(match verb.as_str() {
        "start" => Statement::Start(words.number()?),
        "messages" => {
            words.expect("of")?;
            Statement::MessageBytes(words.number()?)
        }
        "trust" => Statement::Trust(words.number()?),
        "swap" => swap(words)?,
        "leave" if words.skip("at") => Statement::LeaveAt(words.number()?),
        "leave" => Statement::Leave,
        "elect" => Statement::Elect(words.number()?),
        "replicate" => Statement::Replicate(words.word()?),
        "propose" => Statement::Propose(words.number()?, words.word()?),
        "settle" => Statement::Settle,
        "partition" => partition(words)?,
        "cut" => {
            let (from, to) = words.direction()?;
            Statement::Cut(from, to)
        }
        "isolate" => Statement::Isolate(words.number()?),
        "heal" => Statement::Heal,
        "drop" => {
            let kind = words.word()?;
            words.expect("of")?;
            Statement::Drop { kind, from: words.number()? }
        }
        "shaky" => Statement::Shaky,
        "calm" => Statement::Calm,
        "step" => {
            let (first, last) = words.range()?;
            Statement::Step(first, last)
        }
        "slow" => Statement::Slow(words.number()?, words.number()?),
        "stop" => Statement::Stop(words.number()?),
        "crash" => Statement::Crash { id: words.number()?, bare: words.skip("bare") },
        "restart" => Statement::Restart(words.number()?),
        "campaign" => Statement::Campaign(words.number()?),
        "image" => Statement::Image(words.number()?),
        "rollback" => Statement::Rollback(words.number()?),
        "resume" => {
            let present = words.numbers();
            let cut = if words.skip("cut") { Some(words.range()?) } else { None };
            Statement::Resume { present, cut }
        }
        "mark" => {
            let name = words.word()?;
            words.expect("=")?;
            Statement::Mark(name, words.term()?)
        }
        "append" => {
            let (from, to) = words.direction()?;
            Statement::Append { from, to, at: words.labelled("at")?, view: words.labelled("view")? }
        }
        "nack" => {
            let (from, to) = words.direction()?;
            let (at, hint) = (words.labelled("at")?, words.labelled("hint")?);
            Statement::Nack { from, to, at, hint, view: words.labelled("view")? }
        }
        "read" => Statement::Read(words.number()?, words.word()?),
        "await" => {
            let what = condition(words)?;
            let ticks = if words.skip("within") { words.number()? } else { AWAIT_TICKS };
            Statement::Await { what, ticks }
        }
        "assert" => Statement::Assert(condition(words)?),
        other => return Err(format!("{other} is no statement")),
    })
}

fn swap(words: &mut Words) -> Result<Statement, String> {
    let (mut promote, mut remove) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        let id = word.get(1..).and_then(|id| id.parse().ok()).ok_or_else(|| format!("{word} is not +ID or -ID"))?;
        match word.chars().next() {
            Some('+') => promote.push(id),
            Some('-') => remove.push(id),
            _ => return Err(format!("{word} is not +ID or -ID")),
        }
    }
    Ok(Statement::Swap { promote, remove })
}

fn partition(words: &mut Words) -> Result<Statement, String> {
    let mut groups = vec![words.numbers()];
    while words.skip("|") {
        groups.push(words.numbers());
    }
    Ok(Statement::Partition(groups))
}

fn condition(words: &mut Words) -> Result<Condition, String> {
    Ok(match words.peek() {
        Some("no") => {
            words.next();
            words.expect("primary")?;
            Condition::NoPrimary
        }
        Some("primary") => {
            words.next();
            match words.skip("not") {
                true => Condition::PrimaryNot(words.number()?),
                false => words.number().map_or(Condition::AnyPrimary, Condition::Primary),
            }
        }
        Some("joint") => {
            words.next();
            Condition::Joint(words.number()?)
        }
        Some("removed") => {
            words.next();
            Condition::Removed(words.number()?)
        }
        Some("voters") => {
            words.next();
            words.expect("of")?;
            let at = words.number()?;
            words.expect("=")?;
            Condition::Voters(at, words.numbers())
        }
        Some("read") => {
            words.next();
            let name = words.word()?;
            let is = match words.word()?.as_str() {
                "open" => ReadIs::Open,
                "lost" => ReadIs::Lost,
                "confirmed" => ReadIs::Confirmed,
                other => return Err(format!("a read is open, lost or confirmed, not {other}")),
            };
            Condition::Read(name, is)
        }
        _ => {
            let left = words.term()?;
            let comparison = match words.word()?.as_str() {
                "<" => Comparison::Less,
                "=" => Comparison::Equal,
                ">=" => Comparison::AtLeast,
                "!=" => Comparison::Unequal,
                other => return Err(format!("{other} is no comparison")),
            };
            Condition::Compare(left, comparison, words.term()?)
        }
    })
}

/// The words of a line; a quoted text is one.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a text does not end")?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}

struct Words {
    words: Box<[String]>,
    at: usize,
}

impl Words {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Option<String> {
        let word = self.words.get(self.at).cloned();
        self.at += usize::from(word.is_some());
        word
    }

    fn word(&mut self) -> Result<String, String> {
        self.next().ok_or_else(|| "the line ends too early".to_owned())
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.skip(word) { Ok(()) } else { Err(format!("{word} was expected")) }
    }

    fn number(&mut self) -> Result<u64, String> {
        let number = self.peek().and_then(|word| word.parse().ok()).ok_or("a number was expected")?;
        self.at += 1;
        Ok(number)
    }

    fn numbers(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.number().ok()).collect()
    }

    fn range(&mut self) -> Result<(u64, u64), String> {
        let word = self.word()?;
        let (first, last) = word.split_once("..").unwrap_or((&word, &word));
        let number = |word: &str| word.parse().map_err(|_| format!("{word} is no number"));
        Ok((number(first)?, number(last)?))
    }

    fn direction(&mut self) -> Result<(u64, u64), String> {
        let from = self.number()?;
        self.expect(">")?;
        Ok((from, self.number()?))
    }

    fn labelled(&mut self, label: &str) -> Result<Term, String> {
        self.expect(label)?;
        self.term()
    }

    fn term(&mut self) -> Result<Term, String> {
        let word = self.word()?;
        let term = match word.as_str() {
            "last" => Term::Last(self.number()?),
            "committed" => Term::Committed(self.number()?),
            "view" => Term::View(self.number()?),
            "viewat" => Term::ViewAt(self.number()?, Box::new(self.term()?)),
            word => word.parse().map_or_else(|_| Term::Mark(word.to_owned()), Term::Number),
        };
        let offset = match self.peek() {
            Some("+1") => 1,
            Some("-1") => -1,
            _ => return Ok(term),
        };
        self.at += 1;
        Ok(Term::Plus(Box::new(term), offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_means_nothing_is_named() {
        let lines = [
            "dance",
            "start",
            "start 3 4",
            "repeat 2",
            "end",
            "cut 1 2",
            "fails with luck",
            "propose 1 \"x",
            "swap 4",
            "assert last 1 ~ 2",
        ];
        for line in lines {
            let text = format!("# a comment\n{line}\n");
            let error = scenario(&text).expect_err(line);
            assert_eq!(error.line, 2, "{line}: {error}");
        }
    }

    #[test]
    fn loops_and_terms_nest() {
        let text =
            "seeds 3\nfails with drops-strangers\nrepeat 2\nstep 1..4 # some\nmark a = viewat 1 last 1 -1\nend\n";
        let parsed = scenario(text).unwrap();
        assert_eq!((parsed.seeds, &*parsed.notices), (3, &[Mutant::DropsStrangers][..]));
        let [(3, Statement::Repeat(2, body))] = &*parsed.statements else { panic!("{parsed:?}") };
        assert_eq!(body[0], (4, Statement::Step(1, 4)));
        let last = Term::Plus(Box::new(Term::Last(1)), -1);
        assert_eq!(body[1].1, Statement::Mark("a".to_owned(), Term::ViewAt(1, Box::new(last))));
    }
}
