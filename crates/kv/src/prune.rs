//! Dropping versions that nobody can see any more.
//!
//! Each write that supersedes an earlier version leaves one item here once it is committed. A snapshot sees the superseded
//! version if it lies between the two. Then the item waits with the newest such snapshot, because the oldest usually goes
//! first, and is looked at again when that one is gone. Nothing is ever searched: work is in proportion to what was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use coco_types::Seqno;

use crate::cell::Cell;
use crate::map::Map;

/// Items looked at under one hold of a map's lock.
const ITEMS_PER_LOCK: usize = 128;
/// Items left by dropped snapshots that one commit looks at, beyond as many as it brings itself: letting go of an old
/// snapshot must not make one commit long.
const BACKLOG_ITEMS_PER_COMMIT: usize = 2048;

/// What a version wrote to a key.
pub(crate) struct Touched {
    pub version: Seqno,
    pub map: Arc<Map>,
    pub cell: Cell,
    pub superseded: Option<Seqno>,
}

#[derive(Default)]
pub(crate) struct Pruner {
    /// By the snapshot that keeps them.
    kept: BTreeMap<Seqno, Vec<Touched>>,
    /// Of snapshots that are gone.
    backlog: Vec<Vec<Touched>>,
}

impl Pruner {
    /// Takes the superseding writes of newly committed versions. `live`: the versions of all snapshots, ascending, as of when
    /// these versions were committed; no later snapshot sees what they superseded.
    pub fn run(&mut self, committed: Vec<Touched>, live: &[Seqno]) {
        self.collect_from_dropped(live);
        let mut allowance = committed.len() + BACKLOG_ITEMS_PER_COMMIT;
        self.examine(committed, live);
        while allowance > 0 {
            let Some(items) = self.backlog.last_mut() else { break };
            let from = items.len().saturating_sub(allowance);
            let some = items.split_off(from);
            if items.is_empty() {
                self.backlog.pop();
            }
            allowance -= some.len();
            self.examine(some, live);
        }
    }

    fn collect_from_dropped(&mut self, live: &[Seqno]) {
        let dropped = self.kept.extract_if(.., |snapshot, _| live.binary_search(snapshot).is_err());
        self.backlog.extend(dropped.map(|(_, items)| items));
    }

    fn examine(&mut self, items: Vec<Touched>, live: &[Seqno]) {
        let mut unseen = Vec::with_capacity(items.len());
        for item in items {
            let Some(superseded) = item.superseded else { continue };
            match newest_between(live, superseded, item.version) {
                Some(snapshot) => self.kept.entry(snapshot).or_default().push(item),
                None => unseen.push((item, superseded)),
            }
        }
        let mut unseen = unseen.into_iter().peekable();
        while let Some((first, _)) = unseen.peek() {
            let map = Arc::clone(&first.map);
            let mut index = map.index.write();
            for _ in 0..ITEMS_PER_LOCK {
                let Some((item, superseded)) = unseen.next_if(|(item, _)| Arc::ptr_eq(&item.map, &map)) else { break };
                index.drop_superseded(item.cell.key(), superseded);
            }
        }
    }
}

/// The newest of the `live` versions (ascending) that is at least `from` and below `to`.
fn newest_between(live: &[Seqno], from: Seqno, to: Seqno) -> Option<Seqno> {
    let below = live.partition_point(|snapshot| *snapshot < to);
    live[..below].last().copied().filter(|snapshot| *snapshot >= from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_seen_by_snapshots_from_itself_to_before_the_next() {
        let live = [Seqno(2), Seqno(4), Seqno(6)];
        let between = |from, to| newest_between(&live, Seqno(from), Seqno(to)).map(|snapshot| snapshot.0);
        assert_eq!(between(2, 3), Some(2));
        assert_eq!(between(1, 6), Some(4));
        assert_eq!(between(3, 4), None);
        assert_eq!(between(7, 9), None);
        assert_eq!(between(0, 2), None);
    }
}
