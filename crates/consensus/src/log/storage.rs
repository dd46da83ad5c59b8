//! The raft crate's view of the log.
//!
//! Payloads are read only for sending. Where the crate merely looks at entries (committed ones, or a search for membership
//! changes) batches come without bytes: their kind is looked up in the log afterwards.

use bytes::Bytes;
use coco_types::ReplicaId;
use raft::eraftpb::{Entry, EntryType, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::{Content, Kind, RaftLog, State};
use crate::{SnapshotMark, snapshots};

impl Storage for RaftLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let State { view, vote, commit, .. } = self.state;
        let hard_state = HardState { term: view.0, vote, commit, ..HardState::default() };
        Ok(RaftState::new(hard_state, self.state.membership.to_conf_state()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let to_send = context.can_async();
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in low..high {
            let item = self.item(index).ok_or(StorageError::Unavailable)?;
            let mut entry = Entry { index, term: item.view.0, ..Entry::default() };
            if item.kind == Kind::Membership {
                entry.set_entry_type(EntryType::EntryConfChangeV2);
            }
            if to_send || item.kind == Kind::Membership {
                match self.content_at(index) {
                    Ok(Content::Empty) => {}
                    Ok(Content::Membership(data) | Content::Batch(data)) => entry.data = data,
                    Err(error) => return self.unreadable(error, entries),
                }
            }
            bytes += size(&entry.data);
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.view_at(index) {
            Some(view) => Ok(view.0),
            None if index < self.start.index => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(RaftLog::last_index(self))
    }

    /// An offer: the state itself does not travel with it.
    fn snapshot(&self, _request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let Some(SnapshotMark { start, note }) = &self.snapshot else {
            self.snapshots_wanted.borrow_mut().insert(ReplicaId(to));
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (start.index, start.view.0);
        metadata.set_conf_state(start.membership.to_conf_state());
        snapshot.set_data(snapshots::data(self.start.index + 1, note));
        Ok(snapshot)
    }
}

impl RaftLog {
    /// Any other error would make the crate panic; this one makes it wait, and the replica ends with the next output.
    fn unreadable(&self, error: std::io::Error, read: Vec<Entry>) -> raft::Result<Vec<Entry>> {
        self.read_error.set(Some(error));
        if read.is_empty() { Err(StorageError::LogTemporarilyUnavailable.into()) } else { Ok(read) }
    }
}

/// As the crate counts.
fn size(data: &Bytes) -> u64 {
    data.len() as u64 + 12
}
