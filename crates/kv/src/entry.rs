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

/// What became of a superseded record.
pub(crate) enum Released {
    /// Still visible to the live snapshot at this version, the newest of those that see it.
    SeenBy(Seqno),
    Dropped(Record),
    /// It went before.
    Nothing,
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

    /// Drops the record that the committed version `by` superseded, unless one of the `live` snapshots (ascending) sees it.
    ///
    /// Records between it and `by` may already be gone. That leaves the answer as it is: they went because no snapshot saw them.
    pub fn release(&mut self, by: Seqno, live: &[Seqno]) -> Released {
        let Some(older) = &mut self.older else { return Released::Nothing };
        let (record, at) = if older.last.version < by {
            (&older.last, None)
        } else {
            let Some(at) = older.before.partition_point(|record| record.version < by).checked_sub(1) else {
                return Released::Nothing;
            };
            (&older.before[at], Some(at))
        };
        let seen_by = live.partition_point(|snapshot| *snapshot < by).checked_sub(1).map(|newest| live[newest]);
        if let Some(snapshot) = seen_by.filter(|snapshot| *snapshot >= record.version) {
            return Released::SeenBy(snapshot);
        }
        let dropped = match at {
            Some(at) => older.before.remove(at),
            None => self.take_last_older(),
        };
        Released::Dropped(dropped.expect("the record was just looked at"))
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
    fn a_record_stays_while_a_snapshot_sees_it_and_is_charged_to_the_newest_one() {
        let mut entry = written_at(&[3, 7]);
        let live = [Seqno(2), Seqno(4), Seqno(6), Seqno(7)];
        assert!(matches!(entry.release(Seqno(7), &live), Released::SeenBy(Seqno(6))));
        assert!(matches!(
            entry.release(Seqno(7), &[Seqno(2), Seqno(7)]),
            Released::Dropped(Record { version: Seqno(3), .. })
        ));
        assert_eq!(seen(&entry, 6), None);
        assert_eq!(seen(&entry, 7), Some(7));
    }

    #[test]
    fn records_between_two_snapshots_go_although_an_older_snapshot_lives() {
        let mut entry = written_at(&[1, 2, 3, 4]);
        for by in [2, 3, 4] {
            let _ = entry.release(Seqno(by), &[Seqno(1)]);
        }
        assert_eq!((seen(&entry, 1), seen(&entry, 3), seen(&entry, 4)), (Some(1), Some(1), Some(4)));
    }
}
