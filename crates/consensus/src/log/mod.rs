//! The consensus log: `raft.log` on disk, a compact index of it in memory, and the newest batches.
//!
//! One append-only file of [`record`]s. An entry with an index that is there already replaces it and voids all above.
//! The bytes of batches are in the [`BatchStore`]; an entry here costs about 70 bytes on disk and 40 in memory.
//!
//! What it deliberately does not do: sync (the shell does, see [`crate::Persist`]), except while opening or resuming.

mod cache;
mod compaction;
mod durable;
mod record;
mod recovery;
mod storage;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use coco_disk::Disk;
use coco_types::{ReplicaId, Seqno, View};

use crate::checksum::checksum;
use crate::{BatchError, BatchSpan, BatchStore, EntryKind, SnapshotMark, StartPoint};
use cache::Cache;
use record::{EntryRecord, Payload, Record};

pub use durable::durable_seqno;
pub(crate) use record::State;

/// The name of the log's file on the consensus disk.
pub const LOG_FILE: &str = "raft.log";

pub(crate) struct RaftLog {
    disk: Arc<dyn Disk>,
    batches: Box<dyn BatchStore>,
    start: StartPoint,
    /// Entry `start.index + 1 + i` is `items[i]`.
    items: Vec<Item>,
    memberships: BTreeMap<u64, Bytes>,
    state: State,
    removed: BTreeSet<ReplicaId>,
    cache: Cache,
    file_len: u64,
    synced_len: u64,
    /// Records of the current round, written by [`RaftLog::flush`].
    buffer: Vec<u8>,
    batches_changed: bool,
    truncated: Option<Seqno>,
    /// The raft crate reads through `&self` and cannot be told of failures: they are kept for the next output.
    read_error: Cell<Option<io::Error>>,
    snapshots_wanted: RefCell<BTreeSet<ReplicaId>>,
    /// What a replica is offered that lacks what lies before the start.
    snapshot: Option<SnapshotMark>,
}

#[derive(Clone, Copy)]
struct Item {
    view: View,
    /// The last transaction at or below this entry.
    last: Seqno,
    checksum: u64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Empty,
    Membership,
    Batch,
}

/// What an entry carries, on its way in.
pub(crate) enum Content {
    Empty,
    Membership(Bytes),
    Batch(Bytes),
}

impl RaftLog {
    pub(crate) fn start(&self) -> &StartPoint {
        &self.start
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn removed(&self) -> &BTreeSet<ReplicaId> {
        &self.removed
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.start.index + self.items.len() as u64
    }

    pub(crate) fn last_view(&self) -> View {
        self.items.last().map_or(self.start.view, |item| item.view)
    }

    /// The view of an entry, or of the start point.
    pub(crate) fn view_at(&self, index: u64) -> Option<View> {
        if index == self.start.index { Some(self.start.view) } else { self.item(index).map(|item| item.view) }
    }

    /// The last transaction at or below an entry, or the start point.
    pub(crate) fn seqno_at(&self, index: u64) -> Option<Seqno> {
        if index == self.start.index { Some(self.start.seqno) } else { self.item(index).map(|item| item.last) }
    }

    pub(crate) fn kind_at(&self, index: u64) -> Option<EntryKind> {
        Some(match self.item(index)?.kind {
            Kind::Empty => EntryKind::Empty,
            Kind::Membership => EntryKind::Membership,
            Kind::Batch => EntryKind::Batch(self.span_at(index)?),
        })
    }

    pub(crate) fn membership_at(&self, index: u64) -> Option<&Bytes> {
        self.memberships.get(&index)
    }

    /// The bytes that entry `index` carries.
    pub(crate) fn content_at(&self, index: u64) -> io::Result<Content> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no entry {index}"));
        match self.item(index).ok_or_else(missing)?.kind {
            Kind::Empty => Ok(Content::Empty),
            Kind::Membership => self.memberships.get(&index).cloned().map(Content::Membership).ok_or_else(missing),
            Kind::Batch => {
                if let Some(bytes) = self.cache.get(index) {
                    return Ok(Content::Batch(bytes));
                }
                self.batches.read(self.span_at(index).ok_or_else(missing)?).map(Content::Batch)
            }
        }
    }

    pub(crate) fn check_batch(&self, bytes: &[u8]) -> Result<BatchSpan, BatchError> {
        self.batches.check(bytes)
    }

    pub(crate) fn misrooted(&self, after: Seqno, batches: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
        self.batches.misrooted(after, batches)
    }

    pub(crate) fn untimely(&self, batches: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
        self.batches.untimely(batches)
    }

    /// Appends an entry directly behind `index - 1`; what was at or above `index` is void.
    pub(crate) fn append(&mut self, index: u64, view: View, content: Content) -> io::Result<()> {
        if index <= self.last_index() {
            self.truncate_from(index)?;
        }
        assert_eq!(index, self.last_index() + 1, "entries are appended without a gap");
        let before = self.seqno_at(index - 1).unwrap_or(self.start.seqno);
        let (item, payload) = match content {
            Content::Empty => (Item { view, last: before, checksum: 0, kind: Kind::Empty }, Payload::Empty),
            Content::Membership(bytes) => {
                let payload = Payload::Membership(bytes.to_vec());
                self.memberships.insert(index, bytes);
                (Item { view, last: before, checksum: 0, kind: Kind::Membership }, payload)
            }
            Content::Batch(bytes) => {
                let span = self.batches.append(&bytes)?;
                self.batches_changed = true;
                let sum = checksum(0, &bytes);
                self.cache.insert(index, bytes);
                let item = Item { view, last: span.last, checksum: sum, kind: Kind::Batch };
                (item, Payload::Batch { last: span.last, checksum: sum })
            }
        };
        self.items.push(item);
        self.push(&Record::Entry(EntryRecord { index, view, payload }));
        Ok(())
    }

    pub(crate) fn set_state(&mut self, state: State) {
        if state != self.state {
            self.push(&Record::State(state.clone()));
            self.state = state;
        }
    }

    pub(crate) fn set_removed(&mut self, id: ReplicaId) {
        if self.removed.insert(id) {
            self.push(&Record::Removed(id));
        }
    }

    /// Voids every entry from `index` on, and cuts their transactions from the batch store.
    fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        assert!(index > self.start.index, "the log is never cut below its start");
        let kept = usize::try_from(index - self.start.index - 1).expect("the index fits the memory it is in");
        let last = self.seqno_at(index - 1).unwrap_or(self.start.seqno);
        self.items.truncate(kept);
        self.memberships.split_off(&index);
        self.cache.truncate_from(index);
        if self.batches.last() > last {
            self.sync_cut(index - 1)?;
            self.batches.truncate_after(last)?;
            self.batches_changed = true;
            let first_removed = last.next();
            self.truncated = Some(self.truncated.map_or(first_removed, |lowest| lowest.min(first_removed)));
        }
        Ok(())
    }

    /// Voids the entries above `after` on disk too.
    pub(crate) fn cut_after(&mut self, after: u64) -> io::Result<()> {
        self.push(&Record::Cut { after });
        self.truncate_from(after + 1)
    }

    /// Durable before the ledger loses a batch: otherwise a crash could leave a synced entry whose batch is gone, which is
    /// what damage looks like. Happens only when a new primary's log differs, so the wait does not matter.
    fn sync_cut(&mut self, after: u64) -> io::Result<()> {
        self.push(&Record::Cut { after });
        self.flush_log()?;
        self.disk.sync(LOG_FILE)
    }

    /// Writes what was appended since the last call. `Some(batches)` if anything has to be synced now.
    pub(crate) fn flush(&mut self) -> io::Result<Option<FlushedFiles>> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.flush_log()?;
        let batches = std::mem::take(&mut self.batches_changed);
        Ok(Some(FlushedFiles { batches, len: self.file_len }))
    }

    fn flush_log(&mut self) -> io::Result<()> {
        self.disk.write(LOG_FILE, self.file_len, &self.buffer)?;
        self.file_len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The file is durable up to here.
    pub(crate) fn set_synced(&mut self, len: u64) {
        self.synced_len = self.synced_len.max(len);
    }

    /// Writes and syncs everything at once: while opening and resuming.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.batches.sync()?;
        self.flush()?;
        self.disk.sync(LOG_FILE)?;
        self.synced_len = self.file_len;
        self.batches_changed = false;
        Ok(())
    }

    pub(crate) fn take_truncated(&mut self) -> Option<Seqno> {
        self.truncated.take()
    }

    pub(crate) fn take_read_error(&mut self) -> Option<io::Error> {
        self.read_error.take()
    }

    pub(crate) fn set_snapshot(&mut self, mark: SnapshotMark) {
        self.snapshot = Some(mark);
    }

    pub(crate) fn take_snapshots_wanted(&mut self) -> BTreeSet<ReplicaId> {
        self.snapshots_wanted.take()
    }

    pub(crate) fn into_batches(self) -> Box<dyn BatchStore> {
        self.batches
    }

    fn push(&mut self, record: &Record) {
        let offset = self.file_len + self.buffer.len() as u64;
        record.encode(&mut self.buffer, offset, self.synced_len);
    }

    fn item(&self, index: u64) -> Option<&Item> {
        let position = index.checked_sub(self.start.index)?.checked_sub(1)?;
        self.items.get(usize::try_from(position).ok()?)
    }

    fn span_at(&self, index: u64) -> Option<BatchSpan> {
        let item = self.item(index)?;
        let first = self.seqno_at(index - 1)?.next();
        (item.kind == Kind::Batch).then_some(BatchSpan { first, last: item.last, view: item.view })
    }
}

/// What a flush wrote.
pub(crate) struct FlushedFiles {
    /// The batch store has unsynced changes as well.
    pub batches: bool,
    /// The log's length behind the write.
    pub len: u64,
}
