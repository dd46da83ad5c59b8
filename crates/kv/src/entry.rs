//! One key and its versions.
//!
//! The newest version sits inline, because nearly every read and write wants it. Older ones are kept only while an
//! uncommitted version or a live snapshot needs them, in order, so that even a counter written by every transaction of a
//! long uncommitted run is read at an old version by binary search.

use std::collections::VecDeque;

use coco_types::Seqno;

use crate::cell::Cell;

/// What one version wrote to a key.
pub(crate) struct Record {
    pub version: Seqno,
    pub cell: Cell,
}

pub(crate) struct Entry {
    newest: Record,
    older: Option<Box<Older>>,
}

/// The records below the newest. Most keys that have any have one, and then this is one allocation.
struct Older {
    last: Record,
    /// Ascending by version, all below `last`.
    before: VecDeque<Record>,
}

impl Entry {
    pub fn new(version: Seqno, cell: Cell) -> Self {
        Self { newest: Record { version, cell }, older: None }
    }

    pub fn key(&self) -> &[u8] {
        self.newest.cell.key()
    }

    pub fn newest(&self) -> &Record {
        &self.newest
    }

    /// The record that the newest stands above.
    pub fn last_superseded(&self) -> Option<&Record> {
        self.older.as_ref().map(|older| &older.last)
    }

    /// The record that a reader at `version` sees: the last one not above it.
    pub fn at(&self, version: Seqno) -> Option<&Record> {
        if self.newest.version <= version {
            return Some(&self.newest);
        }
        let older = self.older.as_ref()?;
        if older.last.version <= version {
            return Some(&older.last);
        }
        older.before_up_to(version)
    }

    pub fn supersede(&mut self, version: Seqno, cell: Cell) {
        debug_assert!(self.newest.version <= version);
        let previous = std::mem::replace(&mut self.newest, Record { version, cell });
        match &mut self.older {
            None => self.older = Some(Box::new(Older { last: previous, before: VecDeque::new() })),
            Some(older) => {
                let before = std::mem::replace(&mut older.last, previous);
                older.before.push_back(before);
            }
        }
    }

    /// Takes back what `version` wrote. `None`: it was the only record, and the entry must go.
    pub fn withdraw(&mut self, version: Seqno) -> Option<Record> {
        assert_eq!(self.newest.version, version, "versions are rolled back newest first");
        let previous = self.take_last_older()?;
        Some(std::mem::replace(&mut self.newest, previous))
    }

    /// Drops the superseded record of this version, if it is there.
    pub fn drop_superseded(&mut self, version: Seqno) -> Option<Record> {
        let older = self.older.as_mut()?;
        if older.last.version == version {
            return self.take_last_older();
        }
        let at = older.before.binary_search_by_key(&version, |record| record.version).ok()?;
        older.before.remove(at)
    }

    fn take_last_older(&mut self) -> Option<Record> {
        let older = self.older.as_mut()?;
        if let Some(before) = older.before.pop_back() {
            return Some(std::mem::replace(&mut older.last, before));
        }
        self.older.take().map(|older| older.last)
    }

    /// A removal with nothing beneath it reads like no entry at all. Its removal is committed: what an uncommitted one
    /// supersedes is kept.
    pub fn is_lone_removal(&self) -> bool {
        self.older.is_none() && !self.newest.cell.has_value()
    }
}

impl Older {
    /// The last of `before` not above `version`.
    fn before_up_to(&self, version: Seqno) -> Option<&Record> {
        let after = self.before.partition_point(|record| record.version <= version);
        self.before.get(after.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written_at(versions: &[u64]) -> Entry {
        let cell = |version: &u64| Cell::new(b"key", Some(&version.to_be_bytes()));
        let (first, rest) = versions.split_first().expect("at least one version");
        let mut entry = Entry::new(Seqno(*first), cell(first));
        for version in rest {
            entry.supersede(Seqno(*version), cell(version));
        }
        entry
    }

    fn seen(entry: &Entry, version: u64) -> Option<u64> {
        entry.at(Seqno(version)).map(|record| record.version.0)
    }

    #[test]
    fn a_reader_sees_the_last_version_not_above_its_own() {
        let entry = written_at(&[3, 5, 9]);
        let seen: Vec<_> = (2..=10).map(|version| seen(&entry, version)).collect();
        assert_eq!(seen, [None, Some(3), Some(3), Some(5), Some(5), Some(5), Some(5), Some(9), Some(9)]);
    }

    #[test]
    fn any_superseded_record_can_go_and_the_others_stay() {
        let all = [3, 5, 7, 9];
        for gone in [3, 5, 7] {
            let mut entry = written_at(&all);
            assert!(entry.drop_superseded(Seqno(gone)).is_some_and(|record| record.version == Seqno(gone)));
            assert!(entry.drop_superseded(Seqno(gone)).is_none());
            for version in all {
                let expected =
                    if version == gone { all.into_iter().rfind(|other| *other < gone) } else { Some(version) };
                assert_eq!(seen(&entry, version), expected);
            }
        }
    }

    #[test]
    fn the_newest_record_is_not_superseded() {
        assert!(written_at(&[3]).drop_superseded(Seqno(3)).is_none());
        assert!(written_at(&[3, 5]).drop_superseded(Seqno(5)).is_none());
    }
}
