//! Dropping versions that nobody can see any more.
//!
//! What a version wrote to a map comes here once it is committed. A snapshot sees the version that a write superseded if it lies
//! between the two. Then the write waits with the newest such snapshot, because the oldest usually goes first, and is looked
//! at again when that one is gone. Nothing is ever searched: work is in proportion to what was written. Writes are kept in runs
//! that share a version, a map and a fate, so that each costs little more than its key.

use std::collections::BTreeMap;
use std::iter::from_fn;
use std::sync::Arc;

use coco_types::Seqno;

use crate::index::KEYS_PER_LOCK;
use crate::map::Map;

/// Writes left by dropped snapshots that one commit looks at, beyond as many as it brings itself: letting go of an old
/// snapshot must not make one commit long.
const BACKLOG_WRITES_PER_COMMIT: usize = 2048;

/// What a version wrote to some keys of one map.
pub(crate) struct Touched {
    pub version: Seqno,
    pub map: Arc<Map>,
    pub writes: Vec<Write>,
}

/// One of them. The key is a copy: counting owners of a cell would make the processor wait for the stores that fill it.
pub(crate) struct Write {
    pub key: Box<[u8]>,
    /// The version it stands above, if any: that can go once this one is committed.
    pub superseded: Option<Seqno>,
}

#[derive(Default)]
pub(crate) struct Pruner {
    /// By the snapshot that keeps them.
    kept: BTreeMap<Seqno, Vec<Touched>>,
    /// Of snapshots that are gone.
    backlog: Vec<Touched>,
}

impl Pruner {
    /// Takes the superseding writes of newly committed versions. `live`: the versions of all snapshots, ascending, as of when
    /// these versions were committed; no later snapshot sees what they superseded.
    pub fn run(&mut self, committed: Vec<Touched>, live: &[Seqno]) {
        self.collect_from_dropped(live);
        let brought: usize = committed.iter().map(|touched| touched.writes.len()).sum();
        let mut allowance = brought + BACKLOG_WRITES_PER_COMMIT;
        for touched in committed {
            self.examine(touched, live);
        }
        while allowance > 0 {
            let Some(touched) = self.backlog.last_mut() else { break };
            let from = touched.writes.len().saturating_sub(allowance);
            let some = Touched {
                version: touched.version,
                map: Arc::clone(&touched.map),
                writes: touched.writes.split_off(from),
            };
            if touched.writes.is_empty() {
                self.backlog.pop();
            }
            allowance -= some.writes.len();
            self.examine(some, live);
        }
    }

    fn collect_from_dropped(&mut self, live: &[Seqno]) {
        let dropped = self.kept.extract_if(.., |snapshot, _| live.binary_search(snapshot).is_err());
        self.backlog.extend(dropped.flat_map(|(_, touched)| touched));
    }

    fn examine(&mut self, touched: Touched, live: &[Seqno]) {
        let Touched { version, map, writes } = touched;
        let mut writes = writes.into_iter().peekable();
        while let Some(first) = writes.peek() {
            let Some(superseded) = first.superseded else {
                writes.next();
                continue;
            };
            // Neighbours mostly share their fate.
            match newest_between(live, superseded, version) {
                Some(snapshot) => {
                    let shared = |write: &Write| {
                        let between = |superseded| newest_between(live, superseded, version) == Some(snapshot);
                        write.superseded.is_some_and(between)
                    };
                    let kept = from_fn(|| writes.next_if(shared)).collect();
                    let kept = Touched { version, map: Arc::clone(&map), writes: kept };
                    self.kept.entry(snapshot).or_default().push(kept);
                }
                None => {
                    let unseen = |write: &Write| {
                        let unseen = |superseded| newest_between(live, superseded, version).is_none();
                        write.superseded.is_some_and(unseen)
                    };
                    let some: Vec<_> = from_fn(|| writes.next_if(unseen)).take(KEYS_PER_LOCK).collect();
                    drop_superseded(&map, &some);
                }
            }
        }
    }
}

fn drop_superseded(map: &Map, writes: &[Write]) {
    let keys: Vec<&[u8]> = writes.iter().map(|write| &*write.key).collect();
    for entry in map.index.read().preload(&keys) {
        if let Some(record) = entry.last_superseded() {
            record.cell.touch();
        }
    }
    let mut index = map.index.write();
    for write in writes {
        if let Some(superseded) = write.superseded {
            index.drop_superseded(&write.key, superseded);
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
