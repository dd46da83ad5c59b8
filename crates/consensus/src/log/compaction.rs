//! Beginning the log anew: cut below a snapshot that was taken here, or replaced by one that came from elsewhere.
//!
//! The new file is written beside the old one, synced, and then takes its name: a crash leaves one or the other.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use coco_disk::Disk;
use coco_types::ReplicaId;

use super::record::{EntryRecord, MAGIC, Payload, Record};
use super::recovery::scan;
use super::{Kind, LOG_FILE, RaftLog, State};
use crate::{BatchStore, Error, StartPoint};

impl RaftLog {
    /// Forgets every entry up to `start`, which is applied. `persisted` is the last entry known to be durable with its batch: of
    /// what lies above, the new file claims no more than the old one did.
    pub(crate) fn compact(&mut self, start: StartPoint, persisted: u64) -> io::Result<()> {
        assert!(self.start.index < start.index && start.index <= self.state.applied, "only what is applied is cut");
        assert!(!self.batches_changed, "entries are flushed with the round that appends them");
        let mut file = Writer::new(start.clone(), &self.removed);
        for index in start.index + 1..=self.last_index() {
            file.push(&Record::Entry(self.record_at(index)), 0);
            if index == persisted {
                file.synced = file.bytes.len() as u64;
            }
        }
        let synced = file.synced;
        file.push(&Record::State(self.state.clone()), synced);
        self.disk.replace(LOG_FILE, &file.bytes)?;
        let dropped = usize::try_from(start.index - self.start.index).expect("the index fits the memory it is in");
        self.items.drain(..dropped);
        self.memberships = self.memberships.split_off(&(start.index + 1));
        self.start = start;
        self.buffer.clear();
        (self.file_len, self.synced_len) = (file.bytes.len() as u64, synced);
        Ok(())
    }

    fn record_at(&self, index: u64) -> EntryRecord {
        let item = self.item(index).expect("every entry of the log has one");
        let payload = match item.kind {
            Kind::Empty => Payload::Empty,
            Kind::Membership => Payload::Membership(self.memberships[&index].to_vec()),
            Kind::Batch => Payload::Batch { last: item.last, checksum: item.checksum },
        };
        EntryRecord { index, view: item.view, payload }
    }

    /// Whether the log on this disk holds an entry, or begins with it; `false` if there is no log.
    pub(crate) fn holds(disk: &Arc<dyn Disk>, batches: Box<dyn BatchStore>, start: &StartPoint) -> Result<bool, Error> {
        let Some(log) = Self::resting(disk, batches)? else { return Ok(false) };
        let (index, ours) = (start.index, log.view_at(start.index));
        if let Some(ours) = ours.filter(|ours| *ours != start.view && index <= log.state.commit) {
            return Err(Error::ResumeConflict { index, ours, theirs: Some(start.view) });
        }
        Ok(index < log.start.index || ours == Some(start.view))
    }

    /// Replaces the log of this disk by one that begins at a snapshot, and keeps what the replica has promised: term and vote.
    pub(crate) fn install(
        disk: &Arc<dyn Disk>,
        batches: Box<dyn BatchStore>,
        id: ReplicaId,
        start: StartPoint,
        removed: &BTreeSet<ReplicaId>,
    ) -> Result<(), Error> {
        let old = Self::resting(disk, batches)?;
        let promised = old.as_ref().map(|log| log.state().clone()).unwrap_or_default();
        let mut removed = removed.clone();
        removed.extend(old.iter().flat_map(|log| log.removed()).filter(|other| **other != id));
        let state = State {
            view: promised.view.max(start.view),
            vote: if promised.view >= start.view { promised.vote } else { 0 },
            commit: start.index,
            applied: start.index,
            was_member: promised.was_member || start.membership.contains(id),
            membership: start.membership.clone(),
        };
        let mut file = Writer::new(start, &removed);
        file.push(&Record::State(state), 0);
        Ok(disk.replace(LOG_FILE, &file.bytes)?)
    }

    /// As it is in the file, whatever the ledger holds; `None` if there is none.
    pub(crate) fn resting(disk: &Arc<dyn Disk>, batches: Box<dyn BatchStore>) -> Result<Option<Self>, Error> {
        if disk.exists(LOG_FILE)? { Self::read(disk, batches).map(Some) } else { Ok(None) }
    }

    fn read(disk: &Arc<dyn Disk>, batches: Box<dyn BatchStore>) -> Result<Self, Error> {
        let scan = scan(&disk.read_all(LOG_FILE)?)?;
        let mut log = Self::empty(Arc::clone(disk), batches, scan.start, 0);
        let mut offsets = Vec::new();
        for (offset, record) in scan.records {
            log.replay(offset, record, &mut offsets)?;
        }
        Ok(log)
    }
}

struct Writer {
    bytes: Vec<u8>,
    synced: u64,
}

impl Writer {
    fn new(start: StartPoint, removed: &BTreeSet<ReplicaId>) -> Self {
        let mut file = Self { bytes: MAGIC.to_vec(), synced: 0 };
        file.push(&Record::Start(start), 0);
        removed.iter().for_each(|id| file.push(&Record::Removed(*id), 0));
        file.synced = file.bytes.len() as u64;
        file
    }

    fn push(&mut self, record: &Record, synced: u64) {
        let offset = self.bytes.len() as u64;
        record.encode(&mut self.bytes, offset, synced);
    }
}
