//! A snapshot that is being taken: from a version of the state that stays as it is, piece by piece.

use std::collections::VecDeque;
use std::sync::Arc;

use coco_crypto::Crypto;
use coco_disk::Disk;
use coco_kv::{Scan, Snapshot};
use coco_ledger::{EntryKeys, Error, SnapshotHead, SnapshotWriter};
use coco_types::MapName;

use super::{Kept, SnapshotJob};

/// Records looked at in one step, if they do not fill a piece.
const RECORDS_A_STEP: usize = 4_096;

pub struct Taking {
    head: SnapshotHead,
    state: Snapshot,
    writer: SnapshotWriter,
    /// Still to be written.
    maps: VecDeque<MapName>,
    scan: Option<(MapName, Scan)>,
}

pub enum Step {
    More(Box<Taking>),
    Done(Kept),
}

impl Taking {
    pub fn begin(disk: Arc<dyn Disk>, keys: &EntryKeys, crypto: &dyn Crypto, job: SnapshotJob) -> Result<Self, Error> {
        let SnapshotJob { head, state } = job;
        let writer = SnapshotWriter::create(disk, keys, crypto, &head)?;
        let maps = state.maps().into();
        Ok(Self { head, state, writer, maps, scan: None })
    }

    /// Writes about one piece, or ends the file.
    pub fn step(mut self) -> Result<Step, Error> {
        let before = self.writer.written();
        for _ in 0..RECORDS_A_STEP {
            let Some((map, scan)) = &mut self.scan else {
                let Some(map) = self.maps.pop_front() else {
                    let (_, bytes) = self.writer.finish()?;
                    return Ok(Step::Done(Kept { head: self.head, bytes }));
                };
                let scan = self.state.iter(&map);
                self.scan = Some((map, scan));
                continue;
            };
            match scan.next() {
                Some((key, value)) => self.writer.add(map, &key, &value)?,
                None => self.scan = None,
            }
            if self.writer.written() > before {
                break;
            }
        }
        Ok(Step::More(Box::new(self)))
    }
}
