//! Names of chunk files.

use std::fmt;

use coco_types::Seqno;

const PREFIX: &str = "ledger_";
const COMMITTED: &str = ".committed";

/// `ledger_<first>` (open), `ledger_<first>-<last>` (complete), `ledger_<first>-<last>.committed`.
///
/// Coco writes the first and the last form; the middle one is CCF's, and readable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkName {
    pub first: Seqno,
    pub last: Option<Seqno>,
    pub committed: bool,
}

impl ChunkName {
    pub fn open(first: Seqno) -> Self {
        Self { first, last: None, committed: false }
    }

    pub fn committed(first: Seqno, last: Seqno) -> Self {
        Self { first, last: Some(last), committed: true }
    }

    /// `None` for files that are no chunks, or were set aside (`.recovery`, `.ignored`).
    pub fn parse(name: &str) -> Option<Self> {
        let range = name.strip_prefix(PREFIX)?;
        let (range, committed) = range.strip_suffix(COMMITTED).map_or((range, false), |range| (range, true));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (first, Some(last.parse().ok().map(Seqno)?)),
            None => (range, None),
        };
        let parsed = Self { first: Seqno(first.parse().ok()?), last, committed };
        let ends = parsed.last.unwrap_or(parsed.first);
        let in_range = parsed.first.0 > 0 && (parsed.first..=Seqno::MAX).contains(&ends);
        (in_range && parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.first)?;
        if let Some(last) = self.last {
            write!(f, "-{last}")?;
        }
        if self.committed { f.write_str(COMMITTED) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_text_form_and_other_files_have_none() {
        for name in ["ledger_1", "ledger_1-9", "ledger_10-10.committed"] {
            assert_eq!(ChunkName::parse(name).unwrap().to_string(), name);
        }
        for name in [
            "ledger_",
            "ledger_0",
            "ledger_01",
            "ledger_+1",
            "ledger_9-1",
            "ledger_1.ignored",
            "merkle.ignored",
            "ledger_1-",
            "ledger_72057594037927937",
            "ledger_1-18446744073709551615.committed",
        ] {
            assert_eq!(ChunkName::parse(name), None, "{name}");
        }
    }
}
