//! Dropping versions that nobody can see any more.
//!
//! Each write that supersedes an earlier version leaves one item here once it is committed. An item is looked at then, and
//! again only when the snapshot goes that kept the superseded version; it is kept with the newest snapshot that sees it,
//! because the oldest usually goes first. Nothing is ever searched: work is in proportion to what was written.

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
    pub supersedes: bool,
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
        let mut items = items.into_iter().peekable();
        while let Some(first) = items.peek() {
            let map = Arc::clone(&first.map);
            let mut index = map.index.write();
            for _ in 0..ITEMS_PER_LOCK {
                let Some(item) = items.next_if(|item| Arc::ptr_eq(&item.map, &map)) else { break };
                if let Some(snapshot) = index.release(item.cell.key(), item.version, live) {
                    self.kept.entry(snapshot).or_default().push(item);
                }
            }
        }
    }
}
